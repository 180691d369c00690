"""Choosing and installing a devicetree (systemd-stub: devicetree.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from stubsim import extent
from stubsim.errors import StubsimError
from stubsim.extent import Bytes
from stubsim.formats import fdt
from stubsim.stub.context import Context
from stubsim.stub.measure import PCR_KERNEL_CONFIG, Measured, log_event

if TYPE_CHECKING:
    from stubsim.stub.addons import NamedAddon
    from stubsim.stub.sections import Sections

DEVICETREE_ADDON_EVENT_TAG = 0x6C46F751


class Devicetree(NamedTuple):
    """What the configuration table points to; the tree's own bytes, None when it does not tell its length."""

    source: str
    section: int | None
    data: Bytes | None


def match_dtb(context: Context, data: Bytes, wanted: bytes | None, address: int = 0) -> str:
    """Whether a `.dtbauto` at an address fits: "match", "other", or "bad" where the stub complains.

    A firmware devicetree decides alone if it has a compatible, and blocks the .hwids look-up if it has none
    (recorded: launch-fwdtb-match, -hwids, -nocompat, -garbage); a bad blob goes unnamed then.
    """
    firmware = context.host.devicetree
    if firmware is not None:
        own = first_compatible(firmware)
        return "match" if own is not None and own == first_compatible(data, address) else "other"
    if wanted is None:
        return "other"
    compatible = first_compatible(data, address)
    if compatible is None:
        return "bad"
    return "match" if compatible == wanted else "other"


def install_embedded_devicetree(context: Context, sections: Sections) -> Devicetree | None:
    """The chosen `.dtbauto`, else the `.dtb`, unchecked; else what the firmware installed."""
    for name in (".dtbauto", ".dtb"):
        section, data = sections.section(name), sections.data(name)
        if section is not None and data is not None:
            return Devicetree(name, section.index, _tree(data))
    firmware = context.host.devicetree
    return None if firmware is None else Devicetree("firmware", None, _tree(firmware))


def install_addon_devicetrees(
    context: Context, installed: Devicetree | None, addons: list[NamedAddon], parameters: Measured
) -> Devicetree | None:
    """Each one replaces the one before and is measured under its file name."""
    for addon in addons:
        installed = Devicetree(addon.filename, None, _tree(addon.data))
        digests = context.digests.of(addon.data)
        parameters.combine(log_event(context, PCR_KERNEL_CONFIG, addon.filename, digests, DEVICETREE_ADDON_EVENT_TAG))
    return installed


def first_compatible(data: Bytes, address: int = 0) -> bytes | None:
    """The first string of the root's `compatible`, None for what no stub takes for a tree.

    Where it lies counts as well: at an address that is not a multiple of 4 it is none (devicetree.c,
    devicetree_get_compatible; stubble 14 and systemd-stub 262.1).
    """
    if address % 4:
        return None
    try:
        compatible = fdt.root_compatible(data)
    except StubsimError:
        return None
    return compatible[0].encode("utf-8", "surrogateescape") if compatible else None


def _tree(data: Bytes) -> Bytes | None:
    try:
        size = fdt.total_size(data)
    except StubsimError:
        return None
    return extent.of_bytes(data)[:size] if size <= len(data) else None
