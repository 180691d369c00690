"""The machine's measurement registers: a TPM 2.0's PCRs, and a TDX guest's RTMRs.

A register never sees data, only digests that are ready made: new = H(old || digest), in each bank.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stubsim.formats.eventlog import Event


# EFI_TCG2_BOOT_HASH_ALG_* bits (TCG EFI Protocol Specification, 6.4).
BANK_BITS = {"sha1": 1, "sha256": 2, "sha384": 4, "sha512": 8}
BANKS = tuple(BANK_BITS)

DIGEST_SIZES = {"sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64}
# The PCRs that are the stub's alone: an untouched one says something as well, so they are always listed.
_STUB_PCRS = (11, 12, 13)
RTMR_BANK = "sha384"
_STARTUP_LOCALITY = b"StartupLocality\0"


def rtmr(pcr: int) -> int | None:
    """The TDX register a PCR is mapped to (UEFI 2.10, 38.4.1: 1, 7 -> 0; 2-6 -> 1; 8-15 -> 2), None for all others."""
    if pcr in (1, 7):
        return 0
    if 2 <= pcr <= 6:
        return 1
    return 2 if 8 <= pcr <= 15 else None


class Tpm:
    """What measurements go to. ``banks`` are the active PCR banks, None or none of them: no TPM.

    A confidential guest of kind "tdx" has the UEFI CC measurement protocol, with or without a TPM beside it.
    """

    def __init__(self, banks: Sequence[str] | None, confidential: str | None = None) -> None:
        self.banks: tuple[str, ...] = tuple(banks or ())
        self._pcrs = {bank: {pcr: bytes(DIGEST_SIZES[bank]) for pcr in _STUB_PCRS} for bank in self.banks}
        self._rtmrs: dict[int, bytes] = {}
        if confidential == "tdx":
            self._rtmrs = {index: bytes(DIGEST_SIZES[RTMR_BANK]) for index in range(3)}

    @property
    def present(self) -> bool:
        """Whether anything is measured at all."""
        return bool(self.banks or self._rtmrs)

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The digests ``extend`` needs of everything that is measured."""
        extra = self._rtmrs and RTMR_BANK not in self.banks
        return (*self.banks, RTMR_BANK) if extra else self.banks

    @property
    def tags_events(self) -> bool:
        """Whether EV_EVENT_TAG events are logged as such: the log of a CC guest has EV_IPL in their place."""
        return bool(self.banks)

    @property
    def active_banks_mask(self) -> int:
        """ActivePcrBanks as EFI_TCG2_PROTOCOL.GetActivePcrBanks() gives it; 0 without a TPM."""
        return sum(BANK_BITS[bank] for bank in self.banks)

    def reached(self, *, by_cc: bool = True) -> bool:
        """Whether a measurement goes anywhere; ``by_cc``: it is made by the CC measurement protocol, too."""
        return bool(self.banks or (by_cc and self._rtmrs))

    def extend(self, pcr: int, digests: Mapping[str, bytes], *, by_cc: bool = True) -> None:
        """Extend a PCR, and the RTMR it is mapped to, by the digests of some data, by bank name."""
        for bank in self.banks:
            values = self._pcrs[bank]
            values[pcr] = _extended(bank, values.get(pcr) or bytes(DIGEST_SIZES[bank]), digests[bank])
        index = rtmr(pcr) if by_cc else None
        if index in self._rtmrs:
            self._rtmrs[index] = _extended(RTMR_BANK, self._rtmrs[index], digests[RTMR_BANK])

    def show(self, pcr: int) -> None:
        """List a PCR among the values though nothing may have extended it."""
        for bank, values in self._pcrs.items():
            values.setdefault(pcr, bytes(DIGEST_SIZES[bank]))

    def pcrs(self) -> dict[str, dict[int, bytes]]:
        """Bank -> PCR -> value, from all zero: PCR 11 to 13 and all others that were extended."""
        return {bank: dict(sorted(values.items())) for bank, values in self._pcrs.items()}

    def rtmrs(self) -> dict[int, bytes]:
        """RTMR 0 to 2 of a TDX guest (SHA-384), from all zero; {} elsewhere."""
        return dict(self._rtmrs)


def replay(events: Iterable[Event]) -> dict[str, dict[int, bytes]]:
    """Bank -> PCR -> value after the events of a log; only PCRs that an event extends are there.

    EV_NO_ACTION extends nothing; the one named StartupLocality sets the last byte PCR 0 starts with (TCG PC Client
    Platform Firmware Profile 1.06, 10.4.5.3). Banks Python cannot hash for are left out.
    """
    from stubsim.formats.eventlog import EVENT_TYPES

    values: dict[str, dict[int, bytes]] = {}
    locality = 0
    for event in events:
        if event.type == EVENT_TYPES["EV_NO_ACTION"]:
            if event.pcr == 0 and event.data.startswith(_STARTUP_LOCALITY) and len(event.data) == 17:
                locality = event.data[16]
            continue
        for bank, digest in event.digests.items():
            start = bytes(len(digest) - 1) + bytes((locality if event.pcr == 0 else 0,))
            registers = values.setdefault(bank, {})
            try:
                registers[event.pcr] = _extended(bank, registers.get(event.pcr, start), digest)
            except ValueError:
                continue
    return {bank: dict(sorted(registers.items())) for bank, registers in values.items() if registers}


def _extended(bank: str, old: bytes, digest: bytes) -> bytes:
    return hashlib.new(bank, old + digest, usedforsecurity=False).digest()
