"""The TCG event log: the recorded ones come back byte for byte, and tpm2_eventlog reads what is built."""

from __future__ import annotations

import hashlib
import json
import re
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stubsim.errors import StubsimError
from stubsim.formats import eventlog
from stubsim.formats.efi_string import utf16z
from stubsim.formats.eventlog import ALGORITHMS, EVENT_TYPES, Event, Header, Log
from stubsim.machine.tpm import BANKS, replay

IPL, TAG = EVENT_TYPES["EV_IPL"], EVENT_TYPES["EV_EVENT_TAG"]

# The start of every log of the recordings with a sha256 bank: the header event of OVMF 2022.11.
RECORDED_HEADER = (
    b"\0\0\0\0\x03\0\0\0" + bytes(20) + b"\x21\0\0\0Spec ID Event03\0\0\0\0\0\0\x02\0\x02\x01\0\0\0\x0b\0\x20\0\0"
)


def event(pcr: int, kind: int, data: bytes, banks: tuple[str, ...] = ("sha256",), measured: bytes = b"x") -> Event:
    return Event(pcr, kind, {bank: hashlib.new(bank, measured).digest() for bank in banks}, data)


def stub_events(banks: tuple[str, ...]) -> list[Event]:
    """One of each kind the stub writes."""
    cmdline = utf16z("quiet x=ä")
    return [
        event(12, TAG, eventlog.tagged(0x13AED6DB, "1"), banks, utf16z("1")),
        event(11, IPL, utf16z(".linux"), banks, b".linux\0"),
        event(11, IPL, utf16z(".linux"), banks, b"MZ kernel"),
        event(12, IPL, cmdline, banks, cmdline),
        event(1, TAG, eventlog.tagged(0xD5CB7CBC, "smbios:type1"), banks, b"structure"),
        event(13, IPL, utf16z("System extension initrd"), banks, b"archive"),
    ]


def recorded(shared: Path) -> Iterator[tuple[str, dict[str, Any], bytes]]:
    for path in sorted(shared.glob("golden/*@*/expect.json")):
        expect = json.loads(path.read_text())
        if expect["eventlog"]:
            yield path.parent.name, expect, bytes.fromhex(expect["eventlog"])


def test_recorded_logs_come_back(shared: Path) -> None:
    count = 0
    for name, _, data in recorded(shared):
        log = eventlog.parse_log(data)
        assert eventlog.build(log.events, tuple(log.header.banks)) == data, name
        assert eventlog.build_log(log) == data, name
        count += 1
    assert count > 100


def test_recorded_logs_replay_to_the_recorded_pcrs(shared: Path) -> None:
    banks = set()
    for name, expect, data in recorded(shared):
        values = replay(eventlog.parse(data))
        banks.add(tuple(values))
        for pcr, value in expect["pcrs"].items():
            assert values["sha256"].get(int(pcr), bytes(32)).hex() == value, (name, pcr)
    assert {("sha256",), BANKS} <= banks


def test_recorded_events_are_described(shared: Path) -> None:
    """Each recorded measurement is found by what the helpers make of its tag and description."""
    for name, expect, data in recorded(shared):
        events = eventlog.parse(data)
        for measurement in expect["measurements"]:
            tag, text = measurement["tag"], measurement["description"]
            wanted = utf16z(text) if tag is None else eventlog.tagged(int(tag, 16), text)
            digests = {bank: bytes.fromhex(digest) for bank, digest in measurement["digests"].items()}
            same = [e for e in events if (e.pcr, e.digests, e.data) == (measurement["pcr"], digests, wanted)]
            assert same, (name, measurement)
            assert eventlog.type_name(same[0].type) == measurement["type"]
            assert eventlog.describe(same[0]) == (None if tag is None else int(tag, 16), text)


def test_header_as_recorded() -> None:
    assert eventlog.build([], ["sha256"]) == RECORDED_HEADER
    assert eventlog.parse_log(RECORDED_HEADER) == Log(Header({"sha256": 32}), ())


def test_tagged_event_as_recorded() -> None:
    # The data of the profile event in recording profile-at1.
    data = bytes.fromhex("dbd6ae13 04000000 31000000")
    assert eventlog.tagged(0x13AED6DB, "1") == data
    assert eventlog.describe(event(12, TAG, data)) == (0x13AED6DB, "1")


