"""A memory map as a picture, SVG: ranges of guest memory over RAM, holes and the BIOS region, highest address on top.

Sizes go from 16 bytes to 1 TiB, so heights grow with the logarithm of the size; where a stretch in which nothing lies
is drawn denser than any range, it is torn. The picture needs nothing from outside, follows the reader's colour scheme
(prefers-color-scheme), and is described in words for those who do not see it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from xml.etree.ElementTree import Element

from stubsim.rows import NamedTuple
from stubsim.trace import Staged
from stubsim.views.markup import SVG_NAMESPACE, element, extend, style, to_xml
from stubsim.views.style import MEMORY_MAP
from stubsim.views.units import gpa_range, size
from stubsim.wording import plain

_PAGE = 4096
_GIB4 = 1 << 32
# A PC has no RAM there; see also stubsim.uefi.memory.
_LEGACY_HOLE = (0xA0000, 0x100000)

# Pixels. Two lines of text fit into a range, one into a stretch; a torn one shows its ground above and below.
_AXIS = 66
_MARGIN = 10
_INSET = 8
_RANGE_HEIGHT, _RANGE_GROWTH = 42, 4
_STRETCH_HEIGHT, _STRETCH_GROWTH = 24, 1.5
_TORN_HEIGHT, _TEAR = 54, 26
_SLACK_HEIGHT = 6
_STRIP = 10
_HEADING_HEIGHT, _LINE_HEIGHT = 26, 17
# Widths of a character, generous, since a picture cannot measure its text.
_BOLD, _SANS, _MONO = 8.9, 6.8, 6.7
_TOOTH = 7

# Memory type -> its colour's name; all others are plain.
_COLOURS = {
    "EfiLoaderCode": "code",
    "EfiLoaderData": "data",
    "EfiBootServicesCode": "boot",
    "EfiBootServicesData": "boot",
    "EfiRuntimeServicesCode": "runtime",
    "EfiRuntimeServicesData": "runtime",
}
_GROUNDS = {"ram": "RAM", "rom": "BIOS region", "none": "no RAM"}


class _Band(NamedTuple):
    """Addresses between which nothing begins or ends; ``ground`` is a key of _GROUNDS, y and height are in pixels.

    ``covered``: a range lies there. ``torn``: it is drawn denser than any range.
    """

    start: int
    end: int
    ground: str
    covered: bool
    torn: bool = False
    y: float = 0
    height: float = 0


class _Place(NamedTuple):
    """A box in pixels."""

    x: float
    y: float
    width: float
    height: float


def memory_svg(
    rows: Sequence[Staged],
    *,
    ram: Sequence[tuple[int, int]],
    bios_region: tuple[int, int] | None = None,
    title: str | None = None,
    width: int = 540,
) -> str:
    """The picture as an SVG file.

    ``rows`` are ranges in any order, also of size 0 and overlapping; ``ram`` and ``bios_region`` are gpas from and up
    to, as in ``stubsim.uefi.memory.Memory.ram``. A ``title`` is drawn on top; ``width`` is in pixels.
    """
    return to_xml(memory_map(rows, ram=ram, bios_region=bios_region, title=title, width=width))


def memory_map(
    rows: Sequence[Staged],
    *,
    ram: Sequence[tuple[int, int]],
    bios_region: tuple[int, int] | None = None,
    title: str | None = None,
    width: int = 540,
    id: str = "memory-map",
) -> Element:
    """The picture as an element to be put into a page; ``id`` keeps those of one page apart."""
    ordered = sorted(rows, key=lambda row: (row.gpa, -row.size))
    shared = any(row.shared for row in rows)
    notes = _notes(shared)
    top = _MARGIN if title is None else _MARGIN + _HEADING_HEIGHT
    bands = _laid_out(_bands(ordered, ram, bios_region), ordered, top)
    bottom = bands[0].y + bands[0].height if bands else top
    height = bottom + _LINE_HEIGHT * len(notes) + 2 * _MARGIN
    column = width - _AXIS - _MARGIN

    picture = element(
        "svg",
        element("title", title or "Memory map", id=f"{id}-title"),
        element("desc", _described(bands, ordered, shared), id=f"{id}-desc"),
        style(MEMORY_MAP),
        _hatching(f"{id}-hatching") if shared else None,
        element("rect", class_="paper", width=width, height=_number(height), rx=6),
        xmlns=SVG_NAMESPACE,
        class_="memory-map",
        role="img",
        aria_labelledby=f"{id}-title {id}-desc",
        viewBox=f"0 0 {width} {_number(height)}",
        width=width,
        height=_number(height),
    )
    if title is not None:
        fitted = _fitted(title, width - 2 * _MARGIN, _BOLD * 1.15)
        extend(picture, _text(fitted, _MARGIN, _MARGIN + 14, "heading"))
    extend(picture, *(_ground(ground, column) for ground in _grounds(bands)))
    if bands:
        extend(picture, *_tick(bands[-1].end, bands[-1].y))
    for band in bands:
        if not band.covered and band.height > _SLACK_HEIGHT:
            extend(picture, *_stretch(band, column, bool(ordered)))
    hatching = f"{id}-hatching" if shared else None
    for row, lane, lanes in _lanes(ordered):
        extend(picture, _range(row, _place(row, bands, lane, lanes, column), hatching))
    for number, note in enumerate(notes, 1):
        extend(picture, _text(note, _AXIS, bottom + _MARGIN + _LINE_HEIGHT * number - 4, "note"))
    return picture


def _notes(shared: bool) -> list[str]:
    notes = ["Highest address on top. Heights are not to scale; torn stretches are shortened."]
    return [*notes, "Hatched: shared with the hypervisor."] if shared else notes


def _end(row: Staged) -> int:
    """Behind the last address; a range of no bytes still has a place."""
    return row.gpa + max(row.size, 1)


def _bands(rows: Sequence[Staged], ram: Sequence[tuple[int, int]], bios_region: tuple[int, int] | None) -> list[_Band]:
    """The addresses from 0 to the highest one that means something, cut wherever something begins or ends."""
    region = None if bios_region is None else (max(bios_region[0], 0), bios_region[1])
    spans = [*ram, *((row.gpa, _end(row)) for row in rows), *(() if region is None else (region,))]
    edges = sorted({0, *(edge for span in spans for edge in span)})
    bands = []
    for start, end in pairwise(edges):
        ground = "none"
        if any(low <= start < high for low, high in ram):
            ground = "ram"
        elif region is not None and region[0] <= start < region[1]:
            ground = "rom"
        covered = any(row.gpa <= start < _end(row) for row in rows)
        bands.append(_Band(start, end, ground, covered))
    return bands


def _laid_out(bands: list[_Band], rows: Sequence[Staged], top: float) -> list[_Band]:
    """The same bands with their places in the picture."""
    density = max((row.size / _wanted(row) for row in rows), default=0)
    sized = [band if band.covered else _sized(band, density) for band in bands]
    for row in rows:
        own = [number for number, band in enumerate(sized) if row.gpa <= band.start < _end(row)]
        lacking = _wanted(row) - sum(sized[number].height for number in own)
        for number in own if lacking > 0 else ():
            sized[number] = sized[number]._replace(height=sized[number].height + lacking / len(own))
    placed = []
    y = top + sum(band.height for band in sized)
    for band in sized:
        y -= band.height
        placed.append(band._replace(y=y))
    return placed


def _wanted(row: Staged) -> float:
    return _RANGE_HEIGHT + _RANGE_GROWTH * _doublings(row.size)


def _sized(band: _Band, density: float) -> _Band:
    """A stretch with its height; ``density`` is the largest number of bytes that a range has on a pixel."""
    count = band.end - band.start
    if count < _PAGE:
        return band._replace(height=_SLACK_HEIGHT)
    height = _STRETCH_HEIGHT + _STRETCH_GROWTH * _doublings(count)
    torn = count / height > density
    return band._replace(height=max(height, _TORN_HEIGHT) if torn else height, torn=torn)


def _doublings(count: int) -> int:
    """How often one page must be doubled to hold so many bytes."""
    return (max(count - 1, 0) // _PAGE).bit_length()


def _lanes(rows: Sequence[Staged]) -> Iterator[tuple[Staged, int, int]]:
    """Each range with its lane and the number of lanes: ranges that overlap stand side by side."""
    group: list[tuple[Staged, int]] = []
    ends: list[int] = []
    for row in rows:
        if ends and row.gpa >= max(ends):
            yield from ((own, lane, len(ends)) for own, lane in group)
            group, ends = [], []
        lane = next((number for number, end in enumerate(ends) if end <= row.gpa), len(ends))
        ends[lane : lane + 1] = [_end(row)]
        group.append((row, lane))
    yield from ((own, lane, len(ends)) for own, lane in group)


def _grounds(bands: Sequence[_Band]) -> list[_Band]:
    """Neighbours on the same ground drawn together."""
    merged: list[_Band] = []
    for band in bands:
        if merged and merged[-1].ground == band.ground:
            last = merged[-1]
            merged[-1] = last._replace(end=band.end, y=band.y, height=last.height + band.height)
        else:
            merged.append(band)
    return merged


def _ground(band: _Band, column: float) -> Element:
    """The column's background, with the address it begins at where that is a round number."""
    box = {"x": str(_AXIS), "y": _number(band.y), "width": _number(column), "height": _number(band.height)}
    return element(
        "g",
        element("rect", class_=band.ground, **box) if band.ground != "none" else None,
        element("rect", class_=f"outline {band.ground}", **box),
        *_tick(band.start, band.y + band.height),
    )


