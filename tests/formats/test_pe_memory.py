"""A PE image in memory: as its sections are copied there, one after the other."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from stubsim import extent
from stubsim.formats import pe, pe_memory
from stubsim.formats.pe import SectionSpec
from tests.formats.test_pe import MIXED, write


def test_data_are_as_in_memory():
    image = pe.open_bytes(MIXED, "mixed")
    linux, _, null, *_, initrd, dtbauto = image.sections
    assert bytes(pe_memory.section_data(image, linux)) == b"K" * 1000
    assert linux.raw_size == 1024
    assert bytes(pe_memory.section_data(image, initrd)) == b"I" * 10 + bytes(4990)
    assert bytes(pe_memory.section_data(image, dtbauto)) == b"DDD"
    assert bytes(pe_memory.section_data(image, null)) == b""


def test_data_are_not_copied(tmp_path: Path):
    image = pe.open_image(write(tmp_path, MIXED))
    data = pe_memory.section_data(image, image.sections[0])
    assert data.obj is image.data.view().obj
    assert data.readonly


def test_a_large_virtual_size_costs_nothing_before_it_is_read():
    size = 3 << 30
    image = pe.open_bytes(pe.build([SectionSpec(".linux", b"abc", virtual_size=size)]), "large")
    data = pe_memory.section_data(image, image.sections[0])
    assert len(data) == size
    assert bytes(data[:4]) == b"abc\0"
    assert bytes(data[-1:]) == b"\0"


def in_memory(data: bytes, image: pe.Image) -> bytearray:
    """The image as BasePeCoffLib loads it, written down step by step."""
    memory = bytearray(image.size_of_image)
    memory[: image.size_of_headers] = data[: image.size_of_headers]
    for section in image.sections:
        size = section.virtual_size
        if size == 0 or size > section.raw_size:
            size = section.raw_size
        for place in range(size):
            if section.virtual_address + place < len(memory):
                memory[section.virtual_address + place] = data[section.raw_offset + place]
        for place in range(size, section.virtual_size):
            memory[section.virtual_address + place] = 0
    return memory


specs = st.builds(
    lambda data, size, at: SectionSpec(".s", data, virtual_size=size, virtual_address=0x400 + at),
    st.binary(max_size=40),
    st.none() | st.integers(0, 80),
    st.integers(0, 120),
)


@given(st.lists(specs, min_size=1, max_size=8))
def test_sections_lie_in_memory_as_the_firmware_copies_them(sections: list[SectionSpec]):
    data = pe.build(sections, file_alignment=1, section_alignment=64, size_of_image=0x500)
    image = pe.open_bytes(data, "built")
    memory = in_memory(data, image)
    loaded = pe_memory.loaded(image.data, image.size_of_image, image.size_of_headers, image.sections)
    assert bytes(loaded) == memory
    for section in image.sections:
        start, end = section.virtual_address, section.virtual_address + section.virtual_size
        assert bytes(loaded[start:end]) == bytes(pe_memory.section_data(image, section)) == memory[start:end]
    places = [
        set(range(section.virtual_address, section.virtual_address + (section.virtual_size or section.raw_size)))
        for section in image.sections
    ]
    shared = any(places[one] & places[other] for one in range(len(places)) for other in range(one))
    assert bool(pe_memory.overlaps(image)) == shared


def test_the_later_section_lies_over_the_earlier():
    data = pe.build(
        [
            SectionSpec(".osrel", b"ID=first and long", virtual_address=0x2000),
            SectionSpec(".cmdline", b"quiet", virtual_size=8, virtual_address=0x2003),
            SectionSpec(".far", b"", virtual_address=0xF000),
        ]
    )
    image = pe.open_bytes(data, "built")
    first, second, far = image.sections
    assert bytes(pe_memory.section_data(image, first)) == b"ID=quiet\0\0\0d long"
    assert bytes(pe_memory.section_data(image, second)) == b"quiet\0\0\0"
    assert bytes(pe_memory.section_data(image, far)) == b""
    assert pe_memory.overlaps(image) == ((first, second),)


def test_zeros_over_the_headers_and_data_without_a_virtual_size():
    """A section without data may lie anywhere; one with VirtualSize 0 is copied whole all the same."""
    data = pe.build(
        [
            SectionSpec(".zero", virtual_size=16, virtual_address=0x200 - 16),
            SectionSpec(".osrel", b"ID=x", virtual_address=0x1000),
            SectionSpec(".over", b"Y", virtual_size=0, virtual_address=0x1003),
        ],
        file_alignment=1,
        size_of_image=0x3000,
    )
    image = pe.open_bytes(data, "built")
    zero, osrel, over = image.sections
    image = image._replace(size_of_headers=0x200)
    assert bytes(pe_memory.section_data(image, osrel)) == b"ID=Y"
    assert pe_memory.overlaps(image) == ((None, zero), (osrel, over))


def test_thousands_of_sections_over_each_other_cost_no_more_than_their_number():
    """65535 is what NumberOfSections holds; each lies over all before it."""
    count = 5000
    sections = [pe.Section(i, ".s", 1 << 20, 0x100000 + 16 * i, 0, 0, 0, 0, 0) for i in range(count)]
    data = extent.of_bytes(bytes(64))
    loaded = pe_memory.loaded(data, 1 << 30, 64, sections)
    assert len(loaded) == 1 << 30
    assert bytes(loaded[:64]) == bytes(64)
