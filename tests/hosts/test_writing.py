"""Host files written: they read back to the same, and without what identifies a machine."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from stubsim import chid, hosts, schemas
from stubsim.formats import edid, smbios
from stubsim.hosts import Host, Variable
from stubsim.hosts.recognise import read_bytes
from stubsim.hosts.writing import to_json
from stubsim.stub.chid_match import machine_chids
from tests.conftest import recordings
from tests.hosts.test_dmidecode import TEXT
from tests.hosts.test_fixture import COMPLETE

SCHEMA = Draft202012Validator(schemas.load("host"))
SERIALS = [b"SERIAL-1", b"SERIAL-2", b"SERIAL-3", b"ASSET-3", b"SERIAL-17", b"SERIAL-4", b"5[SERIAL]"]
UUID_BYTES = bytes(range(0x50, 0x60))


def written(host: Host, *, keep_ids: bool = False) -> tuple[Host, tuple[str, ...]]:
    value, dropped = to_json(host, keep_ids=keep_ids)
    SCHEMA.validate(value)
    return hosts.from_json(json.loads(json.dumps(value))), dropped


def table() -> bytes:
    system = bytes([1, 2, 0, 3, *UUID_BYTES, 6, 4, 5])
    return smbios.build(
        [
            smbios.build_structure(0, bytes([1, 2, 0, 0, 0, 0, *bytes(12), 1, 2, 255, 255]), [b"V", b"W"]),
            smbios.build_structure(1, system, [b"Maker", b"Product", SERIALS[0], b"SKU", b"Family"], 1),
            smbios.build_structure(2, bytes([1, 2, 0, 3]), [b"Board", b"One", SERIALS[1]], 2),
            smbios.build_structure(3, bytes([0, 10, 0, 1, 2, 3, 3, 3, 3]), SERIALS[2:4], 3),
            smbios.build_structure(17, bytes([0] * 20 + [1]), [SERIALS[4]]),
            smbios.build_structure(4, bytes([0] * 28 + [1]), [SERIALS[5]]),
            smbios.build_structure(11, b"\2", [SERIALS[6], b"io.systemd.stub.kernel-cmdline-extra=quiet"]),
        ]
    )


def test_a_whole_host_is_read_back():
    host = hosts.from_json(COMPLETE)
    assert written(host, keep_ids=True) == (host, ())


def test_every_recorded_and_shipped_host_is_read_back():
    paths = [*(path / "host.json" for path in recordings()), *(Path(__file__).parents[2] / "fixtures/hosts").glob("*")]
    for path in paths:
        host = hosts.load(str(path))
        assert written(host, keep_ids=True) == (host, ())
        assert machine_chids(written(host)[0]) == machine_chids(host)


def test_a_table_with_its_ids():
    host = read_bytes(table()).host
    assert written(host, keep_ids=True) == (host, ())


def test_a_table_without_its_ids():
    host = read_bytes(table()).host
    value, dropped = to_json(host)
    text = json.dumps(value)
    assert "smbios_table" not in value
    assert not any(serial.decode() in text for serial in SERIALS)
    back, _ = written(host)
    assert len(dropped) == 1
    assert dropped[0].startswith("left out, as it identifies the machine: ")
    assert "the raw SMBIOS table, OEM strings that no stub reads" in dropped[0]
    assert dropped[0].endswith("--keep-ids keeps it")
    # PCR 1 is unknown without a table; everything else is as before.
    assert back.structures is None
    assert back == host._replace(structures=None, oem_strings=host.oem_strings[1:])
    for view in chid.VIEWS:
        assert chid.compute(back.fields, None, view) == chid.compute(host.fields, None, view)


def test_other_ids_and_secrets():
    panel = bytearray(edid.build("ABC12ef"))
    panel[12:16] = b"SERI"
    host = Host(
        edid=bytes(panel),
        boot_secret=b"secret",
        esp_partition_uuid=UUID(bytes=UUID_BYTES),
        xbootldr_partition_uuid=UUID(bytes=UUID_BYTES),
        variables=(Variable("LoaderSystemToken", UUID(int=1), 3, b"token"),),
    )
    assert written(host, keep_ids=True) == (host, ())
    back, _ = written(host)
    assert back.unknown == {"boot_secret", "esp_partition_uuid", "xbootldr_partition_uuid", "variables"}
    assert back.edid == edid.build("ABC12ef")
    assert back._replace(unknown=frozenset()) == Host(edid=back.edid)
    # What was not there is not unknown.
    assert written(Host())[0] == Host()
    assert written(Host(edid=b"short"))[0].edid is None


def test_a_text_keeps_what_it_does_not_know():
    host = read_bytes(TEXT.replace(b"Machine  ", b"M..e")).host
    back, _ = written(host, keep_ids=True)
    assert back == host
    assert "smbios.product_name" in back.unknown


@pytest.mark.parametrize("keep_ids", [False, True])
def test_bytes_that_json_cannot_hold(keep_ids: bool):
    fields = smbios.Fields(manufacturer=b"M\xff", product_name="Größe".encode())
    raw = read_bytes(smbios.from_fields(fields, [b"io.systemd.stub.x=\xfe"])).host
    back, dropped = written(raw, keep_ids=keep_ids)
    if keep_ids:
        # The raw table holds them.
        assert (back, dropped) == (raw, ())
        return
    assert back.fields == fields._replace(manufacturer=None)
    assert back.unknown - raw.unknown == {"smbios.manufacturer", "smbios.oem_strings"}
    dropped = tuple(text for text in dropped if "--keep-ids" not in text)
    assert len(dropped) == 2
    assert "manufacturer b'M\\xff' is not UTF-8" in dropped[0]
    # What depends on it is left out, not wrong.
    assert {kind: machine_chids(raw)[kind] for kind in machine_chids(back)} == machine_chids(back)


STRING = st.none() | st.binary(min_size=1, max_size=8).filter(lambda value: b"\0" not in value)
FIELDS = st.builds(smbios.Fields, *[STRING] * 8, *[st.none() | st.integers(0, 255)] * 3)
UNKNOWN = st.frozensets(st.sampled_from(["edid", "tpm", "smbios.family", "console.serial"]))


@given(FIELDS, st.lists(st.binary(min_size=1).filter(lambda value: b"\0" not in value)), UNKNOWN, st.booleans())
def test_any_host_is_read_back_or_known_to_be_less(
    fields: smbios.Fields, oem_strings: list[bytes], unknown: frozenset[str], keep_ids: bool
):
    host = Host(fields=fields, oem_strings=tuple(oem_strings), unknown=unknown)
    back, _ = written(host, keep_ids=keep_ids)
    assert back.unknown >= host.unknown
    for key, value in fields._asdict().items():
        assert getattr(back.fields, key) == value or f"smbios.{key}" in back.unknown
    own, theirs = machine_chids(host), machine_chids(back)
    assert all(own[kind] == value for kind, value in theirs.items())
