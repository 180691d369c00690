"""Whether a UKI's kernels start, asked without a boot."""

from __future__ import annotations

from stubsim.digests import Digests
from stubsim.formats import pe
from stubsim.hosts import Host
from stubsim.machine.tpm import Tpm
from stubsim.start import DEFAULT_START, start_context
from stubsim.stub.models import StubModel
from stubsim.stub.programs import program
from stubsim.uefi.load_image import load_file
from stubsim.uefi.loaded_image import LoadedImage, ProgramFailed
from stubsim.uefi.memory import Memory, OutOfResources
from stubsim.uki import Uki


def kernel_refused(uki: Uki, model: StubModel, section: pe.Section | None) -> str | None:
    """Why a stub does not start the kernel in a section, whatever the machine; None where it does, or none is there."""
    steps = program(model)
    if section is None or not section.virtual_size or steps is None:
        return None
    image = LoadedImage(None, None, None, None)
    digests = Digests((), uki.digests)
    context = start_context(
        uki, Host(), DEFAULT_START, model, image=image, tpm=Tpm(()), digests=digests, emit=lambda _: None
    )
    try:
        steps.check_kernel(context, uki.data(section))
    except ProgramFailed as failure:
        return failure.message if failure.because is None else f"{failure.because} ({failure.message})"
    return None


def fits(uki: Uki, memory: int) -> bool:
    """Whether the firmware of a machine with so many bytes of RAM finds room for the image."""
    space = Memory(memory, uki.machine)
    try:
        load_file(space, uki.image, uki.size)
    except OutOfResources:
        return False
    return True
