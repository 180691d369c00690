"""What a firmware payload is, by its content; the stub itself never looks."""

from __future__ import annotations

from collections.abc import Callable
from io import BufferedReader, RawIOBase
from typing import TYPE_CHECKING, NamedTuple

from stubsim.errors import StubsimError
from stubsim.formats import capsule, igvm, ovmf

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# UEFI Platform Initialization, firmware volume header: the signature is at 40; ArmVirtQemu has a page before it.
_VOLUME_SIGNATURES = (40, 4096 + 40)
_CAPSULE_FLAGS = capsule.PERSIST_ACROSS_RESET | capsule.POPULATE_SYSTEM_TABLE | capsule.INITIATE_RESET


class Kind(NamedTuple):
    """name is "ovmf", "igvm", "capsule", "elf" or "unknown"; description is one line for people."""

    name: str
    description: str


def kind(data: bytes | memoryview) -> Kind:
    """Identify a payload. Never raises: one that only looks like a format keeps its name, and the problem is told."""
    view = memoryview(data).toreadonly()
    if bytes(view[:4]) == igvm.MAGIC:
        return _kind("igvm", "IGVM", _igvm, view)
    if bytes(view[:4]) == b"\x7fELF":
        return _kind("elf", "ELF", _elf, view)
    if ovmf.has_table(view):
        return _kind("ovmf", "OVMF", _ovmf, view)
    if _is_capsule(view):
        return _kind("capsule", "UEFI capsule", _capsule, view)
    if any(bytes(view[at : at + 4]) == b"_FVH" for at in _VOLUME_SIGNATURES):
        return Kind("unknown", f"UEFI firmware volume without OVMF's table, {len(view)} bytes")
    return Kind("unknown", f"unknown, {len(view)} bytes" if len(view) else "empty")


def _kind(name: str, title: str, describe: Callable[[memoryview], str], view: memoryview) -> Kind:
    try:
        return Kind(name, f"{title}: {describe(view)}")
    except StubsimError as error:
        return Kind(name, f"{title}, broken: {error}")


def _igvm(view: memoryview) -> str:
    file = igvm.parse(view)
    platforms = [igvm.PLATFORMS.get(each.type, f"platform {each.type}") for each in file.platforms]
    machine = igvm.ARCHITECTURES.get(file.architecture, f"architecture {file.architecture}")
    on = ", ".join(platforms) or "no platform named"
    return f"version {file.version}, {machine}, {on}, {len(file.headers)} headers, {file.total_size} bytes"


def _ovmf(view: memoryview) -> str:
    entries = ovmf.parse(view)
    return ", ".join([f"{len(view)} bytes", *(map(_ovmf_entry, entries) if entries else ["an empty table"])])


def _ovmf_entry(entry: ovmf.Entry) -> str:
    # An address and a size of 0 mean that this build has no such area.
    values = " ".join(f"{number:#x}" for number in entry.numbers) if any(entry.numbers) else "absent"
    return f"{entry.name} {values}"


def _is_capsule(view: memoryview) -> bool:
    """A capsule has no magic: its sizes must agree with the payload and its flags be known ones."""
    try:
        header = capsule.parse(view)
    except StubsimError:
        return False
    return header.image_size == len(view) and not header.flags & ~(_CAPSULE_FLAGS | 0xFFFF)


def _capsule(view: memoryview) -> str:
    header = capsule.parse(view)
    flags = [text for bit, text in capsule.FLAGS.items() if header.flags & bit]
    if not header.flags_valid:
        flags.append("flags that UpdateCapsule() refuses")
    return ", ".join([str(header.guid), f"{header.image_size} bytes", *flags])


def _elf(view: memoryview) -> str:
    from elftools.elf.elffile import ELFFile

    try:
        file = ELFFile(BufferedReader(_Stream(view)))
        bits, machine = file.elfclass, file.get_machine_arch()
        return f"{bits} bit, {machine}, entry {file['e_entry']:#x}, {file['e_phnum']} segments, {len(view)} bytes"
    except Exception as error:  # pyelftools lets construct's and others through for headers it did not expect
        raise StubsimError(f"{type(error).__name__}: {error}".rstrip(": "), expected="a readable ELF header") from error


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
