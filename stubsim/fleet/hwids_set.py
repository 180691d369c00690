"""A set of hardware ids without a UKI, asked as the UKI that has what its entries name."""

from __future__ import annotations

import os

from stubsim import uki
from stubsim.errors import StubsimError
from stubsim.formats import efifw, fdt, hwids, pe
from stubsim.formats.pe import SectionSpec
from stubsim.lint.subjects import kind_of, read
from stubsim.stub.models import NEWEST

# A stub starts nothing without a kernel; what is in this one is never run. x86 firmware brings no devicetree.
_KERNEL = pe.build([SectionSpec(".text", b"\xf4" * 512)])


def is_set(path: str) -> bool:
    """Whether a path is a set of hardware ids: a folder, a description or a section."""
    return os.path.isdir(path) or kind_of(path) != "uki"


def uki_of(path: str) -> uki.Uki:
    """The UKI with this `.hwids`, and with a devicetree or a firmware for each entry; PCR values are nobody's.

    Raises StubsimError for what is no set, and for more than one.
    """
    subjects = read([path])
    if len(subjects) != 1 or subjects[0].data is None:
        raise StubsimError("not one set of hardware ids", path=path, expected="a folder of descriptions or a section")
    for error in subjects[0].refused:
        raise error
    data = subjects[0].data
    named = dict.fromkeys((entry.type, entry.string) for entry in hwids.walk(data) if entry.string)
    sections = [
        SectionSpec(".dtbauto", fdt.build([string]))
        if kind == hwids.DEVICETREE
        else SectionSpec(".efifw", efifw.build(string, string.encode(errors="surrogateescape")))
        for kind, string in named
        if string is not None and kind in (hwids.DEVICETREE, hwids.UEFI_FW)
    ]
    mark = f"#### LoaderInfo: systemd-stub {NEWEST.id} ####\0".encode()
    raw, size = hwids.held(data)
    table = SectionSpec(hwids.SECTION, raw, virtual_size=size)
    image = pe.build([SectionSpec(".sdmagic", mark), SectionSpec(".linux", _KERNEL), table, *sections])
    return uki.Uki(pe.open_bytes(image, path))
