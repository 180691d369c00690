"""PE images as the firmware loads them and as systemd-stub reads its own section table.

The section table keeps its file order, whatever the addresses, and goes on behind an all-zero header: the stub walks
it so, while pefile sorts it by address and stops there. Offsets and sizes are in bytes.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from struct import Struct

from stubsim import extent, stream
from stubsim.errors import StubsimError
from stubsim.extent import Bytes, Extent
from stubsim.rows import NamedTuple

MACHINES = {
    0x8664: "x64",
    0xAA64: "aa64",
    0x014C: "ia32",
    0x01C2: "arm",
    0x5064: "riscv64",
    0x6264: "loongarch64",
    0x5032: "riscv32",
    0x6232: "loongarch32",
}
PE32, PE32_PLUS = 0x10B, 0x20B
NX_COMPAT = 0x100
RELOCS_STRIPPED = 0x1

# Microsoft PE format: "PE\0\0" and the COFF header, then the optional header up to its stack sizes.
COFF = Struct("<4sHHIIIHH")
_OPTIONAL = Struct("<HBBIIIII8sIIHHHHHHIIIIHH")
_SECTION = Struct("<8sIIIIIIHHI")
_DIRECTORY = Struct("<II")
# The data directories' place in the optional header.
DIRECTORIES = {PE32: 96, PE32_PLUS: 112}
SECTION_SIZE, DIRECTORY_SIZE = _SECTION.size, _DIRECTORY.size
CERTIFICATE_TABLE, BASE_RELOCATIONS = 4, 5
# What firmware loads: application, boot service driver, runtime driver.
APPLICATION, BOOT_SERVICE_DRIVER, RUNTIME_DRIVER = 10, 11, 12
EFI_SUBSYSTEMS = (APPLICATION, BOOT_SERVICE_DRIVER, RUNTIME_DRIVER)
_DIRECTORIES_MAX = 16
# What is given in place of a UKI, by the bytes it begins with.
_OTHER_FILES = {
    b"\x1f\x8b": "gzip data (an Image.gz or an initrd, perhaps)",
    b"\x28\xb5\x2f\xfd": "zstd data (an initrd, perhaps)",
    b"\xfd7zXZ\0": "xz data (an initrd, perhaps)",
    b"07070": "a cpio archive (an initrd)",
    b"\x7fELF": "an ELF file (vmlinux, perhaps)",
    b"\xd0\x0d\xfe\xed": "a devicetree",
    b"hsqs": "a squashfs image",
    b"!<arch>": "a Debian package or another ar archive",
}
_DOS_HEADER_SIZE = 64


class Section(NamedTuple):
    """A row of the section table; header_offset is where the row stands in the file."""

    index: int  # type: ignore[assignment]
    name: str
    virtual_size: int
    virtual_address: int
    raw_size: int
    raw_offset: int
    relocations_offset: int
    characteristics: int
    header_offset: int


class Image(NamedTuple):
    """A PE file; ``data`` is all of it, ``sections`` are in file order."""

    data: Extent
    machine: int
    optional_magic: int
    characteristics: int
    dll_characteristics: int
    subsystem: int
    image_base: int
    size_of_image: int
    size_of_headers: int
    section_alignment: int
    file_alignment: int
    major_image_version: int
    entry_point: int
    certificate_table: tuple[int, int]
    base_relocations: tuple[int, int]
    sections: tuple[Section, ...]
    path: str


class Headers(NamedTuple):
    """What the stub and the firmware read of the kernel that is about to start.

    base_relocations are RVA and size in bytes; directories is NumberOfRvaAndSizes; the section table is given by its
    offsets in the file, its end by the number of sections in the header.
    """

    machine: int
    optional_magic: int
    optional_size: int
    directories: int
    characteristics: int
    subsystem: int
    table_start: int
    table_end: int
    image_base: int
    size_of_image: int
    size_of_headers: int
    section_alignment: int
    major_image_version: int
    dll_characteristics: int
    entry_point: int
    base_relocations: tuple[int, int]
    sections: tuple[Section, ...]

    @property
    def section_count(self) -> int:
        """As the file header tells it, be the table cut short or not."""
        return (self.table_end - self.table_start) // SECTION_SIZE

    @property
    def has_relocations_directory(self) -> bool:
        """Whether that of base relocations is among the directories, by both of the numbers that tell."""
        needed = BASE_RELOCATIONS + 1
        room = self.optional_size - DIRECTORIES[self.optional_magic]
        return self.directories >= needed and room >= needed * DIRECTORY_SIZE

    @property
    def end(self) -> int:
        """Where an optional header of PE32+, the larger one of the two, ends with all its directories."""
        optional = self.table_start - self.optional_size
        return optional + DIRECTORIES[PE32_PLUS] + _DIRECTORIES_MAX * DIRECTORY_SIZE


class SectionSpec(NamedTuple):
    """A section to build; without an address it comes behind the ones before it, without a size it has its data's."""

    name: str
    data: bytes = b""
    virtual_size: int | None = None
    virtual_address: int | None = None
    characteristics: int = 0x4000_0040
    relocations_offset: int = 0


