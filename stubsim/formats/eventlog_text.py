"""Event logs as text: the YAML of tpm2_eventlog, and CEL in JSON as `systemd-pcrlock cel` writes it.

What tpm2_eventlog prints is often no YAML (a text with control characters, tpm2-tools issue 2927), and a parser for all
of YAML would be slow for a log: so it is read line by line as tpm2-tools 5.4 prints it (lib/tpm2_eventlog_yaml.c).
CEL: TCG Canonical Event Log Format 1.0, 5 (JSON encoding).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from typing import Any

from stubsim.errors import StubsimError
from stubsim.formats.eventlog import ALGORITHMS, EVENT_TYPES, Event, Header, Log, UserspaceEvent, parse_log
from stubsim.rows import NamedTuple

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_RECORD_SEPARATOR = "\x1e"
_NO_ACTION = EVENT_TYPES["EV_NO_ACTION"]
_MOST_REGISTERS = 0xFFFF

# Of a log of SHA-1 alone there are no numbers.
_EVENT = re.compile(r"^( *)(- EventNum|PCRIndex): *[0-9]+", re.MULTILINE)
_VALUE = re.compile(r" *(?:- )?([A-Za-z]+) *: *(.*)")
_ESCAPE = re.compile(rb"\\([\\0])")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})*")


def read_log(data: bytes | memoryview) -> Log:
    """The log in bytes of any form: as the firmware made it, tpm2_eventlog's YAML, or CEL in JSON.

    Raises StubsimError for what is none of them, and for an empty one.
    """
    raw = bytes(data)
    if not raw.strip(b" \t\r\n\0\xff"):
        return parse_log(b"")
    text = _text(raw)
    if text is None:
        return parse_log(raw)
    if text.startswith(("[", "{", _RECORD_SEPARATOR)):
        return _cel(text)
    first = _EVENT.search(text)
    if first is not None:
        return _yaml(text, first)
    raise StubsimError("not an event log", offset=0, expected=_EXPECTED)


_EXPECTED = "a binary log, the YAML of tpm2_eventlog, or CEL in JSON (systemd-pcrlock cel)"


def _text(data: bytes) -> str | None:
    """The log as text, without what stands in front; None where it is binary."""
    if data.startswith(_UTF_16):
        return data.decode("utf-16", "replace").lstrip()
    start = data.removeprefix(_BYTE_ORDER_MARK)
    # A binary log starts with a register's number and an event's type, each of four bytes.
    if b"\0" in start[:8]:
        return None
    # Texts of events come out byte by byte: what is not UTF-8 has to survive.
    return start.decode("utf-8", "surrogateescape").lstrip()


# --- tpm2_eventlog ---------------------------------------------------------------------------------------------------


class _Block(NamedTuple):
    """The lines of one event, stripped at their ends, and where the first of them is (line number from 1)."""

    lines: list[str]
    number: int


def _yaml(text: str, first: re.Match[str]) -> Log:
    banks: dict[str, int] = {}
    events: list[Event] = []
    last: _Block | None = None
    for block in _blocks(text, f"{first[1]}{first[2]}:"):
        listed = _listed_banks(block)
        if listed:
            banks |= listed
            continue
        event = _event(block)
        for bank, digest in event.digests.items():
            banks.setdefault(bank, len(digest))
        events.append(event)
        last = block
    if last is not None and _is_cut_off(last):
        raise _wrong(last, "the log ends within an event")
    return Log(Header(banks), tuple(events), sha1_only=first[2] == "PCRIndex")


def _blocks(text: str, mark: str) -> Iterator[_Block]:
    lines: list[str] | None = None
    start = 0
    for number, whole in enumerate(text.split("\n"), 1):
        line = whole.removesuffix("\r")
        if line.startswith(mark):
            if lines is not None:
                yield _Block(lines, start)
            lines, start = [line], number
        elif line.strip() == "pcrs:":
            break
        elif lines is not None:
            lines.append(line)
    if lines is not None:
        yield _Block(lines, start)


def _listed_banks(block: _Block) -> dict[str, int]:
    """The algorithms of a Spec ID event, which extends nothing; {} for every other event."""
    names = [value for key, value in _values(block) if key == "algorithmId"]
    return {name: ALGORITHMS[name][1] for name in names if name in ALGORITHMS}


def _values(block: _Block) -> Iterator[tuple[str, str]]:
    for line in block.lines:
        match = _VALUE.fullmatch(line)
        if match is not None:
            yield match[1], match[2].strip().strip('"')


def _event(block: _Block) -> Event:
    pcr = kind = None
    digests: dict[str, bytes] = {}
    algorithm = "sha1"
    for key, value in _values(block):
        if key == "PCRIndex" and pcr is None:
            pcr = _number(value, block)
        elif key == "EventType" and kind is None:
            kind = EVENT_TYPES[value] if value in EVENT_TYPES else _number(value, block)
        elif key == "AlgorithmId":
            algorithm = value
        elif key == "Digest":
            digests[algorithm] = _digest(algorithm, value, block)
        elif key in ("EventSize", "Event"):
            break
    if pcr is None or kind is None:
        raise _wrong(block, "an event without PCRIndex or EventType")
    return Event(pcr, kind, digests, _data(block, kind))


def _is_cut_off(block: _Block) -> bool:
    """Whether a digest is missing, the size, or the data that the size announces."""
    values = list(_values(block))
    counts = [value for key, value in values if key == "DigestCount"]
    digests = sum(key == "Digest" for key, _ in values)
    size = next((value for key, value in values if key == "EventSize"), "")
    if (counts and counts[0] != str(digests)) or not size.isdigit():
        return True
    return size != "0" and not any(line.lstrip().startswith("Event:") for line in block.lines)


def _number(value: str, block: _Block) -> int:
    try:
        number = int(value, 0)
    except ValueError:
        number = -1
    if not 0 <= number <= 0xFFFFFFFF:
        raise _wrong(block, f"{value[:40]!r} is not a number")
    return number


def _digest(algorithm: str, value: str, block: _Block) -> bytes:
    size = ALGORITHMS.get(algorithm, (0, 0))[1]
    if not _HEX.fullmatch(value) or len(value) != 2 * size:
        raise _wrong(block, f"{value[:40]!r} is not a digest of {algorithm[:20]}")
    return bytes.fromhex(value)


def _data(block: _Block, kind: int) -> bytes:
    """The event's data where they are printed as they are: hexadecimal digits, or the quoted lines of a text."""
    for index, line in enumerate(block.lines):
        match = _VALUE.fullmatch(line)
        if match is None:
            continue
        if match[1] == "Event" and match[2].startswith('"'):
            text = match[2].strip('"')
            return bytes.fromhex(text) if _HEX.fullmatch(text) else b""
        if match[1] == "String" and kind == EVENT_TYPES["EV_IPL"]:
            return _quoted(block.lines[index + 1 :])
    return b""


