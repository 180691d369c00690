"""Devicetrees, against dtc where it is installed."""

from __future__ import annotations

import contextlib
import shutil
import struct
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.errors import StubsimError
from stubsim.formats import fdt
from tests.strategies import mutated

VALID = fdt.build(["lab,board", "lab,soc"], [("model", b"Lab\0")], child_compatible=["lab,child"])

needs_dtc = pytest.mark.skipif(shutil.which("dtc") is None, reason="oracle tool dtc is missing")


def dtc(source: bytes, *options: str) -> bytes:
    return subprocess.run(["dtc", *options], input=source, capture_output=True, check=True).stdout


@needs_dtc
@pytest.mark.parametrize("compatible_first", [True, False])
def test_dtc_reads_what_we_build(compatible_first: bool) -> None:
    data = fdt.build(
        ["lab,board", "lab,soc"],
        [("model", b"Lab\0"), ("empty", b""), ("cells", bytes(3))],
        compatible_first=compatible_first,
        child_compatible=["lab,child"],
    )
    text = dtc(data, "-I", "dtb", "-O", "dts").decode()
    lines = [line.strip() for line in text.splitlines()]
    assert 'compatible = "lab,board", "lab,soc";' in " ".join(lines).replace("\\0", '", "')
    assert (lines.index('model = "Lab";') > lines.index("/ {") + 1) == compatible_first
    assert "child {" in lines


@needs_dtc
def test_we_read_what_dtc_builds() -> None:
    source = b"""/dts-v1/; / { model = "Lab"; #address-cells = <1>; compatible = "lab,board", "lab,soc";
        child { compatible = "lab,child"; }; };"""
    for options in (["-O", "dtb"], ["-O", "dtb", "-p", "64"], ["-O", "dtb", "-R", "4"]):
        data = dtc(source, *options)
        assert fdt.root_compatible(data) == ("lab,board", "lab,soc")
        assert fdt.total_size(data) == len(data)
    with pytest.raises(StubsimError, match="no root `compatible`"):
        fdt.root_compatible(dtc(b'/dts-v1/; / { model = "Lab"; child { compatible = "lab,child"; }; };', "-O", "dtb"))


@pytest.mark.parametrize("compatible_first", [True, False])
def test_there_and_back(compatible_first: bool) -> None:
    data = fdt.build(["lab,board"], [("compatible-not", b"x\0")], compatible_first=compatible_first)
    assert fdt.root_compatible(data) == fdt.root_compatible(memoryview(data)) == ("lab,board",)
    assert fdt.root_compatible(data + b"behind") == ("lab,board",)
    assert fdt.total_size(data) == len(data)


def test_first_of_the_root_counts() -> None:
    """Recording dtbauto-propfirst: the first `compatible` in the property list of the root."""
    data = fdt.build(["first"], [("model", b"\0"), ("compatible", b"second\0")], child_compatible=["child"])
    assert fdt.root_compatible(data) == ("first",)
    assert fdt.root_compatible(VALID) == ("lab,board", "lab,soc")


def test_bytes_that_are_no_utf8() -> None:
    (text,) = fdt.root_compatible(fdt.build([], [("compatible", b"a\xff\0")]))
    assert text.encode(errors="surrogateescape") == b"a\xff"
    assert fdt.root_compatible(fdt.build([text])) == (text,)


def test_nop_is_skipped() -> None:
    data = bytearray(fdt.build(["lab,board"], [("nop", b"1234")], compatible_first=False))
    at = struct.unpack_from(">I", data, 8)[0] + 8
    data[at : at + 16] = struct.pack(">4I", 4, 4, 4, 4)
    assert fdt.root_compatible(bytes(data)) == ("lab,board",)


def with_word(index: int, value: int) -> bytes:
    data = bytearray(VALID)
    struct.pack_into(">I", data, index * 4, value)
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        VALID[:39],
        VALID[:-1],
        with_word(0, 0xEDFE0DD0),
        with_word(1, len(VALID) + 1),
        with_word(2, 57),
        with_word(2, 0xFFFFFFFC),
        with_word(3, 56),
        with_word(3, len(VALID)),
        with_word(8, 0xFFFFFFFF),
        with_word(9, 0),
        with_word(9, 4),
        with_word(9, 12),
        with_word(9, 24),
        with_word(9, 0xFFFFFFFC),
        fdt.build([]),
        fdt.build([], child_compatible=["lab,child"]),
        fdt.build([], [("compatible", b"")]),
        fdt.build([], [("compatible", b"lab")]),
    ],
)
def test_refused(data: bytes) -> None:
    with pytest.raises(StubsimError) as caught:
        fdt.root_compatible(data)
    assert caught.value.offset is not None
    assert caught.value.expected


@pytest.mark.parametrize("data", [b"", b"\xd0\x0d\xfe\xed", bytes(40)])
def test_no_total_size(data: bytes) -> None:
    with pytest.raises(StubsimError):
        fdt.total_size(data)


def check_total(data: bytes) -> None:
    with contextlib.suppress(StubsimError):
        assert fdt.root_compatible(data)


@given(st.binary(max_size=120))
def test_arbitrary_bytes(data: bytes) -> None:
    check_total(data)
    check_total(VALID[:56] + data)


@given(mutated(VALID))
def test_mutated(data: bytes) -> None:
    check_total(data)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1, max_size=4))
def test_any_compatible_there_and_back(compatible: list[str]) -> None:
    assert fdt.root_compatible(fdt.build(compatible)) == tuple(compatible)
