"""What a boot has of each thing that can be expected of it, in the shape of its JSON, and what of that is unknown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from stubsim.explain.selection import reasons
from stubsim.formats import fdt, hwids
from stubsim.formats.efi_string import from_utf16
from stubsim.result import Boot
from stubsim.stub.chid_match import Match
from stubsim.systemd.measure import PCR_KERNEL_CONFIG, PCR_KERNEL_IMAGE, PCR_SYSTEM_EXTENSIONS
from stubsim.testing.expectations import Difference, compared
from stubsim.trace import Log, Unknown, VariableSet

# What the choice of sections has a part in.
_CHOSEN = ("selection", "hwids", "devicetree", "pcrs")
_STUB_PCRS = (PCR_KERNEL_IMAGE, PCR_KERNEL_CONFIG, PCR_SYSTEM_EXTENSIONS)


def differences(boot: Boot, expect: dict[str, Any], accept_unknown: Iterable[str] = ()) -> tuple[Difference, ...]:
    """Every expectation that does not hold, in their order, with what is known of the reason.

    An expectation of something unknown is one of them, unless it is named in ``accept_unknown``: then it is compared
    with what the boot takes to be most likely.
    """
    found: list[Difference] = []
    for key, expected in expect.items():
        why = {} if key in accept_unknown else _unknown(boot, key)
        if "" in why:
            found.append(Difference((key,), expected, None, why[""]))
            continue
        if key == "pcrs":
            found += _unknown_pcrs(expected, why)
        found += [
            row._replace(because=_because(boot, row))
            for row in compared(expected, observed(boot, key), (key,))
            if row.place[-1] not in why
        ]
    return tuple(found)


def observed(boot: Boot, key: str) -> Any:
    """What the boot has under one of the keys of EXPECTATIONS."""
    return _OBSERVED[key](boot)


def unknown(boot: Boot, key: str) -> str | None:
    """Why nobody can tell what is under the key, or not all of it; None where all of it is known."""
    return "; ".join(dict.fromkeys(_unknown(boot, key).values())) or None


def _unknown(boot: Boot, key: str) -> dict[str, str]:
    """The reasons, for PCRs by number, else under ""."""
    events = [row for row in boot.trace if isinstance(row, Unknown) and key in row.affects]
    if key != "pcrs":
        return {"": _text(events)} if events else {}
    # Of a gap in the host file it is known which registers it changes, unless the stub does not come to them.
    ended = {gap for other in boot.others if other.boot.prepared is None for gap in other.keys}
    why: dict[str, str] = {}
    for row in events:
        by_register = row.what not in ended if row.what in boot.host.unknown else bool(row.pcrs)
        for pcr in row.pcrs if by_register else _STUB_PCRS:
            why.setdefault(str(pcr), _text([row]))
    return why


def _text(events: Iterable[Unknown]) -> str:
    return "; ".join(dict.fromkeys(f"{row.what}: {row.why}" for row in events))


def _unknown_pcrs(expected: Any, why: dict[str, str]) -> list[Difference]:
    return [
        Difference(("pcrs", bank, pcr), value, None, why[pcr])
        for bank, values in (expected.items() if isinstance(expected, dict) else ())
        for pcr, value in (values.items() if isinstance(values, dict) else ())
        if pcr in why
    ]


def _because(boot: Boot, difference: Difference) -> tuple[str, ...]:
    """What the boot can say on how it came to a value."""
    key, *place = difference.place
    if key == "outcome":
        errors = [event.message for event in boot.trace if isinstance(event, Log) and event.level == "error"]
        return (*errors, *([boot.outcome.because] if boot.outcome.because else ()))
    if key not in _CHOSEN or place[1:] in (["12"], ["13"]):
        return ()
    sentences = reasons(boot)
    words = {"efifw": ".efifw", "dtbauto": ".dtbauto"}
    only = words.get(place[0]) if place else ".dtbauto" if key == "devicetree" else None
    return tuple(text for text in sentences if only is None or text.startswith(f"{only}: "))


def _hwids(boot: Boot) -> Any:
    sections = boot.sections
    data, found = (None, {}) if sections is None else (sections.data(".hwids"), sections.matches)
    return {
        "entries": 0 if data is None else len(hwids.walk(data)),
        "error": None if sections is None else sections.hwids_error,
        "matches": {word: _match(found.get(kind), string) for word, (kind, string) in hwids.KINDS.items()},
    }


def _match(match: Match | None, string: str) -> Any:
    if match is None:
        return None
    entry = match.entry
    text = None if match.string is None else match.string.decode("utf-8", "replace")
    row = {"entry": entry.index, "chid_type": match.chid_type, "chid": str(entry.chid), "name": entry.name}
    return {**row, string: text}


def _selection(boot: Boot) -> Any:
    chosen: dict[str, Any] = {"efifw": None, "dtbauto": None}
    if boot.sections is None:
        return chosen
    section, firmware = boot.sections.section(".efifw"), boot.sections.efifw()
    if section is not None and firmware is not None:
        from stubsim.formats import payload

        digest, kind = boot.digests.sha256(firmware.payload).hex(), payload.kind(firmware.payload).name
        chosen["efifw"] = {
            "section": section.index,
            "fwid": firmware.fwid.decode("utf-8", "replace"),
            "payload": {"size": len(firmware.payload), "sha256": digest, "kind": kind},
        }
    section, tree = boot.sections.section(".dtbauto"), boot.sections.data(".dtbauto")
    if section is not None and tree is not None:
        chosen["dtbauto"] = {"section": section.index, "compatible": fdt.root_compatible(tree)[0]}
    return chosen


def _profile(boot: Boot) -> Any:
    own = boot.profile
    return own and {"index": own.index, "id": own.id, "title": own.title}


def _initrd(boot: Boot) -> Any:
    initrd = None if boot.prepared is None else boot.prepared.initrd
    if initrd is None:
        return None
    digest = boot.digests.sha256_of_parts
    parts = [
        {
            **{key: getattr(part, key) for key in ("kind", "name", "offset", "size")},
            "sha256": digest(part.parts).hex() if part.known else None,
        }
        for part in initrd.initrds
    ]
    return {"size": initrd.size, "sha256": digest(initrd.parts).hex() if initrd.known else None, "parts": parts}


def _devicetree(boot: Boot) -> Any:
    tree = None if boot.prepared is None else boot.prepared.devicetree
    if tree is None:
        return None
    return {
        "size": len(tree.data) if tree.data is not None else None,
        "sha256": boot.digests.sha256(tree.data).hex() if tree.data is not None else None,
        "source": tree.source if tree.section is None else f"{tree.source} (section {tree.section})",
    }


def _variables(boot: Boot) -> Any:
    random = {event.name for event in boot.trace if isinstance(event, VariableSet) and event.data is None}
    return {
        row.name: {
            "attributes": row.attributes,
            "data": None if row.name in random else row.data.hex(),
            "text": None if row.name in random else _string(row.data),
        }
        for row in boot.variables
    }


def _string(data: bytes) -> str | None:
    """A variable that is a UTF-16 string with its NUL, as nearly all are."""
    if len(data) % 2 or data[-2:] != b"\0\0":
        return None
    return from_utf16(data)


_OBSERVED: dict[str, Callable[[Boot], Any]] = {
    "outcome": lambda boot: {key: getattr(boot.outcome, key) for key in ("status", "message", "efi_status")},
    "model": lambda boot: {"id": boot.model.id},
    "profile": _profile,
    "hwids": _hwids,
    "selection": _selection,
    "load_options": lambda boot: None if boot.load_options is None else boot.load_options.hex(),
    "cmdline": lambda boot: None if boot.prepared is None else boot.prepared.cmdline,
    "initrd": _initrd,
    "devicetree": _devicetree,
    "pcrs": lambda boot: (
        {bank: {str(pcr): value.hex() for pcr, value in values.items()} for bank, values in boot.pcrs.items()} or None
    ),
    "variables": _variables,
    "log": lambda boot: [event.message for event in boot.trace if isinstance(event, Log)],
}
