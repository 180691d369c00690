"""systemd-boot's own code on partitions as plain data, in efirun: what it does beside what the simulator says."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from scripts.lab import efirun, images
from scripts.lab.compare import Differences, narrowed
from scripts.lab.stubs import Stub
from stubsim import uki
from stubsim.digests import Digests
from stubsim.errors import StubsimError
from stubsim.hosts import Host, fixture
from stubsim.loader import run
from stubsim.loader.entry import Entry
from stubsim.loader.image import find_loader
from stubsim.loader.menu import Menu, Partitions, choose, menu_of
from stubsim.machine.tpm import Tpm
from stubsim.trace import EspWritten, Event, Measured, Unknown, VariableSet
from stubsim.uefi.esp import Esp
from stubsim.uefi.image_path import usual_boot_file
from stubsim.uefi.loaded_image import ProgramFailed
from stubsim.uefi.machine_memory import memory_of
from stubsim.uefi.secure_boot import load_image
from stubsim.uefi.services import Services
from stubsim.uefi.variables import LOADER, Variables
from stubsim.views.json import measurement_json

Json = dict[str, Any]
# Content by path, "/" between.
Files = dict[str, bytes]

# What systemd-boot says before it restarts the machine in place of returning to the firmware.
_RESTARTS = "Failed to start boot entry"
# Keys of a host file without which there is no boot, or another one.
_NEEDED = frozenset(
    {
        "schema", "fw_cfg", "architecture", "memory", "variables", "esp_partition_uuid", "xbootldr_partition_uuid",
    }
)  # fmt: skip
# Variables with times, which nobody knows before the boot, and which are not set without a clock (efirun on x64).
_TIMES = "LoaderTime"


class LoaderRecipe(NamedTuple):
    """What lies on the two partitions beside systemd-boot, where there are two; the host is a host file's."""

    esp: Files
    xbootldr: Files | None
    host: Json


def smaller(recipe: LoaderRecipe) -> list[LoaderRecipe]:
    """Every recipe with one thing less, the larger things first."""
    found = []
    if recipe.xbootldr is not None:
        found.append(recipe._replace(xbootldr=None))
        found += [recipe._replace(xbootldr=_without(recipe.xbootldr, name)) for name in recipe.xbootldr]
    found += [recipe._replace(esp=_without(recipe.esp, name)) for name in recipe.esp]
    found += [recipe._replace(host=_without(recipe.host, key)) for key in recipe.host if key not in _NEEDED]
    rows = recipe.host["variables"]
    for index, row in enumerate(rows):
        if row["name"] != "OsIndicationsSupported":
            found.append(recipe._replace(host=recipe.host | {"variables": rows[:index] + rows[index + 1 :]}))
    return found


def _without(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != name}


def write(recipe: LoaderRecipe, loader: Stub, folder: Path) -> None:
    """The boot as a case folder (without expect.json); systemd-boot is signed."""
    boot_file = usual_boot_file(loader.machine)
    program = images.uki(loader.path.read_bytes(), (), signed=True)
    _write_tree(folder / "esp", recipe.esp | {boot_file.strip("\\").replace("\\", "/"): program})
    args = ["--esp", "esp", "--path", boot_file]
    if recipe.xbootldr is not None:
        _write_tree(folder / "xbootldr", recipe.xbootldr)
        args += ["--xbootldr", "xbootldr"]
    boot = {"started_by": "firmware", "path": boot_file, "uki": f"esp{boot_file}".replace("\\", "/"), "args": args}
    (folder / "boot.json").write_text(json.dumps(boot, indent=1) + "\n")
    (folder / "host.json").write_text(json.dumps(recipe.host, indent=1) + "\n")


def _write_tree(root: Path, files: Files) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def compared(recipe: LoaderRecipe, loader: Stub, folder: Path) -> tuple[Json, Differences]:
    """What systemd-boot did, in the shape of expect.json, and where the simulator differs."""
    write(recipe, loader, folder)
    case = efirun.load(folder)
    seen = efirun.run(case, uki.load(str(case.uki)))
    theirs, ours = _told(seen, case.host), simulate(case, loader.machine)
    for name, row in ours.get("variables", {}).items():
        if row[1] is None and name in theirs["variables"]:
            # Nobody knows it before the boot.
            theirs["variables"][name][1] = None
    told = [key for key in ours if key in theirs and key not in ours["unknown"]]
    return seen, {key: narrowed(ours[key], theirs[key]) for key in told if ours[key] != theirs[key]}


