"""Tell from the recordings which areas of which stub they show, and write stubsim/stub/recorded.py.

    STUBSIM_SHARED=DIR python scripts/recorded_areas.py

DIR holds the folders of recordings named in FOLDERS. For maintainers: run it when recordings were added.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from stubsim.formats import pe
from stubsim.stub.releases import changes, fields
from stubsim.systemd.release import Release, parse

Json = dict[str, Any]
Counts = dict[tuple[str, str, str], Counter[str]]

TARGET = Path(__file__).resolve().parent.parent / "stubsim" / "stub" / "recorded.py"
# Folder of recordings -> whose stub they are of.
FOLDERS = {
    "golden": "systemd-stub", "golden-releases": "systemd-stub", "golden-aa64": "systemd-stub",
    "golden-stubble": "stubble",
}  # fmt: skip


class Recorded(NamedTuple):
    """What a recording shows is told by what went in and what was seen."""

    machine: str
    sections: set[str]
    esp: list[str]
    host: Json
    args: list[str]
    expected: Json

    def has_file(self, suffix: str) -> bool:
        return any(name.lower().endswith(suffix) for name in self.esp)


# Area -> whether a recording shows it.
AREAS: dict[str, Callable[[Recorded], bool]] = {
    "arguments": lambda boot: any(arg in boot.args for arg in ("--load-options", "--shell")),
    "sections": lambda boot: bool(boot.expected["measurements"]),
    "profiles": lambda boot: ".profile" in boot.sections,
    "measurements": lambda boot: bool(boot.expected["pcrs"]),
    "hwids": lambda boot: ".hwids" in boot.sections,
    "devicetree": lambda boot: not {".dtb", ".dtbauto"}.isdisjoint(boot.sections),
    "firmware selection": lambda boot: {".hwids", ".efifw"} <= boot.sections,
    "command line": lambda boot: boot.expected["cmdline"] is not None,
    "addons": lambda boot: boot.has_file(".addon.efi"),
    "sidecars": lambda boot: boot.has_file(".cred") or boot.has_file(".raw"),
    "initrd": lambda boot: boot.expected["initrd"] is not None,
    "kernel": lambda boot: boot.expected["outcome"] == "kernel-started",
    "variables": lambda boot: bool(boot.expected["variables"]),
    "secure boot": lambda boot: bool(boot.host.get("secure_boot")),
    "messages": lambda boot: bool(boot.host["console"]["serial"]),
    "boot secret": lambda boot: bool(boot.host.get("rng")),
    "console": lambda boot: bool(boot.host["console"]["serial"] or boot.host["console"]["virtio"]),
}

# Areas that not every systemd-stub has, by the field of its model, and other stubs not at all: a recording shows none
# of what its stub has not got.
NOT_IN_EACH = {
    "firmware selection": "matches_firmware_entries", "addons": "takes_addons", "boot secret": "makes_boot_secret",
    "console": "appends_console",
}  # fmt: skip


def count(shared: Path) -> Counts:
    """(stub, release, machine) -> area -> number of recordings that show it."""
    counts: Counts = {}
    for folder, name in FOLDERS.items():
        for path in sorted((shared / folder).glob("*@*")):
            expected = json.loads((path / "expect.json").read_text(encoding="utf-8"))
            if expected["outcome"] == "undefined":
                continue
            recorded = _read(path, expected)
            release = _release(name, path.name.rpartition("@")[2])
            counter = counts.setdefault((name, release, recorded.machine), Counter())
            counter.update(area for area, shows in AREAS.items() if shows(recorded) and _has(name, release, area))
    return dict(sorted(counts.items(), key=lambda row: (row[0][2] != "x64", row[0])))


def _has(name: str, release: str, area: str) -> bool:
    if area not in NOT_IN_EACH:
        return True
    version = parse(release)
    if name != "systemd-stub" or version is None or version.release is None:
        return False
    return bool(fields(changes(version.release))[NOT_IN_EACH[area]])


def _release(name: str, of_folder: str) -> str:
    """257.13 or 258 of systemd-stub, stubble-14 or stubble-14-aa64 of stubble."""
    if name != "systemd-stub":
        return of_folder.split("-")[1]
    version = parse(of_folder)
    assert version is not None
    return str(version.release or Release(version.major, 0))


def _read(path: Path, expected: Json) -> Recorded:
    image = pe.open_image(str(path / "uki.efi"))
    host, boot = (json.loads((path / f"{name}.json").read_text(encoding="utf-8")) for name in ("host", "boot"))
    return Recorded(
        machine=pe.MACHINES[image.machine],
        sections={section.name for section in image.sections},
        esp=[file.name for file in (path / "esp").rglob("*")],
        host=host,
        args=boot["args"],
        expected=expected,
    )


def module(counts: Counts) -> str:
    """The text of stubsim/stub/recorded.py."""
    lines = [
        '"""How many recorded boots show which area of which stub; made by scripts/recorded_areas.py, not by hand."""',
        "",
        "# (stub, release, architecture) -> area -> recordings.",
        "RECORDED: dict[tuple[str, str, str], dict[str, int]] = {",
    ]
    for (name, release, machine), counter in counts.items():
        lines.append(f'    ("{name}", "{release}", "{machine}"): {{')
        lines += [f'        "{area}": {counter[area]},' for area in AREAS if counter[area]]
        lines.append("    },")
    return "\n".join([*lines, "}", ""])


def main() -> int:
    shared = os.environ.get("STUBSIM_SHARED")
    if shared is None:
        print(__doc__, file=sys.stderr)
        return 2
    TARGET.write_text(module(count(Path(shared))), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
