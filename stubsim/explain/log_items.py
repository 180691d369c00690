"""Events of a log and of a prediction, and how they go together."""

from __future__ import annotations

from stubsim.formats import eventlog
from stubsim.rows import NamedTuple
from stubsim.trace import Measured
from stubsim.uefi.boot_manager import PCR_BOOT_MANAGER


class Item(NamedTuple):
    """One event on either side; ``place`` counts from 0: the log's events behind the header, or the boot's own.

    The description is "" where an event has none that can be read, the path of an image that was started. ``by`` is
    the stage that made it, as far as it is known.
    """

    place: int
    pcr: int
    type: str
    tag: int | None
    description: str
    digests: dict[str, bytes]
    by: str | None = None

    @classmethod
    def predicted(cls, place: int, event: Measured) -> Item:
        return cls(place, event.pcr, event.type, event.tag, event.description, event.digests, event.by)

    @classmethod
    def logged(cls, place: int, event: eventlog.Event) -> Item:
        tag, text = eventlog.describe(event)
        return cls(place, event.pcr, eventlog.type_name(event.type), tag, text or "", event.digests)


class Pair(NamedTuple):
    """An event on both sides or on one, and how they relate.

    ``kind`` is differs (both have it), missing (predicted only), extra (logged only) or order; None: they agree.
    """

    kind: str | None
    predicted: Item | None
    logged: Item | None

    @property
    def item(self) -> Item:
        item = self.predicted or self.logged
        assert item is not None
        return item


class Difference(NamedTuple):
    """``kind`` is differs (both have it), missing (predicted only), extra (logged only), order, or bank (no event)."""

    kind: str
    predicted: Item | None
    logged: Item | None
    cause: str

    @property
    def item(self) -> Item | None:
        return self.predicted or self.logged


def is_image(item: Item) -> bool:
    """An image that was started."""
    return item.pcr == PCR_BOOT_MANAGER
