"""The chain of a boot as a picture in HTML."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from stubsim.result import Boot
from stubsim.views.chain import ROWS, stages
from stubsim.views.markup import element


def chain_figure(boot: Boot) -> Element:
    """The picture as HTML: a box for each stage, in a row where there is room and below each other where not."""
    boxes = []
    for stage in stages(boot):
        rows = [
            part
            for label, lines in zip(ROWS, (stage.what, stage.hands_on, stage.measures), strict=True)
            if lines
            for part in (element("dt", label), *(element("dd", line) for line in lines))
        ]
        boxes.append(element("li", element("strong", stage.name), element("dl", *rows)))
    return element("ol", *boxes, class_="chain")
