"""A stub that has settled on a firmware, on a machine that the test describes; and what it then does to fw_cfg."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple
from uuid import UUID

from stubsim import handover, hosts
from stubsim.digests import Digests
from stubsim.formats import hwids
from stubsim.formats.efifw import Efifw
from stubsim.formats.pe import SectionSpec
from stubsim.handover.leaving import Leaving, Outcome
from stubsim.hosts import Host
from stubsim.machine.fwcfg import DESCRIPTOR, FwCfg
from stubsim.machine.hypervisor import VirtualMachine, virtual_machine
from stubsim.machine.tpm import Tpm
from stubsim.start import Start, loaded_image, start_context
from stubsim.stub.models import choose
from stubsim.stub.run import prepare
from stubsim.trace import Access, Event, FwCfgWritten, Log, Staged
from stubsim.uki import Uki
from tests.stub.harness import CHIDS, FIELDS, KERNEL, firmware, make_uki, table

KIB64 = 64 << 10
MIB = 1 << 20
FIRMWARE = b"firmware".ljust(2 * KIB64, b"\xf4")
INITRD = b"070701 initrd".ljust(5000, b"i")


def host(dialect: str | None = "qemu-v5", *, dma: bool = True, **fields: Any) -> Host:
    """A machine with the update device of that dialect; keys of the device are given as ``device_KEY``."""
    device = {key.removeprefix("device_"): fields.pop(key) for key in [*fields] if key.startswith("device_")}
    described = {"dma": dma, "vmfwupdate": None if dialect is None else {"dialect": dialect, **device}}
    return hosts.from_json({"fw_cfg": described})._replace(fields=FIELDS, **fields)


def uki(
    payload: bytes = FIRMWARE,
    *,
    linux: bytes | SectionSpec = KERNEL,
    initrd: bytes | None = INITRD,
    cmdline: bytes | None = b"quiet",
    **headers: int,
) -> Uki:
    """A UKI whose firmware is chosen on every machine of `host`."""
    rows: list[Any] = [linux if isinstance(linux, SectionSpec) else (".linux", linux)]
    rows += [(".hwids", table((hwids.UEFI_FW, CHIDS[3], "fw"))), (".efifw", firmware("fw", payload))]
    rows += [(".initrd", initrd)] if initrd is not None else []
    rows += [(".cmdline", cmdline)] if cmdline is not None else []
    return make_uki(*rows, linux=None, **headers)


class Case(NamedTuple):
    """What a dialect is given, and all that was caused so far."""

    leaving: Leaving
    trace: list[Event]

    @property
    def machine(self) -> VirtualMachine:
        return self.leaving.machine

    def hand_over(self, dialect: str) -> Outcome:
        return handover.dialect(dialect).hand_over(self.leaving)

    def written(self) -> dict[str, bytes]:
        return {row.file: row.data for row in self.trace if isinstance(row, FwCfgWritten)}

    def staged(self) -> dict[str, Staged]:
        return {row.name: row for row in self.trace if isinstance(row, Staged)}

    def warnings(self) -> list[str]:
        return [row.message for row in self.trace if isinstance(row, Log) and row.level == "warning"]


def case(
    machine: Host,
    image: Uki | None = None,
    *,
    payload: bytes = FIRMWARE,
    target: UUID | None = None,
    stub: str = "262",
    start: Start | None = None,
) -> Case:
    """The stub's preparations on that machine, and a payload that stands for the chosen one."""
    image = uki(payload) if image is None else image
    trace: list[Event] = []
    tpm = Tpm(machine.tpm, machine.confidential)
    digests = Digests(tpm.algorithms or ("sha256",))
    model = choose(None, stub).model
    begin = start or Start()
    loaded = loaded_image(image, machine, begin).image
    context = start_context(image, machine, begin, model, image=loaded, tpm=tpm, digests=digests, emit=trace.append)
    gpa = context.memory.allocate(image.image.size_of_image, "EfiLoaderCode")
    for section in image.image.sections:
        context.memory.place(gpa + section.virtual_address, [image.data(section)])
    prepared = prepare(context, [])
    blob = Efifw(16, b"fw", memoryview(payload), target)
    leaving = Leaving(context, prepared, virtual_machine(machine, context.memory), gpa, blob.payload, blob)
    return Case(leaving, trace)


def remove(machine: VirtualMachine, *names: str) -> None:
    """Take files out of fw_cfg; the devices behind the others stay."""
    rows = [item for device in machine.devices for item in device.items() if item.name not in names]
    machine.fw_cfg = FwCfg(rows, machine.space, registers=machine.fw_cfg_registers)


def accesses(trace: Iterable[Event]) -> list[Access]:
    return [row for row in trace if isinstance(row, Access)]


def steps(
    trace: Iterable[Event], *, selector: int = 0x510, data: int = 0x511, dma: int = 0x514
) -> list[tuple[Any, ...]]:
    """The accesses read as what they mean.

    ("select", item), ("in", bytes), ("out", port, bytes), ("dma", control, length, gpa, control after it), and
    ("load" or "store", gpa, bytes) for the buffers. An access that does not belong to a transfer's order fails.
    """
    rows, found = accesses(trace), []
    index = 0
    while index < len(rows):
        row = rows[index]
        if row.address == selector:
            assert row.write
            found.append(("select", int.from_bytes(row.data, "little" if selector == 0x510 else "big")))
        elif row.address == data and not row.write:
            if found and found[-1][0] == "in":
                found[-1] = ("in", found[-1][1] + row.data)
            else:
                found.append(("in", row.data))
        elif row.write and index + 1 < len(rows) and rows[index + 1].address == dma:
            high, low = rows[index + 1 : index + 3]
            assert (high.write, low.write, low.address) == (True, True, dma + 4)
            assert int.from_bytes(high.data + low.data, "big") == row.address
            after = rows[index + 3] if index + 3 < len(rows) else None
            if after is not None:
                assert (after.space, after.write, after.address, len(after.data)) == ("memory", False, row.address, 4)
            assert row.space == "memory"
            answer = None if after is None else int.from_bytes(after.data, "big")
            found.append(("dma", *DESCRIPTOR.unpack(row.data), answer))
            index += 3
        elif row.space == "memory" and row.address != data:
            found.append(("store" if row.write else "load", row.address, row.data))
        else:
            assert row.write
            found.append(("out", row.address, row.data))
        index += 1
    return found
