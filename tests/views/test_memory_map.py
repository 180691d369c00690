"""The memory map as SVG: valid, the same on each run, everything named in it, nothing drawn over anything else."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.machine.ram import GIB4
from stubsim.trace import Staged
from stubsim.uefi.memory import Memory
from stubsim.uefi.memory_layout import TYPES
from stubsim.views.memory_map import memory_svg
from stubsim.wording import plain
from tests.browser import Browser, is_blank

SVG = "{http://www.w3.org/2000/svg}"
DATA = "EfiLoaderData"
BIOS = (GIB4 - (4 << 20), GIB4)
ROWS = [
    Staged("etc/vmfwupdate/fw-blob", 0x7DE57000, 16, "EfiBootServicesData", True),
    Staged("etc/vmfwupdate/opaque-blob", 0x7DE58000, 4096, "EfiBootServicesData", True),
    Staged("cmdline", 0x7DE59000, 48, DATA, True),
    Staged("kernel", 0x7DE5A000, 5120, DATA, True),
    Staged("firmware", 0x7DE5C000, 65536, DATA, True),
    Staged("initrd", 0x7DE6C000, 9152, DATA, False),
    Staged("uki", 0x7DE6F000, 188 << 10, "EfiLoaderCode", False),
]
RAM = Memory(2 << 30).ram
HUGE = [
    Staged("an initrd", 0x150000000, 100 << 20, DATA, False),
    Staged("what a driver of the firmware keeps", 0xFFFFFF0000, 16, "EfiRuntimeServicesData", False),
    Staged("nothing", 0x7DE00000, 0, DATA, False),
    Staged("firmware, copied", GIB4 - 65536, 65536, "ROM", False),
    Staged("kernel, in place", 0x7DE70000, 65536, DATA, True),
    Staged("a name that is longer than any picture of it could be wide, and then some", 0x1000, 16, DATA, True),
]


class Box(NamedTuple):
    x: float
    y: float
    width: float
    height: float

    def overlaps(self, other: Box) -> bool:
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )


def picture(rows: list[Staged], **options: Any) -> Element:
    return ElementTree.fromstring(memory_svg(rows, **({"ram": RAM} | options)))


def boxes(root: Element) -> dict[str, Box]:
    """Name of each range (the tooltip up to its addresses) -> its box."""
    found = {}
    for group in root.iter(f"{SVG}g"):
        rect = next((each for each in group if each.get("class", "").startswith("range ")), None)
        if rect is not None:
            title = group.findtext(f"{SVG}title") or ""
            found[title] = Box(*(float(rect.get(key, "")) for key in ("x", "y", "width", "height")))
    return found


def texts(root: Element) -> list[str]:
    return [text.text or "" for text in root.iter(f"{SVG}text")]


def test_every_range_and_every_stretch_is_named_with_its_addresses():
    root = picture(ROWS, bios_region=BIOS, title="Before the reset")
    shown = texts(root)
    for row in ROWS:
        assert plain(row.name) in shown
        assert f"{row.gpa:#010x}–{row.gpa + row.size - 1:#010x}" in shown
    assert {"16 bytes", "64.0 KiB", "188.0 KiB", "EfiLoaderCode, private", "EfiLoaderData, shared"} <= set(shown)
    assert {"BIOS region", "0xffc00000–0xffffffff", "PCI hole", "0x80000000–0xffbfffff", "4 GiB", "2 GiB"} <= set(shown)
    assert {"video, option ROMs", "640 KiB", "1 MiB", "0", "Before the reset"} <= set(shown)
    assert [len(root.findall(f"{SVG}{tag}")) for tag in ("title", "desc")] == [1, 1]


def test_the_highest_address_is_on_top_and_larger_ranges_are_no_lower():
    placed = boxes(picture(ROWS + HUGE, ram=Memory(1 << 40).ram, bios_region=BIOS))
    assert len(placed) == len(ROWS + HUGE)
    rows = {title: row for row in ROWS + HUGE for title in placed if title.startswith(f"{plain(row.name)}: ")}
    for title, box in placed.items():
        for other, below in placed.items():
            if other != title and rows[other].gpa + rows[other].size <= rows[title].gpa:
                assert box.y + box.height <= below.y
    named = [placed[title] for title, row in sorted(rows.items(), key=lambda pair: pair[1].size) if row.name != "uki"]
    assert [box.height for box in named] == sorted(box.height for box in named)


def test_a_picture_without_ranges_and_one_of_nothing():
    assert boxes(picture([])) == {}
    assert "RAM" in texts(picture([]))
    assert "other RAM" not in texts(picture([]))
    assert texts(picture([], ram=()))


def test_private_and_shared_are_told_apart_only_where_something_is_shared():
    private = [row._replace(shared=False) for row in ROWS]
    shown = " ".join(texts(picture(private)))
    assert "private" not in shown
    assert "Hatched" not in shown
    assert not picture(private).findall(f".//{SVG}pattern")
    hatched = picture(ROWS).findall(f".//{SVG}rect[@fill]")
    assert len(hatched) == sum(row.shared for row in ROWS)


def test_only_what_is_drawn_denser_than_any_range_is_torn():
    def torn(*rows: Staged) -> set[str]:
        groups = list(picture(list(rows), bios_region=BIOS))
        return {
            str(group.findtext(f"{SVG}title")).partition(":")[0]
            for before, group in pairwise(groups)
            if before.get("class") == "tear"
        }

    assert torn(*ROWS) == {"BIOS region", "PCI hole", "other RAM", "video, option ROMs"}
    assert torn(Staged("most of it", 0x100000, 0x70000000, DATA, False)) == {"PCI hole"}


def test_other_machines():
    shown = texts(picture(ROWS[:1], ram=Memory(8 << 30, "aa64").ram))
    assert {"no RAM", "0x00000000–0x3fffffff", "1 GiB", "9 GiB"} <= set(shown)
    assert "PCI hole" not in shown
    # A region that a host file makes larger than 4 GiB, and that lies over RAM.
    shown = texts(picture(ROWS, bios_region=(GIB4 - (8 << 30), GIB4)))
    assert {"BIOS region", "0x80000000–0xffffffff"} <= set(shown)


def test_it_needs_nothing_from_outside():
    text = memory_svg(ROWS, ram=RAM, bios_region=BIOS, title="a <script> & a title\x1b[2J\ud800")
    assert re.findall(r"[a-z]+://", text.replace('xmlns="http://www.w3.org/2000/svg"', "")) == []
    assert "@import" not in text
    assert "url(" not in text.replace("url(#memory-map-hatching)", "")
    root = ElementTree.fromstring(text)
    assert not [node for node in root.iter() if node.tag in (f"{SVG}script", f"{SVG}foreignObject")]
    assert root.findtext(f"{SVG}title") == r"a <script> & a title\x1b[2J\ud800"
    assert "prefers-color-scheme: dark" in text


GPAS = st.one_of(st.integers(0, 1 << 41), st.integers(0, 16).map(lambda page: 0x100000 + 4096 * page))
STAGED = st.builds(
    Staged,
    st.text(max_size=40),
    GPAS,
    st.one_of(st.integers(0, 1 << 40), st.integers(0, 9000)),
    st.sampled_from([*TYPES, "ROM", "\x00<"]),
    st.booleans(),
)


@given(st.lists(STAGED, max_size=8), st.integers(1 << 12, 1 << 41), st.one_of(st.none(), st.integers(0, 1 << 36)))
def test_whatever_is_drawn_is_valid_deterministic_and_apart(rows: list[Staged], memory: int, region: int | None):
    options: dict[str, Any] = {
        "ram": Memory(memory).ram,
        "bios_region": None if region is None else (GIB4 - region, GIB4),
    }
    text = memory_svg(rows, **options)
    assert text == memory_svg(list(reversed(rows)), **options) or len(set(rows)) < len(rows) or ties(rows)
    root = ElementTree.fromstring(text)
    height = float(root.get("height", ""))
    drawn = [
        Box(*(float(rect.get(key, "")) for key in ("x", "y", "width", "height")))
        for rect in root.iter(f"{SVG}rect")
        if rect.get("class", "").startswith("range ")
    ]
    assert len(drawn) == len(rows)
    for index, box in enumerate(drawn):
        assert box.height > 30
        assert 0 < box.y < box.y + box.height < height
        assert not any(box.overlaps(other) for other in drawn[:index])


def ties(rows: list[Staged]) -> bool:
    """Whether the order of two ranges is that in which they came."""
    return len({(row.gpa, row.size) for row in rows}) < len(rows)


# What a browser measures: for each group the boxes of its range and of its texts.
MEASURE = """(() => {
  const of = (node) => { const b = node.getBBox(); return [b.x, b.y, b.width, b.height]; };
  return {
    paper: getComputedStyle(document.querySelector(".memory-map .paper")).fill,
    picture: of(document.querySelector("svg")),
    groups: [...document.querySelectorAll("svg g")].map((group) => ({
      range: [...group.querySelectorAll(":scope > rect.range")].map(of),
      texts: [...group.querySelectorAll(":scope > text")].map(of),
    })),
  };
})()"""


@pytest.mark.oracle
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_in_a_browser_every_text_is_inside_its_box_and_clear_of_the_others(
    browser: Browser, tmp_path: Path, dark: bool
):
    file = tmp_path / "map.svg"
    text = memory_svg(ROWS + HUGE, ram=Memory(1 << 40).ram, bios_region=BIOS, title="A map")
    file.write_text(text, encoding="utf-8")
    browser.open(file, dark=dark)
    answer = browser.evaluate(MEASURE)
    assert answer["paper"] == ("rgb(21, 26, 34)" if dark else "rgb(255, 255, 255)")
    texts = []
    for group in answer["groups"]:
        for x, y, width, height in group["texts"]:
            for left, top, wide, high in group["range"]:
                assert left <= x < x + width <= left + wide
                assert top <= y < y + height <= top + high
        texts += [Box(*place) for place in group["texts"]]
    assert len(texts) > 40
    for index, box in enumerate(texts):
        assert 0 < box.x < box.x + box.width < answer["picture"][0] + answer["picture"][2]
        assert not any(box.overlaps(other) for other in texts[:index])
    assert not is_blank(browser.screenshot())
    assert (browser.complaints(), browser.requests()) == ([], [file.as_uri()])
