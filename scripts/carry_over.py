"""Carry the facts of some recordings over into fixtures/golden, so that their conformance runs without them.

    STUBSIM_SHARED=DIR python -m scripts.carry_over [FOLDER]
    python -m scripts.carry_over --lab build/lab [FOLDER]

DIR holds the recordings, DIR/golden/<case>@<stub>, those on Arm in golden-aa64; build/lab those that the lab made:
`python -m scripts.lab.verify --by efirun --record build/lab --stub STUB CASE...`. FOLDER is fixtures/golden. For
maintainers: run it when CASES or LAB_CASES changes and commit what it writes, which depends on nothing but the
recordings.

A recording becomes <case>@<stub>.json: the UKI and the addons as recipes (sections in file order, each with its
virtual_size in bytes and its content as text, base64 or a file beside the case), the other files of the partition, the
host file, the options of `stubsim boot`, and what the probe saw. The stub's code is not carried over: sections that
are not listed in CARRIED become fillers, names and sizes only, so that section indexes stay. What depends on that
code, such as PCR 4 or addresses, is left out.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from scripts.lab.compare import texts
from stubsim.formats import pe, pe_memory

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parent.parent

# Case -> stubs. All together show every row of the table of changes that recordings can show: tests/conformance.
CASES = {
    "chid-nomatch": ("257.13", "262.1"),
    "chid-nullguid": ("257.13", "262.1"),
    "efifw-both": ("257.13", "262.1"),
    "efifw-match": ("257.13", "262.1"),
    "hwids-off-nonmatch-compat": ("257.13", "262.1"),
    "kernel-reloc": ("257.13", "262.1"),
    "launch-prev-initrd-debug": ("262.1",),
    "ovmf2026-basic": ("257.13",),
    "ovmf2026-keyboard": ("262.1",),
    "profile-at1-tab": ("262.1",),
    "sidecars-all": ("257.13", "262.1"),
    "tpm-4banks": ("262.1",),
}
# Of the releases between and before them, for the rows of the table of changes that those two do not show.
RELEASE_CASES = {
    "addon-cmdline": ("254.26",),
    "cmdline-whitespace": ("252.39",),
    "console-vga-serial": ("261", "261.2"),
    "efifw-dtb-nomatch": ("258",),
    "launch-fwdtb-plain": ("254.26",),
    "loadopt-tab": ("259.8",),
    "rng": ("261",),
    "smbios11-nobase": ("254.26",),
}
# On Arm, for what no PC shows; their fixtures are named aa64-<case>@<stub>.
AA64_CASES = {
    "console-virtio": ("262.1",),
    "dtfixup-addon-mode2": ("257.13", "262.1"),
    "dtfixup-auto-mode0": ("262.1",),
    "kernel-align-odd": ("262.1",),
    "kernel-relocs-stripped": ("257.13",),
    "launch-nosmbios-empty": ("262.1",),
}
# Of Ubuntu's stub, some of them run in emulation; their fixtures keep the recordings' names.
STUBBLE_CASES = {
    "chid-type11-none": ("stubble-14", "stubble-14-aa64"),
    "debug-lo": ("stubble-14",),
    "dtfixup-auto-mode2": ("stubble-14-aa64",),
    "fw-and-dt": ("stubble-14",),
    "fwdt-match": ("stubble-14", "stubble-14-aa64"),
    "hwids-unaligned": ("stubble-14",),
    "initrd-prev": ("stubble-14",),
    "kernel-imagebase": ("stubble-14",),
    "lo-nonascii": ("stubble-14",),
    "measure-lo": ("stubble-14",),
    "measure-sections": ("stubble-14", "stubble-14-aa64"),
    "override-false-lo": ("stubble-14", "stubble-14-aa64"),
    "zero-noedid": ("stubble-14", "stubble-14-aa64"),
}
# Booted by efirun (docs/lab.md): what recordings do not show. "255.0", "256.0" and RHEL's are built from their tags.
LAB_CASES = {
    "addon-dtb-creds": ("262.1",),
    "addon-empty-file": ("262.1",),
    "addon-initrd": ("257.13",),
    "addon-many-sections": ("262.1",),
    "addon-nothing": (
        "257.13",
        "262.1",
    ),
    "addon-uki": ("262.1",),
    "addon-uname": ("262.1",),
    "all-sections": ("253.0",),
    "basic": (
        "252-76.el9",
        "253.0",
        "255.0",
        "256.0",
    ),
    "conf-loadopt": ("262.1",),
    "dtfixup-error": ("262.1",),
    "extra-bootcount": ("262.1",),
    "kernel-cut": ("262.1",),
    "kernel-entry-outside": ("262.1",),
    "kernel-rawlarger": ("262.1",),
    "launch-mem": (
        "254.26",
        "262.1",
    ),
    "linux-missing": ("262.1",),
    "loadopt-blank": (
        "254.26",
        "262.1",
    ),
    "no-partition": ("262.1",),
    "pe-overlap": ("254.26",),
    "seed-missing": ("262.1",),
    "shell-quoted-tab": (
        "256.0",
        "262.1",
    ),
    "smbios-short": ("262.1",),
    "smbios11-behind": ("254.27",),
    "smbios11-empty": ("254.27",),
    "smbios11-trim": ("262.1",),
    "tdx-smbios": ("262.1",),
    "ucode-only": (
        "256.0",
        "262.1",
    ),
}
LAB_AA64_CASES = {
    "addon-dtb-creds": ("262.1",),
    "addon-empty-file": ("262.1",),
    "addon-initrd": ("257.13",),
    "addon-many-sections": ("262.1",),
    "addon-nothing": (
        "257.13",
        "262.1",
    ),
    "addon-uki": ("262.1",),
    "addon-uname": ("262.1",),
    "all-sections": ("262.1",),
    "basic": ("262.1",),
    "chid-nomatch": (
        "257.13",
        "262.1",
    ),
    "chid-nullguid": ("262.1",),
    "cmdline-whitespace": ("262.1",),
    "dtfixup-error": ("262.1",),
    "efifw-both": ("262.1",),
    "extra-bootcount": ("262.1",),
    "hwids-off-nonmatch-compat": ("262.1",),
    "kernel-align-odd": ("262.1",),
    "kernel-cut": ("262.1",),
    "kernel-entry-outside": ("262.1",),
    "kernel-rawlarger": ("262.1",),
    "launch-mem": ("262.1",),
    "linux-missing": ("262.1",),
    "loadopt-blank": ("262.1",),
    "loadopt-tab": ("262.1",),
    "no-partition": ("262.1",),
    "rng": ("262.1",),
    "seed-missing": ("262.1",),
    "shell-quoted-tab": ("262.1",),
    "sidecars-all": ("262.1",),
    "smbios-short": ("262.1",),
    "smbios11-behind": ("262.1",),
    "smbios11-trim": ("262.1",),
    "ucode-only": ("262.1",),
}
# Made for the recordings (.linux is their probe, not a kernel), or a short fact about the stub (.sdmagic, .sbat).
CARRIED = {
    ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".dtbauto", ".uname", ".sbat", ".sdmagic",
    ".pcrsig", ".pcrpkey", ".profile", ".hwids", ".efifw",
}  # fmt: skip
PCRS = ("11", "12", "13")
# Bytes: a longer content gets a file of its own, shared by the cases; none may be longer than the second.
INLINE_MAX, CONTENT_MAX = 1 << 10, 1 << 16
LINE_MAX = 120


class Contents:
    """The contents that are files of their own, by file name."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def of(self, data: bytes, name: str) -> Json:
        """How a recipe tells these bytes; ValueError: too long for a fixture."""
        if len(data) > CONTENT_MAX:
            raise ValueError(f"{name}: {len(data)} bytes, a fixture has at most {CONTENT_MAX}")
        if len(data) > INLINE_MAX:
            file = f"{name.strip('.')}-{hashlib.sha256(data).hexdigest()[:8]}.bin"
            self.files[file] = data
            return {"file": file}
        if all(byte == 0x0A or 0x20 <= byte < 0x7F for byte in data):
            return {"text": data.decode("ascii")}
        return {"base64": base64.b64encode(data).decode()}

    def sections(self, path: Path) -> list[Json]:
        """A PE file as a recipe."""
        image = pe.open_image(str(path))
        rows: list[Json] = []
        carried = [section for section in image.sections if section.name in CARRIED]
        overlapping = {
            row.index
            for pair in combinations(carried, 2)
            for row in pair
            if max(each.virtual_address for each in pair)
            < min(each.virtual_address + each.virtual_size for each in pair)
        }
        for section in image.sections:
            row: Json = {"name": section.name, "virtual_size": section.virtual_size}
            if section.index in overlapping:
                row["virtual_address"] = section.virtual_address
            if section.name in CARRIED:
                row |= self.of(bytes(pe_memory.section_data(image, section)), section.name)
            else:
                row["filler"] = True
            rows.append(row)
        return rows


