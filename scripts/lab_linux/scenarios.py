"""The scenarios, scripts/lab_linux/scenarios/*.toml: a boot of a real Linux as data, one file each. docs/lab.md tells
how one is written.

A scenario is the usual partition (systemd-boot, loader.conf, one UKI) on the usual machine, and what its file changes.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from scripts.lab import images, standard
from scripts.lab_linux import packages, ukify
from scripts.lab_linux.signing import signed
from stubsim.errors import StubsimError
from stubsim.formats import cpio, pe
from stubsim.formats.pe import SectionSpec

Json = dict[str, Any]
# By path, "/" between.
Files = dict[str, bytes]

FOLDER = Path(__file__).resolve().parent / "scenarios"
INIT = Path(__file__).resolve().parent / "init.sh"
ESP, XBOOTLDR = "esp", "xbootldr"
# The phases of a boot, as systemd-pcrphase measures them.
WORDS = ("enter-initrd", "leave-initrd", "sysinit", "ready")
_ALGORITHMS = {"sha1": "0004", "sha256": "000b", "sha384": "000c", "sha512": "000d"}

_KEYS = {
    "shows", "systemd", "kernel", "firmware", "qemu", "secure_boot", "store", "variable", "machine", "host", "direct",
    "after", "without", "section", "file", "loader", "uki", "ends",
    "same_machine", "boot_file", "ukify",
}  # fmt: skip
# What makes the machine, whatever it boots; and of it what changes neither fw_cfg nor SMBIOS, or, with a firmware that
# measures neither ACPI tables nor all of SMBIOS, nothing that is measured from there.
_MACHINE = ("firmware", "qemu", "machine", "host")
_UNSEEN, _UNMEASURED = {"banks"}, {"network", "memory"}
_SECTIONS: list[Json] = [
    {"name": ".osrel", "text": 'ID=lab\nVERSION_ID="1"\nPRETTY_NAME="Lab 1"\n'},
    {"name": ".cmdline", "text": "quiet retain_initrd"},
    {"name": ".linux", "from": "kernel"},
    {"name": ".initrd", "from": "initrd"},
]
_FILES: list[Json] = [
    {"path": "EFI/BOOT/BOOTX64.EFI", "from": "systemd-boot"},
    {"path": "loader/loader.conf", "text": "timeout 0\n"},
    {"path": "EFI/Linux/lab.efi", "uki": True},
]


class Scenario(NamedTuple):
    """``after`` names the scenario whose variable store and partitions are the start; ``direct`` are QEMU's -kernel,
    -append and -initrd."""

    name: str
    content: Json

    @property
    def shows(self) -> str:
        return str(self.content["shows"])

    @property
    def systemd(self) -> str:
        """The Debian suite of loader and stub."""
        return str(self.content.get("systemd", "sid"))

    @property
    def kernel(self) -> str:
        return str(self.content.get("kernel", self.systemd))

    @property
    def firmware(self) -> str:
        return str(self.content.get("firmware", "bookworm"))

    @property
    def qemu(self) -> str | None:
        """The suite of QEMU, None: the machine's own."""
        return self.content.get("qemu")

    @property
    def ukify(self) -> str | None:
        """The suite of the ukify that builds and signs the UKI, None: the lab puts it together."""
        return self.content.get("ukify")

    @property
    def secure_boot(self) -> str | None:
        """None: a firmware without it; "on", "off", or "setup": without keys."""
        return self.content.get("secure_boot")

    @property
    def after(self) -> str | None:
        return self.content.get("after")

    @property
    def machine(self) -> Json:
        own: Json = self.content.get("machine", {})
        usual = {"memory": 1024, "cpus": 1, "banks": ["sha256"], "network": False, "qemu": []}
        return usual | {"board": "q35", "disk": "virtio-blk-pci,drive=d0,bootindex=0"} | own

    @property
    def store(self) -> str:
        """The package's variable store that is the start, if no other boot's is."""
        return str(self.content.get("store", "OVMF_VARS_4M.fd"))

    @property
    def ends(self) -> str:
        """How the guest ends: it switches itself off, or its kernel panics for want of an initrd."""
        return str(self.content.get("ends", "off"))

    @property
    def same_machine(self) -> str | None:
        """The scenario whose record tells SMBIOS and fw_cfg for a guest that cannot tell."""
        return self.content.get("same_machine")

    def bare(self) -> Scenario:
        """The usual UKI on this machine, without its keys: tells fw_cfg and SMBIOS before this scenario is booted."""
        content = {key: self.content[key] for key in _MACHINE if key in self.content}
        unseen = _UNSEEN | (_UNMEASURED if self.firmware == "bookworm" else set())
        content["machine"] = {key: row for key, row in content.pop("machine", {}).items() if key not in unseen}
        if self.secure_boot is not None:
            content["secure_boot"] = "setup"
        if "direct" in self.content:
            content["direct"] = {key: row for key, row in self.content["direct"].items() if key != "initrd"}
        content["shows"] = "a machine"
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return Scenario(f"machine-{digest[:16]}", content)

    def partitions(self) -> dict[str, Files]:
        """The files of each partition that this scenario puts there."""
        maker = _Maker(self)
        made: dict[str, Files] = {ESP: {}}
        for row in self._rows():
            made.setdefault(row.get("partition", ESP), {})[row["path"]] = maker.file(row)
        return made

    def direct(self) -> dict[str, bytes | str]:
        """What QEMU is given itself: "kernel", "initrd", "append"."""
        maker, content = _Maker(self), self.content.get("direct", {})
        return {key: row if isinstance(row, str) else maker.file(row | {"path": key}) for key, row in content.items()}

    def _rows(self) -> list[Json]:
        own = self.content.get("file", [])
        gone = {row["path"] for row in own} | set(self.content.get("without", ()))
        usual = [] if self.after or self.content.get("direct") else _FILES
        return [*(row for row in usual if row["path"] not in gone), *own]


