"""Expectations against real boots: each key holds when it is so, fails when it is not, and says why."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from stubsim import hosts
from stubsim.errors import StubsimError
from stubsim.formats import hwids, pe
from stubsim.result import Boot
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.testing import assert_boot, differences, expectations, observed
from stubsim.testing.telling import difference_json, rows
from stubsim.uki import Uki
from stubsim.views.json import boot_json
from tests.samples import CHID, FULL_UKI, MACHINE, devicetree, firmware, table, uki

NEITHER = uki()


def booted(image: bytes = FULL_UKI, start: Start | None = None, **host: Any) -> Boot:
    return boot(Uki(pe.open_bytes(image, "uki.efi")), hosts.from_json({"smbios": MACHINE, **host}), start or Start())


def found(result: Boot, **expect: Any) -> list[str]:
    expect = expectations.read_expectations(expect, "expect")
    return [row.key for row in differences(result, expect)]


def as_expected(result: Boot) -> dict[str, Any]:
    """Everything that can be expected, as the JSON of the boot has it."""
    whole = boot_json(result)
    expect = {key: copy.deepcopy(whole[key]) for key in expectations.EXPECTATIONS if key not in ("variables", "log")}
    expect["model"] = {"id": whole["model"]["id"]}
    expect["selection"].pop("reasons")
    # A text of our own, which may change.
    expect["outcome"].pop("because")
    # The JSON leaves out what is not known.
    expect["pcrs"] = {
        bank: {str(pcr): value.hex() for pcr, value in values.items()} for bank, values in result.pcrs.items()
    }
    if expect["devicetree"] is not None:
        expect["devicetree"].pop("note", None)
    expect["variables"] = {
        row["name"]: {"data": row["data"], "attributes": row["attributes"]} for row in whole["variables"]
    }
    expect["log"] = [row["message"] for row in whole["log"]]
    return without_nulls(expect)


def without_nulls(value: Any) -> Any:
    """As a case file writes it."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return "none" if value is None else value


STARTED = [
    booted(),
    booted(start=Start(profile=1)),
    booted(tpm={"banks": ["sha1", "sha384"]}),
    booted(uki(table((hwids.UEFI_FW, "fw")), firmware()), start=Start(stub="257")),
    booted(uki(linux=None)),
    booted(architecture="aa64"),
    booted(tpm=None),
    booted(NEITHER),
]


@pytest.mark.parametrize("result", STARTED, ids=range(len(STARTED)))
def test_what_the_json_says_holds(result: Boot):
    expect = as_expected(result)
    if not expect["pcrs"]:
        expect["pcrs"] = "none"
    assert found(result, **expect) == []


def leaves(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in leaves(item, (*place, key))]
    if isinstance(value, list):
        return [leaf for key, item in enumerate(value) for leaf in leaves(item, (*place, key))]
    return [place]


@pytest.mark.parametrize("place", leaves(as_expected(STARTED[0])), ids=lambda place: ".".join(map(str, place)))
def test_every_value_counts(place: tuple[Any, ...]):
    """Another value anywhere is a difference in that key, and in no other."""
    expect = as_expected(STARTED[0])
    table = expect
    for key in place[:-1]:
        table = table[key]
    old = table[place[-1]]
    other = {"status": "failed", "sha256": "00" * 32}.get(place[-1], "00")
    table[place[-1]] = old + 1 if isinstance(old, int) else "none" if old == other else other
    key = ".".join(before_lists(place))
    assert found(STARTED[0], **expect) == [key]


def before_lists(place: tuple[Any, ...]) -> list[str]:
    """Lists are compared as a whole."""
    names: list[str] = []
    for part in place:
        if isinstance(part, int):
            break
        names.append(part)
    return names


