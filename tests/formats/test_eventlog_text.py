"""Event logs as text, beside the binary ones they were made of, and the format of SHA-1 alone."""

from __future__ import annotations

import base64
import json
import struct
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.errors import StubsimError
from stubsim.formats.efi_string import utf16z
from stubsim.formats.eventlog import EVENT_TYPES, Event, Header, Log, build, parse_log, tagged
from stubsim.formats.eventlog_text import read_log
from tests.strategies import mutated

IPL, TAG = EVENT_TYPES["EV_IPL"], EVENT_TYPES["EV_EVENT_TAG"]
DIGEST = {"sha256": bytes(range(32)), "sha384": bytes(48)}
TEXTS = [
    utf16z(".linux"),
    utf16z('a "b" \\ \\0 c'),
    utf16z("one\ntwo\n\n three"),
    utf16z("größe € \U0001f600"),
    utf16z(""),
    utf16z(" blanks "),
    utf16z("- EventNum: 5\n  PCRIndex: 3"),
    b"grub_cmd: x\0",
    b"\0\0\0\0",
    b"\\0a\\x",
    b"",
]
EVENTS = (
    *(Event(12, IPL, DIGEST, data) for data in TEXTS),
    Event(12, TAG, DIGEST, tagged(0x13AED6DB, "1")),
    Event(4, EVENT_TYPES["EV_EFI_ACTION"], DIGEST, b"Calling EFI Application from Boot Option"),
    Event(7, EVENT_TYPES["EV_SEPARATOR"], DIGEST, bytes(4)),
)
SHOWN = (*(row for row in EVENTS if row.type != EVENT_TYPES["EV_EFI_ACTION"]),)


@pytest.mark.oracle
def test_what_tpm2_eventlog_prints(oracle: Callable[[str], str], tmp_path: Path):
    path = tmp_path / "log"
    path.write_bytes(build(EVENTS, ["sha256", "sha384"]))
    printed = subprocess.run([oracle("tpm2_eventlog"), str(path)], capture_output=True, check=True).stdout
    log = read_log(printed)
    assert log.header.banks == {"sha256": 32, "sha384": 48}
    assert [event._replace(data=b"") for event in log.events] == [event._replace(data=b"") for event in EVENTS]
    assert [event for event in log.events if event.type != EVENT_TYPES["EV_EFI_ACTION"]] == list(SHOWN)
    # As it comes out of a Windows editor, a mail or an issue.
    for changed in (
        printed.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + printed,
        b"WARN: something\n" + printed,
        b"".join(b"    " + line for line in printed.splitlines(keepends=True)),
    ):
        assert read_log(changed) == log
    assert read_log(printed.decode(errors="replace").encode("utf-16")).header == log.header


@pytest.mark.oracle
def test_what_tpm2_eventlog_prints_of_sha_1_alone(oracle: Callable[[str], str], tmp_path: Path):
    path = tmp_path / "log"
    path.write_bytes(b"".join(old(11, IPL, utf16z(".linux")) for _ in range(2)))
    printed = subprocess.run([oracle("tpm2_eventlog"), str(path)], capture_output=True, check=False).stdout
    assert read_log(printed).events == read_log(path.read_bytes()).events


YAML = """---
version: 1
events:
- EventNum: 0
  PCRIndex: 0
  EventType: EV_NO_ACTION
  Digest: "0000000000000000000000000000000000000000"
  EventSize: 33
  SpecID:
  - Signature: Spec ID Event03
    Algorithms:
    - Algorithm[0]:
      algorithmId: sha1
      digestSize: 20
- EventNum: 1
  PCRIndex: 11
  EventType: EV_IPL
  DigestCount: 1
  Digests:
  - AlgorithmId: sha1
    Digest: "000102030405060708090a0b0c0d0e0f10111213"
  EventSize: 14
  Event:
    String: |-
      ".\\0l\\0i\\0n\\0u\\0x\\0\\0\\0"
- EventNum: 2
  PCRIndex: 12
  EventType: 0x99
  DigestCount: 0
  EventSize: 1
  Event: "ab"
pcrs:
  sha1:
    11 : 0x00
"""


def test_yaml():
    assert read_log(YAML.encode()) == Log(
        Header({"sha1": 20}),
        (Event(11, IPL, {"sha1": bytes(range(20))}, utf16z(".linux")), Event(12, 0x99, {}, b"\xab")),
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("PCRIndex: 12", "PCRIndex: x", "line 26: 'x' is not a number"),
        ("EventType: 0x99", "", "line 26: an event without"),
        ("10111213", "1011121", "not a digest of sha1"),
        ("AlgorithmId: sha1\n    D", "AlgorithmId: md5\n    D", "not a digest of md5"),
    ],
)
def test_yaml_that_is_broken(old: str, new: str, message: str):
    with pytest.raises(StubsimError, match=message):
        read_log(YAML.replace(old, new).encode())


