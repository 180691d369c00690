"""The boot after the update: the new firmware recognised, what was left checked as hostile input, loops told."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

import pytest

from stubsim import handover
from stubsim.errors import StubsimError
from stubsim.formats import vmfwupdate
from stubsim.formats.efi_string import utf16z
from stubsim.formats.vmfwupdate import FW_BLOB, OPAQUE_BLOB, SPEC_OPAQUE, Left, build_opaque, parse_opaque
from stubsim.handover.guest import Guest
from stubsim.handover.second_boot import SecondBoot, second_boot
from stubsim.hosts import Host
from stubsim.machine.devices.device import PLAIN
from stubsim.machine.ram import PrivatePage
from stubsim.trace import Access, FwCfgWritten, Log
from tests.handover.harness import FIRMWARE, INITRD, KIB64, MIB, Case, case, host, remove, uki
from tests.handover.test_fuki_2024 import KERNEL as BZIMAGE
from tests.stub.harness import KERNEL

BY_PAGE = ("qemu-v5", "spec")


class Updated:
    """A machine after the reset, on the new firmware, whose second boot has not begun."""

    def __init__(self, dialect: str = "qemu-v5", machine: Host | None = None, **options: Any) -> None:
        self.dialect = handover.dialect(dialect)
        self.case: Case = case(host(dialect) if machine is None else machine, **options)
        self.outcome = self.case.hand_over(dialect)
        assert self.outcome.status == "firmware-update"
        self.left = {row.kind: row for row in self.outcome.left}
        self.memory = self.case.leaving.context.memory
        self.trace: list[Any] = []

    @property
    def file(self) -> str:
        return OPAQUE_BLOB if self.dialect.about.name == "qemu-v5" else SPEC_OPAQUE

    def content(self, name: str) -> bytes:
        fw_cfg = self.case.machine.fw_cfg
        assert fw_cfg is not None
        file = fw_cfg.find(name)
        assert file is not None
        return fw_cfg.content(file.selector)

    def put(self, page: bytes) -> None:
        """The hypervisor holds the page, and can hold another one."""
        item = next(item for device in self.case.machine.devices for item in device.items() if item.name == self.file)
        assert isinstance(item.data, bytearray)
        item.data[:] = page

    def put_left(self, *rows: Left) -> None:
        self.put(build_opaque(rows))

    def boot(self) -> SecondBoot:
        leaving = self.case.leaving
        context = leaving.context
        context = context._replace(services=context.services._replace(emit=self.trace.append))
        return second_boot(context, leaving._replace(context=context), self.dialect, self.outcome.left)


@pytest.mark.parametrize("dialect", BY_PAGE)
def test_the_kernel_is_started_from_memory(dialect: str):
    updated = Updated(dialect)
    result = updated.boot()
    assert result[:3] == ("kernel-started", None, None)
    assert result.firmware is not None
    assert bytes(result.firmware) == FIRMWARE
    assert result.cmdline == "quiet"
    assert result.load_options == utf16z("quiet")
    assert result.initrd is not None
    assert b"".join(map(bytes, result.initrd.parts)) == INITRD
    assert result.devicetree is None


@pytest.mark.parametrize("dialect", BY_PAGE)
def test_without_initrd_and_command_line(dialect: str):
    result = Updated(dialect, image=uki(initrd=None, cmdline=None)).boot()
    assert result.status == "kernel-started"
    assert (result.initrd, result.cmdline, result.load_options) == (None, None, None)


@pytest.mark.parametrize("kind", ["sev-snp", "tdx"])
@pytest.mark.parametrize("dialect", BY_PAGE)
def test_in_a_confidential_guest_what_was_shared_is_still_there(dialect: str, kind: str):
    updated = Updated(dialect, host(dialect, confidential=kind))
    private = updated.case.leaving.image_gpa
    assert updated.memory.read(private, 4096) == bytes(4096)
    assert updated.boot().status == "kernel-started"


def test_the_update_is_settled_so_that_later_resets_are_plain():
    """The second boot writes bios_paddr 0 with bios_size kept; QEMU's host is warned as with every proper blob."""
    updated = Updated()
    assert updated.content(FW_BLOB) == vmfwupdate.pack_fw_blob(len(FIRMWARE), updated.left["firmware"].gpa)
    updated.boot()
    assert updated.content(FW_BLOB) == vmfwupdate.pack_fw_blob(len(FIRMWARE), 0)
    assert [row.file for row in updated.trace if isinstance(row, FwCfgWritten)] == [FW_BLOB]
    warning = "hypervisor: vmfwupdate: VMFWUPDATE_CAP_BIOS_RESIZE not enabled"
    assert [row.message for row in updated.trace if isinstance(row, Log) and row.level == "warning"] == [warning]
    assert updated.case.machine.reset() == PLAIN
    # So the next boot is not taken for the one after an update: the firmware is there, and nothing was left anew.
    assert updated.case.machine.bios is not None
    assert b"".join(updated.case.machine.bios.end(len(FIRMWARE))) == FIRMWARE


