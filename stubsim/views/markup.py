"""Elements of HTML and SVG, and the one place where text becomes part of them.

The tree is xml.etree's, so the standard library escapes; texts go through `stubsim.printable.clean` on their way
in, so that control characters and the like are seen and do nothing. There is no way to put markup in as a text.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element, tostring

from stubsim.printable import clean, without_commands

Child = Element | str | None
Attribute = str | int | float | None

# A colon and a number sign where text is broken that would be a command.
_REFERENCES = ("&#58;", "&#35;")

SVG_NAMESPACE = "http://www.w3.org/2000/svg"
# Where white space around an element would be seen; all others end a line, for whoever reads the source.
_INLINE = frozenset({"a", "abbr", "code", "em", "small", "span", "strong"})


def element(tag: str, *children: Child, **attributes: Attribute) -> Element:
    """An element with these children in order, texts and elements mixed; None children and attributes are left out.

    An underscore in an attribute's name is a hyphen, one at its end goes: ``class_="wide"``, ``aria_label="Map"``.
    """
    node = Element(
        tag,
        {
            name.rstrip("_").replace("_", "-"): clean(str(value))
            for name, value in attributes.items()
            if value is not None
        },
    )
    if tag not in _INLINE:
        node.tail = "\n"
    extend(node, *children)
    return node


def extend(node: Element, *children: Child) -> None:
    """Add children behind those an element has."""
    for child in children:
        if isinstance(child, str):
            if len(node):
                node[-1].tail = (node[-1].tail or "") + clean(child)
            else:
                node.text = (node.text or "") + clean(child)
        elif child is not None:
            node.append(child)


def style(css: str) -> Element:
    """A style element of our own rules; they must not come from input."""
    node = Element("style")
    node.text = css
    node.tail = "\n"
    return node


def to_html(root: Element) -> str:
    """A whole HTML document."""
    return "<!DOCTYPE html>\n" + without_commands(tostring(root, encoding="unicode", method="html"), *_REFERENCES)


def to_xml(root: Element) -> str:
    """A whole XML document, such as an SVG file; to be written as UTF-8."""
    return without_commands(tostring(root, encoding="unicode", method="xml"), *_REFERENCES)
