"""Sizes, address ranges and contents of variables in the words of every view for people."""

from __future__ import annotations

_UNITS = ("KiB", "MiB", "GiB", "TiB")


def size(count: int) -> str:
    """A number of bytes, in the largest unit of which there is at least one."""
    if count < 1024:
        return f"{count} byte{'' if count == 1 else 's'}"
    power = min((count.bit_length() - 1) // 10, len(_UNITS))
    return f"{count / 1024**power:.1f} {_UNITS[power - 1]}"


def gpa_range(gpa: int, count: int) -> str:
    """First and last address of so many bytes, just the first of none."""
    return f"{gpa:#010x}-{gpa + count - 1:#010x}" if count else f"{gpa:#010x}"


def text_or_number(data: bytes) -> str | None:
    """What a loader's or stub's variable holds: a text in UTF-16, or 64 bits of features or time in hex; else None."""
    text = data.decode("utf-16-le", "replace") if len(data) % 2 == 0 else ""
    if text.endswith("\0") and text[:-1].isprintable():
        return text[:-1]
    return f"{int.from_bytes(data, 'little'):#x}" if len(data) == 8 else None
