"""A predicted event log: its events in order, and what they make of each register."""

from __future__ import annotations

from stubsim.machine.tpm import Tpm, rtmr
from stubsim.rows import NamedTuple

COMPUTED, BASELINE, UNKNOWN = "computed", "baseline", "unknown"
_MRTD = "the TDX module measures the pages that the hypervisor starts the guest with"


class LogEvent(NamedTuple):
    """One event; without ``digests`` it is not known, and then there may be more than one, or none.

    Of a TDX guest ``pcr`` is the register that the event would be for, and its own is the one that is mapped to.
    ``data`` are the event's bytes as the log holds them, addresses of the machine's memory as 0; ``how`` is computed,
    baseline or unknown.
    """

    by: str
    pcr: int
    type: str | None
    description: str
    digests: dict[str, bytes] | None
    data: bytes
    how: str
    because: str | None = None


class Lost(NamedTuple):
    """A register that has no value: its name, its number if it is a PCR, and the first reason."""

    register: str
    pcr: int | None
    why: str


class WholeLog(NamedTuple):
    """The events in the order of the log, and what was taken for granted.

    ``is_cc`` tells that it is the log of a TDX guest's own registers.
    """

    banks: tuple[str, ...]
    events: tuple[LogEvent, ...]
    assumed: tuple[str, ...]
    is_cc: bool = False

    @property
    def lost(self) -> tuple[Lost, ...]:
        if self.is_cc:
            reasons: dict[int, str] = {}
            for event in self.events:
                index = rtmr(event.pcr)
                if event.digests is None and index is not None:
                    reasons.setdefault(index, event.because or event.description)
            rows = [Lost(f"RTMR {index}", None, why) for index, why in sorted(reasons.items())]
            return (Lost("MRTD", None, _MRTD), *rows)
        return tuple(Lost(f"PCR {pcr}", pcr, why) for pcr, why in sorted(self.unknown_pcrs.items()))

    @property
    def unknown_pcrs(self) -> dict[int, str]:
        """The registers that have no value, with the first reason."""
        found: dict[int, str] = {}
        for event in self.events:
            if event.digests is None:
                found.setdefault(event.pcr, event.because or event.description)
        return found

    @property
    def lost_pcrs(self) -> set[int]:
        """Those of the events whose register has no value."""
        lost = {rtmr(pcr) for pcr in self.unknown_pcrs} if self.is_cc else self.unknown_pcrs.keys()
        return {event.pcr for event in self.events if (rtmr(event.pcr) if self.is_cc else event.pcr) in lost}

    def register(self, pcr: int) -> str:
        """The name of the register that an event goes to."""
        return f"RTMR {rtmr(pcr)}" if self.is_cc else f"PCR {pcr}"

    @property
    def pcrs(self) -> dict[str, dict[int, bytes]]:
        """Bank -> PCR -> value when the kernel has left boot services; only registers of which every event is known."""
        if self.is_cc:
            return {}
        tpm, lost = Tpm(self.banks), self.unknown_pcrs
        for event in self.events:
            if event.digests is not None:
                tpm.extend(event.pcr, event.digests)
        return {
            bank: {pcr: value for pcr, value in values.items() if pcr not in lost}
            for bank, values in tpm.pcrs().items()
        }

    @property
    def rtmrs(self) -> dict[int, bytes]:
        """RTMR 0 to 2 of a TDX guest, likewise; {} elsewhere."""
        if not self.is_cc:
            return {}
        registers, lost = Tpm(None, "tdx"), {rtmr(pcr) for pcr in self.unknown_pcrs}
        for event in self.events:
            if event.digests is not None:
                registers.extend(event.pcr, event.digests)
        return {index: value for index, value in registers.rtmrs().items() if index not in lost}
