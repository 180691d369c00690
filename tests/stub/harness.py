"""UKIs made for one rule at a time, and one run of the stub whose steps can be called by themselves."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from stubsim import chid
from stubsim.digests import Digests
from stubsim.formats import efifw, fdt, hwids, pe, smbios
from stubsim.formats.efi_string import utf16z
from stubsim.formats.pe import SectionSpec
from stubsim.hosts import Host
from stubsim.machine.tpm import Tpm
from stubsim.stub.context import Context
from stubsim.stub.locate import find_sections
from stubsim.stub.models import choose
from stubsim.stub.sections import Sections
from stubsim.trace import EspWritten, Event, Log, Measured, Unknown, VariableSet
from stubsim.uefi.esp import Esp
from stubsim.uefi.loaded_image import LoadedImage
from stubsim.uefi.memory import Memory
from stubsim.uefi.services import Services
from stubsim.uefi.variables import Variables
from stubsim.uki import Uki

PATH = "\\EFI\\Linux\\lab.efi"
# 262 refuses sections with more in the file than in memory, so the data fill their 512 bytes.
KERNEL = pe.build([SectionSpec(".text", b"kernel".ljust(512, b"\0"))])

FIELDS = smbios.Fields(
    b"Maker", b"Model 1", b"SKU7", b"Family", b"Maker", b"Board", b"Bios", b"1.0", bios_major=1, bios_minor=2,
    enclosure_type=10,
)  # fmt: skip
CHIDS = chid.chids(FIELDS, None)
# A CHID that no machine of these tests has.
OTHER = UUID("0a0b0c0d-0000-4000-8000-000000000001")

Row = tuple[str, bytes] | SectionSpec


def make_pe(*sections: Row, **headers: int) -> bytes:
    rows = [row if isinstance(row, SectionSpec) else SectionSpec(*row) for row in sections]
    return pe.build(rows, **headers)  # type: ignore[arg-type]


def make_uki(*sections: Row, linux: bytes | None = KERNEL, **headers: int) -> Uki:
    """A UKI with a stub's name, a kernel unless it is None, and the sections in the order given."""
    rows: list[Row] = [(".sdmagic", b"#### LoaderInfo: systemd-stub 262.1-1 ####\0")]
    if linux is not None:
        rows.append((".linux", linux))
    return Uki(pe.open_bytes(make_pe(*rows, *sections, **headers), "lab.efi"))


def devicetree(compatible: str) -> bytes:
    return fdt.build([compatible])


def firmware(fwid: str, payload: bytes = b"firmware") -> bytes:
    return efifw.build(fwid, payload)


def table(*entries: tuple[int, UUID | None, str]) -> bytes:
    """A `.hwids` of (type, CHID, compatible or firmware id)."""
    return hwids.build((kind, chid or UUID(int=0), "name", string) for kind, chid, string in entries)


class Run(NamedTuple):
    """One run of a stub, with what it caused so far."""

    context: Context
    trace: list[Event]

    def sections(self, profile: int = 0) -> Sections:
        return find_sections(self.context, profile)

    def log(self) -> list[str]:
        return [event.message for event in self.trace if isinstance(event, Log)]

    def measured(self, pcr: int) -> list[Measured]:
        return [event for event in self.trace if isinstance(event, Measured) and event.pcr == pcr]

    def descriptions(self, pcr: int) -> list[str]:
        return [event.description for event in self.measured(pcr)]

    def variables(self) -> dict[str, VariableSet]:
        return {event.name: event for event in self.trace if isinstance(event, VariableSet)}

    def unknown(self) -> list[str]:
        return [event.what for event in self.trace if isinstance(event, Unknown)]

    def written(self) -> dict[str, int]:
        return {event.path: event.size for event in self.trace if isinstance(event, EspWritten)}


def run(
    uki: Uki | None = None,
    host: Host | None = None,
    *,
    stub: str = "262",
    esp: object = None,
    path: str | None = PATH,
    load_options: str | bytes | None = None,
    shell: tuple[str, ...] | None = None,
    from_memory: bool = False,
    debug: bool = False,
) -> Run:
    """A run that has not begun: x64, started from a partition (empty unless a folder is given), not from memory."""
    host = host or Host(fields=FIELDS)
    image = LoadedImage(
        esp=None if from_memory else Esp(None if esp is None else str(esp)),
        path=None if from_memory else path,
        load_options=utf16z(load_options) if isinstance(load_options, str) else load_options,
        shell=shell,
    )
    tpm = Tpm(host.tpm, host.confidential)
    events: list[Event] = []
    context = Context(
        uki=uki or make_uki(),
        image=image,
        host=host,
        model=choose(None, stub).model,
        machine="x64",
        services=Services(
            "stub",
            Memory(host.memory, "x64"),
            tpm,
            Variables(host.variables),
            Digests(tpm.algorithms or ("sha256",)),
            None,
            events.append,
        ),
        log_level="debug" if debug else "info",
    )
    return Run(context, events)


def joined(parts: Iterable[bytes | memoryview]) -> bytes:
    return b"".join(bytes(part) for part in parts)


def setup_header(
    *, magic: bytes = b"HdrS", boot_flag: int = 0xAA55, version: int = 0x20F, relocatable: int = 1, flags: int = 0x0B
) -> bytes:
    """A kernel of MajorImageVersion 0 with the fields of the Linux/x86 setup header that the stub looks at."""
    kernel = bytearray(make_pe((".text", bytes(6144)), major_image_version=0))
    struct.pack_into("<H", kernel, 0x1FE, boot_flag)
    kernel[0x202:0x206] = magic
    struct.pack_into("<H", kernel, 0x206, version)
    kernel[0x234] = relocatable
    struct.pack_into("<H", kernel, 0x236, flags)
    return bytes(kernel)


def with_directories(data: bytes, count: int) -> bytes:
    """An image of make_pe() with so few data directories, and the section table right behind them."""
    optional = int.from_bytes(data[0x3C:0x40], "little") + 24
    sections = int.from_bytes(data[optional - 18 : optional - 16], "little")
    size = 112 + 8 * count
    table = data[optional + 240 : optional + 240 + 40 * sections]
    cut = bytearray(data)
    cut[optional - 4 : optional - 2] = size.to_bytes(2, "little")
    cut[optional + 108 : optional + 112] = count.to_bytes(4, "little")
    cut[optional + size : optional + 240 + 40 * sections] = table + bytes(240 - size)
    return bytes(cut)
