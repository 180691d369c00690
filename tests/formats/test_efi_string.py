"""UTF-8 as the stub decodes it, against the rule written out and against lines real stubs handed over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.formats import efi_string

LEADS = {"0": 1, "110": 2, "1110": 3, "11110": 4, "111110": 5, "1111110": 6}


def by_the_rule(data: bytes) -> str:
    """The rule byte by byte, as slow as it is plain."""
    text = ""
    while data and data[0]:
        first = format(data[0], "08b")
        lead = next((lead for lead in LEADS if first.startswith(lead)), "")
        size = LEADS.get(lead, 1)
        group, data = data[:size], data[size:]
        rest = [format(byte, "08b") for byte in group[1:]]
        if not lead or len(group) < size or not all(byte.startswith("10") for byte in rest):
            continue
        code = int(first[len(lead) :] + "".join(byte[2:] for byte in rest), 2)
        if code == 0:
            break
        if code < 0xD800 or 0xE000 <= code <= 0xFFFF:
            text += chr(code)
    return text


@given(st.binary(max_size=64) | st.text(max_size=20).map(lambda text: text.encode(errors="ignore")))
def test_decodes_by_the_rule(data: bytes) -> None:
    assert efi_string.decode_utf8(data) == efi_string.decode_utf8(memoryview(data)) == by_the_rule(data)


@given(
    st.lists(
        st.sampled_from([b"a", b" ", b"\0", b"\xc3", b"\xe4", b"\xf0", b"\xf8", b"\xfc", b"\xff", b"\x80", b"\xbf"])
    )
)
def test_broken_groups_by_the_rule(parts: list[bytes]) -> None:
    data = b"".join(parts)
    assert efi_string.decode_utf8(data) == by_the_rule(data)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        # Recording cmdline-latin1: what systemd-stub 262.1 and 257.13 handed to the kernel.
        (b"x=\xe4\xf6 y=\xff z", "x=y= z"),
        (b"a\0b", "a"),
        (b"", ""),
        (b"\0", ""),
        (b"\xc0\xaf", "/"),
        (b"a\xc0\x80b", "a"),
        (b"\xe0\x80\xaf", "/"),
        (b"\xf8\x80\x80\x81\x81", "A"),
        (b"\xfc\x80\x80\x80\x81\x81", "A"),
        (b"\xfe\xffa", "a"),
        (b"\x80\xbfa", "a"),
        (b"\xed\xa0\xbdx", "x"),
        (b"\xef\xbf\xbf", "\uffff"),
        (b"\xf0\x9f\x92\xbbx", "x"),
        (b"a\xe2\x82", "a"),
        (b"a\xe4\0b c", "a c"),
        ("Zörn €".encode(), "Zörn €"),
    ],
)
def test_decode(data: bytes, text: str) -> None:
    assert efi_string.decode_utf8(data) == text


def test_big_texts_are_quick() -> None:
    assert efi_string.decode_utf8(b"a" * (1 << 24) + b"\xff") == "a" * (1 << 24)


@given(st.text(st.characters(exclude_characters="\0")))
def test_utf16_there_and_back(text: str) -> None:
    """Lone surrogates survive; a pair of them is the character it encodes."""
    data = efi_string.utf16z(text)
    assert data == efi_string.utf16(text) + b"\0\0"
    back = efi_string.from_utf16(data + b"rest")
    assert efi_string.utf16(back) == efi_string.utf16(text)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"a", ""),
        (b"a\0b\0", "ab"),
        (b"a\0b\0c", "ab"),
        (b"a\0\0\0b\0", "a"),
        (b"\0a\0a", "愀愀"),
        (b"\x3d\xd8\xbb\xdc", "\U0001f4bb"),
        (b"\x3d\xd8", "\ud83d"),
        (b"\xbb\xdc\x3d\xd8", "\udcbb\ud83d"),
    ],
)
def test_from_utf16(data: bytes, text: str) -> None:
    assert efi_string.from_utf16(data) == efi_string.from_utf16(memoryview(data)) == text


@given(st.binary(max_size=40))
def test_any_bytes_are_units(data: bytes) -> None:
    text = efi_string.from_utf16(data)
    assert "\0" not in text
    assert data.startswith(efi_string.utf16(text))
