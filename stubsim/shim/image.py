"""shim as it lies on the partition: how it is told, its certificates, its SbatLevels and its second stage."""

from __future__ import annotations

import re
import struct

from stubsim.errors import StubsimError
from stubsim.extent import Extent
from stubsim.formats import signature_list
from stubsim.formats.efi_string import from_utf16
from stubsim.rows import NamedTuple
from stubsim.uefi.esp import Esp, same_name
from stubsim.uefi.image_path import usual_boot_file
from stubsim.uefi.variables import SHIM_LOCK
from stubsim.uki import Uki

# Beside shim's own file (shim.h, DEFAULT_LOADER); what BOOTX64.EFI starts instead, if it is there (fallback.c).
_SECOND_STAGES = {"x64": "grubx64.efi", "aa64": "grubaa64.efi", "ia32": "grubia32.efi"}
_FALLBACKS = {"x64": "fbx64.efi", "aa64": "fbaa64.efi", "ia32": "fbia32.efi"}
_SBAT = re.compile(rb"^shim,[0-9]+,", re.MULTILINE)
_VERSION = re.compile(rb"UEFI SHIM\n\$Version: ([0-9]{1,4})\.")
# Beside shim, in UTF-16: what 16.0 and later start up to the first comma (shim.c, load_shim_options).
_OPTIONS, _OPTIONS_MAX = "options.csv", 4096
# The series that has a protocol to load images, and reads that file.
WITH_A_LOADER = 16
# cert.S: sizes of what is trusted and of what is not, and where they are.
_CERTIFICATES = struct.Struct("<IIII")
# sbat_var.S: a format number, and from there on where the automatic and the latest level are.
_LEVELS = struct.Struct("<III")
_LEVEL_MAX = 4096
# The string table of a COFF image lies behind its symbols (PE format, "COFF String Table").
_SYMBOL_SIZE = 18


class Shim(NamedTuple):
    """``trusted`` and ``revoked`` are signature lists; ``second_stage`` is a path on the partition.

    With ``by_load_options`` it is what shim's load options name.
    """

    image: Uki
    path: str
    second_stage: str
    trusted: bytes
    revoked: bytes
    level_automatic: bytes
    level_latest: bytes
    by_load_options: bool = False


def find_shim(esp: Esp, machine: str, boot_file: str | None) -> Shim | None:
    """What the firmware starts from a partition, where that is shim: the boot file, or what starts that.

    Raises StubsimError for a shim whose parts cannot be read, and for one that starts its fallback program.
    """
    if machine not in _SECOND_STAGES:
        return None
    usual = usual_boot_file(machine)
    for path in dict.fromkeys((boot_file or usual, usual)):
        folder = path[: path.rfind("\\") + 1]
        default, fallback = folder + _SECOND_STAGES[machine], folder + _FALLBACKS[machine]
        told = _by_options_file(esp, path)
        # The usual one of a partition is of no account where something else is started.
        if boot_file is None or any(same_name(boot_file, other) for other in (path, default, told or default)):
            is_there = same_name(folder, "\\EFI\\BOOT\\") and esp.host_path(fallback) is not None
            program = esp.program(path)
            found = None if program is None else _shim(program, path, default, fallback if is_there else None)
            if found is not None:
                if told is not None and release_of(found.image) >= WITH_A_LOADER:
                    found = found._replace(second_stage=told)
                return found
    return None


def stage_path(name: str, path: str) -> str:
    """The path of what a shim of this path is told to start (load-options.c, generate_path_from_image_path)."""
    return name if name.startswith("\\EFI\\") else path[: path.rfind("\\") + 1] + name.rpartition("\\")[2]


def _by_options_file(esp: Esp, path: str) -> str | None:
    data = esp.read(path[: path.rfind("\\") + 1] + _OPTIONS)
    if data is None:
        return None
    name = from_utf16(bytes(data[:_OPTIONS_MAX])).removeprefix("\ufeff").partition(",")[0]
    return stage_path(name, path) if name else None


def release_of(image: Uki) -> int:
    """The series; 0 where the image does not tell it."""
    found = _VERSION.search(bytes(image.image.data))
    return int(found[1]) if found else 0


def _shim(image: Uki, path: str, second_stage: str, fallback: str | None) -> Shim | None:
    """An image that is shim, and what it starts if that is there."""
    sections = _sections(image)
    sbat = sections.get(".sbat")
    if sbat is None or _SBAT.search(bytes(sbat)) is None or ".vendor_cert" not in sections:
        return None
    if fallback is not None:
        raise StubsimError("shim starts its fallback program", path=fallback, expected="none")
    trusted, revoked = _certificates(bytes(sections[".vendor_cert"]), path)
    automatic, latest = _levels(bytes(sections.get(".sbatlevel") or b""), path)
    return Shim(image, path, second_stage, trusted, revoked, automatic, latest)


def _sections(image: Uki) -> dict[str, Extent]:
    """Each section's content by its name, long ones by the string table."""
    return {_name(image, section.name): image.data(section) for section in image.image.sections}


def _name(image: Uki, name: str) -> str:
    if not name.startswith("/") or not name[1:].isdigit():
        return name
    data = image.image.data
    at = int.from_bytes(bytes(data[0x3C:0x40]), "little") + 12
    symbols, count = struct.unpack("<II", bytes(data[at : at + 8]))
    start = symbols + count * _SYMBOL_SIZE + int(name[1:])
    return bytes(data[start : start + 64]).partition(b"\0")[0].decode("ascii", "replace")


def _certificates(section: bytes, path: str) -> tuple[bytes, bytes]:
    """The vendor's certificate as a list, or the list that is there; and what the vendor has revoked."""
    if len(section) < _CERTIFICATES.size:
        raise StubsimError("shim's certificates are cut short", path=path, section=".vendor_cert")
    sizes = _CERTIFICATES.unpack_from(section)
    parts = []
    for size, offset in ((sizes[0], sizes[2]), (sizes[1], sizes[3])):
        if offset + size > len(section):
            raise StubsimError("shim's certificates are cut short", path=path, section=".vendor_cert", offset=offset)
        parts.append(section[offset : offset + size])
    trusted, revoked = parts
    if is_certificate(trusted):
        trusted = signature_list.build(signature_list.X509, SHIM_LOCK, trusted)
    return trusted, revoked


def is_certificate(data: bytes) -> bool:
    """As shim tells one: a sequence whose length has two bytes, and that length (verify.c, verify_x509)."""
    return data[:2] == b"\x30\x82" and int.from_bytes(data[2:4], "big") == len(data) - 4


def _levels(section: bytes, path: str) -> tuple[bytes, bytes]:
    if len(section) < _LEVELS.size:
        return b"", b""
    levels = []
    for offset in _LEVELS.unpack_from(section)[1:]:
        start = 4 + offset
        text, end, _ = section[start : start + _LEVEL_MAX].partition(b"\0")
        if not end:
            raise StubsimError("shim's SbatLevel has no end", path=path, section=".sbatlevel", offset=start)
        levels.append(text)
    return levels[0], levels[1]
