"""What is wrong with the hwids that ship with systemd 262, and with the sets in fixtures/hwids: every finding."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stubsim import boot, chid, hosts, uki
from stubsim.formats import fdt, hwids_json
from stubsim.formats.pe import SectionSpec
from stubsim.hosts import Host
from stubsim.lint import Finding, lint
from stubsim.start import Start
from tests.samples import ROOT, written
from tests.samples import uki as uki_of

HOSTS, SETS = ROOT / "fixtures" / "hosts", ROOT / "fixtures" / "hwids"
KEYS = {
    "Manufacturer": "manufacturer", "Family": "family", "ProductName": "product_name", "ProductSku": "product_sku",
    "BaseboardManufacturer": "baseboard_manufacturer", "BaseboardProduct": "baseboard_product",
    "BiosVendor": "bios_vendor", "BiosVersion": "bios_version", "BiosMajorRelease": "bios_major",
    "BiosMinorRelease": "bios_minor",
}  # fmt: skip


def machines(folder: Path) -> Iterator[tuple[str, Host]]:
    """The machines in `fwupdtool hwids` outputs, of which one file has two and Markdown's escapes."""
    for path in sorted(folder.glob("*.txt")):
        for number, text in enumerate(path.read_text().split("Computer Information\n")[1:]):
            rows = dict(re.findall(r"^(\w+): (.*)$", text.replace("\\", ""), re.MULTILINE))
            fields: dict[str, Any] = {KEYS[key]: value for key, value in rows.items() if key in KEYS}
            fields |= {key: int(fields[key]) for key in ("bios_major", "bios_minor") if key in fields}
            if "EnclosureKind" in rows:
                fields["enclosure_type"] = int(rows["EnclosureKind"], 16)
            unknown = [f"smbios.{key}" for key in ("bios_major", "bios_minor") if key not in fields]
            value = {"smbios": fields, "unknown": [*unknown, "edid"]}
            yield path.stem + (f"#{number}" if number else ""), hosts.from_json(value)


def short(findings: tuple[Finding, ...], *codes: str) -> set[tuple[str, str, str, int | None]]:
    return {
        (one.rule.code, one.severity, Path(one.place.path).stem, one.place.line)
        for one in findings
        if one.rule.code in codes
    }


# Without a machine: what follows from the ids themselves and from the devices' names.
ALONE = {
    ("HW201", "warning", "x126100-lenovo-ideapad-slim3", 19),
    ("HW201", "warning", "x1e001de-devkit", 8),
    ("HW201", "warning", "x1e80100-crd", 12),
    ("HW201", "warning", "x1e80100-microsoft-romulus15", 15),
    ("HW201", "warning", "x1p42100-acer-swift-go14-01", 13),
    ("HW201", "warning", "x1p42100-asus-vivobook-s15", 13),
    ("HW201", "warning", "x1p42100-asus-zenbook-a14", 13),
    ("HW201", "warning", "x1p42100-lenovo-ideapad-5-2in1", 19),
    ("HW201", "warning", "x1p42100-lenovo-ideapad-5-2in1", 23),
    ("HW201", "warning", "x1p64100-acer-swift-sf14-11", 12),
    ("HW201", "warning", "x1p64100-acer-swift-sf14-11", 13),
    ("HW202", "note", "x1e78100-acer-sfa14-11", 16),
    ("HW204", "note", "glymur-asus-zenbook-a16-ux3607oa", 15),
    ("HW204", "note", "glymur-hp-elitebook-x-g2q", 17),
    ("HW204", "note", "glymur-lenovo-yoga-slim7x", 17),
    ("HW204", "note", "x126100-lenovo-ideapad-slim3", 20),
    ("HW204", "note", "x1p42100-lenovo-ideapad-5-2in1", 20),
    ("HW206", "warning", "glymur-asus-zenbook-a14-ux3407na", 13),
    ("HW206", "warning", "sc7180-acer-aspire1", 13),
    ("HW206", "warning", "x1e80100-asus-zenbook-a14", 13),
    ("HW206", "warning", "x1p42100-acer-swift-go14-01", 13),
    ("HW206", "warning", "x1p42100-asus-vivobook-s15", 13),
    ("HW206", "warning", "x1p42100-asus-zenbook-a14", 13),
    ("HW206", "warning", "x1p64100-acer-swift-sf14-11", 13),
    ("HW208", "warning", "glymur-hp-elitebook-x-g2q", 14),
}


def test_without_a_machine(shared: Path):
    findings = lint([str(shared / "data" / "hwids" / "json")])
    assert short(findings, *{one.rule.code for one in findings}) == ALONE
    assert len(findings) == len(ALONE)


