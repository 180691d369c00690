"""What `stubsim boot` and `stubsim log` say of a recorded boot beside what happened."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, NamedTuple

from scripts.lab.compare import Differences, narrowed
from stubsim import uki
from stubsim.cli import firmware, parsers
from stubsim.cli.start import start as start_of
from stubsim.errors import StubsimError
from stubsim.explain.measure import PHASES, at_phase
from stubsim.explain.pcr_signatures import verify
from stubsim.explain.whole_log import whole_log
from stubsim.formats import pcrsig
from stubsim.hosts import Host, recognise
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.uefi.variables import LOADER, RUNTIME
from stubsim.views.json import boot_json
from stubsim.views.log import log_json

Json = dict[str, Any]

# What the firmware's part of a log hangs on: option -> file of a record.
_FILES = {
    "--firmware": "code.fd", "--vars": "vars-before.fd", "--gpt": "disk.gpt", "--fw-cfg": "fw_cfg",
    "--option-rom": "option.rom",
}  # fmt: skip
# The bank that systemd enrols in.
_ENROLLED = "sha256"
_HEADER = "EV_NO_ACTION"


class Said(NamedTuple):
    """The JSON of `stubsim boot` and `stubsim log`, the policies of PCR 11, and those of them that the UKI signs."""

    boot: Json
    log: Json
    policies: Json
    signed: Json | None


class Compared(NamedTuple):
    """The keys in which both differ, and what the simulator says that it does not know."""

    differ: Differences
    unknown: tuple[str, ...]


class Counted(NamedTuple):
    """A predicted log beside the real one: events, and lines for what is wrong or was not foreseen."""

    events: int
    computed: int
    unknown: int
    registers: int
    wrong: tuple[str, ...]
    missing: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.events} events: {self.computed} computed and right, {len(self.wrong)} wrong, "
            f"{len(self.missing)} not foreseen; {self.unknown} unknown; {self.registers} registers right"
        )


def counted(log: Json, expected: Json) -> Counted:
    """An event that is not known may stand for several, or none; but only in its register."""
    theirs = [row for row in expected["events"] if row["type"] != _HEADER]
    ours = [row for row in log["events"] if row["how"] != "unknown"]
    matcher = SequenceMatcher(None, [*map(_key, ours)], [*map(_key, theirs)], autojunk=False)
    blocks = matcher.get_matching_blocks()
    right = {at for block in blocks for at in range(block.a, block.a + block.size)}
    met = {at for block in blocks for at in range(block.b, block.b + block.size)}
    wrong = [f"wrong: {_said(row)}" for at, row in enumerate(ours) if at not in right]
    hidden = [row["pcr"] for row in log["events"] if row["how"] == "unknown"]
    others = [row for at, row in enumerate(theirs) if at not in met]
    missing = [f"not foreseen: {_said(row)}" for row in others if row["pcr"] not in hidden]
    registers = [
        (bank, pcr, value == expected["pcrs"][bank][pcr])
        for bank, values in log["pcrs"].items()
        for pcr, value in values.items()
    ]
    wrong += [f"wrong: PCR {pcr} ({bank})" for bank, pcr, is_right in registers if not is_right]
    return Counted(len(theirs), len(right), len(hidden), sum(row[2] for row in registers), tuple(wrong), tuple(missing))


def _key(row: Json) -> tuple[Any, ...]:
    return row["pcr"], row["type"], tuple(sorted(row["digests"].items()))


def _said(row: Json) -> str:
    return f"PCR {row['pcr']} {row['type']} {row['description']}"


def compared(folder: Path, predicted: Said | None = None) -> Compared:
    """``predicted`` is what was said before the boot; without it the simulator is asked now."""
    expected = json.loads((folder / "expect.json").read_text())
    try:
        said = simulated(folder) if predicted is None else predicted
    except StubsimError as error:
        return Compared({"refused": (str(error), "it booted")}, ())
    report, log = said.boot, said.log
    affected = {key for row in report["unknown"] for key in row["affects"]}
    hidden = sum(row["how"] == "unknown" for row in log["events"])
    pairs = [*_pairs(report, expected), *_registers(log, expected), *_of_policies(said, expected)]
    # Before a boot an event that is not known may stand for several: the log is then counted (counted).
    pairs += [] if hidden and predicted is not None else [("log", *_whole(log, expected))]
    differ = {key: narrowed(ours, theirs) for key, ours, theirs in pairs if ours != theirs and key not in affected}
    unknown = [key for key, _, _ in pairs if key in affected]
    # Of the log each event is known or not by itself.
    unknown += [f"{hidden} of {len(log['events'])} events of the log"] if hidden else []
    return Compared(differ, tuple(unknown))


def simulated(folder: Path) -> Said:
    """What is said with the firmware's files, run inside the folder."""
    recorded, before = json.loads((folder / "boot.json").read_text()), Path.cwd()
    os.chdir(folder)
    try:
        files = [part for option, name in _FILES.items() if Path(name).exists() for part in (option, name)]
        arguments = parsers.one("log").parse_args(
            [recorded["uki"], "--smbios", "host.json", *_without_db(recorded["args"]), *files]
        )
        image = uki.load(recorded["uki"])
        platform, host, start = firmware.machine(arguments, recognise.load("host.json"), start_of(arguments))
        result = boot(image, host, start)
        report, log = boot_json(result), log_json(whole_log(result, platform, start))
        return Said(
            report, log, _policies(log), _signed(image, host, start, (report["profile"] or {"index": 0})["index"])
        )
    finally:
        os.chdir(before)


