"""The strings of UEFI: UTF-16 with a NUL, and UTF-8 as systemd's EFI programs decode it."""

from __future__ import annotations

import codecs
from functools import lru_cache

from stubsim.extent import Bytes

# The boots that are compared with each other have most often the same command line: a text from so many bytes or
# characters on is decoded and encoded once for all of them.
_LONG = 256 << 10


def decode_utf8(data: bytes | memoryview) -> str:
    """The text of ``data`` as the stub reads it from `.cmdline` and SMBIOS; never raises.

    The first byte alone says how many belong together. A group with a byte that is no continuation, or cut short by
    the end, vanishes whole, and so do surrogates and everything above U+FFFF; overlong forms count. A NUL where a group
    would start ends the text; one inside a broken group vanishes with it (systemd 262, xstrn8_to_16).
    """
    raw = bytes(data)
    return _long_decoded(raw) if len(raw) > _LONG else _decoded(raw)


@lru_cache(maxsize=2)
def _long_decoded(raw: bytes) -> str:
    return _decoded(raw)


def _decoded(raw: bytes) -> str:
    try:
        text = raw.partition(b"\0")[0].decode()
    except UnicodeDecodeError:
        text = raw.decode(errors="stubsim-stub").partition("\0")[0]
    if not text.isascii() and max(text) > "\uffff":
        text = "".join(character for character in text if character <= "\uffff")
    return text


def _group(error: UnicodeError) -> tuple[str, int]:
    """What the stub makes of a group that Python refuses, and where the next one starts."""
    assert isinstance(error, UnicodeDecodeError)
    # As many leading ones as bytes, up to 6; a lone continuation, FE and FF are dropped alone.
    lead = error.object[error.start]
    size = 8 - (~lead & 0xFF).bit_length()
    if not 2 <= size <= 6:
        return "", error.start + 1
    group = error.object[error.start : error.start + size]
    code = lead & 0x7F >> size
    for byte in group[1:]:
        code = code << 6 | byte & 0x3F
    complete = len(group) == size and all(byte & 0xC0 == 0x80 for byte in group[1:])
    counts = complete and (code < 0xD800 or 0xE000 <= code <= 0xFFFF)
    return chr(code) if counts else "", error.start + len(group)


codecs.register_error("stubsim-stub", _group)


def utf16(text: str) -> bytes:
    """UTF-16LE without a terminator; lone surrogates stay."""
    return text.encode("utf-16-le", "surrogatepass")


def utf16z(text: str) -> bytes:
    """UTF-16LE with its terminating NUL."""
    return _long_utf16z(text) if len(text) > _LONG else utf16(text) + b"\0\0"


@lru_cache(maxsize=2)
def _long_utf16z(text: str) -> bytes:
    return utf16(text) + b"\0\0"


def from_utf16(data: Bytes) -> str:
    """The whole UTF-16LE units up to the first NUL, which may be missing; an odd last byte does not count."""
    whole = bytes(data[: len(data) & ~1])
    return whole.decode("utf-16-le", "surrogatepass").partition("\0")[0]
