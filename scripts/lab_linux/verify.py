"""Scenarios booted by a real Linux in QEMU, and compared with the simulator.

    python -m scripts.lab_linux.verify two-profiles xbootldr     # make lab-linux CASE='two-profiles xbootldr'
    python -m scripts.lab_linux.verify --blind sb-2025           # make lab-blind CASE=sb-2025: predicted, then booted
    python -m scripts.lab_linux.verify --compare build/lab-linux/*/

The folder of each boot is kept (--record, by default build/lab-linux); its differs.json has what differs. The status
is 1 where something does.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from scripts.lab_linux import record, scenarios
from scripts.lab_linux.compare import Said, compared, counted
from stubsim.errors import StubsimError


def told(folder: Path, predicted: Said | None = None) -> bool:
    """Compare the record in the folder with what is said now or was predicted, say how it is, and whether it holds."""
    found, unknown = compared(folder, predicted)
    path = folder / ("differs.json" if predicted is None else "predicted-differs.json")
    path.unlink(missing_ok=True)
    if found:
        rows = {key: {"stubsim": ours, "machine": theirs} for key, (ours, theirs) in found.items()}
        path.write_text(json.dumps(rows, indent=1) + "\n")
    verdict = f"differs: {', '.join(found)}" if found else "holds"
    doubt = f"; not known: {', '.join(unknown)}" if unknown else ""
    blind = "" if predicted is None else "predicted: "
    print(f"{folder.name:32} {blind}{verdict}{doubt}", flush=True)
    return not found


def told_blind(folder: Path) -> bool:
    """Compare what was predicted before the boot, say how it is, and whether nothing of it is wrong."""
    said = Said(**json.loads((folder / "predicted.json").read_text()))
    found = counted(said.log, json.loads((folder / "expect.json").read_text()))
    print(f"{folder.name:32} {found}", flush=True)
    for line in (*found.wrong, *found.missing):
        print(f"    {line}", flush=True)
    return told(folder, said) and not found.wrong and not found.missing


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("scenario", nargs="*", help="names of scripts/lab_linux/scenarios (default: all)")
    parser.add_argument("--record", type=Path, default=Path("build/lab-linux"), metavar="DIR", help="where folders go")
    parser.add_argument("--compare", action="store_true", help="boot nothing: the arguments are folders of boots")
    parser.add_argument("--blind", action="store_true", help="predict each before it is booted")
    parser.add_argument("--like", type=Path, metavar="RECORD", help="with --blind: the machine is that of this record")
    arguments = parser.parse_args()
    held = True
    for name in arguments.scenario or scenarios.names():
        try:
            if arguments.compare:
                folder = Path(name)
            else:
                how = {"blind": arguments.blind, "like": arguments.like}
                folder = record.record(scenarios.read(name), arguments.record, **how)
            held &= told_blind(folder) if arguments.blind else told(folder)
        except StubsimError as error:
            held = False
            print(f"{name:32} not booted: {error}", flush=True)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
