"""The variables that are left for userspace; recordings prior-vars, launch-mem, no-tpm, every other one."""

from __future__ import annotations

from uuid import UUID

import pytest

from stubsim.hosts import Host
from stubsim.hosts.host import Firmware, Variable
from stubsim.stub.measure import Measured
from stubsim.stub.variables import export_common_variables, export_pcr_variables, export_stub_variables
from stubsim.uefi.variables import LOADER
from tests.stub.harness import Run, run

PARTITION = UUID("5eed0e5b-1ab0-4000-8000-0000000000e5")
HOST = Host(esp_partition_uuid=PARTITION, keyboard_layout="en-US")


def texts(one: Run) -> dict[str, str]:
    return {
        name: event.data.decode("utf-16-le")
        for name, event in one.variables().items()
        if event.data is not None and name != "StubFeatures"
    }


def exported(host: Host = HOST, profile: int = 0, **how: object) -> Run:
    one = run(host=host, **how)  # type: ignore[arg-type]
    export_common_variables(one.context)
    export_stub_variables(one.context, profile)
    return one


def test_262():
    one = exported(profile=3)
    assert texts(one) == {
        "LoaderDevicePartUUID": "5EED0E5B-1AB0-4000-8000-0000000000E5\0",
        "LoaderImageIdentifier": "\\EFI\\Linux\\lab.efi\0",
        "LoaderFirmwareInfo": "EDK II 1.00\0",
        "LoaderFirmwareType": "UEFI 2.70\0",
        "LoaderTpm2ActivePcrBanks": "0x00000002\0",
        "LoaderKeyboardLayout": "en-US\0",
        "StubInfo": "systemd-stub 262.1-1\0",
        "StubProfile": "3\0",
        "StubDevicePartUUID": "5EED0E5B-1AB0-4000-8000-0000000000E5\0",
        "StubImageIdentifier": "\\EFI\\Linux\\lab.efi\0",
    }
    assert one.variables()["StubFeatures"].data == (0x1FFF).to_bytes(8, "little")
    assert {event.attributes for event in one.variables().values()} == {6}
    assert {event.guid for event in one.variables().values()} == {LOADER}


def test_257_has_fewer():
    one = exported(stub="257")
    assert {"LoaderTpm2ActivePcrBanks", "LoaderKeyboardLayout"}.isdisjoint(one.variables())
    assert one.variables()["StubFeatures"].data == (0x07FF).to_bytes(8, "little")


def test_features_of_a_prototype_are_not_invented():
    one = exported(stub="fuki")
    assert "StubFeatures" not in one.variables()
    assert "StubFeatures" in one.unknown()


def test_from_memory():
    """launch-mem: none of the four that tell where the image came from."""
    names = exported(from_memory=True).variables()
    assert not [name for name in names if name.endswith(("DevicePartUUID", "ImageIdentifier"))]
    assert "StubInfo" in names


def test_without_partition():
    names = exported(Host()).variables()
    assert not [name for name in names if name.endswith("DevicePartUUID")]
    assert "StubImageIdentifier" in names


def test_the_boot_counter_stays_in_the_identifier():
    """extra-bootcount."""
    assert texts(exported(path="\\lab+3-1.efi"))["StubImageIdentifier"] == "\\lab+3-1.efi\0"


@pytest.mark.parametrize(
    ("banks", "expected"),
    [
        (None, "0x00000000\0"),
        (("sha1",), "0x00000001\0"),
        (("sha256", "sha1"), "0x00000003\0"),
        (("sha384", "sha512"), "0x0000000c\0"),
    ],
)
def test_active_banks(banks: tuple[str, ...] | None, expected: str):
    """no-tpm, tpm-4banks; bits of the TCG EFI protocol specification."""
    assert texts(exported(HOST._replace(tpm=banks)))["LoaderTpm2ActivePcrBanks"] == expected


def test_firmware_revisions():
    host = HOST._replace(firmware=Firmware("Acme", 0x0003_0105, 0x0002_0064))
    names = texts(exported(host))
    assert (names["LoaderFirmwareInfo"], names["LoaderFirmwareType"]) == ("Acme 3.261\0", "UEFI 2.100\0")


def test_no_keyboard():
    assert "LoaderKeyboardLayout" not in exported(Host()).variables()


def test_the_keyboard_is_not_asked_for_what_a_boot_loader_has_told():
    """262.1's own code in emulation, at debug level."""
    text = "Initial GetKeyboardLayout did not report required buffer size, ignoring: Not found"
    layout = Variable("LoaderKeyboardLayout", LOADER, 6, b"d\0e\0\0\0")
    assert text in exported(Host(), debug=True).log()
    assert text not in exported(Host(variables=(layout,)), debug=True).log()


def earlier(name: str, attributes: int = 6) -> Host:
    return HOST._replace(variables=(Variable(name, LOADER, attributes, b"o\0l\0d\0\0\0"),))


def test_a_boot_loaders_variables_stay():
    assert "LoaderFirmwareInfo" not in exported(earlier("LoaderFirmwareInfo")).variables()


def test_the_stubs_own_are_written_unless_the_firmware_refuses():
    """prior-vars: with other attributes the old value stays."""
    assert "StubInfo" in exported(earlier("StubInfo")).variables()
    assert "StubInfo" not in exported(earlier("StubInfo", 7)).variables()


@pytest.mark.parametrize(
    ("parts", "expected"),
    [([], None), ([True], True), ([False], False), ([True, False], False), ([False, True], False)],
)
def test_measured_flag(parts: list[bool], expected: bool | None):
    measured = Measured()
    for part in parts:
        measured.combine(part)
    assert measured.all is expected


def test_pcr_variables():
    yes, no, nothing = Measured(), Measured(), Measured()
    yes.combine(True)
    no.combine(False)
    one = run()
    export_pcr_variables(one.context, yes, no, yes, nothing)
    assert texts(one) == {"StubPcrKernelImage": "11\0", "StubPcrInitRDSysExts": "13\0"}
    one = run()
    export_pcr_variables(one.context, nothing, yes, no, yes)
    assert texts(one) == {"StubPcrKernelParameters": "12\0", "StubPcrInitRDConfExts": "12\0"}


def test_no_partition_is_noted_once_for_each_variable():
    """Booted systemd-stub 262.1 in QEMU, loglevel=debug, the whole disk one file system."""
    note = "No El Torito device path node found."
    one = run(debug=True)
    export_common_variables(one.context)
    export_stub_variables(one.context, 0)
    assert one.log().count(note) == 2
    one = run(debug=True, from_memory=True)
    export_common_variables(one.context)
    export_stub_variables(one.context, 0)
    assert note not in one.log()


@pytest.mark.parametrize("stub", ["252", "253", "254"])
def test_253_prints_the_partition_in_lower_case(stub: str):
    """253's and 253.26's own code in emulation; disk.c, disk_get_part_uuid."""
    text = str(PARTITION) if stub == "253" else str(PARTITION).upper()
    assert texts(exported(stub=stub))["LoaderDevicePartUUID"] == f"{text}\0"
