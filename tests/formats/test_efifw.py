"""The `.efifw` blob; the accepted and refused headers are those of the recordings efifw-raw-* (systemd-stub 262.1)."""

from __future__ import annotations

import struct
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.errors import StubsimError
from stubsim.formats import efifw
from tests.strategies import mutated

TARGET = UUID("0f2de380-a687-530c-9964-9da649e77a0d")
VALID = efifw.build("ovmf", b"IGVM payload")


def blob(magic: int, header_size: int, fwid_size: int, payload_size: int, rest: bytes) -> bytes:
    return struct.pack("<IIII", magic, header_size, fwid_size, payload_size) + rest


def test_layout() -> None:
    assert bytes.fromhex("addeedfe 10000000 05000000 0c000000") + (b"ovmf\0IGVM payload") == VALID
    assert efifw.build("a", b"", header_size=20) == blob(0xFEEDDEAD, 20, 2, 0, bytes(4) + b"a\0")
    assert efifw.build("a", b"p", target_chid=TARGET) == blob(0xFEEDDEAD, 32, 2, 1, TARGET.bytes_le + b"a\0p")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (VALID, (16, b"ovmf", b"IGVM payload", None)),
        (VALID + b"trailing", (16, b"ovmf", b"IGVM payload", None)),
        (efifw.build("a", b""), (16, b"a", b"", None)),
        (efifw.build("a", b"p", header_size=20), (20, b"a", b"p", None)),
        (efifw.build("a", b"p", header_size=32), (32, b"a", b"p", None)),
        (efifw.build("a", b"p", header_size=48), (48, b"a", b"p", None)),
        (efifw.build("a", b"p", target_chid=TARGET), (32, b"a", b"p", TARGET)),
        # An empty id is just its NUL.
        (blob(0xFEEDDEAD, 16, 1, 1, b"\0p"), (16, b"", b"p", None)),
    ],
)
def test_parse(data: bytes, expected: object) -> None:
    assert efifw.parse(data) == efifw.parse(memoryview(data)) == expected


def test_payload_is_a_slice() -> None:
    data = bytearray(VALID)
    parsed = efifw.parse(memoryview(data))
    data[-1] ^= 0xFF
    assert parsed.payload[-1] == data[-1]


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        (b"", 0),
        (VALID[:15], 0),
        (blob(0xFEEDDEAE, 16, 2, 0, b"a\0"), 0),
        (blob(0xADDEEDFE, 16, 2, 0, b"a\0"), 0),
        (blob(0xFEEDDEAD, 12, 2, 0, b"a\0"), 4),
        (blob(0xFEEDDEAD, 0, 2, 0, b"a\0"), 4),
        (blob(0xFEEDDEAD, 16, 2, 1, b"a\0"), 4),
        (blob(0xFEEDDEAD, 16, 3, 0, b"a\0"), 4),
        (blob(0xFEEDDEAD, 0xFFFFFFFF, 2, 0, b"a\0"), 4),
        (blob(0xFEEDDEAD, 16, 0xFFFFFFFF, 0xFFFFFFFF, b"a\0"), 4),
        (blob(0xFEEDDEAD, 16, 0, 0, b"a\0"), 16),
        (blob(0xFEEDDEAD, 16, 2, 0, b"ab"), 16),
        (blob(0xFEEDDEAD, 16, 4, 0, b"ab\0\0"), 16),
        (blob(0xFEEDDEAD, 16, 4, 0, b"a\0b\0"), 16),
    ],
)
def test_refused(data: bytes, offset: int) -> None:
    with pytest.raises(StubsimError) as caught:
        efifw.parse(data)
    assert (caught.value.section, caught.value.offset) == (".efifw", offset)
    assert caught.value.expected
    assert caught.value.hint is None


@pytest.mark.parametrize("payload", [b"", b"some firmware"])
def test_old_ukify(payload: bytes) -> None:
    """ukify before the fix packed the magic with `<p`, which keeps one zero byte of it."""
    data = struct.pack("<p", bytes.fromhex("feeddead")) + struct.pack("<III", 16, 2, len(payload)) + b"a\0" + payload
    assert data[0] == 0
    with pytest.raises(StubsimError) as caught:
        efifw.parse(data)
    assert "silently never used" in str(caught.value.hint)


@pytest.mark.parametrize("fwid", ["", "a\0b"])
def test_build_refuses_ids(fwid: str) -> None:
    with pytest.raises(StubsimError):
        efifw.build(fwid, b"")


@pytest.mark.parametrize(("header_size", "target"), [(12, None), (15, None), (20, TARGET), (48, TARGET)])
def test_build_refuses_headers(header_size: int, target: UUID | None) -> None:
    with pytest.raises(StubsimError):
        efifw.build("a", b"", header_size=header_size, target_chid=target)


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
    st.binary(max_size=64),
    st.integers(16, 64),
)
def test_there_and_back(fwid: str, payload: bytes, header_size: int) -> None:
    parsed = efifw.parse(efifw.build(fwid, payload, header_size=header_size))
    assert (parsed.header_size, parsed.fwid, bytes(parsed.payload)) == (header_size, fwid.encode(), payload)
    assert parsed.target_chid is None


def check_total(data: bytes) -> None:
    try:
        parsed = efifw.parse(data)
    except StubsimError:
        return
    assert parsed.header_size + len(parsed.fwid) + 1 + len(parsed.payload) <= len(data)


@given(st.binary(max_size=80))
def test_arbitrary_bytes(data: bytes) -> None:
    check_total(data)
    check_total(VALID[:4] + data)


@given(mutated(VALID))
def test_mutated(data: bytes) -> None:
    check_total(data)
