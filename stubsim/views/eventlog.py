"""What loader, stub and kernel measure as a binary TCG event log; with the firmware's events it is `stubsim log`."""

from __future__ import annotations

from stubsim.errors import StubsimError
from stubsim.formats import eventlog
from stubsim.machine.tpm import rtmr
from stubsim.result import Boot
from stubsim.trace import Measured


def event_log(boot: Boot) -> bytes:
    """The events in their order, in all banks of the TPM, crypto agile (TCG PC Client PFP 1.06, 10).

    A TDX guest without a TPM has the log of its measurement registers instead: sha384 alone, and in the PCR's place the
    register's number, which counts from 1 as 0 is MRTD (UEFI 2.10, 38.4.1).

    Raises StubsimError where nothing is measured: an empty log would look like a boot that measured nothing.
    """
    banks = boot.host.tpm or ()
    registers = not banks and boot.host.confidential == "tdx"
    if registers:
        banks = ("sha384",)
    if not banks:
        raise StubsimError(
            "nothing is measured, so there is no event log: the host has no TPM",
            hint='a host file gives it one with "tpm": {"banks": ["sha256"]}',
        )
    return eventlog.build(
        [_event(event, banks, registers) for event in boot.trace if isinstance(event, Measured)], banks
    )


def _event(event: Measured, banks: tuple[str, ...], registers: bool) -> eventlog.Event:
    register = rtmr(event.pcr) if registers else None
    return eventlog.Event(
        event.pcr if register is None else register + 1,
        eventlog.EVENT_TYPES[event.type],
        {bank: event.digests[bank] for bank in banks},
        event.data,
    )