def open_image(path: str) -> Image:
    """Open a PE file.

    StubsimError: cannot be read, is no PE, is cut short at any place, or is one that EDK II's loader refuses
    (BasePeCoffLib, PeCoffLoaderGetPeHeader and PeCoffLoaderLoadImage): a section outside the image, or one with data
    inside the headers.
    """
    streamed = stream.content(path)
    data = extent.of_file(path, "a PE file") if streamed is None else extent.of_bytes(streamed)
    if not data:
        raise StubsimError("the file is empty", path=path, expected="a PE file")
    return _image(data, path)


def open_bytes(data: Bytes, name: str) -> Image:
    """The same for an image in memory; the name is used in errors only."""
    return _image(extent.of_bytes(data), name)


def read_headers(data: Bytes, machines: Container[int] | None = None) -> Headers | None:
    """The headers of an inner image, or None where systemd-stub says "Load error" (262, verify_dos and verify_pe).

    ``machines`` are those it accepts, None for any. The stub knows no end of the image: of a section table that is cut
    short only the rows in the data come back.
    """
    view = extent.of_bytes(data)
    if len(view) < _DOS_HEADER_SIZE or bytes(view[:2]) != b"MZ":
        return None
    header = _number(view, 0x3C, 4)
    optional = header + COFF.size
    if header < _DOS_HEADER_SIZE or len(view) < optional + _OPTIONAL.size:
        return None
    signature, machine, count, _, _, _, optional_size, characteristics = COFF.unpack(bytes(view[header:optional]))
    fields = _OPTIONAL.unpack(bytes(view[optional : optional + _OPTIONAL.size]))
    magic = fields[0]
    if signature != b"PE\0\0" or not count or magic not in DIRECTORIES:
        return None
    if machines is not None and machine not in machines:
        return None
    # The stub does not look at NumberOfRvaAndSizes before it reads this directory (262).
    directory = optional + DIRECTORIES[magic] + BASE_RELOCATIONS * _DIRECTORY.size
    table = optional + optional_size
    return Headers(
        machine=machine,
        optional_magic=magic,
        optional_size=optional_size,
        directories=_number(view, optional + DIRECTORIES[magic] - 4, 4),
        characteristics=characteristics,
        subsystem=fields[21],
        table_start=table,
        table_end=table + count * _SECTION.size,
        # BaseOfData and ImageBase of 32 bits, or ImageBase of 64.
        image_base=int.from_bytes(fields[8][4:] if magic == PE32 else fields[8], "little"),
        size_of_image=fields[18],
        size_of_headers=fields[19],
        section_alignment=fields[9],
        major_image_version=fields[13],
        dll_characteristics=fields[22],
        entry_point=fields[6],
        base_relocations=(_number(view, directory, 4), _number(view, directory + 4, 4)),
        sections=_sections(view, table, count),
    )


