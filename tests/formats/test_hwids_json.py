"""hwids descriptions, against what ukify 262 makes of the same files or refuses."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.errors import StubsimError
from stubsim.formats import hwids, hwids_json
from tests.strategies import mutated

A = "0f2de380-a687-530c-9964-9da649e77a0d"
B = "c1c530a2-b47f-59bc-848c-b78981b4073e"
TREE = {"type": "devicetree", "name": "Lab", "compatible": "lab,board", "hwids": [A, B]}
FIRMWARE = {"type": "uefi-fw", "name": "Lab", "fwid": "ovmf", "hwids": [B]}


def text(value: object, **changes: object) -> bytes:
    """The value as JSON; a change to ... takes the key away."""
    if isinstance(value, dict):
        value = {key: item for key, item in (value | changes).items() if item is not ...}
    return json.dumps(value, indent=4).encode()


# Sets that ukify 262 takes: file -> content.
TAKEN: dict[str, dict[str, bytes]] = {
    "nothing": {},
    "one": {"a.json": text(TREE)},
    "both kinds": {"b.json": text(TREE), "a.json": text(FIRMWARE)},
    "subfolders and order": {
        "a-b.json": text(FIRMWARE, fwid="1"),
        "a/b.json": text(FIRMWARE, fwid="2"),
        "a.json": text(FIRMWARE, fwid="3"),
        "a/c/d.json": text(FIRMWARE, fwid="4"),
        "B.json": text(FIRMWARE, fwid="5"),
        "é.json": text(FIRMWARE, fwid="6"),
    },
    "hidden": {".a.json": text(FIRMWARE), ".b/a.json": text(TREE), ".json": text(TREE, name="Other")},
    "suffixes": {"a.JSON": b"?", "a.json5": b"?", "a.json.bak": b"?", "a.txt": b"?", "a.json": text(TREE)},
    "the same device twice": {
        "a.json": text(TREE, hwids=[B]),
        "b.json": text(FIRMWARE),
        "c.json": text(TREE, hwids=[A, B, str(UUID(int=0))]),
    },
    "one id for two": {"a.json": text(TREE), "b.json": text(TREE, compatible="lab,other")},
    "one id twice": {"a.json": text(TREE, hwids=[A, A.upper(), A])},
    "shapes of an id": {
        "a.json": text(TREE, hwids=[A.replace("-", ""), "{" + B + "}", f"urn:uuid:{A}", "-" * 9 + A, A[::-1]])
    },
    "no ids": {"a.json": text(TREE, hwids=[], name="Nobody"), "b.json": text(FIRMWARE)},
    "no ascii": {
        "a.json": text(TREE, name="Gerät 一 😀"),
        "b.json": text(TREE, name="Gera\u0308t \uffff", compatible="ä"),
    },
    "as written": {"a.json": json.dumps(TREE | {"name": "Gerät 😀"}, ensure_ascii=False).encode()},
    "no name": {"a.json": text(TREE, name="", compatible="")},
    "more keys": {"a.json": text(TREE, comment=["x"], number=1e99)},
    "a key twice": {"a.json": text(TREE)[:-1] + b', "hwids": ["' + B.encode() + b'"], "name": "Last"}'},
    "no JSON numbers": {"a.json": text(TREE)[:-1] + b', "x": NaN, "y": -Infinity}'},
    "one line": {"a.json": json.dumps(TREE).encode()},
    "no object in a suffix": {"json": b"?", "a.json": text(TREE)},
}
# Sets that it refuses, and what we say of the file a.json.
REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "line 1, column 1"),
    "broken": (b'{"type": ', "offset 0x9"),
    "more behind it": (text(TREE) + b"{}", "Extra data"),
    "byte order mark": (b"\xef\xbb\xbf" + text(TREE), "byte order mark"),
    "UTF-16": (json.dumps(TREE).encode("utf-16"), "not UTF-8"),
    "Latin-1": (json.dumps(TREE | {"name": "ä"}, ensure_ascii=False).encode("latin-1"), "not UTF-8"),
    "an array": (text([TREE]), "a JSON object"),
    "null": (b"null", "a JSON object"),
    "a string": (b'"type name hwids compatible"', "a JSON object"),
    "no type": (text(TREE, type=...), "'type'"),
    "no name": (text(TREE, name=...), "'name'"),
    "no hwids": (text(TREE, hwids=...), "'hwids'"),
    "no compatible": (text(TREE, compatible=...), "'compatible'"),
    "no fwid": (text(FIRMWARE, fwid=...), "'fwid'"),
    "unknown type": (text(TREE, type="uefi_fw"), "uefi_fw"),
    "type of another case": (text(TREE, type="DeviceTree"), "DeviceTree"),
    "type null": (text(TREE, type=None), "null"),
    "type an array": (text(TREE, type=["devicetree"]), "devicetree or uefi-fw"),
    "fwid of a devicetree": (text(TREE, compatible=..., fwid="x"), "fwid"),
    "both strings": (text(TREE, fwid="x"), "fwid"),
    "compatible of a firmware": (text(FIRMWARE, compatible="x"), "compatible"),
    "a number for a name": (text(TREE, name=5), "name: 5"),
    "null for a name": (text(TREE, name=None), "name: null"),
    "an array for a name": (text(TREE, name=["x"]), "name"),
    "true for a string": (text(TREE, compatible=True), "compatible: true"),
    "half a character": (text(TREE, name="\ud83d"), "surrogates"),
    "a byte of no UTF-8": (text(TREE, name="\udcff"), "surrogates"),
    "hwids a string": (text(TREE, hwids=A), "an array"),
    "hwids null": (text(TREE, hwids=None), "null"),
    "an id too short": (text(TREE, hwids=[A, A[:-1]]), "line 7: hwids[1]"),
    "an id too long": (text(TREE, hwids=[A + "0"]), "line 6: hwids[0]"),
    "no hex": (text(TREE, hwids=["g" + A[1:]]), "hwids[0]"),
    "an empty id": (text(TREE, hwids=[""]), "hwids[0]"),
    "a number for an id": (text(TREE, hwids=[int(A[:8], 16)]), "hwids[0]"),
    "null for an id": (text(TREE, hwids=[None]), "hwids[0]: null"),
    "an array for an id": (text(TREE, hwids=[[A]]), "hwids[0]"),
    "a huge number": (text(TREE)[:-1] + b', "x": ' + b"1" * 5000 + b"}", "too long"),
    "too deep": (text(TREE)[:-1] + b', "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too deep"),
}
# What ukify takes by accident and we do not: each would be a mistake of whoever wrote it.
OURS: dict[str, tuple[bytes, str]] = {
    "a NUL": (text(TREE, name="a\0b"), "without NUL"),
    "hwids an object": (text(TREE, hwids={A: 1}), "an array"),
    "hwids an empty string": (text(TREE, hwids=""), "an array"),
    "blanks in an id": (text(TREE, hwids=[" " + A[1:]]), "hwids[0]"),
    "underlines in an id": (text(TREE, hwids=[A[0] + "_" + A[2:]]), "hwids[0]"),
    "digits of other scripts": (text(TREE, hwids=["٣" + A[1:]]), "hwids[0]"),
}


def made(folder: Path, files: dict[str, bytes]) -> str:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return str(folder)


def built(folder: str) -> bytes:
    return hwids_json.build([hwids_json.read(path) for path in hwids_json.files(folder)])


@pytest.mark.parametrize("name", TAKEN)
def test_taken(tmp_path: Path, name: str):
    data = built(made(tmp_path, TAKEN[name]))
    assert [row.type for row in hwids.parse(data)] == [row.type for row in hwids.walk(data)]


@pytest.mark.parametrize(("content", "message"), [*REFUSED.values(), *OURS.values()], ids=[*REFUSED, *OURS])
def test_refused(tmp_path: Path, content: bytes, message: str):
    folder = made(tmp_path, {"a.json": content})
    with pytest.raises(StubsimError) as caught:
        built(folder)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'a.json'}: ")


UKIFY = """
import importlib.machinery, importlib.util, io, json, pathlib, sys, tempfile, zipfile
loader = importlib.machinery.SourceFileLoader("ukify", "/usr/bin/ukify")
ukify = importlib.util.module_from_spec(importlib.util.spec_from_loader("ukify", loader))
sys.modules["ukify"] = ukify
loader.exec_module(ukify)
results = []
with zipfile.ZipFile(sys.argv[0]) as archive:
    for case in json.loads(archive.read("cases.json")):
        with tempfile.TemporaryDirectory() as folder:
            for name, content in case.items():
                path = pathlib.Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(bytes.fromhex(content))
            try:
                results.append(ukify.parse_hwid_dir(pathlib.Path(folder)).hex())
            except Exception:
                results.append(None)
