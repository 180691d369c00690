"""Reading a JSON file strictly: values by key, and complaints in the key's name.

A typo must not silently become a default, so unknown keys and wrong types are errors that name the key. Whoever reads
stops at the first mistake; to find them all, what is wrong is taken away and the rest is read again.
"""

from __future__ import annotations

import binascii
import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar
from uuid import UUID

from stubsim.errors import StubsimError
from stubsim.rows import NamedTuple

Read = TypeVar("Read")

_ABSENT = object()
# In place of an item that is wrong, so that the others keep their numbers; as a key of an object that lacks something.
_LEFT_OUT: Any = object()
# Mistakes of one file that are told.
_MISTAKES_MAX = 20


class Mistake(StubsimError):  # noqa: N818 - in the file, and there may be more
    """What is wrong with these keys of an object of the file, or with items of its arrays (``key[3]``)."""

    def __init__(
        self,
        message: str,
        holder: dict[str, Any],
        keys: Sequence[Any],
        *,
        expected: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, expected=expected, hint=hint)
        self.holder, self.keys = holder, keys

    def take_away(self) -> None:
        """Let the file be read again without it, or without the object that lacks it."""
        for key in self.keys:
            name, _, index = str(key).partition("[")
            if key in self.holder:
                del self.holder[key]
            elif index and name in self.holder:
                self.holder[name][int(index[:-1])] = _LEFT_OUT
            else:
                self.holder[_LEFT_OUT] = True


def every_mistake(value: object, read: Callable[[Any], Read]) -> Read:
    """What is read of a decoded file; StubsimError with all that is wrong, the others in ``more`` of the first."""
    try:
        return read(value)
    except StubsimError as error:
        found = [error]
    from copy import deepcopy

    # The first read of the copy fails as the one before did.
    rest, places = deepcopy(value), {_place(found[0]), *_meant(found[0])}
    for _ in range(_MISTAKES_MAX):
        try:
            read(rest)
            break
        except StubsimError as error:
            if _place(error) not in places:
                found.append(error)
                places |= {_place(error), *_meant(error)}
            if not isinstance(error, Mistake):
                break
            error.take_away()
            if _is_left_out(rest):
                break
    found[0].more = tuple(found[1:])
    raise found[0]


def _place(error: StubsimError) -> str:
    """What a complaint is about: that something is missing is no news where what stood there was taken away."""
    return error.message.partition(": ")[0]


def _meant(error: StubsimError) -> list[str]:
    """The keys that the hint takes an unknown one for: that these are missing is no news either."""
    holder = _place(error).rpartition(".")[0]
    names = (error.hint or "").removeprefix("did you mean ").removesuffix("?").split(", ")
    return [f"{holder}.{name}" if holder else name for name in names]


def _is_left_out(value: object) -> bool:
    return value is _LEFT_OUT or (isinstance(value, dict) and _LEFT_OUT in value)


class Layout(NamedTuple):
    """The keys of every object by where it stands ("" is the top level), and the dotted names that hints may give."""

    keys: dict[str, tuple[str, ...]]
    names: tuple[str, ...]


