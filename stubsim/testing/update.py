"""Rewriting expectations to what the boots have now; comments and layout of the rest of the file stay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from stubsim.errors import StubsimError
from stubsim.testing.expectations import NONE, Place
from stubsim.testing.running import Result

_BOM = b"\xef\xbb\xbf"


class Update(NamedTuple):
    """A case file's new content, and the keys that are new in it."""

    file: str
    content: bytes
    keys: tuple[str, ...]


def updates(results: Sequence[Result]) -> tuple[Update, ...]:
    """The files to rewrite, so that as many expectations hold as can be made to.

    Left as they are: what is unknown, texts expected in the log, and what would have to be two things at once because
    machines or cases share it. Raises StubsimError where tomlkit is not installed.
    """
    files = dict.fromkeys(result.run.case.file for result in results if result.differences)
    made = [_update(file, [row for row in results if row.run.case.file == file]) for file in files]
    return tuple(update for update in made if update is not None)


def _update(file: str, results: Sequence[Result]) -> Update | None:
    import tomllib

    tomlkit = _tomlkit()
    with open(file, "rb") as source:
        data = source.read()
    text = data.removeprefix(_BOM).decode()
    plain, document = tomllib.loads(text), tomlkit.parse(text)
    wanted = _wanted(plain, results)
    if not wanted:
        return None
    for place, value in wanted.items():
        for tree in (plain, document):
            table: Any = tree
            for key in place[:-1]:
                table = table[key]
            table[place[-1]] = value
    new = tomlkit.dumps(document)
    try:
        same = tomllib.loads(new) == plain
    except tomllib.TOMLDecodeError:
        same = False
    if not same:
        keys = ", ".join(_name(place) for place in wanted)
        raise StubsimError(f"cannot be updated in place: {keys}", path=file, hint="edit it by hand")
    head = _BOM if data.startswith(_BOM) else b""
    return Update(file, head + new.encode(), tuple(_name(place) for place in wanted))


def _tomlkit() -> Any:
    try:
        import tomlkit
    except ImportError:
        message = "--update needs the package tomlkit, which keeps comments and layout"
        raise StubsimError(message, hint="pip install 'stubsim[check]'") from None
    return tomlkit


Where = tuple[str | int, ...]


def _wanted(plain: Mapping[str, Any], results: Iterable[Result]) -> dict[Where, Any]:
    """Place in the file -> new value, for each that everybody who shares the place agrees on."""
    found: dict[Where, list[Any]] = {}
    users: dict[Where, int] = {}
    rows = [(result, _tables(plain, result.run.case.place)) for result in results if result.error is None]
    for result, tables in rows:
        for difference in result.differences:
            if difference.unknown is None and difference.key != "log":
                where = _where(tables, difference.place)
                value = NONE if difference.got is None else _written(difference.got)
                found.setdefault(where, []).append(value)
    for where in found:
        # Whoever has the expectation in the same place, with or without a difference there.
        users[where] = sum(_where(tables, _key(where)) == where for _, tables in rows)
    return {
        where: values[0]
        for where, values in found.items()
        if len(values) == users[where]
        and all(value == values[0] for value in values)
        and not any(other != where and other[: len(where)] == where[: len(other)] for other in found)
    }


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
