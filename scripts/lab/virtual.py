"""Boot a case in a virtual machine: QEMU, OVMF or AAVMF, swtpm, and our probe as the kernel.

    python -m scripts.lab.virtual FOLDER...

What is printed has the shape of a recording's expect.json, with the machine as the probe saw it under "host". A case
that is started with load options, by a loader's gifts (EDID, devicetree, initrd, variables) or from memory goes
through the launcher, which lies where the firmware looks, so the UKI must lie elsewhere then.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from scripts.lab import efirun, guest
from stubsim import uki
from stubsim.errors import StubsimError
from stubsim.formats import eventlog, pe, smbios
from stubsim.hosts import fixture
from stubsim.machine.tpm import BANKS

Json = dict[str, Any]

# Seconds of the processor for one boot: it takes about 6, and a stub that halts takes them all. However busy the
# machine is, a boot that is not over after TIME seconds has only been too slow.
PROCESSOR_TIME = 50
TIME = 1800
# The types of lab.bin, guest/launcher.c.
UKI, OPTIONS, VARIABLE, EDID, TREE, INITRD, FROM_MEMORY = range(1, 8)

_FIRMWARE = {
    "x64": ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    "aa64": ("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),
}
_MACHINE = {
    "x64": ("qemu-system-x86_64", "-machine", "q35,accel=tcg,smm=off", "-cpu", "max"),
    "aa64": ("qemu-system-aarch64", "-machine", "virt,accel=tcg", "-cpu", "cortex-a57"),
}
# Of OVMF's driver for a USB keyboard.
LAYOUT = "en-US"
# What a boot loader leaves: keys of a host file that the launcher has to play.
GIFTS = ("edid", "devicetree", "previous_initrd", "variables")
# Where the serial ports of a PC are; OVMF drives no others (SioBusDxe), and has a console on the first one.
CONSOLE = "0x3f8"
PORTS = {CONSOLE: 0, "0x2f8": 1}
_ESP_TYPE = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
# In sectors: the partition of the recordings.
_START, _SIZE = 0x800, 0xC000
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;=?]*[A-Za-z]|[=()][A-Z0-9]?)")
# The firmware's own words on the console, and what ends a failed boot.
_FIRMWARE_TEXT = re.compile(r"BdsDxe: |UEFI Interactive Shell|Press ESC|Shell>|FSOpen|UEFI firmware|LAB ")

_SHELL, _PROMPT = "UEFI Interactive Shell", "FS0:\\"


class Probed(NamedTuple):
    """A line of the probe: its key and its values."""

    key: str
    values: tuple[bytes, ...]


def run(case: efirun.Case, image: uki.Uki) -> Json:
    """Boot it: what the stub did. StubsimError: the case needs something that this machine cannot be given."""
    machine = image.machine
    _check(case)
    with tempfile.TemporaryDirectory(prefix="lab-") as name:
        folder = Path(name)
        before = _partition(case, machine, folder)
        code, store = _FIRMWARE[machine]
        shutil.copy(store, folder / "vars.fd")
        command = [*_MACHINE[machine], *_drives(code, folder, machine), *_options(case.host, machine, folder)]
        with tpm(case.host, folder, machine) as devices:
            hung = _boot([*command, *devices])
        if hung and not tells(image):
            raise StubsimError("the kernel is not the probe: nobody tells whether it was started")
        serial = _text(folder / f"serial-{CONSOLE}")
        lines = list(probed((_text(folder / "probe") if machine == "x64" else serial) or ""))
        after = _files(folder)
    # Without that port on the console nobody sees a message.
    messages = None if serial is None else messages_of(serial, shell=case.shell is not None)
    changes = {path: data for path, data in after.items() if before.get(path) != data}
    seen = _expectation(lines, image, messages, changes, hung)
    return seen | {"host": (seen["host"] or {}) | {"esp_partition_uuid": _partition_uuid(case.host)}}


def tells(image: uki.Uki) -> bool:
    """Whether a kernel of the image has the probe's code."""
    probe = pe.open_bytes(guest.program("probe", image.machine), "the probe")
    code = next(section for section in probe.sections if section.name == ".text")
    wanted = bytes(probe.data[code.raw_offset :][: code.raw_size])
    return any(wanted in bytes(image.data(section)) for section in image.image.sections if section.name == ".linux")


