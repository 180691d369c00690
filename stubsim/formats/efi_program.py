"""How an EFI program names itself: in `.sdmagic` (systemd), in `.sbat` (shim, SBAT.md), or only in its code."""

from __future__ import annotations

import re

from stubsim.extent import Extent
from stubsim.formats import pe
from stubsim.rows import NamedTuple

SYSTEMD_STUB, STUBBLE, LANZABOOTE = "systemd-stub", "stubble", "lanzaboote"

# Short texts; what a hostile file puts behind this many bytes is not looked at.
_TEXT_MAX = 1 << 16
# The read-only data of the stubs has 16 to 64 KiB.
_CODE_MAX = 1 << 20
_LOADER_INFO = "#### LoaderInfo: "
# What the stub writes into StubInfo. On Arm those up to 252 have no other section than .text and .data, and their
# .sdmagic and .sbat lie behind both in the file (Debian's linuxaa64.efi.stub 252.39).
_STUB_INFO = re.compile("systemd-stub ".encode("utf-16-le") + rb"((?:[!-~]\0){1,100})\0\0")
# Beginnings of components that name no program: the table itself, the image as a whole (ukify), and the kernel, whose
# rows ukify takes over.
_NO_PROGRAM = ("sbat", "uki", "linux", "kernel")
# ubuntu/stubble, stub.c, parse_cmdline: stubblify adds a .sbat with its name only when told to.
_STUBBLE_OPTION = "stubble.dtb_override=".encode("utf-16-le")
# nix-community/lanzaboote, rust/uefi/stub/src/main.rs: STUB_NAME, which is in no section of its own.
_LANZASTUB = rb"lanzastub ([0-9]+(?:\.[0-9]+)*)"
# rust/tool/shared/src/pe.rs: hashes of files that are named in .linux and .initrd, or before 0.4 in sections ending in
# "p" (rust/stub/src/thin.rs).
_THIN = (".linuxh", ".kernelh")


class StubId(NamedTuple):
    """The stub's own name and version, e.g. "systemd-stub" and "262.1-1"; the version is "" where nothing tells it.

    ``series_only``: it is that of upstream's row in .sbat, which is 262 for 262.1 as well.
    """

    name: str
    version: str
    series_only: bool = False


def stub(image: pe.Image, loaded: Extent) -> StubId | None:
    """Which stub is in an image, None where nothing tells or it is no stub's; ``loaded`` is the image in memory."""
    named = sdmagic(image, loaded)
    if named is not None:
        return named
    components = sbat(image, loaded)
    for name in (SYSTEMD_STUB, STUBBLE):
        if name in components:
            return _by_sbat(name, components, name)
    by_code = _by_stub_info(image, loaded) or _by_code(image, loaded)
    if by_code is not None or not has_kernel(image):
        return by_code
    # Up to 255 boot loader and stub have the same row.
    if "systemd" in components:
        return _by_sbat(SYSTEMD_STUB, components, "systemd")
    return next((StubId(name, version) for name, version in programs(components)), None)


def has_kernel(image: pe.Image) -> bool:
    """Whether it has a `.linux` that counts, wherever."""
    return any(section.name == ".linux" and section.virtual_size for section in image.sections)


def text_of(image: pe.Image, loaded: Extent, name: str) -> str:
    """The text of the first section of the name, empty without one."""
    return next((text(loaded, section) for section in image.sections if section.name == name), "")


def text(loaded: Extent, section: pe.Section) -> str:
    """A section's text up to its first NUL."""
    return bytes(_start(loaded, section, _TEXT_MAX)).partition(b"\0")[0].decode("utf-8", "replace")


def sdmagic(image: pe.Image, loaded: Extent) -> StubId | None:
    """Name and version in `.sdmagic`, of a stub, an addon or a boot loader."""
    info = text_of(image, loaded, ".sdmagic").partition(_LOADER_INFO)[2].partition(" ####")[0]
    name, _, version = info.partition(" ")
    return StubId(name, version) if name and version else None


def sbat(image: pe.Image, loaded: Extent) -> dict[str, str]:
    """Component -> version of `.sbat`; the first row of a component counts."""
    rows = [row.split(",") for row in text_of(image, loaded, ".sbat").splitlines()]
    return {row[0]: row[4] for row in reversed(rows) if len(row) > 4 and row[4]}


def _of_vendor(components: dict[str, str], name: str) -> str:
    """The version; "systemd-stub.debian" has "262.1-1" where "systemd-stub" has "262"."""
    version = components[name]
    vendors = [v for component, v in components.items() if component.startswith(f"{name}.")]
    return next((v for v in vendors if v.startswith(version)), version)


def programs(components: dict[str, str]) -> list[tuple[str, str]]:
    """The components that name a program, in the order of the table, with their versions; rows of vendors left out."""
    named = ((name, _of_vendor(components, name)) for name in reversed(components) if "." not in name)
    return [(name, version) for name, version in named if name and not name.startswith(_NO_PROGRAM)]


def _by_sbat(name: str, components: dict[str, str], component: str) -> StubId:
    version = _of_vendor(components, component)
    return StubId(name, version, series_only=name == SYSTEMD_STUB and version == components[component])


def _by_stub_info(image: pe.Image, loaded: Extent) -> StubId | None:
    section = next((section for section in image.sections if section.name == ".text"), None)
    found = None if section is None else _STUB_INFO.search(bytes(_start(loaded, section, _CODE_MAX)))
    return None if found is None else StubId(SYSTEMD_STUB, found[1].decode("utf-16-le"))


def _by_code(image: pe.Image, loaded: Extent) -> StubId | None:
    for section in image.sections:
        if section.name in (".rodata", ".rdata"):
            data = bytes(_start(loaded, section, _CODE_MAX))
            if _STUBBLE_OPTION in data:
                return StubId(STUBBLE, "")
            found = re.search(_LANZASTUB, data)
            if found:
                return StubId(LANZABOOTE, found[1].decode("ascii"))
    return StubId(LANZABOOTE, "") if _is_thin(image) else None


def _start(loaded: Extent, section: pe.Section, most: int) -> Extent:
    return loaded[section.virtual_address :][: min(section.virtual_size, most)]


def _is_thin(image: pe.Image) -> bool:
    return any(section.name in _THIN for section in image.sections)
