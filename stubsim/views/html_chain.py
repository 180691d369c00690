"""The chain of a boot as a picture in HTML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element

from stubsim.views.chain import ROWS, Stage
from stubsim.views.markup import element


def _unbroken(name: str) -> Iterator[Element | str]:
    """The words of a name, each broken at its hyphens only where it is longer than the box."""
    for number, word in enumerate(name.split(" ")):
        yield from ([" "] if number else [])
        yield element("span", word)


def chain_figure(shown: Sequence[Stage]) -> Element:
    """The picture as HTML: a box for each stage, in a row where there is room and below each other where not."""
    boxes = []
    for stage in shown:
        rows = [
            part
            for label, lines in zip(ROWS, (stage.what, stage.hands_on, stage.measures), strict=True)
            if lines
            for part in (element("dt", label), *(element("dd", line) for line in lines))
        ]
        boxes.append(element("li", element("strong", *_unbroken(stage.name)), element("dl", *rows)))
    return element("ol", *boxes, class_="chain")
