"""A first suite for a UKI: what it does now on each of a number of machines, as a case file."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from stubsim.errors import StubsimError
from stubsim.printable import clean, without_commands
from stubsim.testing.cases import Case, Machine
from stubsim.testing.expectations import NONE, alike
from stubsim.testing.observed import observed, unknown
from stubsim.testing.running import Inputs, Run

# Bare keys of TOML 1.0.
_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
_OFFERED = {"efifw": ".efifw", "dtbauto": ".dtbauto"}


def first_suite(uki: str, machines: Sequence[Machine], folder: str, *, allow_outside: bool = False) -> str:
    """The text of a case file that is to lie in ``folder``; machines on which all is the same share a case.

    Raises StubsimError for what cannot be read.
    """
    inputs = Inputs(allow_outside=allow_outside)
    groups: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for machine in machines:
        name, body = _expected(inputs, uki, machine)
        groups.setdefault(body, []).append(_relative(machine.path, folder))
        names.setdefault(body, name)
    text = f"uki = {_string(_relative(uki, folder))}\n"
    taken: dict[str, int] = {}
    for body, paths in groups.items():
        title = names[body]
        if title in taken:
            title += f", as on {os.path.splitext(os.path.basename(paths[0]))[0]}"
        taken[title] = taken.get(title, 0) + 1
        if taken[title] > 1:
            title += f" ({taken[title]})"
        listed = _string(paths[0])
        if len(paths) > 1:
            listed = "[\n" + "".join(f"  {_string(path)},\n" for path in paths) + "]"
        text += f"\n[[case]]\nname = {_string(title)}\nhost = {listed}\n\n[case.expect]\n{body}"
    return text


def _expected(inputs: Inputs, uki: str, machine: Machine) -> tuple[str, str]:
    """The name of the case, and the lines of its expectations."""
    boot = inputs.boot(Run(Case("", "", "", uki, (machine,), _NO_OPTIONS, {}), machine))
    offered = {section.name for section in boot.uki.image.sections} & set(boot.model.sections)
    chosen = observed(boot, "selection")
    selection = {
        kind: alike(NONE, chosen[kind], ("selection", kind)) for kind, name in _OFFERED.items() if name in offered
    }
    pcrs = {bank: {"11": values["11"]} for bank, values in (observed(boot, "pcrs") or {}).items()}
    failed = boot.outcome.status == "failed"
    found = {
        "model": boot.model.id,
        "outcome": observed(boot, "outcome") if failed else boot.outcome.status,
        "selection": selection,
        "cmdline": observed(boot, "cmdline"),
        "pcrs": {} if boot.prepared is None else pcrs,
    }
    lines = []
    for key, value in found.items():
        why = None if value == {} else unknown(boot, key)
        if why is None:
            lines += [f"{place} = {_value(item)}\n" for place, item in _leaves(key, value)]
        else:
            lines.append(f"# {key} is unknown: {clean(' '.join(why.split()))}\n")
    return _name(failed, selection, unknown(boot, "selection") is not None), "".join(lines)


def _name(failed: bool, selection: dict[str, Any], is_unknown: bool) -> str:
    if failed:
        return "fails"
    if is_unknown:
        return "choice unknown"
    picked = [str(value) for value in selection.values() if value is not None]
    return " and ".join(picked) or ("nothing chosen" if selection else "boots")


_NO_OPTIONS: dict[str, Any] = {}


def _leaves(place: str, value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        return [(place, value)]
    return [
        leaf
        for key, item in value.items()
        for leaf in _leaves(f"{place}.{key if _BARE.issuperset(key) else _string(key)}", item)
    ]


def _value(value: object) -> str:
    return _string(NONE) if value is None else _string(value) if isinstance(value, str) else str(value)


def _string(text: str) -> str:
    """A basic string of TOML: JSON's escapes are among its own; what else is not printable gets the longest one."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise StubsimError(f"{text!r} cannot be written", expected="text without lone surrogates") from error
    quoted = json.dumps(text, ensure_ascii=False)
    shown = "".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in quoted)
    return without_commands(shown, number_sign=r"\u0023")


def _relative(path: str, folder: str) -> str:
    return os.path.relpath(path, folder)
