"""What the firmware measures itself, by event source, on made-up machines; whole logs are in tests/conformance."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from stubsim.formats import load_option, smbios
from stubsim.formats.gpt import Partition, Table
from stubsim.formats.load_option import ACTIVE, LoadOption
from stubsim.formats.signature_list import X509, Entry
from stubsim.formats.varstore import StoredVariable
from stubsim.hosts import Host
from stubsim.uefi.builds import BUILDS, Build, build_of
from stubsim.uefi.esp import Esp
from stubsim.uefi.measured import (
    acpi_data,
    actions,
    boot_variables,
    crtm,
    handoff_tables,
    partition_table,
    secure_boot_policy,
)
from stubsim.uefi.measured.row import Row
from stubsim.uefi.platform import FirmwareImage, Platform, processors
from stubsim.uefi.variables import GLOBAL

OLD, OLD_SECURE, MIDDLE, MIDDLE_SECURE, MIDDLE_STRICT, NEW, NEW_SECURE, NEW_STRICT = BUILDS.values()
DISK, ESP_GUID = UUID(int=1), UUID("c0ffee00-1111-4222-8333-444455556666")
PARTITION = Partition(1, UUID(int=2), ESP_GUID, 2048, 6143, "ESP", b"\1" * 128)
TABLE = Table(b"EFI PART".ljust(92, b"\0"), DISK, 512, (PARTITION,))
VIRTIO = {"bootorder": b"/pci@i0cf8/scsi@1/disk@0,0\0"}
DISK_PATH = load_option.build_path(load_option.pci_root(), load_option.pci(1, 0))
MADE = bytes.fromhex("4eac0881119f594d850ee21a522c59b2")
GUEST = LoadOption(ACTIVE, "UEFI Misc Device", DISK_PATH, MADE)
SECURE_BOOT_ENABLE = UUID("f0a30bc7-af08-4556-99c4-001009c93a44")


PC = smbios.Fields(product_name=b"Standard PC (i440FX + PIIX, 1996)")


def volume(size: int = 0x10000) -> memoryview:
    data = bytearray(size)
    # The default table of memory types.
    struct.pack_into("<12I", data, 0xE090, 10, 128, 9, 18, 0, 128, 5, 256, 6, 256, 16, 0)
    return memoryview(bytes(data))


# CPUID's signature and features of QEMU's -cpu max under TCG (recorded), and of qemu64 under KVM.
MAX, OTHER = (bytes.fromhex(text) for text in ("b10f0600fdfbcb0f", "b10f0600fdfb8b07"))


def processor(threads: int, cores: int = 1, kind: bytes = MAX) -> bytes:
    tail = bytearray(0x2A - 4)
    tail[4:12] = kind
    tail[0x23 - 4], tail[0x25 - 4] = cores, threads
    return smbios.build_structure(4, bytes(tail))


def host(*structures: bytes, **fields: Any) -> Host:
    return Host(structures=smbios.parse(smbios.build(structures)), memory=1 << 30, **fields)


def platform(build: Build | None = OLD, **fields: Any) -> Platform:
    given: dict[str, Any] = {
        "host": host(processor(1)),
        "firmware": FirmwareImage(volume(), memoryview(b"dxe"), build),
        "variables": (),
        "disk": TABLE,
        "fw_cfg": VIRTIO,
    }
    return Platform(**(given | fields))


def variable(name: str, data: bytes, guid: UUID = GLOBAL) -> StoredVariable:
    return StoredVariable(name, guid, 7, data)


def told(rows: Iterable[Row]) -> list[tuple[str, Any]]:
    return [(row.description, row.content) for row in rows]


def entries(*options: LoadOption, order: list[int] | None = None) -> tuple[StoredVariable, ...]:
    """A store with these entries from number 0 on, in this order."""
    numbers = order if order is not None else list(range(len(options)))
    rows = [variable(f"Boot{number:04X}", option.raw) for number, option in enumerate(options)]
    return (variable("BootOrder", struct.pack(f"<{len(numbers)}H", *numbers)), *rows)


def booted(found: tuple[boot_variables.Option, ...] | str) -> list[tuple[int, str]]:
    assert not isinstance(found, str), found
    return [(option.number, option.entry.description) for option in found]


def test_an_image_is_recognised_by_its_volumes():
    assert build_of(None, memoryview(b"dxe")) is None
    assert build_of(memoryview(b"pei"), memoryview(b"dxe")) is None
    assert len(BUILDS) == 8
    assert all(len(bytes.fromhex(digest)) == 32 for digests in BUILDS for digest in digests)
    # 2025.02's build that wants NX_COMPAT has the PEI volume of the other one: the DXE volume tells them apart.
    assert len({dxe for _, dxe in BUILDS}) == len(BUILDS) == len({pei for pei, _ in BUILDS}) + 1
    for strict, secure in ((MIDDLE_STRICT, MIDDLE_SECURE), (NEW_STRICT, NEW_SECURE)):
        assert strict == secure._replace(name=strict.name)


def test_firmware_code_of_a_build_that_patches_two_bytes():
    version, pei, dxe = crtm.events(platform(MIDDLE))
    assert version.content == "2025.02-8+deb13u1\0".encode("utf-16-le")
    assert isinstance(pei.content, bytes)
    assert pei.content[0x6E50:0x6E52] == b"\x08\x06"
    assert pei.content[:0x6E50] + pei.content[0x6E52:] == bytes(volume()[:0x6E50]) + bytes(volume()[0x6E52:])
    assert pei.data == struct.pack("<QQ", 0x820000, 0x10000)
    assert (dxe.content, dxe.data) == (memoryview(b"dxe"), struct.pack("<QQ", 0x900000, 3))


def info(build: Build, **fields: Any) -> bytes:
    """The platform information that 2022.11 has filled in."""
    _, pei, _ = crtm.events(platform(build, **fields))
    assert isinstance(pei.content, bytes), pei.because
    return pei.content[0xE0C0 : 0xE0C0 + 0x90]


@pytest.mark.parametrize(
    ("memory", "cpus", "base", "size"),
    [(1 << 30, 1, 0x3FF78000, 0x88000), (2 << 30, 4, 0x7FF60000, 0xA0000), (4 << 30, 1, 0x7FF78000, 0x88000)],
)
def test_what_2022_writes_into_its_volume(memory: int, cpus: int, base: int, size: int):
    found = info(OLD, host=host(processor(cpus))._replace(memory=memory))
    assert struct.unpack_from("<IIIIIBB", found, 0x76) == (cpus, cpus, 64, base, size, 1, 1)
    assert found[0x34] == 40
    assert found[0x28:0x2C] == bytes(4)


def test_what_the_secure_boot_build_of_2022_writes_beside_that():
    found = info(OLD_SECURE)
    assert found[0x28:0x2C] == b"\1\1\x10\0"
    assert struct.unpack_from("<I", found, 0x82) == (0x3EF78000,)


def test_memory_types_of_the_store_raise_the_defaults_and_never_lower_them():
    data = struct.pack("<8I", 10, 200, 9, 3, 7, 999, 16, 0)
    _, pei, _ = crtm.events(platform(OLD_SECURE, variables=(variable("MemoryTypeInformation", data),)))
    assert isinstance(pei.content, bytes)
    assert struct.unpack_from("<12I", pei.content, 0xE090) == (10, 200, 9, 18, 0, 128, 5, 256, 6, 256, 16, 0)
    # Without SMM the store is not read that early.
    _, pei, _ = crtm.events(platform(OLD, variables=(variable("MemoryTypeInformation", data),)))
    assert isinstance(pei.content, bytes)
    assert struct.unpack_from("<2I", pei.content, 0xE090) == (10, 128)


@pytest.mark.parametrize(
    ("build", "fields", "because"),
    [
        (OLD, {"host": Host()}, "number of processors"),
        (OLD, {"host": host(processor(1), unknown=frozenset({"memory"}))}, "size of memory"),
        (OLD, {"host": host(processor(1))._replace(memory=64 << 30)}, "never recorded with so much memory"),
        (OLD, {"host": host(processor(1))._replace(fields=PC)}, "only q35 was recorded"),
        (OLD, {"host": host(processor(1, kind=OTHER))}, "address bits"),
        (OLD, {"host": host(processor(1), processor(1, kind=OTHER))}, "address bits"),
        (OLD_SECURE, {"variables": None}, "--vars"),
        (MIDDLE_SECURE, {}, "SMM relocation"),
        (NEW_SECURE, {}, "fw_cfg files"),
        (None, {}, "not a build that was recorded"),
        (OLD, {"firmware": None}, "--firmware"),
    ],
)
def test_a_pei_volume_that_cannot_be_computed_says_why(build: Build | None, fields: dict[str, Any], because: str):
    _, pei, _ = crtm.events(platform(build, **fields))
    assert pei.content is None
    assert because in (pei.because or "")


def madt(*flags: int) -> bytes:
    rows = b"".join(struct.pack("<BBBBI", 0, 8, number, number, flag) for number, flag in enumerate(flags))
    other = bytes((1, 12)) + bytes(10)
    return b"APIC" + struct.pack("<I", 44 + len(other + rows)) + bytes(36) + other + rows


def test_processors_by_acpi_and_by_smbios():
    tables = {"etc/acpi/tables": b"FACP" + bytes(60) + madt(1, 1, 0, 1) + bytes(100)}
    assert processors(platform(fw_cfg=tables)) == 3
    assert processors(platform(host=host(processor(4), processor(4)))) == 8
    assert processors(platform(host=host(processor(0)))) is None
    assert processors(platform(host=host())) is None
    assert processors(platform(fw_cfg={"etc/acpi/tables": b"APIC" + bytes(8)})) == 1


def test_secure_boot_variables_of_a_store_without_keys():
    state, pk, *_ = secure_boot_policy.events(platform(OLD))
    # Recorded; the second is sha256 of the variable without data.
    assert hashlib.sha256(bytes(state.content or b"")).hexdigest().startswith("115aa827dbcc")
    assert hashlib.sha256(bytes(pk.content or b"")).hexdigest().startswith("dea7b80ab53a")
    state, *_ = secure_boot_policy.events(platform(NEW))
    assert hashlib.sha256(bytes(state.content or b"")).hexdigest().startswith("ce9ce386b52e")


PK = variable("PK", b"a key")


@pytest.mark.parametrize(
    ("build", "variables", "expected"),
    [
        (OLD_SECURE, (), False),
        (OLD_SECURE, (PK,), True),
        (OLD_SECURE, (PK, variable("SecureBootEnable", b"\1", SECURE_BOOT_ENABLE)), True),
        (OLD_SECURE, (PK, variable("SecureBootEnable", b"\0", SECURE_BOOT_ENABLE)), False),
        (NEW_SECURE, (PK,), True),
        (NEW, (PK,), False),
    ],
)
def test_when_secure_boot_is_on(build: Build, variables: tuple[StoredVariable, ...], expected: bool):
    assert secure_boot_policy.secure_boot(platform(build, variables=variables)) is expected


def test_when_it_is_not_known_whether_secure_boot_is_on():
    for fields in ({"variables": None}, {"build": None, "variables": (PK,)}, {"build": OLD, "variables": (PK,)}):
        found = platform(**fields)
        assert isinstance(secure_boot_policy.secure_boot(found), str)
        assert next(secure_boot_policy.events(found)).content is None


def test_the_keys_are_measured_as_they_are_in_the_store():
    db = variable("db", b"lists", secure_boot_policy.IMAGE_SECURITY)
    other = variable("db", b"another guid")
    *_, row, dbx = secure_boot_policy.events(platform(OLD_SECURE, variables=(other, db)))
    assert row.content == secure_boot_policy.IMAGE_SECURITY.bytes_le + struct.pack("<QQ", 2, 5) + b"d\0b\0lists"
    assert bytes(dbx.content or b"").endswith(b"d\0b\0x\0")


def test_the_authority_is_the_entry_without_its_list():
    row = secure_boot_policy.authority(Entry(X509, UUID(int=5), b"certificate"))
    head = secure_boot_policy.IMAGE_SECURITY.bytes_le + struct.pack("<QQ", 2, 27) + b"d\0b\0"
    assert row.content == head + UUID(int=5).bytes_le + b"certificate"


def test_the_texts_of_actions():
    assert [row.pcr for row in actions.ready_to_boot()] == [4, 0, 1, 2, 3, 4, 5, 6]
    assert len(list(actions.exit_boot_services(platform(OLD)))) == 2
    assert [row.description[-7:] for row in actions.exit_boot_services(platform(NEW))] == [
        "ocation", "Failure", "ocation", "Success"
    ]  # fmt: skip
    assert [row.content for row in actions.exit_boot_services(platform(None))] == [None]


def allocate(name: str) -> bytes:
    return struct.pack("<I56s", 1, name.encode()).ljust(128, b"\0")


def test_acpi_data_in_the_order_of_the_script():
    script = allocate("etc/b") + struct.pack("<I", 3).ljust(128, b"\0") + allocate("etc/a")
    files = {"etc/table-loader": script, "etc/a": b"a", "etc/b": b"b"}
    assert [row.content for row in acpi_data.events(platform(MIDDLE, fw_cfg=files))] == [script, b"b", b"a"]
    assert {row.data for row in acpi_data.events(platform(MIDDLE, fw_cfg=files))} == {b"ACPI DATA"}
    assert list(acpi_data.events(platform(OLD, fw_cfg=files))) == []


def test_acpi_data_that_is_not_at_hand():
    assert told(acpi_data.events(platform(MIDDLE, fw_cfg=None))) == [("ACPI DATA", None)]
    files = {"etc/table-loader": allocate("etc/gone")}
    assert told(acpi_data.events(platform(MIDDLE, fw_cfg=files)))[1] == ("ACPI DATA etc/gone", None)


def test_the_smbios_table_without_what_differs_by_unit():
    system = smbios.build_structure(1, bytes([1, 2, 0, 3]) + b"u" * 16 + bytes([6, 0, 0]), (b"QEMU", b"PC", b"S/N"), 1)
    oem = smbios.build_structure(11, bytes([1]), (b"secret",), 2)
    vendor = smbios.build_structure(200, b"\1\2", (), 3)
    memory = smbios.build_structure(17, bytes(10), (b"DIMM",), 4)
    (row,) = handoff_tables.events(platform(NEW, host=host(system, oem, vendor, memory)))
    filtered = smbios.build_structure(
        1, bytes([1, 2, 0, 0]) + bytes(16) + bytes([0, 0, 0]), (b"QEMU", b"PC", b"   "), 1
    )
    expected = [
        filtered,
        oem[:4] + bytes(len(oem) - 4),
        vendor[:4] + bytes(len(vendor) - 4),
        # Shorter than where its fields would be.
        memory,
        smbios.build_structure(127, b"", (), 4),
    ]
    assert row.content == b"".join(expected)
    assert row.data == struct.pack("<Q", 1) + bytes.fromhex("312d9deb882dd3119a160090273fc14d") + bytes(8)


def test_a_processor_keeps_what_it_is_and_loses_how_fast_it_runs():
    tail = bytes(range(4, 0x30))
    (row,) = handoff_tables.events(platform(NEW, host=host(smbios.build_structure(4, tail, (), 1))))
    blank = {0x11, 0x16, 0x17, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, *range(0x2A, 0x30)}
    content = bytes(row.content or b"")
    assert {at for at in range(4, 0x30) if content[at] == 0} == blank
    assert all(content[at] == at for at in range(4, 0x30) if at not in blank)


@pytest.mark.parametrize("machine", [Host(), host()._replace(damage="cut short")])
def test_a_table_that_is_not_at_hand_or_damaged_is_not_known(machine: Host):
    assert [row.content for row in handoff_tables.events(platform(NEW, host=machine))] == [None]


def test_the_partition_table():
    (row,) = partition_table.events(platform())
    assert row.content == TABLE.header + struct.pack("<Q", 1) + PARTITION.raw
    assert told(partition_table.events(platform(disk=None))) == [("GPT", None)]


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (OLD, [(1, "UEFI Misc Device"), (0, "UiApp"), (2, "EFI Internal Shell")]),
        (MIDDLE_SECURE, [(1, "UEFI Misc Device"), (0, "UiApp")]),
        (
            NEW,
            [(2, "UEFI Misc Device"), (0, "BootManagerMenuApp"), (1, "EFI Firmware Setup"), (3, "EFI Internal Shell")],
        ),
    ],
)
def test_the_first_boot_with_an_empty_store(build: Build, expected: list[tuple[int, str]]):
    assert booted(boot_variables.boot_options(platform(build))) == expected


def test_events_are_the_variables_data_alone():
    order, first, *_ = boot_variables.events(platform())
    assert order.content == struct.pack("<3H", 1, 0, 2)
    assert first.content == GUEST.raw
    assert (
        first.data
        == GLOBAL.bytes_le + struct.pack("<QQ", 8, len(GUEST.raw)) + "Boot0001".encode("utf-16-le") + GUEST.raw
    )


def on_partition(path: str | None, guid: UUID = ESP_GUID, attributes: int = ACTIVE, name: str = "own") -> LoadOption:
    nodes = [load_option.hard_drive(1, 2048, 4096, guid)]
    nodes += [] if path is None else [load_option.file_path(path)]
    return LoadOption(attributes, name, load_option.build_path(*nodes))


@pytest.fixture
def esp(tmp_path: Path) -> Esp:
    for name in ("EFI/Linux/a.efi", "EFI/BOOT/BOOTX64.EFI"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"image")
    return Esp(str(tmp_path))


def test_entries_of_the_store_come_first_where_their_files_exist(esp: Esp):
    gone = on_partition("\\EFI\\Linux\\gone.efi", name="gone")
    other = on_partition("\\EFI\\Linux\\a.efi", UUID(int=9), name="other disk")
    found = on_partition("\\efi\\linux\\A.EFI", name="found")
    whole = on_partition(None, name="partition")
    hidden = on_partition("\\EFI\\Linux\\a.efi", attributes=0, name="inactive")
    store = entries(gone, other, found, whole, hidden)
    options = boot_variables.boot_options(platform(variables=store, esp=esp))
    assert booted(options) == [
        (2, "found"), (3, "partition"), (6, "UEFI Misc Device"), (5, "UiApp"), (7, "EFI Internal Shell")
    ]  # fmt: skip
    assert not isinstance(options, str)
    assert boot_variables.first_path(options) == "\\efi\\linux\\A.EFI"


def test_a_store_that_was_booted_from_stays_as_it_is(esp: Esp):
    first = boot_variables.boot_options(platform(esp=esp))
    assert not isinstance(first, str)
    rows = [variable(f"Boot{option.number:04X}", option.entry.raw) for option in first]
    order = variable("BootOrder", b"".join(struct.pack("<H", option.number) for option in first))
    assert boot_variables.boot_options(platform(variables=(order, *rows), esp=esp)) == first


def test_entries_in_no_boot_order_are_overwritten():
    """Recorded with a store that has three entries and no BootOrder (Debian's OVMF_VARS_4M.ms.fd)."""
    fresh = boot_variables.boot_options(platform())
    unused = tuple(variable(f"Boot{number:04X}", GUEST.raw) for number in range(3))
    assert boot_variables.boot_options(platform(variables=unused)) == fresh
    second = (*entries(GUEST, GUEST, order=[1]), *unused[2:])
    assert [number for number, _ in booted(boot_variables.boot_options(platform(variables=second)))] == [1, 0, 2]


def test_entries_that_the_boot_manager_made_for_devices_that_are_gone_go_too():
    path = load_option.build_path(load_option.pci_root(), load_option.pci(9, 0))
    store = entries(LoadOption(ACTIVE, "UEFI Misc Device", path, MADE))
    assert (1, "UiApp") in booted(boot_variables.boot_options(platform(variables=store)))
    assert booted(boot_variables.boot_options(platform(variables=store)))[0] == (0, "UEFI Misc Device")


def test_a_variable_outside_of_the_order_does_not_keep_its_number():
    """As in a store that was made with keys, and whose BootOrder is gone."""
    rows = [variable(f"Boot{number:04X}", GUEST.raw) for number in (0, 1)]
    options = boot_variables.boot_options(platform(variables=tuple(rows)))
    assert booted(options) == [(1, "UEFI Misc Device"), (0, "UiApp"), (2, "EFI Internal Shell")]


def test_a_disk_behind_a_bridge():
    found = boot_variables.boot_options(platform(fw_cfg={"bootorder": b"/pci@i0cf8/pci-bridge@2,1/scsi@0/disk@0,0\0"}))
    assert not isinstance(found, str)
    assert found[0].entry.path == load_option.build_path(
        load_option.pci_root(), load_option.pci(2, 1), load_option.pci(0, 0)
    )


def test_a_kernel_of_qemu_is_started_before_devices_are_looked_for():
    assert booted(boot_variables.boot_options(platform(from_qemu=True))) == [(0, "UiApp")]


FOREIGN = LoadOption(ACTIVE, "x", load_option.build_path(*load_option.firmware_file(UUID(int=1), UUID(int=2))))


@pytest.mark.parametrize(
    ("fields", "because"),
    [
        ({"build": None}, "not a build"),
        ({"variables": None}, "--vars"),
        ({"fw_cfg": None}, "--fw-cfg"),
        ({"fw_cfg": {}}, "no bootorder"),
        ({"fw_cfg": {"bootorder": b"/pci@i0cf8/scsi@1/disk@0,0\n/pci@i0cf8/scsi@2/disk@0,0\0"}}, "2 devices"),
        ({"fw_cfg": {"bootorder": b"/pci@i0cf8/ethernet@1/ethernet-phy@0\0"}}, "only virtio disks"),
        ({"fw_cfg": {"bootorder": b"/pci@i0cf8/scsi@99/disk@0,0\0"}}, "cannot be"),
        ({"variables": entries(FOREIGN)}, "not one of this"),
        ({"variables": entries(GUEST, order=[0, 7])}, "Boot0007, which is not there"),
        ({"variables": (variable("BootOrder", b"\0\0"), variable("Boot0000", b"\1"))}, "cut short"),
        ({"variables": entries(on_partition("\\x")), "disk": None}, "--disk"),
        ({"variables": entries(on_partition("\\x"))}, "--esp"),
    ],
)
def test_what_was_never_recorded_or_is_not_at_hand_is_unknown(fields: dict[str, Any], because: str):
    (row,) = boot_variables.events(platform(**fields))
    assert row.content is None
    assert because in (row.because or "")