def read(name: str) -> Scenario:
    """StubsimError for what is none."""
    path = FOLDER / f"{name}.toml"
    try:
        content = tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise StubsimError("no such scenario", path=str(path)) from error
    except ValueError as error:
        raise StubsimError(f"not TOML: {error}", path=str(path)) from error
    unknown = content.keys() - _KEYS
    if unknown or "shows" not in content:
        raise StubsimError(f"unknown keys: {sorted(unknown)}", path=str(path), expected=", ".join(sorted(_KEYS)))
    return Scenario(name, content)


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


class _Maker(standard.Reader):
    """Makes the files of a scenario; sections are written as in the other lab."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(standard.Standard(scenario.name, "", "", (), (), scenario.content), "x64")
        self.scenario = scenario

    def file(self, row: Json) -> bytes:
        """With an image signed where firmware of this scenario has keys."""
        if row.get("uki"):
            data = self._uki(row.get("section") or self.content.get("section", []))
        elif "section" in row:
            data = pe.build([self.section(inner) for inner in row["section"]])
        else:
            data = self.data(row)
        keys = row.get("signed_by", "db" if self.scenario.secure_boot == "on" else "none")
        if data.startswith(b"MZ") and row.get("from") != "shim":
            for key in keys.split():
                data = data if key == "none" else signed(data, key)
        return data

    def data(self, row: Json) -> bytes:
        if "from" in row:
            return self._of_debian(row["from"])
        if "cpio" in row:
            files = [(name, text.encode()) for name, text in row["cpio"].items()]
            return b"".join(bytes(part) for part in cpio.pack("lab", files, 0o755, 0o644))
        return super().data(row)

    def _uki(self, own: list[Json]) -> bytes:
        replaced = {row["name"] for row in own} | set(self.content.get("without", ()))
        rows = [row for row in _SECTIONS if row["name"] not in replaced] + own
        specs: list[SectionSpec] = [self.section(row) for row in rows]
        if self.scenario.ukify is not None:
            return ukify.build(self.scenario.ukify, packages.stub(self.scenario.systemd), specs)
        return images.uki(packages.stub(self.scenario.systemd).read_bytes(), specs)

    def _of_debian(self, what: str) -> bytes:
        kernel = self.scenario.kernel
        if what == "kernel":
            return packages.kernel(kernel).read_bytes()
        if what == "initrd":
            return initrd(kernel)
        if what == "systemd-boot":
            return packages.loader(self.scenario.systemd).read_bytes()
        if what == "shim":
            return packages.shim("trixie").read_bytes()
        raise StubsimError(
            f"there is no {what}", path=self.scenario.name, expected="kernel, initrd, systemd-boot, shim"
        )


def initrd(suite: str) -> bytes:
    """init.sh, busybox, and the modules that it needs of this suite's kernel."""
    archives = [
        cpio.pack(".", [("init", INIT.read_bytes()), ("phases", _phases())], 0o755, 0o755),
        cpio.pack("bin", [("busybox", packages.busybox().read_bytes())], 0o755, 0o755),
        cpio.pack("modules", sorted(packages.modules(suite).items()), 0o755, 0o644),
    ]
    return gzip.compress(b"".join(bytes(part) for parts in archives for part in parts), mtime=0)


def _phases() -> bytes:
    """What systemd extends PCR 11 by in turn, for the guest: word, bank, TPM_ALG_ID, hash; first nothing."""
    return b"".join(
        f"{word} {bank} {algorithm} {hashlib.new(bank, word.encode()).hexdigest()}\n".encode()
        for word in ("none", *WORDS)
        for bank, algorithm in _ALGORITHMS.items()
    )
