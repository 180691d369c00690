"""Rewriting expectations to what the boots have now; comments and layout of the rest of the file stay.

tomlkit does that, and only this needs it: the rest reads TOML with the standard library, which has no writer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stubsim.errors import StubsimError
from stubsim.rows import NamedTuple
from stubsim.testing.expectations import NONE, Place
from stubsim.testing.running import Result

_BOM = b"\xef\xbb\xbf"


class Update(NamedTuple):
    """A case file's new content, the places that are new in it, and those that had to be kept, each with the reason."""

    file: str
    content: bytes
    places: tuple[str, ...]
    kept: tuple[tuple[str, str], ...]


def updates(results: Sequence[Result]) -> tuple[Update, ...]:
    """What becomes of each file with an expectation that does not hold.

    Raises StubsimError where tomlkit is not installed, and for a place that it cannot rewrite.
    """
    files = dict.fromkeys(result.run.case.file for result in results if result.differences)
    return tuple(_update(file, [row for row in results if row.run.case.file == file]) for file in files)


def _update(file: str, results: Sequence[Result]) -> Update:
    import tomllib

    tomlkit = _tomlkit()
    with open(file, "rb") as source:
        data = source.read()
    text = data.removeprefix(_BOM).decode()
    plain, document = tomllib.loads(text), tomlkit.parse(text)
    wanted, kept = _wanted(plain, results)
    for place, value in wanted.items():
        for tree, new in ((plain, value), (document, _inline(tomlkit, value))):
            table: Any = tree
            for key in place[:-1]:
                table = table[key]
            table[place[-1]] = new
    rewritten = tomlkit.dumps(document)
    try:
        same = tomllib.loads(rewritten) == plain
    except tomllib.TOMLDecodeError:
        same = False
    places = tuple(map(_name, wanted))
    if not same:
        raise StubsimError(f"cannot be updated in place: {', '.join(places)}", path=file, hint="edit it by hand")
    head = _BOM if data.startswith(_BOM) else b""
    return Update(file, head + rewritten.encode(), places, tuple((_name(place), why) for place, why in kept.items()))


def _tomlkit() -> Any:
    try:
        import tomlkit
    except ImportError:
        message = "--update needs the package tomlkit, which keeps comments and layout"
        raise StubsimError(message, hint="pip install tomlkit") from None
    return tomlkit


def _inline(tomlkit: Any, value: Any) -> Any:
    """A table goes where a single value can stand, and so on one line."""
    if isinstance(value, list):
        array = tomlkit.array()
        array.extend(_inline(tomlkit, item) for item in value)
        return array
    if not isinstance(value, dict):
        return value
    table = tomlkit.inline_table()
    table.update({key: _inline(tomlkit, item) for key, item in value.items()})
    return table


# Keys of tables and places in lists, from the top of the file.
Where = tuple[str | int, ...]


def _wanted(plain: Mapping[str, Any], results: Iterable[Result]) -> tuple[dict[Where, Any], dict[Where, str]]:
    """The new value for each place that everybody who shares it agrees on, and why the other places stay."""
    rows = [(result, _tables(plain, result.run.case.place)) for result in results]
    found: dict[Where, list[Any]] = {}
    kept: dict[Where, str] = {}
    for result, tables in rows:
        for difference in result.differences:
            where = _where(tables, difference.place)
            if difference.unknown is not None:
                kept[where] = f"unknown, because {difference.unknown}"
            elif difference.key == "log":
                kept[where] = "which message is meant is not known"
            else:
                value = NONE if difference.got is None else _written(difference.got)
                found.setdefault(where, []).append(value)
    for where, values in found.items():
        # Whoever has the expectation in the same place, with or without a difference there.
        users = sum(_where(tables, _key(where)) == where for _, tables in rows)
        inside = any(other != where and other[: len(where)] == where[: len(other)] for other in found)
        if inside or len(values) < users or any(value != values[0] for value in values):
            kept.setdefault(where, "not the same on all machines and in all cases that share it")
    return {where: values[0] for where, values in found.items() if where not in kept}, kept


def _tables(plain: Mapping[str, Any], place: str) -> list[tuple[Where, Any]]:
    """The tables of expectations that hold for a case, its own first, with where they stand."""
    top: tuple[Where, Any] = (("expect",), plain.get("expect", {}))
    if not place:
        return [top]
    index = int(place[len("case[") : -1])
    return [(("case", index, "expect"), plain["case"][index].get("expect", {})), top]


def _where(tables: list[tuple[Where, Any]], key: Place) -> Where:
    """Where an expectation stands: in the case's own table if it is there."""
    for where, table in tables:
        inner = table
        for part in key:
            inner = inner.get(part) if isinstance(inner, dict) else None
        if inner is not None:
            return (*where, *key)
    return ()


def _key(where: Where) -> Place:
    return tuple(str(part) for part in where[where.index("expect") + 1 :])


def _name(where: Where) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where).removeprefix(".")


def _written(value: Any) -> Any:
    """TOML has no null: what is absent from a table is left out of it."""
    if isinstance(value, dict):
        return {key: _written(item) for key, item in value.items() if item is not None}
    return [_written(item) for item in value] if isinstance(value, list) else value