def test_the_document_has_the_page_cleared():
    updated = Updated("spec")
    assert any(updated.content(SPEC_OPAQUE))
    updated.boot()
    assert updated.content(SPEC_OPAQUE) == bytes(4096)


def test_the_second_boot_polls_its_descriptors():
    updated = Updated()
    updated.boot()
    rows = [row for row in updated.trace if isinstance(row, Access)]
    starts = [index for index, row in enumerate(rows) if row.address == 0x518]
    assert starts
    for index in starts:
        assert (rows[index + 1].space, rows[index + 1].write, rows[index + 1].data) == ("memory", False, bytes(4))


# The firmware


@pytest.mark.parametrize("at", [0, KIB64, len(FIRMWARE) - 1])
def test_another_firmware_than_the_one_that_was_asked_for_loops(at: int):
    updated = Updated()
    other = bytearray(FIRMWARE)
    other[at] ^= 1
    assert updated.case.machine.bios is not None
    updated.case.machine.bios.replace_end([memoryview(bytes(other))])
    result = updated.boot()
    assert result.status == "boot-loop"
    assert (result.message or "").startswith(
        f"boot loop after the update: the BIOS region ends with other bytes than the firmware (SHA-256 "
        f"{sha256(other).hexdigest()[:16]}...)"
    )
    assert result.firmware is not None
    assert bytes(result.firmware) == other
    assert not [row for row in updated.trace if isinstance(row, Access)]


def test_the_firmware_changed_in_memory_before_the_reset_loops():
    """The hypervisor copies what lies there at the reset."""
    given = case(host())
    outcome = given.hand_over("qemu-v5")
    given.leaving.context.memory.place(outcome.left[0].gpa, [b"altered"])
    given.machine.reset()
    context = given.leaving.context
    assert second_boot(context, given.leaving, handover.dialect("qemu-v5"), outcome.left).status == "boot-loop"


# What was left


def refused(result: SecondBoot, reason: str) -> None:
    assert (result.status, result.efi_status) == ("failed", "EFI_SECURITY_VIOLATION")
    assert result.message is not None
    assert result.message.startswith("what the first boot left is refused: ")
    assert reason in result.message


@pytest.mark.parametrize("dialect", BY_PAGE)
@pytest.mark.parametrize("kind", ["firmware", "kernel", "initrd", "cmdline"])
@pytest.mark.parametrize("place", ["first", "last"])
def test_overwritten_between_the_boots(dialect: str, kind: str, place: str):
    updated = Updated(dialect)
    row = updated.left[kind]
    at = row.gpa if place == "first" else row.gpa + row.size - 1
    updated.memory.place(at, [bytes([updated.memory.read(at, 1)[0] ^ 1])])
    refused(updated.boot(), f"{kind}, {row.size} bytes at {row.gpa:#x}: SHA-256 ")


@pytest.mark.parametrize("dialect", BY_PAGE)
def test_an_empty_page(dialect: str):
    updated = Updated(dialect)
    updated.put(bytes(4096))
    refused(updated.boot(), "the opaque page is empty")


def test_a_file_that_is_gone():
    updated = Updated()
    remove(updated.case.machine, OPAQUE_BLOB)
    refused(updated.boot(), "an opaque page of 0 bytes")


Change = Callable[[dict[str, Left]], Sequence[Left]]


