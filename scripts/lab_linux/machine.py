"""The virtual machine: QEMU's q35 (TCG), OVMF, swtpm, a disk. A guest of ours tells what it saw on the serial port."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import socket
import subprocess
import tarfile
import time
from contextlib import suppress
from pathlib import Path

from scripts.lab import virtual
from scripts.lab_linux import disk, packages, store
from scripts.lab_linux.scenarios import ESP, XBOOTLDR, Scenario
from stubsim.errors import StubsimError
from stubsim.formats import eventlog

# Seconds for one boot; one takes about 30 where nothing else runs.
TIME = 900
# iPXE's for the virtio network card (Debian's ipxe-qemu).
OPTION_ROM = Path("/usr/lib/ipxe/qemu/efi-virtio.rom")
_SEEN = re.compile(rb"BEGIN SEEN\s+([A-Za-z0-9+/=\s]+?)END SEEN")
_PANIC = b"end Kernel panic"
_EVENT_LOG = b"Spec ID Event03\0"
# OVMF's log area has this size, and nothing behind the last event.
_LOG_AREA = 0x10000


def firmware(scenario: Scenario) -> tuple[Path, Path]:
    """Code, and the store as the package has it."""
    usual = "OVMF_CODE_4M.fd" if scenario.secure_boot is None else "OVMF_CODE_4M.secboot.fd"
    build = scenario.machine.get("code", usual)
    return packages.firmware(scenario.firmware, build), packages.firmware(scenario.firmware, scenario.store)


def command(scenario: Scenario, folder: Path) -> list[str]:
    """QEMU's, but for the TPM; the files are in the folder."""
    machine = scenario.machine
    secure = scenario.secure_boot is not None
    code, _ = firmware(scenario)
    return [
        *packages.qemu(scenario.qemu),
        # One thread: with more, QEMU 7.2 lets Linux run into code that another processor is patching.
        "-machine", f"{machine['board']},smm={'on' if secure else 'off'}", "-accel", "tcg,thread=single", "-cpu", "max",
        "-m", str(machine["memory"]), "-smp", str(machine["cpus"]),
        "-nodefaults", "-display", "none", "-no-reboot", "-net", "none",
        "-rtc", "base=2026-01-01T00:00:00,clock=vm",
        "-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}",
        "-drive", f"if=pflash,format=raw,unit=1,file={folder}/vars.fd",
        *(["-global", "driver=cfi.pflash01,property=secure,value=on"] if secure else []),
        "-drive", f"if=none,id=d0,format=raw,file={folder}/disk.img",
        *_disk(scenario),
        "-device", "VGA",
        "-chardev", f"file,id=ser,path={folder}/serial", "-device", "isa-serial,chardev=ser",
        "-qmp", f"unix:{folder}/qmp,server=on,wait=off",
        *(part for table in virtual.tables(scenario.content.get("host", {}), folder)
          for part in ("-smbios", f"file={table}")),
        *(part for key, value in _direct(scenario, folder).items() for part in (f"-{key}", value)),
        *(["-device", f"virtio-net-pci,romfile={OPTION_ROM}"] if machine["network"] else []),
        *machine["qemu"],
    ]  # fmt: skip


def _disk(scenario: Scenario) -> list[str]:
    """The device with the partition (words: -device's and what stands before it)."""
    options = str(scenario.machine["disk"]).split()
    if scenario.content.get("direct"):
        options = [option.replace(",bootindex=0", "") for option in options]
    return [part for option in options for part in ("-device", option)]


def _direct(scenario: Scenario, folder: Path) -> dict[str, str]:
    """What is text is an argument, all else a file."""
    options = {}
    for key, value in scenario.direct().items():
        options[key] = value if isinstance(value, str) else str(folder / key)
        if isinstance(value, bytes):
            (folder / key).write_bytes(value)
    return options


def run(scenario: Scenario, folder: Path) -> tuple[list[str], dict[str, bytes]]:
    """Boot what is in the folder (vars.fd, disk.img): QEMU's command line, and the files that the guest tells."""
    options = command(scenario, folder)
    with virtual.tpm({"tpm": {"banks": scenario.machine["banks"]}}, folder, "x64") as devices:
        seen = _boot([*options, *devices], folder, scenario)
    return [*options, *devices], seen


