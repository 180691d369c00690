"""Strings as systemd's EFI programs treat them (efi-string.c, util.c)."""

from __future__ import annotations

import re
from functools import lru_cache

UINT_MAX = 0xFFFFFFFF
# How a text that is not there is printed into another one.
NULL = "(null)"
_UINT64_MAX = 0xFFFFFFFFFFFFFFFF
_DIGITS = "0123456789"
# Characters of a text that is held once, however many boots have it.
_LONG = 256 << 10
_BLANKS = dict.fromkeys((*range(0x21), 0x7F), " ")


def lower(text: str) -> str:
    """In lower case, ASCII only (strtolower16)."""
    return re.sub("[A-Z]+", lambda match: match.group().lower(), text)


def mangle(text: str) -> str:
    """Control characters and DEL become blanks, blanks at both ends go, inner runs stay (mangle_stub_cmdline)."""
    return _long_mangled(text) if len(text) > _LONG else text.translate(_BLANKS).strip(" ")


# The boots that are compared with each other share it.
@lru_cache(maxsize=2)
def _long_mangled(text: str) -> str:
    return text.translate(_BLANKS).strip(" ")


def efi_path(text: str) -> str:
    """A path as EFI writes it: backslashes, one for any run of them (convert_efi_path)."""
    return re.sub(r"[/\\]+", r"\\", text)


def parse_number(text: str) -> tuple[int | None, str]:
    """The decimal digits at the start, None without any or above 64 bits, and what follows (parse_number16)."""
    tail = text.lstrip(_DIGITS)
    digits = text[: len(text) - len(tail)]
    significant = digits.lstrip("0")
    # int() gives up on thousands of digits.
    if not digits or len(significant) > 20 or int(significant or "0") > _UINT64_MAX:
        return None, text
    return int(significant or "0"), tail
