"""What userspace finds in EFI variables (systemd-stub: export-vars.c, export_stub_variables, export_pcr_variables)."""

from __future__ import annotations

import struct

from stubsim.formats.efi_string import utf16z
from stubsim.stub.context import Context
from stubsim.stub.measure import Measured
from stubsim.systemd import variables
from stubsim.systemd.measure import PCR_KERNEL_CONFIG, PCR_KERNEL_IMAGE, PCR_SYSTEM_EXTENSIONS
from stubsim.systemd.variables import ATTRIBUTES

_PCRS = {
    "StubPcrKernelImage": PCR_KERNEL_IMAGE,
    "StubPcrKernelParameters": PCR_KERNEL_CONFIG,
    "StubPcrInitRDSysExts": PCR_SYSTEM_EXTENSIONS,
    "StubPcrInitRDConfExts": PCR_KERNEL_CONFIG,
}


def export_common_variables(context: Context) -> None:
    """The Loader* ones, each only where no boot loader has set it."""
    if context.variables.get("LoaderDevicePartUUID") is None:
        _note_no_partition(context)
    model = context.model
    layout = context.variables.get("LoaderKeyboardLayout")
    if model.exports_keyboard_layout and layout is None and context.host.keyboard_layout is None:
        context.log("debug", "Initial GetKeyboardLayout did not report required buffer size, ignoring: Not found")
    variables.export_common_variables(
        context.services,
        context.host,
        context.image.path,
        _partition(context),
        tpm_banks=model.exports_tpm_banks,
        keyboard_layout=model.exports_keyboard_layout,
    )


def export_stub_variables(context: Context, profile: int) -> None:
    """The Stub* ones, written whatever was there."""
    stub = context.uki.stub
    if stub is not None and stub.series_only:
        context.unknown("StubInfo", "the file names the stub's series only, not its version", "variables")
    elif stub is not None:
        context.services.set_variable("StubInfo", utf16z(f"{stub.name} {stub.version}"), ATTRIBUTES)
    if context.model.stub_features is not None:
        context.services.set_variable("StubFeatures", struct.pack("<Q", context.model.stub_features), ATTRIBUTES)
    else:
        context.unknown("StubFeatures", f"no recording of stub {context.model.id}", "variables")
    if context.model.takes_profiles:
        context.services.set_variable("StubProfile", utf16z(str(profile)), ATTRIBUTES)
    if not context.model.exports_stub_image:
        return
    _note_no_partition(context)
    for name, text in (("StubDevicePartUUID", _partition(context)), ("StubImageIdentifier", context.image.path)):
        if text is not None:
            context.services.set_variable(name, utf16z(text), ATTRIBUTES)


def export_pcr_variables(
    context: Context, image: Measured, parameters: Measured, sysext: Measured, confext: Measured
) -> None:
    """Each that was measured; that of the image but where it is there already."""
    if not context.model.exports_image_pcr_at_once:
        export_pcr_variable(context, "StubPcrKernelImage", image)
    export_pcr_variable(context, "StubPcrKernelParameters", parameters)
    export_pcr_variable(context, "StubPcrInitRDSysExts", sysext)
    export_pcr_variable(context, "StubPcrInitRDConfExts", confext)


def export_pcr_variable(context: Context, name: str, measured: Measured) -> None:
    if measured.all:
        context.services.set_variable(name, utf16z(str(_PCRS[name])), ATTRIBUTES)


def _note_no_partition(context: Context) -> None:
    """From 261 on the boot image of a CD is looked for on a device without partitions (booted systemd-stub 262.1)."""
    if not context.model.searches_el_torito:
        return
    if context.image.esp is not None and context.host.esp_partition_uuid is None:
        context.log("debug", "No El Torito device path node found.")


def _partition(context: Context) -> str | None:
    """The partition's GUID; None where the image came from no partition."""
    uuid = context.host.esp_partition_uuid
    in_lower_case = context.model.partition_in_lower_case
    return None if context.image.esp is None or uuid is None else variables.partition_text(uuid, in_lower_case)
