"""Why a boot chose what it chose, as JSON (`stubsim/why/1`) and as text; the text is made from the JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from stubsim.explain.lookup import Candidate, Lookup, wildcard
from stubsim.explain.near_misses import raw_text
from stubsim.explain.other_stubs import Chosen, OtherStub
from stubsim.explain.selection import KINDS
from stubsim.explain.why import Blob, Choice, Why
from stubsim.formats import hwids
from stubsim.stub.chid_match import is_unknown
from stubsim.stub.models import in_words
from stubsim.trace import Unknown
from stubsim.views.block import DOUBT, Block
from stubsim.views.chain import chain_json, heading, picture, read
from stubsim.views.chids import chids_json
from stubsim.views.json import Json, model_json, profile_json, uki_json, unknown_json
from stubsim.views.terminal import Screen, render_blocks
from stubsim.wording import plain

_MOST_FILES = 64
FILES = "Files that are not taken"
GOOD = ("kernel-started", "firmware-update")


def why_json(why: Why) -> Json:
    """The contract of `stubsim why --format json`; see the schema of the same name."""
    boot = why.boot
    unknown = [row for row in boot.events(Unknown) if {"selection", "devicetree", "chids"} & set(row.affects)]
    return {
        "schema": "stubsim/why/1",
        "uki": uki_json(boot),
        "model": model_json(boot),
        "host": boot.host.name,
        "outcome": boot.outcome._asdict(),
        "profile": profile_json(boot),
        "chain": chain_json(boot),
        "strings": strings_json(why),
        "chids": _chids(why),
        "choices": {KINDS[choice.kind].word: _choice(choice) for choice in why.choices},
        "other_stubs": [_other(row, boot.model.id) for row in why.others],
        "files_not_taken": [row._asdict() for row in why.untaken],
        "assumed": list(boot.assumed),
        "unknown": [unknown_json(row) for row in unknown],
    }


def strings_json(why: Why) -> list[Json]:
    """What the CHIDs are made of, each field once: as it is in the table, and as the stub hashes it."""
    rows = {}
    for own in why.chids.values():
        for field, text in own.parts:
            unknown = is_unknown(why.boot.host, field)
            raw, hashed = (None, None) if unknown else (raw_text(why.boot.host, field), text)
            rows[field] = {"field": field, "raw": raw, "hashed": hashed, "unknown": unknown}
    return list(rows.values())


def _chids(why: Why) -> list[Json]:
    """Those the stub looks up, in its order, then the others."""
    rows = {row["type"]: row for row in chids_json(why.boot.host)["chids"]}
    order = why.boot.model.chid_priority
    places = {type_: place for place, type_ in enumerate(order, 1)}
    return [
        {
            "type": type_,
            "priority": places.get(type_),
            "chid": rows[type_]["chid"],
            "absent": rows[type_]["absent"],
            "unknown": list(why.chids[type_].unknown),
            "parts": rows[type_]["parts"],
        }
        for type_ in [*order, *(type_ for type_ in rows if type_ not in places)]
    ]


def _choice(choice: Choice) -> Json:
    key = KINDS[choice.kind].string
    section = None if choice.section is None else {"section": choice.section.index, key: choice.string}
    return {
        "offered": choice.offered,
        "chosen": section,
        "reason": choice.reason,
        "undecided": list(choice.undecided),
        "meaning": list(choice.meaning),
        "lookups": [_lookup(lookup, key) for lookup in choice.lookups],
        "sections": [_blob(blob, choice.kind) for blob in choice.blobs],
    }


def _lookup(lookup: Lookup, key: str) -> Json:
    entries = {entry.index: entry for entry in lookup.entries}
    return {
        "section": lookup.table.section.index,
        "profile": lookup.profile,
        "entries": len(entries),
        "prevented": lookup.prevented,
        "winner": candidate_json(lookup.winner, key),
        "runner_up": candidate_json(lookup.runner_up, key),
        "alternative": candidate_json(lookup.alternative, key),
        "matches": [candidate_json(candidate, key) for candidate in lookup.candidates],
        "misses": [_entry(entries[index], key) | {"known": known} for index, known in lookup.misses.items()],
        "asides": list(lookup.asides),
    }


def candidate_json(candidate: Candidate | None, key: str) -> Json | None:
    if candidate is None:
        return None
    return _entry(candidate.entry, key) | {"chid_type": candidate.type, "wildcard": wildcard(candidate)}


def _entry(entry: hwids.Entry, key: str) -> Json:
    return {"entry": entry.index, "chid": str(entry.chid), "name": entry.name, key: entry.string}


def _blob(blob: Blob, kind: int) -> Json:
    strings: object = list(blob.strings) if kind == hwids.DEVICETREE else next(iter(blob.strings), None)
    return {
        "section": blob.section.index,
        "profile": blob.profile,
        KINDS[kind].string: strings,
        "verdict": blob.verdict,
        "why": blob.why,
    }


def _other(row: OtherStub, own: str) -> Json:
    return {
        "model": row.model.id,
        "releases": in_words(row.ids),
        "basis": row.model.basis,
        "own": row.model.id == own,
        "failed": row.failed,
        "chosen": {KINDS[kind].word: _chosen(found, kind) for kind, found in row.chosen.items()},
        "same": row.same,
        "reasons": {KINDS[kind].word: text for kind, text in row.reasons.items()},
    }


def _chosen(found: Chosen | None, kind: int) -> Json | None:
    return None if found is None else {"section": found.section.index, KINDS[kind].string: found.string}


# --- as text ---------------------------------------------------------------------------------------------------------

# By ukify's word for a kind of entry: the key of its string, and the section that leads to; what people call it.
KEYS = {kind.word: (kind.string, kind.section) for kind in KINDS.values()}
NOUNS = {"devicetree": "devicetree", "uefi-fw": "firmware"}
# So many devices that have nothing to do with the machine are named one by one.
_MOST_STRANGERS = 4


def render_why(report: Json, target: Screen | None = None) -> str:
    """The value of `why_json` as text."""
    return render_blocks(headline(report), report["outcome"]["status"] in GOOD, blocks(report), target)


def headline(report: Json) -> str:
    """The answer in one line."""
    status, message = report["outcome"]["status"], report["outcome"]["message"]
    if status == "not-simulated":
        return f"not simulated: {message}"
    failed = "" if status in GOOD else f"the boot fails: {message or status}; "
    return failed + "; ".join(_outcome(word, choice) for word, choice in report["choices"].items())


def _outcome(word: str, choice: Json) -> str:
    noun, chosen = NOUNS[word], choice["chosen"]
    if not choice["offered"]:
        return f"the UKI offers no {noun}"
    doubt = DOUBT if choice["undecided"] else ""
    if chosen is None:
        return f"no {noun} is chosen{doubt}"
    return f"{noun} {chosen[KEYS[word][0]]} is chosen{doubt}"


def blocks(report: Json) -> Iterator[Block]:
    """What stands below it."""
    yield Block(None, [*_facts(report)], fixed=(0,))
    if report["outcome"]["status"] != "not-simulated":
        yield picture(heading(report["chain"]), read(report["chain"]))
    if any(row["priority"] is not None for row in report["chids"]):
        yield _hashed(report)
        yield _order(report)
    for word, choice in report["choices"].items():
        if choice["offered"]:
            yield from _choice_blocks(word, choice)
    if report["other_stubs"]:
        yield _others(report)
    if report["files_not_taken"]:
        rows = [(row["path"], row["why"]) for row in report["files_not_taken"][:_MOST_FILES]]
        more = len(report["files_not_taken"]) - _MOST_FILES
        rows += [("...", f"and {more} more, all of them with --format json")] if more > 0 else []
        yield Block(FILES, rows)
    notes = [("-", f"{row['what']}: {row['why']}") for row in report["unknown"]]
    notes += [
        ("-", f"{', '.join(map(plain, choice['undecided']))}: the choice of the {NOUNS[word]} depends on it")
        for word, choice in report["choices"].items()
        if choice["undecided"]
    ]
    if notes:
        yield Block("Unknown", notes, fixed=(0,))


def _facts(report: Json) -> Iterator[tuple[str, str]]:
    uki, model, profile = report["uki"], report["model"], report["profile"]
    if report["outcome"]["because"] is not None:
        yield "because", report["outcome"]["because"]
    stub = f"{uki['stub']['name']} {uki['stub']['version']}" if uki["stub"] else "no stub named"
    yield "UKI", f"{uki['path']}: {uki['machine']}, {stub}"
    sure = "verified by recorded boots" if model["verified"] else "not verified by recorded boots"
    if report["outcome"]["status"] != "not-simulated":
        yield "stub model", f"{model['id']}: {model['reason']}; {sure}"
    if report["host"]:
        yield "machine", report["host"]
    if profile is not None and (profile["index"] or profile["id"]):
        yield "profile", " ".join(str(part) for part in (profile["index"], profile["id"]) if part is not None)


def _hashed(report: Json) -> Block:
    """The strings that the stub makes the CHIDs it looks up of."""
    wanted = {part["field"] for row in report["chids"] if row["priority"] is not None for part in row["parts"]}
    rows = [(plain(row["field"]), hashed_text(row)) for row in report["strings"] if row["field"] in wanted]
    return Block("The machine, as the stub hashes it", rows, fixed=(0,))


def hashed_text(row: Json) -> str:
    """A field of the machine, and what was stripped of it."""
    if row["unknown"]:
        return "not known"
    if row["hashed"] is None:
        return "absent"
    hashed = f'"{row["hashed"]}"'
    if row["raw"] is None:
        # Numbers and the panel id are no strings of the table.
        return hashed if row["hashed"] else f"{hashed} (missing)"
    return hashed if row["raw"] == row["hashed"] else f'{hashed}, stripped of "{row["raw"]}"'


def _order(report: Json) -> Block:
    """Each CHID and the entries that carry it."""
    rows: list[tuple[str, ...]] = []
    for row in report["chids"]:
        if row["priority"] is None:
            continue
        found = [
            _found(word, lookup, row["type"])
            for word, choice in report["choices"].items()
            for lookup in choice["lookups"]
        ]
        text = "not known" if row["unknown"] else row["chid"] or "absent, so looked up as all zeros"
        entries = "; ".join(filter(None, found)) or ("" if row["unknown"] else "no entry")
        rows.append((str(row["type"]), text, entries))
        if row["chid"] is not None:
            rows.append(("", "&".join(part["value"] or "" for part in row["parts"]), ""))
    title = f"CHIDs in the order in which stub {report['model']['id']} looks them up in .hwids"
    return Block(title, rows, ("type", "CHID, and the text it is the hash of", "entries"), (0,))


def _found(word: str, lookup: Json, type_: int) -> str:
    entries = [match for match in lookup["matches"] if match["chid_type"] == type_]
    if not entries:
        return ""
    numbers = ", ".join(str(match["entry"]) for match in entries)
    winner = lookup["winner"]
    won = " (found first)" if winner is not None and winner["chid_type"] == type_ else ""
    return f"{word} {numbers}{owner(lookup)}{won}"


def _choice_blocks(word: str, choice: Json) -> Iterator[Block]:
    key, name = KEYS[word]
    rows = [row for lookup in choice["lookups"] for row in lookup_rows(word, lookup)]
    if choice["chosen"] is None or not any(lookup["winner"] for lookup in choice["lookups"]):
        rows.insert(0, ("because", choice["reason"]))
    rows += [("so", text) for text in choice["meaning"]]
    yield Block(f"{name}: {_outcome(word, choice)}", rows, fixed=(0,))
    if choice["sections"]:
        sections = [_blob_row(row, key) for row in choice["sections"]]
        yield Block(f"{name} sections", sections, fixed=(0, 1))
    for lookup in choice["lookups"]:
        others = misses(lookup, key)
        if others:
            yield Block(f"Other {word} entries of .hwids{owner(lookup)}", others, fixed=(0,))


def owner(row: Json) -> str:
    """Of a look-up or section, whose it is; nothing for the base's."""
    return "" if row["profile"] is None else f" of profile {row['profile']}"


