"""A boot of a scenario as a folder: all that a prediction of the boot needs, and what came of it.

uki.efi and esp/ (xbootldr/), host.json, boot.json with the options of `stubsim boot`; vars-before.fd, vars-after.fd,
code.fd, option.rom, disk.gpt (34 sectors of the start, 33 of the end), fw_cfg/ (QEMU's files at the end of the boot),
smbios.bin, eventlog.bin, expect.json; esp-after/, db.crt. Of a blind boot also predicted.json, written before it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scripts.lab_linux import compare, disk, machine, packages, store
from scripts.lab_linux.scenarios import ESP, XBOOTLDR, Scenario
from scripts.lab_linux.signing import certificate
from stubsim.errors import StubsimError
from stubsim.formats import eventlog

Json = dict[str, Any]

_GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
_OFFERED = f"variables/OsIndicationsSupported-{_GLOBAL}"
_FIRMWARE = re.compile(r"efi: EFI v(\d+)\.(\d+) by (.*)")


def record(scenario: Scenario, out: Path, *, blind: bool = False, like: Path | None = None) -> Path:
    """Boot it; the folder, out/NAME, is written when the boot is over. StubsimError: it was not possible.

    ``blind``: all is predicted before this boot; the machine is learnt from another one (scenarios.Scenario.bare), or
    from ``like``, its record.
    """
    before = None if scenario.after is None else out / scenario.after
    if before is not None and not before.is_dir():
        raise StubsimError(f"{scenario.name} comes after {scenario.after}", path=str(before), expected="its record")
    known = _machine_of(like or _learnt(scenario, out)) if blind else {}
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lab-linux-") as name:
        folder = Path(name)
        trees = machine.prepare(scenario, folder, before)
        kept = folder / scenario.name
        kept.mkdir()
        _files(scenario, folder, kept, trees)
        if blind:
            _write(scenario, kept, machine.command(scenario, folder), known)
            _write_json(kept / "predicted.json", compare.simulated(kept)._asdict())
        try:
            command, told = machine.run(scenario, folder)
        finally:
            if (folder / "serial").exists():
                shutil.copyfile(folder / "serial", out / f"{scenario.name}.serial")
        if scenario.same_machine is not None:
            told = _machine_of(out / scenario.same_machine) | told
        _left(folder, kept, trees)
        _write(scenario, kept, [part.replace(f"{folder}/", "") for part in command], told)
        _expectation(kept, told)
        shutil.rmtree(out / scenario.name, ignore_errors=True)
        shutil.move(kept, out)
    return out / scenario.name


def _learnt(scenario: Scenario, out: Path) -> Path:
    """The record of the bare machine, which is booted where there is none yet."""
    bare = scenario.bare()
    folder = out / bare.name
    return folder if folder.is_dir() else record(bare, out)


def _files(scenario: Scenario, folder: Path, kept: Path, trees: Iterable[str]) -> None:
    """What the boot starts with."""
    for tree in trees:
        shutil.copytree(folder / tree, kept / tree)
    for key, value in scenario.direct().items():
        if isinstance(value, bytes):
            (kept / key).write_bytes(value)
    shutil.copyfile(folder / "vars.fd", kept / "vars-before.fd")
    shutil.copyfile(machine.firmware(scenario)[0], kept / "code.fd")
    if scenario.machine["network"]:
        shutil.copyfile(machine.OPTION_ROM, kept / "option.rom")
    (kept / "disk.gpt").write_bytes(disk.table(folder / "disk.img"))
    for name in ("pk", "kek", "db", "mok") if scenario.secure_boot else ():
        shutil.copyfile(certificate(name), kept / f"{name}.crt")


def _left(folder: Path, kept: Path, trees: Iterable[str]) -> None:
    """What it left."""
    for number, tree in enumerate(trees):
        if any((folder / tree).iterdir()):
            disk.read(folder / "disk.img", number, kept / f"{tree}-after")
    shutil.copyfile(folder / "vars.fd", kept / "vars-after.fd")


def _machine_of(folder: Path) -> dict[str, bytes]:
    """What a guest on the same machine told of it."""
    host = json.loads((folder / "host.json").read_text())
    offered = next(row for row in host["variables"] if row["name"] == "OsIndicationsSupported")
    files = (path for path in (folder / "fw_cfg").rglob("*") if path.is_file())
    return {
        "DMI": (folder / "smbios.bin").read_bytes(),
        "smbios_entry_point": base64.b64decode(host["smbios_table"]["entry_point"]),
        "dmesg": _firmwares(**host["firmware"]).encode(),
        _OFFERED: offered["attributes"].to_bytes(4, "little") + base64.b64decode(offered["data"]),
    } | {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _minor(text: str) -> int:
    """2.70 is "2.70" to Linux 6.1, and "2.7" to later ones."""
    return int(text) * (10 if len(text) == 1 else 1)


def _firmwares(vendor: str, revision: int, uefi_revision: int) -> str:
    """What Linux says of the firmware."""
    return f"efi: EFI v{uefi_revision >> 16}.{(uefi_revision & 0xFFFF) // 10} by {vendor}"


def _write(scenario: Scenario, folder: Path, command: list[str], told: dict[str, bytes]) -> None:
    """The machine, and how it is started."""
    if "DMI" in told:
        (folder / "smbios.bin").write_bytes(told["DMI"])
    for name, data in told.items():
        if name.startswith("fw_cfg/"):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    _write_json(folder / "host.json", _host(scenario, folder, told))
    _write_json(folder / "boot.json", _boot(scenario, folder, command))


def _expectation(folder: Path, told: dict[str, bytes]) -> None:
    (folder / "eventlog.bin").write_bytes(told["eventlog.bin"])
    _write_json(folder / "expect.json", _expected(told) | changes(folder))


def _write_json(path: Path, content: Json) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")


def _boot(scenario: Scenario, folder: Path, command: list[str]) -> Json:
    content = scenario.content
    code = folder / "code.fd"
    version = subprocess.run(
        [*packages.qemu(scenario.qemu), "--version"], capture_output=True, text=True, check=True
    ).stdout
    return {
        "shows": scenario.shows,
        "uki": content.get("uki") or ("kernel" if "direct" in content else "esp/EFI/Linux/lab.efi"),
        "args": _arguments(scenario, folder),
        "systemd_boot": None if "direct" in content or "loader" in content else scenario.systemd,
        "kernel": scenario.kernel,
        "after": scenario.after,
        "qemu": command,
        "qemu_version": version.partition("\n")[0],
        "firmware": {
            "suite": scenario.firmware, "file": machine.firmware(scenario)[0].name, "size": code.stat().st_size,
            "sha256": hashlib.sha256(code.read_bytes()).hexdigest(),
        },
        "tpm_banks": scenario.machine["banks"],
    }  # fmt: skip


def _arguments(scenario: Scenario, folder: Path) -> list[str]:
    """The options of `stubsim boot`; the entry is systemd-boot's own choice."""
    content = scenario.content
    if "direct" in content:
        return ["--loader", "qemu-kernel"]
    loader = ["--loader", "none"] if content.get("loader") == "none" else ["--entry", "default"]
    loader += ["--boot-file", content["boot_file"]] if "boot_file" in content else []
    xbootldr = ["--xbootldr", XBOOTLDR] if (folder / XBOOTLDR).is_dir() else []
    trusted = [part for name in _trusted(scenario) for part in ("--db", f"{name}.crt")]
    return ["--esp", ESP, *xbootldr, *loader, *trusted]


