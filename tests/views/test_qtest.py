"""The script of a boot: it says what the trace says, and a machine led through it answers as recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from stubsim.formats import pe
from stubsim.formats.qtest import Command, answer, build, parse
from stubsim.handover.guest import FwCfgError, Guest
from stubsim.hosts import Host
from stubsim.machine.devices.qemu import RAMFB, VMCOREINFO
from stubsim.machine.fwcfg import Item
from stubsim.machine.hypervisor import VirtualMachine, virtual_machine
from stubsim.machine.qtest import execute
from stubsim.result import Boot
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.trace import Access, Event
from stubsim.uefi.memory import Memory
from stubsim.uki import Uki
from stubsim.views.qtest import accesses, script
from tests.handover.harness import FIRMWARE, KIB64, host, uki
from tests.handover.test_fuki_2024 import KERNEL as BZIMAGE
from tests.machine.test_fwcfg import described, release
from tests.qemu import qemu


def expected(events: Iterable[Event]) -> list[str]:
    """The answers that the trace has recorded."""
    rows = [row for row in events if isinstance(row, Access)]
    return [answer(command, None if row.write else row.data) for row, command in zip(rows, accesses(rows), strict=True)]


def replay(result: Boot, given: Host) -> tuple[VirtualMachine, list[str | None]]:
    """The script on a machine that was just switched on; the answers to the accesses alone."""
    machine = virtual_machine(given, Memory(given.memory))
    lines = script(result).splitlines()
    answers = [execute(machine, line) for line in lines]
    recorded = len([row for row in result.trace if isinstance(row, Access)])
    assert answers[: len(lines) - recorded] == ["OK"] * (len(lines) - recorded)
    return machine, answers[len(lines) - recorded :]


@pytest.mark.parametrize(
    ("given", "image"),
    [
        (host("qemu-v5"), uki()),
        (host("spec"), uki()),
        (host("spec", device_cap=1), uki()),
        (host("fuki-2024"), uki(linux=BZIMAGE)),
        (host("qemu-v5", device_cap=0, memory=8 << 30), uki(initrd=None, cmdline=None)),
    ],
)
def test_a_fresh_machine_answers_as_recorded_and_ends_in_the_same_reset(given: Host, image: Uki):
    result = boot(image, given)
    assert result.outcome.status == "firmware-update"
    machine, answers = replay(result, given)
    assert answers == expected(result.trace)
    firmware = result.left[0]
    assert machine.last_reset is not None
    assert machine.last_reset[:3] == ("update", firmware.gpa, firmware.size)
    assert machine.bios is not None
    assert b"".join(machine.bios.end(len(FIRMWARE))) == FIRMWARE


def test_the_script_of_a_boot_that_is_followed_is_the_same():
    assert script(boot(uki(), host(), Start(follow=True))) == script(boot(uki(), host()))


def test_the_hypervisor_ends_as_the_boot_says():
    given = host()
    result = boot(uki(b"f" * (KIB64 + 1)), given)
    assert result.outcome.status == "hypervisor-abort"
    machine = virtual_machine(given, Memory(given.memory))
    answers = [execute(machine, line) for line in script(result).splitlines()]
    assert machine.stopped is not None
    assert machine.stopped in (result.outcome.message or "")
    assert None not in answers
    assert execute(machine, "inb 0x511") is None


def test_the_lines():
    result = boot(uki(), host())
    lines = script(result).splitlines()
    commands = [parse(line) for line in lines]
    # What was left comes first, in pieces, so that the reset finds it.
    firmware = result.left[0]
    assert commands[0] == Command("write", firmware.gpa, 4096, data=FIRMWARE[:4096])
    staged = sum(-(-row.size // 4096) for row in result.left)
    assert {command.name for command in commands[:staged]} == {"write"}
    assert lines[staged : staged + 6] == ["outw 0x510 0x0", *["inb 0x511"] * 4, "outw 0x510 0x1"]
    assert lines[-1] == "outb 0xcf9 0x6"


def test_a_boot_without_a_hand_over_has_no_script():
    assert script(boot(uki(), host(), Start(handover="none"))) == ""


def test_registers_in_memory_keep_the_order_of_their_bytes():
    machine = next(number for number, name in pe.MACHINES.items() if name == "aa64")
    kernel = pe.build([pe.SectionSpec(".text", bytes(512))], machine=machine)
    given = host("spec")
    result = boot(uki(linux=kernel, machine=machine), given)
    assert result.outcome.status == "firmware-update"
    lines = script(result).splitlines()
    assert "write 0x9020008 0x2 0x0019" in lines
    assert "read 0x9020000 0x1" in lines
    fresh = virtual_machine(given, Memory(given.memory, "aa64"))
    answers = [execute(fresh, line) for line in lines]
    assert answers[-len(expected(result.trace)) :] == expected(result.trace)


# A real QEMU, led through what the guest did on the simulated machine that its command line describes


def drive(guest: Guest, machine: VirtualMachine, more: dict[str, bytes]) -> None:
    """Probe, find and write what can be written, and meet the error bit where it cannot."""
    assert guest.probe()
    assert guest.dma
    for name, data in more.items():
        file = guest.find(name)
        assert file is not None, name
        guest.write(file, data)
        assert guest.read(file, len(data)) == data
    for name, size in (("etc/boot-fail-wait", 4), (VMCOREINFO, 17), ("opt/org.example/hello", 5)):
        file = guest.find(name)
        if file is None:
            continue
        with pytest.raises(FwCfgError):
            guest.write(file, b"x" * size)
    assert guest.find("etc/vmfwupdate/fw-blob") is None
    guest.reset()
    again = Guest(machine, machine.memory, guest.emit)
    assert again.probe()
    for name in more:
        file = again.find(name)
        assert file is not None
        again.read(file, file.size)


VMCOREINFO_DATA = bytes.fromhex("01000100 b8050000 0000200000000000")
RAMFB_DATA = bytes(28)


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("options", "more"),
    [
        (["-machine", "q35", "-m", "64M", "-device", "vmcoreinfo"], {VMCOREINFO: VMCOREINFO_DATA}),
        (
            ["-machine", "q35", "-m", "512M", "-device", "vmcoreinfo", "-device", "ramfb"],
            {VMCOREINFO: VMCOREINFO_DATA, RAMFB: RAMFB_DATA},
        ),
        (["-machine", "q35", "-m", "6G", "-device", "vmcoreinfo"], {VMCOREINFO: VMCOREINFO_DATA}),
    ],
)
def test_a_real_qemu_answers_the_guest_as_the_simulated_machine_does(
    options: list[str], more: dict[str, bytes], oracle: Callable[[str], str]
):
    """Every access of the guest, line by line: selects, bytes of ports, descriptors and their control fields, buffers.

    What a release decides by itself are the sizes of a few files in the directory; the bytes with them are left out.
    """
    binary = oracle("qemu-system-x86_64")
    text = "Hello"
    hello = Item("opt/org.example/hello", text.encode())
    machine = described(options, "x64", release(binary), hello)
    assert machine.fw_cfg is not None
    events: list[Event] = []
    drive(Guest(machine, machine.memory, events.append), machine, more)
    rows = [row for row in events if isinstance(row, Access)]
    lines = [*map(build, accesses(rows))]
    assert len(lines) > 500

    with qemu(binary, *options, "-fw_cfg", f"name={hello.name},string={text}") as ask:
        real = ask.run(lines)
    fresh = described(options, "x64", release(binary), hello)
    ours = [execute(fresh, line) for line in lines]
    assert ours == expected(rows)

    differing = [index for index, pair in enumerate(zip(ours, real, strict=True)) if pair[0] != pair[1]]
    names = {name_behind(rows, index) for index in differing}
    assert names <= {"etc/smbios/smbios-tables", "vgaroms/vgabios-ramfb.bin", "genroms/kvmvapic.bin"}, [
        (lines[index], ours[index], real[index]) for index in differing
    ]
    assert errors(rows) >= 2


def loads(rows: list[Access]) -> list[int]:
    """Where the guest takes what a transfer has read, by index."""
    return [
        index
        for index, row in enumerate(rows)
        if row.space == "memory" and not row.write and rows[index - 1].space == "memory" and not rows[index - 1].write
    ]


def name_behind(rows: list[Access], index: int) -> str | None:
    """The file whose size is read there: in a row of the directory, three reads before the name. None elsewhere."""
    after = [at for at in loads(rows) if at >= index][:4]
    lengths = [len(rows[at].data) for at in after]
    if after[:1] != [index] or lengths != [4, 2, 2, 56]:
        return None
    return rows[after[3]].data.rstrip(b"\0").decode()


def errors(rows: list[Access]) -> int:
    """Control fields with exactly the error bit."""
    return sum(
        row.space == "memory" and not row.write and row.data == b"\0\0\0\1" and rows[index - 1].address == 0x518
        for index, row in enumerate(rows)
    )
