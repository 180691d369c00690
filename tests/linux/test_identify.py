from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.linux.identify import Linux, identify


def bz_image(version: bytes, offset: int = 0x400) -> bytes:
    image = bytearray(0x1000)
    image[:2] = b"MZ"
    image[0x1FE:0x200] = b"\x55\xaa"
    image[0x202:0x206] = b"HdrS"
    image[0x20E:0x210] = offset.to_bytes(2, "little")
    if offset:
        image[0x200 + offset : 0x200 + offset + len(version)] = version
    return bytes(image)


def with_magic(magic: bytes, offset: int) -> bytes:
    return b"MZ".ljust(offset, b"\0") + magic + bytes(64)


@pytest.mark.parametrize(
    ("image", "uname", "expected"),
    [
        (bz_image(b"6.12.117+deb13-amd64 (x@y) #1"), b"1.0", Linux("bzImage", "6.12.117+deb13-amd64", (6, 12))),
        (bz_image(b"6.1", 0), b"5.4.0\0", Linux("bzImage", "5.4.0", (5, 4))),
        (bz_image(b"", 0), None, Linux("bzImage", None, None)),
        (bz_image(b"custom"), None, Linux("bzImage", "custom", None)),
        (with_magic(b"zimg", 4), b"6.8.0-arm64\n", Linux("zboot", "6.8.0-arm64", (6, 8))),
        (with_magic(b"ARM\x64", 56), None, Linux("arm64 Image", None, None)),
        (with_magic(b"RSC\x05", 56), b"6.6", Linux("riscv Image", "6.6", (6, 6))),
        (b"MZ", b"6.6", None),
        (b"", None, None),
    ],
)
def test_identify(image: bytes, uname: bytes | None, expected: Linux | None):
    assert identify(image, uname) == expected


@given(st.binary(max_size=80), st.binary(max_size=8) | st.none())
def test_any_bytes(tail: bytes, uname: bytes | None):
    for image in (tail, bz_image(tail), bz_image(tail, 0xFFFF), with_magic(tail, 4)):
        identify(image, uname)
