"""Lines of a key and a value, as loader.conf, boot entries, os-release and .profile have them (line_get_key_value)."""

from __future__ import annotations

import re
from collections.abc import Iterator

_BLANK = b" \t"
_QUOTE = 0x22
_OPEN_END = re.compile(rb"(?:\A|[\n\r])[^\n\r=]+=\Z")


def key_values(
    content: bytes | memoryview,
    separators: bytes,
    *,
    quotes: bytes = b"\"'",
    oversteps: bool = False,
    runs_on: bool = False,
) -> Iterator[tuple[bytes, bytes | memoryview]]:
    """Key and value of each line that has a separator, up to the first NUL; never raises.

    The first separator ends the key, all that follow it are skipped. One pair of equal quotes around the value goes; a
    value of nothing but one quote is empty. Lines that begin with # do not count (systemd 257.13, efi-string.c).
    ``quotes`` are those that the release knows. ``oversteps``: where one separator ends the line, the value is what
    stands behind that line's end, as far as a NUL (systemd 260 to 260.3, 261 and 261.1; mended by "don't
    unquote an empty value in line_get_key_value()"). ``runs_on``: a line of blanks only is taken together with all
    that follows, as one key and one value (systemd up to 252.18, 253.12 and 254.5, boot.c).
    """
    text = bytes(content)
    if runs_on:
        yield from _run_on(text.partition(b"\0")[0], separators)
        return
    until = text.find(b"\0") if b"\0" in text else len(text)
    for found in re.finditer(rb"[^\n\r]+", text[:until]):
        line = found[0].strip(_BLANK)
        end = next((index for index, byte in enumerate(line) if byte in separators), len(line))
        if line.startswith(b"#") or end == len(line):
            continue
        value: bytes | memoryview = line[end:].lstrip(separators)
        if value and value[0] in quotes and value[-1] == value[0]:
            value = value[1:-1]
        elif oversteps and end == len(line) - 1:
            value = _overstepped(text, found, until)
        yield line[:end], value


def ends_at_separator(content: bytes) -> bool:
    """Whether the text ends with a line such as "ID=": what oversteps it takes what lies behind the text in memory."""
    return b"\0" not in content and _OPEN_END.search(content) is not None


def _run_on(text: bytes, separators: bytes) -> Iterator[tuple[bytes, bytes]]:
    """All lines as a release reads them in place that does not stop at the end of a line of blanks.

    The ends of lines become NULs as they are come to, and to a search for a blank a NUL is one; of what lies in memory
    around the text nothing is found.
    """
    line = bytearray(text + b"\0")
    at = 0
    while line[at]:
        start, end = at, next(index for index in range(at, len(line)) if line[index] in b"\n\r\0")
        at = end + bool(line[end])
        if start == end:
            continue
        line[end] = 0
        while start < len(line) and line[start] in _BLANK + b"\0":
            start += 1
        while end and line[end - 1] in _BLANK + b"\0":
            end -= 1
        line[end] = 0
        split = next((index for index in range(start, len(line)) if line[index] in separators + b"\0"), len(line))
        if line[start : start + 1] == b"#" or split == len(line) or not line[split]:
            continue
        line[split] = 0
        value = split + 1
        while line[value] in separators:
            value += 1
        if line[value] == line[end - 1] == _QUOTE and end:
            value, line[end - 1] = value + 1, 0
        yield bytes(line[start:split]), bytes(line[value : line.index(0, value)])


def _overstepped(text: bytes, line: re.Match[bytes], until: int) -> bytes | memoryview:
    """What stands one byte behind a line's end, where a NUL was put: blanks that were cut off, or all that follows.

    The text's own NUL is at ``until``; behind the last line it is another one. Nothing is copied, as every line may be
    one of those.
    """
    blanks = len(line[0]) - len(line[0].rstrip(_BLANK))
    if blanks:
        return line[0][1 - blanks :] if blanks > 1 else b""
    start = line.end() + 1
    return memoryview(text)[start:until] if start <= until else text[start:].partition(b"\0")[0]
