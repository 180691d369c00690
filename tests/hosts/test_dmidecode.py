"""Text of dmidecode: 1,198 recorded dumps, what the tool prints of tables of ours, and what is lost on the way."""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim import chid, hosts
from stubsim.errors import StubsimError
from stubsim.formats import smbios
from stubsim.hosts import Host, dmidecode
from stubsim.hosts.host import Reading
from stubsim.hosts.recognise import read_bytes
from tests.hosts.outcomes import is_host_or_error
from tests.strategies import mutated

STRINGS = {
    "manufacturer": "manufacturer",
    "product_name": "product_name",
    "product_sku": "product_sku",
    "family": "family",
    "baseboard_manufacturer": "baseboard_manufacturer",
    "baseboard_product": "baseboard_product",
    "bios_vendor": "bios_vendor",
    "bios_version": "bios_version",
}
TYPES = {"bios": 0, "base": 2}

TEXT = b"""# dmidecode 3.3
Getting SMBIOS data from sysfs.
SMBIOS 3.3.0 present.
Table at 0x6979A000.

Handle 0x0000, DMI type 0, 26 bytes
BIOS Information
\tVendor: Example
\tVersion: F.19
\tCharacteristics:
\t\tPCI is supported
\t\tVersion: of a list
\tBIOS Revision: 2.8

Handle 0x0100, DMI type 1, 27 bytes
System Information
\tManufacturer: Example Inc.
\tProduct Name: Machine  \n\tSerial Number: 12345
\tSKU Number: Not Specified
\tFamily: <BAD INDEX>

Handle 0x0200, DMI type 2, 8 bytes
Base Board Information
\tManufacturer: Board
\tProduct Name:  \n
Handle 0x0300, DMI type 3, 22 bytes
Chassis Information
\tType: Rack Mount Chassis
\tLock: Present

Handle 0x0400, DMI type 4, 48 bytes
Processor Information
\tID: 10 0F 83 00 FF FB 8B 17

Handle 0x0B00, DMI type 11, 5 bytes
OEM Strings
\tString 1: one
\tString 2: io.systemd.stub.kernel-cmdline-extra=quiet

Handle 0x0B01, DMI type 11, 5 bytes
OEM Strings
\tString 1: another

Handle 0xFEFF, DMI type 127, 4 bytes
End Of Table

"""


def read(text: bytes) -> Reading:
    assert dmidecode.is_one(text)
    return dmidecode.read(text)


def unknown_fields(host: Host) -> set[str]:
    return {key.partition(".")[2] for key in host.unknown if key.startswith("smbios.")}


def test_a_whole_text():
    reading = read(TEXT)
    assert reading.host.fields == smbios.Fields(
        manufacturer=b"Example Inc.",
        product_name=b"Machine  ",
        baseboard_manufacturer=b"Board",
        baseboard_product=b" ",
        bios_vendor=b"Example",
        bios_version=b"F.19",
        bios_major=2,
        bios_minor=8,
        enclosure_type=0x97,
    )
    # The first structure of a type counts, for the stub as well.
    assert reading.host.oem_strings == (b"one", b"io.systemd.stub.kernel-cmdline-extra=quiet")
    assert (reading.kind, reading.description, reading.notes) == ("dmidecode-text", "text of dmidecode 3.3", ())
    host = reading.host
    assert host.unknown == {"edid", "memory", "secure_boot", "tpm", "rng", "console", "keyboard_layout", "firmware"}
    assert host.structures is None
    assert (host.hypervisor, host.fw_cfg) == (False, None)


def test_other_line_ends_and_indentation():
    for text in (TEXT.replace(b"\n", b"\r\n"), TEXT.replace(b"\t", b"        "), b"\xef\xbb\xbf" + TEXT):
        assert read_bytes(text).host == read(TEXT).host


