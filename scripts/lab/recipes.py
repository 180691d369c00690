"""A boot as plain data, and its case folder: what random boots and the cases of the standard set have in common."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from scripts.lab import images
from stubsim.formats import pe
from stubsim.formats.pe import SectionSpec

Json = dict[str, Any]
# By path, "/" between; a name that ends in one is a folder, sections are those of an addon.
Files = dict[str, bytes | tuple[SectionSpec, ...]]

MACHINES = {"x64": 0x8664, "aa64": 0xAA64}


class Recipe(NamedTuple):
    """``files`` are those of the partition by path; an addon's value is its sections. The host is a host file's."""

    sections: tuple[SectionSpec, ...]
    files: Files
    host: Json
    path: str | None
    load_options: bytes | None
    shell: str | None
    signed: bool


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
    # A partition with loader/ and LoaderInfo from a host file have no boot loader here.
    args += ["--loader", "none"]
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