print(json.dumps(results))
"""


def ukify(run: Callable[..., str], cases: list[dict[str, bytes]]) -> list[bytes | None]:
    """What ukify of Debian testing makes of each set of files; None where it gives up. Its own function is called."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("__main__.py", UKIFY)
        plain = [{name: content.hex() for name, content in case.items()} for case in cases]
        archive.writestr("cases.json", json.dumps(plain))
    results: list[str | None] = json.loads(run("python3", file.getvalue(), "{}"))
    return [None if one is None else bytes.fromhex(one) for one in results]


@pytest.mark.oracle
def test_ukify_makes_the_same_bytes(tmp_path: Path, newer_oracle: Callable[..., str]):
    for number, (name, result) in enumerate(zip(TAKEN, ukify(newer_oracle, list(TAKEN.values())), strict=True)):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert built(made(folder, TAKEN[name])) == result, name


@pytest.mark.oracle
def test_ukify_refuses_the_same(newer_oracle: Callable[..., str]):
    refused = ukify(newer_oracle, [{"a.json": content} for content, _ in REFUSED.values()])
    assert dict(zip(REFUSED, refused, strict=True)) == dict.fromkeys(REFUSED)
    # And the list of what it does take is true.
    assert None not in ukify(newer_oracle, [{"a.json": content} for content, _ in OURS.values()])


