"""Option ROMs of PCI devices (PCI Firmware Specification 3.3, 5.1; UEFI 2.10, 14.4.2): the EFI programs in them.

Offsets in errors are bytes from the start of the ROM.
"""

from __future__ import annotations

from struct import Struct

from stubsim.errors import StubsimError

_ROM, _EFI, _DATA = b"\x55\xaa", 0x0EF1, b"PCIR"
_UNIT = 512
_EFI_CODE = 3
_LAST = 0x80
_COMPRESSED = 1
# Signature, size in units, then for EFI its signature, subsystem, machine, kind of compression.
_HEADER = Struct("<2sHIHHH")
_IMAGES_MAX = 64


def efi_images(rom: bytes) -> tuple[bytes, ...]:
    """The EFI programs, each up to the end of its image in the ROM.

    Raises StubsimError for what is no ROM, and for a program that is compressed: what it unpacks to was never recorded.
    """
    found: list[bytes] = []
    at = 0
    for _ in range(_IMAGES_MAX):
        data_at = at + int.from_bytes(rom[at + 0x18 : at + 0x1A], "little")
        if rom[at : at + 2] != _ROM or rom[data_at : data_at + 4] != _DATA or len(rom) < data_at + 22:
            if not at:
                raise StubsimError("not an option ROM", offset=at, expected="55 aa, and PCIR where its header says")
            break
        size = int.from_bytes(rom[data_at + 16 : data_at + 18], "little") * _UNIT
        if not size or at + size > len(rom):
            raise StubsimError(
                f"an image of {size} bytes in the option ROM", offset=at, expected=f"1 to {len(rom) - at}"
            )
        if rom[data_at + 20] == _EFI_CODE:
            found.append(_efi(rom, at, size))
        if rom[data_at + 21] & _LAST:
            break
        at += size
    return tuple(found)


def _efi(rom: bytes, at: int, size: int) -> bytes:
    _, units, signature, _, _, compression = _HEADER.unpack_from(rom, at)
    start = int.from_bytes(rom[at + 0x16 : at + 0x18], "little")
    end = units * _UNIT
    if signature != _EFI or not start < end <= size:
        raise StubsimError("an EFI image in the option ROM without an EFI header", offset=at, expected=f"{_EFI:#x}")
    if compression == _COMPRESSED:
        raise StubsimError("a compressed EFI image in the option ROM", offset=at, expected="one that is not compressed")
    return rom[at + start : at + end]