@pytest.mark.parametrize(
    ("kind", "data", "described"),
    [
        (IPL, b"grub_cmd: linux\0", (None, "grub_cmd: linux")),
        (IPL, b"", (None, "")),
        (IPL, b"\xff\xfe\xfd", (None, None)),
        (IPL, "\ud800\0".encode("utf-16-le", "surrogatepass"), (None, "\ud800")),
        (TAG, b"\1\0\0", (None, None)),
        (TAG, b"\1\0\0\0\0\0\0\0rest", (1, "")),
        (TAG, b"\1\0\0\0\xff\xff\xff\xffabc", (1, "abc")),
        (EVENT_TYPES["EV_SEPARATOR"], bytes(4), (None, None)),
    ],
)
def test_descriptions_of_other_programs(kind: int, data: bytes, described: tuple[int | None, str | None]) -> None:
    assert eventlog.describe(event(8, kind, data)) == described


def test_type_names() -> None:
    assert eventlog.type_name(0x0D) == "EV_IPL"
    assert eventlog.type_name(0x80000003) == "EV_EFI_BOOT_SERVICES_APPLICATION"
    assert eventlog.type_name(0x99) == "0x99"


EVENTS = st.builds(
    Event,
    st.integers(0, 23),
    st.sampled_from(sorted(EVENT_TYPES.values())) | st.integers(0, 0xFFFFFFFF),
    # Not all banks need be in each event, and any order goes.
    st.permutations(BANKS).flatmap(
        lambda order: st.fixed_dictionaries(
            {}, optional={b: st.binary(min_size=ALGORITHMS[b][1], max_size=ALGORITHMS[b][1]) for b in order}
        )
    ),
    st.binary(max_size=40),
).filter(lambda e: e.pcr or e.type or e.digests or any(e.data))


@given(st.lists(EVENTS, max_size=6))
def test_round_trip(events: list[Event]) -> None:
    data = eventlog.build(events, BANKS)
    assert eventlog.parse(memoryview(data)) == tuple(events)
    assert eventlog.build(eventlog.parse(data), BANKS) == data


@given(
    st.dictionaries(st.integers(0x100, 0xFFFF).map(lambda n: f"{n:#06x}"), st.integers(1, 70), max_size=3),
    st.lists(st.integers(0, 255), min_size=4, max_size=4),
    st.integers(0, 0xFFFFFFFF),
    st.binary(max_size=255),
)
def test_header_round_trip(banks: dict[str, int], numbers: list[int], platform_class: int, vendor: bytes) -> None:
    digests = {bank: bytes(size) for bank, size in banks.items()}
    log = Log(Header({**banks, "sha1": 20}, platform_class, *numbers, vendor), (Event(1, 4, digests, b"\1"),))
    assert eventlog.parse_log(eventlog.build_log(log)) == log


@pytest.mark.parametrize("filler", [bytes(8), bytes(5000), b"\xff" * 8, b"\xff" * 5000])
def test_unused_space_behind_the_last_event(filler: bytes) -> None:
    data = eventlog.build(stub_events(("sha384",)), ["sha384"])
    assert eventlog.parse_log(data + filler) == eventlog.parse_log(data)


def test_more_in_the_header_event_than_its_fields() -> None:
    data = RECORDED_HEADER[:28] + b"\x24\0\0\0" + RECORDED_HEADER[32:] + b"pad"
    events = stub_events(("sha256",))
    assert eventlog.parse(data + eventlog.build(events, ["sha256"])[len(RECORDED_HEADER) :]) == tuple(events)


ONE = eventlog.build([event(11, IPL, b"text")], ["sha256"])
FIRST = len(RECORDED_HEADER)


def broken(offset: int, new: bytes) -> bytes:
    return ONE[:offset] + new + ONE[offset + len(new) :]


@pytest.mark.parametrize(
    ("data", "offset", "expected"),
    [
        pytest.param(b"", 0, "events", id="empty"),
        pytest.param(b"MZ" + bytes(100), 0, "Spec ID Event03", id="something-else"),
        # One of SHA-1 alone then, which it is not.
        pytest.param(broken(32, b"Spec ID Event00"), None, "bytes", id="tpm-1.2"),
        pytest.param(broken(28, b"\xff\xff\xff\x7f"), 32, "2147483647 bytes", id="header-cut"),
        pytest.param(broken(28, b"\x20\0\0\0"), 28, "33 bytes", id="header-short"),
        pytest.param(broken(56, b"\xff\xff\xff\xff"), None, "", id="algorithms-endless"),
        pytest.param(broken(62, b"\x14\0"), 60, "size of its digests", id="sha256-of-20-bytes"),
        pytest.param(broken(60, b"\x34\x12\0\0"), 60, "size of its digests", id="digest-of-0-bytes"),
        pytest.param(broken(FIRST + 12, b"\x04\0"), FIRST + 12, "each of sha256", id="digest-not-in-header"),
        pytest.param(broken(FIRST + 8, b"\x02\0\0\0"), None, "", id="digest-count"),
        pytest.param(broken(FIRST + 46, b"\x05\0\0\0"), FIRST + 50, "5 bytes", id="data-cut"),
        pytest.param(ONE + bytes(7), len(ONE), "12 bytes", id="event-cut"),
        pytest.param(ONE + bytes(20) + b"\1", None, "", id="not-only-filler"),
    ],
)
def test_what_is_wrong_is_named(data: bytes, offset: int | None, expected: str) -> None:
    with pytest.raises(StubsimError) as caught:
        eventlog.parse(data)
    assert caught.value.offset is not None
    assert offset in (None, caught.value.offset)
    assert expected in (caught.value.expected or "")


