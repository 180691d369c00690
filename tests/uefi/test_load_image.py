"""Where LoadImage() puts an image: the rules of EDK II, and what recordings on aa64 show of them."""

from __future__ import annotations

import pytest

from stubsim.formats import pe
from stubsim.formats.pe import SectionSpec
from stubsim.hosts import Host
from stubsim.machine.ram import PAGE
from stubsim.simulation import boot
from stubsim.uefi.load_image import AddressTaken, Placed, place_image
from stubsim.uefi.memory import Memory, OutOfResources
from stubsim.uki import Uki
from tests.samples import KERNEL

GIB = 1 << 30
MAGIC = b"#### LoaderInfo: systemd-stub 262.1-1 ####\0"


def image(**headers: int) -> pe.Image:
    return pe.open_bytes(pe.build([pe.SectionSpec(".text", b"x")], **headers), "x")  # type: ignore[arg-type]


def test_at_its_base_where_that_is_free():
    """basic-8g, and kernel-relocs-stripped-8g@257.13."""
    memory = Memory(8 * GIB, "aa64")
    for base in (0x1D1F80000, 0x140000000):
        assert place_image(memory, image(image_base=base)) == Placed(base, "EfiLoaderCode", base)


@pytest.mark.parametrize("base", [0, 0x10000, 0x140000001, 0x140000000])
def test_anywhere_else(base: int):
    """No base, one below 1 MiB, one that is no page, and one where there is no RAM."""
    memory, other = Memory(GIB, "aa64"), Memory(GIB, "aa64")
    expected = other.allocate(image().size_of_image, "EfiLoaderCode")
    assert place_image(memory, image(image_base=base)).gpa == expected


def test_a_base_that_is_taken():
    memory = Memory(8 * GIB, "x64")
    first, second = (place_image(memory, image(image_base=0x14DF90000)) for _ in range(2))
    assert first.gpa == 0x14DF90000 != second.gpa


def test_without_relocations_it_is_there_or_nowhere():
    """kernel-relocs-stripped@257.13."""
    memory = Memory(GIB, "aa64")
    stripped = image(image_base=0x140000000, characteristics=0x22 | pe.RELOCS_STRIPPED)
    with pytest.raises(AddressTaken):
        place_image(memory, stripped)
    assert place_image(Memory(8 * GIB, "aa64"), stripped).gpa == 0x140000000


@pytest.mark.parametrize("alignment", [512, PAGE])
def test_pages_are_alignment_enough(alignment: int):
    memory, other = Memory(GIB, "x64"), Memory(GIB, "x64")
    one = image(section_alignment=alignment)
    assert place_image(memory, one).gpa == other.allocate(one.size_of_image, "EfiLoaderCode")


def test_a_larger_alignment_keeps_what_it_cuts_off():
    """kernel-align64k@257.13."""
    memory, other = Memory(GIB, "x64"), Memory(GIB, "x64")
    one = image(section_alignment=0x10000)
    gpa = place_image(memory, one).gpa
    assert gpa % 0x10000 == 0
    other.allocate(one.size_of_image + 0x10000, "EfiLoaderCode")
    assert memory.map() == other.map()


@pytest.mark.parametrize(
    ("subsystem", "kind"),
    [(10, "EfiLoaderCode"), (11, "EfiBootServicesCode"), (12, "EfiRuntimeServicesCode"), (3, "EfiLoaderCode")],
)
def test_types(subsystem: int, kind: str):
    """kernel-subsystem-driver@257.13."""
    assert place_image(Memory(GIB, "x64"), image(subsystem=subsystem)).type == kind


def test_no_room():
    with pytest.raises(OutOfResources):
        place_image(Memory(64 << 20, "x64"), image(size_of_image=128 << 20))


def test_a_uki_without_relocations_whose_place_is_taken():
    """EDK II, CoreLoadPeImage: EFI_NOT_FOUND, be there other memory."""
    sections = [SectionSpec(".sdmagic", MAGIC), SectionSpec(".osrel", b"ID=x"), SectionSpec(".linux", KERNEL)]
    data = pe.build(sections, image_base=0x140000000, characteristics=0x22 | pe.RELOCS_STRIPPED)
    uki = Uki(pe.open_bytes(data, "uki.efi"))
    small, large = (boot(uki, Host(memory=size)) for size in (GIB, 8 * GIB))
    assert (small.outcome.status, small.outcome.efi_status) == ("failed", "EFI_NOT_FOUND")
    assert "no relocations, so the firmware loads it at 0x140000000 only" in (small.outcome.because or "")
    assert large.outcome.status == "kernel-started"
