"""Fetch systemd-stub or -boot from a Debian suite without installing it, or find the release of one that is a file.

    python -m scripts.lab.stubs trixie bookworm-backports    # what `stub()` names, and where it is now
    python -m scripts.lab.stubs --architecture aa64 forky

The packages come by apt, from the machine's own Debian mirror and with its keys, in lists and a cache of their own
(STUBSIM_LAB, by default /var/cache/stubsim-lab): nothing of the machine's apt changes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from stubsim import uki
from stubsim.errors import StubsimError

LAB = Path(os.environ.get("STUBSIM_LAB", "/var/cache/stubsim-lab"))
PACKAGE = "systemd-boot-efi"
# The project's name of a machine, Debian's, and the stub's file.
ARCHITECTURES = {"x64": ("amd64", "linuxx64.efi.stub"), "aa64": ("arm64", "linuxaa64.efi.stub")}


class Stub(NamedTuple):
    path: Path
    release: str  # as .sdmagic says it, e.g. 262.1-1
    machine: str


def stub(name: str, machine: str = "x64") -> Stub:
    """The stub of a file, or else of a Debian suite such as ``trixie`` or ``bookworm-backports``."""
    path = Path(name)
    return described(path if path.is_file() else from_suite(name, machine, ARCHITECTURES[machine][1]))


def loader(name: str, machine: str = "x64") -> Stub:
    """The systemd-boot of a file, or else of a Debian suite."""
    path = Path(name)
    return described(path if path.is_file() else from_suite(name, machine, f"systemd-boot{machine}.efi"))


def stubs(
    names: Iterable[str], machines: Iterable[str] | None, of: Callable[[str, str], Stub] = stub
) -> Iterator[Stub]:
    """Those of every name and machine; a file is of one machine, and left out where that is not asked for."""
    for name in names:
        if Path(name).is_file():
            found = described(Path(name))
            if found.machine in (machines or ARCHITECTURES):
                yield found
            continue
        yield from (of(name, machine) for machine in machines or ARCHITECTURES)


def described(path: Path) -> Stub:
    image = uki.load(str(path))
    if image.stub is None:
        raise StubsimError("names no stub", path=str(path), expected=".sdmagic or .sbat of a stub")
    return Stub(path, image.stub.version or image.stub.name, image.machine)


def from_suite(suite: str, machine: str, file: str) -> Path:
    """This file of the newest package in the suite, unpacked under STUBSIM_LAB."""
    architecture = ARCHITECTURES[machine][0]
    unpacked = LAB / "stubs" / f"{suite}-{machine}"
    unpack(suite, architecture, [PACKAGE], unpacked)
    (found,) = unpacked.glob(f"usr/lib/systemd/boot/efi/{file}")
    return found


def unpack(suite: str, architecture: str, packages: Iterable[str], unpacked: Path) -> None:
    """Fetch the newest of these packages and put their files into the folder, in place of what was there."""
    apt = _apt(suite, architecture)
    _run([*apt, "update"])
    with tempfile.TemporaryDirectory(dir=LAB) as folder:
        _run([*apt, "download", *(f"{package}:{architecture}" for package in packages)], folder)
        new = Path(folder) / "new"
        new.mkdir()
        for package in Path(folder).glob("*.deb"):
            _run(["dpkg-deb", "-x", str(package), str(new)])
        # Whoever boots what is there goes on with it.
        unpacked.parent.mkdir(parents=True, exist_ok=True)
        if unpacked.exists():
            unpacked.replace(Path(folder) / "old")
        new.replace(unpacked)


def depends(suite: str, architecture: str, package: str) -> set[str]:
    """The packages that this one needs, and those that they need."""
    apt = _apt(suite, architecture)
    _run([*apt, "update"])
    options = apt[apt.index("-o") :]
    form = [
        "depends",
        "--recurse",
        "--no-recommends",
        "--no-suggests",
        "--no-conflicts",
        "--no-breaks",
        "--no-replaces",
    ]
    lines = _run(["apt-cache", *options, *form, package]).splitlines()
    return {line.strip().rpartition(" ")[2].partition(":")[0] for line in lines}


def _apt(suite: str, architecture: str) -> list[str]:
    """An apt-get that knows this suite and architecture only."""
    state = LAB / "apt" / f"{suite}-{architecture}"
    for folder in ("lists/partial", "cache/archives/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    (state / "sources.list").write_text(f"deb {_mirror()} {suite} main\n")
    options = {
        "Dir::Etc::sourcelist": state / "sources.list", "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": state / "lists", "Dir::State::status": state / "status", "Dir::Cache": state / "cache",
        "APT::Architecture": architecture, "APT::Architectures": architecture, "APT::Default-Release": "",
        "APT::Sandbox::User": "root", "APT::Get::List-Cleanup": "false", "Acquire::Languages": "none",
    }  # fmt: skip
    return ["apt-get", "-qq", *(part for key, value in options.items() for part in ("-o", f"{key}={value}"))]


def _mirror() -> str:
    """The machine's own source of Debian packages, whatever it is called."""
    form = ["--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages", "Origin: Debian", "Component: main"]
    rows = [line.split() for line in _run(["apt-get", "indextargets", *form]).splitlines()]
    mirrors = [uri for uri, codename in rows if not codename.endswith("-security")]
    if not mirrors:
        raise StubsimError("apt has no source of Debian packages here", hint="run apt-get update once")
    return mirrors[0]


def _run(command: list[str], folder: str | None = None) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        last = done.stderr.strip().splitlines() or ["no message"]
        raise StubsimError(f"{command[0]} failed: {last[-1]}")
    return done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--architecture", choices=ARCHITECTURES, default="x64")
    parser.add_argument("names", nargs="+", metavar="SUITE|FILE")
    arguments = parser.parse_args()
    for name in arguments.names:
        try:
            found = stub(name, arguments.architecture)
        except StubsimError as error:
            print(f"stubs: {error}", file=sys.stderr)
            return 2
        print(f"{found.release}\t{found.machine}\t{found.path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
