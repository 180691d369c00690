"""What differs between two boots, as JSON (`stubsim/diff/1`) and as text; the text is made from the JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stubsim.explain.diff import Change, Cmdline, Diff, Register
from stubsim.explain.diff_selection import Selection, shared_types
from stubsim.explain.diff_stubs import StubChange
from stubsim.explain.selection import KINDS
from stubsim.explain.why import Choice, Why
from stubsim.views.block import Block
from stubsim.views.chain import Stage, chain_json, heading, picture, read
from stubsim.views.json import Json, measurement_json, model_json, profile_json, uki_json
from stubsim.views.stubs import change_json, change_text
from stubsim.views.terminal import Screen, render_blocks
from stubsim.views.units import text_or_number
from stubsim.views.why import candidate_json, strings_json
from stubsim.wording import plain


def diff_json(diff: Diff, varies: Sequence[str]) -> Json:
    """The contract of `stubsim diff --format json`; ``varies`` names what was given twice."""
    return {
        "schema": "stubsim/diff/1",
        "varies": list(varies),
        "a": _side(diff.a),
        "b": _side(diff.b),
        "equal": not diff.differing,
        "differing": list(diff.differing),
        "open": list(diff.open),
        "stub_changes": None if diff.stub_changes is None else [_stub_change(row) for row in diff.stub_changes],
        "machine": _machine(diff),
        "selection": {KINDS[row.kind].word: _selection(row) for row in diff.selections},
        "cmdline": None if diff.cmdline is None else _cmdline(diff.cmdline),
        "measurements": [_register(row) for row in diff.registers],
        **{part: [_change(row) for row in changes] for part, changes in diff.changes.items()},
    }


def _side(why: Why) -> Json:
    boot = why.boot
    return {
        "uki": uki_json(boot),
        "model": model_json(boot),
        "host": boot.host.name,
        "outcome": boot.outcome._asdict(),
        "profile": profile_json(boot),
        "chain": chain_json(boot),
        "assumed": list(boot.assumed),
    }


def _stub_change(row: StubChange) -> Json:
    changes = {part: sorted(filter(None, names)) for part, names in row.changes.items()}
    return {"side": row.side, **change_json(row.row), "changes": changes, "alone": row.alone}


def _machine(diff: Diff) -> Json:
    """The strings that differ, and the types of which both have the same CHID."""
    pairs = zip(strings_json(diff.a), strings_json(diff.b), strict=True)
    return {
        "strings": [
            {"field": a["field"], "a": _string(a), "b": _string(b)} for a, b in pairs if _string(a) != _string(b)
        ],
        "same_chids": list(shared_types(diff.a, diff.b)),
    }


def _string(row: Json) -> Json:
    return {"hashed": row["hashed"], "unknown": row["unknown"]}


def _selection(row: Selection) -> Json:
    return {
        "same": row.same,
        "a": _choice(row.a),
        "b": _choice(row.b),
        "causes": list(row.causes),
    }


def _choice(choice: Choice) -> Json:
    key = KINDS[choice.kind].string
    return {
        "offered": choice.offered,
        "chosen": None if choice.section is None else {"section": choice.section.index, key: choice.string},
        "winner": candidate_json(choice.led_by and choice.led_by.winner, key),
        "reason": choice.reason,
        "undecided": list(choice.undecided),
    }


def _cmdline(row: Cmdline) -> Json:
    return {"a": row.a, "b": row.b, "words": [words._asdict() for words in row.words]}


def _register(row: Register) -> Json:
    return {
        "pcr": row.pcr,
        "index": row.place,
        "what": row.what,
        "a": row.a and measurement_json(row.a),
        "b": row.b and measurement_json(row.b),
        "values": {
            bank: {side: value and value.hex() for side, value in zip("ab", values, strict=True)}
            for bank, values in row.values.items()
        },
    }


def _change(row: Change) -> Json:
    return {"name": row.name, "a": None if row.a is None else dict(row.a), "b": None if row.b is None else dict(row.b)}


# --- as text ---------------------------------------------------------------------------------------------------------

_NAMES = {
    "selection": "what is chosen",
    "cmdline": "command line",
    "files": "files on the partition",
    "unknown": "what is unknown",
}
TITLES = {
    "sections": "Sections the stub works with",
    "initrd": "Initrd",
    "devicetree": "Devicetree of the kernel",
    "rtmrs": "RTMR values",
    "variables": "EFI variables",
    "messages": "Messages of the stub",
    "files": "Files written on the partition",
    "memory": "Memory, wherever it lies",
    "fw_cfg": "fw_cfg writes",
    "unknown": "Unknown of one of them",
}
_NOUNS = {"devicetree": "devicetree", "uefi-fw": "firmware"}
_KINDS = {kind.word: kind for kind in KINDS.values()}
_VARIES = {"uki": "UKI", "host": "machine", "stub": "stub"}
# As `git diff --word-diff` writes them.
WORD_MARKS = {"equal": "{}", "removed": "[-{}-]", "added": "{{+{}+}}"}
# Facts that need no name.
_PLAIN = ("data", "level", "size", "source", "type", "why")
_WORDS = {"stored_sha256": "sha256 without the zeros that no file has"}
_SHORT = 16
NOT_SIMULATED = "not-simulated"


def render_diff(report: Json, target: Screen | None = None) -> str:
    """The value of `diff_json` as text."""
    return render_blocks(headline(report), report["equal"], blocks(report), target)


def headline(report: Json) -> str:
    """The answer in one line."""
    if report["equal"]:
        return "the two boots are equal" + (", as far as is known" if report["open"] else "")
    return f"different: {', '.join(_NAMES.get(part, part) for part in report['differing'])}"


def blocks(report: Json) -> Iterator[Block]:
    """What stands below it."""
    yield Block(None, [*_facts(report)], fixed=(0,))
    yield from (picture(title, stages) for title, stages in chains(report))
    if report["outcome"]:
        rows = [(side.upper(), _outcome(report[side]["outcome"])) for side in "ab"]
        yield Block("Outcome", rows, fixed=(0,))
    if report["stub_changes"]:
        rows = [_stub_row(row) for row in report["stub_changes"]]
        yield Block("By what changed in the stub (stubsim stubs)", rows, fixed=(0,))
    machine = report["machine"]
    if machine["strings"]:
        yield Block("Machine", [*_strings(machine)], ("", "A", "B"), fixed=(0,))
    for word, row in report["selection"].items():
        if row["a"]["offered"] or row["b"]["offered"]:
            yield _chosen(word, row)
    if report["cmdline"] is not None:
        yield _words(report["cmdline"])
    for part in ("sections", "initrd", "devicetree"):
        yield from _part(report, part)
    for row in report["measurements"]:
        yield _measured(row)
    for part in ("rtmrs", "variables", "messages", "files", "memory", "fw_cfg", "unknown"):
        yield from _part(report, part)
    if report["open"]:
        yield Block("Unknown of both, and so not compared", [("-", text) for text in report["open"]], fixed=(0,))


def chains(report: Json) -> Iterator[tuple[str, tuple[Stage, ...]]]:
    """The picture of each boot by its heading, one where both are alike."""
    shown = {side: read(report[side]["chain"]) for side in "ab" if report[side]["outcome"]["status"] != NOT_SIMULATED}
    alike = len(shown) == 2 and shown["a"] == shown["b"]
    for side, stages in shown.items():
        if side == "a" or not alike:
            name = "" if alike else f" of {side.upper()}"
            yield heading(report[side]["chain"], name), stages


def _facts(report: Json) -> Iterator[tuple[str, str]]:
    for side in "ab":
        row = report[side]
        stub = row["model"]["id"] + ("" if row["model"]["verified"] else ", not verified by recorded boots")
        yield side.upper(), f"{row['uki']['path']} on {row['host'] or 'the machine'}, stub {stub}"
    yield "differ in", ", ".join(_VARIES.get(name, name) for name in report["varies"])


def _outcome(outcome: Json) -> str:
    return ": ".join(text for text in (plain(outcome["status"]), outcome["message"], outcome["because"]) if text)


def _stub_row(row: Json) -> tuple[str, str]:
    changed = (_part_and_names(part, names) for part, names in row["changes"].items())
    together = "" if row["alone"] else "; only together with others"
    text = f"{', '.join(row['since'])}: {change_text(row)}: {', '.join(changed)}{together}"
    return f"only {row['side'].upper()}", text


def _part_and_names(part: str, names: list[str]) -> str:
    """Messages are long, and names that say no more than the part does are left out."""
    shown = ", ".join(names) if part in ("sections", "variables", "measurements") else ""
    return f"{_NAMES.get(part, part)} ({shown})" if shown else _NAMES.get(part, part)


def _strings(machine: Json) -> Iterator[tuple[str, ...]]:
    for row in machine["strings"]:
        texts = ("not known" if row[side]["unknown"] else _quoted(row[side]["hashed"]) for side in "ab")
        yield (plain(row["field"]), *texts)
    same = ", ".join(map(str, machine["same_chids"]))
    yield "same CHIDs", f"of type {same}" if same else "none that is looked up", ""


def _quoted(text: str | None) -> str:
    return "absent" if text is None else f'"{text}"'


def _chosen(word: str, row: Json) -> Block:
    noun, key = _NOUNS[word], _KINDS[word].string
    if row["same"]:
        chosen = row["a"]["chosen"]
        rows = [("A, B", f"no {noun}" if chosen is None else chosen[key])]
        found = [_found(row[side]["winner"]) for side in "ab"]
        if found[0] != found[1]:
            rows += [(side, text) for side, text in zip("AB", found, strict=True)]
        return Block(f"{_KINDS[word].section}: the same", rows, fixed=(0,))
    rows = []
    for side in "ab":
        chosen = row[side]["chosen"]
        text = f"no {noun}" if chosen is None else f"{chosen[key]}, section {chosen['section']}"
        rows += [(side.upper(), text), ("", row[side]["reason"])]
    rows += [("so", text) for text in row["causes"]]
    return Block(f"{_KINDS[word].section}: different", rows, fixed=(0,))


def _found(winner: Json | None) -> str:
    if winner is None:
        return "by no entry of .hwids"
    return f"by entry {winner['entry']} of .hwids and CHID type {winner['chid_type']}"


def _words(cmdline: Json) -> Block:
    rows = [(side.upper(), "(none)") for side in "ab" if cmdline[side] is None]
    rows.append(("", " ".join(WORD_MARKS[run["change"]].format(run["text"] or " ") for run in cmdline["words"])))
    return Block("Command line", rows, fixed=(0,))


def _part(report: Json, part: str) -> Iterator[Block]:
    if report[part]:
        rows = [_row(row) for row in report[part]]
        yield Block(TITLES[part], rows, fixed=(0,))


def _row(row: Json) -> tuple[str, ...]:
    a, b = row["a"], row["b"]
    if a is None or b is None:
        facts = a or b
        return "added" if a is None else "removed", row["name"], ", ".join(_fact(*fact) for fact in facts.items())
    changed = [f"{_label(key)}{_value(key, a[key])} -> {_value(key, b[key])}" for key in a if a[key] != b[key]]
    return "changed", row["name"], ", ".join(changed)


def _fact(key: str, value: object) -> str:
    if isinstance(value, bool):
        return key if value else f"not {key}"
    return f"{_label(key)}{_value(key, value)}"


def _label(key: str) -> str:
    return "" if key in _PLAIN else f"{_WORDS.get(key, key)} "


def _value(key: str, value: object) -> str:
    if value is None:
        return "not known"
    if key in ("sha256", "sha384", "stored_sha256"):
        return f"{str(value)[:_SHORT]}..."
    if key == "data":
        return _data(bytes.fromhex(str(value)))
    if key == "size":
        return f"{value} bytes"
    if key == "attributes":
        return f"{value:#x}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _data(data: bytes) -> str:
    """A variable's: a text or a number where it is one, else as many bytes as tell it from another."""
    found = text_or_number(data)
    if found is not None:
        return found if found.startswith("0x") else f'"{found}"'
    return data.hex() if len(data) <= _SHORT else f"{data[:_SHORT].hex()}... ({len(data)} bytes)"


def _measured(row: Json) -> Block:
    rows = [("", f"event {row['index']} (from 0): {row['what']}")]
    for bank, values in row["values"].items():
        rows += [(f"{side.upper()} {bank}", values[side]) for side in "ab" if values[side]]
    return Block(f"PCR {row['pcr']}", rows, fixed=(0,))
