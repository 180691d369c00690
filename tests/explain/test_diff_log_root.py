"""The sentence that a comparison begins with: what was told wrong, not the first event that shows it.

Machines and logs are made up; the recorded ones of a real Linux: tests/conformance/test_linux.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from stubsim.explain.diff_log import Comparison, compare
from stubsim.explain.log_facts import applied
from stubsim.formats import pe, smbios
from stubsim.formats.efi_string import utf16z
from stubsim.formats.eventlog import Log
from stubsim.formats.pe import SectionSpec
from stubsim.hosts import Host
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.uki import load
from tests import samples
from tests.explain.logs import PARTITION, log_of, secure_boot

TABLE = smbios.parse(smbios.from_fields(smbios.Fields(manufacturer=b"Lab", product_name=b"One")))
HOST = Host(structures=TABLE, fields=smbios.Fields(manufacturer=b"Lab", product_name=b"One"))
OTHER = smbios.Fields(manufacturer=b"Lab", product_name=b"Two")
UKI = "EFI/Linux/uki.efi"
LOADER = "EFI/BOOT/BOOTX64.EFI"
CONF = "loader/loader.conf"
ADDON = "EFI/Linux/uki.efi.extra.d/more.addon.efi"
CREDENTIAL = "loader/credentials/one.cred"

PROFILES = tuple(
    SectionSpec(name, data)
    for name, data in ((".profile", b"ID=main"), (".profile", b"ID=other"), (".cmdline", b"other"))
)
IMAGE = samples.uki(*PROFILES, linux=samples.linux("6.12.1"), certificates=bytes(8))


def addon(text: bytes = b"more") -> bytes:
    return pe.build([SectionSpec(".cmdline", text)], certificates=bytes(8))


def boot_loader(version: str) -> bytes:
    magic = f"#### LoaderInfo: systemd-boot {version} ####\0".encode()
    return pe.build([SectionSpec(".sdmagic", magic)], certificates=bytes(8))


class Machine:
    """A partition and what was logged on it, and what is told of it afterwards."""

    def __init__(self, folder: Path, files: dict[str, bytes], host: Host, **start: Any) -> None:
        self.esp = folder
        for name, content in {UKI: IMAGE, **files}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self.host = host
        self.start = Start(esp=str(folder), **start)

    def log(self) -> Log:
        result = boot(load(str(self.esp / UKI)), self.host, self.start)
        assert result.outcome.status == "kernel-started", result.outcome
        log = log_of(result)
        return log._replace(events=(secure_boot(self.host.secure_boot), *log.events))


def told(log: Log, uki: Path, host: Host, start: Start) -> Comparison:
    image = load(str(uki))
    host, disagreements = applied(host, log, image)
    return compare(boot(image, host, start), log, start, disagreements)


Change = Callable[[Machine, Path], tuple[Path, Host, Start]]

WITH_LOADER = {LOADER: boot_loader("262.1"), CONF: b"timeout 0\n"}


def start(**changes: Any) -> Change:
    return lambda machine, _: (machine.esp / UKI, machine.host, machine.start._replace(**changes))


def host(**changes: Any) -> Change:
    return lambda machine, _: (machine.esp / UKI, machine.host._replace(**changes), machine.start)


def without_esp(machine: Machine, folder: Path) -> tuple[Path, Host, Start]:
    path = folder / "uki.efi"
    path.write_bytes(IMAGE)
    return path, machine.host, Start(path="\\EFI\\Linux\\uki.efi")


def image(content: bytes) -> Change:
    """Another file in the place of the UKI."""

    def changed(machine: Machine, folder: Path) -> tuple[Path, Host, Start]:
        return file(UKI, content)(machine, folder)

    return changed


def file(name: str, content: bytes | None) -> Change:
    """The partition with another file, or without it."""

    def changed(machine: Machine, folder: Path) -> tuple[Path, Host, Start]:
        path = machine.esp / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        return machine.esp / UKI, machine.host, machine.start

    return changed


SECURE = HOST._replace(secure_boot=True)
CASES: dict[str, tuple[dict[str, bytes], Host, dict[str, Any], Change, str]] = {
    "no --esp, an addon": ({ADDON: addon()}, HOST, {}, without_esp, "no --esp was given, and the machine's part"),
    "no --esp, a credential": (
        {CREDENTIAL: b"x" * 16}, HOST, {}, without_esp, "no --esp was given, and the machine's partition had more:",
    ),
    "no --esp, a boot loader": (
        WITH_LOADER, HOST, {}, without_esp, "no --esp was given: \\EFI\\BOOT\\BOOTX64.EFI has started the UKI",
    ),
    "Secure Boot is on": (
        {}, SECURE, {"load_options": utf16z("debug")}, host(secure_boot=False),
        "Secure Boot is on in the log (PCR 7), and off in the host file",
    ),
    "Secure Boot is off": (
        {}, HOST, {"load_options": utf16z("debug")}, host(secure_boot=True),
        "Secure Boot is off in the log (PCR 7), and on in the host file",
    ),
    "another UKI": (
        {}, HOST, {}, image(samples.uki(*PROFILES, linux=samples.linux("6.13.1"), certificates=bytes(8))),
        "this log is of another UKI (\\EFI\\Linux\\uki.efi, PCR 4): it differs in .linux",
    ),
    "another stub in the UKI": (
        {}, HOST, {"load_options": utf16z("debug")}, image(IMAGE.replace(b"systemd-stub 262.1", b"systemd-stub 256.7")),
        "this log is of a UKI with another stub (\\EFI\\Linux\\uki.efi, PCR 4): its events are those of stub 26",
    ),
    "another stub by --stub": (
        {}, HOST, {}, start(stub="257"),
        "the prediction is for stub 257.13 (--stub), and the UKI that was started has 262.1",
    ),
    "no boot loader": (
        WITH_LOADER, HOST, {}, start(loader="none"),
        "\\EFI\\BOOT\\BOOTX64.EFI has started the UKI, and the prediction is",
    ),
    "another boot loader": (
        WITH_LOADER, HOST, {}, file(LOADER, boot_loader("262")),
        "\\EFI\\BOOT\\BOOTX64.EFI has started the UKI, and it is not the same file as systemd-boot (",
    ),
    "a boot loader that was not there": (
        {}, HOST, {}, file(LOADER, boot_loader("262.1")),
        "the firmware has started the UKI itself, and not systemd-boot (\\EFI\\BOOT\\BOOTX64.EFI) of --esp",
    ),
    "another profile": (
        {}, HOST, {"profile": 1}, start(profile=None),
        "the machine booted profile '1', the prediction is for profile 0",
    ),
    "another profile by the boot loader": (
        WITH_LOADER, HOST, {"profile": 1}, start(profile=None),
        "the machine booted profile '1', the prediction is for profile 0",
    ),
    "an addon that is not there": (
        {ADDON: addon()}, HOST, {}, file(ADDON, None), "--esp is not what the machine's partition held: ",
    ),
    "an addon with other contents": (
        {ADDON: addon()}, HOST, {}, file(ADDON, addon(b"less")), "--esp is not what the machine's partition held: ",
    ),
    "loader.conf": (
        WITH_LOADER, HOST, {}, file(CONF, b"timeout 1\n"), "loader.conf on the machine differs from that in --esp",
    ),
    "another machine": (
        {}, HOST, {}, host(structures=smbios.parse(smbios.from_fields(OTHER)), fields=OTHER),
        "the host file is not of this machine: SMBIOS type1: the system information",
    ),
    "another partition": (
        {}, HOST, {}, host(esp_partition_uuid=UUID(int=1)),
        f"the UKI was started from the partition {PARTITION}, and the host file has {UUID(int=1)}",
    ),
    "other load options": (
        {}, HOST, {"load_options": utf16z("debug")}, start(load_options=utf16z("quiet")),
        "the load options differ: the log has 'debug', the prediction is 'quiet'",
    ),
    "an initrd before it": (
        {}, HOST, {}, host(previous_initrd=b"earlier"), "what differs is the initrd that the kernel has got",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_root_cause(tmp_path: Path, name: str):
    files, own, how, change, words = CASES[name]
    machine = Machine(tmp_path / "esp", files, own, **how)
    log = machine.log()
    right = told(log, machine.esp / UKI, machine.host, machine.start)
    assert (right.differences, right.root, right.equal) == ((), None, True)

    wrong = told(log, *change(machine, tmp_path))
    assert not wrong.equal
    assert (wrong.root or "").startswith(words)


def test_what_the_host_file_does_not_tell_is_taken_from_the_log(tmp_path: Path):
    machine = Machine(tmp_path / "esp", {}, SECURE, load_options=utf16z("debug"))
    unknown = HOST._replace(unknown=frozenset({"secure_boot", "esp_partition_uuid"}))
    found = told(machine.log(), machine.esp / UKI, unknown, machine.start)
    assert (found.root, found.disagreements) == (None, ())


def test_what_is_not_known_of_the_machine_is_named(tmp_path: Path):
    machine = Machine(tmp_path / "esp", {}, HOST._replace(previous_initrd=b"earlier"))
    unknown = HOST._replace(unknown=frozenset({"previous_initrd"}))
    found = told(machine.log(), machine.esp / UKI, unknown, machine.start)
    assert (found.root or "").startswith("not known of this machine: previous_initrd; ")


def test_what_another_program_started_is_not_compared(tmp_path: Path):
    """A program of its own in front, which is no systemd-boot: PCR 4 has its image as well, and that is said."""
    machine = Machine(tmp_path / "esp", {LOADER: pe.build([SectionSpec(".text", b"other")])}, HOST)
    log = machine.log()
    other = Machine(tmp_path / "other", WITH_LOADER, HOST).log()
    front = next(event for event in other.events if event.pcr == 4)
    found = told(log._replace(events=(front, *log.events)), machine.esp / UKI, machine.host, machine.start)
    assert found.equal
    assert [text for text in found.hints if "is not a systemd-boot of --esp, and is not compared" in text]


def test_shim_in_front(tmp_path: Path):
    """Each stage's image is compared: shim, the boot loader that it starts, the UKI."""
    from tests.shim import test_run as shim

    folder = shim.partition(tmp_path / "esp", shim.signed(*shim.SYSTEMD_BOOT, by=shim.MOK))
    result = shim.run(folder, shim.DB, shim.MOK_LIST)
    log = log_of(result)
    found = compare(result, log, result.start)
    assert (found.root, found.differences, found.hints) == (None, (), ())
    assert found.matched_by["firmware"] == found.matched_by["shim"] == 1

    other = shim.partition(tmp_path / "other", shim.signed(*shim.SYSTEMD_BOOT, (".more", b"x"), by=shim.MOK))
    wrong = shim.run(other, shim.DB, shim.MOK_LIST)
    found = compare(wrong, log, wrong.start)
    words = "\\EFI\\BOOT\\grubx64.efi has started the UKI, and it is not the same file as systemd-boot ("
    assert (found.root or "").startswith(words)
