"""Option ROMs, laid out by hand; iPXE's for QEMU are the oracle."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given

from stubsim.errors import StubsimError
from stubsim.formats import authenticode, option_rom, pe
from stubsim.formats.pe import SectionSpec
from tests.strategies import mutated

PROGRAM = pe.build([SectionSpec(".text", b"\xf4" * 16)], subsystem=pe.BOOT_SERVICE_DRIVER)


def image(content: bytes, *, code: int = 3, last: bool = True, compression: int = 0) -> bytes:
    """One image of a ROM: header, PCI data structure, the program at 0x40."""
    units = (0x40 + len(content) + 511) // 512
    head = struct.pack("<2sHIHHH8xHH", b"\x55\xaa", units, 0x0EF1, 11, 0x8664, compression, 0x40, 0x1C)
    data = b"PCIR" + bytes(12) + struct.pack("<HHBBH", units, 0, code, 0x80 * last, 0)
    return (head.ljust(0x1C, b"\0") + data).ljust(0x40, b"\0") + content + b"\xff" * (units * 512 - 0x40 - len(content))


def test_the_program_goes_up_to_the_end_of_its_image():
    (found,) = option_rom.efi_images(image(b"\0", code=0, last=False) + image(PROGRAM))
    assert found.startswith(PROGRAM)
    assert len(found) == len(image(PROGRAM)) - 0x40
    assert set(found[len(PROGRAM) :]) <= {0xFF}


def test_what_lies_behind_the_last_image_is_not_looked_at():
    assert len(option_rom.efi_images(image(PROGRAM) + image(PROGRAM))) == 1
    assert len(option_rom.efi_images(image(PROGRAM, last=False) + image(PROGRAM))) == 2
    assert option_rom.efi_images(image(b"\0", code=0)) == ()


@pytest.mark.parametrize(
    ("rom", "message"),
    [
        (b"", "not an option ROM"),
        (bytes(1024), "not an option ROM"),
        (image(PROGRAM)[:512], "in the option ROM"),
        (image(PROGRAM, compression=1), "compressed"),
        (image(PROGRAM).replace(struct.pack("<I", 0x0EF1), bytes(4)), "without an EFI header"),
    ],
)
def test_what_is_no_rom_is_an_error_that_says_so(rom: bytes, message: str):
    with pytest.raises(StubsimError, match=message):
        option_rom.efi_images(rom)


@given(mutated(image(b"x" * 64, last=False) + image(b"y" * 64), places=[0x02, 0x16, 0x18, 0x2C, 0x30, 0x31]))
def test_any_rom_is_read_or_refused(rom: bytes):
    try:
        found = option_rom.efi_images(rom)
    except StubsimError:
        return
    assert sum(map(len, found)) <= len(rom)


@pytest.mark.oracle
def test_ipxe_for_virtio(oracle_file: Callable[[str], bytes]):
    (found,) = option_rom.efi_images(oracle_file("/usr/lib/ipxe/qemu/efi-virtio.rom"))
    program = pe.open_bytes(found, "rom")
    assert (program.machine, program.subsystem) == (0x8664, pe.BOOT_SERVICE_DRIVER)
    assert len(authenticode.digest(program)) == 32
