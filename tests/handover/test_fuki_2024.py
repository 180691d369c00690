"""The prototype of KVM Forum 2024: what it refuses, where it puts things, the entries, and the trigger."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from stubsim.formats import pe, vmfwupdate
from stubsim.formats.pe import SectionSpec
from stubsim.formats.vmfwupdate import FUKI_BLOB, FUKI_CONTROL, FukiEntry, unpack_fuki
from stubsim.handover.guest import Guest
from stubsim.hosts import Host
from stubsim.machine.devices.device import PLAIN, Reset
from stubsim.machine.fwcfg import DMA_WRITE
from stubsim.uefi.loaded_image import ProgramFailed
from stubsim.uefi.memory import OutOfResources
from tests.handover.harness import FIRMWARE, INITRD, KIB64, MIB, Case, accesses, case, host, remove, steps, uki
from tests.stub.harness import setup_header

HOST = host("fuki-2024")
GIB = 1 << 30
ABOVE_4G = 0x0B
LOW_ONLY = 0x09


def kernel(*, flags: int = ABOVE_4G, limit: int = 2047, **fields: Any) -> bytes:
    """A bzImage whose SizeOfImage is more than the file has bytes; limit is cmdline_size."""
    data = bytearray(setup_header(flags=flags, **fields))
    struct.pack_into("<I", data, 0x238, limit)
    return bytes(data)


KERNEL = kernel()
SIZE_OF_IMAGE = 0x3000
ROOMY = SectionSpec(".linux", KERNEL, virtual_size=SIZE_OF_IMAGE)


def leave(
    machine: Host = HOST, *, linux: bytes | SectionSpec = KERNEL, payload: bytes = FIRMWARE, **rows: Any
) -> tuple[Case, Any]:
    given = case(machine, uki(linux=linux, **rows), payload=payload)
    return given, given.hand_over("fuki-2024")


def entries(given: Case) -> tuple[FukiEntry, ...]:
    return unpack_fuki(given.written()[FUKI_BLOB])


def test_sizes_of_the_sample():
    headers = pe.read_headers(memoryview(KERNEL), (0x8664,))
    assert headers is not None
    assert headers.size_of_image == SIZE_OF_IMAGE > len(KERNEL)


def test_the_entries():
    """Firmware private, kernel, initrd and command line shared; each type once, target gpa 0."""
    given, outcome = leave()
    assert outcome[:3] == ("firmware-update", None, None)
    assert [*given.written()] == [FUKI_BLOB, FUKI_CONTROL]
    staged = given.staged()
    assert given.leaving.prepared.initrd_pages is not None
    assert entries(given) == (
        FukiEntry(5, 0, len(FIRMWARE), staged["firmware"].gpa, 0),
        FukiEntry(1, 1, SIZE_OF_IMAGE, 32 * MIB, 0),
        FukiEntry(3, 1, len(INITRD), given.leaving.prepared.initrd_pages.gpa, 0),
        FukiEntry(4, 1, 4096, 128 * MIB, 0),
    )
    assert given.written()[FUKI_CONTROL] == b"t"
    assert [row.kind for row in outcome.left] == ["firmware", "kernel", "initrd", "cmdline"]
    assert [(row.gpa, row.size) for row in outcome.left] == [(row.gpa, row.size) for row in entries(given)]
    memory = given.leaving.context.memory
    assert memory.read(32 * MIB, SIZE_OF_IMAGE) == KERNEL.ljust(SIZE_OF_IMAGE, b"\0")
    assert memory.read(128 * MIB, 4096) == b"quiet".ljust(4096, b"\0")
    assert given.machine.last_reset == Reset("update", staged["firmware"].gpa, len(FIRMWARE))
    assert given.machine.bios is not None
    assert b"".join(given.machine.bios.end(len(FIRMWARE))) == FIRMWARE


def test_the_order_on_the_wire():
    """The blob in one write at offset 0, then the trigger, which resets: no port 0xcf9."""
    given, _ = leave()
    found = [step[2] for step in steps(given.trace) if step[:2] == ("dma", DMA_WRITE)]
    assert found == [4 * 24, 1]
    assert accesses(given.trace)[-1].address == 0x518
    assert not [row for row in accesses(given.trace) if row.address == 0xCF9]


def test_without_an_initrd_its_entry_has_size_0():
    given, _ = leave(initrd=None)
    assert entries(given)[2] == FukiEntry(3, 1, 0, 0, 0)
    assert len(entries(given)) == 4


def test_without_a_command_line_there_is_no_entry():
    given, outcome = leave(cmdline=None)
    assert [entry.type for entry in entries(given)] == [5, 1, 3]
    assert [row.kind for row in outcome.left] == ["firmware", "kernel", "initrd"]


def test_a_kernel_with_room_for_its_image_is_used_in_place():
    given, _ = leave(linux=ROOMY)
    section = given.leaving.prepared.sections.section(".linux")
    assert section is not None
    assert entries(given)[1] == FukiEntry(1, 1, SIZE_OF_IMAGE, given.leaving.image_gpa + section.virtual_address, 0)


def test_a_kernel_whose_image_exceeds_its_section_is_copied_to_32_mib():
    given, _ = leave(linux=ROOMY._replace(virtual_size=SIZE_OF_IMAGE - 1))
    assert entries(given)[1].gpa == 32 * MIB


def above_4g(linux: bytes | SectionSpec) -> Case:
    """The UKI itself, and its initrd, as a loader put them above 4 GiB."""
    given = case(HOST._replace(memory=8 * GIB), uki(linux=linux))
    context, image = given.leaving.context, given.leaving.context.uki.image
    gpa = 5 * GIB
    context.memory.allocate(image.size_of_image, "EfiLoaderCode", at=gpa)
    for section in image.sections:
        context.memory.place(gpa + section.virtual_address, [context.uki.data(section)])
    pages = context.memory.stage("initrd", [INITRD], "EfiLoaderData", at=6 * GIB)
    prepared = given.leaving.prepared._replace(initrd_pages=pages)
    return given._replace(leaving=given.leaving._replace(image_gpa=gpa, prepared=prepared))


def test_a_kernel_that_ends_above_4_gib_is_copied_to_32_mib():
    given = above_4g(ROOMY)
    given.hand_over("fuki-2024")
    assert entries(given)[1].gpa == 32 * MIB
    # What can be loaded above 4 GiB takes its initrd from there.
    assert entries(given)[2].gpa == 6 * GIB


@pytest.mark.parametrize(
    ("fields", "gpa"),
    [({"flags": LOW_ONLY}, 129 * MIB), ({"version": 0x20B, "flags": ABOVE_4G}, 129 * MIB), ({"flags": ABOVE_4G}, None)],
)
def test_an_initrd_that_ends_above_4_gib(fields: dict[str, int], gpa: int | None):
    """To 129 MiB for a kernel that cannot be loaded there; before protocol 2.12 there is no flag that says it can."""
    given = above_4g(kernel(**fields))
    given.hand_over("fuki-2024")
    assert entries(given)[2].gpa == (6 * GIB if gpa is None else gpa)
    memory = given.leaving.context.memory
    assert memory.read(entries(given)[2].gpa, len(INITRD)) == INITRD


def test_a_kernel_that_cannot_be_loaded_above_takes_a_low_initrd_where_it_is():
    given, _ = leave(linux=kernel(flags=LOW_ONLY))
    assert given.leaving.prepared.initrd_pages is not None
    assert entries(given)[2].gpa == given.leaving.prepared.initrd_pages.gpa < 4 * GIB


@pytest.mark.parametrize(
    ("cmdline", "limit", "content"),
    [
        (b"quiet", 2047, b"quiet"),
        ("a\x7fbé\u20ac~".encode(), 2047, b"a b  ~"),
        (b"0123456789", 4, b"0123"),
        (b"0123456789", 0, b""),
        (b"x" * 4095, 4096, b"x" * 4095),
        (b"x" * 4096, 4096, b"x" * 4096),
        (b"x" * 9000, 4096, b"x" * 4096),
    ],
)
def test_the_command_line(cmdline: bytes, limit: int, content: bytes):
    """At most cmdline_size characters, those above 0x7E blank, a NUL, whole pages."""
    given, _ = leave(linux=kernel(limit=limit), cmdline=cmdline)
    row = entries(given)[3]
    assert row.gpa == 128 * MIB
    pages = -(-(len(content) + 1) // 4096) * 4096
    assert row.size == pages
    assert given.leaving.context.memory.read(row.gpa, row.size) == content.ljust(pages, b"\0")


@pytest.mark.parametrize(
    ("linux", "message", "status"),
    [
        (kernel()[:4095], "Invalid kernel image.", "EFI_LOAD_ERROR"),
        (kernel(magic=b"hdrs"), "Unsupported kernel image.", "EFI_UNSUPPORTED"),
        (kernel(boot_flag=0xAA54), "Unsupported kernel image.", "EFI_UNSUPPORTED"),
        (kernel(version=0x20A), "Kernel too old.", "EFI_UNSUPPORTED"),
        (kernel(relocatable=0), "Kernel is not relocatable.", "EFI_UNSUPPORTED"),
        (kernel(flags=0x07), "Kernel does not support EFI handover protocol.", "EFI_UNSUPPORTED"),
    ],
)
def test_a_kernel_that_is_refused(linux: bytes, message: str, status: str):
    given = case(HOST, uki(linux=linux))
    with pytest.raises(ProgramFailed) as failure:
        given.hand_over("fuki-2024")
    assert (failure.value.message, failure.value.status) == (message, status)
    assert given.written() == {}
    assert not given.machine.was_reset


def test_before_2_12_nobody_looks_at_the_flags():
    _, outcome = leave(linux=kernel(version=0x20B, flags=0))
    assert outcome.status == "firmware-update"


@pytest.mark.parametrize(
    ("machine", "missing", "reason"),
    [
        (HOST._replace(fw_cfg=None), (), "no fw_cfg device"),
        (HOST._replace(hypervisor=False), (), "no fw_cfg device"),
        (host(None), (), "fw_cfg has no file etc/fwupdate-control"),
        (host("fuki-2024", device_disabled=True), (), "fw_cfg has no file etc/fwupdate-control"),
        (HOST, (FUKI_CONTROL,), "fw_cfg has no file etc/fwupdate-control"),
    ],
)
def test_where_it_stops_for_ever(machine: Host, missing: tuple[str, ...], reason: str):
    given = case(machine, uki(linux=KERNEL))
    if missing:
        remove(given.machine, *missing)
    outcome = given.hand_over("fuki-2024")
    assert outcome == ("failed", f"the stub stops for ever: {reason}", None, ())
    assert given.written() == {}


def test_without_the_blob_file_it_returns():
    given = case(HOST, uki(linux=KERNEL))
    remove(given.machine, FUKI_BLOB)
    with pytest.raises(ProgramFailed, match=f"fw_cfg has no file {FUKI_BLOB}"):
        given.hand_over("fuki-2024")


def test_without_dma_the_writes_are_lost_and_the_reset_does_not_come():
    given = case(host("fuki-2024", dma=False), uki(linux=KERNEL))
    with pytest.raises(ProgramFailed) as failure:
        given.hand_over("fuki-2024")
    assert (failure.value.message, failure.value.status) == (
        "fwupdate-control reset did not take effect.", "EFI_LOAD_ERROR",
    )  # fmt: skip


def test_a_device_that_was_switched_off_for_good():
    given = case(HOST, uki(linux=KERNEL))
    guest = Guest(given.machine, given.machine.memory, [].append)
    guest.probe()
    blob, control = guest.find(FUKI_BLOB), guest.find(FUKI_CONTROL)
    assert blob is not None
    assert control is not None
    guest.write(blob, vmfwupdate.pack_fuki([FukiEntry(5, 0, KIB64, 0x200000)]))
    guest.write(control, b"d")
    with pytest.raises(ProgramFailed, match="reset did not take effect"):
        given.hand_over("fuki-2024")


def test_a_firmware_larger_than_the_region_loops():
    """The trigger resets, nothing is copied, and the prototype always hands over: again and again."""
    given = case(host("fuki-2024", device_bios_size=KIB64), uki(linux=KERNEL))
    outcome = given.hand_over("fuki-2024")
    assert given.machine.last_reset == PLAIN
    assert outcome.status == "boot-loop"
    assert "without the update" in (outcome.message or "")
    assert given.machine.warnings == (
        "vmfwupdate: firmware of 131072 bytes is larger than the BIOS region, 65536 bytes",
    )


def test_any_size_of_firmware_is_taken():
    """The multiple of 64 KiB is the assertion of another patch."""
    _, outcome = leave(payload=b"firmware")
    assert outcome.status == "firmware-update"


def test_an_address_that_is_taken():
    given = case(HOST._replace(memory=100 * MIB), uki(linux=KERNEL))
    with pytest.raises(OutOfResources):
        given.hand_over("fuki-2024")


def test_a_confidential_guest_shares_what_the_entries_name():
    """In place, too: the kernel within the image and the initrd as the stub prepared it; the trace tells of it."""
    given, outcome = leave(HOST._replace(confidential="sev-snp"), linux=ROOMY)
    assert outcome.status == "firmware-update"
    memory = given.leaving.context.memory
    assert all(memory.is_shared(row.gpa, row.size) for row in outcome.left)
    staged = given.staged()
    for row in outcome.left:
        assert (staged[row.kind].gpa, staged[row.kind].shared) == (row.gpa, True)