def _quoted(lines: list[str]) -> bytes:
    """A text, a line of it in each pair of quotes; a NUL is printed as \\0 and a backslash twice."""
    rows = [line.strip(" ") for line in lines]
    whole = [row[1:-1] for row in rows if len(row) > 1 and row.startswith('"') and row.endswith('"')]
    printed = "\n".join(whole).encode("utf-8", "surrogateescape")
    return _ESCAPE.sub(lambda match: b"\0" if match[1] == b"0" else b"\\", printed)


def _wrong(block: _Block, message: str) -> StubsimError:
    return StubsimError(f"line {block.number}: {message}", expected="the YAML of tpm2_eventlog")


# --- CEL -------------------------------------------------------------------------------------------------------------


def _cel(text: str) -> Log:
    banks: dict[str, int] = {}
    events: list[Event] = []
    userspace: list[UserspaceEvent] = []
    for index, record in enumerate(_records(text)):
        row = _Record(record, f"record {index}")
        pcr, digests = row.register(), row.digests()
        if pcr is None:
            continue
        content = row.content()
        if record.get("content_type") == "pcclient_std":
            kind, data = row.event(content)
            if kind == _NO_ACTION:
                continue
            events.append(Event(pcr, kind, digests, data))
        else:
            userspace.append(UserspaceEvent(pcr, digests, _said(content)))
        for bank, digest in digests.items():
            banks.setdefault(bank, len(digest))
    return Log(Header(banks), tuple(events), tuple(userspace))


def _records(text: str) -> Iterator[dict[str, Any]]:
    """The records of an array, or of a JSON text sequence (RFC 7464), as systemd's own log is kept."""
    if text.startswith("["):
        values = _decoded(text)
    else:
        rows = text.split(_RECORD_SEPARATOR) if _RECORD_SEPARATOR in text else text.split("\n")
        values = [_decoded(row) for row in rows if row.strip()]
    for value in values:
        if not isinstance(value, dict) or "digests" not in value:
            raise StubsimError("JSON that is not an event log", expected=_EXPECTED)
        yield value


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        if text.startswith("{"):
            # The first line of an object over many, such as a host file.
            raise StubsimError("JSON that is not an event log, or not a record a line", expected=_EXPECTED) from error
        raise StubsimError("neither an event log nor JSON", expected=_EXPECTED) from error


class _Record(NamedTuple):
    """One record of CEL, and what it is called in an error."""

    value: dict[str, Any]
    name: str

    def register(self) -> int | None:
        """The PCR; None for an NV index."""
        pcr = self.value.get("pcr")
        if pcr is None and ("nv_index" in self.value or "nvIndex" in self.value):
            return None
        if type(pcr) is not int or not 0 <= pcr <= _MOST_REGISTERS:
            raise StubsimError(f"{self.name}: no register", expected='"pcr", a number')
        return pcr

    def digests(self) -> dict[str, bytes]:
        found = {}
        rows = self.value["digests"]
        for row in rows if isinstance(rows, list) else ():
            bank, text = (row.get("hashAlg"), row.get("digest")) if isinstance(row, dict) else (None, None)
            size = ALGORITHMS[bank][1] if isinstance(bank, str) and bank in ALGORITHMS else 0
            if not isinstance(text, str) or not _HEX.fullmatch(text) or len(text) != 2 * size:
                raise StubsimError(f"{self.name}: no digest", expected='"hashAlg" and "digest", in hexadecimal digits')
            found[str(bank)] = bytes.fromhex(text)
        return found

    def content(self) -> dict[str, Any]:
        content = self.value.get("content")
        return content if isinstance(content, dict) else {}

    def event(self, content: dict[str, Any]) -> tuple[int, bytes]:
        kind, data = content.get("event_type"), content.get("event_data", "")
        number = EVENT_TYPES.get(kind) if isinstance(kind, str) else kind
        if isinstance(kind, str) and number is None and re.fullmatch(r"0x[0-9A-Fa-f]{1,8}|[0-9]{1,10}", kind):
            number = int(kind, 0) if kind.startswith("0x") else int(kind)
        if type(number) is not int or not 0 <= number <= 0xFFFFFFFF:
            raise StubsimError(f"{self.name}: no event type", expected='"event_type", a name or a number')
        try:
            return number, base64.b64decode(data, validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise StubsimError(f"{self.name}: no event data", expected='"event_data" in base64') from error


def _said(content: dict[str, Any]) -> str:
    texts = [content.get(key) for key in ("eventType", "string")]
    return " ".join(text for text in texts if isinstance(text, str)) or "no description"
