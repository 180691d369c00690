"""PCR 4 of a boot, and when it is as the trace says."""

from __future__ import annotations

from stubsim.errors import StubsimError
from stubsim.formats import pe
from stubsim.formats.efi_string import from_utf16
from stubsim.front import untold
from stubsim.result import Boot
from stubsim.start import Start
from stubsim.stub.kernel import KERNEL_PATH
from stubsim.trace import ImageLoaded, Unknown
from stubsim.uefi import boot_manager
from stubsim.uefi.boot_manager import PCR_BOOT_MANAGER
from stubsim.uefi.variables import LOADER
from stubsim.uki import Uki

CONDITION = "PCR 4: the firmware starts the UKI directly from a boot option, and has started nothing before it"
BY_LOADER = "PCR 4: the firmware starts the boot loader from a boot option, and has started nothing before it"
BY_SHIM = "PCR 4: the firmware starts shim from a boot option, and has started nothing before it"


def boot_manager_pcr(boot: Boot, start: Start) -> dict[str, bytes] | str:
    """PCR 4 by bank when the kernel starts, under CONDITION; or why it is not known."""
    if start.shell is not None:
        return "the firmware has started a shell before the UKI, and measured that"
    if start.from_memory:
        return "an unknown program has started the UKI, and was measured before it"
    if boot.host.tpm and boot.host.confidential == "tdx":
        # DxeTpm2MeasureBootLib of EDK II measures by the CC protocol alone where there is one.
        return "a firmware with a TPM and a TDX guest's registers measures images into one of them or both"
    if boot.host.tpm and _may_be_tdx(boot):
        return "it is not known whether this is a TDX guest, whose firmware measures images otherwise"
    if boot.outcome.status != "kernel-started":
        return f"the kernel is not started: {boot.outcome.said}"
    left_open = _left_open(boot)
    if left_open is not None:
        return left_open
    if boot.loader is None and start.loader is None and (unseen := loader_info(boot)) is not None:
        return f"{unseen} has started the UKI (LoaderInfo), and its image is not in --esp (--esp, --loader none)"
    if boot.loader is None and (why := untold(boot.host, start)) is not None:
        return why
    banks = tuple(boot.host.tpm or ())
    try:
        return boot_manager.boot_manager_pcr(boot.events(ImageLoaded), banks, boot.digests, boot.uki.authenticode)
    except StubsimError as error:
        return f"no Authenticode digest: {error}"


def starts_the_same(one: Boot, other: Boot) -> bool:
    """Whether the firmware loads the same images, as far as the other boot starts the kernel at all."""
    if "kernel-started" not in (one.outcome.status, other.outcome.status) or one.outcome.status != other.outcome.status:
        return True
    return _left_open(one) == _left_open(other) and _paths(one) == _paths(other)


def loaded_addons(boot: Boot) -> tuple[Uki, ...]:
    """The addons that the firmware has loaded for the stub, whether the stub uses them afterwards or not."""
    rows = [event for event in boot.events(ImageLoaded) if event.by == "stub" and event.path != KERNEL_PATH]
    return tuple(Uki(pe.open_bytes(event.data, event.path)) for event in rows)


def loader_info(boot: Boot) -> str | None:
    """The boot loader that the host file says was there."""
    found = next((row for row in boot.host.variables if (row.name, row.guid) == ("LoaderInfo", LOADER)), None)
    return None if found is None else from_utf16(found.data)


def _may_be_tdx(boot: Boot) -> bool:
    return boot.uki.machine == "x64" and boot.host.hypervisor and "confidential" in boot.host.unknown


def _left_open(boot: Boot) -> str | None:
    """What the boot itself says against the register: an image that may have been measured or not."""
    what = f"PCR {PCR_BOOT_MANAGER}"
    return next((event.why for event in boot.events(Unknown) if event.what == what), None)


def _paths(boot: Boot) -> list[str]:
    return [event.path for event in boot.events(ImageLoaded)]