def moved(kind: str, **fields: Any) -> Change:
    return lambda left: [row._replace(**fields) if row.kind == kind else row for row in left.values()]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda left: [left["firmware"], left["initrd"]], "names no kernel"),
        (lambda left: [left["kernel"], left["initrd"]], "names no firmware"),
        (lambda left: [], "names no"),
        (moved("kernel", gpa=3 << 30), "not all in RAM"),
        (moved("kernel", gpa=1 << 63), "not all in RAM"),
        (moved("kernel", gpa=0xA0000), "not all in RAM"),
        (moved("initrd", size=1 << 40), "not all in RAM"),
        # The stack and the drivers of the new firmware: whoever checks digests there checks its own memory.
        (moved("kernel", gpa=0x900000), "something else is there already"),
        (moved("cmdline", gpa=0x7FF00000), "something else is there already"),
        (moved("kernel", size=100), "SHA-256"),
        (moved("initrd", size=0), "SHA-256"),
        (moved("kernel", sha256=bytes(32)), "SHA-256"),
    ],
)
def test_a_well_formed_page_that_lies(change: Change, reason: str):
    updated = Updated()
    updated.put_left(*change(updated.left))
    refused(updated.boot(), reason)
    # Nothing was told to the device by a boot that did not go on.
    assert not [row for row in updated.trace if isinstance(row, FwCfgWritten)]


def test_ranges_that_overlap():
    updated = Updated()
    kernel, initrd = updated.left["kernel"], updated.left["initrd"]
    rows = [updated.left["firmware"], kernel, initrd._replace(gpa=kernel.gpa)]
    with pytest.raises(StubsimError, match="overlap"):
        build_opaque(rows)
    # A writer without our scruples.
    page = build_opaque([updated.left["firmware"], kernel, initrd])
    updated.put(forged(page, initrd.gpa, kernel.gpa))
    refused(updated.boot(), "kernel and initrd overlap")


def forged(page: bytes, old: int, new: int) -> bytes:
    """The page with one gpa exchanged and the checksum put right."""
    from zlib import crc32

    data = bytearray(page.replace(old.to_bytes(8, "little"), new.to_bytes(8, "little")))
    count = int.from_bytes(data[12:16], "little")
    data[16:20] = bytes(4)
    data[16:20] = crc32(bytes(data[: 24 + 56 * count])).to_bytes(4, "little")
    return bytes(data)


def test_the_order_of_the_entries_does_not_matter():
    """The update is settled with the firmware's size, wherever its entry is."""
    updated = Updated()
    updated.put_left(*reversed(updated.left.values()))
    assert updated.boot().status == "kernel-started"
    assert updated.content(FW_BLOB) == vmfwupdate.pack_fw_blob(len(FIRMWARE), 0)


def test_another_kernel_in_the_page_is_what_is_started():
    """The page is no measurement: who writes page and memory alike is not found out."""
    updated = Updated()
    other = KERNEL + b"another"
    updated.memory.place(200 * MIB, [other])
    updated.put_left(*moved("kernel", gpa=200 * MIB, size=len(other), sha256=sha256(other).digest())(updated.left))
    assert updated.boot().status == "kernel-started"


def test_a_kernel_that_cannot_be_started():
    updated = Updated()
    bad = b"no kernel"
    updated.memory.place(200 * MIB, [bad])
    updated.put_left(*moved("kernel", gpa=200 * MIB, size=len(bad), sha256=sha256(bad).digest())(updated.left))
    result = updated.boot()
    assert (result.status, result.efi_status) == ("failed", "EFI_LOAD_ERROR")


@pytest.mark.parametrize("dialect", BY_PAGE)
def test_a_command_line_that_is_no_text(dialect: str):
    """Half a character, no NUL, more behind the NUL: whatever it is, the boot ends with an outcome."""
    for raw in (b"\0", b"q\0u", b"a\0b\0", b"q\0\0\0x\0", b"\0\xd8\0\0", b""):
        updated = Updated(dialect)
        updated.memory.place(200 * MIB, [raw])
        change = moved("cmdline", gpa=200 * MIB, size=len(raw), sha256=sha256(raw).digest())
        updated.put_left(*change(updated.left))
        assert updated.boot().status in ("kernel-started", "failed")


def test_the_device_refuses_to_be_settled():
    from stubsim.machine.fwcfg import FwCfg, Item

    updated = Updated()
    rows = [item for device in updated.case.machine.devices for item in device.items()]
    rows = [Item(item.name, bytes(item.data)) if item.name == FW_BLOB else item for item in rows]
    updated.case.machine.fw_cfg = FwCfg(rows, updated.case.machine.space)
    result = updated.boot()
    assert (result.status, result.efi_status) == ("failed", "EFI_DEVICE_ERROR")
    assert "fw-blob" in (result.message or "")


# Tampering with the page, at random


