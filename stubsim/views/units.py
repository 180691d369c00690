"""Sizes and address ranges in the words of every view for people."""

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
