"""Who predicts the registers of a booted machine: stubsim, systemd-pcrlock and systemd-measure on the same boots.

    python -m scripts.lab_linux.peers build/lab-linux/*/     # make lab-peers writes docs/peers.md

The folders are those of `make lab-linux`, or recordings of the same kind without the firmware's files. Each peer is
given what it asks for: pcrlock, the newest of Debian, the images, the UKI's command line and its initrd;
systemd-measure (it is what `ukify --measure` and ukify's signatures call), of each suite, the sections of the profile
that was booted.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from scripts.lab_linux import compare, packages
from stubsim import uki
from stubsim.cli import parsers
from stubsim.cli.start import start as start_of
from stubsim.errors import StubsimError
from stubsim.explain.measure import measure_hosts
from stubsim.hosts import recognise

Json = dict[str, Any]
# PCR -> value in hex; a register that a peer says nothing of is not there.
Values = dict[str, str]

SUITE, BANK = "sid", "sha256"
# Suite -> the package that has systemd's TPM programs.
_PACKAGES = {"trixie": "systemd", "sid": "systemd-tpm"}
# No option of 257's.
_LATER = {"trixie": ("efifw",), "sid": ()}
_REGISTERS = ("4", "9", "11", "12", "13")
_MEASURE = ("--phase=:", f"--bank={BANK}", "--json=short")
_ACTION = b"Calling EFI Application from Boot Option"
_SEPARATOR = bytes(4)
# What systemd-measure has an option for, in its order.
_OPTIONS = (
    "linux", "osrel", "cmdline", "initrd", "ucode", "splash", "dtb", "dtbauto", "uname", "sbat", "pcrpkey", "profile",
    "hwids", "efifw",
)  # fmt: skip


_INTRODUCTION = """# Who predicts a booted machine

Made by `make lab-peers`, not written by hand. Each boot is one of a real Linux: by [the lab](lab.md), what it shows is
in `scripts/lab_linux/scenarios`, or an older recording, whose name ends in the stub's release. The truth is what the
TPM had in each register (sha256). The peers are systemd's, given what they ask for: pcrlock {pcrlock} the boot loader
(`lock-pe`), the UKI (`lock-uki`), the UKI's command line and initrd (`lock-kernel-cmdline`, `lock-kernel-initrd`), and
in PCR 4 the firmware's two events; measure {measures} the sections of the profile
that was booted (`ukify --measure` and the signatures in `.pcrsig` are by it).

stubsim has the machine's host file, in which the boot secret stands that a boot drew at random (`update-a`).

`-`: it says nothing of the register, or that it is not known; `refuses`: it does not read this UKI (pcrlock: one with
profiles; measure 257: one with `.efifw`). pcrlock has nothing for PCR 12 and 13. Its PCR 4 lacks addons, and the kernel
inside that 257's stub starts by the firmware. Its PCR 9 takes the UKI's command line and initrd for those that the
kernel gets: the stub adds `console=` (from 262 on), /.extra, addons and credentials. Both take `.sbat` for measured,
which stubs do from 254 on (`bookworm` is 252). measure 257 has the names of `.dtbauto` and `.hwids` in each other's
place.

| right | {columns} |
| --- |{rule}
| of {count} boots | {totals} |
"""


class Boot(NamedTuple):
    """A recorded boot; ``sections`` are those of the profile that was booted, by name without the dot."""

    folder: Path
    recorded: Json
    expected: Json
    sections: dict[str, bytes]

    @property
    def image(self) -> Path:
        return self.folder / str(self.recorded["uki"])

    @property
    def by_qemu(self) -> bool:
        """Whether QEMU was given the UKI (-kernel)."""
        return self.recorded["uki"] == "kernel" or self.recorded.get("path", "") is None

    @property
    def truth(self) -> Values:
        return {pcr: self.expected["pcrs"][BANK][pcr] for pcr in _REGISTERS}


def read(folder: Path) -> Boot:
    recorded, expected = (json.loads((folder / f"{name}.json").read_text()) for name in ("boot", "expect"))
    profile = bytes.fromhex((expected["variables"] or {}).get("StubProfile", {}).get("data", "3000"))
    number = int(profile.decode("utf-16-le").strip("\0"))
    return Boot(folder, recorded, expected, _sections(folder / recorded["uki"], number))


def _sections(path: Path, number: int) -> dict[str, bytes]:
    """Those before the first .profile, and the profile's own in place of them."""
    image, found, profile = uki.load(str(path)), dict[str, bytes](), -1
    for section in image.image.sections:
        profile += section.name == ".profile"
        if section.name[1:] in _OPTIONS and profile in (-1, number):
            found[section.name[1:]] = bytes(image.data(section))
    return found


def stubsim(boot: Boot) -> Values:
    if not (boot.folder / "code.fd").exists():
        return _without_firmware(boot)
    log = compare.simulated(boot.folder).log
    return {pcr: value for pcr, value in log["pcrs"][BANK].items() if pcr in _REGISTERS and value is not None}


def _without_firmware(boot: Boot) -> Values:
    """As `stubsim measure` has them; a recording's options are the stub's, and the entry is the loader's own choice."""
    secret = boot.folder / "host-secret.json"
    options = list(boot.recorded["args"])
    if boot.recorded["systemd_boot"] is not None:
        options = ["--esp", "esp", "--entry", "default", *(["--db", "db.crt"] if "--db" in options else [])]
    options = [str(boot.folder / text) if text in ("esp", "db.crt") else text for text in options]
    host = secret if secret.exists() else boot.folder / "host.json"
    arguments = parsers.one("measure").parse_args([str(boot.image), "--smbios", str(host), *options])
    machine = recognise.load(str(host))
    (case,) = measure_hosts(uki.load(str(boot.image)), [("it", machine)], start_of(arguments)).cases
    return {str(pcr): value.hex() for pcr, value in case.pcrs[BANK].items() if str(pcr) in _REGISTERS}


