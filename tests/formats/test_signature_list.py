"""EFI_SIGNATURE_LISTs, laid out by hand; virt-firmware is the oracle where it is installed."""

from __future__ import annotations

import struct
from uuid import UUID

import pytest
from hypothesis import given

from stubsim.errors import StubsimError
from stubsim.formats import signature_list
from stubsim.formats.signature_list import SHA256, X509, Entry
from tests.strategies import mutated

OWNER, OTHER = UUID(int=7), UUID(int=8)
DIGESTS = [bytes([number]) * 32 for number in (1, 2)]


def digests(header: bytes = b"") -> bytes:
    body = b"".join(owner.bytes_le + digest for owner, digest in zip((OWNER, OTHER), DIGESTS, strict=True))
    return SHA256.bytes_le + struct.pack("<III", 28 + len(header) + len(body), len(header), 48) + header + body


def test_lists_lie_one_behind_the_other():
    data = signature_list.build(X509, OWNER, b"certificate") + digests()
    assert signature_list.parse(data) == (
        Entry(X509, OWNER, b"certificate"),
        Entry(SHA256, OWNER, DIGESTS[0]),
        Entry(SHA256, OTHER, DIGESTS[1]),
    )
    assert signature_list.parse(data)[0].signature_data == OWNER.bytes_le + b"certificate"
    assert signature_list.parse(b"") == ()


def test_a_header_between_is_passed_over():
    assert [entry.data for entry in signature_list.parse(digests(b"head"))] == DIGESTS


@pytest.mark.parametrize("cut", [1, 27, 60, 123])
def test_what_is_cut_off_is_an_error(cut: int):
    with pytest.raises(StubsimError, match="a signature list"):
        signature_list.parse(digests()[:cut])


@pytest.mark.parametrize("each", [0, 15, 47, 97])
def test_entries_have_to_fill_the_list(each: int):
    data = bytearray(digests())
    data[24:28] = struct.pack("<I", each)
    with pytest.raises(StubsimError, match=f"entries of {each}"):
        signature_list.parse(bytes(data))


def test_there_is_a_limit_to_their_number():
    body = bytes(16) * (1 << 13)
    data = SHA256.bytes_le + struct.pack("<III", 28 + len(body), 0, 16) + body
    with pytest.raises(StubsimError, match="too many"):
        signature_list.parse(data)


@given(mutated(signature_list.build(X509, OWNER, b"certificate") + digests(), places=[16, 20, 24, 55, 59, 63]))
def test_any_bytes_are_read_or_refused(data: bytes):
    try:
        entries = signature_list.parse(data)
    except StubsimError:
        return
    assert sum(len(entry.signature_data) for entry in entries) <= len(data)


def test_virt_firmware_reads_the_same():
    siglist = pytest.importorskip("virt.firmware.efi.siglist")
    theirs = siglist.EfiSigDB(digests())
    rows = [(str(row["guid"]), bytes(row["data"])) for one in theirs for row in one]
    assert rows == [(str(OWNER), DIGESTS[0]), (str(OTHER), DIGESTS[1])]
