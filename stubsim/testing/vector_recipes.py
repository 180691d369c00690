"""The rules that a stub chooses sections by, each as a small UKI and a machine that show it.

Where boots of real stubs were recorded that show the same rule, ``source`` names the cases; the rest is from systemd's
public source.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from uuid import UUID

from stubsim import chid
from stubsim.formats import efifw, fdt, hwids, pe
from stubsim.formats.hwids import DEVICETREE, UEFI_FW
from stubsim.formats.pe import SectionSpec
from stubsim.formats.smbios import Fields
from stubsim.rows import NamedTuple

# Sections lie in memory where they lie in the file, so that the file is the loaded image as well.
ALIGNMENT = 64
PANEL = "EXA12ef"
MACHINE = Fields(
    manufacturer=b"Example",
    product_name=b"Product",
    product_sku=b"SKU",
    family=b"Family",
    baseboard_manufacturer=b"Board Maker",
    baseboard_product=b"Board",
)
_PE_C, _CHID_C = "systemd 262, src/boot/pe.c", "systemd 262, src/boot/chid.c"
_NULL = UUID(int=0)
_OTHER = UUID("6d6f6e65-7479-5061-8e79-6e6f626f6479")


class Recipe(NamedTuple):
    """``profile`` None asks for none; ``devicetree`` is the first compatible of one that the firmware brings."""

    name: str
    rule: str
    source: str
    sections: Sequence[SectionSpec]
    fields: Fields = MACHINE
    panel: str | None = None
    devicetree: str | None = None
    profile: int | None = None


def image(sections: Sequence[SectionSpec], *, kernel: bool = True) -> bytes:
    """A UKI of a kernel and these sections."""
    text = SectionSpec(".text", b"\xcc" * ALIGNMENT, characteristics=0x6000_0020)
    linux = pe.build([text], section_alignment=ALIGNMENT, file_alignment=ALIGNMENT)
    front = [SectionSpec(".linux", linux)] if kernel else []
    return pe.build([*front, *sections], section_alignment=ALIGNMENT, file_alignment=ALIGNMENT)


def recipes() -> Iterator[Recipe]:
    """All of them, in a fixed order."""
    for group in (_sections, _profiles, _chids, _table, _devicetrees, _firmware):
        yield from group()


def _recorded(*cases: str) -> str:
    return f"recorded boots of systemd-stub: {', '.join(cases)}"


def _section(name: str, data: bytes = b"data", virtual_size: int | None = None) -> SectionSpec:
    return SectionSpec(name, data, virtual_size=virtual_size)


def _guid(kind: int, fields: Fields = MACHINE, panel: str | None = PANEL) -> UUID:
    own = chid.chids(fields, panel)[kind]
    assert own is not None
    return own


def _hwids(*entries: tuple[int, UUID, str]) -> SectionSpec:
    return SectionSpec(".hwids", hwids.build([(kind, guid, "Device", string) for kind, guid, string in entries]))


def _tree(compatible: str, *more: str) -> SectionSpec:
    return SectionSpec(".dtbauto", fdt.build([compatible, *more]))


def _blob(fwid: str = "fw-a", header_size: int = efifw.HEADER_SIZE) -> SectionSpec:
    return SectionSpec(".efifw", efifw.build(fwid, b"firmware", header_size=header_size))


def _sections() -> Iterator[Recipe]:
    one, two = _section(".cmdline", b"one"), _section(".cmdline", b"two")
    yield Recipe("first-of-a-name", "the first section of a name counts", _recorded("pe-duplicate"), [one, two])
    yield Recipe(
        "any-order",
        "sections are found in any order",
        _recorded("pe-order"),
        [_section(".uname"), _section(".initrd"), _section(".cmdline"), _section(".osrel")],
    )
    yield Recipe(
        "whole-names",
        "a name is compared as a whole and with its case",
        _recorded("pe-names"),
        [_section(name) for name in (".cmdlin", ".initrd2", ".osrelx", "cmdline", ".UNAME", ".sbat")],
    )
    yield Recipe(
        "name-ends-at-nul",
        "bytes of a name behind its NUL do not count",
        _recorded("pe-name-garbage"),
        [_section(".osrel\0x")],
    )
    yield Recipe(
        "virtual-size-zero",
        "a section of VirtualSize 0 counts as missing",
        _recorded("pe-virtual-zero"),
        [_section(".cmdline", virtual_size=0), _section(".osrel", virtual_size=0)],
    )
    yield Recipe(
        "virtual-size-zero-hides",
        "a section of VirtualSize 0 hides a later one of its name",
        _PE_C,
        [_section(".cmdline", virtual_size=0), two],
    )
    yield Recipe(
        "virtual-size-larger",
        "a section is VirtualSize bytes, zeros behind what the file has",
        _recorded("pe-virtual-larger"),
        [_section(".cmdline", b"quiet", 48), _section(".initrd", b"i", 32)],
    )
    yield Recipe(
        "virtual-size-smaller",
        "a section is VirtualSize bytes, and none of those behind",
        _recorded("pe-virtual-smaller"),
        [_section(".cmdline", b"quiet debug", 5)],
    )
    yield Recipe("no-linux", "without .linux nothing is booted", _PE_C, [one, _section(".linux", virtual_size=0)])


def _profiles() -> Iterator[Recipe]:
    def profile(name: str) -> SectionSpec:
        return _section(".profile", f"ID={name}".encode())

    base, linux = _section(".cmdline", b"base"), _section(".uname", b"6.12")
    sections = [base, linux, profile("main"), profile("two"), _section(".cmdline", b"two"), profile("three")]
    asked: tuple[tuple[int | None, str, str], ...] = (
        (None, "no profile asked for is profile 0", _recorded("profile-none")),
        (0, "profile 0 has the base's sections where it has none of its own", _recorded("profile-at0")),
        (1, "a profile's section takes the place of the base's", _recorded("profile-at1")),
        (2, "what stands behind another .profile is not in this one", _recorded("profile-at2")),
        (3, "a profile that is not there is not booted", _recorded("profile-at3-missing")),
        (0xFFFFFFFF, "profile 4294967295 is the base alone", _recorded("profile-at-max")),
    )
    for number, rule, source in asked:
        name = "none" if number is None else "max" if number > 3 else number
        yield Recipe(f"profile-{name}", rule, source, sections, profile=number)
    yield Recipe("profile-implied", "profile 0 needs no .profile", _recorded("profile-at0"), [base], profile=0)
    yield Recipe(
        "profile-only-one", "without .profile there is no profile 1", _recorded("profile-single-at1"), [base], profile=1
    )
    yield Recipe(
        "profile-empty-hides",
        "a profile's section of VirtualSize 0 hides the base's",
        _PE_C,
        [base, profile("main"), _section(".cmdline", virtual_size=0)],
    )
    yield Recipe(
        "profile-of-no-size",
        "a .profile of VirtualSize 0 starts a profile",
        _PE_C,
        [base, _section(".profile", virtual_size=0), profile("two"), _section(".cmdline", b"two")],
        profile=1,
    )
    entry = (DEVICETREE, _guid(3), "example,b")
    yield Recipe(
        "profile-dtbauto-without-hwids",
        "a profile's .dtbauto is matched by its own .hwids only; the base's choice stays",
        _recorded("profile-dtbauto"),
        [_hwids(entry), _tree("example,b"), profile("main"), _tree("example,b")],
    )
    yield Recipe(
        "profile-dtbauto-with-hwids",
        "a profile's .dtbauto takes the place of the base's if its own .hwids matches",
        _PE_C,
        [_hwids(entry), _tree("example,b"), profile("main"), _hwids(entry), _tree("example,b")],
    )
    firmware = (UEFI_FW, _guid(3), "fw-a")
    yield Recipe(
        "profile-efifw-without-hwids",
        "a profile's .efifw is matched by its own .hwids only; the base's choice stays",
        _recorded("fwsel-profile", "fwsel-profile-nohwids"),
        [_hwids(firmware), _blob(), profile("main"), _blob()],
    )


def _chids() -> Iterator[Recipe]:
    shown = {
        (6, 8): (),
        (15, 3): ("launch-edid-priority-15v3",),
        (16, 15): ("launch-edid-priority-16v15",),
        (3, 6): ("fwsel-prio-3v6",),
        (5, 7): ("fwsel-prio-5v7",),
        (9, 11): ("fwsel-prio-9v11",),
    }
    trees = [_tree("example,a"), _tree("example,b")]
    for first, second in pairwise(chid.PRIORITY):
        cases = shown.get((first, second), ())
        yield Recipe(
            f"priority-{first}-before-{second}",
            f"CHID type {first} is looked for before type {second}, whatever the order of the table",
            _recorded(*cases) if cases else _CHID_C,
            [_hwids((DEVICETREE, _guid(second), "example,a"), (DEVICETREE, _guid(first), "example,b")), *trees],
            panel=PANEL,
        )
    ambiguous = (0, 1, 2, 12, 13, 14)
    numbered = MACHINE._replace(bios_vendor=b"V", bios_version=b"1", bios_major=2, bios_minor=11, enclosure_type=10)
    entries = [(DEVICETREE, _guid(kind, numbered), "example,a") for kind in ambiguous]
    yield Recipe(
        "types-never-matched",
        "CHID types 0 to 2 and 12 to 14 are never looked for",
        _recorded("fwsel-type14"),
        [_hwids(*entries), *trees],
        numbered,
        PANEL,
    )
    same = [(DEVICETREE, _guid(9), "example,b"), (DEVICETREE, _guid(9), "example,a")]
    yield Recipe(
        "table-order", "among entries of one CHID the first counts", _recorded("chid-dup"), [_hwids(*same), *trees]
    )
    for name, rule, case, fields in (
        ("zeros", "zeros in front are stripped", "chid-leadzero",
         {"product_sku": b"0SKU", "product_name": b"00Product"}),
        ("blanks-then-zeros", "blanks go, then zeros, then blanks behind, once", "chid-blank-zero",
         {"family": b" 00Family "}),
        ("blanks-in-zeros", "blanks behind zeros stay", "chid-zero-blank", {"family": b"0 Family"}),
        ("zeros-only", "a text of zeros is an empty one", "chid-allzero", {"product_sku": b"0000"}),
        ("missing", "a missing text counts as an empty one", "chid-nosku-type3", {"product_sku": None}),
        ("no-board", "without a type 2 structure its texts are empty", "chid-noboard",
         {"baseboard_manufacturer": None, "baseboard_product": None}),
        ("tab", "a tab is no blank", "chid-tab", {"product_name": b"Product\t"}),
        ("utf-8", "texts are UTF-8", "chid-latin1-bytes", {"product_name": "Prodükt".encode()}),
    ):  # fmt: skip
        own = MACHINE._replace(**fields)
        stripped = {
            "zeros": MACHINE,
            "blanks-then-zeros": MACHINE,
            "zeros-only": own._replace(product_sku=b""),
            "blanks-in-zeros": own,
        }
        guid = _guid(3, stripped.get(name, own))
        yield Recipe(f"text-{name}", rule, _recorded(case), [_hwids((DEVICETREE, guid, "example,b")), *trees], own)
    other_case = MACHINE._replace(product_name=b"PRODUCT")
    yield Recipe(
        "text-case",
        "the case of letters matters",
        _recorded("chid-case"),
        [_hwids((DEVICETREE, _guid(3, other_case), "example,b")), *trees],
    )
    wildcard = [_hwids((DEVICETREE, _NULL, "example,b")), *trees]
    yield Recipe(
        "zero-guid-without-panel",
        "without an EDID the panel CHIDs are all zeros, and equal an all-zero entry",
        _recorded("chid-nullguid"),
        wildcard,
    )
    yield Recipe(
        "zero-guid-with-panel",
        "with an EDID nothing equals an all-zero entry",
        _recorded("launch-edid-nullguid"),
        wildcard,
        panel=PANEL,
    )


def _raw(*entries: tuple[int, UUID, int, int], tail: bytes = bytes(28)) -> SectionSpec:
    """A table of (descriptor, CHID, name offset, string offset), and what follows it."""
    rows = b"".join(struct.pack("<I16sII", entry[0], entry[1].bytes_le, *entry[2:]) for entry in entries)
    return SectionSpec(".hwids", rows + tail)


def _table() -> Iterator[Recipe]:
    tree, own = _tree("example,b"), _guid(3)
    text, size = b"example,b\0", hwids.ENTRY_SIZE
    strings, outside = bytes(size) + text, 1 << 20
    dt, fw = DEVICETREE << 28 | size, UEFI_FW << 28 | size
    first, second, third = size, 2 * size, 3 * size
    rows: tuple[tuple[str, str, str, SectionSpec], ...] = (
        ("match", "an entry of this machine leads to its .dtbauto", _recorded("chid-type03"),
         _raw((dt, own, second, second), tail=strings)),
        ("no-end", "no end entry is needed where strings follow", _recorded("hwids-noeol"),
         _raw((dt, own, first, first), tail=text)),
        ("entry-fills-section", "an entry counts only if a byte follows it", _recorded("hwids-noeol-exact"),
         _raw((dt, own, 0, 0), tail=b"")),
        ("behind-end", "nothing behind descriptor 0 is looked at", _recorded("hwids-afterEOL"),
         _raw((0, _NULL, 0, 0), (dt, own, third, third), tail=strings)),
        ("dirty-end", "descriptor 0 is the end, whatever else is in its entry", _recorded("hwids-eol-dirty"),
         _raw((dt, own, second, second), (0, _OTHER, outside, outside), tail=text)),
        ("no-name", "an entry needs no name", _recorded("hwids-noname"), _raw((dt, own, 0, second), tail=strings)),
        ("no-string", "a match without a string ends the search", _recorded("hwids-nocompat"),
         _raw((dt, own, 0, 0), (dt, _guid(9), third, third), tail=strings)),
        ("other-size", "262 ignores the size in a descriptor, 257 wants 28", _recorded("hwids-badsize"),
         _raw((DEVICETREE << 28 | 56, own, second, second), tail=strings)),
        ("unknown-type", "an unknown type refuses the table, also behind a match", _recorded("hwids-badtype-after"),
         _raw((dt, own, third, third), (3 << 28 | size, _OTHER, third, third), tail=strings)),
        ("type-0", "type 0 with a size is an unknown type", _recorded("hwids-badtype-after"),
         _raw((dt, own, third, third), (size, _OTHER, third, third), tail=strings)),
        ("firmware-entry", "257 refuses a table with a firmware entry", _recorded("hwids-both-types"),
         _raw((dt, own, third, third), (fw, _OTHER, third, third), tail=strings)),
        ("name-outside", "262 refuses a table with a name outside, be it another machine's",
         _recorded("hwids-off-nonmatch-name"),
         _raw((dt, _OTHER, outside, third), (dt, own, third, third), tail=strings)),
        ("string-outside", "262 refuses a table with a string outside, be it another machine's",
         _recorded("hwids-off-nonmatch-compat"),
         _raw((dt, _OTHER, third, outside), (dt, own, third, third), tail=strings)),
        ("string-without-nul", "262 refuses a table with a string that has no end, be it another machine's",
         _recorded("hwids-unterminated-nonmatch"),
         _raw((dt, own, third, third), (dt, _OTHER, third, third + len(text)), tail=strings + b"x")),
        ("match-without-nul", "262 refuses the table for the wanted string, too; 257 reads on behind the section",
         _recorded("hwids-unterminated"), _raw((dt, own, 0, second), tail=strings[:-1])),
        ("name-in-table", "an offset may point into the table", _recorded("hwids-off-intable"),
         _raw((dt, own, 1, second), tail=strings)),
        ("string-is-empty", "an empty compatible is no tree's", _recorded("hwids-off-last"),
         _raw((dt, own, second, second + len(text) - 1), tail=strings)),
        ("one-byte", "a table of one byte is empty", _recorded("hwids-size-zero"), _section(".hwids", b"\0")),
    )  # fmt: skip
    for name, rule, source, section in rows:
        yield Recipe(f"hwids-{name}", rule, source, [section, tree])


def _devicetrees() -> Iterator[Recipe]:
    table = _hwids((DEVICETREE, _guid(6), "example,b"), (DEVICETREE, _guid(9), "example,a"))
    a, b, c = _tree("example,a"), _tree("example,b"), _tree("example,c")
    bad = _section(".dtbauto", b"no devicetree")
    truncated = SectionSpec(".dtbauto", fdt.build(["example,b"])[:-1])
    yield Recipe(
        "dtbauto-first", "the first .dtbauto that fits counts", _recorded("dtbauto-duplicate"), [table, a, b, b]
    )
    yield Recipe("dtbauto-bad", "a bad blob is skipped", _recorded("dtbauto-bad-first"), [table, bad, truncated, b])
    yield Recipe(
        "dtbauto-second-compatible",
        "only a tree's first compatible is compared",
        _recorded("chid-second-compat"),
        [table, _tree("example,a", "example,b")],
    )
    yield Recipe(
        "dtbauto-no-fall-through",
        "without a tree for the entry that matches first, no other entry counts",
        _recorded("chid-nomatch-compat"),
        [table, a],
    )
    yield Recipe("dtbauto-without-hwids", "without .hwids no .dtbauto is chosen", _PE_C, [a, b])
    for name, rule, case, tree in (
        ("match", "the firmware's devicetree decides, and .hwids does not", "launch-fwdtb-hwids", "example,c"),
        ("no-match", "a devicetree of the firmware that fits none leads to none", "launch-fwdtb-nomatch", "example,d"),
    ):
        yield Recipe(f"firmware-tree-{name}", rule, _recorded(case), [table, a, b, c], devicetree=tree)


def _firmware() -> Iterator[Recipe]:
    table = _hwids((UEFI_FW, _guid(6), "fw-a"), (UEFI_FW, _guid(9), "fw-b"))
    a, b = _blob(), _blob("fw-b")
    plain = efifw.build("fw-a", b"firmware")

    def patched(word: int, value: int, blob: bytes = plain) -> SectionSpec:
        return SectionSpec(".efifw", blob[: 4 * word] + struct.pack("<I", value) + blob[4 * word + 4 :])

    yield Recipe("efifw-match", "a firmware entry chooses its .efifw", _recorded("efifw-match"), [table, b, a])
    yield Recipe(
        "efifw-first", "the first .efifw with the id counts", _recorded("fwsel-same-fwid-twice"), [table, b, a, a]
    )
    yield Recipe(
        "efifw-no-fall-through",
        "without a firmware for the entry that matches first, no other entry counts",
        _recorded("fwsel-no-section"),
        [table, b],
    )
    yield Recipe(
        "efifw-case", "ids are compared byte for byte", _recorded("fwsel-case"), [table, _blob("FW-A"), _blob("fw-aa")]
    )
    both = _hwids((DEVICETREE, _guid(9), "example,b"), (UEFI_FW, _guid(6), "fw-a"))
    yield Recipe(
        "efifw-and-dtbauto",
        "devicetree and firmware are looked for one after the other",
        _recorded("efifw-both"),
        [both, _tree("example,b"), a],
    )
    yield Recipe(
        "efifw-with-firmware-tree",
        "a devicetree of the firmware does not stop the look-up of firmware",
        _recorded("launch-fwdtb-efifw"),
        [both, _tree("example,b"), a],
        devicetree="example,d",
    )
    yield Recipe(
        "efifw-not-by-devicetree-entry",
        "a devicetree entry never chooses a firmware",
        _recorded("efifw-both-samestring"),
        [_hwids((DEVICETREE, _guid(3), "fw-a")), a],
    )
    made: tuple[tuple[str, str, str, SectionSpec], ...] = (
        ("header-20", "a header may be longer than 16 bytes", "efifw-raw-*", _blob(header_size=20)),
        ("header-12", "a header has at least 16 bytes", "efifw-raw-*", patched(1, 12)),
        ("magic", "the magic is 0xfeeddead", "efifw-badheader", patched(0, 0xFEEDBEEF)),
        ("short", "15 bytes are too few", "efifw-raw-short", SectionSpec(".efifw", plain[:15])),
        ("two-nuls", "the id's first NUL is its last byte", "efifw-raw-twonul",
         SectionSpec(".efifw", efifw.build("fw-a", b"\0firmware")[:8] + struct.pack("<II", 6, 8)
                     + b"fw-a\0\0" + b"firmware")),
        ("no-nul", "the id ends in a NUL", "efifw-raw-unterminated", patched(2, 4)),
        ("payload-too-large", "header, id and payload fit into the section", "efifw-raw-payload-large",
         patched(3, 9)),
        ("trailing-bytes", "bytes behind the payload do not matter", "efifw-raw-*",
         SectionSpec(".efifw", plain + b"more")),
        ("no-payload", "a payload may be empty", "efifw-raw-*",
         SectionSpec(".efifw", efifw.build("fw-a", b""))),
        ("13-byte-header", "the magic of ukify before its fix is one zero byte", "",
         SectionSpec(".efifw", b"\0" + plain[4:])),
    )  # fmt: skip
    for name, rule, case, section in made:
        source = _recorded(case) if case else "ukify, before a mistake in its struct format was fixed"
        yield Recipe(f"efifw-{name}", rule, source, [table, section])
