"""UKIs built by a suite's own ukify, with policies of PCR 11 signed by the lab's key."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

from scripts.lab.virtual import tool
from scripts.lab_linux import packages
from scripts.lab_linux.signing import certificate
from stubsim.errors import StubsimError
from stubsim.formats.pe import SectionSpec

_OPTIONS = {
    ".linux": "--linux=", ".initrd": "--initrd=", ".osrel": "--os-release=@", ".cmdline": "--cmdline=@",
    ".profile": "--profile=@",
}  # fmt: skip


def build(suite: str, stub: Path, sections: Sequence[SectionSpec]) -> bytes:
    """Signed for the phases and banks that ukify takes by itself; sections behind the second `.profile` on are further
    profiles. StubsimError: ukify refuses them."""
    with tempfile.TemporaryDirectory(prefix="lab-ukify-") as name:
        folder = Path(name)
        key = certificate("pcr").with_suffix(".key")
        public = folder / "public"
        tool("openssl", "pkey", "-in", str(key), "-pubout", "-out", str(public))
        base, *profiles = groups(sections)
        joined = []
        for number, group in enumerate(profiles):
            made = folder / f"profile{number}"
            _ukify(
                suite, folder, [f"--stub={packages.addon_stub(suite)}", *_arguments(group, folder), f"--output={made}"]
            )
            joined.append(f"--join-profile={made}")
        signing = [f"--pcr-private-key={key}", f"--pcr-public-key={public}", f"--pcrpkey={public}"]
        out = folder / "uki.efi"
        given = [f"--stub={stub}", *_arguments(base, folder), *signing, *joined, f"--output={out}"]
        _ukify(suite, folder, given)
        return out.read_bytes()


def groups(sections: Sequence[SectionSpec]) -> list[list[SectionSpec]]:
    """The base with the first profile, then each further profile."""
    groups: list[list[SectionSpec]] = [[]]
    for section in sections:
        if section.name == ".profile" and any(row.name == ".profile" for row in groups[-1]):
            groups.append([])
        groups[-1].append(section)
    return groups


def _arguments(sections: Sequence[SectionSpec], folder: Path) -> Iterator[str]:
    for number, section in zip(count(len(list(folder.iterdir()))), sections, strict=False):
        if section.name not in _OPTIONS:
            raise StubsimError("the lab gives ukify no such section", path=section.name, expected=", ".join(_OPTIONS))
        path = folder / f"section{number}"
        path.write_bytes(bytes(section.data))
        yield f"{_OPTIONS[section.name]}{path}"


def _ukify(suite: str, folder: Path, arguments: Sequence[str]) -> None:
    """The script by our Python, with its suite's systemd-measure."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    measure = tools / "systemd-measure"
    package = "systemd" if suite == "trixie" else "systemd-tpm"
    command = packages.program(suite, package, "usr/lib/systemd/systemd-measure")
    measure.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    measure.chmod(0o755)
    script = packages.file(suite, "systemd-ukify", "usr/bin/ukify")
    tool(sys.executable, str(script), "build", f"--tools={tools}", *arguments)
