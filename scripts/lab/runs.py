"""A recipe booted by a real stub and by the simulator: what both say."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from scripts.lab import efirun, recipes, virtual
from scripts.lab.compare import Differences, differences
from scripts.lab.recipes import Recipe
from scripts.lab.stubs import Stub
from stubsim import uki
from stubsim.formats import smbios
from stubsim.hosts import fixture

Json = dict[str, Any]

# A busy machine gets a second chance.
_ATTEMPTS = 2
BOOT = {"efirun": efirun.run, "qemu": virtual.run}


def compared(recipe: Recipe, tested: Stub, by: str, folder: Path) -> tuple[Json, Differences]:
    """What the stub did, in the shape of expect.json, and where the simulator differs; the case folder is written.

    The host file is the machine as the stub met it: with the tables that the firmware made, and with what the stub drew
    at random. StubsimError: it cannot be booted that way; efirun.TooSlowError: it was too slow twice.
    """
    recipes.write(recipe, tested.path.read_bytes(), tested.machine, folder)
    case = efirun.load(folder)
    if by == "efirun" and "smbios" in case.host:
        # The table as efirun makes it, so that the simulator has all of it, too.
        read = fixture.from_json({"schema": fixture.SCHEMA, "smbios": case.host.pop("smbios")})
        table = smbios.from_fields(read.fields, read.oem_strings)
        case.host["smbios_table"] = {"base64": base64.b64encode(table).decode()}
    image = uki.load(str(case.uki))
    seen = _booted(case, image, by)
    case.host.update(seen.pop("host", None) or {})
    if "smbios_table" in case.host:
        case.host.pop("smbios", None)
    if secret := boot_secret(seen):
        case.host["boot_secret"] = secret
    (folder / "host.json").write_text(json.dumps(case.host, indent=1) + "\n")
    return seen, differences(case, seen, image)


def _booted(case: efirun.Case, image: uki.Uki, by: str) -> Json:
    for _ in range(_ATTEMPTS - 1):
        with suppress(efirun.TooSlowError):
            return BOOT[by](case, image)
    return BOOT[by](case, image)


def keep(folder: Path, tested: Stub, seen: Json, found: Differences, description: str) -> None:
    """Write expect.json and, where they differ, differs.json beside a case."""
    about = {"case": folder.name, "stub": tested.release, "description": description}
    (folder / "expect.json").write_text(json.dumps(about | seen, indent=1) + "\n")
    if found:
        rows = {key: {"stubsim": ours, "stub": theirs} for key, (ours, theirs) in found.items()}
        (folder / "differs.json").write_text(json.dumps(rows, indent=1) + "\n")


def boot_secret(seen: Json) -> str | None:
    """The 32 bytes of .extra/boot-secret in the initrd that the kernel got, in hex."""
    data = bytes.fromhex(seen.get("initrd_hex") or "")
    at = data.rfind(b".extra/boot-secret\0")
    # A newc header has 110 bytes; name and header together are padded to 4.
    start = at + -(-(110 + 19) // 4) * 4 - 110
    return data[start : start + 32].hex() if at >= 0 else None
