"""The JSON Schemas: valid themselves, each with an example, and closed."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from stubsim import schemas
from stubsim.hosts.fixture import KEYS

ROOT = Path(__file__).parents[1]
GUID = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
SHA256 = "0f" * 32


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(schemas.load(name))


def faults(name: str, value: object) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in validator(name).iter_errors(value)]


def test_every_file_is_a_schema_of_that_name():
    assert sorted(path.stem for path in (ROOT / "stubsim" / "schemas").glob("*.json")) == sorted(schemas.NAMES)
    for name in schemas.NAMES:
        schema = schemas.load(name)
        Draft202012Validator.check_schema(schema)
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        assert schema["$id"] == f"urn:stubsim:schema:{name}:1"
        owner = schema["$defs"]["host"] if name == "host" else schema
        assert owner["properties"]["schema"] == {"const": f"stubsim/{name}/1"}


def test_another_name_is_refused():
    for name in ("nothing", "../errors", "__init__"):
        with pytest.raises(KeyError):
            schemas.load(name)


def walk(value: Any) -> Any:
    yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(inner)


@pytest.mark.parametrize("name", schemas.NAMES)
def test_references_lead_somewhere_and_nothing_is_left_over(name: str):
    schema = schemas.load(name)
    used = {value["$ref"] for value in walk(schema) if isinstance(value, dict) and "$ref" in value} - {"#"}
    assert used == {f"#/$defs/{key}" for key in schema.get("$defs", {})}


@pytest.mark.parametrize("name", schemas.NAMES)
def test_integers_say_what_they_count(name: str):
    """A bare integer has a unit in its description, or is a number whose name says it all."""
    plain = {"pcr", "selector", "type", "attributes", "revision"}
    for value in walk(schemas.load(name)):
        for key, one in value.get("properties", {}).items() if isinstance(value, dict) else ():
            if isinstance(one, dict) and "integer" in (one.get("type") or ()) and key not in plain:
                assert one.get("description"), key


MATCH = {"entry": 0, "chid_type": 3, "chid": GUID, "name": "Device", "fwid": "fw"}
EVENT = {"by": "stub", "pcr": 11, "type": "EV_IPL", "tag": None, "description": ".linux", "digests": {"sha256": SHA256}}
UKI = {
    "path": "uki.efi",
    "size": 1,
    "sha256": SHA256,
    "machine": "x64",
    "stub": {"name": "systemd-stub", "version": "262.1-1"},
}
MODEL = {"id": "262", "reason": "the UKI's own stub", "verified": ["pcr11"]}
PROFILE = {"index": 0, "id": None, "title": None}
UNKNOWN = {"what": "tpm", "why": "not in the host file", "affects": ["pcrs"]}
BOOT: dict[str, Any] = {
    "schema": "stubsim/boot/1",
    "uki": UKI,
    "model": MODEL,
    "outcome": {"status": "kernel-started", "message": None, "efi_status": None, "because": None},
    "profile": PROFILE,
    "chids": {"0": None, "3": GUID, "17": None},
    "hwids": {"entries": 2, "error": None, "matches": {"devicetree": None, "uefi-fw": MATCH}},
    "sections": [{"index": 1, "name": ".linux", "offset": 4096, "size": 1, "digests": {"sha256": SHA256}}],
    "selection": {
        "efifw": {"section": 4, "fwid": "fw", "payload": {"size": 1, "sha256": SHA256, "kind": "raw"}},
        "dtbauto": {"section": 5, "compatible": "a,b"},
        "reasons": [],
    },
    "load_options": "0000",
    "cmdline": "",
    "initrd": {
        "size": 4,
        "sha256": None,
        "parts": [{"kind": "initrd", "name": ".initrd", "offset": 0, "size": 3, "sha256": SHA256}],
    },
    "devicetree": {"size": None, "sha256": None, "source": "firmware"},
    "memory": [{"name": "kernel", "gpa": 1 << 30, "size": 1, "type": "EfiLoaderCode", "shared": False}],
    "fw_cfg": {
        "dialect": "qemu-v5",
        "writes": [{"file": "etc/vmfwupdate/fw-blob", "selector": 42, "offset": 0, "data": "00", "gpa": 4096}],
        "io": [],
    },
    "measurements": [EVENT, {**EVENT, "type": "EV_EVENT_TAG", "tag": "0x13aed6db"}],
    "pcrs": {"sha256": {"11": SHA256}},
    "variables": [{"name": "StubInfo", "guid": GUID, "attributes": 6, "data": "0000", "set_by_stub": True}],
    "esp_changes": [{"path": "\\loader\\random-seed", "size": 32}],
    "log": [{"level": "error", "message": "m"}],
    "unknown": [UNKNOWN],
    "next": None,
}
HWIDS_MATCH = {"entry": 0, "chid": GUID, "name": None, "fwid": "fw", "chid_type": 3, "wildcard": None}
CHOICE = {
    "offered": True,
    "chosen": {"section": 1, "fwid": "fw"},
    "reason": "because",
    "undecided": ["edid_panel"],
    "meaning": [],
    "lookups": [
        {
            "section": 2,
            "profile": None,
            "entries": 2,
            "prevented": None,
            "winner": HWIDS_MATCH,
            "runner_up": None,
            "alternative": None,
            "matches": [HWIDS_MATCH],
            "misses": [{"entry": 1, "chid": GUID, "name": "n", "fwid": None, "known": None}],
            "asides": [],
        }
    ],
    "sections": [{"section": 1, "profile": 0, "fwid": "fw", "verdict": "chosen", "why": "the first"}],
}
STAGE = {"name": "firmware", "what": ["EDK II"], "hands_on": [], "measures": ["PCR 4: 1 image"]}
CHAIN = {"doubtful": False, "stages": [STAGE]}
SIDE = {
    "uki": UKI, "model": MODEL, "host": "h", "outcome": BOOT["outcome"], "profile": PROFILE, "chain": CHAIN,
    "assumed": [],
}  # fmt: skip
ONE_SIDE = {"offered": True, "chosen": None, "winner": HWIDS_MATCH, "reason": "because", "undecided": []}
SELECTION = {"same": True, "a": ONE_SIDE, "b": ONE_SIDE, "causes": []}
EXAMPLES: dict[str, dict[str, Any]] = {
    "boot": BOOT,
    "error": {
        "schema": "stubsim/error/1",
        "message": "m",
        "path": None,
        "section": ".hwids",
        "offset": 0,
        "expected": None,
        "hint": None,
    },
    "inspect": {
        "schema": "stubsim/inspect/1",
        "uki": {**UKI, "authenticode": SHA256},
        "model": MODEL,
        "sections": [
            {
                "index": 0,
                "name": ".linux",
                "virtual_address": 4096,
                "virtual_size": 1,
                "raw_offset": 512,
                "raw_size": 512,
                "sha256": SHA256,
                "text": None,
                "profile": None,
            }
        ],
        "profiles": [{**PROFILE, "sections": [1]}],
        "hwids": [
            {
                "section": 1,
                "profile": 0,
                "entries": [
                    {"index": 0, "type": "uefi-fw", "chid": GUID, "name": None, "fwid": "fw"},
                    {"index": 1, "type": "devicetree", "chid": GUID, "name": "n", "compatible": None},
                ],
                "error": None,
                "refused_by": ["257"],
            }
        ],
        "efifw": [
            {
                "section": 1,
                "profile": None,
                "fwid": None,
                "header_size": None,
                "payload": None,
                "target_chid": None,
                "error": "bad magic",
            }
        ],
        "fmwimg": [{"section": 3, "profile": None, "payload": None, "error": "not there"}],
        "dtbauto": [{"section": 2, "profile": None, "compatible": ["a,b"], "error": None}],
        "warnings": [],
    },
    "inspect-folder": {
        "schema": "stubsim/inspect-folder/1",
        "folder": "esp",
        "files": [
            {
                "path": "EFI/Linux/a.efi",
                "size": 4096,
                "is_uki": True,
                "why": None,
                "machine": "x64",
                "stub": {"name": "systemd-stub", "version": "262.1"},
                "os": "example 1",
                "profiles": [{"index": 0, "id": "main", "title": None}],
            }
        ],
        "others": 1,
    },
    "check": {
        "schema": "stubsim/check/1",
        "passed": 0,
        "failed": 1,
        "runs": [
            {
                "file": "a.boot.toml",
                "case": "a",
                "uki": "uki.efi",
                "host": "host.json",
                "passed": False,
                "error": "internal error: ZeroDivisionError",
                "differences": [
                    {"key": "cmdline", "expected": "quiet", "got": None, "unknown": None, "because": ["no .cmdline"]}
                ],
            }
        ],
        "updated": [{"file": "a.boot.toml", "places": ["expect.cmdline"], "kept": [{"place": "p", "why": "w"}]}],
    },
    "chids": {
        "schema": "stubsim/chids/1",
        "host": None,
        "view": "fwupd",
        "chids": [
            {
                "type": 0,
                "chid": None,
                "absent": "manufacturer missing",
                "parts": [{"field": "manufacturer", "value": None}],
                "matched_by_stub": False,
                "priority": None,
            }
        ],
    },
    "hwids": {
        "schema": "stubsim/hwids/1",
        "path": "a.hwids",
        "tables": [
            {
                "section": None,
                "profile": None,
                "error": None,
                "refused_by": ["257"],
                "entries": [
                    {
                        "index": 0,
                        "type": "uefi-fw",
                        "chid": GUID,
                        "name": None,
                        "fwid": "fw",
                        "source": {"path": "a.json", "line": 1},
                        "known": [
                            {
                                "host": None,
                                "type": 14,
                                "looked_up": False,
                                "stripped": True,
                                "parts": [{"field": "manufacturer", "value": "M"}],
                            }
                        ],
                    }
                ],
            }
        ],
    },
    "hwids-lint": {
        "schema": "stubsim/hwids-lint/1",
        "inputs": ["a.json"],
        "hosts": [],
        "counts": {"error": 0, "warning": 1, "note": 0},
        "findings": [
            {
                "code": "HW203",
                "name": "zero-id",
                "severity": "warning",
                "message": "m",
                "explanation": "e",
                "fix": "f",
                "location": {
                    "path": "a.json",
                    "line": 1,
                    "json_path": None,
                    "section": None,
                    "section_name": None,
                    "profile": None,
                    "entry": None,
                    "offset": None,
                    "file_offset": None,
                },
                "related": [],
            }
        ],
    },
    "measure": {
        "schema": "stubsim/measure/1",
        "uki": UKI,
        "model": MODEL,
        "host": "h",
        "profile": PROFILE,
        "banks": ["sha256"],
        "pcrs": {"sha256": {"11": SHA256}},
        "measurements": [EVENT],
        "unknown": [UNKNOWN],
    },
    "which": {
        "schema": "stubsim/which/1",
        "uki": UKI,
        "log": "machine.log",
        "stubs": [{"id": "262.1", "reason": "in the UKI", "releases": None}],
        "asked": [
            {
                "pcr": 11,
                "bank": "sha256",
                "value": SHA256,
                "matches": [{"stub": "262.1", "profile": PROFILE, "phase": ":", "hosts": [], "conditions": ["any"]}],
                "compared": 5,
                "because": [],
                "log_phase": None,
                "nearest": {
                    "stub": "262.1",
                    "profile": PROFILE,
                    "hosts": ["h"],
                    "conditions": [],
                    "agreed": 1,
                    "predicted": EVENT,
                    "logged": {
                        "index": 3,
                        "pcr": 11,
                        "type": "EV_IPL",
                        "tag": None,
                        "description": None,
                        "digests": {"sha256": SHA256},
                    },
                },
            }
        ],
        "together": [{"stub": "262.1", "profile": PROFILE, "hosts": [], "conditions": []}],
        "assumed": [],
        "unknown": [UNKNOWN],
    },
    "verify-pcrsig": {
        "schema": "stubsim/verify-pcrsig/1",
        "uki": UKI,
        "model": MODEL,
        "complete": False,
        "phases": [":"],
        "profiles": [
            {
                "profile": PROFILE,
                "pcrsig": 3,
                "pcrpkey": None,
                "keys": [{"kind": "RSA 2048", "pkfp": SHA256}],
                "values": [
                    {"phase": ":", "bank": "sha256", "hash": SHA256, "pol": SHA256, "hosts": ["h"], "conditions": []}
                ],
            }
        ],
        "signatures": [
            {
                "section": 3,
                "bank": "sha256",
                "entry": 0,
                "pcrs": [11],
                "pkfp": SHA256,
                "ref": None,
                "pol": None,
                "status": "only",
                "because": None,
                "holds_for": [{"profile": 0, "phase": ":", "hosts": [], "conditions": ["c"]}],
            }
        ],
        "missing": [{"profile": 0, "bank": None, "phase": None, "hosts": [], "conditions": [], "because": "b"}],
        "faults": ["f"],
        "assumed": ["a"],
        "unknown": [UNKNOWN],
    },
    "vectors": {
        "schema": "stubsim/vectors/1",
        "stubs": [{"id": "262", "basis": "recording", "sections": [".linux"]}],
        "vectors": [
            {
                "name": "n",
                "rule": "r",
                "source": "s",
                "image": {"size": 1, "sha256": SHA256, "base64": "AA=="},
                "profile": None,
                "smbios": {**dict.fromkeys(KEYS["smbios"][:-1]), "family": "F", "bios_major": 2},
                "edid": None,
                "devicetree": "AA==",
                "chids": {"3": GUID, "17": None},
                "expected": {
                    "257": None,
                    "262": {
                        "refused": None,
                        "sections": {".linux": {"index": 0, "offset": 64, "size": 1}},
                        "hwids": {"error": None, "devicetree": None, "uefi-fw": {"entry": 0, "chid_type": 3}},
                    },
                },
            }
        ],
    },
    "diff-log": {
        "schema": "stubsim/diff-log/1",
        "uki": UKI,
        "model": MODEL,
        "host": None,
        "log": "binary_bios_measurements",
        "equal": False,
        "root_cause": "Secure Boot is on in the log",
        "disagreements": [{"key": "secure_boot", "host": "off", "log": "on"}],
        "banks": ["sha256"],
        "matched": 1,
        "matched_by": {"kernel": 1},
        "skipped": {"0": 4},
        "hints": [],
        "first": None,
        "differences": [
            {"kind": "missing", "pcr": 11, "index": None, "predicted": EVENT, "logged": None, "cause": "not there"}
        ],
        "pcrs": {"predicted": {"sha256": {"11": SHA256}}, "logged": {}},
        "assumed": [],
        "unknown": [],
    },
    "why": {
        "schema": "stubsim/why/1",
        "uki": UKI,
        "model": MODEL,
        "host": None,
        "outcome": BOOT["outcome"],
        "profile": None,
        "chain": CHAIN,
        "strings": [{"field": "family", "raw": " 0F", "hashed": "F", "unknown": False}],
        "chids": [{"type": 17, "priority": 1, "chid": None, "absent": "no EDID", "unknown": [], "parts": []}],
        "choices": {"devicetree": CHOICE, "uefi-fw": CHOICE},
        "other_stubs": [
            {
                "model": "257.13",
                "releases": "257",
                "basis": "recording",
                "own": False,
                "failed": None,
                "chosen": {"devicetree": {"section": 1, "compatible": "a,b"}, "uefi-fw": None},
                "same": False,
                "reasons": {"devicetree": "because"},
            }
        ],
        "files_not_taken": [{"path": "\\x.cred", "why": "beside the UKI"}],
        "assumed": [],
        "unknown": [UNKNOWN],
    },
    "diff": {
        "schema": "stubsim/diff/1",
        "varies": ["host"],
        "a": SIDE,
        "b": SIDE,
        "equal": False,
        "differing": ["cmdline"],
        "open": ["rng"],
        "stub_changes": [
            {
                "side": "b",
                "name": "smbios",
                "since": ["261.0"],
                "what": "SMBIOS is measured into PCR 1",
                "basis": "recorded",
                "reference": "basic@261",
                "changes": {"measurements": ["PCR 1"]},
                "alone": True,
            }
        ],
        "machine": {
            "strings": [
                {"field": "family", "a": {"hashed": "F", "unknown": False}, "b": {"hashed": None, "unknown": True}}
            ],
            "same_chids": [14],
        },
        "selection": {"devicetree": SELECTION, "uefi-fw": SELECTION},
        "cmdline": {"a": None, "b": "x", "words": [{"change": "added", "text": "x"}]},
        "measurements": [
            {
                "pcr": 12,
                "index": 0,
                "what": "only B measures 'x'",
                "a": None,
                "b": EVENT,
                "values": {"sha256": {"a": None, "b": SHA256}},
            }
        ],
        "outcome": [{"name": "outcome", "a": BOOT["outcome"], "b": BOOT["outcome"]}],
        "sections": [{"name": ".splash", "a": {"size": 1, "sha256": SHA256}, "b": None}],
        "initrd": [{"name": "boot-secret", "a": {"size": 1, "sha256": None}, "b": None}],
        "devicetree": [],
        "rtmrs": [{"name": "RTMR 2", "a": {"sha384": "0f" * 48}, "b": {"sha384": "f0" * 48}}],
        "variables": [{"name": "StubInfo", "a": {"attributes": 6, "data": "00"}, "b": None}],
        "messages": [{"name": "m", "a": None, "b": {"level": "error"}}],
        "files": [],
        "memory": [{"name": "uki", "a": None, "b": {"size": 1, "type": "EfiLoaderCode", "shared": False}}],
        "fw_cfg": [],
        "unknown": [{"name": "rng", "a": None, "b": {"why": "w"}}],
    },
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_are_valid(name: str):
    assert faults(name, EXAMPLES[name]) == []


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, value in EXAMPLES.items() for key in value])
def test_every_key_is_required_and_typed(name: str, key: str):
    value = copy.deepcopy(EXAMPLES[name])
    value[key] = 1.5
    assert faults(name, value)
    del value[key]
    assert faults(name, value)


def test_boot_leaves_room_for_new_keys_and_error_does_not():
    assert faults("boot", {**BOOT, "new": 1}) == []
    assert faults("error", {**EXAMPLES["error"], "new": 1})


def test_the_next_boot_is_a_boot():
    assert faults("boot", {**BOOT, "next": BOOT}) == []
    assert faults("boot", {**BOOT, "next": {}})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("outcome", "status"), "ok"),
        (("uki", "sha256"), SHA256.upper()),
        (("chids", "18x"), None),
        (("chids", "3"), "{" + GUID + "}"),
        (("hwids", "matches", "uefi-fw"), {}),
        (("load_options",), "0"),
        (("selection", "efifw", "payload", "size"), -1),
        (("measurements", 0, "digests", "sha256"), "00"),
        (("measurements", 0, "digests", "md5"), "00"),
        (("measurements", 1, "tag"), 5),
        (("pcrs", "sha256", "24"), SHA256),
        (("memory", 0, "gpa"), "0x1000"),
        (("variables", 0, "guid"), GUID.upper()),
        (("unknown", 0, "affects"), "pcrs"),
    ],
)
def test_a_wrong_value_in_a_boot_is_found(path: tuple[Any, ...], value: object):
    boot = copy.deepcopy(BOOT)
    place: Any = boot
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert faults("boot", boot)