def carry_over(shared: Path) -> dict[str, bytes]:
    """The files of fixtures/golden that are made from the folders of recordings in that one."""
    return _made(
        (f"{prefix}{case}@{stub}", shared / kind / f"{case}@{stub}")
        for kind, prefix, chosen in (
            ("golden", "", CASES),
            ("golden-releases", "", RELEASE_CASES),
            ("golden-aa64", "aa64-", AA64_CASES),
            ("golden-stubble", "", STUBBLE_CASES),
        )
        for case, stubs in chosen.items()
        for stub in stubs
    )


def carry_lab_over(lab: Path) -> dict[str, bytes]:
    """Those that are made from what the lab recorded there."""
    return _made(
        (f"lab-{prefix}{case}@{stub}", lab / f"{case}@{stub}{suffix}")
        for prefix, suffix, chosen in (("", "", LAB_CASES), ("aa64-", "-aa64", LAB_AA64_CASES))
        for case, stubs in chosen.items()
        for stub in stubs
    )


def _made(folders: Iterable[tuple[str, Path]]) -> dict[str, bytes]:
    """The fixtures of these names, and the contents that are files of their own."""
    contents = Contents()
    cases = {f"{name}.json": (dumps(carry_case(folder, contents)) + "\n").encode() for name, folder in folders}
    return {**cases, **contents.files}