def test_short_forms():
    result = STARTED[0]
    short = {
        "outcome": "kernel-started",
        "model": "262.1",
        "profile": 0,
        "selection": {"efifw": "fw", "dtbauto": "example,board"},
        "initrd": {"parts": ["initrd", "osrel", "profile"]},
        "variables": {"StubInfo": "systemd-stub 262.1-1", "NoSuchVariable": "none"},
    }
    assert found(result, **short) == []
    wrong = {
        "outcome": "failed",
        "model": "257",
        "profile": 1,
        "selection": {"efifw": "f", "dtbauto": "none"},
        "initrd": {"parts": ["initrd", "osrel"]},
        "variables": {"StubInfo": "none", "NoSuchVariable": "x"},
    }
    keys = ["outcome", "model", "profile", "selection.efifw", "selection.dtbauto", "initrd.parts"]
    assert found(result, **wrong) == [*keys, "variables.StubInfo", "variables.NoSuchVariable"]
    got = {row.key: row.got for row in differences(result, wrong)}
    assert got["selection.dtbauto"] == "example,board"
    assert got["initrd.parts"] == ["initrd", "osrel", "profile"]
    assert got["variables.NoSuchVariable"] is None


def test_a_bare_series_is_its_newest_point_release():
    newest, older = (booted(start=Start(stub=name)) for name in ("257", "257.4"))
    for form in ("257", {"id": "257"}, "257.13"):
        assert found(newest, model=form) == []
        (row,) = differences(older, {"model": form})
        assert row.got in ("257.4", {"id": "257.4"})
    assert found(newest, model="257.4") == ["model"]
    assert found(newest, model="258") == ["model"]


def test_absent_and_blank_are_two_things():
    blank = booted(uki(pe.SectionSpec(".profile", b"ID=a"), pe.SectionSpec(".cmdline", b" ")))
    assert found(blank, cmdline="") == []
    assert found(blank, cmdline="none") == ["cmdline"]


def test_a_message_has_to_contain_the_text():
    result = booted(uki(table((hwids.UEFI_FW, "fw")), firmware()), start=Start(stub="257"))
    assert found(result, log=["HWID matching failed", "Unsupported"]) == []
    (row,) = differences(result, {"log": ["Unsupported", "no such message"]})
    assert row.expected == ["no such message"]
    assert ("expected", 'a message with "no such message"') in rows(difference_json(row))


def test_the_reason_is_told():
    (row,) = differences(STARTED[0], {"selection": {"efifw": "other"}})
    (reason,) = row.because
    assert reason.startswith(".efifw: section 8 is the first for 'fw'")
    assert str(CHID) in reason
    (row,) = differences(STARTED[0], {"pcrs": {"sha256": {"11": "00"}}})
    assert len(row.because) == 2
    (row,) = differences(STARTED[0], {"pcrs": {"sha256": {"12": "00"}}})
    assert row.because == ()
    (row,) = differences(STARTED[4], {"outcome": "kernel-started"})
    assert row.because[0] == "Image lacks .linux section."
    assert row.because[1].startswith("the image has no section of that name")


