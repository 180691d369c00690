"""The images that a log says were started (PCR 4) beside those of the prediction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeGuard

from stubsim.errors import StubsimError
from stubsim.explain.boot_manager import loader_info
from stubsim.explain.log_facts import Application
from stubsim.explain.log_items import Item, Pair
from stubsim.formats import pe
from stubsim.result import Boot
from stubsim.rows import NamedTuple
from stubsim.start import Start
from stubsim.stub.kernel import KERNEL_PATH
from stubsim.systemd.measure import PCR_KERNEL_IMAGE
from stubsim.trace import Event, ImageLoaded, Unknown
from stubsim.uefi.boot_manager import PCR_BOOT_MANAGER
from stubsim.uefi.esp import Esp

_TYPE = "EV_EFI_BOOT_SERVICES_APPLICATION"


class Images(NamedTuple):
    """The first of ``pairs`` is that of the UKI; ``place`` is where the log has it, or what stands in its place.

    ``started`` is that place where it is this UKI, else -1; ``before`` what was started in front. ``unknown`` is why
    what stands in front is not compared.
    """

    started: int
    place: int
    before: tuple[Application, ...]
    pairs: tuple[Pair, ...]
    hints: tuple[str, ...]
    unknown: str | None


def compare_images(
    boot: Boot, start: Start, applications: Sequence[Application], logged: Sequence[Item], banks: Sequence[str]
) -> Images:
    """Lay the log's applications beside the prediction's; ``logged`` are all events of the log."""
    unknown = _unknown_front(boot, start)
    if not applications:
        hint = "the log does not say which images were started (no boot application in PCR 4)"
        return Images(-1, -1, (), (), (hint,), unknown)
    try:
        own = _own(boot, banks)
        loaded = [_item(boot, place, event, banks) for place, event in enumerate(boot.trace) if _is_application(event)]
    except StubsimError as error:
        hint = f"whether this UKI was started is not known, it has no Authenticode digest: {error.message}"
        return Images(-1, -1, (), (), (hint,), unknown)
    measuring = [item.place for item in logged if item.pcr == PCR_KERNEL_IMAGE]
    same = [row for row in applications if _same(own, row, banks)]
    # Where the UKI was started, unless its stub measured nothing from there on.
    mine = same[-1] if same else _measuring(applications, measuring)
    started = mine.place if same and any(place > mine.place for place in measuring) else -1
    # One whose stub has measured was a UKI that came back.
    came_back = max((place for place in measuring if place < mine.place), default=-1)
    before = tuple(row for row in applications if came_back < row.place < mine.place)
    others = [_name(row) for row in applications if row.place < came_back]
    stages = [item for item in loaded if item.by != "stub" and not _equal(item, own, banks)]
    front, hints = _front(boot, start, stages, before, banks, unknown)
    pairs = [Pair(None if same else "differs", own, _logged(mine)), *front]
    if boot.outcome.status == "kernel-started" and not _left_open(boot):
        later = [row for row in applications if row.place > mine.place]
        pairs += _for_the_stub([item for item in loaded if item.by == "stub"], later, banks)
    return Images(started, mine.place, before, tuple(pairs), (*hints, *_also(others)), unknown)


def _own(boot: Boot, banks: Sequence[str]) -> Item:
    """The UKI itself, also where the firmware refuses it."""
    by = "firmware" if boot.loader is None else "loader"
    place = next((place for place, event in enumerate(boot.trace) if _is_uki(boot, event)), 0)
    path = boot.image.path if boot.image is not None else None
    return _item(boot, place, ImageLoaded(path or "", pe.APPLICATION, boot.uki.image.data, by), banks)


def _is_uki(boot: Boot, event: Event) -> bool:
    return isinstance(event, ImageLoaded) and event.data is boot.uki.image.data


def _is_application(event: Event) -> TypeGuard[ImageLoaded]:
    return isinstance(event, ImageLoaded) and event.subsystem == pe.APPLICATION


def _left_open(boot: Boot) -> bool:
    return any(event.what == f"PCR {PCR_BOOT_MANAGER}" for event in boot.events(Unknown))


def _unknown_front(boot: Boot, start: Start) -> str | None:
    """Why it is not known what stands before the UKI."""
    if start.shell is not None:
        return "the UEFI shell has started the UKI"
    if start.from_memory:
        return "a program has started the UKI from memory"
    info = loader_info(boot)
    if boot.loader is None and start.loader is None and start.esp is not None and info is not None:
        return f"{info} has started the UKI (LoaderInfo), and its image is not in --esp"
    return None


def _measuring(applications: Sequence[Application], measuring: Sequence[int]) -> Application:
    """The image whose stub has measured, where it is not this UKI."""
    first = min(measuring, default=None)
    before = [row for row in applications if first is None or row.place < first]
    return (before or list(applications))[-1]


def _front(  # noqa: PLR0917 - one of each
    boot: Boot,
    start: Start,
    stages: Sequence[Item],
    before: Sequence[Application],
    banks: Sequence[str],
    unknown: str | None,
) -> tuple[list[Pair], list[str]]:
    """shim and boot loader, and what else was started before the UKI."""
    names = ", ".join(map(_name, before))
    if unknown is not None:
        return [], [f"PCR 4: {names} was started before the UKI, and is not compared: {unknown}"] if before else []
    if stages:
        rest, pairs = list(before), []
        for stage in stages:
            same = next((row for row in rest if _same(stage, row, banks)), None)
            if same is not None:
                rest.remove(same)
                pairs.append(Pair(None, stage, _logged(same)))
        for stage in stages:
            if all(pair.predicted is not stage for pair in pairs):
                other = rest.pop() if rest else None
                pairs.append(Pair("missing", stage, None) if other is None else Pair("differs", stage, _logged(other)))
        return pairs, list(_also([_name(row) for row in rest]))
    if not before:
        return [], []
    if start.loader is None and start.esp is not None and not _is_loader(boot, start.esp, before[-1].path):
        return [], [f"PCR 4: {names} has started the UKI, which is not a systemd-boot of --esp, and is not compared"]
    return [Pair("extra", None, _logged(before[-1]))], []


def _also(names: Sequence[str]) -> Iterator[str]:
    if names:
        yield f"PCR 4 has other images from before: {', '.join(names)}; it is not that of this boot alone"


def _name(row: Application) -> str:
    return row.path or "an image without a path"


def _is_loader(boot: Boot, root: str, path: str | None) -> bool:
    from stubsim.loader.image import find_loader

    try:
        return path is not None and find_loader(Esp(root), boot.uki.machine, path) is not None
    except StubsimError:
        return False


def _for_the_stub(loaded: Sequence[Item], later: Sequence[Application], banks: Sequence[str]) -> Iterator[Pair]:
    """Addons and the kernel: those with one digest are the same, those of one path differ."""
    rest = list(later)
    for item in loaded:
        same = next((row for row in rest if _same(item, row, banks)), None)
        same = same or next((row for row in rest if row.path is not None and row.path == item.description), None)
        if same is None:
            yield Pair("missing", item, None)
        else:
            rest.remove(same)
            yield Pair(None if _same(item, same, banks) else "differs", item, _logged(same))
    yield from (Pair("extra", None, _logged(row)) for row in rest)


def _item(boot: Boot, place: int, event: ImageLoaded, banks: Sequence[str]) -> Item:
    """Raises StubsimError for an image without an Authenticode digest."""
    digests = {bank: boot.uki.authenticode(bank, event.data) for bank in banks}
    path = "" if event.path == KERNEL_PATH else event.path
    return Item(place, PCR_BOOT_MANAGER, _TYPE, None, path, digests, event.by)


def _logged(row: Application) -> Item:
    return Item(row.place, PCR_BOOT_MANAGER, _TYPE, None, row.path or "", row.digests)


def _equal(one: Item, other: Item, banks: Sequence[str]) -> bool:
    return all(one.digests[bank] == other.digests[bank] for bank in banks)


def _same(item: Item, row: Application, banks: Sequence[str]) -> bool:
    return all(item.digests[bank] == row.digests.get(bank) for bank in banks)