def build(
    sections: Sequence[SectionSpec],
    *,
    machine: int = 0x8664,
    major_image_version: int = 1,
    subsystem: int = 10,
    characteristics: int = 0x22,
    dll_characteristics: int = NX_COMPAT,
    entry_point: int = 0,
    base_relocations: tuple[int, int] = (0, 0),
    size_of_image: int | None = None,
    section_alignment: int = 4096,
    file_alignment: int = 512,
    image_base: int = 0,
    certificates: bytes = b"",
) -> bytes:
    """A PE32+ image, by default an EFI application, with the sections in the order given; certificates are attached.

    StubsimError: a name longer than 8 bytes, or a number that does not fit its field.
    """
    header = _DOS_HEADER_SIZE
    optional_size = DIRECTORIES[PE32_PLUS] + _DIRECTORIES_MAX * _DIRECTORY.size
    table = header + COFF.size + optional_size
    headers_size = _align(table + len(sections) * _SECTION.size, file_alignment)
    address, offset = _align(headers_size, section_alignment), headers_size
    rows: list[bytes] = []
    body: list[bytes] = []
    image_end = address
    for spec in sections:
        name = spec.name.encode("latin-1", "replace")
        if len(name) > 8:
            raise StubsimError("section name too long", section=spec.name, expected="at most 8 bytes")
        size = len(spec.data) if spec.virtual_size is None else spec.virtual_size
        at = address if spec.virtual_address is None else spec.virtual_address
        raw = spec.data + bytes(-len(spec.data) % file_alignment)
        row = (name, size, at, len(raw), offset if raw else 0, spec.relocations_offset, 0, 0, 0, spec.characteristics)
        rows.append(_pack(_SECTION, *row))
        body.append(raw)
        offset += len(raw)
        image_end = max(image_end, _align(at + max(size, 1), section_alignment))
        address = image_end
    dos = b"MZ".ljust(0x3C, b"\0") + header.to_bytes(4, "little")
    coff = _pack(COFF, b"PE\0\0", machine, len(sections), 0, 0, 0, optional_size, characteristics)
    versions = (0, 0, major_image_version, 0, 0, 0, 0)
    sizes = (image_end if size_of_image is None else size_of_image, headers_size, 0)
    alignments, base = (section_alignment, file_alignment), image_base.to_bytes(8, "little")
    optional = _pack(
        _OPTIONAL, PE32_PLUS, 0, 0, 0, 0, 0, entry_point, 0, base, *alignments, *versions, *sizes, subsystem,
        dll_characteristics,
    )  # fmt: skip
    stacks = bytes(DIRECTORIES[PE32_PLUS] - _OPTIONAL.size - 4) + _DIRECTORIES_MAX.to_bytes(4, "little")
    directories = [(0, 0)] * _DIRECTORIES_MAX
    directories[BASE_RELOCATIONS] = base_relocations
    if certificates:
        directories[CERTIFICATE_TABLE] = (offset, len(certificates))
    packed = b"".join(_pack(_DIRECTORY, *entry) for entry in directories)
    head = dos + coff + optional + stacks + packed + b"".join(rows)
    return head.ljust(headers_size, b"\0") + b"".join(body) + certificates


def _check_headers(data: Extent, path: str) -> int:
    """Check that all headers are there, down to the end of the section table, and return where that begins."""

    def fail(message: str, offset: int, expected: str) -> StubsimError:
        return StubsimError(message, path=path, offset=offset, expected=expected)

    def need(start: int, size: int, what: str) -> None:
        if start + size > len(data):
            raise fail("the file is cut short", len(data), f"{what} up to {start + size:#x}")

    if bytes(data[:2]) != b"MZ":
        start = bytes(data[:8])
        what = next((f", but {name}" for magic, name in _OTHER_FILES.items() if start.startswith(magic)), "")
        raise fail(f"not a PE file{what}", 0, '"MZ"')
    need(0, _DOS_HEADER_SIZE, "the DOS header")
    header = _number(data, 0x3C, 4)
    if header < _DOS_HEADER_SIZE:
        raise fail(f"the PE header is said to be at {header:#x}, inside the DOS header", 0x3C, "0x40 or more")
    need(header, COFF.size, "the PE header")
    count: int
    optional_size: int
    signature, _, count, _, _, _, optional_size, _ = COFF.unpack(bytes(data[header : header + COFF.size]))
    if signature != b"PE\0\0":
        raise fail("not a PE file", header, '"PE" and two NULs')
    optional = header + COFF.size
    need(optional, max(optional_size, 2), "the optional header")
    magic = _number(data, optional, 2)
    if magic not in DIRECTORIES:
        raise fail(f"unknown optional header {magic:#x}", optional, "0x10b (PE32) or 0x20b (PE32+)")
    if optional_size < DIRECTORIES[magic]:
        raise fail(f"the optional header has only {optional_size} bytes", header + 20, f"{DIRECTORIES[magic]} or more")
    if not count:
        raise fail("the image has no sections", header + 6, "one or more")
    table = optional + optional_size
    need(table, count * _SECTION.size, f"a table of {count} sections")
    return table