@pytest.mark.parametrize("end", ["  EventSize: 1\n", "  Event: ", "  DigestCount: 0\n"])
def test_yaml_that_ends_within_an_event(end: str):
    """A paste that was cut: what is missing would be compared as if it were empty."""
    events, _, _ = YAML.partition("pcrs:")
    cut = events[: events.rindex(end) + (0 if end.startswith("  Event: ") else len(end))]
    with pytest.raises(StubsimError, match="line 26: the log ends within an event"):
        read_log(cut.encode())
    digest = events[: events.index("  - AlgorithmId")]
    with pytest.raises(StubsimError, match="line 15: the log ends within an event"):
        read_log(digest.encode())


def record(event: Event, **more: object) -> dict[str, object]:
    names = {number: name for name, number in EVENT_TYPES.items()}
    return {
        "pcr": event.pcr,
        "digests": [{"hashAlg": bank, "digest": digest.hex()} for bank, digest in event.digests.items()],
        "content_type": "pcclient_std",
        "content": {
            "event_type": names.get(event.type, event.type),
            "event_data": base64.b64encode(event.data).decode(),
        },
        **more,
    }


PHASE = {
    "pcr": 11,
    "digests": [{"hashAlg": "sha256", "digest": "11" * 32}],
    "content_type": "systemd",
    "content": {"string": "enter-initrd", "eventType": "phase", "bootId": "0" * 32},
}


def test_cel():
    rows = [*map(record, EVENTS), record(Event(14, 0x99, DIGEST, b"x")), PHASE, {"nv_index": 1, "digests": []}]
    log = read_log(json.dumps(rows).encode())
    assert log.events == (*EVENTS, Event(14, 0x99, DIGEST, b"x"))
    assert [(row.pcr, row.text) for row in log.userspace] == [(11, "phase enter-initrd")]
    # The same as a sequence of texts, as systemd keeps its own, and a line each.
    for separated in ("\x1e{}\n", "{}\n"):
        assert read_log("".join(separated.format(json.dumps(row)) for row in rows).encode()) == log


@pytest.mark.parametrize(
    "value",
    [
        {"a": 1},
        [1],
        [{"digests": 1}],
        [{"digests": [], "pcr": -1}],
        [{"digests": [{"hashAlg": "sha256", "digest": "00"}], "pcr": 1}],
        [record(EVENTS[0]) | {"content": {"event_type": "EV_NEW", "event_data": ""}}],
        [record(EVENTS[0]) | {"content": {"event_type": "EV_IPL", "event_data": "?"}}],
        [record(EVENTS[0]) | {"content": None}],
    ],
)
def test_json_that_is_no_log(value: object):
    with pytest.raises(StubsimError):
        read_log(json.dumps(value).encode())


def old(pcr: int, kind: int, data: bytes, digest: bytes = bytes(20)) -> bytes:
    return struct.pack("<II20sI", pcr, kind, digest, len(data)) + data


def test_the_format_of_sha_1_alone():
    """EFI_TCG2_EVENT_LOG_FORMAT_TCG_1_2: no header, one digest an event."""
    first = old(0, EVENT_TYPES["EV_S_CRTM_VERSION"], b"x")
    data = first + old(11, IPL, utf16z(".linux"), bytes(range(20)))
    log = read_log(data + bytes(64))
    assert (log.header.banks, log.sha1_only) == ({"sha1": 20}, True)
    assert log.events[1] == Event(11, IPL, {"sha1": bytes(range(20))}, utf16z(".linux"))
    with pytest.raises(StubsimError, match="ends within an event") as caught:
        read_log(data[:-1])
    assert caught.value.offset == len(first) + 32
    # What a register or a type would not be.
    for wrong in (old(24, IPL, b""), old(0, 0x77, b"")):
        with pytest.raises(StubsimError, match="not an event log"):
            read_log(wrong + bytes(8))


@pytest.mark.parametrize("data", [b"", b"\n", bytes(100), b"\xff" * 64])
def test_an_empty_log(data: bytes):
    with pytest.raises(StubsimError, match="empty"):
        read_log(data)


def test_what_is_no_log():
    for data in (b"root:x:0:0:root:/root:/bin/sh\n", b"MZ\x90\0" + bytes(60), b"---\nevents: []\n"):
        with pytest.raises(StubsimError, match=r"not an event log|empty"):
            read_log(data)


def test_binary_logs_are_read_as_before():
    data = build(EVENTS, ["sha256", "sha384"])
    assert read_log(data) == parse_log(data)


def log_or_error(data: bytes) -> None:
    with suppress(StubsimError):
        assert isinstance(read_log(data), Log)


CEL = json.dumps([record(EVENTS[0]), PHASE]).encode()


@given(st.binary() | mutated(YAML.encode()) | mutated(CEL) | mutated(old(0, 8, b"x") + old(11, IPL, utf16z("x"))))
def test_any_bytes_are_a_log_or_an_error(data: bytes):
    log_or_error(data)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["pcr", "digests", "content", "content_type", "hashAlg", "digest", "event_type", "event_data"]
                ),
                inner,
            )
        ),
    )
)
def test_any_json_is_a_log_or_an_error(value: object):
    log_or_error(json.dumps([value]).encode())


def test_an_object_over_many_lines_is_told_apart():
    """A host file in the log's place."""
    with pytest.raises(StubsimError, match="JSON that is not an event log"):
        read_log(b'{\n "schema": "stubsim/host/1"\n}\n')