def _policies(log: Json) -> Json:
    """Bank -> phase -> digest of a policy over PCR 11, for the register that is predicted."""
    return {
        bank: {
            _word(phase): pcrsig.policy_pcr(bank, {11: at_phase(bank, bytes.fromhex(values["11"]), phase)}).hex()
            for phase in ("", *PHASES)
        }
        for bank, values in log["pcrs"].items()
        if values.get("11") is not None
    }


def _signed(image: uki.Uki, host: Host, start: Start, profile: int) -> Json | None:
    """Phase -> the policy that `stubsim verify-pcrsig` says holds there; None: the UKI signs nothing."""
    if not any(row.name == ".pcrsig" for row in image.image.sections):
        return None
    return {
        _word(held.value.phase): verdict.entry.pol.hex()
        for verdict in verify(image, [("host", host)], start, phases=PHASES, banks=[_ENROLLED]).verdicts
        for held in verdict.held
        if verdict.bank == _ENROLLED and held.handed.profile == profile and verdict.entry.pol is not None
    }


def _word(phase: str) -> str:
    return phase.rpartition(":")[2] or "none"


def _without_db(options: list[str]) -> list[str]:
    """The variable store tells it."""
    return [option for at, option in enumerate(options) if "--db" not in options[max(at - 1, 0) : at + 1]]


def _pairs(report: Json, expected: Json) -> Iterator[tuple[str, Any, Any]]:
    yield "outcome", report["outcome"]["status"], "kernel-started"
    yield "measurements", _measured(report["measurements"]), _measured(expected["events"])
    yield "esp_changes", *_changes(report["esp_changes"], expected)
    if expected["cmdline"] is not None:
        yield "cmdline", (report["cmdline"] or "").strip(), expected["cmdline"].strip()
        if expected["initrd"] is not None:
            # Linux 6.1 has no /sys/firmware/initrd; its PCR 9 tells.
            yield "initrd", _sized(report["initrd"]), expected["initrd"]
        # Those for boot services only are gone when Linux runs; the times are a clock's.
        ours = {
            row["name"]: {"attributes": row["attributes"], "data": row["data"]}
            for row in report["variables"]
            if row["guid"] == str(LOADER) and row["attributes"] & RUNTIME
        }
        yield "variables", _timeless(ours), _timeless(expected["variables"])


def _changes(rows: list[Json], expected: Json) -> tuple[Json, Json]:
    """What is new or rewritten, by size, and what has another name, by its path before."""
    ours = {_path(row["path"]): _path(row["renamed_from"]) if "renamed_from" in row else row["size"] for row in rows}
    theirs = {_path(path): size for path, size in expected["esp_changes"].items()}
    return ours, theirs | {_path(path): _path(before) for before, path in expected["renamed"].items()}


def _path(text: str) -> str:
    return text.strip("\\").replace("\\", "/").casefold()


def _whole(log: Json, expected: Json) -> tuple[list[Json], list[Json]]:
    """The whole log, the firmware's part too; of an event that is not known only where it stands."""
    ours = [row for row in log["events"] if row["type"] != _HEADER]
    theirs = [row for row in expected["events"] if row["type"] != _HEADER]
    hidden = [row["how"] == "unknown" for row in ours]
    hidden += [False] * (len(theirs) - len(ours))
    shown = [
        {"pcr": row["pcr"], "type": row["type"]} | ({} if hide else {"digests": row["digests"]})
        for rows in (ours, theirs)
        for row, hide in zip(rows, hidden, strict=False)
    ]
    return shown[: len(ours)], shown[len(ours) :]


def _registers(log: Json, expected: Json) -> Iterator[tuple[str, Any, Any]]:
    """Those that the simulator gives a value for."""
    for bank, values in expected["pcrs"].items():
        ours = {pcr: value for pcr, value in log["pcrs"].get(bank, {}).items() if value is not None}
        yield f"pcrs.{bank}", ours, {pcr: values[pcr] for pcr in ours}


def _of_policies(said: Said, expected: Json) -> Iterator[tuple[str, Any, Any]]:
    """What the guest's TPM made of PCR 11 itself; records of an older lab have none."""
    seen = expected.get("policies") or {}
    if seen:
        yield "policies", said.policies, seen
    if seen and said.signed is not None:
        yield "signed", said.signed, {word: policy for word, policy in seen[_ENROLLED].items() if word != "none"}


def _measured(events: list[Json]) -> list[Json]:
    """Those of loader, stub and kernel with what their data says; all others are compared in the whole log."""
    own = [row for row in events if row["pcr"] in (9, 11, 12, 13) or (row["pcr"] in (1, 5) and row["tag"] is not None)]
    return [{key: row[key] for key in ("pcr", "type", "tag", "description", "digests")} for row in own]


def _timeless(variables: Json) -> Json:
    return {name: row for name, row in variables.items() if not name.startswith("LoaderTime")}


def _sized(row: Json | None) -> Json | None:
    return row and {"size": row["size"], "sha256": row["sha256"]}