def _image(data: Extent, path: str) -> Image:
    """Take the headers from pefile and the sections from the file, and check that the image can be loaded."""
    table = _check_headers(data, path)
    import pefile

    try:
        # The headers alone: given a path, pefile maps the file again and its close() collects all garbage; of a section
        # table, which is not taken from it, it makes much more than of all the rest.
        parsed = pefile.PE(data=bytes(data[:table]), fast_load=True)
    except Exception as error:  # pefile lets AttributeError and others through for headers it did not expect
        raise StubsimError(f"not a readable PE file: {error}", path=path, expected="a PE image") from error
    coff, optional = parsed.FILE_HEADER, parsed.OPTIONAL_HEADER
    header = parsed.DOS_HEADER.e_lfanew
    room = (coff.SizeOfOptionalHeader - DIRECTORIES[optional.Magic]) // _DIRECTORY.size
    if optional.NumberOfRvaAndSizes > min(room, _DIRECTORIES_MAX):
        where = header + COFF.size + DIRECTORIES[optional.Magic] - 4
        found = f"{optional.NumberOfRvaAndSizes} data directories"
        raise StubsimError(found, path=path, offset=where, expected=f"at most {min(room, _DIRECTORIES_MAX)}")
    directories = [(entry.VirtualAddress, entry.Size) for entry in optional.DATA_DIRECTORY]
    directories += [(0, 0)] * (_DIRECTORIES_MAX - len(directories))
    if optional.SizeOfHeaders > len(data):
        expected = f"headers up to {optional.SizeOfHeaders:#x}"
        raise StubsimError("the file is cut short", path=path, offset=len(data), expected=expected)
    sections = _sections(data, table, coff.NumberOfSections)
    for section in sections:
        _check_section(section, len(data), optional.SizeOfImage, optional.SizeOfHeaders, path)
    return Image(
        data=data,
        machine=coff.Machine,
        optional_magic=optional.Magic,
        characteristics=coff.Characteristics,
        dll_characteristics=optional.DllCharacteristics,
        subsystem=optional.Subsystem,
        image_base=optional.ImageBase,
        size_of_image=optional.SizeOfImage,
        size_of_headers=optional.SizeOfHeaders,
        section_alignment=optional.SectionAlignment,
        file_alignment=optional.FileAlignment,
        major_image_version=optional.MajorImageVersion,
        entry_point=optional.AddressOfEntryPoint,
        certificate_table=directories[CERTIFICATE_TABLE],
        base_relocations=directories[BASE_RELOCATIONS],
        sections=sections,
        path=path,
    )


def _sections(data: Extent, offset: int, count: int) -> tuple[Section, ...]:
    table = bytes(data[offset : offset + count * _SECTION.size])
    rows = []
    for index in range(len(table) // _SECTION.size):
        at = index * _SECTION.size
        name, size, address, raw_size, raw_offset, relocations, _, _, _, flags = _SECTION.unpack_from(table, at)
        text = name.partition(b"\0")[0].decode("latin-1")
        rows.append(Section(index, text, size, address, raw_size, raw_offset, relocations, flags, offset + at))
    return tuple(rows)


def _check_section(section: Section, file_size: int, image_size: int, headers: int, path: str) -> None:
    if section.raw_size and section.raw_offset + section.raw_size > file_size:
        raise StubsimError(
            "the file is cut short",
            path=path,
            section=section.name,
            offset=file_size,
            expected=f"the section's data up to {section.raw_offset + section.raw_size:#x}",
        )
    # BasePeCoffLib looks at the first and the last byte of every section that has any; an empty one with bytes in the
    # file still needs its address inside.
    occupied = section.virtual_size or min(section.raw_size, 1)
    if occupied and section.virtual_address + occupied > image_size:
        end = section.virtual_address + section.virtual_size
        raise StubsimError(
            f"the section ends at {end:#x}, outside the image",
            path=path,
            section=section.name,
            offset=section.header_offset,
            expected=f"an end at {image_size:#x} (SizeOfImage) or before",
            hint="firmware does not load such an image",
        )
    if section.raw_size and min(section.virtual_address, section.raw_offset) < headers:
        in_memory = section.virtual_address < headers
        raise StubsimError(
            f"the section's data lie inside the headers {'in memory' if in_memory else 'of the file'}",
            path=path,
            section=section.name,
            offset=section.header_offset,
            expected=f"{headers:#x} (SizeOfHeaders) or more",
            hint="firmware does not load such an image",
        )


def _number(data: Extent, offset: int, size: int) -> int:
    return int.from_bytes(bytes(data[offset : offset + size]), "little")


def _align(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment


def _pack(layout: Struct, *values: int | bytes) -> bytes:
    from struct import error

    try:
        return layout.pack(*values)
    except error as problem:
        raise StubsimError(f"cannot build the image: {problem}") from problem