def lookup_rows(word: str, lookup: Json) -> Iterator[tuple[str, str]]:
    """What one look-up found, or why it was not made."""
    key = KEYS[word][0]
    where = f"section {lookup['section']}{owner(lookup)}"
    count = lookup["entries"]
    yield ".hwids", f"{where}: {count} {word} {'entry' if count == 1 else 'entries'}"
    if lookup["prevented"] is not None:
        yield "but", lookup["prevented"]
        if lookup["matches"]:
            yield "otherwise", _match(lookup["matches"][0], key)
    for label, match in (("first", lookup["winner"]), ("next", lookup["runner_up"])):
        if match is not None:
            yield label, _match(match, key)
    other = lookup["alternative"]
    if other is not None and other != lookup["runner_up"]:
        yield "elsewhere", _match(other, key)
    elif lookup["winner"] is not None and other is None:
        yield "elsewhere", f"no entry that this machine has leads to another {key}"
    yield from (("aside", text) for text in lookup["asides"])


def _match(match: Json, key: str) -> str:
    text = f"entry {match['entry']}, {_device(match['name'], match[key], key)}: by CHID type {match['chid_type']}"
    return text if match["wildcard"] is None else f"{text} ({match['wildcard']})"


def _blob_row(row: Json, key: str) -> tuple[str, ...]:
    strings = row[key] if isinstance(row[key], list) else [row[key]]
    text = ", ".join(text for text in strings if text is not None)
    return row["verdict"], f"{row['section']}{owner(row)}", text, row["why"]