def test_with_the_machines_known(shared: Path):
    """Three of the ids shared by two devices turn out to be of types that no stub looks for; the Dell file's appear."""
    folder = shared / "data" / "hwids"
    findings = lint([str(folder / "json")], list(machines(folder / "fwupd")))
    clashes = {row for row in ALONE if row[0] == "HW201"} - {
        ("HW201", "warning", "x126100-lenovo-ideapad-slim3", 19),
        ("HW201", "warning", "x1p42100-lenovo-ideapad-5-2in1", 19),
        ("HW201", "warning", "x1p42100-lenovo-ideapad-5-2in1", 23),
    }
    assert short(findings, "HW201") == clashes
    same = ("HW202", "HW206")
    assert short(findings, *same) == {row for row in ALONE if row[0] in same}
    assert short(findings, "HW208") == {
        ("HW208", "warning", "glymur-hp-elitebook-x-g2q", 14),
        ("HW208", "note", "x1p42100-lenovo-ideapad-5-2in1", 17),
    }
    assert short(findings, "HW205") == {("HW205", "warning", "x1e80100-dell-latitude-7455", 7)}
    # One for each device that has such ids.
    assert len(short(findings, "HW204")) == 43
    assert {one.rule.code for one in findings} == {"HW201", "HW202", "HW204", "HW205", "HW206", "HW208"}


def test_what_a_shared_id_is(shared: Path):
    """By the strings of the machines: told as types, and the types are those that fwupd printed."""
    folder = shared / "data" / "hwids"
    findings = lint([str(folder / "json")], list(machines(folder / "fwupd")))
    told = {
        Path(one.place.path).stem + "|" + re.findall("earlier for '(.*?)'", one.message)[0]: re.findall(
            r"type ([\d, ]+)", one.message
        )[0]
        for one in findings
        if one.rule.code == "HW201"
    }
    assert told == {
        "x1e001de-devkit|qcom,glymur-crd": "7",
        "x1e80100-crd|qcom,glymur-crd": "7, 9",
        "x1e80100-microsoft-romulus15|microsoft,romulus13": "5, 8, 9, 10",
        "x1p42100-acer-swift-go14-01|acer,aspire1": "7",
        "x1p42100-asus-vivobook-s15|asus,zenbook-a14-ux3407ra": "7",
        "x1p42100-asus-zenbook-a14|asus,zenbook-a14-ux3407ra": "7",
        "x1p64100-acer-swift-sf14-11|acer,aspire1": "7",
        "x1p64100-acer-swift-sf14-11|acer,swift-go14-01": "6",
    }
    printed = (folder / "fwupd" / "x1e80100-microsoft-romulus15.txt").read_text()
    clash = next(one for one in findings if "romulus15" in one.place.path and one.rule.code == "HW201")
    lines = (folder / "json" / "x1e80100-microsoft-romulus15.json").read_text().splitlines()
    shared_ids = {
        lines[place.line - 1].strip(' ",')
        for place in (clash.place, *clash.related)
        if place.line and "romulus15" in place.path
    }
    assert {re.findall("{" + one + "}.*<- (.*)", printed)[0] for one in shared_ids} == {
        "Manufacturer + Family + ProductName",
        "Manufacturer + ProductName + BaseboardManufacturer + BaseboardProduct",
        "Manufacturer + ProductName",
        "Manufacturer + Family + BaseboardManufacturer + BaseboardProduct",
    }


TWO_PARTS = {
    ("glymur-hp-elitebook-x-g2q", 15), ("x126100-lenovo-ideapad-slim3", 18), ("x126100-lenovo-ideapad-slim3", 23),
}  # fmt: skip
NEVER = ("Manufacturer", "Manufacturer + EnclosureKind", "Manufacturer + BaseboardManufacturer + BaseboardProduct")


def test_never_looked_up_is_what_fwupd_calls_so(shared: Path):
    """Told are the ids that fwupd printed with BIOS fields or as type 12, 13 or 14: all of them, and no more."""
    folder = shared / "data" / "hwids"
    printed: dict[str, str] = {}
    for path in (folder / "fwupd").glob("*.txt"):
        for one, parts in re.findall(r"{([0-9a-f-]{36})\\?}\s+\\?<\\?-+ (.*)", path.read_text().replace("\\", "")):
            printed[one] = parts
    told = set()
    for finding in lint([str(folder / "json")], list(machines(folder / "fwupd"))):
        if finding.rule.code == "HW204":
            told |= {(place.path, place.line) for place in (finding.place, *finding.related)}
    never = set()
    for file in hwids_json.files(str(folder / "json")):
        for hwid in hwids_json.read(file).hwids:
            parts = printed.get(str(hwid.chid), "?")
            if "Bios" in parts or parts in NEVER:
                never.add((file, hwid.line))
            elif (file, hwid.line) in told:
                # The maker of a machine that there is no output of.
                assert hwid.chid in {chid.hash_texts([maker]) for maker in ("ASUS", "HP", "LENOVO")}
                never.add((file, hwid.line))
    # Of strings that were not stripped; and two parts that could be others' as well, of a machine not known.
    named = {(Path(file).stem, line) for file, line in never - told}
    assert named == {("x1e80100-dell-latitude-7455", 14), *TWO_PARTS}
    assert told <= never
    assert len(told) > 150


