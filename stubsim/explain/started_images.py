"""PCR 4: the images the firmware starts, measured by itself (TCG PC Client Platform Firmware Profile, 3.3.4.5).

Observed with OVMF: the boot attempt, the separator, then each application given to LoadImage() by its Authenticode
digest; drivers go into PCR 2 (recorded on aa64: kernel-subsystem-driver).
"""

from __future__ import annotations

from typing import NamedTuple

from stubsim.errors import StubsimError
from stubsim.explain.quiet import quiet_context
from stubsim.formats import pe
from stubsim.formats.efi_program import SYSTEMD_STUB
from stubsim.formats.efi_string import from_utf16
from stubsim.front import untold
from stubsim.machine.tpm import Tpm
from stubsim.result import Boot
from stubsim.start import Start
from stubsim.stub.addons import addon_paths
from stubsim.uefi.image_path import QEMU_KERNEL
from stubsim.uefi.variables import LOADER
from stubsim.uki import Uki

PCR_BOOT_MANAGER = 4
CONDITION = "PCR 4: the firmware starts the UKI directly from a boot option, and has started nothing before it"
BY_LOADER = "PCR 4: the firmware starts the boot loader from a boot option, and has started nothing before it"

_BOOT_ATTEMPT = b"Calling EFI Application from Boot Option"
_SEPARATOR = bytes(4)


class Addons(NamedTuple):
    """The addons the firmware loads for the stub, in order; ``doubt`` says why the list may not be right."""

    images: tuple[Uki, ...]
    doubt: str | None

    @property
    def choose_devicetrees(self) -> bool:
        """Whether one of them has a devicetree that depends on the machine."""
        return any(section.name == ".dtbauto" for addon in self.images for section in addon.image.sections)


def loaded_addons(boot: Boot, start: Start) -> Addons:
    """What goes through LoadImage() on behalf of the stub, whether the stub uses it afterwards or not."""
    if boot.model.name != SYSTEMD_STUB:
        return Addons((), None)
    context = quiet_context(boot, start)
    images: list[Uki] = []
    doubt = None
    for path in addon_paths(context):
        image = context.load_image(path)
        if isinstance(image, Uki):
            images.append(image)
        elif image != "EFI_ACCESS_DENIED":
            # An image without a trusted signature is refused before it is measured (recorded: sb-addons).
            doubt = f"{path}: no image for this machine; whether the firmware measures it was never recorded"
    return Addons(tuple(images), doubt)


def boot_manager_pcr(boot: Boot, start: Start, addons: Addons) -> dict[str, bytes] | str:
    """PCR 4 by bank when the kernel starts, under CONDITION; or why it is not known."""
    if start.shell is not None:
        return "the firmware has started a shell before the UKI, and measured that"
    if start.from_memory:
        return "an unknown program has started the UKI, and was measured before it"
    if boot.outcome.status != "kernel-started":
        return f"the kernel is not started: {boot.outcome.message or boot.outcome.status}"
    if addons.doubt is not None:
        return addons.doubt
    if boot.loader is None and start.loader is None and (unseen := loader_info(boot)) is not None:
        return f"{unseen} has started the UKI (LoaderInfo), and its image is not in --esp (--esp, --loader none)"
    if boot.loader is None and (why := untold(boot.host, start)) is not None:
        return why
    tpm = Tpm(boot.host.tpm)
    try:
        images: list[pe.Image | bytes] = [_BOOT_ATTEMPT, _SEPARATOR, *started_images(boot, addons)]
        if boot.loader is not None:
            images.insert(2, boot.loader.loader.image.image)
        elif boot.image is not None and boot.image.path == QEMU_KERNEL:
            # Loaded before there is a boot option (recorded: qemukernel257, qemukernel262).
            images.insert(0, images.pop(2))
        for image in images:
            if isinstance(image, bytes):
                tpm.extend(PCR_BOOT_MANAGER, boot.digests.of(image))
            elif image.subsystem == pe.APPLICATION:
                tpm.extend(PCR_BOOT_MANAGER, {bank: boot.uki.authenticode(bank, image) for bank in tpm.banks})
    except StubsimError as error:
        return f"no Authenticode digest: {error}"
    return {bank: values[PCR_BOOT_MANAGER] for bank, values in tpm.pcrs().items()}


def loader_info(boot: Boot) -> str | None:
    """The boot loader that the host file says was there."""
    found = next((row for row in boot.host.variables if (row.name, row.guid) == ("LoaderInfo", LOADER)), None)
    return None if found is None else from_utf16(found.data)


def started_images(boot: Boot, addons: Addons) -> list[pe.Image]:
    """What is given to LoadImage(), in order, where the kernel starts; StubsimError for a kernel that is no image."""
    return [boot.uki.image, *(addon.image for addon in addons.images), *_kernel(boot)]


def _kernel(boot: Boot) -> list[pe.Image]:
    """The kernel where the stub has the firmware load it.

    Under Secure Boot the stub takes the place of the firmware's check, which is also what measures (recorded:
    sb-loadopt, sb-addons on 257.13); the EFI handover of kernels before 5.8 loads no image.
    """
    assert boot.prepared is not None
    section = boot.prepared.sections.section(".linux")
    if boot.model.loads_kernel_itself or boot.host.secure_boot or section is None:
        return []
    kernel = boot.uki.inner(section)
    return [kernel] if kernel.major_image_version >= 1 else []
