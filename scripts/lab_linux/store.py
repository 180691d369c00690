"""The variable store of the firmware, by virt-firmware: what is put into it, and what is in it."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from scripts.lab.virtual import tool
from scripts.lab_linux.scenarios import Files, Scenario
from scripts.lab_linux.signing import OWNER, certificate
from stubsim.formats import pe
from stubsim.uki import Uki

Json = dict[str, Any]

LOADER = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
# Non-volatile, for boot services and at run time.
_ATTRIBUTES = 7


def prepare(store: Path, scenario: Scenario, files: Files) -> None:
    """Write the scenario's keys and variables into the store; ``files`` are those of its partition."""
    options: list[str] = []
    if scenario.secure_boot in ("on", "off") and scenario.after is None and "store" not in scenario.content:
        for option, name in (("--set-pk", "pk"), ("--add-kek", "kek"), ("--add-db", "db")):
            options += [option, OWNER, str(certificate(name))]
    if scenario.secure_boot in ("on", "off"):
        options += ["--sb"] if scenario.secure_boot == "on" else ["--set-false", "SecureBootEnable"]
    options += [part for row in scenario.content.get("variable", ()) for part in _enrolled(row, files)]
    variables = [_variable(row) for row in scenario.content.get("variable", ()) if "name" in row]
    if variables:
        given = store.with_suffix(".given.json")
        given.write_text(json.dumps({"version": 2, "variables": variables}))
        options += ["--set-json", str(given)]
    if options:
        _virt_fw_vars("--inplace", str(store), *options)


def _enrolled(row: Json, files: Files) -> list[str]:
    """A variable that is a list of certificates or hashes: ``add`` is db, dbx or mok."""
    if "add" not in row:
        return []
    if "certificate" in row:
        return [f"--add-{row['add']}-cert", OWNER, str(certificate(row["certificate"]))]
    digest = _of_image(files[row["hash_of"]]) if "hash_of" in row else row["hash"]
    return [f"--add-{row['add']}-hash", OWNER, digest]


def _of_image(data: bytes) -> str:
    return Uki(pe.open_bytes(data, "image")).authenticode("sha256").hex()


def _variable(row: Json) -> Json:
    data = bytes.fromhex(row["hex"]) if "hex" in row else row["text"].encode("utf-16-le") + b"\0\0"
    guid = row.get("guid", LOADER)
    return {"name": row["name"], "guid": guid, "attr": row.get("attributes", _ATTRIBUTES), "data": data.hex()}


def variables(store: Path) -> list[Json]:
    """Each as virt-firmware has it: name, guid, attr, data in hex."""
    with tempfile.NamedTemporaryFile(prefix="lab-store-", suffix=".json") as listed:
        _virt_fw_vars("--input", str(store), "--output-json", listed.name)
        found: list[Json] = json.loads(Path(listed.name).read_text())["variables"]
    return found


def _virt_fw_vars(*arguments: str) -> None:
    tool(sys.executable, "-m", "virt.firmware.vars", *arguments)
