"""Where EDK II's LoadImage() puts an image (MdeModulePkg/Core/Dxe/Image/Image.c, CoreLoadPeImage)."""

from __future__ import annotations

from stubsim.formats import pe
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


class Placed(NamedTuple):
    """Where an image lies, the type of its pages, and where these begin."""

    gpa: int
    type: str
    allocated: int


class AddressTaken(OutOfResources):
    """EFI_NOT_FOUND: an image without relocations can only lie at its ImageBase, and there is no free RAM."""


def place_image(memory: Memory, image: pe.Image | pe.Headers) -> Placed:
    """Allocate the pages of an image: at its ImageBase where that is free, else anywhere.

    There are as many more as its SectionAlignment asks for; what is cut off stays allocated. Raises OutOfResources, or
    AddressTaken.
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