@given(st.integers(0, len(ONE) - 1))
def test_cut_anywhere(end: int) -> None:
    if end != FIRST:
        with pytest.raises(StubsimError):
            eventlog.parse(ONE[:end])


def check_total(data: bytes) -> None:
    """Either a log that build writes and parse reads again, or an error that says where."""
    failure = log = None
    try:
        log = eventlog.parse_log(data)
    except StubsimError as error:
        failure = error
    if log:
        assert eventlog.parse_log(eventlog.build_log(log)) == log
        replay(log.events)
        for each in log.events:
            eventlog.describe(each)
    else:
        assert failure is not None
        assert failure.offset is not None
        assert 0 <= failure.offset <= len(data)


@given(st.binary(max_size=300))
@example(b"\0\0\0\0\x34\x12\0\0\1\0\0\0")
def test_arbitrary_bytes(data: bytes) -> None:
    check_total(data)
    check_total(RECORDED_HEADER + data)


FOUR = eventlog.build(stub_events(BANKS), BANKS)


@given(st.integers(0, len(FOUR) - 1), st.binary(min_size=1, max_size=8), st.integers(0, len(FOUR)))
def test_damaged_logs(at: int, new: bytes, end: int) -> None:
    for data in (FOUR[:at] + new + FOUR[at + len(new) :], FOUR[:at] + FOUR[end:]):
        check_total(data)


@pytest.mark.parametrize("digest", [{"sha1": bytes(20)}, {"sha256": bytes(31)}])
def test_digests_must_fit_the_banks(digest: dict[str, bytes]) -> None:
    with pytest.raises(StubsimError, match="PCR 4"):
        eventlog.build([Event(4, 4, digest, b"")], ["sha256"])


def test_unknown_bank() -> None:
    with pytest.raises(StubsimError, match="md5"):
        eventlog.build([], ["md5"])


@pytest.mark.parametrize("banks", [("sha256",), BANKS])
def test_tpm2_eventlog_reads_what_is_built(
    oracle: Callable[[str], str], tmp_path: Path, banks: tuple[str, ...]
) -> None:
    events = stub_events(banks)
    path = tmp_path / "log"
    path.write_bytes(eventlog.build(events, banks))
    result = subprocess.run([oracle("tpm2_eventlog"), str(path)], capture_output=True, check=True)
    # It prints the UTF-16 of the descriptions as bytes.
    output = result.stdout.decode("latin-1")

    # Event 0 is the header, which has one digest of SHA-1 only.
    shown = re.split(r"^- EventNum: \d+\n", output, flags=re.MULTILINE)[2:]
    assert len(shown) == len(events)
    for text, each in zip(shown, events, strict=True):
        assert f"PCRIndex: {each.pcr}\n" in text
        assert f"EventType: {eventlog.type_name(each.type)}\n" in text
        assert f"EventSize: {len(each.data)}\n" in text
        found = re.findall(r'AlgorithmId: (\w+)\n\s+Digest: "(\w+)"', text)
        assert found == [(bank, digest.hex()) for bank, digest in each.digests.items()]

    registers: dict[str, dict[int, bytes]] = {}
    values: dict[int, bytes] = {}
    for line in output.partition("\npcrs:\n")[2].splitlines():
        name, _, value = (part.strip() for part in line.partition(":"))
        if value:
            values[int(name)] = bytes.fromhex(value.removeprefix("0x"))
        else:
            values = registers.setdefault(name, {})
    assert registers == replay(events)


@pytest.mark.parametrize(("tail", "events"), [(b"", 2), (bytes(8), 2), (bytes(64), 2), (b"\xff" * 64, 2)])
def test_events_of_zeros_are_events_as_long_as_something_follows(tail: bytes, events: int):
    """An event that begins as unused space does, in front of one that does not."""
    zeros, other = bytes(16), struct.pack("<IIII", 11, 13, 0, 0)
    assert len(eventlog.parse(eventlog.build([], ("sha256",)) + zeros + other + tail)) == events
