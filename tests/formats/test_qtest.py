"""The qtest protocol, both ways."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.errors import StubsimError
from stubsim.formats import qtest
from stubsim.formats.qtest import Command

LINES = (
    "outb 0x511 0x55",
    "outw 0x510 0x31",
    "outl 0x518 0x100",
    "inb 0x511",
    "readq 0x9020000",
    "writew 0x9020008 0x100",
    "read 0x10000 0x10",
    "write 0x10000 0x3 0x00ff10",
    "memset 0x200000 0x10000 0x5c",
)


@pytest.mark.parametrize("line", LINES)
def test_there_and_back(line: str):
    assert qtest.build(qtest.parse(line)) == line


def test_numbers_may_be_decimal():
    assert qtest.parse("outl 1304 256") == Command("outl", 0x518, 4, 0x100)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("", "unknown qtest command ''"),
        ("outq 0x511 1", "unknown qtest command 'outq'"),
        ("inb", "has 0 arguments"),
        ("inb 0x511 1", "has 2 arguments"),
        ("inb 0xzz", "'0xzz' is not a number"),
        ("inb -1", "'-1' is not a number"),
        ("outb 0x511 0x100", "more than 1 bytes"),
        ("memset 0 1 0x100", "fills with 0x100"),
        ("write 0 2 0x00", "does not hold 2 bytes"),
        ("write 0 1 00", "does not hold 1 bytes"),
        ("read 0 0x100000000", "asks for"),
    ],
)
def test_what_is_no_command(line: str, complaint: str):
    with pytest.raises(StubsimError) as caught:
        qtest.parse(line)
    assert complaint in str(caught.value)


def test_answers_have_as_many_digits_as_qemu_prints():
    assert qtest.answer(Command("inb", 0, 1), b"\5") == "OK 0x0005"
    assert qtest.answer(Command("inl", 0, 4), b"\5\0\0\0") == "OK 0x0005"
    assert qtest.answer(Command("inl", 0, 4), b"QEMU") == "OK 0x554d4551"
    assert qtest.answer(Command("readb", 0, 1), b"\5") == "OK 0x0000000000000005"
    assert qtest.answer(Command("read", 0, 2), b"\5\6") == "OK 0x0506"
    assert qtest.answer(Command("outb", 0, 1), None) == "OK"


@given(
    st.one_of(st.text(max_size=60), st.sampled_from(LINES).flatmap(lambda line: st.text(max_size=5).map(line.__add__)))
)
def test_any_line_is_a_command_or_an_error(line: str):
    with contextlib.suppress(StubsimError):
        assert qtest.parse(qtest.build(qtest.parse(line)))
