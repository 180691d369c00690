"""The schema of a host file: true to the recorded hosts, and to what the reader takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim import hosts, schemas
from stubsim.errors import StubsimError
from stubsim.hosts.fixture import KEYS
from tests.test_schemas import GUID, faults, validator

ROOT = Path(__file__).parents[2]


def test_the_host_schema_has_the_keys_the_reader_has():
    definitions = schemas.load("host")["$defs"]
    top = definitions["host"]["properties"]
    fw_cfg = top["fw_cfg"]["anyOf"][0]
    failing, fixup = top["devicetree_fixup"]["anyOf"][:2]
    fixup["properties"] |= failing["properties"]
    found = {
        "": definitions["host"],
        "smbios": definitions["smbios"],
        "smbios_table": top["smbios_table"]["anyOf"][0],
        "devicetree_fixup": fixup,
        "devicetree_fixup.patches[]": fixup["properties"]["patches"]["items"],
        "tpm": top["tpm"]["anyOf"][0],
        "variables[]": top["variables"]["items"],
        "console": top["console"],
        "direct_boot": top["direct_boot"]["anyOf"][0],
        "fw_cfg": fw_cfg,
        "fw_cfg.vmfwupdate": fw_cfg["properties"]["vmfwupdate"]["anyOf"][0],
        "firmware": top["firmware"],
        "firmware.capsules": top["firmware"]["properties"]["capsules"]["anyOf"][0],
    }
    assert {place: set(schema["properties"]) for place, schema in found.items()} == {
        place: set(keys) for place, keys in KEYS.items()
    }
    assert all(schema["additionalProperties"] is False for schema in found.values())


def test_every_recorded_host_is_valid(shared: Path):
    paths = sorted(shared.glob("golden*/*/host.json"))
    assert paths
    host = validator("host")
    for path in paths:
        host.validate(json.loads(path.read_text()))


def test_every_host_fixture_is_valid():
    paths = sorted((ROOT / "fixtures" / "hosts").glob("*.json"))
    assert paths
    for path in paths:
        assert faults("host", json.loads(path.read_text("utf-8"))) == []


WRONG_HOSTS: list[object] = [
    [],
    {"memroy": "1G"},
    {"schema": "stubsim/host/2"},
    {"smbios": {"bios_major": 256}},
    {"smbios": {"bios_major": True}},
    {"smbios": {"family": "a\0"}},
    {"smbios": {"oem_strings": [""]}},
    {"bios_major": "2"},
    {"manufacturer": "M", "memory": "1G"},
    {"smbios_table": {}},
    {"edid": "AAA"},
    {"architecture": "x86_64"},
    {"memory": "2 G"},
    {"memory": 0},
    {"memory": None},
    {"hypervisor": 1},
    {"confidential": "sev"},
    {"tpm": {"banks": []}},
    {"tpm": {"banks": ["sha1", "sha1"]}},
    {"variables": [{"name": "N", "guid": GUID, "attributes": 6}]},
    {"variables": [{"name": "", "guid": GUID, "attributes": 6, "data": ""}]},
    {"boot_secret": "abc"},
    {"esp_partition_uuid": "{" + GUID + "}"},
    {"console": {"serial": ["3f8"]}},
    {"fw_cfg": {"vmfwupdate": {"dialect": "v5"}}},
    {"firmware": {"vendor": None}},
    {"firmware": {"sha256": "ab"}},
    {"devicetree_fixup": {"error": "EFI_SUCCESS"}},
    {"devicetree_fixup": {"error": "EFI_NOT_FOUND", "needs": 8192}},
    {"devicetree_fixup": {"needs": "4K"}},
    {"devicetree_fixup": {"patches": [{"offset": 4}]}},
    {"devicetree_fixup": {"patches": None}},
    {"devicetree_fixup": {"append": "?"}},
    {"devicetree_fixup": {"fill_buffer": 256}},
    {"unknown": ["name"]},
]
RIGHT_HOSTS: list[object] = [
    {},
    {"manufacturer": "M", "oem_strings": ["x"], "name": "n"},
    {
        "memory": 1 << 30,
        "tpm": None,
        "fw_cfg": None,
        "architecture": None,
        "smbios": {"family": None, "product_sku": ""},
    },
    {"fw_cfg": {"vmfwupdate": {"cap": 0}}, "unknown": ["tpm", "smbios.family"], "tpm": {}, "smbios_table": None},
    {
        "variables": [{"name": "N", "guid": GUID.upper(), "attributes": 6, "data": "/w=="}],
        "console": {"serial": [1016]},
    },
]


@pytest.mark.parametrize("value", WRONG_HOSTS, ids=str)
def test_reader_and_schema_refuse(value: object):
    assert faults("host", value)
    with pytest.raises(StubsimError):
        hosts.from_json(value)


@pytest.mark.parametrize("value", RIGHT_HOSTS, ids=str)
def test_reader_and_schema_accept(value: object):
    assert faults("host", value) == []
    hosts.from_json(value)


VALUES = (
    st.none() | st.booleans() | st.integers(-1, 300) | st.sampled_from(["", "x", "sha256", "2G", "tdx", "AA==", GUID])
)
NESTED = VALUES | st.lists(VALUES, max_size=2) | st.dictionaries(st.sampled_from(KEYS["smbios"]), VALUES, max_size=2)
ANY_HOST = st.dictionaries(st.sampled_from(KEYS[""]), NESTED, max_size=3) | st.one_of(
    st.dictionaries(st.sampled_from(KEYS[place]), NESTED).map(lambda value, place=place: {place: value})
    for place in ("smbios", "smbios_table", "tpm", "console", "fw_cfg", "firmware")
)
HOST = validator("host")


@given(ANY_HOST)
def test_what_the_reader_takes_the_schema_takes(value: dict[str, Any]):
    try:
        hosts.from_json(value)
    except StubsimError:
        return
    HOST.validate(value)