def _trusted(scenario: Scenario) -> list[str]:
    """The lab's keys that firmware or shim takes."""
    if scenario.secure_boot != "on":
        return []
    added = [(row["add"], row.get("certificate")) for row in scenario.content.get("variable", ()) if "add" in row]
    names = [] if "store" in scenario.content else ["db"]
    names += [name for kind, name in added if kind in ("db", "mok") and name]
    return [name for name in names if ("dbx", name) not in added]


def _host(scenario: Scenario, folder: Path, told: dict[str, bytes]) -> Json:
    """The machine before the boot: of the guest's words only what firmware and QEMU made, and what was drawn."""
    words = _FIRMWARE.search(told.get("dmesg", b"").decode("latin-1"))
    major, minor, vendor = words.groups() if words else ("2", "7", "EDK II")
    host: Json = {
        "schema": "stubsim/host/1",
        "architecture": "x64",
        "memory": f"{scenario.machine['memory']}M",
        "hypervisor": True,
        "secure_boot": scenario.secure_boot == "on",
        "tpm": {"banks": scenario.machine["banks"]},
        "fw_cfg": {"dma": True, "vmfwupdate": None},
        "console": {"graphics": True, "virtio": 0, "serial": ["0x3f8"]},
        "esp_partition_uuid": None if "direct" in scenario.content else disk.GUIDS[ESP],
        "xbootldr_partition_uuid": disk.GUIDS[XBOOTLDR] if (folder / XBOOTLDR).is_dir() else None,
        # Debian's builds from 2025 on use RDRAND; the older one has none here.
        "rng": scenario.firmware != "bookworm",
        "firmware": {
            "vendor": vendor.strip(), "revision": 0x10000, "uefi_revision": int(major) << 16 | _minor(minor),
        },
        "keyboard_layout": None,
        "variables": _variables(folder, told),
    }  # fmt: skip
    if "DMI" in told:
        table, entry = (base64.b64encode(told[name]).decode() for name in ("DMI", "smbios_entry_point"))
        host["smbios_table"] = {"base64": table, "entry_point": entry}
    if "extra/boot-secret" in told:
        host["boot_secret"] = told["extra/boot-secret"].hex()
    if "direct" in scenario.content:
        direct = scenario.content["direct"]
        host["direct_boot"] = {"load_options": ("initrd=initrd " if "initrd" in direct else "") + direct["append"]}
    if "initrd" in scenario.content.get("direct", {}):
        host["previous_initrd"] = base64.b64encode((folder / "initrd").read_bytes()).decode()
    return host


