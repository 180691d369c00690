"""What a firmware measured by its log, beside what it was to measure."""

from __future__ import annotations

from hashlib import sha256

from stubsim.explain.firmware_in_log import compare_firmware
from stubsim.explain.predicted_log import LogEvent, WholeLog
from stubsim.formats.eventlog import EVENT_TYPES, Event, Header, Log

AUTHORITY = "EV_EFI_VARIABLE_AUTHORITY"
OPEN = LogEvent("stub", 7, None, "PCR 7", None, b"", "unknown", "no store")


def predicted(*texts: bytes, pcr: int = 7) -> list[LogEvent]:
    return [
        LogEvent("firmware", pcr, AUTHORITY, "db", {"sha256": sha256(text).digest()}, text, "computed")
        for text in texts
    ]


def kinds(ours: list[LogEvent], *logged: bytes, pcr: int = 7) -> tuple[int, list[str]]:
    events = tuple(Event(pcr, EVENT_TYPES[AUTHORITY], {"sha256": sha256(text).digest()}, text) for text in logged)
    log = Log(Header({"sha256": 32}), events)
    found = compare_firmware(WholeLog(("sha256",), tuple(ours), ()), log)
    return found.matched, [row.kind for row in found.differences]


def test_each_source_in_its_order():
    assert kinds(predicted(b"one", b"two"), b"one", b"two") == (2, [])
    assert kinds(predicted(b"one", b"two"), b"one", b"three") == (1, ["differs"])
    assert kinds(predicted(b"one", b"two"), b"one") == (1, ["missing"])
    assert kinds(predicted(b"one"), b"one", b"two") == (1, ["extra"])
    assert kinds([], b"one") == (0, ["extra"])


def test_a_register_of_which_the_events_are_not_known_has_no_surplus_ones():
    assert kinds([*predicted(b"one"), OPEN], b"one", b"shim's") == (1, [])
    assert kinds([*predicted(b"one"), OPEN], b"other") == (0, ["differs"])
    assert kinds([OPEN], b"one", pcr=5) == (0, ["extra"])