def _boot(options: list[str], folder: Path, scenario: Scenario) -> dict[str, bytes]:
    serial, deadline = folder / "serial", time.monotonic() + TIME
    with subprocess.Popen(options, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as machine:
        try:
            while machine.poll() is None:
                if time.monotonic() > deadline:
                    raise StubsimError(f"{scenario.name}: not ended after {TIME} s", path=_last_line(serial))
                if _PANIC in _bytes(serial):
                    if scenario.ends != "panic":
                        raise StubsimError(f"{scenario.name}: the kernel panicked", hint=_told_beside(scenario))
                    return {"eventlog.bin": log_in(_memory(folder, scenario.machine["memory"] << 20))}
                time.sleep(0.5)
            if machine.returncode:
                output = (machine.stdout.read() if machine.stdout else b"").decode("latin-1")
                raise StubsimError(f"{scenario.name}: QEMU: {output.strip()}")
        finally:
            machine.kill()
    files = told(_bytes(serial))
    if not files:
        raise StubsimError(f"{scenario.name}: the guest told nothing", hint=_told_beside(scenario))
    return files


def _told_beside(scenario: Scenario) -> str:
    return f"{scenario.name}.serial beside the folder has what the serial port gave"


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _last_line(serial: Path) -> str:
    lines = _bytes(serial).decode("latin-1").splitlines()
    return next((line for line in reversed(lines) if line.strip()), "nothing was written")


def told(serial: bytes) -> dict[str, bytes]:
    """The files of the guest's archive among what a serial port gave, and "mode/NAME" of those in extra; or nothing."""
    found = _SEEN.search(serial)
    if found is None:
        return {}
    archive = base64.b64decode(re.sub(rb"\s", b"", found[1]))
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        files = {}
        for member in tar:
            name = member.name.removeprefix("./")
            content = tar.extractfile(member)
            if content is not None:
                files[name] = content.read()
            if name.startswith("extra"):
                files[f"mode/{name}"] = f"{member.mode:o} {member.uid} {member.gid} {member.size}".encode()
    return files


def _memory(folder: Path, size: int) -> bytes:
    image = folder / "memory"
    _qmp(folder / "qmp", "pmemsave", {"val": 0, "size": size, "filename": str(image)})
    return image.read_bytes()


def log_in(memory: bytes) -> bytes:
    """The firmware's event log in a machine's memory, the longest if there are copies; empty without one."""
    found = []
    at = memory.find(_EVENT_LOG)
    while at >= 0:
        # PCR, type, SHA-1 and size stand in front of the signature.
        with suppress(StubsimError):
            found.append(eventlog.parse_log(memory[max(at - 32, 0) : at - 32 + _LOG_AREA]))
        at = memory.find(_EVENT_LOG, at + 1)
    return eventlog.build_log(max(found, key=lambda log: len(log.events))) if found else b""


def _qmp(path: Path, name: str, arguments: dict[str, object]) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        with connection.makefile("rw") as stream:
            stream.readline()
            for request in ({"execute": "qmp_capabilities"}, {"execute": name, "arguments": arguments}):
                stream.write(json.dumps(request))
                stream.flush()
                answer = json.loads(stream.readline())
                if "error" in answer:
                    raise StubsimError(f"QEMU: {answer['error']['desc']}")


def prepare(scenario: Scenario, folder: Path, before: Path | None) -> dict[str, Path]:
    """Write store and disk; ``before`` is the record of the boot whose store and partitions come first. The trees."""
    _, template = firmware(scenario)
    shutil.copyfile(template if before is None else before / "vars-after.fd", folder / "vars.fd")
    (folder / "vars.fd").chmod(0o600)
    made = scenario.partitions()
    store.prepare(folder / "vars.fd", scenario, made[ESP])
    if before is not None:
        for name in (ESP, XBOOTLDR):
            if (before / f"{name}-after").is_dir():
                shutil.copytree(before / f"{name}-after", folder / name)
    trees = {}
    for name in (ESP, XBOOTLDR):
        if name in made or (folder / name).is_dir():
            trees[name] = folder / name
            trees[name].mkdir(exist_ok=True)
            disk.write(trees[name], made.get(name, {}))
    disk.make(folder / "disk.img", trees)
    return trees
