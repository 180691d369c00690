"""A real log of the machine: what its firmware measured, by event source."""

from __future__ import annotations

import hashlib
import struct
from uuid import UUID

from stubsim.formats import eventlog
from stubsim.formats.efi_string import from_utf16
from stubsim.machine.tpm import BANKS
from stubsim.rows import NamedTuple

PEI_VOLUME, DXE_VOLUME = "PEI volume", "DXE volume"
_BLOB = "EV_EFI_PLATFORM_FIRMWARE_BLOB"
_CONFIG = "EV_EFI_VARIABLE_DRIVER_CONFIG"
# UEFI_VARIABLE_DATA: GUID, length of the name in characters, of the data in bytes.
_VARIABLE = struct.Struct("<16sQQ")
_EXIT = b"Exit Boot Services"

# Register, event type, and the name where a type stands for several sources.
Source = tuple[int, str, str | None]


class Known(NamedTuple):
    """A variable as the log holds it."""

    name: str
    guid: UUID
    data: bytes


class Baseline:
    """The firmware's events of a log; raises nothing: what cannot be told stays out.

    ``is_cc`` tells that the log is of a TDX guest's own registers, and its index one of these (from 1 on).
    """

    def __init__(self, log: eventlog.Log) -> None:
        self.is_cc = log.is_ccel
        self.log = log
        self.events: dict[Source, list[eventlog.Event]] = {}
        self.variables: dict[str, Known] = {}
        blobs = iter((PEI_VOLUME, DXE_VOLUME))
        self.handoff_after_separators = False
        separated = False
        for event in log.events:
            kind = eventlog.type_name(event.type)
            separated |= (event.pcr, kind) == (1, "EV_SEPARATOR")
            name = None
            if kind == _BLOB:
                name = next(blobs, "volume")
            elif kind == _CONFIG and (known := variable(event.data)) is not None:
                name = known.name
                self.variables[name] = known
            elif kind == "EV_EFI_HANDOFF_TABLES":
                self.handoff_after_separators = separated
            elif kind == "EV_EFI_ACTION" and not is_exit(event.data):
                continue
            self.events.setdefault((event.pcr, kind, name), []).append(event)

    def of(self, source: Source) -> list[eventlog.Event]:
        return self.events.get(source, [])

    @property
    def secure_boot(self) -> bool | None:
        """As the firmware measured it, None where the log does not tell."""
        known = self.variables.get("SecureBoot")
        return None if known is None else known.data == b"\1"


def is_exit(data: bytes) -> bool:
    """Whether an action is one of ExitBootServices()."""
    return data.startswith(_EXIT)


def described(event: eventlog.Event) -> str | None:
    """What an event of the firmware says it is: an action, or the name of a variable."""
    if event.type == eventlog.EVENT_TYPES["EV_EFI_ACTION"]:
        return event.data.decode("ascii", "replace")
    known = variable(event.data) if eventlog.type_name(event.type) in ("EV_EFI_VARIABLE_BOOT", _CONFIG) else None
    return None if known is None else known.name


def hashed_by(event: eventlog.Event) -> bytes | None:
    """What was hashed, where the event holds it: all of its data, or of a boot variable the variable's."""
    known = variable(event.data)
    for content in (event.data, b"" if known is None else known.data):
        if event.digests and all(_hash(bank, content) == digest for bank, digest in event.digests.items()):
            return content
    return None


def _hash(bank: str, content: bytes) -> bytes | None:
    return hashlib.new(bank, content, usedforsecurity=False).digest() if bank in BANKS else None


def source(pcr: int, kind: str, description: str) -> Source:
    """The source of an event by what it says of itself, where a type stands for several."""
    return pcr, kind, description if kind in (_BLOB, _CONFIG) else None


def variable(data: bytes) -> Known | None:
    """What an event's data say of a variable (UEFI_VARIABLE_DATA), None where they are none."""
    if len(data) < _VARIABLE.size:
        return None
    guid, characters, size = _VARIABLE.unpack_from(data)
    start = _VARIABLE.size
    end = start + 2 * characters
    if end + size > len(data):
        return None
    return Known(from_utf16(data[start:end]), UUID(bytes_le=guid), data[end : end + size])