def _tick(gpa: int, y: float) -> Iterator[Element | None]:
    yield element("line", class_="tick", x1=_AXIS - 5, x2=_AXIS, y1=_number(y), y2=_number(y))
    yield _text(_round_address(gpa), _AXIS - 8, y + 4, "mark", anchor="end")


def _round_address(gpa: int) -> str:
    """The address as a size where that is short."""
    if gpa == 0:
        return "0"
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if gpa % 1024**power == 0:
            count = gpa // 1024**power
            return f"{count} {unit}" if count < 1024 else ""
    return ""


def _stretch(band: _Band, column: float, busy: bool) -> Iterator[Element]:
    """A stretch in which nothing lies: what it is, from where to where, how large."""
    middle = band.y + band.height / 2
    if band.torn:
        yield _tear(middle, column)
    left, right = _AXIS + _INSET + 12, _AXIS + column - _INSET - 12
    count = band.end - band.start
    yield element(
        "g",
        element("title", f"{_stretch_name(band, busy)}: {gpa_range(band.start, count)}, {size(count)}"),
        _text(_stretch_name(band, busy), left, middle + 4, "stretch"),
        _text(_dashed(band.start, count), (left + right) / 2 + 12, middle + 4, "stretch gpa", anchor="middle"),
        _text(size(count), right, middle + 4, "stretch", anchor="end"),
    )


