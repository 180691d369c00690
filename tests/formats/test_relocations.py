"""Which sections base relocations change: every byte that pefile's own relocation changes, and no other."""

from __future__ import annotations

import struct
from operator import itemgetter

import pefile
from hypothesis import given
from hypothesis import strategies as st

from stubsim.formats import pe, pe_memory
from stubsim.formats.pe import SectionSpec
from stubsim.formats.relocations import relocated

DIR64, HIGHLOW = 10, 3
# Where `image` puts its sections: .a, .b and .reloc.
A, B, RELOC = 0x1000, 0x2000, 0x3000
OFFSET = itemgetter(1)


def block(page: int, *entries: tuple[int, int]) -> bytes:
    rows = b"".join(struct.pack("<H", kind << 12 | offset) for kind, offset in entries)
    return struct.pack("<II", page, 8 + len(rows)) + rows


def image(*blocks: bytes, **options: int) -> pe.Image:
    data = b"".join(blocks)
    sections = [SectionSpec(".a", bytes(64)), SectionSpec(".b", bytes(64)), SectionSpec(".reloc", data or b"\0")]
    return pe.open_bytes(pe.build(sections, base_relocations=(RELOC, len(data)), **options), "x.efi")


def hit(of: pe.Image) -> list[str]:
    loaded = pe_memory.loaded(of.data, of.size_of_image, of.size_of_headers, of.sections)
    return [section.name for section in relocated(of, loaded, of.sections[:2])]


def test_only_the_sections_with_a_relocation():
    assert hit(image()) == []
    assert hit(image(block(A, (DIR64, 0)))) == [".a"]
    assert hit(image(block(A, (0, 0)), block(B, (HIGHLOW, 60)))) == [".b"]
    # Behind the section's 64 bytes, and from before it into it.
    assert hit(image(block(A, (DIR64, 64)))) == []
    assert hit(image(block(A, (DIR64, 0xFFC), (HIGHLOW, 0xFFC)))) == [".b"]
    assert hit(image(block(A, (HIGHLOW, 0xFFC)))) == []


def test_an_image_without_relocations_is_never_changed():
    assert hit(image(block(A, (DIR64, 0)), characteristics=0x22 | pe.RELOCS_STRIPPED)) == []


def test_a_large_directory_is_not_read():
    value = image(block(A, (0, 0)))
    assert hit(value._replace(base_relocations=(RELOC, 2 << 20))) == [".a", ".b"]


@given(st.binary(max_size=64))
def test_any_bytes(data: bytes):
    assert set(hit(image(data))) <= {".a", ".b"}


# pefile gives up on a block with the same offset twice; EDK II does not.
@given(st.lists(st.tuples(st.sampled_from((0, HIGHLOW, DIR64)), st.integers(0, 0x1F8)), max_size=6, unique_by=OFFSET))
def test_as_pefile_relocates(entries: list[tuple[int, int]]):
    value = image(block(A, *entries), block(B, *entries))
    parsed = pefile.PE(data=bytes(value.data))
    before = parsed.get_memory_mapped_image(max_virtual_address=1 << 20)
    parsed.relocate_image(0x0101_0101_0101_0101)
    after = parsed.get_memory_mapped_image(max_virtual_address=1 << 20)
    changed = [name for name, at in ((".a", A), (".b", B)) if before[at : at + 64] != after[at : at + 64]]
    assert changed == hit(value)
