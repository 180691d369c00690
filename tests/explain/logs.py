"""Logs of made-up machines: what one would have measured, and what may be changed in it."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from hashlib import sha256
from typing import Any
from uuid import UUID

from stubsim.explain.diff_log import Comparison
from stubsim.formats import authenticode, eventlog, load_option, pe, smbios
from stubsim.formats.efi_string import utf16z
from stubsim.formats.eventlog import EVENT_TYPES, Event, Log
from stubsim.formats.pe import SectionSpec
from stubsim.result import Boot
from stubsim.trace import ImageLoaded, Measured
from stubsim.uefi.variables import GLOBAL
from stubsim.views.eventlog import event_log
from tests.samples import MACHINE as FIELDS

Write = Callable[..., Boot]

MACHINE = {"smbios": FIELDS}
OPTIONS = {"load_options": utf16z("debug")}
EXTRA = "EFI/Linux/uki.efi.extra.d/"
TYPE1 = bytes((1, 2, 0, 0)) + bytes(16) + bytes((6, 3, 4))
TYPE2 = bytes((1, 2, 0, 0))
TYPE11 = smbios.build_structure(11, b"\1", (b"an OEM string",), 0x300)


def smbios_host(*more: bytes, serial: bytes = b"1", **fields: Any) -> dict[str, Any]:
    """A host with a raw SMBIOS table: types 1 and 2, and ``more`` structures."""
    first = smbios.build_structure(1, TYPE1, (b"Example", b"Product", b"SKU", b"Family"), 0x100)
    second = smbios.build_structure(2, TYPE2, (b"Board", b"One" + serial), 0x200)
    data = smbios.build([first, second, *more])
    return {"smbios_table": {"base64": base64.b64encode(data).decode()}, **fields}


LOADER_GUID = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
PCR_SMBIOS = {
    "name": "LoaderPcrSMBIOS",
    "guid": LOADER_GUID,
    "attributes": 6,
    "data": base64.b64encode(utf16z("1")).decode(),
}


def addon(*sections: SectionSpec) -> bytes:
    return pe.build(sections)


def application(result: Boot, digest: bytes | None = None) -> Event:
    banks = result.host.tpm or ()
    own = {bank: authenticode.digest(result.uki.image, bank) for bank in banks}
    return Event(4, EVENT_TYPES["EV_EFI_BOOT_SERVICES_APPLICATION"], own if digest is None else {"sha256": digest}, b"")


def log_of(result: Boot) -> Log:
    """What the machine would have logged: the images that the firmware loads, and the events of all stages."""
    kind = EVENT_TYPES["EV_EFI_BOOT_SERVICES_APPLICATION"]
    log = eventlog.parse_log(event_log(result))
    measured, events = iter(log.events), []
    for event in result.trace:
        if isinstance(event, Measured):
            events.append(next(measured))
        elif isinstance(event, ImageLoaded):
            digests = {bank: authenticode.digest(event.data, bank) for bank in result.host.tpm or ()}
            events.append(Event(4, kind, digests, image_load(event.path if event.path != ".linux" else "")))
    return log._replace(events=tuple(events))


PARTITION = UUID("11111111-2222-4333-8444-555555555555")


def image_load(path: str) -> bytes:
    """UEFI_IMAGE_LOAD_EVENT of a file on PARTITION, or of an image in memory."""
    nodes = [load_option.hard_drive(1, 2048, 4096, PARTITION), load_option.file_path(path)] if path else []
    device = load_option.build_path(*nodes)
    return struct.pack("<QQQQ", 0, 0, 0, len(device)) + device


def secure_boot(state: bool) -> Event:
    """The firmware's event of the variable SecureBoot in PCR 7."""
    name, value = "SecureBoot".encode("utf-16-le"), bytes([state])
    data = struct.pack("<16sQQ", GLOBAL.bytes_le, len(name) // 2, len(value)) + name + value
    return Event(7, EVENT_TYPES["EV_EFI_VARIABLE_DRIVER_CONFIG"], {"sha256": sha256(data).digest()}, data)


def causes(found: Comparison) -> list[str]:
    return [row.cause for row in found.differences]


def ipl(pcr: int, text: str, content: bytes | None = None) -> Event:
    data = utf16z(text)
    return Event(pcr, EVENT_TYPES["EV_IPL"], {"sha256": sha256(data if content is None else content).digest()}, data)


def changed(log: Log, text: str) -> Log:
    """The log with another digest in the last event of this text."""
    events = list(log.events)
    place = max(index for index, event in enumerate(events) if eventlog.describe(event)[1] == text)
    events[place] = events[place]._replace(digests={bank: bytes(len(d)) for bank, d in events[place].digests.items()})
    return log._replace(events=tuple(events))