def parse(data: bytes) -> object:
    """Decode JSON in UTF-8, with or without a byte order mark; StubsimError for anything else, and for a key twice."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise StubsimError("not UTF-8", offset=error.start, expected="JSON in UTF-8") from error
    body = text.removeprefix("\ufeff")
    try:
        return json.loads(body, object_pairs_hook=_unique, parse_constant=_constant)
    except json.JSONDecodeError as error:
        offset = len(data) - len(body[error.pos :].encode())
        where = f"line {error.lineno}, column {error.colno}"
        what = "more follows the JSON" if error.msg == "Extra data" else error.msg
        raise StubsimError(f"{where}: {what}", offset=offset, expected="JSON, one object") from error
    except RecursionError as error:
        raise StubsimError("nested too deeply", expected="a JSON object") from error
    except ValueError as error:  # Python reads no integer of more than 4300 digits
        raise StubsimError("a number is too long", expected="JSON") from error


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) < len(pairs):
        count = Counter(key for key, _ in pairs)
        twice = next(key for key in value if count[key] > 1)
        raise StubsimError(f"{_name(twice)}: given twice in one object", expected="each key once")
    return value


def _constant(text: str) -> NoReturn:
    raise StubsimError(f"{text} is not JSON", expected="JSON")


class Object(NamedTuple):
    """One JSON object of the file; reads its values by key and complains in the key's name."""

    place: str
    value: dict[str, Any]
    layout: Layout

    def at(self, key: str) -> str:
        return f"{self.place}.{key}" if self.place else key

    def fail(self, key: str, expected: str, hint: str | None = None) -> NoReturn:
        value = self._indexed(key)
        found = "missing" if value is _ABSENT else shown(value)
        raise Mistake(f"{self.at(key)}: {found}", self.value, [key], expected=expected, hint=hint)

    def _indexed(self, key: str) -> Any:
        name, _, index = key.partition("[")
        value = self.value.get(name, _ABSENT)
        return value[int(index[:-1])] if index else value

    def get(self, key: str, default: Any) -> Any:
        return self.value.get(key, default)

    def child(self, key: str) -> Object:
        """The object of that key, an empty one where the key is absent."""
        return self._read(key, self.value.get(key, {})) or Object(self.at(key), {}, self.layout)

    def nullable(self, key: str, default: dict[str, Any] | None) -> Object | None:
        value = self.value.get(key, default)
        return None if value is None else self._read(key, value)

    def _read(self, key: str, value: object, keys: tuple[str, ...] | None = None) -> Object | None:
        """The object under a key; None for one that lacks something, when the rest of the file is read."""
        if not isinstance(value, dict):
            raise Mistake(f"{self.at(key)}: {shown(value)}", self.value, [key], expected="a JSON object")
        return None if _is_left_out(value) else read_object(value, self.layout, self.at(key), keys)

    def items(self, key: str, default: list[Any] | None = None) -> list[tuple[str, Any]]:
        """The items of an array, each with its name for complaints."""
        value = self.value.get(key, default or [])
        if not isinstance(value, list):
            self.fail(key, "an array")
        return [(f"{key}[{index}]", item) for index, item in enumerate(value) if not _is_left_out(item)]

    def objects(self, key: str) -> list[Object]:
        """The objects of an array; their keys stand in the layout under the array's name with []."""
        keys = self.layout.keys[f"{self.at(key)}[]"]
        found = [self._read(name, item, keys) for name, item in self.items(key)]
        return [item for item in found if item is not None]

    def text(self, key: str) -> str | None:
        return self.string(key, "") if self.value.get(key) is not None else None

    def string(self, key: str, default: str) -> str:
        value = self.value.get(key, default)
        if not isinstance(value, str):
            self.fail(key, "a string")
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            self.fail(key, "a string without lone surrogates")
        return value

    def integer(self, key: str, default: int | None, maximum: int) -> int:
        value = self.value.get(key, default)
        if type(value) is not int or not 0 <= value <= maximum:
            self.fail(key, f"an integer from 0 to {maximum}")
        return value

    def boolean(self, key: str, default: bool) -> bool:
        value = self.value.get(key, default)
        if not isinstance(value, bool):
            self.fail(key, "true or false")
        return value

    def choice(self, key: str, choices: tuple[str, ...], default: str | None = None) -> str | None:
        value = self.value.get(key, default)
        if value is not None and value not in choices:
            self.fail(key, f"one of {', '.join(choices)}")
        return value

    def base64(self, key: str) -> bytes | None:
        text = self.text(key)
        if text is None:
            return None
        try:
            return binascii.a2b_base64(text, strict_mode=True)
        except ValueError:
            self.fail(key, "base64")

    def hex(self, key: str) -> bytes | None:
        text = self.text(key)
        if text is None:
            return None
        try:
            return binascii.unhexlify(text)
        except ValueError:
            self.fail(key, "hexadecimal digits, two for each byte")

    def guid(self, key: str) -> UUID | None:
        text = self.text(key)
        if text is None:
            return None
        try:
            guid = UUID(text)
        except ValueError:
            guid = None
        # UUID() takes braces, "urn:uuid:" and dashes anywhere
        if guid is None or str(guid) != text.lower():
            self.fail(key, "a GUID like 4a67b082-0a4c-41cf-b6c7-440b29bb8c4f")
        return guid


def read_object(value: object, layout: Layout, place: str = "", keys: tuple[str, ...] | None = None) -> Object:
    """The JSON object that stands at a place, with no key but those of the place's layout (or else ``keys``)."""
    keys = layout.keys[place] if keys is None else keys
    if not isinstance(value, dict):
        where = f"{place}: " if place else ""
        raise StubsimError(f"{where}{shown(value)}", expected="a JSON object")
    item = Object(place, value, layout)
    strange = [key for key in value if key not in keys]
    if strange:
        names = ", ".join(item.at(_name(key)) for key in strange[:5])
        more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""
        what = "unknown key" if len(strange) == 1 else "unknown keys"
        raise Mistake(f"{names}{more}: {what}", value, strange, hint=nearest(strange[:5], keys, layout.names))
    return item


def nearest(strange: list[Any], known: tuple[str, ...], names: tuple[str, ...]) -> str | None:
    """A hint with the known name nearest to each strange one; the same key elsewhere in the file is nearer still."""
    from difflib import get_close_matches

    near = []
    for key in strange:
        if isinstance(key, str):
            elsewhere = [name for name in names if name.rpartition(".")[2] == key]
            near += elsewhere[:1] or get_close_matches(key[:64], known, 1, 0.0)
    return f"did you mean {', '.join(dict.fromkeys(near))}?" if near else None


def _name(key: object) -> str:
    """A key as it is spelled, quoted where it is none that anybody would write."""
    return key if isinstance(key, str) and key.isidentifier() and len(key) <= 64 else shown(key)


def shown(value: object) -> str:
    """What stands in the file, for an error message: short, and printable whatever it is."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 64 else "a huge integer"
    if isinstance(value, bytes):
        value = value.decode(errors="backslashreplace")
    if isinstance(value, str):
        return repr(value[:60]) + ("..." if len(value) > 60 else "")
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, tuple):
        return ", ".join(shown(item) for item in value[:5]) or "none"
    return "an array" if isinstance(value, list) else repr(value)[:60]
