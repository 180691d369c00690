"""Which images EDK II's LoadImage() takes and where it puts them (MdeModulePkg/Core/Dxe/Image/Image.c)."""

from __future__ import annotations

from stubsim.extent import Extent
from stubsim.formats import pe, pe_memory
from stubsim.machine.ram import PAGE
from stubsim.rows import NamedTuple
from stubsim.uefi.memory import POOL_OVERHEAD, Memory, OutOfResources

# Below are things of old PCs: no image is put there for its ImageBase.
_LOWEST = 0x100000

# Type of an image -> memory type of its pages.
_TYPES = {
    pe.APPLICATION: "EfiLoaderCode",
    pe.BOOT_SERVICE_DRIVER: "EfiBootServicesCode",
    pe.RUNTIME_DRIVER: "EfiRuntimeServicesCode",
}

# IMAGE_REL_BASED_ABSOLUTE, HIGH, LOW, HIGHLOW and DIR64 of the Microsoft PE format.
_RELOCATION_KINDS = (0, 1, 2, 3, 10)


class Placed(NamedTuple):
    """Where an image lies, the type of its pages, and where these begin."""

    gpa: int
    type: str
    allocated: int


class AddressTaken(OutOfResources):
    """EFI_NOT_FOUND: an image without relocations can only lie at its ImageBase, and there is no free RAM."""


def place_image(memory: Memory, image: pe.Image | pe.Headers) -> Placed:
    """Allocate the pages of an image: at its ImageBase where that is free, else anywhere.

    There are as many more as its SectionAlignment asks for; what is cut short stays allocated. Raises OutOfResources,
    or AddressTaken.
    """
    kind = _TYPES.get(image.subsystem, _TYPES[pe.APPLICATION])
    alignment = image.section_alignment
    size = image.size_of_image + (alignment if alignment > PAGE else 0)
    stripped = bool(image.characteristics & pe.RELOCS_STRIPPED)
    gpa = None
    if image.image_base >= _LOWEST or stripped:
        try:
            gpa = memory.allocate(size, kind, at=image.image_base)
        except OutOfResources as error:
            if stripped:
                raise AddressTaken(str(error)) from None
    if gpa is None:
        gpa = memory.allocate(size, kind)
    # The arithmetic of a power of two, whatever the number.
    aligned = (gpa + alignment - 1) & ~(alignment - 1) if alignment > PAGE else gpa
    return Placed(aligned, kind, gpa)


def load_file(memory: Memory, image: pe.Image, size: int) -> Placed:
    """The same for an image of so many bytes that LoadImage() reads from a file itself.

    Its pages come below those of the file, which it frees again; so what is allocated next fills that hole first
    (recorded). Raises as place_image() does.
    """
    file = memory.allocate(size + POOL_OVERHEAD, "EfiBootServicesData")
    try:
        return place_image(memory, image)
    finally:
        memory.free(file)


def refusal(image: Extent, headers: pe.Headers) -> str | None:
    """The status with which the firmware's LoadImage() refuses an image, None where it takes it.

    EDK II, BasePeCoffLib (PeCoffLoaderGetPeHeader, PeCoffLoaderLoadImage) and CoreLoadPeImage.
    """
    room = headers.optional_size - pe.DIRECTORIES[headers.optional_magic]
    count = headers.section_count
    end_of_headers = headers.size_of_headers
    if (
        room != headers.directories * pe.DIRECTORY_SIZE
        or (headers.size_of_image - headers.table_start) // pe.SECTION_SIZE <= count
        or (end_of_headers - headers.table_start) // pe.SECTION_SIZE < count
        or end_of_headers >= headers.size_of_image
        or end_of_headers > len(image)
        or headers.subsystem not in pe.EFI_SUBSYSTEMS
        # No firmware has a loader for the number that stands for no machine (257.13's code in emulation).
        or headers.machine not in pe.MACHINES
    ):
        return "EFI_UNSUPPORTED"
    loaded = [section for section in headers.sections if section.raw_size]
    for section in loaded:
        before = min(section.virtual_address, section.raw_offset) < end_of_headers
        if before or section.raw_offset + section.raw_size > len(image):
            return "EFI_UNSUPPORTED"
    if any(
        section.virtual_address + max(section.virtual_size, 1) > headers.size_of_image for section in loaded
    ) or not _relocates(image, headers):
        return "EFI_LOAD_ERROR"
    return None


def over_the_end(image: pe.Image) -> pe.Section | None:
    """The first section without a size in memory whose data, which are copied all the same, need more pages than the
    image has (BasePeCoffLib, PeCoffLoaderLoadImage, checks the size in memory alone).
    """
    end = -(-image.size_of_image // PAGE) * PAGE
    return next(
        (row for row in image.sections if not row.virtual_size and row.virtual_address + row.raw_size > end), None
    )


def in_memory(image: Extent, headers: pe.Headers) -> Extent:
    """The SizeOfImage bytes of an image that it has loaded, before relocation."""
    return pe_memory.loaded(image, headers.size_of_image, headers.size_of_headers, headers.sections)


def _relocates(image: Extent, headers: pe.Headers) -> bool:
    """Whether the firmware can apply the base relocations (EDK II BasePeCoffLib, PeCoffLoaderRelocateImage)."""
    start, size = headers.base_relocations
    if size and start + size > headers.size_of_image:
        return False
    blocks = in_memory(image, headers)[start : start + size].view()
    while blocks:
        if len(blocks) < 8:
            return False
        address, size = int.from_bytes(blocks[:4], "little"), int.from_bytes(blocks[4:8], "little")
        if size < 8 or size > len(blocks) or address >= headers.size_of_image:
            return False
        for offset in range(8, size - 1, 2):
            kind = int.from_bytes(blocks[offset : offset + 2], "little") >> 12
            if kind not in _RELOCATION_KINDS:
                return False
        blocks = blocks[size:]
    return True