def test_blanks_cut_off_at_line_ends_are_blanks_to_the_stub():
    text = b"\n".join(line.rstrip() for line in TEXT.split(b"\n"))
    assert b"Product Name:\n" in text
    assert chid.chids(read(text).host.fields, None) == chid.chids(read(TEXT).host.fields, None)


def replaced(old: bytes, new: bytes) -> Reading:
    assert TEXT.count(old) == 1
    return read(TEXT.replace(old, new))


@pytest.mark.parametrize(
    ("kind", "length", "gone"),
    [
        (0, 19, ("bios_vendor", "bios_version", "bios_major", "bios_minor")),
        (1, 25, ("manufacturer", "product_name")),
        (2, 7, ("baseboard_manufacturer", "baseboard_product")),
        (3, 5, ("enclosure_type",)),
    ],
)
def test_a_structure_too_short_for_a_stub(kind: int, length: int, gone: tuple[str, ...]):
    text = next(line for line in TEXT.split(b"\n") if b"DMI type %d," % kind in line)
    reading = replaced(text, b"Handle 0x0009, DMI type %d, %d bytes" % (kind, length))
    assert reading.host.fields == read(TEXT).host.fields._replace(**dict.fromkeys(gone))
    assert unknown_fields(reading.host) == set()
    assert len(reading.notes) == 1
    assert f"type {kind} has {length} bytes; a stub asks for {smbios.MINIMUM_LENGTHS[kind]}" in reading.notes[0]


def test_type_0_without_a_release_number():
    host = replaced(b"type 0, 26 bytes", b"type 0, 20 bytes").host
    assert (host.fields.bios_major, unknown_fields(host)) == (2, set())
    host = read(TEXT.replace(b"type 0, 26", b"type 0, 20").replace(b"\tBIOS Revision: 2.8\n", b"")).host
    assert (host.fields.bios_major, host.fields.bios_minor, unknown_fields(host)) == (None, None, set())
    # dmidecode prints no line for a 255, which is a number as well.
    host = replaced(b"\tBIOS Revision: 2.8\n", b"").host
    assert unknown_fields(host) == {"bios_major", "bios_minor"}
    assert unknown_fields(replaced(b"2.8", b"2.256").host) == {"bios_major", "bios_minor"}


def test_lines_that_should_be_there_and_are_not():
    assert unknown_fields(replaced(b"\tFamily: <BAD INDEX>\n", b"").host) == {"family"}
    assert unknown_fields(replaced(b"\tLock: Present\n", b"").host) == {"enclosure_type"}
    assert unknown_fields(replaced(b"Rack Mount Chassis", b"<OUT OF SPEC>").host) == {"enclosure_type"}


def test_a_part_of_the_table():
    """dmidecode -t system: what is not in the text is not therefore absent."""
    text = TEXT[: TEXT.index(b"Table at")] + TEXT[TEXT.index(b"Handle 0x0100") : TEXT.index(b"Handle 0x0200")]
    reading = read(text)
    assert reading.host.fields.manufacturer == b"Example Inc."
    assert unknown_fields(reading.host) == set(smbios.Fields._fields) - {
        "manufacturer",
        "product_name",
        "product_sku",
        "family",
    } | {"oem_strings"}
    assert "devicetree" in reading.host.unknown
    assert any("cut short" in note for note in reading.notes)


def test_a_text_cut_off_anywhere_gives_nothing_false():
    whole = read(TEXT).host
    first = TEXT.index(b"\n", TEXT.index(b"Handle 0x0000"))
    for end in range(first, len(TEXT)):
        host = read(TEXT[:end]).host
        for key in smbios.Fields._fields:
            value = getattr(host.fields, key)
            assert value == getattr(whole.fields, key) or key in unknown_fields(host), (end, key)
        assert host.oem_strings == whole.oem_strings or "oem_strings" in unknown_fields(host)


