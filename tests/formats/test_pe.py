"""PE images: the section table in file order, data as in memory, and what cannot be loaded."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.errors import StubsimError
from stubsim.formats import pe, pe_memory
from stubsim.formats.pe import SectionSpec

TABLE = 0x40 + 24 + 240
MIXED = pe.build(
    [
        SectionSpec(".linux", b"K" * 1000, virtual_address=0x9000),
        SectionSpec(".cmdline", b"root=x", virtual_address=0x8000),
        SectionSpec("", virtual_address=0, characteristics=0),
        SectionSpec(".profile", b"ID=a\n", virtual_address=0x7000),
        SectionSpec(".cmdline", b"root=y", virtual_address=0x6000),
        SectionSpec(".initrd", b"I" * 10, virtual_size=5000, virtual_address=0x4000),
        SectionSpec(".dtbauto", b"D" * 700, virtual_size=3, virtual_address=0x3000),
    ]
)


def write(folder: Path, data: bytes) -> str:
    path = folder / "image.efi"
    path.write_bytes(data)
    return str(path)


def patched(data: bytes, offset: int, layout: str, *values: int) -> bytes:
    copy = bytearray(data)
    struct.pack_into(layout, copy, offset, *values)
    return bytes(copy)


def test_sections_keep_their_file_order(tmp_path: Path):
    image = pe.open_image(write(tmp_path, MIXED))
    assert [section.name for section in image.sections] == [
        ".linux", ".cmdline", "", ".profile", ".cmdline", ".initrd", ".dtbauto",
    ]  # fmt: skip
    assert [section.index for section in image.sections] == list(range(7))
    assert [section.header_offset for section in image.sections] == [TABLE + 40 * index for index in range(7)]
    assert all(later.virtual_address < one.virtual_address for one, later in pairwise(image.sections[3:]))
    assert bytes(pe_memory.section_data(image, image.sections[4])) == b"root=y"


@pytest.mark.parametrize("address", [0x100, 0x1FF])
def test_data_inside_the_headers_are_not_loaded(address: int):
    data = pe.build([SectionSpec(".a", b"x", virtual_address=address)])
    with pytest.raises(StubsimError, match="inside the headers in memory"):
        pe.open_bytes(data, "built")
    with pytest.raises(StubsimError, match="inside the headers of the file"):
        pe.open_bytes(patched(pe.build([SectionSpec(".a", b"x")]), TABLE + 20, "<I", 0x1FF), "built")


def test_headers_agree_with_pefile():
    import pefile

    data = pe.build(
        [SectionSpec(".text", b"x", characteristics=0x60000020)],
        machine=0xAA64,
        entry_point=0x1000,
        base_relocations=(0x1000, 1),
        certificates=bytes(16),
    )
    image, other = pe.open_bytes(data, "x"), pefile.PE(data=data)
    assert not [warning for warning in other.get_warnings() if "makes up" not in warning]
    assert image.machine == other.FILE_HEADER.Machine == 0xAA64
    assert image.size_of_image == other.OPTIONAL_HEADER.SizeOfImage == 0x2000
    assert image.certificate_table == (1024, 16)
    assert image.base_relocations == (0x1000, 1)
    assert (image.subsystem, image.entry_point, image.dll_characteristics) == (10, 0x1000, 0x100)
    assert (image.file_alignment, image.section_alignment, image.size_of_headers) == (512, 4096, 512)
    assert other.sections[0].Characteristics == image.sections[0].characteristics
    assert other.verify_checksum() is False
    assert pe.MACHINES[image.machine] == "aa64"


def test_built_images_are_deterministic_and_refuse_what_does_not_fit():
    assert pe.build([SectionSpec(".a", b"1")]) == pe.build([SectionSpec(".a", b"1")])
    for spec in (SectionSpec(".toolongname"), SectionSpec(".a", virtual_address=1 << 32)):
        with pytest.raises(StubsimError):
            pe.build([spec])


def test_names_end_at_their_nul_and_may_be_any_bytes():
    data = bytearray(pe.build([SectionSpec(".efifw"), SectionSpec(".dtbauto")]))
    data[TABLE : TABLE + 8] = b".dtb\0\xffzz"
    data[TABLE + 40 : TABLE + 48] = b".\xe4\xf6aaaaa"
    assert [section.name for section in pe.open_bytes(data, "names").sections] == [".dtb", ".äöaaaaa"]


def test_every_truncation_is_an_error_with_its_place(tmp_path: Path):
    data = pe.build([SectionSpec(".a", bytes(600)), SectionSpec(".b", bytes(10))])
    for size in [*range(TABLE + 81), *range(TABLE + 81, len(data), 37), len(data) - 1]:
        with pytest.raises(StubsimError) as caught:
            pe.open_bytes(data[:size], "cut.efi")
        assert caught.value.path == "cut.efi"
        assert caught.value.offset is not None
        assert caught.value.expected
    path = write(tmp_path, data[:-1])
    with pytest.raises(StubsimError, match=r"image.efi: .b: offset 0x7ff: the file is cut short"):
        pe.open_image(path)


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "empty"), (b"MZ", "cut short"), (b"\x7fELF" + bytes(100), "not a PE")]
)
def test_other_files(tmp_path: Path, content: bytes, message: str):
    with pytest.raises(StubsimError, match=message):
        pe.open_image(write(tmp_path, content))


def test_places_that_are_no_files(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path, "is a folder"),
        (tmp_path / "none", "No such file"),
        (tmp_path / "pipe", "regular"),
    ):
        with pytest.raises(StubsimError, match=message) as caught:
            pe.open_image(str(path))
        assert caught.value.path == str(path)
    with pytest.raises(StubsimError, match="regular"):
        pe.open_image("/dev/zero")
    with pytest.raises(StubsimError):
        pe.open_image("a\0b")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(tmp_path: Path):
    path = write(tmp_path, MIXED)
    os.chmod(path, 0)
    with pytest.raises(StubsimError, match="Permission denied"):
        pe.open_image(path)


@pytest.mark.parametrize(
    ("offset", "layout", "value"),
    [
        (0x3C, "<I", 0x3F),  # e_lfanew inside the DOS header
        (0x3C, "<I", 0xFFFFFFFF),
        (0x40, "<I", 0),  # signature
        (0x46, "<H", 0),  # number of sections
        (0x46, "<H", 0xFFFF),
        (0x54, "<H", 8),  # size of the optional header
        (0x58, "<H", 0x107),  # magic
        (0x58 + 60, "<I", 1 << 30),  # size of headers
        (0x58 + 108, "<I", 17),  # number of data directories
    ],
)
def test_headers_that_cannot_be(offset: int, layout: str, value: int):
    with pytest.raises(StubsimError) as caught:
        pe.open_bytes(patched(MIXED, offset, layout, value), "bad.efi")
    assert caught.value.offset is not None


def test_a_section_outside_the_image_is_not_loaded():
    """BasePeCoffLib: the first and the last byte of a section must be inside SizeOfImage."""
    inside = pe.build([SectionSpec(".a", b"x", virtual_size=0x1000)], size_of_image=0x2000)
    assert pe.open_bytes(inside, "x").size_of_image == 0x2000
    for spec in (
        SectionSpec(".a", b"x", virtual_size=0x1001),
        SectionSpec(".a", b"x", virtual_address=0x2000),
        SectionSpec(".a", b"x", virtual_size=0xFFFFFFFF),
        SectionSpec(".a", b"x", virtual_size=0, virtual_address=0x2000),
    ):
        with pytest.raises(StubsimError, match="outside the image") as caught:
            pe.open_bytes(pe.build([spec], size_of_image=0x2000), "x")
        assert (caught.value.section, caught.value.offset) == (".a", TABLE)
    assert pe.open_bytes(pe.build([SectionSpec(".a", virtual_address=0x5000, virtual_size=0)]), "x").sections


def test_read_headers_as_the_stub_does():
    data = pe.build([SectionSpec(".text", b"x", relocations_offset=7)], base_relocations=(0x1000, 12), entry_point=5)
    headers = pe.read_headers(memoryview(data))
    assert headers is not None
    assert (headers.machine, headers.optional_magic, headers.base_relocations[1]) == (0x8664, 0x20B, 12)
    assert (headers.size_of_image, headers.size_of_headers, headers.section_alignment) == (0x2000, 512, 4096)
    assert (headers.major_image_version, headers.dll_characteristics, headers.entry_point) == (1, 0x100, 5)
    assert headers.sections == pe.open_bytes(data, "x").sections
    assert headers.sections[0].relocations_offset == 7
    assert pe.read_headers(memoryview(data), {0x8664}) == headers
    assert pe.read_headers(memoryview(data), {0xAA64}) is None


@pytest.mark.parametrize(
    ("offset", "layout", "value"),
    [
        (0, "<H", 0),
        (0x3C, "<I", 63),
        (0x3C, "<I", 0xFFFFFFFF),
        (0x40, "<I", 1),
        (0x46, "<H", 0),
        (0x58, "<H", 0x107),
    ],
)
def test_headers_the_stub_refuses(offset: int, layout: str, value: int):
    assert pe.read_headers(memoryview(patched(MIXED, offset, layout, value))) is None


def test_headers_of_pe32():
    """The relocation directory of PE32 stands 16 bytes before that of PE32+."""
    data = patched(MIXED, 0x58, "<H", 0x10B)
    data = patched(data, 0x58 + 96 + 5 * 8, "<II", 1, 99)
    headers = pe.read_headers(memoryview(data))
    assert headers is not None
    assert headers.base_relocations[1] == 99


def test_recorded_images(shared: Path):
    """The section table and the digests of the sections in memory were recorded beside the images."""
    seen = 0
    for path in sorted((shared / "golden").glob("*/expect.json")):
        image = pe.open_image(str(path.with_name("uki.efi")))
        for section, recorded in zip(image.sections, json.loads(path.read_text()).get("sections") or [], strict=False):
            row = section._asdict()
            assert {key: row[key] for key in row.keys() & recorded.keys()} == {
                key: recorded[key] for key in row.keys() & recorded.keys()
            }, path
            if "sha256_memory" in recorded:
                assert sha256(pe_memory.section_data(image, section)).hexdigest() == recorded["sha256_memory"], path
                seen += 1
    assert seen > 500


def test_recorded_addons_open(shared: Path):
    addons = [path for path in (shared / "golden").glob("*/esp/**/*") if path.name.lower().endswith(".addon.efi")]
    assert addons
    for path in addons:
        assert pe.open_image(str(path)).sections


def test_objdump_accepts_a_built_image(tmp_path: Path):
    objdump = shutil.which("objdump")
    if not objdump:
        pytest.skip("no objdump")
    data = pe.build([SectionSpec(".linux", b"K" * 700), SectionSpec(".cmdline", b"quiet", virtual_address=0x9000)])
    result = subprocess.run([objdump, "-h", write(tmp_path, data)], capture_output=True, check=False, text=True)
    if "not recognized" in result.stderr:
        pytest.skip("objdump without PE support")
    rows = [line.split() for line in result.stdout.splitlines() if " ." in line]
    assert [(row[1], int(row[2], 16), int(row[3], 16)) for row in rows] == [
        (".linux", 700, 0x1000), (".cmdline", 5, 0x9000),
    ]  # fmt: skip


def read_all(data: bytes) -> None:
    view = memoryview(data)
    pe.read_headers(view)
    try:
        image = pe.open_bytes(data, "fuzz")
    except StubsimError:
        return
    for section in image.sections[:50]:
        if section.virtual_size < 1 << 24:
            assert len(pe_memory.section_data(image, section)) == section.virtual_size


@given(st.binary(max_size=400))
def test_arbitrary_bytes(data: bytes):
    read_all(data)
    read_all(b"MZ" + data)
    read_all(MIXED[:0x58] + data)


@given(st.lists(st.tuples(st.integers(0, TABLE + 7 * 40), st.binary(min_size=1, max_size=8)), max_size=4))
def test_mutated_headers(changes: list[tuple[int, bytes]]):
    data = bytearray(MIXED)
    for offset, content in changes:
        data[offset : offset + len(content)] = content
    read_all(bytes(data))


@given(
    st.lists(
        st.tuples(st.text(st.characters(max_codepoint=255, min_codepoint=1), max_size=8), st.binary(max_size=60)),
        min_size=1,
        max_size=8,
    )
)
def test_built_images_come_back(sections: list[tuple[str, bytes]]):
    image = pe.open_bytes(pe.build([SectionSpec(name, data) for name, data in sections]), "built")
    assert [(each.name, bytes(pe_memory.section_data(image, each))) for each in image.sections] == sections
