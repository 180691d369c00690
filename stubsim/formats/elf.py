"""ELF images, as far as a loader needs them: what they are for, where they start and what goes where."""

from __future__ import annotations

from io import BufferedReader, RawIOBase
from typing import TYPE_CHECKING

from stubsim.errors import StubsimError
from stubsim.rows import NamedTuple

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from elftools.elf.elffile import ELFFile

MAGIC = b"\x7fELF"
_MACHINES = {"EM_X86_64": "x64", "EM_386": "ia32", "EM_AARCH64": "aa64", "EM_ARM": "arm", "EM_LOONGARCH": "loongarch64"}
_RISCV = {64: "riscv64", 32: "riscv32"}
# Firmware has a handful; a file that claims thousands only costs time.
_SEGMENTS_MAX = 256


class Segment(NamedTuple):
    """A program header; the type as the ELF specification names it, "PT_LOAD", or its number in hex."""

    type: str
    offset: int
    virtual_address: int
    physical_address: int
    file_size: int
    memory_size: int
    flags: int


class Elf(NamedTuple):
    """The machine is named as for PE images, or as the ELF specification does; entry is a virtual address."""

    bits: int
    machine: str
    type: str
    entry: int
    segments: tuple[Segment, ...]


def parse(data: bytes | memoryview) -> Elf:
    """Read the file header and the program headers; StubsimError for any that cannot be read."""
    from elftools.elf.elffile import ELFFile

    try:
        file = ELFFile(BufferedReader(_Stream(memoryview(data).toreadonly())))
        bits: int = file.elfclass
        return Elf(bits, _machine(file["e_machine"], bits), _name(file["e_type"]), file["e_entry"], _segments(file))
    except StubsimError:
        raise
    except Exception as error:  # pyelftools lets construct's and others through for headers it did not expect
        raise StubsimError(f"{type(error).__name__}: {error}".rstrip(": "), expected="a readable ELF header") from error


def _segments(file: ELFFile) -> tuple[Segment, ...]:
    # Not file.iter_segments(): that also reads what dynamic segments point to.
    from elftools.common.utils import struct_parse

    count, start, size = file["e_phnum"], file["e_phoff"], file["e_phentsize"]
    header = file.structs.Elf_Phdr
    if count > _SEGMENTS_MAX:
        raise StubsimError(f"{count} ELF segments", expected=f"at most {_SEGMENTS_MAX}")
    if count and size != header.sizeof():
        raise StubsimError(f"ELF program headers of {size} bytes", expected=f"{header.sizeof()} bytes")
    rows = (struct_parse(header, file.stream, stream_pos=start + index * size) for index in range(count))
    return tuple(
        Segment(
            _name(row["p_type"]), row["p_offset"], row["p_vaddr"], row["p_paddr"], row["p_filesz"], row["p_memsz"],
            row["p_flags"],
        )
        for row in rows
    )  # fmt: skip


def _machine(name: str | int, bits: int) -> str:
    return _RISCV[bits] if name == "EM_RISCV" else _MACHINES.get(str(name), _name(name))


def _name(value: str | int) -> str:
    """pyelftools gives the number of what it has no name for."""
    return value if isinstance(value, str) else f"{value:#x}"


class _Stream(RawIOBase):
    """The bytes as a stream, without a copy of a payload that may be large."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(0, offset + (0, self._at, len(self._view))[whence])
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        target = memoryview(buffer).cast("B")
        data = self._view[self._at :][: len(target)]
        target[: len(data)] = data
        self._at += len(data)
        return len(data)
