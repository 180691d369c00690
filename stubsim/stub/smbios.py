"""SMBIOS measured into PCR 1, new in 262 (systemd-stub: measure.c)."""

from __future__ import annotations

from stubsim.stub.context import Context
from stubsim.stub.measure import protocols
from stubsim.systemd import smbios


def measure_smbios(context: Context) -> None:
    model = context.model
    if model.measures_smbios and context.tpm.reached(by_cc=model.measures_smbios_by_cc):
        smbios.measure_smbios(context.services, protocols(model), context.host)
