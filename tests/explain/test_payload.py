"""Payloads decoded: the details of each kind, valid by the schema, and never an exception."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from stubsim import schemas
from stubsim.explain.payload import decode
from stubsim.formats import capsule, igvm, ovmf
from tests.formats.test_elf import HIGH, image
from tests.formats.test_firmware_volume import IA32, X64, ovmf_like
from tests.strategies import mutated

SEV = (ovmf.SevSection(0x800000, 0x9000, 1), ovmf.SevSection(0x80D000, 0x1000, 2))
TDX = (ovmf.TdxSection(0, 65536, 0xFFFF0000, 65536, 0, ovmf.EXTEND_MR),)
TABLE = ovmf.build(
    [
        (ovmf.SEV_ES_RESET, b"\x04\xb0\x80\0"),
        (ovmf.SEV_SECRET, bytes(8)),
        (ovmf.SEV_HASHES, b"\0\xf0\x80\0\0\x04\0\0"),
        (UUID(int=5), b"?"),
    ],
    4096,
    sev=SEV,
    tdx=TDX,
)
OVMF = ovmf_like(IA32, X64) + TABLE
IGVM = igvm.build([igvm.platform(2), igvm.platform(9, 2), (0x302, b""), (0x302, b""), (0x8000_0399, b"")])
CAPSULE = capsule.build(capsule.FIRMWARE_MANAGEMENT, b"", flags=0x50000)

SCHEMA = schemas.load("inspect")
DETAILS = Draft202012Validator({**SCHEMA["$defs"]["payload"]["properties"]["details"], "$defs": SCHEMA["$defs"]})
# Of which schema the details of a kind are; anyOf alone would take any.
KINDS = {
    name: Draft202012Validator({"$ref": f"#/$defs/{schema}", "$defs": SCHEMA["$defs"]})
    for name, schema in {"unknown": "volumes", **{name: name for name in ("ovmf", "igvm", "capsule", "elf")}}.items()
}


def details(data: bytes) -> Any:
    content = decode(data)
    DETAILS.validate(content.details)
    if content.details is not None:
        KINDS[content.kind.name].validate(content.details)
    return content.details


def test_ovmf():
    value = details(OVMF)
    assert [(row["phase"], row["machine"]) for row in value["cores"]] == [
        ("SEC", "ia32"), ("PEI", "ia32"), ("DXE", "x64"),
    ]  # fmt: skip
    table = value["table"]
    assert table["offset"] + table["size"] == len(OVMF) - 32
    reset, secret, hashes, other, sev, tdx = table["entries"]
    assert reset["address"] == 0x80B004
    assert (secret["address"], secret["size"]) == (None, None)
    assert (hashes["address"], hashes["size"]) == (0x80F000, 0x400)
    assert other == {"guid": str(UUID(int=5)), "name": None, "data": "3f"}
    assert sev["offset"] == value["sev_metadata"]["offset"] == OVMF.index(b"ASEV")
    assert tdx["offset"] == value["tdx_metadata"]["offset"] == OVMF.index(b"TDVF")
    assert value["sev_metadata"]["sections"] == [
        {"name": "SNP_SEC_MEM", "base": 0x800000, "size": 0x9000, "type": 1},
        {"name": "SNP_SECRETS", "base": 0x80D000, "size": 0x1000, "type": 2},
    ]
    assert value["tdx_metadata"]["sections"][0] == {
        "name": "BFV", "data_offset": 0, "data_size": 65536, "address": 0xFFFF0000, "size": 65536, "type": 0,
        "attributes": 1,
    }  # fmt: skip
    assert value["errors"] == []


def test_broken_metadata_are_told_beside_the_rest():
    value = details(OVMF.replace(b"ASEV", b"ASEX"))
    assert value["sev_metadata"] is None
    assert value["tdx_metadata"] is not None
    (error,) = value["errors"]
    assert error.startswith(f"offset {OVMF.index(b'ASEV'):#x}: SEV metadata in OVMF that begin with 41534558")


def test_a_broken_table():
    data = bytearray(OVMF)
    data[-50:-48] = b"\xff\xff"
    value = details(bytes(data))
    assert value["table"] is value["sev_metadata"] is None
    assert len(value["errors"]) == 1
    assert len(value["cores"]) == 3


def test_igvm():
    value = details(IGVM)
    assert [(row["name"], row["compatibility_mask"]) for row in value["platforms"]] == [
        ("SEV-SNP", "0x1"), (None, "0x2"),
    ]  # fmt: skip
    assert [(row["name"], row["count"]) for row in value["headers"]] == [
        ("SUPPORTED_PLATFORM", 2), ("PAGE_DATA", 2), ("type 0x80000399", 1),
    ]  # fmt: skip
    assert (value["version"], value["machine"], value["total_size"]) == (1, "x64", len(IGVM))


def test_capsule_and_elf():
    value = details(CAPSULE)
    assert (value["flags"], value["flags_valid"], value["image_size"]) == ("0x00050000", True, 28)
    value = details(image())
    assert value["entry"] == f"{HIGH + 8:#x}"
    assert value["segments"][0]["physical_address"] == "0x100000"


@pytest.mark.parametrize("data", [b"", b"raw", IGVM[:30], b"\x7fELF"])
def test_nothing_to_tell(data: bytes):
    assert details(data) is None


def test_volumes_without_a_table():
    assert details(ovmf_like(X64, X64))["cores"][0] == {"phase": "SEC", "machine": "x64"}


@given(st.one_of(mutated(data) for data in (OVMF, TABLE, IGVM, CAPSULE, image())))
def test_total(data: bytes):
    details(data)