def _variables(folder: Path, told: dict[str, bytes]) -> list[Json]:
    """Those of the Boot Loader Interface in the store, and what the firmware offers."""
    rows = [row for row in store.variables(folder / "vars-before.fd") if row["guid"] == store.LOADER]
    offered = told.get(_OFFERED)
    if offered is not None:
        attributes = int.from_bytes(offered[:4], "little")
        row = {"name": "OsIndicationsSupported", "guid": _GLOBAL, "attr": attributes, "data": offered[4:].hex()}
        rows.append(row)
    return [
        {
            "name": row["name"], "guid": row["guid"], "attributes": row["attr"],
            "data": base64.b64encode(bytes.fromhex(row["data"])).decode(),
        }
        for row in rows
    ]  # fmt: skip


def _expected(told: dict[str, bytes]) -> Json:
    """As golden recordings have it; what a guest that panicked could not tell is null."""
    log = eventlog.parse_log(told["eventlog.bin"])
    seen = "cmdline" in told
    return {
        "cmdline": told["cmdline"].decode().rstrip("\n") if seen else None,
        "kernel": told["kernel"].decode().strip() if seen else None,
        "initrd": _initrd(told),
        "extra": {
            name.removeprefix("extra"): [told[f"mode/{name}"].decode(), hashlib.sha256(data).hexdigest()]
            for name, data in sorted(told.items())
            if name.startswith("extra/")
        },
        "pcrs": _pcrs(told) if seen else _replayed(log),
        "policies": policies(told),
        "variables": dict(_loader_variables(told)) if seen else None,
        "events": [_event(event) for event in log.events],
    }


def changes(folder: Path) -> Json:
    """Files of the partitions that are new or have other content, and those that have another name."""
    changes: Json = {"esp_changes": {}, "renamed": {}}
    for name in (ESP, XBOOTLDR):
        before, after = (_digests(folder / tree) for tree in (name, f"{name}-after"))
        gone = {digest: path for path, digest in before.items() if path not in after}
        for path, digest in after.items():
            if path not in before and digest in gone:
                changes["renamed"][gone[digest]] = path
            elif before.get(path) != digest:
                changes["esp_changes"][path] = (folder / f"{name}-after" / path).stat().st_size
    return changes


def _digests(tree: Path) -> dict[str, str]:
    files = (path for path in sorted(tree.rglob("*")) if path.is_file())
    return {str(path.relative_to(tree)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _initrd(told: dict[str, bytes]) -> Json | None:
    digest = told.get("initrd.sha256", b"").decode().strip()
    size = told.get("initrd.size", b"").decode().strip()
    return {"size": int(size), "sha256": digest} if size else None


def _pcrs(told: dict[str, bytes]) -> Json:
    found: Json = {}
    for name, data in told.items():
        if name.startswith("pcrs/"):
            _, bank, pcr = name.split("/")
            found.setdefault(bank, {})[pcr] = data.decode().strip().lower()
    return {bank: dict(sorted(values.items(), key=lambda row: int(row[0]))) for bank, values in found.items()}


def policies(told: dict[str, bytes]) -> Json:
    """Bank -> phase -> digest of a policy over PCR 11, as the guest's TPM made it."""
    found: Json = {}
    for name, data in told.items():
        if name.startswith("policies/"):
            phase, _, bank = name.removeprefix("policies/").partition(".")
            found.setdefault(bank, {})[phase] = data.decode().strip()
    return found


def _replayed(log: eventlog.Log) -> Json:
    values: dict[str, dict[str, str]] = {}
    for bank in log.header.banks:
        registers = {pcr: bytes(hashlib.new(bank).digest_size) for pcr in range(16)}
        for event in log.events:
            if event.type != eventlog.EVENT_TYPES["EV_NO_ACTION"]:
                registers[event.pcr] = hashlib.new(bank, registers[event.pcr] + event.digests[bank]).digest()
        values[bank] = {str(pcr): value.hex() for pcr, value in registers.items()}
    return values


def _loader_variables(told: dict[str, bytes]) -> list[tuple[str, Json]]:
    found = []
    for name, data in sorted(told.items()):
        if name.startswith("variables/") and name.endswith(store.LOADER):
            short = name.removeprefix("variables/").removesuffix(f"-{store.LOADER}")
            found.append((short, {"attributes": int.from_bytes(data[:4], "little"), "data": data[4:].hex()}))
    return found


def _event(event: eventlog.Event) -> Json:
    tag, text = eventlog.describe(event)
    return {
        "pcr": event.pcr, "type": eventlog.type_name(event.type), "tag": None if tag is None else f"{tag:#010x}",
        "description": text, "digests": {bank: digest.hex() for bank, digest in event.digests.items()},
    }  # fmt: skip
