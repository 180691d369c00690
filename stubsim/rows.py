"""NamedTuple for rows: typing's own to a type checker, at a third of its price to a program that starts.

typing's compiles every annotation in order to check it (docs/decisions/0009-rows-are-made-here.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414
else:
    from collections import namedtuple

    class _Rows(type):
        def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> type:
            if not bases:
                return super().__new__(cls, name, bases, body)
            fields = body["__annotations__"]
            defaults = [body.pop(field) for field in fields if field in body]
            row = namedtuple(name, fields, defaults=defaults, module=body.pop("__module__"))
            for attribute, value in body.items():
                setattr(row, attribute, value)
            return row

    class NamedTuple(metaclass=_Rows):
        """The base of a row: fields by annotation, those with a default last; methods as in any class."""