def _stretch_name(band: _Band, busy: bool) -> str:
    if (band.start, band.end) == _LEGACY_HOLE and band.ground == "none":
        return "video, option ROMs"
    if band.ground == "none" and band.start < _GIB4 and band.end > _GIB4 - (256 << 20):
        return "PCI hole"
    return f"other {_GROUNDS[band.ground]}" if busy and band.ground == "ram" else _GROUNDS[band.ground]


def _tear(middle: float, column: float) -> Element:
    """White paper between two zigzag edges, a little wider than the column."""
    left, right = _AXIS - 4, _AXIS + column + 4
    teeth = round((right - left) / _TOOTH / 2) * 2
    step = (right - left) / teeth
    upper, lower = middle - _TEAR / 2, middle + _TEAR / 2
    points = [(left + step * tooth, upper + (3 if tooth % 2 else -3)) for tooth in range(teeth + 1)]
    back = [(x, y + lower - upper) for x, y in reversed(points)]
    path = "M" + " L".join(f"{_number(x)} {_number(y)}" for x, y in [*points, *back]) + " Z"
    return element("path", class_="tear", d=path)


def _place(row: Staged, bands: Sequence[_Band], lane: int, lanes: int, column: float) -> _Place:
    """The box of a range, between the edges of the column or those of its lane."""
    own = [band for band in bands if row.gpa <= band.start < _end(row)]
    share = (column - 2 * _INSET) / lanes
    width = share if lane == lanes - 1 else share - 4
    return _Place(_AXIS + _INSET + share * lane, own[-1].y, width, sum(band.height for band in own))


