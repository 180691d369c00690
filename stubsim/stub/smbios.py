"""SMBIOS measured into PCR 1 (systemd-stub: measure-smbios.c)."""

from __future__ import annotations

from stubsim.stub.context import Context
from stubsim.stub.measure import protocols
from stubsim.systemd import smbios


def measure_smbios(context: Context) -> None:
    """Raises ProgramFailed where the stub halts."""
    model = context.model
    if not model.measures_smbios or not context.tpm.reached(by_cc=model.measures_smbios_by_cc):
        return
    checks = model.checks_smbios_length
    try:
        smbios.measure_smbios(context.services, protocols(model), context.host, checks_length=checks)
    except smbios.Type1TooShortError:
        because = "the SMBIOS structure of type 1 has less than 27 bytes with its strings"
        raise context.halt("size >= sizeof(SmbiosTableType1)", because) from None
