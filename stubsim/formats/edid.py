"""EDID (VESA E-EDID 1.4): the panel id that systemd 258 and later put into CHIDs."""

from __future__ import annotations

from stubsim.errors import StubsimError

SIZE = 128
_PATTERN = bytes.fromhex("00ffffffffffff00")


def panel_id(data: bytes | memoryview) -> str | None:
    """Three letters and the product code as four lower-case hex digits, such as `AUO1234`.

    None for less than 128 bytes, another header, and a manufacturer letter behind Z (systemd 262, edid.c). The
    checksum is not looked at.
    """
    if len(data) < SIZE or bytes(data[:8]) != _PATTERN:
        return None
    manufacturer = int.from_bytes(data[8:10], "big")
    letters = [manufacturer >> shift & 0x1F for shift in (10, 5, 0)]
    if max(letters) > 26:
        return None
    return "".join(chr(ord("@") + letter) for letter in letters) + f"{int.from_bytes(data[10:12], 'little'):04x}"


def build(panel_id: str) -> bytes:
    """An EDID 1.4 base block of 128 bytes with that panel id. Raises StubsimError for anything but `ABC12ef`."""
    letters = [ord(letter) - ord("@") for letter in panel_id[:3]]
    digits = panel_id[3:]
    if (
        len(digits) != 4
        or not set(digits) <= set("0123456789abcdef")
        or not all(0 <= letter <= 26 for letter in letters)
    ):
        raise StubsimError(
            f"bad panel id {panel_id!r}", expected="three capital letters and four lower-case hex digits"
        )
    manufacturer = letters[0] << 10 | letters[1] << 5 | letters[2]
    block = _PATTERN + manufacturer.to_bytes(2, "big") + int(digits, 16).to_bytes(2, "little")
    # Serial number 0, week 0 of 1990, EDID 1.4.
    block = (block + bytes(6) + b"\x01\x04").ljust(SIZE - 1, b"\0")
    return block + bytes([-sum(block) & 0xFF])
