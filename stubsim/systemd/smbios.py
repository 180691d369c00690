"""SMBIOS measured into PCR 1, by stub and loader from 261 on (src/boot/measure-smbios.c)."""

from __future__ import annotations

from stubsim.formats import smbios
from stubsim.formats.efi_string import utf16z
from stubsim.hosts import Host
from stubsim.systemd.measure import PCR_PLATFORM_CONFIG, Protocols, log_event
from stubsim.systemd.variables import ATTRIBUTES
from stubsim.uefi.services import Services

# Structure type -> event tag; the description names the type.
_TAGS = {1: 0xD5CB7CBC, 2: 0xE0D47BC8, 11: 0xC0B3BD23}
_WAKE_UP_TYPE = 24
# sizeof(SmbiosTableType1).
_TYPE_1_SIZE = 27
# What is unknown without the raw table.
EVENTS = "the SMBIOS events of PCR 1"


class Type1TooShortError(Exception):
    """261 and 261.1 assert that a type 1 with its strings has 27 bytes."""


def oem_strings(host: Host, *, skips_absent_strings: bool) -> tuple[bytes, ...] | None:
    """Those that a search for type 11 finds; None where it is not known whether the search comes to them.

    It may get lost behind a structure without strings (``skips_absent_strings`` False), which only the raw table tells.
    """
    if skips_absent_strings or not (host.structures or host.oem_strings):
        return host.oem_strings
    return None if host.structures is None else smbios.oem_strings_one_nul_on(host.structures)


def measure_smbios(services: Services, protocols: Protocols, host: Host, *, checks_length: bool = True) -> None:
    """Every structure of type 1, 2 and 11 in table order, whole, only the wake-up byte of type 1 set to 0.

    LoaderPcrSMBIOS then says so; it is not set where none was (recorded on aa64: launch-nosmbios-empty).
    Not done twice: LoaderPcrSMBIOS says that the boot loader has (recorded: launch-loaderpcrsmbios, sdboot). Without
    ``checks_length`` the byte is cleared wherever it lies, in a string too; Type1TooShortError where there is none.
    """
    if services.variables.get("LoaderPcrSMBIOS") is not None:
        return
    structures = host.structures
    if structures is None:
        services.unknown(
            EVENTS,
            "the host file has no raw SMBIOS table (smbios_table), and serial numbers and handles are hashed too",
            "measurements",
        )
    # A table without type 1 does not conform (DSP0134, 6.2), so one that was not given has it.
    measured = structures is None
    for structure in structures or ():
        tag = _TAGS.get(structure.type)
        # One whose end is not found is not measured, as if it were not there (smbios.c; 262.1's own code in emulation).
        if tag is not None and structure.whole:
            raw = bytearray(structure.raw)
            if structure.type == 1 and not checks_length and len(raw) < _TYPE_1_SIZE:
                raise Type1TooShortError
            if structure.type == 1 and (len(structure.formatted) > _WAKE_UP_TYPE or not checks_length):
                raw[_WAKE_UP_TYPE] = 0
            text, digests = f"smbios:type{structure.type}", services.digests.of(bytes(raw))
            measured |= log_event(services, protocols, PCR_PLATFORM_CONFIG, text, digests, tag=tag)
    if host.damage is not None:
        affects = ("measurements",) if measured else ("measurements", "variables")
        services.unknown(EVENTS, f"the SMBIOS table is damaged: {host.damage}", *affects)
    if measured:
        services.set_variable("LoaderPcrSMBIOS", utf16z(str(PCR_PLATFORM_CONFIG)), ATTRIBUTES)
