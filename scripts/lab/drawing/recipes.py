"""Random boots for `lab-fuzz`: a UKI, a partition, a machine and a start, drawn from values that stubs treat in
different ways. A boot is plain data (a `Recipe`), so that a smaller one can be made of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from scripts.lab import images
from scripts.lab.drawing.machines import Machine
from scripts.lab.drawing.sections import Sections
from scripts.lab.drawing.starts import Files, Start
from scripts.lab.drawing.values import MACHINES, Json
from stubsim.formats import pe
from stubsim.formats.pe import SectionSpec


class Recipe(NamedTuple):
    """``files`` are those of the partition by path; an addon's value is its sections. The host is a host file's."""

    sections: tuple[SectionSpec, ...]
    files: Files
    host: Json
    path: str | None
    load_options: bytes | None
    shell: str | None
    signed: bool


def draw(random: Random, machine: str) -> Recipe:
    """A boot that nothing but the random numbers decides."""
    of = Machine(random, machine)
    sections = Sections(random, machine, of.fields, of.panel)
    start = Start(random, machine, sections.addon)
    path = None if start.maybe(0.04) else start.path()
    host = of.host()
    shell = start.shell_line() if start.maybe(0.08) else None
    return Recipe(
        tuple(sections.uki()),
        {} if path is None else start.files(path),
        host,
        path,
        None if shell is not None or start.maybe(0.35) else start.load_options(),
        shell,
        # Without a certificate table nothing starts at all under Secure Boot.
        start.maybe(0.95 if host.get("secure_boot") else 0.05),
    )


def write(recipe: Recipe, stub: bytes, machine: str, folder: Path) -> list[str]:
    """The boot as a case folder (without expect.json); the options of `stubsim boot` are returned as well."""
    (folder / "esp").mkdir(parents=True, exist_ok=True)
    (folder / "uki.efi").write_bytes(images.uki(stub, recipe.sections, signed=recipe.signed))
    for name, content in recipe.files.items():
        path = folder / "esp" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_bytes(_addon(content, machine, recipe.signed))
    args = ["--from-memory"] if recipe.path is None else ["--esp", "esp", "--path", recipe.path]
    if recipe.load_options is not None:
        (folder / "load_options.bin").write_bytes(recipe.load_options)
        args += ["--load-options", "load_options.bin"]
    if recipe.shell is not None:
        args += ["--shell", recipe.shell]
    started_by = "shell" if recipe.shell else "memory" if recipe.path is None else "firmware"
    boot = {"started_by": started_by, "path": recipe.path, "args": args}
    (folder / "boot.json").write_text(json.dumps(boot, indent=1) + "\n")
    (folder / "host.json").write_text(json.dumps(recipe.host, indent=1) + "\n")
    return args


def _addon(sections: Sequence[SectionSpec], machine: str, signed: bool) -> bytes:
    certificates = images.CERTIFICATE if signed else b""
    return pe.build([*sections], machine=MACHINES[machine], certificates=certificates)
