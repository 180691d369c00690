"""What a firmware payload is, by its content; the stub itself never looks."""

from __future__ import annotations

from collections.abc import Callable

from stubsim.errors import StubsimError
from stubsim.extent import Bytes, view_of
from stubsim.formats import capsule, elf, igvm, ovmf
from stubsim.rows import NamedTuple

# UEFI Platform Initialization, firmware volume header: the signature is at 40; ArmVirtQemu has a page before it.
_VOLUME_SIGNATURES = (40, 4096 + 40)
_CAPSULE_FLAGS = capsule.PERSIST_ACROSS_RESET | capsule.POPULATE_SYSTEM_TABLE | capsule.INITIATE_RESET


class Kind(NamedTuple):
    """name is "ovmf", "igvm", "capsule", "elf" or "unknown"; description is one line for people."""

    name: str
    description: str


def kind(data: Bytes) -> Kind:
    """Identify a payload. Never raises: one that only looks like a format keeps its name, and the problem is told."""
    view = view_of(data)
    if bytes(view[:4]) == igvm.MAGIC:
        return _kind("igvm", "IGVM", _igvm, view)
    if bytes(view[:4]) == elf.MAGIC:
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
    flags = [*header.flag_names]
    if not header.flags_valid:
        flags.append("flags that UpdateCapsule() refuses")
    return ", ".join([str(header.guid), f"{header.image_size} bytes", *flags])


def _elf(view: memoryview) -> str:
    file = elf.parse(view)
    count = len(file.segments)
    segments = "1 segment" if count == 1 else f"{count} segments"
    return f"{file.bits} bit, {file.machine}, entry {file.entry:#x}, {segments}, {len(view)} bytes"