def test_the_shipped_set(shared: Path):
    folder = shared / "data" / "hwids"
    assert built(str(folder / "json")) == (folder / "ukify-262.hwids").read_bytes()


def test_a_folder_that_is_none(tmp_path: Path):
    for path, message in (
        (tmp_path / "none", "No such file"),
        (Path(made(tmp_path, {"x": b""}), "x"), "is not a folder"),
    ):
        with pytest.raises(StubsimError, match=message):
            hwids_json.files(str(path))
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(StubsimError, match=r"folder\.json: is a folder"):
        built(str(tmp_path))


def test_lines():
    """Each id's own line, whatever stands around it."""
    content = b"""{"hwids": ["x"], "x": {"hwids": ["y",
      "z"]}, "": "hwids", "a\\u0022": [[],
      {}], "type": "devicetree", "hwids"
      :
      ["%s",

      "%s"],
      "name": "[\\"{,", "compatible":
      "hwids"}""" % (A.encode(), B.encode())
    found = hwids_json.parse(content, "p")
    assert found.hwids == (hwids_json.Hwid(UUID(A), 0, 5), hwids_json.Hwid(UUID(B), 1, 7))
    assert (found.name, found.string) == ('["{,', "hwids")
    assert found.ignored == ("x", "", 'a"')
    assert found.repeated == ("hwids",)


VALUES: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([A, B, "devicetree"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.fixed_dictionaries(
    {"type": st.sampled_from(list(hwids.KINDS)) | VALUES},
    optional={
        "name": st.text(max_size=4) | VALUES,
        "compatible": st.text(max_size=4) | VALUES,
        "fwid": st.text(max_size=4) | VALUES,
        "hwids": st.lists(st.uuids().map(str), max_size=4) | VALUES,
        "other": VALUES,
    },
)


def check_total(data: bytes) -> None:
    with contextlib.suppress(StubsimError):
        found = hwids_json.parse(data, "file.json")
        entries = hwids.parse(hwids_json.build([found]))
        assert {entry.chid for entry in entries} == {hwid.chid for hwid in found.hwids}
        assert all(1 <= hwid.line <= data.count(b"\n") + 1 for hwid in found.hwids)


@given(OBJECTS | VALUES, st.sampled_from([None, 0, 1]))
def test_any_json(value: object, indent: int | None):
    check_total(json.dumps(value, indent=indent).encode())


@given(st.binary(max_size=100))
def test_arbitrary_bytes(data: bytes):
    check_total(data)


@given(mutated(text(TREE)))
def test_mutated(data: bytes):
    check_total(data)


@given(
    st.lists(st.uuids(), max_size=9), st.lists(st.sampled_from([b"", b"\n", b" \n\n", b"\t"]), min_size=9, max_size=9)
)
def test_any_layout(chids: list[UUID], gaps: list[bytes]):
    content, lines = b'{"type":"uefi-fw","name":"","fwid":"x","hwids":[', []
    for index, (chid, gap) in enumerate(zip(chids, gaps, strict=False)):
        content += (b"," if index else b"") + gap
        lines.append(content.count(b"\n") + 1)
        content += json.dumps(str(chid)).encode()
    found = hwids_json.parse(content + b"]}", "p")
    assert [(hwid.chid, hwid.line) for hwid in found.hwids] == list(zip(chids, lines, strict=True))