def _text(path: Path) -> str | None:
    return path.read_bytes().decode("latin-1") if path.exists() else None


def _check(case: efirun.Case) -> None:
    host = case.host
    for key in ("secure_boot", "confidential", "devicetree_fixup"):
        if host.get(key):
            raise StubsimError(f"the virtual machine has no {key}", expected="efirun for this case")
    for port in host.get("console", {}).get("serial", ()):
        if port not in PORTS:
            raise StubsimError(f"the virtual machine's firmware drives no port {port}", expected="efirun for this case")
    if host.get("keyboard_layout") not in (None, LAYOUT):
        raise StubsimError(f"the virtual machine's keyboard is {LAYOUT}", expected="efirun for this case")
    if case.shell is not None and any(host.get(key) for key in GIFTS):
        raise StubsimError("the UEFI shell is started without a boot loader", expected="efirun for this case")
    if launched(case) and (case.path or "").casefold() in _usual():
        raise StubsimError("the launcher lies where the UKI is", expected="another path in this case")


def usual_path(machine: str) -> str:
    """Where firmware looks."""
    return f"\\EFI\\BOOT\\BOOT{machine.upper()}.EFI"


def _usual() -> set[str]:
    return {usual_path(machine).casefold() for machine in _MACHINE}


def launched(case: efirun.Case) -> bool:
    """Whether the launcher starts the UKI: the firmware by itself starts only the usual file, and without options."""
    host = case.host
    gifts = any(host.get(key) for key in GIFTS)
    usual = (case.path or "").casefold() in _usual()
    return case.shell is None and (gifts or case.from_memory or case.load_options is not None or not usual)


