"""What the terminal says of a hand-over: the writes to fw_cfg, and what stands in them."""

from __future__ import annotations

from stubsim.errors import StubsimError
from stubsim.formats import vmfwupdate
from stubsim.result import Boot
from stubsim.trace import FwCfgWritten
from stubsim.views.block import Block, doubt
from stubsim.views.units import size as _size


def short(file: str) -> str:
    """A fw_cfg file's name without its folder."""
    return file.rpartition("/")[2]


def writes(boot: Boot) -> Block | None:
    """The writes to fw_cfg; where nothing was written but could have been, that."""
    writes: list[FwCfgWritten] = boot.events(FwCfgWritten)
    if not writes and (boot.proposal is None or boot.dialect == "capsule"):
        return None
    rows = [
        (str(number), row.file, f"{row.selector:#06x}", str(row.offset), str(len(row.data)), f"{row.gpa:#010x}")
        for number, row in enumerate(writes, 1)
    ]
    title = f"fw_cfg writes in order, {boot.dialect}" if writes else "fw_cfg: nothing is written"
    notes = () if boot.proposal is None else (f"{boot.proposal}.",)
    columns = ("", "file", "selector", "offset", "bytes", "from gpa")
    return Block(title + doubt(boot, "fw_cfg"), rows, columns, (0, 3, 4), notes, (2, 5))


def opaque_page(boot: Boot) -> Block | None:
    for file in (vmfwupdate.OPAQUE_BLOB, vmfwupdate.SPEC_OPAQUE):
        try:
            left = vmfwupdate.parse_opaque(_last_write(boot, file) or b"")
        except StubsimError:
            continue
        rows = [(each.kind, f"{each.gpa:#010x}", str(each.size), f"{each.sha256.hex()[:16]}...") for each in left]
        title = f"{short(file)}, for the next boot (a format of stubsim's own)"
        return Block(title, rows, ("what", "gpa", "bytes", "SHA-256"), (2,), (), (0, 1, 3))
    return None


def fw_blob(boot: Boot) -> Block | None:
    data = _last_write(boot, vmfwupdate.FW_BLOB)
    if data is None or len(data) != vmfwupdate.FW_BLOB_SIZE:
        return None
    blob = vmfwupdate.unpack_fw_blob(data)
    return _for_hypervisor("fw-blob", ("bios_size", blob.bios_size), ("bios_paddr", blob.bios_paddr))


def bios_addr(boot: Boot) -> Block | None:
    """The document's two files, as far as they were written."""
    address, count = (_last_write(boot, file) for file in (vmfwupdate.SPEC_BIOS_ADDR, vmfwupdate.SPEC_BIOS_SIZE))
    if address is None:
        return None
    size = () if count is None else (("bios-size", int.from_bytes(count, "little")),)
    return _for_hypervisor("bios-addr", *size, ("bios-addr", int.from_bytes(address, "little")))


def _for_hypervisor(file: str, *numbers: tuple[str, int]) -> Block:
    """What was written about the new firmware: sizes, and the address as the last."""
    *sizes, (label, gpa) = numbers
    rows = [*((name, f"{count} ({_size(count)})") for name, count in sizes), (label, f"{gpa:#010x}")]
    if gpa:
        return Block(f"{file}, for the hypervisor: the new firmware", rows, fixed=(0,))
    return Block(f"{file}, for the hypervisor: the address is taken back", rows, fixed=(0,))


def entries(boot: Boot) -> Block | None:
    data = _last_write(boot, vmfwupdate.FUKI_BLOB)
    if data is None:
        return None
    rows = [
        (
            vmfwupdate.FUKI_TYPES.get(row.type, str(row.type)),
            "shared" if row.map else "private",
            str(row.size),
            f"{row.gpa:#010x}",
        )
        for row in vmfwupdate.unpack_fuki(data)
    ]
    return Block("vmfwupdate-blob, for the hypervisor", rows, ("type", "map", "bytes", "gpa"), (2,), (), (0, 1, 3))


def _last_write(boot: Boot, file: str) -> bytes | None:
    return next((row.data for row in reversed(boot.events(FwCfgWritten)) if row.file == file), None)


# In the order in which they are shown.
BLOCKS = (writes, opaque_page, fw_blob, bios_addr, entries)
