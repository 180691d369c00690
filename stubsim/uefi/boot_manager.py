"""PCR 4: the images the firmware starts, measured by itself (TCG PC Client Platform Firmware Profile, 3.3.4.5).

Observed with OVMF: the boot attempt, the separator, then each application given to LoadImage() by its Authenticode
digest; drivers go into PCR 2 (recorded on aa64: kernel-subsystem-driver).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from stubsim.digests import Digests
from stubsim.extent import Extent
from stubsim.formats import pe
from stubsim.machine.tpm import Tpm
from stubsim.trace import ImageLoaded
from stubsim.uefi.image_path import QEMU_KERNEL

PCR_BOOT_MANAGER = 4

_BOOT_ATTEMPT = b"Calling EFI Application from Boot Option"
_SEPARATOR = bytes(4)


def boot_manager_pcr(
    images: Sequence[ImageLoaded],
    banks: tuple[str, ...],
    digests: Digests,
    authenticode: Callable[[str, Extent], bytes],
) -> dict[str, bytes]:
    """The register by bank after these images, where a boot option has started the first that is not QEMU's kernel.

    ``authenticode`` gives the digest of an image by the algorithm; what it raises goes through.
    """
    tpm = Tpm(banks)
    for image in _in_order(images):
        if isinstance(image, bytes):
            tpm.extend(PCR_BOOT_MANAGER, digests.of(image, banks))
        elif image.subsystem == pe.APPLICATION:
            tpm.extend(PCR_BOOT_MANAGER, {bank: authenticode(bank, image.data) for bank in banks})
    return {bank: values[PCR_BOOT_MANAGER] for bank, values in tpm.pcrs().items()}


def _in_order(images: Sequence[ImageLoaded]) -> Iterator[ImageLoaded | bytes]:
    """What QEMU's -kernel names is loaded before there is a boot option (recorded: qemukernel257, qemukernel262)."""
    before = 1 if images and images[0].path == QEMU_KERNEL else 0
    yield from images[:before]
    yield _BOOT_ATTEMPT
    yield _SEPARATOR
    yield from images[before:]