@pytest.mark.parametrize("end", [b"Invalid entry length (0). DMI table is broken! Stop.\n", b"\t<TRUNCATED>\n"])
def test_a_broken_table_is_known_to_its_break(end: bytes):
    text = TEXT[: TEXT.index(b"Handle 0x0200")] + end
    host = read(text).host
    assert host.fields.baseboard_manufacturer is None
    assert unknown_fields(host) == set()


def test_as_many_structures_as_announced_are_the_whole_table():
    text = TEXT[: TEXT.index(b"Handle 0x0200")].replace(b"Table at", b"2 structures occupying 99 bytes.\nTable at")
    assert unknown_fields(read(text).host) == set()
    assert unknown_fields(read(text.replace(b"2 struc", b"3 struc")).host) >= {"baseboard_product"}


def test_an_inactive_structure_and_one_of_a_vendor_are_not_the_first_of_a_type():
    first = (
        b"Handle 0x0900, DMI type 126, 27 bytes\nInactive\n\n"
        b"Handle 0x0901, DMI type 218, 17 bytes\nOEM-specific Type\n\tHeader and Data:\n\t\tDA 11\n\n"
    )
    assert replaced(b"Handle 0x0000", first + b"Handle 0x0000").host == read(TEXT).host


def test_a_virtual_machine():
    host = replaced(b"\t\tPCI is supported\n", b"\t\tPCI is supported\n\t\tSystem is a virtual machine\n").host
    assert host.hypervisor
    assert host.fw_cfg is not None


def test_a_virtual_machine_may_be_a_confidential_guest():
    """Its strings are those of its kind of machine, and no structure tells."""
    assert "confidential" in replaced(b"Example Inc.", b"QEMU").host.unknown
    assert "confidential" not in read(TEXT).host.unknown


def test_only_an_x86_processor_rules_a_devicetree_out():
    assert "devicetree" in replaced(b"10 0F 83 00 FF FB 8B 17", b"41 D0 3F 41 00 00 00 00").host.unknown


DOUBTFUL = [
    b".................................", b"Z..rn", b"D.ll Inc.", b"System Product .ame", b"G31M-S.", b"V1.05.",
    b"Morar       .  ", b"ConRoe1333-D667..", b".MFG_IN_GO", b"05SU.    .20080926", b"RN340EF#ACQ .",
]  # fmt: skip
PLAIN = [
    b"Dell Inc.", b"To Be Filled By O.E.M.", b"Gigabyte Technology Co., Ltd.", b"1.2.3", b"F.19", b"Olidata S.p.A.",
    b"ASUSTeK Computer INC.", b"http://www.abit.com.tw/", b"Acer,Inc.", b"Apple", b"", b"H110M-R (1.0).A",
]  # fmt: skip


def test_dots_that_may_be_other_bytes():
    assert [text for text in DOUBTFUL if not dmidecode.is_doubtful(text)] == []
    assert [text for text in PLAIN if dmidecode.is_doubtful(text)] == []
    reading = replaced(b"Machine  ", b"M..hine")
    assert reading.host.fields.product_name == b"M..hine"
    assert unknown_fields(reading.host) == {"product_name"}
    assert "product_name 'M..hine': dmidecode prints a dot" in reading.notes[0]
    # An OEM string matters where a stub reads it.
    assert unknown_fields(replaced(b"one\n", b"o..e\n").host) == set()
    assert unknown_fields(replaced(b"=quiet", b"=qui..t").host) == {"oem_strings"}


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (
            b"# dmidecode 3.4\nScanning /dev/mem for entry point.\n# No SMBIOS nor DMI entry point found, sorry.\n",
            "no S",
        ),
        (b"# dmidecode 3.4\n/dev/mem: Permission denied\n", "run it as root"),
        (b"# dmidecode 3.4\n", None),
    ],
)
def test_a_text_without_a_table(tmp_path: Path, text: bytes, hint: str | None):
    path = tmp_path / "text"
    path.write_bytes(text)
    with pytest.raises(StubsimError, match="without a structure") as caught:
        hosts.load(str(path))
    assert (caught.value.path, caught.value.offset) == (str(path), 0)
    assert (hint is None) == (caught.value.hint is None)
    assert hint is None or hint in str(caught.value)


