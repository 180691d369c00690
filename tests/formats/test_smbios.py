"""SMBIOS tables: those of recorded machines, and dmidecode on ours."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.errors import StubsimError
from stubsim.formats import smbios
from stubsim.formats.smbios import Fields
from tests.strategies import mutated

FIELDS = Fields(
    manufacturer=b"Lab Vendor",
    product_name=b"Lab Product",
    product_sku=b"SKU-7",
    family=b"Lab Family",
    baseboard_manufacturer=b"Board Vendor",
    baseboard_product=b"Board One",
    bios_vendor=b"BIOS Vendor",
    bios_version=b"BIOS 1.2",
    bios_major=3,
    bios_minor=4,
    enclosure_type=10,
)
VALID = smbios.from_fields(FIELDS, [b"one", b"two"])
END = bytes.fromhex("7f04feff0000")

TYPE1 = bytes([1, 2, 3, 4]) + bytes(16) + bytes([6, 5, 6])


def test_recorded_tables(shared: Path) -> None:
    files = sorted((shared / "golden").glob("*/host.json"))
    assert len(files) >= 200
    for file in files:
        recorded = json.loads(file.read_text())["smbios_table"]
        table = base64.b64decode(recorded["base64"])
        structures = smbios.parse(table)
        assert structures[-1].type == 127
        assert b"".join(structure.raw for structure in structures) == table
        assert all(table[row.offset : row.offset + len(row.raw)] == row.raw for row in structures)
        assert smbios.parse_entry_point(base64.b64decode(recorded["entry_point"]))[2] == len(table)


def test_recorded_fields(shared: Path) -> None:
    """The fields of the 25 made-up machines, as the one who made them wrote them down."""
    names = {
        "M": "manufacturer",
        "F": "family",
        "P": "product_name",
        "S": "product_sku",
        "b": "baseboard_manufacturer",
        "B": "baseboard_product",
        "V": "bios_vendor",
        "W": "bios_version",
        "maj": "bios_major",
        "min": "bios_minor",
        "e": "enclosure_type",
    }
    machines = json.loads((shared / "data/chids/chid.json").read_text())
    assert len(machines) == 25
    for machine, row in machines.items():
        found = smbios.fields(smbios.parse((shared / f"data/chids/smbios-{machine}.bin").read_bytes()))
        for letter, value in row["fields"].items():
            expected = value.encode() if isinstance(value, str) else value
            assert getattr(found, names[letter]) == expected, (machine, letter)


def dmidecode(table: bytes, tmp_path: Path, *options: str) -> str:
    dump = tmp_path / "dump"
    dump.write_bytes(smbios.build_entry_point(table).ljust(32, b"\0") + table)
    command = [str(TOOL), "--from-dump", str(dump), *options]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    assert not done.stderr
    return done.stdout


TOOL = shutil.which("dmidecode", path="/usr/sbin:/sbin:/usr/bin:/bin") or shutil.which("dmidecode")


@pytest.mark.skipif(TOOL is None, reason="oracle tool dmidecode is missing")
def test_dmidecode_reads_ours(tmp_path: Path) -> None:
    for keyword, expected in {
        "system-manufacturer": "Lab Vendor",
        "system-product-name": "Lab Product",
        "system-sku-number": "SKU-7",
        "system-family": "Lab Family",
        "baseboard-manufacturer": "Board Vendor",
        "baseboard-product-name": "Board One",
        "bios-vendor": "BIOS Vendor",
        "bios-version": "BIOS 1.2",
        "bios-revision": "3.4",
        "chassis-type": "Notebook",
    }.items():
        assert dmidecode(VALID, tmp_path, "-s", keyword).strip() == expected
    text = dmidecode(VALID, tmp_path)
    assert "SMBIOS 3.3.0 present." in text
    assert "String 1: one\n" in text
    assert "String 2: two\n" in text
    assert text.rstrip().endswith("End Of Table")
    for wrong in ("TRUNCATED", "OUT OF SPEC", "Wrong", "BAD INDEX", "broken"):
        assert wrong not in text


@pytest.mark.skipif(TOOL is None, reason="oracle tool dmidecode is missing")
@pytest.mark.parametrize("fields", [Fields(), Fields(bios_vendor=b"x"), Fields(bios_minor=7, enclosure_type=3)])
def test_dmidecode_reads_bare_tables(fields: Fields, tmp_path: Path) -> None:
    text = dmidecode(smbios.from_fields(fields), tmp_path)
    assert "TRUNCATED" not in text
    assert "OUT OF SPEC" not in text


def test_there_and_back() -> None:
    structures = smbios.parse(VALID)
    assert [structure.type for structure in structures] == [0, 1, 2, 3, 11, 127]
    assert len({structure.handle for structure in structures}) == 6
    assert b"".join(structure.raw for structure in structures) == VALID
    assert smbios.fields(structures) == FIELDS
    assert smbios.oem_strings(structures) == (b"one", b"two")


def test_structure() -> None:
    raw = smbios.build_structure(2, b"\x01\x02\x00\x09", [b"a", b"bc"], 0x1234)
    assert raw == bytes.fromhex("02083412 01020009") + b"a\0bc\0\0"
    (found,) = smbios.parse(raw)
    assert found == smbios.Structure(2, 0x1234, raw[:8], (b"a", b"bc"), raw, 0, 0)
    assert [found.string(number) for number in (0, 1, 2, 3, 255)] == [None, b"a", b"bc", None, None]


def test_walk() -> None:
    """Type 127 ends the table, a table may end without it, and its own closing NULs do not matter."""
    one = smbios.build_structure(1, TYPE1, [b"x"])
    assert [row.type for row in smbios.parse(one + END + b"\xff garbage")] == [1, 127]
    assert [row.type for row in smbios.parse(one)] == [1]
    assert [row.raw for row in smbios.parse(one + END[:4])] == [one, END[:4]]
    assert smbios.parse(b"") == ()
    # An empty first string hides those behind it from look-ups, but the walk goes on to the double NUL.
    odd = bytes.fromhex("02080000 01020000") + b"\0hidden\0\0"
    rows = smbios.parse(odd + one)
    assert [(row.type, row.strings) for row in rows] == [(2, ()), (1, (b"x",))]
    assert rows[0].raw == odd


@pytest.mark.parametrize(
    ("table", "offset"),
    [
        (b"\x01", 0),
        (b"\x01\x1b\x00", 0),
        (b"\x01\x03\x00\x00\x00\x00", 1),
        (b"\x01\x1b\x00\x00\x00\x00", 1),
        (b"\x02\x05\x00\x00\x01", 5),
        (b"\x02\x05\x00\x00\x01\x00", 5),
        (b"\x02\x05\x00\x00\x01abc\x00", 5),
        (VALID[:60], 24 + len("BIOS Vendor BIOS 1.2 ") + 1 + 1),
    ],
)
def test_cut_off(table: bytes, offset: int) -> None:
    with pytest.raises(StubsimError) as caught:
        smbios.parse(table)
    assert caught.value.offset == offset
    assert caught.value.expected


@pytest.mark.parametrize(
    ("type_", "length", "field"),
    [
        (1, 27, "manufacturer"),
        (2, 8, "baseboard_manufacturer"),
        (0, 20, "bios_vendor"),
        (0, 24, "bios_major"),
        (3, 6, "enclosure_type"),
    ],
)
def test_minimum_lengths(type_: int, length: int, field: str) -> None:
    """Recording chid-short1: a type 1 of 25 bytes is refused whole."""
    enough = smbios.build_structure(type_, b"\x01" * (length - 4), [b"x"])
    short = smbios.build_structure(type_, b"\x01" * (length - 5), [b"x"])
    assert getattr(smbios.fields(smbios.parse(enough)), field) is not None
    assert getattr(smbios.fields(smbios.parse(short)), field) is None
    # A later one of the right length is not looked at.
    assert getattr(smbios.fields(smbios.parse(short + enough)), field) is None


def test_first_counts() -> None:
    """Recording chid-type1-second."""
    table = smbios.build([smbios.build_structure(1, TYPE1, [name, b"b", b"c", b"d"]) for name in (b"first", b"second")])
    assert smbios.fields(smbios.parse(table)) == Fields(manufacturer=b"first", product_name=b"b")


@pytest.mark.parametrize(
    ("raw", "strings"),
    [
        (smbios.build_structure(11, b"\x02", [b"one", b"two"]), (b"one", b"two")),
        (smbios.build_structure(11, b"\x00", [b"one", b"two"]), (b"one", b"two")),
        (smbios.build_structure(11, b"\xff", [b"one"]), (b"one",)),
        (smbios.build_structure(11, b"\x01"), ()),
        (smbios.build_structure(11, b"", [b"one"]), ()),
        # The search starts behind the count byte, wherever the strings start (systemd 262, smbios.c).
        (smbios.build_structure(11, b"\x01xy", [b"one"]), (b"xyone",)),
        (smbios.build_structure(11, b"\x01\x00", [b"one"]), ()),
    ],
)
def test_oem_strings(raw: bytes, strings: tuple[bytes, ...]) -> None:
    """Recording smbios11-binfile: only the first type 11 is searched."""
    second = smbios.build_structure(11, b"\x01", [b"second"])
    assert smbios.oem_strings(smbios.parse(raw + second)) == strings


@pytest.mark.parametrize(
    ("tail", "behind", "strings"),
    [
        (b"\x01", b"", (b"one", b"two")),
        (b"\x01abc", b"", (b"abcone",)),
        (b"\x01abc", b"\x7f\4\0\0\0\0", (b"abcone", b"two")),
    ],
)
def test_the_search_for_oem_strings_ends_early(tail: bytes, behind: bytes, strings: tuple[bytes, ...]) -> None:
    """Only where the table ends with the structure (systemd-stub 262.1 in emulation)."""
    table = smbios.build_structure(11, tail, [b"one", b"two"]) + behind
    assert smbios.oem_strings(smbios.parse(table)) == strings
    # The size in the entry point is what the stub goes by.
    assert smbios.oem_strings(smbios.walk(table, len(table) + 3).structures)[-1] == b"two"


def test_strings_that_are_cut_off() -> None:
    table = smbios.build_structure(1, TYPE1, [b"Maker", b"Product"])
    for end in range(len(TYPE1) + 4, len(table)):
        (found,), damage = smbios.walk(table[:end])
        assert found.strings == tuple(text for text in (b"Maker", b"Product") if text + b"\0" in table[:end])
        assert damage is not None
        assert damage.offset == len(TYPE1) + 4


@pytest.mark.parametrize("string", [b"", b"a\0b"])
def test_build_refuses_strings(string: bytes) -> None:
    with pytest.raises(StubsimError):
        smbios.build_structure(1, b"", [string])


def test_build_refuses_long_structures() -> None:
    assert len(smbios.build_structure(1, bytes(251))) == 257
    with pytest.raises(StubsimError):
        smbios.build_structure(1, bytes(252))


def test_entry_points() -> None:
    data = smbios.build_entry_point(VALID)
    assert len(data) == 24
    assert sum(data) % 256 == 0
    assert smbios.parse_entry_point(data + b"rest") == (3, 3, len(VALID))
    # The one of QEMU 7.2's SeaBIOS tables under OVMF, from a recording.
    old = bytes.fromhex("5f534d5f2e1f02084b000000000000005f444d495f7f7f0100f0511709002800")[:31]
    assert smbios.parse_entry_point(old) == (2, 8, 383)


@pytest.mark.parametrize("data", [b"", b"_SM3_", b"_SM_" + bytes(26), b"_SM3_" + bytes(18), b"_DMI_" + bytes(40)])
def test_no_entry_point(data: bytes) -> None:
    with pytest.raises(StubsimError):
        smbios.parse_entry_point(data)


text = st.binary(min_size=1, max_size=12).map(lambda value: value.replace(b"\0", b"x"))
pair = st.tuples(st.integers(0, 255), st.integers(0, 255)) | st.just((None, None))


@given(st.lists(st.none() | text, min_size=8, max_size=8), pair, st.none() | st.integers(0, 255), st.lists(text))
def test_any_fields_there_and_back(
    strings: list[bytes | None], release: tuple[int | None, int | None], enclosure: int | None, oem: list[bytes]
) -> None:
    a, b, c, d, e, f, g, h = strings
    fields = Fields(a, b, c, d, e, f, g, h, *release, enclosure)
    structures = smbios.parse(smbios.from_fields(fields, oem))
    assert smbios.fields(structures) == fields
    assert smbios.oem_strings(structures) == tuple(oem)


def test_more_oem_strings_than_the_count_holds() -> None:
    many = [b"%d" % number for number in range(300)]
    assert smbios.oem_strings(smbios.parse(smbios.from_fields(Fields(), many))) == tuple(many)


def check_total(table: bytes) -> None:
    try:
        structures = smbios.parse(table)
    except StubsimError:
        return
    smbios.fields(structures)
    smbios.oem_strings(structures)
    assert table.startswith(b"".join(structure.raw for structure in structures))
    offset = 0
    for structure in structures:
        assert structure.offset == offset
        offset += len(structure.raw)


@given(st.binary(max_size=120))
def test_arbitrary_bytes(table: bytes) -> None:
    check_total(table)


@given(st.lists(st.tuples(st.integers(0, 127), st.binary(max_size=30), st.binary(max_size=20)), max_size=5))
def test_arbitrary_structures(parts: list[tuple[int, bytes, bytes]]) -> None:
    check_total(
        b"".join(struct.pack("<BBH", type_, 4 + len(tail), 0) + tail + rest + b"\0\0" for type_, tail, rest in parts)
    )


@given(mutated(VALID))
def test_mutated(data: bytes) -> None:
    check_total(data)


@given(st.binary(max_size=40))
def test_arbitrary_entry_points(data: bytes) -> None:
    for anchor in (b"", b"_SM_", b"_SM3_"):
        with contextlib.suppress(StubsimError):
            assert len(smbios.parse_entry_point(anchor + data)) == 3


def one_nul_on(*parts: bytes, behind: int = 0) -> tuple[bytes, ...] | None:
    table = b"".join(parts)
    return smbios.oem_strings_one_nul_on(smbios.walk(table, len(table) + behind).structures)


TYPE_11 = smbios.build_structure(11, b"\1", [b"the first", b"second"])
END = smbios.build_structure(127, b"")
WITH_STRINGS = smbios.build_structure(4, b"\1" * 8, [b"CPU"])
WITHOUT = smbios.build_structure(32, bytes(7))


def test_search_that_takes_one_nul_for_no_strings() -> None:
    """Read off get_smbios_table of 254.14: type 11 is found where all structures before it have strings."""
    assert one_nul_on(WITH_STRINGS, TYPE_11, WITHOUT, END) == (b"the first", b"second")
    # Its header is read as type 0 with a length of 11, which ends within the strings.
    assert one_nul_on(WITHOUT, TYPE_11, END) == ()
    # The first string of the structure between them puts the search right again.
    assert one_nul_on(WITHOUT, WITH_STRINGS, TYPE_11, END) == (b"the first", b"second")
    # A type 11 swallowed, the next one found.
    assert one_nul_on(WITHOUT, TYPE_11, smbios.build_structure(11, b"\1", [b"third"]), END) == (b"third",)
    assert one_nul_on(smbios.build_structure(11, b"", [b"x"]), TYPE_11) == ()
    assert one_nul_on() == ()


def test_search_that_takes_one_nul_and_comes_to_what_is_not_there() -> None:
    # The end of the table as type 0 with 127 bytes.
    assert one_nul_on(WITHOUT, END) == ()
    assert one_nul_on(WITHOUT, END, behind=200) is None
    # A byte of handle as the type.
    assert one_nul_on(WITH_STRINGS, TYPE_11, behind=200) == (b"the first", b"second")


@given(st.lists(st.builds(smbios.build_structure, st.integers(0, 255), st.binary(max_size=9))), st.integers(0, 9))
def test_search_that_takes_one_nul_ends(parts: list[bytes], behind: int) -> None:
    one_nul_on(*parts, behind=behind)


@given(st.lists(st.builds(smbios.build_structure, st.sampled_from((0, 4, 11)), st.binary(max_size=9), st.just([b"x"]))))
def test_both_searches_agree_where_all_have_strings(parts: list[bytes]) -> None:
    assert one_nul_on(*parts, END) == smbios.oem_strings(smbios.parse(b"".join([*parts, END])))
