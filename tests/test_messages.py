"""What stubsim says is plain English: every text of the program, but for those that a real stub prints."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent

# What is not English -> what it should be.
WRONG = {
    r"(?<!there )\b(is|are) no (?!longer|more|such|table|error|\.\w)([a-z]+ )?"
    r"(folder|file|number|GUID|list|log|domain|digest|UTF-8|capsule|machine|release|guest|image|name|text|JSON|PE|value|"
    r"profile|systemd-boot|entry to|build)\b": ("is not a ..."),
    r"\bno multiple of\b": "not a multiple of",
    r"\bno (number|list) of\b": "not a number of",
    r"\bgives? out\b": "print, write",
    r", too$": "also, before the verb",
    r"\binformations\b|\badvices\b|\bhardwares\b|\bsoftwares\b": "the singular",
    r"\b(allows|permits) to\b": "lets ..., allows ...ing",
    r"\bdepends from\b|\bdiffers to\b|\bconsists in\b": "depends on, differs from, consists of",
    r"\ba (?=[aeio][a-z])(?!one\b|once\b|UKI|EU)": "an",
    r"\ban (?=[bcdgjkpqtvwyz][a-z])": "a",
    r"\b([a-z]{2,}) \1\b": "the word once",
}
# Stubs and QEMU print these; they are theirs, byte for byte.
THEIRS = ("This machine does not support vmfwupdate device",)


class Said(NamedTuple):
    place: str
    text: str


def messages(path: Path) -> Iterator[Said]:
    """Each text of several words, without docstrings; what is put into one is "{}"."""
    tree = ast.parse(path.read_text("utf-8"))
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) in inner | docstrings:
                continue
            text = node.value
        else:
            continue
        if " " in text.strip() and not text.startswith(THEIRS):
            yield Said(f"{path.relative_to(ROOT)}:{node.lineno}", " ".join(text.split()))


def faults(text: str) -> list[str]:
    return [instead for pattern, instead in WRONG.items() if re.search(pattern, text)]


def test_every_message_is_plain_english():
    # Not the rules of the HTML pages.
    paths = [path for path in sorted((ROOT / "stubsim").rglob("*.py")) if path.name != "style.py"]
    said = [one for path in paths for one in messages(path)]
    assert len(said) > 1000
    assert [f"{one.place}: {one.text!r}: {faults(one.text)}" for one in said if faults(one.text)] == []


@pytest.mark.parametrize(
    "text",
    [
        "is no folder", "'x' is no number", "3 bytes, no multiple of 64 KiB", "the content is no image digest",
        "write it as XML, too", "a error", "an table", "the the file", "no number of processes", "gives out a log",
    ],
)  # fmt: skip
def test_what_is_wrong_is_found(text: str):
    assert faults(text)


@pytest.mark.parametrize(
    "text", ["there is no folder called x", "the file is not a folder", "a UKI", "a one-time key", "there is no list"]
)
def test_what_is_right_is_not(text: str):
    assert faults(text) == []
