"""The chosen profile's own measurement (systemd-stub: measure_profile)."""

from __future__ import annotations

from stubsim.formats.efi_string import utf16z
from stubsim.stub.context import Context
from stubsim.stub.measure import Measured, log_event
from stubsim.systemd.measure import PCR_KERNEL_CONFIG

PROFILE_EVENT_TAG = 0x13AED6DB


def measure_profile(context: Context, profile: int, parameters: Measured) -> None:
    """The decimal number in UTF-16 with its NUL; the default profile is not measured."""
    if profile != 0:
        text = str(profile)
        digests = context.digests.of(utf16z(text))
        parameters.combine(log_event(context, PCR_KERNEL_CONFIG, text, digests, PROFILE_EVENT_TAG))
