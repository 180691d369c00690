"""-kernel, -append and -initrd, and what of a line is named because it is not understood."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim import uki
from stubsim.errors import StubsimError
from stubsim.formats.efi_string import utf16z
from stubsim.hosts import DirectBoot, FwCfg, Host
from stubsim.hosts.host import Reading
from stubsim.hosts.recognise import read_bytes
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.trace import Measured
from tests.hosts.outcomes import is_host_or_error
from tests.samples import FULL_UKI

QEMU = "qemu-system-x86_64 -M q35 -bios OVMF.fd"


def read(text: str, folder: str = "") -> Reading:
    return read_bytes(text.encode(), folder)


def notes(text: str) -> list[str]:
    return [note for note in read(text).notes if "-kernel" not in note]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("-kernel uki.efi", DirectBoot(None)),
        ("-kernel uki.efi -append ''", DirectBoot(None)),
        ("-kernel uki.efi -append 'debug  x=1,y'", DirectBoot("debug  x=1,y")),
        ("-append a -kernel uki.efi -append '-b c'", DirectBoot("-b c")),
        # Byte by byte: OVMF knows no UTF-8 here.
        ("-kernel uki.efi -append ä", DirectBoot("Ã¤")),
    ],
)
def test_the_load_options(arguments: str, expected: DirectBoot):
    host = read(f"{QEMU} {arguments}").host
    assert host.direct_boot == expected
    assert not any(key.startswith(("direct_boot", "previous_initrd")) for key in host.unknown)


def test_an_initrd(tmp_path: Path):
    (tmp_path / "initrd").write_bytes(b"cpio")
    host = read(f"{QEMU} -kernel u -initrd initrd -append x", str(tmp_path)).host
    assert (host.direct_boot, host.previous_initrd) == (DirectBoot("initrd=initrd x"), b"cpio")
    # Where the text stands goes with OVMF's release.
    assert "direct_boot.load_options" in host.unknown
    host = read(f"{QEMU} -kernel u -initrd missing", str(tmp_path)).host
    assert (host.direct_boot, host.previous_initrd) == (DirectBoot("initrd=initrd "), None)
    assert "previous_initrd" in host.unknown


@pytest.mark.parametrize("option", ["-append x", "-initrd x"])
def test_what_qemu_refuses(option: str):
    with pytest.raises(StubsimError, match="without -kernel"):
        read(f"{QEMU} {option}")
    # In a part of a line the option may only be missing.
    reading = read(f"-smbios type=1 {option}")
    assert "direct_boot" in reading.host.unknown
    assert any("has no -kernel" in note for note in reading.notes)


def test_a_shell_has_something_left_to_expand():
    assert "direct_boot.load_options" in read(f'{QEMU} -kernel u -append "root=$ROOT"').host.unknown


@pytest.mark.parametrize(
    ("arguments", "word", "unknown"),
    [
        ("-kernel u -shim shim.efi", "shim", "direct_boot.load_options"),
        ("-dtb x.dtb", "-dtb 'x.dtb'", "devicetree"),
        ("-readconfig machine.cfg", "machine.cfg", "memory"),
        ("-global virtio-serial-pci.disable-legacy=on", "-global", "console"),
        ("-global driver=isa-serial,property=iobase,value=0x100", "-global", "console"),
        ("-fw_cfg name=opt/org.tianocore/X,string=1", "for the firmware", None),
        ("-M q35,memory-encryption=s -object sev-guest,id=s", "sev-guest", "confidential"),
        ("-machine igvm-cfg=i -object igvm-cfg,id=i,file=f", "IGVM", "firmware"),
        ("-M q35,acpi=off", "ACPI", "console"),
        ("-usbdevice keyboard", "keyboard", "keyboard_layout"),
        ("-kernel u -initrd no", "-initrd", "previous_initrd"),
    ],
)
def test_what_is_not_understood_is_named(arguments: str, word: str, unknown: str | None):
    reading = read(f"{QEMU} {arguments}")
    assert any(word in note for note in reading.notes), reading.notes
    assert unknown is None or unknown in reading.host.unknown


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "-fw_cfg name=opt/mine,string=1",
        "-global ICH9-LPC.disable_s3=1",
        "-global fw_cfg.dma_enabled=off",
        "-M smm=on",
    ],
)
def test_what_is_nothing_to_a_stub_is_not_named(arguments: str):
    assert notes(f"{QEMU} {arguments}") == []


def test_a_line_without_firmware():
    assert any("no firmware" in note for note in notes("qemu-system-x86_64 -M q35"))
    for firmware in ("-bios x", "-pflash x", "-drive if=pflash,file=x", "-M pflash0=x"):
        assert not any("no firmware" in note for note in notes(f"qemu-system-x86_64 -M q35 {firmware}"))
    assert not any("no firmware" in note for note in notes("-smbios type=1,sku=x"))


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        ("q35", FwCfg()),
        ("pc-q35-9.2", FwCfg()),
        ("pc-q35-2.9", FwCfg()),
        ("pc-q35-2.12", FwCfg()),
        ("pc-q35-2.8", FwCfg(slots=16)),
        ("pc-i440fx-2.5", FwCfg(slots=16, legacy_order=True)),
        ("pc-i440fx-2.4", FwCfg(slots=16, legacy_order=True, dma=False)),
        ("pc-i440fx-1.7", FwCfg(slots=16, legacy_order=True, dma=False)),
        ("pc-q35-rhel9.4.0", FwCfg()),
    ],
)
def test_the_fw_cfg_device_of_a_machine_type(machine: str, expected: FwCfg):
    assert read(f"qemu-system-x86_64 -M {machine} -bios x").host.fw_cfg == expected


def test_dma_switched_off():
    assert read(f"{QEMU} -global fw_cfg.dma_enabled=off").host.fw_cfg == FwCfg(dma=False)


@given(st.text(), st.text())
def test_any_text_is_a_host_or_one_error(one: str, other: str):
    for text in (f"{QEMU} -kernel {one} -append {other}", f"{QEMU} -global {one} -fw_cfg {other} -initrd"):
        assert is_host_or_error(text.encode("utf-8", "surrogatepass"))


# --- in a boot -------------------------------------------------------------------------------------------------------


@pytest.fixture
def image(tmp_path: Path) -> uki.Uki:
    path = tmp_path / "uki.efi"
    path.write_bytes(FULL_UKI)
    return uki.load(str(path))


DIRECT = Host(direct_boot=DirectBoot("debug x=1"))


def test_the_uki_is_started_with_them(image: uki.Uki):
    result = boot(image, DIRECT)
    assert result.prepared is not None
    assert result.prepared.cmdline == "debug x=1"
    names = {row.name: row.data for row in result.variables}
    assert names["StubImageIdentifier"] == utf16z("kernel")
    assert "StubDevicePartUUID" not in names
    assert [row.description for row in result.trace if isinstance(row, Measured) and row.pcr == 12] == ["debug x=1"]
    assert [text for text in result.assumed if "-kernel" in text]
    assert not [text for text in result.assumed if "no --esp" in text or "no esp_partition_uuid" in text]


def test_what_is_said_of_the_start_counts_more(image: uki.Uki, tmp_path: Path):
    plain = boot(image, Host()).prepared
    for start in (Start(path="\\x.efi"), Start(esp=str(tmp_path)), Start(from_memory=True)):
        result = boot(image, DIRECT, start)
        assert (result.prepared and result.prepared.cmdline) == (plain and plain.cmdline)
        assert any("are not used" in text for text in result.assumed)
    typed = boot(image, DIRECT, Start(load_options=utf16z("typed"))).prepared
    assert typed
    assert typed.cmdline == "typed"
    assert boot(image, DIRECT, Start(profile=0)).load_options == boot(image, DIRECT).load_options