def _partition(case: efirun.Case, machine: str, folder: Path) -> dict[str, bytes]:
    """Make the disk; the files of the partition as they are before the boot, by path."""
    tree = folder / "esp"
    if case.esp is not None and case.esp.is_dir():
        shutil.copytree(case.esp, tree, copy_function=shutil.copyfile)
    tree.mkdir(exist_ok=True)
    path = "uki.efi" if case.path is None else case.path.strip("\\").replace("\\", "/")
    (tree / path).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(case.uki, tree / path)
    if launched(case):
        boot = tree / "EFI/BOOT" / f"BOOT{machine.upper()}.EFI"
        boot.parent.mkdir(parents=True, exist_ok=True)
        boot.write_bytes(guest.program("launcher", machine))
        (tree / "lab.bin").write_bytes(b"".join(settings(case, path)))
    line = "reset -s" if case.shell is None else f"{case.shell}\r\nreset -s"
    # With its mark the shell reads more than ASCII.
    (tree / "startup.nsh").write_bytes(f"\ufefffs0:\r\n{line}\r\n".encode("utf-16-le"))
    disk = folder / "disk.img"
    with disk.open("wb") as file:
        file.truncate((_START + _SIZE + 0x800) * 512)
    unique = _partition_uuid(case.host)
    table = f"label: gpt\nstart={_START}, size={_SIZE}, type={_ESP_TYPE}, uuid={unique}\n"
    tool("sfdisk", "-q", str(disk), given=table)
    tool("mkfs.fat", "-F", "16", "--offset", str(_START), str(disk), str(_SIZE // 2))
    for entry in sorted(tree.iterdir()):
        tool("mcopy", "-s", "-i", _fat(folder), str(entry), "::")
    return _contents(tree)


def _partition_uuid(host: Json) -> str:
    """A disk has a partition table, and so its partition an id."""
    return host.get("esp_partition_uuid") or "5eed0e5b-1ab0-4000-8000-0000000000e5"


def settings(case: efirun.Case, path: str) -> Iterator[bytes]:
    """lab.bin for the launcher."""
    host = case.host

    def row(kind: int, data: bytes) -> bytes:
        return struct.pack("<BI", kind, len(data)) + data

    yield row(UKI, ("\\" + path.replace("/", "\\")).encode("utf-16-le") + b"\0\0")
    if case.load_options is not None:
        yield row(OPTIONS, case.load_options)
    for variable in host.get("variables", ()):
        head = struct.pack("<I16s", variable["attributes"], UUID(variable["guid"]).bytes_le)
        name = variable["name"].encode("utf-16-le") + b"\0\0"
        yield row(VARIABLE, head + name + base64.b64decode(variable["data"]))
    for key, kind in (("edid", EDID), ("devicetree", TREE), ("previous_initrd", INITRD)):
        if host.get(key) is not None:
            yield row(kind, base64.b64decode(host[key]))
    if case.from_memory:
        yield row(FROM_MEMORY, b"")


def _fat(folder: Path) -> str:
    return f"{folder}/disk.img@@{_START * 512}"


def _files(folder: Path) -> dict[str, bytes]:
    tree = folder / "after"
    tree.mkdir()
    tool("mcopy", "-s", "-n", "-i", _fat(folder), "::*", str(tree))
    return _contents(tree)


def _contents(tree: Path) -> dict[str, bytes]:
    found = (path for path in tree.rglob("*") if path.is_file())
    return {path.relative_to(tree).as_posix().casefold(): path.read_bytes() for path in found}


def _options(host: Json, machine: str, folder: Path) -> list[str]:
    """The machine without its drives and its TPM."""
    size = fixture.memory_size(host.get("memory", "384M")) or 0
    command = ["-m", f"{size >> 20}", "-nodefaults", "-display", "none", "-no-reboot"]
    command += ["-rtc", "base=2026-01-01T12:00:00,clock=vm"]
    console = host.get("console", {})
    if machine == "x64":
        command += [
            "-chardev",
            f"file,id=probe,path={folder}/probe",
            "-device",
            "isa-debugcon,iobase=0xe9,chardev=probe",
        ]
        for number, port in enumerate(console.get("serial", ())):
            command += ["-chardev", f"file,id=serial{number},path={folder}/serial-{port}"]
            command += ["-device", f"isa-serial,index={PORTS[port]},chardev=serial{number}"]
        graphics = ["-device", "VGA"]
    else:
        command += ["-serial", f"file:{folder}/serial-{CONSOLE}"]
        graphics = ["-device", "ramfb"]
    command += graphics if console.get("graphics", True) else []
    for number in range(console.get("virtio", 0)):
        command += ["-device", f"virtio-serial-pci,id=console{number},disable-modern=on"]
    if host.get("rng"):
        command += ["-device", "virtio-rng-pci"]
    if host.get("keyboard_layout") is not None:
        command += ["-device", "qemu-xhci", "-device", "usb-kbd"]
    return command + [part for table in tables(host, folder) for part in ("-smbios", f"file={table}")]


def tables(host: Json, folder: Path) -> Iterator[Path]:
    """A file for each structure; QEMU and the firmware add those of the types that are not there."""
    if "smbios_table" in host:
        data = base64.b64decode(host["smbios_table"]["base64"])
    elif "smbios" in host:
        read = fixture.from_json({"schema": fixture.SCHEMA, "smbios": host["smbios"]})
        data = smbios.from_fields(read.fields, read.oem_strings)
    else:
        return
    for number, structure in enumerate(smbios.parse(data)):
        if structure.type != smbios.END_OF_TABLE:
            path = folder / f"smbios{number}"
            path.write_bytes(structure.raw)
            yield path


def _drives(code: str, folder: Path, machine: str) -> list[str]:
    disk = f"if=none,id=disk,format=raw,file={folder}/disk.img"
    where = ",addr=1" if machine == "x64" else ""
    return [
        "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}",
        "-drive", f"if=pflash,unit=1,format=raw,file={folder}/vars.fd",
        "-drive", disk, "-device", f"virtio-blk-pci,drive=disk{where}",
    ]  # fmt: skip


@contextmanager
def tpm(host: Json, folder: Path, machine: str) -> Iterator[list[str]]:
    """swtpm with a state of its own while QEMU runs, and QEMU's options for it."""
    tpm = host.get("tpm", {})
    if tpm is None:
        yield []
        return
    state = folder / "tpm"
    state.mkdir()
    banks = ",".join(tpm.get("banks", ["sha256"]))
    tool("swtpm_setup", "--tpm2", "--tpmstate", str(state), "--pcr-banks", banks, "--overwrite")
    command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}", "--ctrl", f"type=unixio,path={state}/control"]
    with subprocess.Popen([*command, "--terminate"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as emulator:
        for _ in range(200):
            if (state / "control").exists():
                break
            subprocess.run(["sleep", "0.05"], check=True)
        device = "tpm-crb" if machine == "x64" else "tpm-tis-device"
        try:
            yield [
                "-chardev", f"socket,id=tpm,path={state}/control", "-tpmdev", "emulator,id=tpm0,chardev=tpm",
                "-device", f"{device},tpmdev=tpm0",
            ]  # fmt: skip
        finally:
            emulator.terminate()


def _boot(command: list[str]) -> bool:
    """Run QEMU until the machine switches itself off; whether it used up its time instead. TooSlowError: neither."""
    # At the second limit the kernel kills, at the first it sends SIGXCPU.
    limited = ["prlimit", f"--cpu={PROCESSOR_TIME}:{PROCESSOR_TIME + 5}", *command]
    try:
        done = subprocess.run(limited, capture_output=True, text=True, check=False, timeout=TIME)
    except subprocess.TimeoutExpired as error:
        raise efirun.TooSlowError(f"no end of the boot in {TIME} seconds") from error
    except FileNotFoundError as error:
        raise StubsimError(f"{command[0]} is not there", hint="make lab-setup") from error
    if done.returncode == -signal.SIGXCPU:
        return True
    if done.returncode:
        raise StubsimError(f"{command[0]}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    return False


def probed(text: str) -> Iterator[Probed]:
    """The probe's lines in what a port gave."""
    for line in text.replace("\r", "").split("\n"):
        words = line.partition("LAB ")[2].split(" ")
        if words != [""]:
            yield Probed(words[0], tuple(bytes.fromhex(word) for word in words[1:]))


def messages_of(serial: str, *, shell: bool = False) -> list[str]:
    """What the stub wrote: neither the firmware's lines nor the probe's, nor what the shell says around it."""
    lines = [line.strip() for line in _ESCAPES.sub("", serial).replace("\r", "\n").split("\n")]
    if shell:
        # The line of startup.nsh that starts it is echoed behind the prompt, and so is the one after it.
        typed = [number for number, line in enumerate(lines) if line.startswith(_PROMPT)]
        lines = lines[typed[0] + 1 :][: typed[1] - typed[0] - 1 if len(typed) > 1 else None] if typed else []
    elif any(line.startswith(_SHELL) for line in lines):
        # The firmware goes there behind an image that failed.
        lines = lines[: next(number for number, line in enumerate(lines) if line.startswith(_SHELL))]
    return [line for line in lines if line and not _FIRMWARE_TEXT.match(line)]


def _expectation(
    lines: list[Probed], image: uki.Uki, messages: list[str] | None, changes: dict[str, bytes], hung: bool
) -> Json:
    values = {row.key: row.values[0] for row in lines}
    started, ended = "kernel" in values, "end" in values
    log = eventlog.parse(values["eventlog"]) if "eventlog" in values else ()
    banks = [bank for bit, bank in enumerate(BANKS) if int.from_bytes(values.get("banks", b""), "little") >> bit & 1]
    measurements = [
        efirun.measured(event.pcr, event.type, event.data, _hexed(event.digests)) for event in log if _stubs(event)
    ]
    options = values.get("load-options")
    return {
        "schema": "stubsim/recording/1",
        "recorded_by": "QEMU",
        "outcome": "kernel-started"
        if ended
        else "crashed"
        if started
        else "hung"
        if hung and not _halted(messages)
        else "failed",
        "efi_status": None,
        "messages": messages,
        "selection": _selection(image, measurements) if started and log else None,
        "cmdline": None if options is None else efirun.text(options),
        "load_options": None if options is None else options.hex(),
        "initrd": efirun.sized(values.get("initrd")),
        "initrd_hex": values["initrd"].hex() if "initrd" in values else None,
        "devicetree": _devicetree(values),
        "variables": dict(_variables(lines)) if started else None,
        "measurements": measurements if started else None,
        "pcrs": _pcrs(lines, banks) if started else {},
        "eventlog": values["eventlog"].hex() if "eventlog" in values else None,
        "esp_changes": {path: {"size": len(data)} for path, data in changes.items()},
        "host": _host(values) if started else None,
    }


def _halted(messages: list[str] | None) -> bool:
    """Whether the stub has said that it halts; without a console it says so to nobody."""
    return any(message.endswith("halting.") for message in messages or ())


def _stubs(event: eventlog.Event) -> bool:
    """The events of a stub: PCR 11 to 13, and the tagged ones of PCR 1."""
    return event.pcr in (11, 12, 13) or (event.pcr == 1 and event.type == eventlog.EVENT_TYPES["EV_EVENT_TAG"])


def _hexed(digests: dict[str, bytes]) -> dict[str, str]:
    return {bank: digest.hex() for bank, digest in digests.items()}


def _selection(image: uki.Uki, measurements: list[Json]) -> Json:
    """By what was measured: the second of the two events under a section's name is its data."""
    chosen: Json = {"efifw": None, "dtbauto": None}
    for before, row in pairwise(measurements):
        name = row["description"]
        if name in (".efifw", ".dtbauto") and before["description"] == name:
            for section in image.image.sections:
                bank, digest = next(iter(row["digests"].items()))
                if section.name == name and hashlib.new(bank, bytes(image.data(section))).hexdigest() == digest:
                    chosen[name[1:]] = [section.index]
                    break
    return chosen


def _devicetree(values: dict[str, bytes]) -> Json | None:
    if "devicetree-window" in values:
        return {"window": values["devicetree-window"].hex()}
    return efirun.sized(values.get("devicetree"))


def _variables(lines: list[Probed]) -> Iterator[tuple[str, Json]]:
    for row in lines:
        if row.key == "variable":
            attributes, name, data = row.values
            yield name.decode("utf-16-le"), {"attributes": int.from_bytes(attributes, "little"), "hex": data.hex()}


def _pcrs(lines: list[Probed], banks: list[str]) -> dict[str, Json]:
    """As TPM2_PCR_Read gave them: 10 bytes of header, 4 of counter, the selection (10), the count (4), the size (2)."""
    found: dict[str, Json] = {bank: {} for bank in banks}
    for row in lines:
        if row.key == "pcr":
            key, answer = row.values
            bank = BANKS[key[0]]
            found[bank][str(key[1])] = answer[30 : 30 + hashlib.new(bank).digest_size].hex()
    return {bank: {pcr: row[pcr] for pcr in ("11", "12", "13")} for bank, row in found.items() if row}


def _host(values: dict[str, bytes]) -> Json:
    """What the probe saw of the machine, in the words of a host file."""
    host: Json = {
        "firmware": {
            "vendor": values["vendor"].decode("utf-16-le"),
            "revision": int.from_bytes(values["revision"], "little"),
            "uefi_revision": int.from_bytes(values["kernel"], "little"),
        }
    }
    if "smbios" in values:
        table, entry = (base64.b64encode(values[key]).decode() for key in ("smbios", "smbios-entry"))
        host["smbios_table"] = {"base64": table, "entry_point": entry}
    return host


def tool(*command: str, given: str | None = None) -> None:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    try:
        done = subprocess.run(
            command,
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env=os.environ | {"PATH": path},
        )
    except FileNotFoundError as error:
        raise StubsimError(f"{command[0]} is not there", hint="make lab-setup") from error
    if done.returncode:
        raise StubsimError(f"{command[0]}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")


def main() -> int:
    for name in sys.argv[1:]:
        try:
            case = efirun.load(Path(name))
            print(json.dumps(run(case, uki.load(str(case.uki))), indent=1))
        except StubsimError as error:
            print(f"virtual: {error}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