def carry_case(folder: Path, contents: Contents) -> Json:
    host, boot, recorded = (_read(folder / f"{name}.json") for name in ("host", "boot", "expect"))
    case: Json = {
        "case": folder.name,
        "description": recorded["description"],
        "recorded_on": _recorded_on(recorded),
        "args": boot["args"],
        "host": host,
        "uki": contents.sections(folder / "uki.efi"),
        "files": [],
        "expected": expected(recorded),
    }
    if pe.open_image(str(folder / "uki.efi")).certificate_table[1]:
        case["signed"] = True
    options = folder / "load_options.bin"
    paths = [*([options] if options.exists() else []), *sorted((folder / "esp").rglob("*"))]
    for path in paths:
        if path.is_dir() or path.name == ".keep":
            continue
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".efi" and path.stat().st_size:
            case["files"].append({"path": name, "sections": contents.sections(path)})
        else:
            case["files"].append({"path": name, **contents.of(path.read_bytes(), path.name)})
    return case


def _recorded_on(recorded: Json) -> str:
    if "ovmf" in recorded:
        return f"QEMU with {'' if 'AAVMF' in recorded['ovmf'] else 'OVMF '}{recorded['ovmf']}"
    return str(recorded["recorded_by"])


def expected(recorded: Mapping[str, Any]) -> Json:
    """What the probe saw, or efirun; of long values size and hash."""
    keys = ("outcome", "messages", "selection", "cmdline", "load_options")
    variables, pcrs = recorded["variables"], recorded["pcrs"]
    facts: Json = {
        **{key: recorded[key] for key in keys},
        "initrd": _facts(recorded["initrd"], "size", "sha256"),
        "devicetree": _facts(recorded["devicetree"], "size", "sha256"),
        "variables": variables and {name: _facts(row, "attributes", "hex") for name, row in variables.items()},
        "measurements": recorded["measurements"],
    }
    if "recorded_by" in recorded:
        facts["recorded_by"] = recorded["recorded_by"]
    if recorded.get("recorded_by") == "efirun":
        facts["messages"] = list(texts(recorded["messages"]))
        facts["rtmrs"] = recorded["rtmrs"]
        facts["efi_status"] = recorded["efi_status"]
        pcrs = pcrs.get("sha256")
    facts["pcrs"] = pcrs and {pcr: pcrs[pcr] for pcr in PCRS}
    changes = recorded.get("esp_changes")
    if changes is not None:
        facts["esp_changes"] = {path: _facts(row, "size") for path, row in changes.items()}
    return facts


def dumps(value: object, indent: str = "") -> str:
    """JSON with as much on a line as fits."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or len(indent) + len(flat) < LINE_MAX:
        return flat
    inner = indent + " "
    if isinstance(value, dict):
        rows = [f"{json.dumps(key)}: {dumps(item, inner)}" for key, item in value.items()]
    else:
        rows = [dumps(item, inner) for item in value]
    start, end = "{}" if isinstance(value, dict) else "[]"
    return f"{start}\n{inner}" + f",\n{inner}".join(rows) + f"\n{indent}{end}"


def _facts(row: Mapping[str, Any] | None, *keys: str) -> Json | None:
    return None if row is None else {key: row[key] for key in keys}


def _read(path: Path) -> Json:
    value: Json = json.loads(path.read_text(encoding="utf-8"))
    return value


def main(arguments: list[str]) -> int:
    shared = os.environ.get("STUBSIM_SHARED")
    lab = Path(arguments[1]) if arguments[:1] == ["--lab"] and len(arguments) > 1 else None
    rest = arguments if lab is None else arguments[2:]
    if (shared is None and lab is None) or len(rest) > 1:
        print(__doc__, file=sys.stderr)
        return 2
    target = Path(rest[0]) if rest else ROOT / "fixtures" / "golden"
    files = carry_over(Path(shared or "")) if lab is None else carry_lab_over(lab)
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(target.glob("*.json")):
        if path.name not in files and path.name.startswith("lab-") == (lab is not None):
            print(f"no longer made, to be removed by hand: {path}", file=sys.stderr)
    for name, data in files.items():
        (target / name).write_bytes(data)
    print(f"{len(files)} files, {sum(map(len, files.values()))} bytes in {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
