"""What the firmware lets through under Secure Boot (UEFI specification, LoadImage)."""

from __future__ import annotations

from stubsim.formats import pe
from stubsim.stub.context import Context
from stubsim.uki import Uki, load


def is_allowed(context: Context, uki: Uki) -> bool:
    """Without --db an image counts as signed when it has a certificate table."""
    if not context.host.secure_boot:
        return True
    if uki.image.certificate_table[1] == 0:
        return False
    return context.trusted is None or context.trusted(uki)


def load_image(context: Context, path: str) -> Uki | str:
    """An image from the partition as the firmware loads it, or the UEFI status with which it refuses.

    Raises StubsimError where the file is no PE image.
    """
    image = load(path)
    if pe.MACHINES.get(image.image.machine) != context.machine:
        return "EFI_UNSUPPORTED"
    return image if is_allowed(context, image) else "EFI_ACCESS_DENIED"