FOREIGN = UUID("11111111-2222-5333-8444-555555555555")
TREES = [(hwids.DEVICETREE, CHID, "Device", "example,board"), (hwids.DEVICETREE, FOREIGN, "Device", "other,board")]
TWO_TREES = uki(pe.SectionSpec(".hwids", hwids.build(TREES)), devicetree(), devicetree("other,board"))
UNKNOWN = {
    # Host key, UKI -> expectations that nobody can tell, and some that are known all the same.
    "edid": (
        ["edid"],
        TWO_TREES,
        {"selection", "hwids", "devicetree", "pcrs.sha256.11"},
        {"cmdline", "pcrs.sha256.12"},
    ),
    "edid, one thing to choose": (["edid"], FULL_UKI, {"hwids"}, {"selection", "devicetree", "pcrs.sha256.11"}),
    "edid, nothing to choose": (["edid"], NEITHER, set(), {"selection", "cmdline", "pcrs.sha256.11"}),
    "a field": (["smbios.family"], FULL_UKI, {"selection", "pcrs.sha256.11"}, {"cmdline", "pcrs.sha256.12"}),
    "enclosure": (["smbios.enclosure_type"], FULL_UKI, set(), {"selection", "pcrs.sha256.11", "cmdline"}),
    "OEM strings": (["smbios.oem_strings"], FULL_UKI, {"cmdline", "pcrs.sha256.12"}, {"selection", "pcrs.sha256.11"}),
    "rng": (["rng"], FULL_UKI, set(), {"initrd", "selection", "cmdline", "pcrs.sha256.11"}),
    "rng, with a partition": (
        ["rng", "esp_partition_uuid"],
        FULL_UKI,
        {"initrd", "variables"},
        {"selection", "cmdline"},
    ),
    "Secure Boot": (["secure_boot"], FULL_UKI, {"outcome", "selection", "cmdline", "pcrs.sha256.11"}, set()),
    "nothing": ([], FULL_UKI, set(), {"selection", "cmdline", "initrd", "variables", "pcrs.sha256.11"}),
}


@pytest.mark.parametrize(("gaps", "image", "open_ones", "known"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_is_unknown_does_not_pass(gaps: list[str], image: bytes, open_ones: set[str], known: set[str]):
    result = booted(image, unknown=gaps)
    expect = as_expected(result)
    told = {row.key: row.unknown for row in differences(result, expect)}
    assert open_ones <= set(told)
    assert not known & set(told)
    assert all(why and any(gap in why for gap in gaps) for why in told.values())
    accepted = differences(result, expect, expectations.EXPECTATIONS)
    assert accepted == ()


def test_what_the_public_description_of_a_stub_leaves_open():
    result = booted(start=Start(stub="fuki"))
    expect = as_expected(result)
    told = {row.key for row in differences(result, expect)}
    assert {"variables", "pcrs.sha256.11"} <= told
    assert not {"selection", "outcome", "hwids", "cmdline"} & told
    (row,) = differences(result, {"variables": expect["variables"]})
    assert ("unknown", f"because {row.unknown}") in rows(difference_json(row))
    assert observed.unknown(result, "variables") == row.unknown
    assert observed.unknown(result, "selection") is None


def test_words_of_a_command_line():
    (row,) = differences(STARTED[0], {"cmdline": "quiet rw"})
    assert rows(difference_json(row)) == [("expected", '"quiet rw"'), ("got", '"quiet"'), ("missing", "rw")]
    (row,) = differences(STARTED[0], {"cmdline": "quiet "})
    assert ("differ", "in white space only") in rows(difference_json(row))


def test_assert_boot():
    assert_boot(STARTED[0], outcome="kernel-started", cmdline="quiet")
    with pytest.raises(AssertionError) as caught:
        assert_boot(STARTED[0], cmdline="quite", selection={"efifw": "none"})
    lines = str(caught.value).splitlines()
    assert lines[0] == "not as expected: cmdline, selection.efifw"
    assert lines[1:4] == ["cmdline", '  expected  "quite"', '  got       "quiet"']
    with pytest.raises(StubsimError, match=r"expect\.cmdlin: unknown key; did you mean cmdline"):
        assert_boot(STARTED[0], cmdlin="quiet")


def test_the_devicetree_that_a_partition_may_bring(tmp_path: Path):
    """An addon chooses its devicetree by the machine: with the EDID unknown, PCR 12 is too."""
    (tmp_path / "loader" / "addons").mkdir(parents=True)
    addon = pe.build([pe.SectionSpec(".hwids", hwids.build(TREES)), devicetree(), devicetree("other,board")])
    (tmp_path / "loader" / "addons" / "a.addon.efi").write_bytes(addon)
    result = booted(NEITHER, Start(esp=str(tmp_path)), unknown=["edid"])
    assert {row.key for row in differences(result, as_expected(result))} >= {"pcrs.sha256.12"}
