"""Lines of a key and a value, as loader.conf, boot entries, os-release and .profile have them (line_get_key_value)."""

from __future__ import annotations

import re
from collections.abc import Iterator

_BLANK = b" \t"


def key_values(
    content: bytes | memoryview, separators: bytes, *, quotes: bytes = b"\"'", oversteps: bool = False
) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of each line that has a separator, up to the first NUL; never raises.

    The first separator ends the key, all that follow it are skipped. One pair of equal quotes around the value goes; a
    value of nothing but one quote is empty. Lines that begin with # do not count (systemd 257.13, efi-string.c).
    ``quotes`` are those that the release knows. ``oversteps``: where one separator ends the line, the value is what
    stands behind that line's end, as far as a NUL (systemd 260 to 260.3, 261 and 261.1; mended by "don't
    unquote an empty value in line_get_key_value()").
    """
    text = bytes(content)
    for found in re.finditer(rb"[^\n\r]+", text.partition(b"\0")[0]):
        line = found[0].strip(_BLANK)
        end = next((index for index, byte in enumerate(line) if byte in separators), len(line))
        if line.startswith(b"#") or end == len(line):
            continue
        value = line[end:].lstrip(separators)
        if value and value[0] in quotes and value[-1] == value[0]:
            value = value[1:-1]
        elif oversteps and end == len(line) - 1:
            value = _behind(text, found)
        yield line[:end], value


def _behind(text: bytes, line: re.Match[bytes]) -> bytes:
    """What stands one byte behind a line's end, where a NUL was put: blanks that were cut off, or all that follows."""
    blanks = len(line[0]) - len(line[0].rstrip(_BLANK))
    if blanks:
        return line[0][1 - blanks :] if blanks > 1 else b""
    return text[line.end() + 1 :].partition(b"\0")[0]