def _range(row: Staged, place: _Place, hatching: str | None) -> Element:
    """A range: name and size, below them from where to where and its type; ``hatching`` where some are shared."""
    x, y, width, height = place
    left, right, middle = x + (12 if hatching is None else _STRIP + 8), x + width - 10, y + height / 2
    count, gpas, kind = size(row.size), _dashed(row.gpa, row.size), row.type
    if hatching is not None:
        kind += ", shared" if row.shared else ", private"
    room = right - left
    room_for_name = room - len(count) * _SANS - 12
    with_count = len(row.name) * _BOLD <= room_for_name
    with_kind = (len(gpas) * _MONO) + 12 + len(kind) * _SANS <= room
    name = _fitted(plain(row.name), room_for_name if with_count else room, _BOLD)
    box = {"x": _number(x + 0.5), "y": _number(y + 1.5), "height": _number(height - 3)}
    return element(
        "g",
        element("title", f"{plain(row.name)}: {gpa_range(row.gpa, row.size)}, {count}, {kind}"),
        element("rect", class_=f"range {_COLOURS.get(row.type, 'plain')}", width=_number(width - 1), rx=3, **box),
        element("rect", fill=f"url(#{hatching})", width=_STRIP, **box) if row.shared else None,
        _text(name, left, middle - 3, "name"),
        _text(count, right, middle - 3, anchor="end") if with_count else None,
        _text(_fitted(gpas, room, _MONO), left, middle + 13, "gpa"),
        _text(kind, right, middle + 13, anchor="end") if with_kind else None,
    )


def _dashed(gpa: int, count: int) -> str:
    return gpa_range(gpa, count).replace("-", "–")


def _hatching(id: str) -> Element:
    stripe = element("line", class_="hatch", x1=0, y1=0, x2=0, y2=8, stroke_width=3)
    return element(
        "defs",
        element(
            "pattern",
            stripe,
            id=id,
            width=8,
            height=8,
            patternUnits="userSpaceOnUse",
            patternTransform="rotate(45)",
        ),
    )


def _described(bands: Sequence[_Band], rows: Sequence[Staged], shared: bool) -> str:
    """The picture in words, from the highest address down."""
    parts = [(row.gpa, _words(row, shared)) for row in rows]
    for band in bands:
        if not band.covered and band.end - band.start >= _PAGE:
            count = band.end - band.start
            parts.append((band.start, f"{_stretch_name(band, bool(rows))} {gpa_range(band.start, count)}"))
    parts.sort(key=lambda part: -part[0])
    return "From the highest address down: " + "; ".join(text for _, text in parts) + "."


def _words(row: Staged, shared: bool) -> str:
    words = f"{plain(row.name)} {gpa_range(row.gpa, row.size)} ({size(row.size)}, {row.type}"
    return words + (", shared)" if shared and row.shared else ")")


def _text(text: str, x: float, y: float, class_: str | None = None, *, anchor: str | None = None) -> Element | None:
    if not text:
        return None
    return element("text", text, class_=class_, x=_number(x), y=_number(y), text_anchor=anchor)


def _fitted(text: str, room: float, per_character: float) -> str:
    """The text, cut where it would not fit."""
    most = max(int(room / per_character), 1)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _number(value: float) -> str:
    """A number of pixels, to a tenth."""
    return f"{value:.1f}".removesuffix(".0")
