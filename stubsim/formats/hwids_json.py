"""hwids descriptions: the JSON files of which ukify makes a `.hwids` section, one device a file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from uuid import UUID

from stubsim import stream
from stubsim.errors import StubsimError, reason
from stubsim.formats import hwids
from stubsim.rows import NamedTuple

PATTERN = "*.json"
KEYS = ("type", "name", "hwids", *(key for _, key in hwids.KINDS.values()))

# Real descriptions have a few kilobytes.
_MAXIMUM_SIZE = 16 << 20
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')


class Hwid(NamedTuple):
    """One id, the place of its text in the file's `hwids`, and its line, counted from 1."""

    chid: UUID
    position: int
    line: int


class Description(NamedTuple):
    """One file: the device and its ids as they stand there.

    ``type`` is hwids.DEVICETREE or hwids.UEFI_FW, ``string`` the compatible or the firmware id. ``ignored`` are keys
    that ukify does not read, ``repeated`` those given twice, of which it reads the last.
    """

    path: str
    type: int
    name: str
    string: str
    hwids: tuple[Hwid, ...]
    ignored: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()

    @property
    def device(self) -> tuple[int, str, str]:
        """What ukify takes for one device, be it in several files."""
        return self.type, self.name, self.string


def files(folder: str) -> list[str]:
    """The descriptions in a folder and below it, in the order in which ukify 262 reads them.

    Raises StubsimError where there is no such folder; ukify then makes a section without entries.
    """
    path = Path(folder)
    if not path.is_dir():
        what = "is not a folder" if path.exists() else "No such file or directory"
        raise StubsimError(what, path=folder, expected=f"a folder of hwids descriptions ({PATTERN})")
    return [str(file) for file in sorted(path.rglob(PATTERN))]


def read(path: str) -> Description:
    """The description in a file; StubsimError for one that cannot be read or that ukify refuses."""
    try:
        data = stream.read(path, _MAXIMUM_SIZE + 1)
    except (OSError, ValueError) as error:
        raise StubsimError(reason(error), path=path) from error
    try:
        return parse(data, path)
    except StubsimError as error:
        raise error.within(path=path) from error


def parse(data: bytes, path: str) -> Description:
    """The description in JSON, UTF-8 without a byte order mark, by the rules of ukify 262.

    Raises StubsimError for what ukify refuses, and for three things it takes by accident: a string with a NUL, `hwids`
    that are no array, and an id in anything but 32 hexadecimal digits with or without hyphens, braces or "urn:uuid:".
    """
    if len(data) > _MAXIMUM_SIZE:
        raise StubsimError("too large", expected=f"a hwids description of at most {_MAXIMUM_SIZE >> 20} MiB")
    text, value, repeated = _decoded(data)
    if not isinstance(value, dict):
        raise StubsimError("not a hwids description", offset=0, expected="a JSON object")
    type_, name, string = hwids.device(value)
    lines = _lines(text)
    found = []
    for position, (item, line) in enumerate(zip(value["hwids"], lines, strict=True)):
        try:
            found.append(Hwid(hwids.guid(item), position, line))
        except StubsimError as error:
            raise StubsimError(f"line {line}: hwids[{position}]: {error.message}", expected=error.expected) from error
    ignored = tuple(key for key in value if key not in KEYS)
    return Description(path, type_, name, string, tuple(found), ignored, tuple(key for key in repeated if key in value))


def build(descriptions: Iterable[Description]) -> bytes:
    """The section ukify 262 makes of descriptions in this order; StubsimError for a string that cannot be written."""
    return hwids.build_devices((one.device, [hwid.chid for hwid in one.hwids]) for one in descriptions)


def _decoded(data: bytes) -> tuple[str, object, tuple[str, ...]]:
    """The text, its value, and the keys that an object has twice."""
    repeated: list[str] = []

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        value = dict(items)
        if len(value) < len(items):
            keys = [key for key, _ in items]
            repeated.extend(key for key in value if keys.count(key) > 1)
        return value

    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise StubsimError("not UTF-8", offset=error.start, expected="JSON in UTF-8") from error
    if text.startswith("\ufeff"):
        raise StubsimError("begins with a byte order mark, which ukify refuses", offset=0, expected="JSON in UTF-8")
    try:
        return text, json.loads(text, object_pairs_hook=pairs), tuple(dict.fromkeys(repeated))
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        offset = len(text[: error.pos].encode())
        raise StubsimError(f"{where}: {error.msg}", offset=offset, expected="JSON") from error
    except RecursionError as error:
        raise StubsimError("nested too deeply", expected="a JSON object") from error
    except ValueError as error:  # Python reads no integer of more than 4300 digits
        raise StubsimError("a number is too long", expected="JSON") from error


def _lines(text: str) -> list[int]:
    """The line of each item of the top-level `hwids`, the last of them, in the text of a valid JSON object."""
    found: list[int] = []
    depth, key, inside = 0, None, False
    line, at = 1, 0
    for token in _TOKEN.finditer(text):
        line, at = line + text.count("\n", at, token.start()), token.start()
        word = token[0]
        if depth == 2 and inside and word not in ",]":
            found.append(line)
        if word in "{[":
            if depth == 1 and key == "hwids":
                found, inside = [], True
            depth += 1
        elif word in "}]":
            depth -= 1
            inside = inside and depth > 1
        elif depth == 1:
            if word == ",":
                key = None
            elif key is None:
                key = json.loads(word)
    return found