def mutated(page: bytes, chance: random.Random) -> bytes:
    data = bytearray(page)
    used = 24 + 56 * int.from_bytes(page[12:16], "little")
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
        at = chance.randrange(used) if chance.random() < 0.9 else chance.randrange(len(data))
        kind = chance.random()
        if kind < 0.5:
            data[at] ^= 1 << chance.randrange(8)
        elif kind < 0.8:
            data[at] = chance.randrange(256)
        elif kind < 0.9:
            end = chance.randrange(at, min(at + 64, len(data)) + 1)
            data[at:end] = chance.randbytes(end - at)
        else:
            end = chance.randrange(at, min(at + 64, len(data)) + 1)
            data[at:end] = bytes(end - at)
    return bytes(data)


def with_checksum(page: bytes) -> bytes:
    """As someone tampers who knows the format."""
    from zlib import crc32

    end = min(24 + 56 * int.from_bytes(page[12:16], "little"), len(page))
    data = bytearray(page)
    data[16:20] = bytes(4)
    data[16:20] = crc32(bytes(data[:end])).to_bytes(4, "little")
    return bytes(data)


def test_10000_mutated_pages_are_refused_or_equal():
    page = build_opaque(Updated().outcome.left)
    expected = parse_opaque(page)
    chance = random.Random("opaque page")
    refusals = 0
    for _ in range(10_000):
        tampered = mutated(page, chance)
        try:
            found = parse_opaque(tampered)
        except StubsimError:
            refusals += 1
        else:
            assert found == expected, "a page was taken that says something else"
            assert tampered == page
    assert refusals > 9_000


@pytest.mark.parametrize("checksum", [False, True])
@pytest.mark.parametrize("dialect", BY_PAGE)
def test_mutated_pages_through_the_second_boot(dialect: str, checksum: bool):
    """Refused, or it starts the same kernel: also where the checksum was put right, the digests are there."""
    chance = random.Random(f"second boot of {dialect}")
    updated = Updated(dialect)
    page = updated.content(updated.file)
    started = 0
    for _ in range(40):
        tampered = mutated(page, chance)
        updated.put(with_checksum(tampered) if checksum else tampered)
        updated.memory.reset()
        result = updated.boot()
        if result.status == "kernel-started":
            started += 1
            # An entry may be gone, or say more of nothing; what is used is what was left.
            assert result.cmdline in ("quiet", None)
            assert result.initrd is None or b"".join(map(bytes, result.initrd.parts)) == INITRD
        else:
            assert result.status == "failed"
            assert result.efi_status == "EFI_SECURITY_VIOLATION"
    assert started < 40
    updated.put(page)
    updated.memory.reset()
    assert updated.boot().status == "kernel-started"


# The prototype, whose entries the new firmware reads


def test_the_prototype_starts_the_kernel_in_a_way_nobody_published():
    from stubsim.trace import Unknown

    updated = Updated("fuki-2024", image=uki(linux=BZIMAGE))
    result = updated.boot()
    assert result.status == "kernel-started"
    assert result.cmdline == "quiet"
    assert result.initrd is not None
    assert b"".join(map(bytes, result.initrd.parts)) == INITRD
    assert result.load_options is None
    assert "load_options" in next(row for row in updated.trace if isinstance(row, Unknown)).affects


def test_the_prototypes_initrd_of_size_0_is_none():
    result = Updated("fuki-2024", image=uki(linux=BZIMAGE, initrd=None)).boot()
    assert (result.status, result.initrd) == ("kernel-started", None)


def test_the_prototypes_kernel_overwritten():
    updated = Updated("fuki-2024", image=uki(linux=BZIMAGE))
    updated.memory.place(32 * MIB + 5, [b"!"])
    refused(updated.boot(), "kernel, 12288 bytes at 0x2000000: SHA-256 ")


def test_the_prototypes_machine_in_a_confidential_guest():
    machine = host("fuki-2024", confidential="sev-snp")
    assert Updated("fuki-2024", machine, image=uki(linux=BZIMAGE)).boot().status == "kernel-started"


def test_an_unsettled_device_takes_private_pages_for_firmware():
    """Nothing clears fw-blob: the next boot has made the range private, and the copy at the next reset is an error."""
    updated = Updated(machine=host(confidential="sev-snp"))
    row = updated.left["firmware"]
    guest = Guest(updated.case.machine, updated.memory, [].append)
    guest.probe()
    file = guest.find(FW_BLOB)
    assert file is not None
    guest.write(
        file, vmfwupdate.pack_fw_blob(row.size, updated.memory.allocate(row.size, "EfiLoaderData", at=64 * MIB))
    )
    with pytest.raises(PrivatePage, match="0x4000000"):
        updated.case.machine.reset()