# --- what others wrote -----------------------------------------------------------------------------------------------


def dumps(shared: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(shared / "data" / "dmi" / "dmidecode-sample.tar.xz") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is not None:
                yield member.name.removeprefix("./").removesuffix(".dmidecode.txt"), file.read()


def test_the_recorded_dumps(shared: Path):
    """The strings are those that were read from the same text by somebody else."""
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(shared / "data" / "dmi" / "machines.parquet").to_pylist()
    rows: dict[str, dict[str, Any]] = {row["path"]: row for row in table}
    compared, short, doubted = 0, 0, 0
    for path, text in dumps(shared):
        row = rows[path]
        if path.endswith("README.md"):
            with pytest.raises(StubsimError):
                read_bytes(text)
            continue
        reading = read_bytes(text)
        assert reading.kind == "dmidecode-text"
        fields = reading.host.fields._asdict()
        unseen = [int(note.split()[2]) for note in reading.notes if "a stub asks for" in note]
        short += bool(unseen)
        doubted += any("prints a dot" in note for note in reading.notes)
        for key in STRINGS:
            expected = None if row[key] in ("Not Specified", "<BAD INDEX>") else row[key]
            if TYPES.get(key.partition("_")[0].removesuffix("board"), 1) in unseen:
                expected = None
            assert (fields[key] and fields[key].decode()) == expected, (path, key)
        release = None if fields["bios_major"] is None else f"{fields['bios_major']}.{fields['bios_minor']}"
        assert release == row["bios_rev"], path
        kind = fields["enclosure_type"]
        name = None if kind is None else dmidecode._ENCLOSURES[(kind & 0x7F) - 1]
        assert name == row["enclosure_type"] or 3 in unseen, path
        assert bool(kind and kind & 0x80) == (b"\tLock: Present" in text), path
        compared += 1
    assert (compared, short, doubted) == (1197, 11, 3)


def printed(program: str, table: bytes, folder: Path, *options: str) -> bytes:
    path = folder / "dump.bin"
    path.write_bytes(smbios.build_entry_point(table).ljust(32, b"\0") + table)
    command = [program, *options, "--from-dump", str(path)]
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout


@pytest.mark.oracle
def test_what_dmidecode_prints_of_the_made_up_machines(shared: Path, oracle: Callable[[str], str], tmp_path: Path):
    """25 tables with odd strings: the text gives what the table gives, or says that it does not know."""
    program = oracle("dmidecode")
    paths = sorted((shared / "data" / "chids").glob("smbios-*.bin"))
    assert len(paths) == 25
    for path in paths:
        table = path.read_bytes()
        raw = read_bytes(table).host
        host = read_bytes(printed(program, table, tmp_path)).host
        for key in smbios.Fields._fields:
            value, expected = getattr(host.fields, key), getattr(raw.fields, key)
            # Nothing in the text tells this one from a dot.
            expected = b"a.b" if path.stem == "smbios-newline" and expected == b"a\nb" else expected
            assert value == expected or f"smbios.{key}" in host.unknown, (path, key)
        quiet = read_bytes(printed(program, table, tmp_path, "-q")).host
        assert quiet.fields.manufacturer == host.fields.manufacturer
        assert unknown_fields(quiet) >= {"oem_strings"}
        # Byte by byte nothing is lost.
        dumped = read_bytes(printed(program, table, tmp_path, "-u")).host
        assert dumped._replace(source=None) == raw._replace(source=None)
        system = read_bytes(printed(program, table, tmp_path, "-t", "1")).host
        assert system.fields.manufacturer == host.fields.manufacturer
        assert unknown_fields(system) >= {"bios_version", "enclosure_type", "oem_strings"}
        system = read_bytes(printed(program, table, tmp_path, "-u", "-t", "1")).host
        assert (system.fields.manufacturer, system.structures) == (raw.fields.manufacturer, None)
        assert unknown_fields(system) >= {"bios_version", "enclosure_type", "oem_strings"}
        strings = read_bytes(printed(program, table, tmp_path, "-t", "11,127")).host
        assert "oem_strings" not in unknown_fields(strings)


@pytest.mark.oracle
@given(
    fields=st.builds(
        smbios.Fields,
        *[st.none() | st.binary(min_size=1, max_size=9).filter(lambda value: b"\0" not in value)] * 8,
        st.integers(0, 254),
        st.integers(0, 254),
        st.integers(1, 36) | st.integers(129, 164),
    )
)
def test_what_dmidecode_prints_of_any_strings(
    fields: smbios.Fields, oracle: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
):
    """A string either comes out the same, or with dots in the places of what is not printable."""
    folder = tmp_path_factory.mktemp("dump")
    table = smbios.from_fields(fields, [b"io.systemd.example"])
    host = read_bytes(printed(oracle("dmidecode"), table, folder)).host
    for key, value in fields._asdict().items():
        got = getattr(host.fields, key)
        if isinstance(value, bytes):
            dotted = bytes(byte if 32 <= byte < 127 else ord(".") for byte in value)
            assert got in (value, dotted) or (got is None and dotted.strip() in (b"Not Specified", b"<BAD INDEX>"))
        else:
            assert got == value
    dumped = read_bytes(printed(oracle("dmidecode"), table, folder, "-u")).host
    assert dumped.fields == fields
    assert dumped.structures == smbios.parse(table)


# --- any text --------------------------------------------------------------------------------------------------------


@given(st.binary() | mutated(TEXT) | st.binary().map(lambda data: TEXT + data))
def test_any_text_is_a_host_or_one_error(data: bytes):
    assert is_host_or_error(data, dmidecode.read)


HEX = b"""# dmidecode 3.4

Handle 0x0001, DMI type 1, 27 bytes
\tHeader and Data:
\t\t01 1B 01 00 01 02 00 00 00 01 02 03 04 05 06 07
\t\t08 09 0A 0B 0C 0D 0E 0F 06 00 00
\tStrings:
\t\t41 42 20 43 44 00
\t\tAB CD
\t\t5A C3 BC 72 6E 00
\t\tZ..rn

Handle 0x0002, DMI type 127, 4 bytes
\tHeader and Data:
\t\t7F 04 02 00

"""


def test_a_text_with_all_bytes():
    reading = read(HEX)
    assert reading.host.fields.manufacturer == b"AB CD"
    assert reading.host.fields.product_name == "Zürn".encode()
    assert reading.host.structures is not None
    assert [structure.type for structure in reading.host.structures] == [1, 127]
    assert unknown_fields(reading.host) == set()


def test_a_part_with_all_bytes():
    """dmidecode -u -t 1: what is not in it is unknown, and there is no table to measure."""
    reading = read(HEX[: HEX.index(b"Handle 0x0002")])
    assert reading.host.fields.manufacturer == b"AB CD"
    assert reading.host.structures is None
    assert unknown_fields(reading.host) >= {"bios_version", "baseboard_product", "enclosure_type", "oem_strings"}
    assert "manufacturer" not in unknown_fields(reading.host)
    assert len(reading.notes) == 1


@pytest.mark.parametrize("lost", [b"\t\t08 09 0A 0B 0C 0D 0E 0F 06 00 00\n", b" 72 6E 00\n\t\tZ..rn"])
def test_a_text_with_bytes_missing(lost: bytes):
    with pytest.raises(StubsimError, match="not all there") as caught:
        read(HEX.replace(lost, b""))
    assert caught.value.offset == HEX.index(b"Handle 0x0001")


@given(mutated(HEX))
def test_any_text_with_bytes_is_a_host_or_one_error(data: bytes):
    assert is_host_or_error(data, dmidecode.read)