def misses(lookup: Json, key: str) -> list[tuple[str, ...]]:
    """The entries of which something is known one by one; the others counted by device, strangers all together."""
    devices: dict[tuple[str | None, str | None], list[Json]] = {}
    for miss in lookup["misses"]:
        devices.setdefault((miss["name"], miss[key]), []).append(miss)
    own = Counter((match["name"], match[key]) for match in lookup["matches"])
    known: list[tuple[str, ...]] = []
    counted: list[tuple[str, ...]] = []
    strangers: list[tuple[str, ...]] = []
    strange = 0
    for device, rows in devices.items():
        label = _device(*device, key)
        told = [row for row in rows if row["known"]]
        known += [(f"entry {row['entry']}", f"{label}: {row['chid']}, {row['known']}") for row in told]
        silent = len(rows) - len(told)
        if silent and (told or own[device]):
            more = f"; {own[device]} more of the device are this machine's" if own[device] else ""
            counted.append((_entries(silent), f"{label}: nothing in common is known{more}"))
        elif silent:
            strangers.append((_entries(silent), f"{label}: nothing in common is known"))
            strange += silent
    if len(strangers) > _MOST_STRANGERS:
        strangers = [(_entries(strange), f"of {len(strangers)} other devices: nothing in common is known")]
    return known + counted + strangers


def _entries(count: int) -> str:
    return f"{count} {'entry' if count == 1 else 'entries'}"


def _device(name: str | None, string: str | None, key: str) -> str:
    label = "without name" if name is None else f'"{name}"'
    return f"{label}, {f'no {key}' if string is None else string}"


def _others(report: Json) -> Block:
    rows = [(row["releases"], _answer(report, row)) for row in report["other_stubs"]]
    return Block("What each stub would choose", rows, fixed=(0,))


def _answer(report: Json, row: Json) -> str:
    if row["failed"] is not None:
        return f"the boot fails: {row['failed']}"
    found = [
        f"{NOUNS[word]} {chosen[KEYS[word][0]]}" if chosen else f"no {NOUNS[word]}"
        for word, chosen in row["chosen"].items()
        if report["choices"][word]["offered"]
    ]
    return "; ".join([", ".join(found) or "there is nothing to choose", *row["reasons"].values()])