# --- the sets in fixtures, which docs tell of ------------------------------------------------------------------------


def of(name: str, *known: str) -> list[Finding]:
    return list(lint([str(SETS / name)], [(one, hosts.load(str(HOSTS / f"{one}.json"))) for one in known]))


def test_the_fixtures_are_the_facts(shared: Path):
    """The Dell file's ids and the HUAWEI's of types 3 to 10 are those that ship."""
    shipped = shared / "data" / "hwids" / "json"
    for ours, theirs, whole in (
        ("dell-latitude-7455/dell-latitude-7455.json", "x1e80100-dell-latitude-7455.json", True),
        ("huawei-c233/huawei-gaokun3.json", "sc8280xp-huawei-gaokun3.json", False),
    ):
        one, other = (hwids_json.read(str(path)) for path in (SETS / ours, shipped / theirs))
        assert one.device == other.device
        mine, all_ids = ({hwid.chid for hwid in description.hwids} for description in (one, other))
        assert mine <= all_ids
        assert (mine == all_ids) == whole
    known = dict(machines(shared / "data" / "hwids" / "fwupd"))
    for name, stem in (
        ("dell-latitude-7455", "x1e80100-dell-latitude-7455"), ("huawei-gaokun3", "sc8280xp-huawei-gaokun3"),
    ):  # fmt: skip
        assert hosts.load(str(HOSTS / f"{name}.json")).fields == known[stem].fields


def test_dell():
    stripped, never = sorted(of("dell-latitude-7455", "dell-latitude-7455"), key=lambda one: one.rule.code)[::-1]
    assert (stripped.rule.code, never.rule.code) == ("HW205", "HW204")
    assert "7 of 10 ids" in stripped.message
    assert "'0C85', '0FK7MX'" in stripped.message
    assert "types 5, 9 are left for dell-latitude-7455" in stripped.message
    assert "71aa7285-85cc-5981-980c-8997bb8f335f (type 3)" in stripped.fix
    assert of("dell-latitude-7455") == []


def test_huawei():
    (vague,) = of("huawei-c233", "huawei-gaokun3", "huawei-w515")
    assert (vague.rule.code, vague.place.line) == ("HW207", 10)
    assert "huawei-w515 gets 'huawei,gaokun3' by nothing but type 7" in vague.message
    assert of("huawei-c233", "huawei-gaokun3") == []
    assert of("huawei-c233-fixed", "huawei-gaokun3", "huawei-w515") == []


def test_zero_and_firmware():
    assert [(one.rule.code, one.severity) for one in of("example-zero-id")] == [("HW203", "error")]
    assert [(one.rule.code, one.severity) for one in of("example-firmware")] == [("HW102", "note")]


@pytest.mark.parametrize(
    ("name", "compatible", "host", "chosen"),
    [
        ("huawei-c233", "huawei,gaokun3", "huawei-gaokun3", True),
        ("huawei-c233", "huawei,gaokun3", "huawei-w515", True),
        ("huawei-c233-fixed", "huawei,gaokun3", "huawei-gaokun3", True),
        ("huawei-c233-fixed", "huawei,gaokun3", "huawei-w515", False),
        ("dell-latitude-7455", "dell,latitude-7455", "dell-latitude-7455", True),
        ("example-zero-id", "example,board", "google-compute-engine", True),
    ],
)
def test_the_boot_says_the_same(tmp_path: Path, name: str, compatible: str, host: str, chosen: bool):
    """The defects are real: the simulated stub does what the linter warns of."""
    data = hwids_json.build([hwids_json.read(path) for path in hwids_json.files(str(SETS / name))])
    image = uki_of(SectionSpec(".hwids", data), SectionSpec(".dtbauto", fdt.build([compatible])))
    machine = hosts.load(str(HOSTS / f"{host}.json"))._replace(architecture=None)
    result = boot(uki.load(str(written(tmp_path, "uki.efi", image))), machine, Start())
    assert result.sections is not None
    assert (result.sections.section(".dtbauto") is not None) == chosen
    if name == "dell-latitude-7455":
        match = result.sections.matches[1]
        assert match is not None
        assert match.chid_type == 5


def test_fixtures_are_as_ukify_writes_them():
    for path in sorted(SETS.rglob("*.json")):
        value = json.loads(path.read_text())
        assert path.read_text() == json.dumps(value, indent=4) + "\n"