def pcrlock(boot: Boot) -> Values:
    """PCR 4 (with the firmware's two events, which stand behind a UKI that QEMU is given), 9 and 11."""
    images = [] if boot.recorded["systemd_boot"] is None else _loaders(boot.folder)
    first = [hashlib.sha256(data).hexdigest() for data in (_ACTION, _SEPARATOR)]
    locked = [row for path in images for row in _locked("lock-pe", path)] + _locked("lock-uki", boot.image)
    with tempfile.TemporaryDirectory(prefix="lab-peers-") as name:
        for part, command in (("cmdline", "lock-kernel-cmdline"), ("initrd", "lock-kernel-initrd")):
            if part in boot.sections:
                path = Path(name) / part
                path.write_bytes(boot.sections[part])
                locked += _locked(command, path)
    events = {pcr: [digest for row, digest in locked if row == pcr] for pcr in (4, 9, 11)}
    pcr4 = events[4] + first if boot.by_qemu else first + events[4]
    return {"4": extended(pcr4), "9": extended(events[9]), "11": extended(events[11])}


def _loaders(folder: Path) -> list[Path]:
    return [
        path for path in [folder / "esp/EFI/BOOT/BOOTX64.EFI", folder / "esp/EFI/BOOT/grubx64.efi"] if path.exists()
    ]


def _locked(command: str, path: Path) -> list[tuple[int, str]]:
    """The digests of a .pcrlock file by register."""
    with tempfile.TemporaryDirectory(prefix="lab-peers-") as folder:
        made = Path(folder) / "it.pcrlock"
        tool("pcrlock", command, str(path), f"--pcrlock={made}")
        records = json.loads(made.read_text())["records"]
    digests = [(row["pcr"], {kind["hashAlg"]: kind["digest"] for kind in row["digests"]}) for row in records]
    return [(pcr, by_bank[BANK]) for pcr, by_bank in digests]


def measure(boot: Boot, suite: str) -> Values:
    """PCR 11 before any phase. StubsimError for a section that this release has no option for."""
    for name in _LATER[suite]:
        if name in boot.sections:
            raise StubsimError(f"no option for .{name}")
    with tempfile.TemporaryDirectory(prefix="lab-peers-") as folder:
        options = []
        for name in _OPTIONS:
            if name in boot.sections:
                (Path(folder) / name).write_bytes(boot.sections[name])
                options.append(f"--{name}={folder}/{name}")
        said = json.loads(tool("measure", "calculate", *options, *_MEASURE, suite=suite))
    return {"11": said[BANK][0]["hash"]}


def extended(digests: Iterable[str]) -> str:
    value = bytes(32)
    for digest in digests:
        value = hashlib.sha256(value + bytes.fromhex(digest)).digest()
    return value.hex()


def tool(name: str, *arguments: str, suite: str = SUITE) -> str:
    command = packages.program(suite, _PACKAGES[suite], f"usr/lib/systemd/systemd-{name}")
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise StubsimError(f"{name}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    return done.stdout


PEERS: dict[str, Callable[[Boot], Values]] = {
    "stubsim": stubsim,
    "pcrlock": pcrlock,
    "measure 257": partial(measure, suite="trixie"),
    "measure 262": partial(measure, suite="sid"),
}
_COLUMNS = (
    ("4", "stubsim"), ("4", "pcrlock"), ("9", "stubsim"), ("9", "pcrlock"), ("11", "stubsim"), ("11", "pcrlock"),
    ("11", "measure 257"), ("11", "measure 262"), ("12", "stubsim"), ("13", "stubsim"),
)  # fmt: skip


def verdicts(boot: Boot) -> dict[str, dict[str, str]]:
    """By peer and register: "right", "wrong", or "-" where it says nothing; "refuses" in all of them."""
    found = {}
    for name, peer in PEERS.items():
        try:
            values = peer(boot)
        except StubsimError:
            found[name] = dict.fromkeys(_REGISTERS, "refuses")
            continue
        found[name] = {
            pcr: "-" if values.get(pcr) is None else "right" if values[pcr] == truth else "wrong"
            for pcr, truth in boot.truth.items()
        }
    return found


def table(boots: Iterable[Boot]) -> Iterator[list[str]]:
    """A row for each boot: its name, then by column."""
    for boot in boots:
        rows = verdicts(boot)
        yield [f"`{boot.folder.name}`", *(rows[name][pcr] for pcr, name in _COLUMNS)]


def document(boots: Iterable[Boot]) -> str:
    names = [f"{pcr} {name}" for pcr, name in _COLUMNS]
    rows = [*table(boots)]
    introduction = _INTRODUCTION.format(
        pcrlock=_version("pcrlock", SUITE),
        measures=" and ".join(_version("measure", suite) for suite in _PACKAGES),
        columns=" | ".join(names),
        rule=" --- |" * len(names),
        count=len(rows),
        totals=" | ".join(str(sum(row[place] == "right" for row in rows)) for place in range(1, len(names) + 1)),
    )
    lines = ["| boot | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return introduction + "\n" + "\n".join(lines) + "\n"


def _version(name: str, suite: str) -> str:
    return tool(name, "--version", suite=suite).partition("(")[2].partition(")")[0]


def main() -> int:
    boots = [read(Path(name)) for name in sys.argv[1:]]
    print(document(boot for boot in boots if BANK in boot.expected["pcrs"]), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
