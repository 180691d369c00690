"""Lines of a key and a value, as loader.conf, boot entries, os-release and .profile have them (line_get_key_value)."""

from __future__ import annotations

import re
from collections.abc import Iterator

_BLANK = b" \t"


def key_values(content: bytes | memoryview, separators: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of each line that has a separator, up to the first NUL; never raises.

    The first separator ends the key, all that follow it are skipped. One pair of equal quotes around the value goes; a
    value of nothing but one quote is empty. Lines that begin with # do not count (systemd 257.13, efi-string.c).
    """
    for raw in re.split(rb"[\n\r]", bytes(content).partition(b"\0")[0]):
        line = raw.strip(_BLANK)
        end = next((index for index, byte in enumerate(line) if byte in separators), len(line))
        if line.startswith(b"#") or end == len(line):
            continue
        value = line[end:].lstrip(separators)
        if value[:1] in (b'"', b"'") and value[-1:] == value[:1]:
            value = value[1:-1]
        yield line[:end], value
