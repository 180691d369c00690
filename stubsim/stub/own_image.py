"""Where what the firmware has made of the image in memory is not known: a stub reads its sections there."""

from __future__ import annotations

from collections.abc import Iterator

from stubsim.formats import pe
from stubsim.formats.relocations import relocated
from stubsim.stub.context import Context
from stubsim.stub.models import StubModel
from stubsim.trace import WHOLE_RUN, WHOLE_RUN_PCRS, Unknown
from stubsim.uefi.load_image import over_the_end
from stubsim.uki import Uki


def doubt_own_image(context: Context) -> None:
    for row in doubts(context.uki, context.model):
        context.emit(row)


def doubts(uki: Uki, model: StubModel) -> Iterator[Unknown]:
    """What of the loaded image cannot be told, and what depends on it.

    EDK II's loader and the stub both read the section table in memory (BasePeCoffLib, PeCoffLoaderLoadImage;
    systemd-stub: pe.c), so a section over it decides what else is loaded, and where the image is entered. Base
    relocations add the distance from ImageBase, which depends on the memory of the machine.
    """
    section = over_section_table(uki.image)
    if section is not None:
        why = f"section {section.index} ({section.name}) lies over the section table, which the stub reads there"
        yield Unknown("the image in memory", why, WHOLE_RUN, WHOLE_RUN_PCRS)
    section = over_the_end(uki.image)
    if section is not None:
        why = f"the firmware copies section {section.index} ({section.name}) over what lies behind the image"
        yield Unknown("the image in memory", why, WHOLE_RUN, WHOLE_RUN_PCRS)
    used = [section for section in uki.image.sections if section.name in model.sections and section.virtual_size]
    for section in relocated(uki.image, uki.loaded, used):
        why = f"base relocations change it where the firmware does not load the image at {uki.image.image_base:#x}"
        yield Unknown(f"section {section.index} ({section.name}) in memory", why, WHOLE_RUN, WHOLE_RUN_PCRS)


def over_section_table(image: pe.Image) -> pe.Section | None:
    """The first section that overwrites the headers up to the end of the section table."""
    end = image.sections[-1].header_offset + pe.SECTION_SIZE
    for section in image.sections:
        if section.virtual_address < end and (section.virtual_size or section.raw_size):
            return section
    return None
