"""Host files: every key, every kind of mistake, the recorded ones, and arbitrary bytes."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stubsim import hosts
from stubsim.errors import StubsimError
from stubsim.formats import smbios
from stubsim.hosts import Console, DirectBoot, Firmware, FwCfg, Host, Variable, VmFwUpdate
from stubsim.hosts.fixture import KEYS
from stubsim.hosts.host import DevicetreeFixup, Patch
from stubsim.hosts.recognise import MAXIMUM_SIZE

LOADER_GUID = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
FIXTURES = Path(__file__).parents[2] / "fixtures" / "hosts"


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def error_of(value: object) -> StubsimError:
    with pytest.raises(StubsimError) as caught:
        hosts.from_json(value, "host.json")
    assert caught.value.path == "host.json"
    return caught.value


def write(folder: Path, data: bytes) -> str:
    path = folder / "host.json"
    path.write_bytes(data)
    return str(path)


COMPLETE: dict[str, Any] = {
    "schema": "stubsim/host/1",
    "name": "example-complete",
    "source": "made up",
    "smbios": {
        "manufacturer": "Größe",
        "product_name": "P",
        "product_sku": "S",
        "family": None,
        "baseboard_manufacturer": "",
        "baseboard_product": "B",
        "bios_vendor": "V",
        "bios_version": "W",
        "bios_major": 0,
        "bios_minor": 255,
        "enclosure_type": 10,
        "oem_strings": ["one", "two"],
    },
    "edid": "AAE=",
    "devicetree": "",
    "devicetree_fixup": {
        "needs": 8192,
        "first_call_only": True,
        "patches": [{"offset": 28, "data": "ESIzRA=="}],
        "append": "AA==",
        "fill_buffer": 255,
    },
    "previous_initrd": None,
    "architecture": "aa64",
    "memory": "384M",
    "hypervisor": False,
    "confidential": "sev-snp",
    "secure_boot": True,
    "tpm": {"banks": ["sha1", "sha384"]},
    "rng": True,
    "variables": [{"name": "LoaderFeatures", "guid": LOADER_GUID.upper(), "attributes": 6, "data": "/w=="}],
    "boot_secret": "00FF",
    "keyboard_layout": "en-US",
    "esp_partition_uuid": "5eed0e5b-1ab0-4000-8000-0000000000e5",
    "xbootldr_partition_uuid": "5eed0e5b-1ab0-4000-8000-0000000000b0",
    "console": {"graphics": False, "virtio": 2, "serial": ["0x3f8", "0x2F8"]},
    "direct_boot": {"load_options": "quiet"},
    "fw_cfg": {
        "dma": False,
        "legacy_order": True,
        "slots": 16,
        "vmfwupdate": {"dialect": "spec", "cap": 1, "bios_size": 65536, "disabled": True},
    },
    "firmware": {"vendor": "V", "revision": 1, "uefi_revision": 2, "sha256": "AB" * 32},
    "unknown": ["smbios.family", "fw_cfg.vmfwupdate.cap", "previous_initrd"],
    "$schema": "https://example.org/host.json",
    "notes": ["memory: as bought"],
}


def test_every_key_arrives():
    assert hosts.from_json(COMPLETE) == Host(
        name="example-complete",
        source="made up",
        fields=smbios.Fields("Größe".encode(), b"P", b"S", None, None, b"B", b"V", b"W", 0, 255, 10),
        oem_strings=(b"one", b"two"),
        structures=None,
        edid=b"\0\1",
        devicetree=b"",
        devicetree_fixup=DevicetreeFixup(None, 8192, True, (Patch(28, b"\x11\x22\x33\x44"),), b"\0", 255),
        previous_initrd=None,
        architecture="aa64",
        memory=384 << 20,
        hypervisor=False,
        confidential="sev-snp",
        secure_boot=True,
        tpm=("sha1", "sha384"),
        rng=True,
        variables=(Variable("LoaderFeatures", UUID(LOADER_GUID), 6, b"\xff"),),
        boot_secret=b"\0\xff",
        keyboard_layout="en-US",
        esp_partition_uuid=UUID("5eed0e5b-1ab0-4000-8000-0000000000e5"),
        xbootldr_partition_uuid=UUID("5eed0e5b-1ab0-4000-8000-0000000000b0"),
        console=Console(False, 2, (0x3F8, 0x2F8)),
        direct_boot=DirectBoot("quiet"),
        fw_cfg=FwCfg(False, VmFwUpdate("spec", 1, 65536, True), legacy_order=True, slots=16),
        firmware=Firmware("V", 1, 2, "ab" * 32),
        unknown=frozenset({"smbios.family", "fw_cfg.vmfwupdate.cap", "previous_initrd"}),
    )


@pytest.mark.parametrize("key", [key for key in KEYS[""] if key != "smbios_table"])
def test_each_key_alone_changes_only_its_own_field(key: str):
    host, default = hosts.from_json({key: COMPLETE[key]}), Host()
    changed = {name for name, one, other in zip(Host._fields, host, default, strict=True) if one != other}
    fields = {
        "$schema": set(),
        "schema": set(),
        "notes": set(),
        "previous_initrd": set(),
        "smbios": {"fields", "oem_strings"},
    }
    assert changed == fields.get(key, {key})


@pytest.mark.parametrize(
    ("value", "known"),
    [
        ({}, False),
        ({"needs": 8192}, False),
        ({"patches": []}, True),
        ({"append": ""}, True),
        ({"fill_buffer": 0}, True),
    ],
)
def test_a_fixup_is_known_by_what_it_does(value: dict[str, Any], known: bool):
    fixup = hosts.from_json({"devicetree_fixup": value}).devicetree_fixup
    assert fixup is not None
    assert fixup.known is known


@pytest.mark.parametrize(
    ("text", "size"),
    [("384M", 384 << 20), ("2G", 2 << 30), ("2g", 2 << 30), ("1T", 1 << 40), ("4096K", 4 << 20), ("4194304", 4 << 20)],
)
def test_memory(text: str, size: int):
    assert hosts.from_json({"memory": text}).memory == size
    assert hosts.from_json({"memory": size}).memory == size


def test_null_is_absence_and_absence_is_the_default():
    host = hosts.from_json({"tpm": None, "fw_cfg": None, "architecture": None, "smbios_table": None, "name": None})
    assert host.tpm is None
    assert host.fw_cfg is None
    assert hosts.from_json({"tpm": {}}).tpm == ("sha256",)
    assert hosts.from_json({"fw_cfg": {}}).fw_cfg == FwCfg(True, None)
    assert hosts.from_json({"fw_cfg": {"vmfwupdate": {}}}).fw_cfg == FwCfg(
        True, VmFwUpdate("qemu-v5", 0x88, 4 << 20, False)
    )


def test_smbios_keys_alone_at_the_top_level():
    fields = {"manufacturer": "M", "bios_major": 3, "oem_strings": ["x"]}
    assert hosts.from_json(fields) == hosts.from_json({"smbios": fields})
    assert hosts.from_json({"name": "n", "schema": "stubsim/host/1", **fields}).name == "n"
    error = error_of({"manufactuer": "M", "family": "F"})
    assert error.message == "manufactuer: unknown key"
    assert error.hint == "did you mean manufacturer?"


def test_smbios_keys_at_the_top_level_beside_others_are_misplaced():
    error = error_of({"manufacturer": "M", "memory": "1G"})
    assert error.message == "manufacturer: unknown key"
    assert error.hint == "did you mean smbios.manufacturer?"


@pytest.mark.parametrize(
    ("value", "message", "hint"),
    [
        ({"memroy": 1}, "memroy: unknown key", "did you mean memory?"),
        ({"smbios": {"prodct_sku": 1}}, "smbios.prodct_sku: unknown key", "did you mean product_sku?"),
        ({"uefi_revision": 1}, "uefi_revision: unknown key", "did you mean firmware.uefi_revision?"),
        ({"tmp": 1, "secureboot": 1}, "tmp, secureboot: unknown keys", "did you mean tpm, secure_boot?"),
        ({"fw_cfg": {"vmfwupdate": {"biossize": 1}}}, "fw_cfg.vmfwupdate.biossize: unknown key", "bios_size?"),
        ({"console": {"serials": []}}, "console.serials: unknown key", "serial?"),
        ({"tpm": {"bank": []}}, "tpm.bank: unknown key", "banks?"),
        ({"variables": [{"nam": ""}]}, "variables[0].nam: unknown key", "name?"),
        ({"smbios_table": {"base46": ""}}, "smbios_table.base46: unknown key", "base64?"),
        ({"firmware": {"sha265": ""}}, "firmware.sha265: unknown key", "sha256?"),
        ({"unknown": ["tpm", "smbios.famly"]}, "unknown[1]: 'smbios.famly'", "did you mean smbios.family?"),
        ({"unknown": ["family"]}, "unknown[0]: 'family'", "did you mean smbios.family?"),
    ],
)
def test_a_typo_is_named_with_the_nearest_known_key(value: object, message: str, hint: str):
    error = error_of(value)
    assert error.message == message
    assert error.hint is not None
    assert hint in error.hint


def variable(**changes: object) -> dict[str, object]:
    return {"name": "N", "guid": LOADER_GUID, "attributes": 6, "data": "", **changes}


MISTAKES: list[tuple[object, str, str]] = [
    ([], "JSON of something else, not a host file: an array", "a JSON object"),
    (None, "null", "a JSON object"),
    ({"schema": "stubsim/host/2"}, "schema: 'stubsim/host/2'", '"stubsim/host/1"'),
    ({"name": 1}, "name: 1", "a string"),
    ({"name": "\ud800"}, "name: '\\ud800'", "a string without lone surrogates"),
    ({"smbios": []}, "smbios: an array", "a JSON object"),
    ({"smbios": {"family": 3}}, "smbios.family: 3", "a string"),
    ({"smbios": {"family": "a\0b"}}, "smbios.family: 'a\\x00b'", "a string without NUL"),
    ({"smbios": {"bios_major": 256}}, "smbios.bios_major: 256", "an integer from 0 to 255"),
    ({"smbios": {"bios_major": -1}}, "smbios.bios_major: -1", "an integer from 0 to 255"),
    ({"smbios": {"bios_minor": True}}, "smbios.bios_minor: true", "an integer from 0 to 255"),
    ({"smbios": {"enclosure_type": 1.5}}, "smbios.enclosure_type: 1.5", "an integer from 0 to 255"),
    ({"smbios": {"bios_major": 10**5000}}, "smbios.bios_major: a huge integer", "an integer from 0 to 255"),
    ({"smbios": {"oem_strings": "x"}}, "smbios.oem_strings: 'x'", "an array"),
    ({"smbios": {"oem_strings": ["x", ""]}}, "smbios.oem_strings[1]: ''", "a string, not empty and without NUL"),
    ({"smbios": {"oem_strings": ["\udfff"]}}, "smbios.oem_strings[0]: '\\udfff'", "a string without lone surrogates"),
    ({"bios_major": "2"}, "bios_major: '2'", "an integer from 0 to 255"),
    ({"smbios_table": {}}, "smbios_table.base64: missing", "the raw SMBIOS table in base64"),
    ({"smbios_table": {"base64": "AAA"}}, "smbios_table.base64: 'AAA'", "base64"),
    ({"edid": "A A="}, "edid: 'A A='", "base64"),
    ({"edid": "é"}, "edid: 'é'", "base64"),
    ({"architecture": "x86_64"}, "architecture: 'x86_64'", "one of x64, aa64, ia32, "),
    ({"architecture": []}, "architecture: an array", "one of x64, "),
    ({"memory": 0}, "memory: 0", "a size in bytes"),
    ({"memory": "2 G"}, "memory: '2 G'", "a size in bytes"),
    ({"memory": "G"}, "memory: 'G'", "a size in bytes"),
    ({"memory": "-1G"}, "memory: '-1G'", "a size in bytes"),
    ({"memory": "²G"}, "memory: '²G'", "a size in bytes"),
    ({"memory": "9999T"}, "memory: '9999T'", "a size in bytes"),
    ({"memory": 2.0}, "memory: 2.0", "a size in bytes"),
    ({"memory": True}, "memory: true", "a size in bytes"),
    ({"memory": None}, "memory: null", "a size in bytes"),
    ({"hypervisor": 1}, "hypervisor: 1", "true or false"),
    ({"confidential": "sev"}, "confidential: 'sev'", "one of sev-snp, tdx"),
    ({"tpm": True}, "tpm: true", "a JSON object"),
    ({"tpm": {"banks": []}}, "tpm.banks: an array", "at least one bank"),
    ({"tpm": {"banks": ["sha256", "md5"]}}, "tpm.banks[1]: 'md5'", "each of sha1, sha256, sha384, sha512 at most once"),
    ({"tpm": {"banks": ["sha1", "sha1"]}}, "tpm.banks[1]: 'sha1'", "at most once"),
    ({"tpm": {"banks": [[]]}}, "tpm.banks[0]: an array", "at most once"),
    ({"variables": {}}, "variables: an object", "an array"),
    ({"variables": [1]}, "variables[0]: 1", "a JSON object"),
    ({"variables": [variable(name="")]}, "variables[0].name: ''", "the name of an EFI variable"),
    ({"variables": [variable(guid=None)]}, "variables[0].guid: null", "the vendor GUID"),
    ({"variables": [variable(guid="{" + LOADER_GUID + "}")]}, "variables[0].guid: '{4a67", "a GUID like"),
    ({"variables": [variable(attributes=1 << 32)]}, "variables[0].attributes: 4294967296", "an integer from 0 to"),
    ({"variables": [variable(attributes=None)]}, "variables[0].attributes: null", "an integer from 0 to"),
    ({"variables": [variable(data="?")]}, "variables[0].data: '?'", "base64"),
    ({"variables": [variable(), variable(data="AA==")]}, "variables[1].name: 'N'", "each variable once"),
    ({"boot_secret": "abc"}, "boot_secret: 'abc'", "hexadecimal digits"),
    ({"esp_partition_uuid": "5eed0e5b1ab0400080000000000000e5"}, "esp_partition_uuid: '5eed", "a GUID like"),
    ({"variables": [{"name": "N", "guid": LOADER_GUID, "data": ""}]}, "variables[0].attributes: missing", "an integer"),
    ({"console": {"virtio": None}}, "console.virtio: null", "an integer from 0 to"),
    ({"console": {"virtio": -1}}, "console.virtio: -1", "an integer from 0 to"),
    ({"console": {"serial": [None]}}, "console.serial[0]: null", "the I/O address"),
    ({"console": {"serial": ["0x3f8", "0x3F8"]}}, "console.serial[1]: '0x3F8'", "each once"),
    ({"console": {"serial": ["0xgg"]}}, "console.serial[0]: '0xgg'", "the I/O address"),
    ({"fw_cfg": []}, "fw_cfg: an array", "a JSON object"),
    ({"fw_cfg": {"vmfwupdate": {"dialect": "v5"}}}, "fw_cfg.vmfwupdate.dialect: 'v5'", "one of qemu-v5, spec"),
    ({"fw_cfg": {"vmfwupdate": {"cap": -1}}}, "fw_cfg.vmfwupdate.cap: -1", "an integer from 0"),
    ({"firmware": {"vendor": None}}, "firmware.vendor: null", "a string"),
    ({"firmware": {"revision": "1"}}, "firmware.revision: '1'", "an integer from 0"),
    ({"firmware": {"sha256": "ab"}}, "firmware.sha256: 'ab'", "64 hexadecimal digits"),
    ({"unknown": "tpm"}, "unknown: 'tpm'", "an array"),
    ({"unknown": ["name"]}, "unknown[0]: 'name'", "a key of the host file"),
    ({"unknown": [[]]}, "unknown[0]: an array", "a key of the host file"),
]


@pytest.mark.parametrize(("value", "message", "expected"), MISTAKES, ids=[message for _, message, _ in MISTAKES])
def test_a_mistake_names_its_key_and_what_belongs_there(value: object, message: str, expected: str):
    error = error_of(value)
    assert error.message.startswith(message)
    assert error.expected is not None
    assert expected in error.expected
    assert "\n" not in str(error)


def table(oem_strings: tuple[bytes, ...] = (b"oem",), **fields: Any) -> dict[str, str]:
    return {"base64": encoded(smbios.from_fields(smbios.Fields(**fields), oem_strings))}


def test_a_raw_table_is_what_the_stub_reads():
    host = hosts.from_json({"smbios_table": table(manufacturer=b"M\xff", bios_major=1, bios_minor=2)})
    assert host.fields == smbios.Fields(manufacturer=b"M\xff", bios_major=1, bios_minor=2)
    assert host.oem_strings == (b"oem",)
    assert host.structures is not None
    assert [structure.type for structure in host.structures] == [0, 1, 11, 127]


def test_smbios_beside_the_table_must_agree():
    raw = table(manufacturer=b"M", family=b"F")
    agreeing = {"manufacturer": "M", "bios_vendor": None, "product_sku": "", "oem_strings": ["oem"]}
    assert hosts.from_json({"smbios_table": raw, "smbios": agreeing}) == hosts.from_json({"smbios_table": raw})
    error = error_of({"smbios_table": raw, "smbios": {"manufacturer": "m"}})
    assert (error.message, error.expected) == ("smbios.manufacturer: 'm'", "what smbios_table holds: 'M'")
    assert error_of({"smbios_table": raw, "smbios": {"family": None}}).message == "smbios.family: null"
    assert error_of({"smbios_table": raw, "smbios": {"bios_major": 3}}).expected == "what smbios_table holds: null"
    assert error_of({"smbios_table": raw, "smbios": {"oem_strings": []}}).message == "smbios.oem_strings: an array"


def test_a_bad_table_or_entry_point_is_named():
    error = error_of({"smbios_table": {"base64": encoded(b"\1\3\0\0")}})
    assert error.message.startswith("smbios_table.base64: ")
    assert error.offset is not None
    error = error_of({"smbios_table": {**table(), "entry_point": encoded(b"nothing")}})
    assert error.message.startswith("smbios_table.entry_point: ")


def test_a_table_that_is_cut_off_in_its_first_structure_has_none():
    """As to 257.13's and 262.1's own code in emulation; that the rest is missing is said."""
    raw = base64.b64decode(table(manufacturer=b"M")["base64"])
    for size in (4, 6, 19):
        host = hosts.from_json({"smbios_table": {"base64": encoded(raw[:size])}})
        assert (host.structures, host.fields) == ((), smbios.Fields())
        assert host.damage is not None
        assert "SMBIOS structure of type 0 has length" in host.notes[0]


def test_every_mistake_is_told():
    guid = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
    value = {
        "memory": "lots",
        "smbios": {"manufacturer": 5, "famly": "x", "product_name": "P", "oem_strings": ["a", 1, "b", ""]},
        "tpm": [],
        "variables": [
            {"name": "one"},
            {"name": "two", "guid": guid, "attributes": 7, "data": "!"},
            {"name": "three", "guid": guid, "attributes": 7, "data": "", "more": 1},
        ],
    }
    before = json.dumps(value)
    error = error_of(value)
    assert {row.message.partition(":")[0] for row in (error, *error.more)} == {
        "memory", "smbios.manufacturer", "smbios.famly", "smbios.oem_strings[1]", "smbios.oem_strings[3]", "tpm",
        "variables[0].attributes", "variables[1].data", "variables[2].more",
    }  # fmt: skip
    assert len(error.more) == 8
    assert json.dumps(value) == before


def test_of_hundreds_of_mistakes_some_are_told():
    error = error_of({"smbios": {"oem_strings": [1] * 500}})
    assert 10 < len(error.more) < 30


def test_the_table_is_as_long_as_its_entry_point_says():
    """257.13's and 262.1's own code in emulation; SMBIOS 2 and 3 alike. What is cut short is not there."""
    raw = base64.b64decode(table(manufacturer=b"M", family=b"F")["base64"])
    first = len(smbios.parse(raw)[0].raw)
    entry_3 = bytearray(smbios.build_entry_point(raw))
    entry_2 = bytearray(b"_SM_".ljust(31, b"\0"))
    for entry, at, size in ((entry_3, 12, 4), (entry_2, 22, 2)):
        entry[at : at + size] = first.to_bytes(size, "little")
        host = hosts.from_json({"smbios_table": {"base64": encoded(raw), "entry_point": encoded(bytes(entry))}})
        assert [structure.type for structure in host.structures or ()] == [0]
        assert host.fields.manufacturer is None
        assert host.oem_strings == ()


def test_an_entry_point_that_leaves_no_structure():
    raw = base64.b64decode(table()["base64"])
    entry = bytearray(smbios.build_entry_point(raw))
    entry[12:16] = (9).to_bytes(4, "little")
    host = hosts.from_json({"smbios_table": {"base64": encoded(raw), "entry_point": encoded(bytes(entry))}})
    assert host.structures == ()


def test_every_recorded_host_is_read(shared: Path):
    paths = sorted((shared / "golden").glob("*/host.json"))
    assert paths
    for path in paths:
        host, recorded = hosts.load(str(path)), json.loads(path.read_text())
        assert host.architecture == recorded["architecture"]
        assert host.memory == 384 << 20
        assert (host.tpm is None) == (recorded["tpm"] is None)
        assert len(host.variables) == len(recorded["variables"])
        assert host.structures is not None
        raw = b"".join(structure.raw for structure in host.structures)
        assert base64.b64decode(recorded["smbios_table"]["base64"]).startswith(raw)
        assert encoded(host.edid or b"") == recorded.get("edid", "")
        assert encoded(host.previous_initrd or b"") == recorded.get("previous_initrd", "")
        assert [hex(port) for port in host.console.serial] == recorded["console"]["serial"]


def test_every_fixture_is_read_and_says_where_it_comes_from():
    paths = sorted(FIXTURES.glob("*.json"))
    assert len(paths) >= 6
    for path in paths:
        host = hosts.load(str(path))
        assert host.name == path.stem
        assert host.source
        assert ("made up" in host.source) == path.stem.startswith(("example-", "lab-"))


def test_the_lab_fixture_is_the_recorded_machine(shared: Path):
    fixture = hosts.load(str(FIXTURES / "lab-q35.json"))
    recorded = hosts.load(str(shared / "golden" / "efifw-match@262.1" / "host.json"))
    assert fixture.fw_cfg == FwCfg(True, VmFwUpdate("qemu-v5", 136, 4194304, False))
    assert fixture._replace(name=None, source=None, fw_cfg=None) == recorded


@pytest.mark.parametrize(
    ("fixture", "name"),
    [
        ("lenovo-thinkpad-x13s-21bx", "sc8280xp-lenovo-thinkpad-x13s-21bx"),
        ("dell-xps13-9345", "x1e80100-dell-xps13-9345"),
    ],
)
def test_the_laptop_fixtures_say_what_fwupdtool_printed(shared: Path, fixture: str, name: str):
    lines = (shared / "data" / "hwids" / "fwupd" / f"{name}.txt").read_text().splitlines()
    printed = dict(line.split(": ", 1) for line in lines if ": " in line)
    fields = hosts.load(str(FIXTURES / f"{fixture}.json")).fields
    assert fields == smbios.Fields(
        *(
            printed[key].encode()
            for key in (
                "Manufacturer",
                "ProductName",
                "ProductSku",
                "Family",
                "BaseboardManufacturer",
                "BaseboardProduct",
                "BiosVendor",
                "BiosVersion",
            )
        ),
        int(printed["BiosMajorRelease"]),
        int(printed["BiosMinorRelease"]),
        int(printed["EnclosureKind"], 16),
    )


def load_error(path: str) -> StubsimError:
    with pytest.raises(StubsimError) as caught:
        hosts.load(path)
    assert caught.value.path == path
    return caught.value


def test_files_that_cannot_be_read(tmp_path: Path):
    assert "No such file" in load_error(str(tmp_path / "missing.json")).message
    assert "a folder without an SMBIOS table" in load_error(str(tmp_path)).message
    assert "null" in load_error("a\0b").message
    if os.path.exists("/dev/zero"):
        assert load_error("/dev/zero").message == "too large"
    assert MAXIMUM_SIZE >= 16 << 20


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path):
    assert hosts.load(write(tmp_path, b'\xef\xbb\xbf{"rng": true}')).rng


@pytest.mark.parametrize(
    ("data", "message", "offset"),
    [
        (b"", "empty", 0),
        (b'{"name": "\xc3\xa9",\n  "rng": tru}', "line 2, column 10", 24),
        (b'\xef\xbb\xbf{"name" 1}', "line 1, column 9", 11),
        (b'{"rng": true} x', "line 1, column 15: more follows the JSON", 14),
        (b'{"name": "\xe9"}', "not UTF-8", 10),
        ('{"rng": true'.encode("utf-16"), "line 1, column 13", 12),
        (b"[" * 200_000, "nested too deeply", None),
        (b'{"edid": ' * 200_000, "nested too deeply", None),
        (b'{"memory": ' + b"9" * 5000 + b"}", "a number is too long", None),
        (b'{"memory": NaN}', "NaN is not JSON", None),
        (b'{"memory": -Infinity}', "-Infinity is not JSON", None),
        (b'{"memory": 1e999}', "memory: inf", None),
        (b'{"rng": true, "rng": false}', "rng: given twice in one object", None),
    ],
)
def test_files_that_are_no_json(tmp_path: Path, data: bytes, message: str, offset: int | None):
    error = load_error(write(tmp_path, data))
    assert error.message.startswith(message)
    assert error.offset == offset


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
# Mistakes are in the values more often than in the keys.
SECTIONS = st.one_of(
    [st.dictionaries(st.sampled_from(keys), JSON).map(lambda value, place=place: {place: value}) for place, keys in
     KEYS.items() if place and "." not in place and "[" not in place]
)  # fmt: skip


def outcome(read: Callable[[], Host]) -> Host | StubsimError:
    try:
        return read()
    except StubsimError as error:
        return error


@given(JSON | st.dictionaries(st.sampled_from(KEYS[""]), JSON) | SECTIONS)
@example({"variables": [{"name": "x", "guid": "urn:uuid:" + LOADER_GUID, "attributes": 0, "data": ""}]})
@example({1: 2})
@example({"tpm": {"banks": {}}})
def test_any_value_is_a_host_or_one_error(value: object):
    result = outcome(lambda: hosts.from_json(value))
    assert isinstance(result, Host) or str(result).isprintable()


@given(st.sampled_from(sorted(COMPLETE)), JSON)
def test_one_wrong_value_in_a_whole_host(key: str, value: object):
    result = outcome(lambda: hosts.from_json({**COMPLETE, key: value}))
    assert isinstance(result, Host) or result.message.startswith(key)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hosts") / "host.json"


VALID = json.dumps(COMPLETE).encode()
MUTATED = st.tuples(st.integers(0, len(VALID)), st.binary(max_size=4)).map(
    lambda change: VALID[: change[0]] + change[1] + VALID[change[0] + len(change[1]) :]
)


@given(data=st.binary() | MUTATED)
def test_any_bytes_are_a_host_or_one_error(file: Path, data: bytes):
    file.write_bytes(data)
    result = outcome(lambda: hosts.load(str(file)))
    assert isinstance(result, Host) or result.path == str(file)


def test_reading_a_host_imports_no_more_than_it_needs(tmp_path: Path):
    path = write(tmp_path, VALID)
    code = (
        "import sys; from stubsim import hosts; hosts.load(sys.argv[1]);"
        "print([m for m in ('pathlib', 'dataclasses', 'difflib', 'jsonschema', 'pefile') if m in sys.modules])"
    )
    # -S: what the interpreter's site packages import by themselves is not ours
    run = subprocess.run([sys.executable, "-S", "-c", code, path], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
