"""UKIs made of a stub, read back by a library that is not ours."""

from __future__ import annotations

import pefile
import pytest

from scripts.lab import images
from stubsim.errors import StubsimError
from stubsim.formats import pe, pe_memory
from stubsim.formats.pe import SectionSpec

STUB = pe.build(
    [SectionSpec(".text", b"code", characteristics=0x6000_0020), SectionSpec(".sbat", b"sbat,1")], entry_point=0x1000
)
# As many as fit into the first page behind the stub's own two.
MOST = (0x1000 - 64 - 24 - 240) // 40 - 2


def test_sections_stand_behind_those_of_the_stub_and_keep_name_size_and_data():
    specs = [SectionSpec(".linux", b"k" * 1000), SectionSpec(".osrel\0x", b""), SectionSpec(".initrd", b"i", 5000)]
    data = images.uki(STUB, specs)
    found = pefile.PE(data=data)
    rows = [
        (row.Name.rstrip(b"\0"), row.Misc_VirtualSize, row.get_data()[: row.SizeOfRawData]) for row in found.sections
    ]
    assert [name for name, _, _ in rows] == [b".text", b".sbat", b".linux", b".osrel\0x", b".initrd"]
    assert [size for _, size, _ in rows] == [4, 6, 1000, 0, 5000]
    assert [bytes(content).rstrip(b"\0") for _, _, content in rows] == [b"code", b"sbat,1", b"k" * 1000, b"", b"i"]
    assert found.OPTIONAL_HEADER.SizeOfImage == found.sections[-1].VirtualAddress + 0x2000
    assert found.OPTIONAL_HEADER.AddressOfEntryPoint == 0x1000
    assert pe.open_bytes(data, "made").sections[1].name == ".sbat"


def test_the_headers_grow_up_to_the_first_section():
    data = images.uki(STUB, [SectionSpec(f".x{number}", b"x") for number in range(MOST)])
    assert len(pefile.PE(data=data).sections) == MOST + 2
    assert (
        bytes(pe_memory.section_data(pe.open_bytes(data, "made"), pe.open_bytes(data, "made").sections[0])) == b"code"
    )
    with pytest.raises(StubsimError, match="no room"):
        images.uki(STUB, [SectionSpec(".x", b"x")] * (MOST + 1))


def test_a_section_may_lie_where_another_is():
    data = images.uki(
        STUB, [SectionSpec(".a", b"abc"), SectionSpec(".b", b"d", virtual_address=0x3001), SectionSpec(".c")]
    )
    assert [row.VirtualAddress for row in pefile.PE(data=data).sections] == [0x1000, 0x2000, 0x3000, 0x3001, 0x4000]


def test_signed_is_to_have_a_certificate_table():
    image = pe.open_bytes(images.uki(STUB, [SectionSpec(".a", b"x")], signed=True), "made")
    offset, size = image.certificate_table
    assert bytes(image.data[offset : offset + size]) == images.CERTIFICATE
    assert offset + size == len(image.data)