def _told(seen: Json, host: Json) -> Json:
    """What efirun has seen, by the keys of simulate()."""
    rows = seen["variables"].items()
    variables = {name: [row["attributes"], row["hex"]] for name, row in rows if not name.startswith(_TIMES)}
    listed = bytes.fromhex(variables.get("LoaderEntries", [0, ""])[1])
    restarts = seen["outcome"] == "reset" and any(_RESTARTS in line for line in seen["messages"])
    told = {
        "outcome": "failed" if restarts else seen["outcome"],
        "entries": [name for name in listed.decode("utf-16-le", "surrogatepass").split("\0") if name],
        "variables": variables,
        "measurements": seen["measurements"],
        "esp_changes": seen["esp_changes"],
    }
    if seen["outcome"] == "kernel-started":
        told |= {key: seen[key] for key in ("started_path", "load_options", "devicetree")}
        told["initrd"] = seen["initrd_hex"] or None
    return told


def simulate(case: efirun.Case, machine: str) -> Json:
    """What the simulator says, by key; "unknown" are the keys of which it says that it does not know them.

    Of an entry that does not start an image on a partition it says nothing but the list that it stands in.
    """
    assert case.esp is not None
    host = fixture.from_json(case.host)
    partitions = Partitions(Esp(os.fspath(case.esp)), None if case.xbootldr is None else Esp(os.fspath(case.xbootldr)))
    loader = find_loader(partitions.esp, machine, None)
    if loader is None:
        raise StubsimError("no systemd-boot that the simulator knows", path=os.fspath(case.esp))
    menu = menu_of(loader, host, partitions)
    listed = () if menu.entries.fatal else menu.entries.entries
    entries = {"entries": [row.id for row in listed], "unknown": set()}
    try:
        entry = choose(menu, wanted="default", path=None, profile=0)
    except StubsimError:
        return entries
    return entries | _booted(menu, host, entry, machine)


def _booted(menu: Menu, host: Host, entry: Entry, machine: str) -> Json:
    trace: list[Event] = []
    tpm = Tpm(host.tpm, host.confidential)
    services = Services(
        "loader", memory_of(host, machine), tpm, Variables(host.variables),
        Digests(tpm.algorithms or ("sha256",)), None, trace.append,
    )  # fmt: skip

    def load(path: str) -> ProgramFailed | None:
        place = menu.partitions.of(entry)
        # A counted image has its new name on the real partition alone.
        path = entry.loader or path
        status = load_image(place, path, machine, secure_boot=host.secure_boot, trusted=None).status
        return None if status is None else ProgramFailed("", status)

    found: Json = {}
    try:
        handed = run.run(services, menu, host, entry, given=None, load_image=load)
    except ProgramFailed:
        found["outcome"] = "failed"
    else:
        tree = host.devicetree if handed.devicetree is None else bytes(handed.devicetree)
        found = {
            "outcome": "kernel-started",
            "started_path": handed.path,
            "load_options": None if handed.load_options is None else handed.load_options.hex(),
            "initrd": (host.previous_initrd or b"" if handed.initrd is None else handed.initrd).hex() or None,
            "devicetree": efirun.sized(tree),
        }
    drawn = {event.name for event in trace if isinstance(event, VariableSet) and event.data is None}
    return found | {
        "variables": {
            row.name: [row.attributes, None if row.name in drawn else row.data.hex()]
            for row in services.variables.items()
            if row.guid == LOADER and not row.name.startswith(_TIMES)
        },
        "measurements": [_without(measurement_json(row), "by") for row in trace if isinstance(row, Measured)],
        "esp_changes": {
            event.path.strip("\\").replace("\\", "/"): {"size": event.size}
            for event in trace
            if isinstance(event, EspWritten) and event.renamed_from is None
        },
        "unknown": {key for event in trace if isinstance(event, Unknown) for key in event.affects},
    }
