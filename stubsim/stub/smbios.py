"""SMBIOS measured into PCR 1, new in 262 (systemd-stub: measure.c)."""

from __future__ import annotations

from stubsim.formats.efi_string import utf16z
from stubsim.stub.context import Context
from stubsim.stub.measure import log_event
from stubsim.stub.variables import ATTRIBUTES, set_variable

PCR_PLATFORM_CONFIG = 1

# Structure type -> event tag; the description names the type.
_TAGS = {1: 0xD5CB7CBC, 2: 0xE0D47BC8, 11: 0xC0B3BD23}
_WAKE_UP_TYPE = 24
# What is unknown without the raw table.
EVENTS = "the SMBIOS events of PCR 1"


def measure_smbios(context: Context) -> None:
    """Every structure of type 1, 2 and 11 in table order, whole, only the wake-up byte of type 1 set to 0.

    LoaderPcrSMBIOS then says so; it is not set where none was (recorded on aa64: launch-nosmbios-empty).
    Not done twice: LoaderPcrSMBIOS says that the boot loader has (recorded: launch-loaderpcrsmbios, sdboot).
    """
    if not context.model.measures_smbios or not context.tpm.reached(by_cc=context.model.measures_smbios_by_cc):
        return
    if context.variables.get("LoaderPcrSMBIOS") is not None:
        return
    structures = context.host.structures
    if structures is None:
        context.unknown(
            EVENTS,
            "the host file has no raw SMBIOS table (smbios_table), and serial numbers and handles are hashed too",
            "measurements",
        )
    elif context.host.damage is not None:
        context.unknown(EVENTS, f"the SMBIOS table is damaged: {context.host.damage}", "measurements")
    # A table without type 1 does not conform (DSP0134, 6.2), so one that was not given has it.
    measured = structures is None
    for structure in structures or ():
        tag = _TAGS.get(structure.type)
        if tag is not None:
            raw = bytearray(structure.raw)
            if structure.type == 1 and len(structure.formatted) > _WAKE_UP_TYPE:
                raw[_WAKE_UP_TYPE] = 0
            digests = context.digests.of(bytes(raw))
            measured |= log_event(context, PCR_PLATFORM_CONFIG, f"smbios:type{structure.type}", digests, tag)
    if measured:
        set_variable(context, "LoaderPcrSMBIOS", utf16z(str(PCR_PLATFORM_CONFIG)), ATTRIBUTES)
