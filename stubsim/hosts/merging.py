"""Two sources for one machine joined: what the first does not know is taken from the second."""

from __future__ import annotations

import json
from typing import Any

from stubsim.hosts.host import Host
from stubsim.hosts.reading import shown
from stubsim.rows import NamedTuple

_SMBIOS = ("fields", "oem_strings", "structures", "damage")
_NOT_VALUES = (*_SMBIOS, "name", "source", "unknown")


class Conflict(NamedTuple):
    """A key of the host file that two sources have differently, with their values in words: the first counts."""

    key: str
    first: str
    second: str


class Merged(NamedTuple):
    """The machine, and what the two say differently."""

    host: Host
    conflicts: tuple[Conflict, ...]


def merge(first: Host, second: Host) -> Merged:
    """A key counts as known where a source does not say that it is unknown; a default is no contradiction."""
    conflicts: list[Conflict] = []
    unknown: set[str] = set()
    values: dict[str, Any] = {}
    for key in (name for name in Host._fields if name not in _NOT_VALUES):
        ours, theirs = getattr(first, key), getattr(second, key)
        if _doubt(first, key) and not _doubt(second, key):
            values[key] = theirs
            continue
        values[key] = ours
        unknown |= _doubt(first, key)
        if not _doubt(first, key) | _doubt(second, key) and ours != theirs != getattr(Host(), key):
            conflicts.append(Conflict(key, _said(ours), _said(theirs)))
    values |= _smbios(first, second, unknown, conflicts)
    sources = [text for text in (first.source, second.source) if text]
    host = Host(
        **values,
        name=first.name or second.name,
        source=" and ".join(dict.fromkeys(sources)) or None,
        unknown=frozenset(unknown),
    )
    return Merged(host, tuple(conflicts))


def _doubt(host: Host, key: str) -> set[str]:
    """What of a key is not known: itself, or keys below it."""
    return {name for name in host.unknown if name == key or name.startswith(f"{key}.")}


def _smbios(first: Host, second: Host, unknown: set[str], conflicts: list[Conflict]) -> dict[str, Any]:
    """The strings, each by itself; a whole table where only the second has one and the first says nothing else."""
    for key in first.fields._fields:
        ours, theirs = getattr(first.fields, key), getattr(second.fields, key)
        if not _unknown_string(first, key) | _unknown_string(second, key) and ours != theirs:
            conflicts.append(Conflict(f"smbios.{key}", _said(ours), _said(theirs)))
    if first.structures is not None:
        return {key: getattr(first, key) for key in _SMBIOS}
    differs = any(row.key.startswith("smbios.") for row in conflicts)
    if second.structures is not None and not differs:
        return {key: getattr(second, key) for key in _SMBIOS}
    fields = {}
    for key in first.fields._fields:
        taken = second if _unknown_string(first, key) else first
        fields[key] = getattr(taken.fields, key)
        if _unknown_string(taken, key):
            unknown.add(f"smbios.{key}")
    taken = second if _unknown_string(first, "oem_strings") else first
    if _unknown_string(taken, "oem_strings"):
        unknown.add("smbios.oem_strings")
    return {
        "fields": first.fields._replace(**fields),
        "oem_strings": taken.oem_strings,
        "structures": None,
        "damage": first.damage,
    }


def _unknown_string(host: Host, key: str) -> bool:
    return bool(host.unknown & {"smbios", "smbios_table", f"smbios.{key}"})


def _said(value: Any) -> str:
    """A value as it stands in a host file; of several rows their number."""
    if isinstance(value, tuple) and value and hasattr(value[0], "_asdict"):
        return f"{len(value)} of them"
    return json.dumps(_object(value), default=shown) if hasattr(value, "_asdict") else shown(value)


def _object(value: Any) -> Any:
    return {key: _object(item) for key, item in value._asdict().items()} if hasattr(value, "_asdict") else value
