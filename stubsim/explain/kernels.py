"""Whether a UKI's kernels start, asked without a boot."""

from __future__ import annotations

from stubsim.digests import Digests
from stubsim.formats import pe
from stubsim.hosts import Host
from stubsim.machine.tpm import Tpm
from stubsim.start import DEFAULT_START, start_context
from stubsim.stub.models import StubModel
from stubsim.stub.programs import program
from stubsim.stub.refused import no_relocations
from stubsim.uefi.load_image import AddressTaken, load_file
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


def image_refused(uki: Uki, memory: int) -> str | None:
    """Why the firmware of a machine with so many bytes of RAM has no place for the image; None where it has one."""
    space = Memory(memory, uki.machine)
    size = f"{memory >> 30} GiB of memory"
    try:
        load_file(space, uki.image, uki.size)
    except AddressTaken:
        return f"{no_relocations('the image', uki.image)} in {size}: machines like that do not boot it"
    except OutOfResources:
        return (
            f"file and loaded image ({uki.image.size_of_image} bytes) do not fit into {size}: smaller machines do not "
            "boot it"
        )
    return None
