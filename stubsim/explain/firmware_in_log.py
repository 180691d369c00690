"""The firmware's own events of a real log beside the predicted ones, source by source."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest

from stubsim.explain.predicted_log import WholeLog
from stubsim.formats import eventlog
from stubsim.rows import NamedTuple
from stubsim.uefi.baseline import Baseline, Source, described, source

# Each image stands with the stage that asked for it.
_APPLICATION = "EV_EFI_BOOT_SERVICES_APPLICATION"
_OF_STAGES = (_APPLICATION, "EV_IPL", "EV_EVENT_TAG", "EV_NO_ACTION", "EV_SEPARATOR")


class FirmwareDifference(NamedTuple):
    """``kind`` is differs, missing (predicted only) or extra (logged only); digests by bank."""

    kind: str
    pcr: int
    type: str
    description: str
    predicted: dict[str, bytes] | None
    logged: dict[str, bytes] | None


class FirmwareComparison(NamedTuple):
    """``matched`` events agree in all banks that both have; ``unknown`` sources were not compared."""

    matched: int
    unknown: int
    differences: tuple[FirmwareDifference, ...]


def compare_firmware(predicted: WholeLog, log: eventlog.Log) -> FirmwareComparison:
    real = Baseline(log)
    ours: dict[Source, list[tuple[str, dict[str, bytes] | None]]] = {}
    for event in predicted.events:
        if event.by == "firmware" and event.type not in _OF_STAGES and event.type is not None:
            key = source(event.pcr, event.type, event.description)
            if event.pcr != 4:
                ours.setdefault(key, []).append((event.description, event.digests))
    # Of these registers it is not known either which events there are.
    open_ended = {event.pcr for event in predicted.events if event.type is None and event.digests is None}
    known = {key: rows for key, rows in ours.items() if all(digests is not None for _, digests in rows)}
    matched, differences = 0, []
    for key in dict.fromkeys((*known, *_firmwares_own(real, ours))):
        for own, logged in zip_longest(known.get(key, ()), real.of(key)):
            if own is not None and logged is not None and _agree(own[1] or {}, logged.digests):
                matched += 1
                continue
            kind = "differs" if own is not None and logged is not None else "missing" if own is not None else "extra"
            if kind == "extra" and key[0] in open_ended:
                continue
            text = own[0] if own is not None else described(logged) or key[2] or key[1]
            digests = None if logged is None else logged.digests
            differences.append(FirmwareDifference(kind, *key[:2], text, None if own is None else own[1], digests))
    return FirmwareComparison(matched, len(ours) - len(known), tuple(differences))


def _firmwares_own(real: Baseline, ours: Iterable[Source]) -> list[Source]:
    """What only the log has: not what is measured on behalf of a stage, nor what was announced as not known."""
    told = set(ours)
    return [key for key in real.events if key not in told and key[1] not in _OF_STAGES and key[0] <= 7]


def _agree(one: dict[str, bytes], other: dict[str, bytes]) -> bool:
    return all(other[bank] == digest for bank, digest in one.items() if bank in other)
