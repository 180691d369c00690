"""What can be expected of a boot: the keys of `stubsim boot --format json`, or those of them that count.

An expectation holds when the boot has the same there; tables need only have the keys that are of interest. Where the
boot has none of a thing, "none" is expected. What the boot itself calls unknown holds for nobody.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from stubsim.errors import StubsimError
from stubsim.hosts.fixture import BANKS
from stubsim.hosts.reading import Mistake, nearest, shown
from stubsim.rows import NamedTuple
from stubsim.systemd.release import NEWEST_POINT

NONE = "none"
Place = tuple[str, ...]


class Kind(NamedTuple):
    """What a value has to be, in words and as a test."""

    words: str
    fits: Callable[[Any], bool]


def _is_hex(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("(?:[0-9a-f]{2})*", value) is not None


STATUSES = ("kernel-started", "firmware-update", "failed", "hypervisor-abort", "boot-loop", "not-simulated")
_STATUS = Kind(f"one of {', '.join(STATUSES)}", lambda value: value in STATUSES)
_TEXT = Kind("a string", lambda value: isinstance(value, str))
_COUNT = Kind(f'an integer from 0, or "{NONE}"', lambda value: value == NONE or (type(value) is int and value >= 0))
_HEX = Kind(f'lower-case hexadecimal digits, or "{NONE}"', lambda value: value == NONE or _is_hex(value))
_SHA256 = Kind(
    f'64 lower-case hexadecimal digits, or "{NONE}"',
    lambda value: value == NONE or (_is_hex(value) and len(value) == 64),
)
_TEXTS = Kind(
    "a list of strings", lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value)
)

_MATCH = {"entry": _COUNT, "chid_type": _COUNT, "chid": _TEXT, "name": _TEXT}
_PART = {"kind": _TEXT, "name": _TEXT, "offset": _COUNT, "size": _COUNT, "sha256": _SHA256}
_VARIABLE = {"data": _HEX, "text": _TEXT, "attributes": _COUNT}
# The PCRs that are the stub's alone, so that its events are the whole value.
_PCRS = dict.fromkeys(("11", "12", "13"), _HEX)

# Every key; what is in brackets is a list of such tables, "*" stands for any name.
_KEYS: dict[str, Any] = {
    "outcome": {"status": _STATUS, "message": _TEXT, "efi_status": _TEXT},
    "model": {"id": _TEXT},
    "profile": {"index": _COUNT, "id": _TEXT, "title": _TEXT},
    "hwids": {
        "entries": _COUNT,
        "error": _TEXT,
        "matches": {"devicetree": {**_MATCH, "compatible": _TEXT}, "uefi-fw": {**_MATCH, "fwid": _TEXT}},
    },
    "selection": {
        "efifw": {
            "section": _COUNT,
            "fwid": _TEXT,
            "payload": {"size": _COUNT, "sha256": _SHA256, "kind": _TEXT},
        },
        "dtbauto": {"section": _COUNT, "compatible": _TEXT},
    },
    "load_options": _HEX,
    "cmdline": _TEXT,
    "initrd": {"size": _COUNT, "sha256": _SHA256, "parts": [_PART]},
    "devicetree": {"size": _COUNT, "sha256": _SHA256, "source": _TEXT},
    "pcrs": dict.fromkeys(BANKS, _PCRS),
    "variables": {"*": _VARIABLE},
    "log": _TEXTS,
}
EXPECTATIONS = tuple(_KEYS)

# What no boot is without.
_ALWAYS = ((), ("outcome",), ("model",))
# A bare value in place of a table stands for this key of it.
SHORT = {
    ("outcome",): "status",
    ("model",): "id",
    ("profile",): "index",
    ("selection", "efifw"): "fwid",
    ("selection", "dtbauto"): "compatible",
    ("initrd", "parts", "*"): "kind",
    ("variables", "*"): "text",
}
# A bare series of releases is its newest known point release, as with --stub.
_MODELS = {str(major): f"{major}.{point}" for major, point in NEWEST_POINT.items()}


def read_expectations(value: dict[str, Any], place: str) -> dict[str, Any]:
    """The same table, once it is found to expect what can be expected; raises StubsimError in the name of the key."""
    _check(value, _KEYS, place, ())
    return value


def _check(value: object, keys: Any, at: str, path: Place) -> None:
    if isinstance(keys, Kind):
        if not keys.fits(value):
            raise StubsimError(f"{at}: {shown(value)}", expected=keys.words)
    elif isinstance(keys, list):
        if not isinstance(value, list):
            raise StubsimError(f"{at}: {shown(value)}", expected="a list")
        for index, item in enumerate(value):
            _check(item, keys[0], f"{at}[{index}]", (*path, "*"))
    elif isinstance(value, dict):
        for key, inner in value.items():
            try:
                _check(inner, keys.get(key, keys.get("*")) or _strange(key, at, keys), f"{at}.{key}", (*path, key))
            except Mistake:
                raise
            except StubsimError as error:
                raise Mistake(error.message, value, [key], expected=error.expected, hint=error.hint) from None
    elif value != NONE or path in _ALWAYS:
        short = SHORT.get(path) or SHORT.get((*path[:-1], "*"))
        if short is None:
            raise StubsimError(f"{at}: {shown(value)}", expected=f"a table of {', '.join(keys)}")
        _check(value, keys[short], at, (*path, short))


def _strange(key: str, at: str, keys: dict[str, Any]) -> Any:
    if keys is _PCRS:
        hint = "11, 12 and 13 are the stub's alone; stubsim measure tells of others"
        raise StubsimError(f"{at}: PCR {shown(key)[1:-1]}", expected="11, 12 or 13", hint=hint)
    where = f"{at}.{key}" if key.replace("-", "").isidentifier() and len(key) <= 64 else f"{at}: {shown(key)}"
    raise StubsimError(f"{where}: unknown key", hint=nearest([key], tuple(keys), ()))


class Difference(NamedTuple):
    """An expectation that does not hold; ``got`` is what the boot has there, None for nothing at all.

    ``unknown`` says why nobody can tell; ``because`` are sentences on how the boot came to it.
    """

    place: Place
    expected: Any
    got: Any
    unknown: str | None = None
    because: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return ".".join(self.place)


def compared(expected: Any, got: Any, place: Place) -> Iterator[Difference]:
    """Where a boot's value is not the expected one; in tables and lists as far down as both go."""
    if place == ("log",):
        missing = [text for text in expected if not any(text in message for message in got)]
        if missing:
            yield Difference(place, missing, got)
    elif isinstance(expected, dict) and isinstance(got, dict):
        for key, value in expected.items():
            yield from compared(value, got.get(key), (*place, key))
    elif isinstance(expected, list) and isinstance(got, list):
        if len(expected) != len(got) or any(
            next(compared(one, other, (*place, "*")), None) for one, other in zip(expected, got, strict=True)
        ):
            yield Difference(place, expected, alike(expected, got, place))
    elif expected == NONE:
        if got is not None:
            yield Difference(place, expected, alike(expected, got, place))
    elif alike(expected, got, place) != _meant(expected, place):
        yield Difference(place, expected, alike(expected, got, place))


def _meant(expected: Any, place: Place) -> Any:
    return _MODELS.get(expected, expected) if place in (("model",), ("model", "id")) else expected


def alike(expected: Any, got: Any, place: Place) -> Any:
    """The boot's value in the form in which it is expected: a table or the one value that stands for it."""
    if isinstance(got, list):
        shape = expected[0] if isinstance(expected, list) and expected else ""
        return [alike(shape, item, (*place, "*")) for item in got]
    short = SHORT.get(place) or SHORT.get((*place[:-1], "*"))
    if isinstance(got, dict) and short is not None and not isinstance(expected, dict):
        return got.get(short)
    return got
