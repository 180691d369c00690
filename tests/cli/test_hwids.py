"""`stubsim hwids` through the entry point."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from stubsim import schemas
from stubsim.formats import hwids
from stubsim.formats.pe import SectionSpec
from tests.samples import CHID, CHIDS, COMPATIBLE, FULL_UKI, MACHINE, ROOT, execute, invoke, table, uki, written
from tests.sarif import SARIF

HWIDS = Draft202012Validator(schemas.load("hwids"))
LINT = Draft202012Validator(schemas.load("hwids-lint"))
ERROR = Draft202012Validator(schemas.load("error"))
SETS = ROOT / "fixtures" / "hwids"
GOOD = {"type": "devicetree", "name": "Lab", "compatible": COMPATIBLE, "hwids": [str(CHID)]}
ZERO = GOOD | {"hwids": ["00000000-0000-0000-0000-000000000000"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "set"
    path.mkdir()
    written(path, "a.json", GOOD)
    return path


def error(result: Any, *texts: str | Path) -> None:
    assert (result.status, result.out) == (2, "")
    assert len(result.lines) == 1, result.err
    assert result.lines[0].startswith("stubsim: error: ")
    for text in texts:
        assert str(text) in result.lines[0]


# --- build -----------------------------------------------------------------------------------------------------------


def test_build_is_what_ukify_makes(shared: Path, tmp_path: Path):
    target = tmp_path / "x.hwids"
    for call in (invoke, execute):
        assert call("hwids", "build", shared / "data" / "hwids" / "json", "-o", target) == (0, "", "")
        assert target.read_bytes() == (shared / "data" / "hwids" / "ukify-262.hwids").read_bytes()
        target.unlink()


def test_build_to_a_pipe_and_with_the_option_in_front(folder: Path, tmp_path: Path):
    target = tmp_path / "out"
    assert execute("hwids", "-o", target, "build", folder).status == 0
    assert execute("hwids", "build", folder, "-o", target).status == 0
    assert target.read_bytes() == hwids.from_descriptions([GOOD])
    value = invoke("hwids", "build", folder, "--format", "json").json
    HWIDS.validate(value)
    assert [row["chid"] for row in value["tables"][0]["entries"]] == [str(CHID)]


def test_build_of_nothing(tmp_path: Path):
    target = tmp_path / "out"
    result = invoke("hwids", "build", tmp_path, "-o", target)
    assert (result.status, target.read_bytes()) == (0, bytes(28))
    assert result.lines == [f"stubsim: warning: {tmp_path}: no *.json in or below it, so the section has no entries"]


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        (b'{"type": "devicetree",\n "hwids": [}', ["line 2, column 12", "offset 0x22"]),
        (GOOD | {"type": "dt"}, ['type: "dt"', "devicetree or uefi-fw"]),
        ({key: item for key, item in GOOD.items() if key != "name"}, ["no 'name'"]),
        (GOOD | {"fwid": "x"}, ["fwid: not for type devicetree"]),
        (GOOD | {"hwids": [str(CHID), "x"]}, ['hwids[1]: "x" is not a GUID', "8-4-4-4-12"]),
        (b"\xff", ["not UTF-8"]),
    ],
)
def test_build_of_a_bad_description(folder: Path, tmp_path: Path, content: Any, texts: list[str]):
    bad, target = written(folder, "b.json", content), tmp_path / "out"
    for call in (invoke, execute):
        error(call("hwids", "build", folder, "-o", target), bad, *texts)
        error(call("hwids", "show", folder), bad, *texts)
        assert not target.exists()


# --- show ------------------------------------------------------------------------------------------------------------


def shown(*arguments: str | Path) -> Any:
    result = invoke("hwids", "show", *arguments, "--format", "json")
    assert (result.status, result.err) == (0, "")
    HWIDS.validate(result.json)
    return result.json


def test_show_what_there_is_to_show(folder: Path, tmp_path: Path):
    section = written(tmp_path, "x", hwids.from_descriptions([GOOD]))
    expected = (0, "devicetree", str(CHID), "Lab", COMPATIBLE)
    for path, source in ((folder, 1), (folder / "a.json", 1), (section, None)):
        (found,) = shown(path)["tables"]
        (row,) = found["entries"]
        assert tuple(row[key] for key in ("index", "type", "chid", "name", "compatible")) == expected
        assert (row["source"] and row["source"]["line"]) == source
        assert (found["section"], found["profile"], found["error"], found["refused_by"]) == (None, None, None, [])


def test_show_a_uki(tmp_path: Path):
    value = shown(written(tmp_path, "uki.efi", FULL_UKI))
    (found,) = value["tables"]
    assert (found["section"], found["refused_by"]) == (5, ["257"])
    assert [row["type"] for row in found["entries"]] == ["devicetree", "uefi-fw"]
    image = written(tmp_path, "two.efi", uki(table((1, "a")), SectionSpec(".profile", b"ID=x"), table((1, "b"))))
    assert [one["profile"] for one in shown(image)["tables"]] == [None, 0]
    empty = written(tmp_path, "none.efi", uki())
    assert shown(empty)["tables"] == []
    assert "no .hwids" in invoke("hwids", "show", empty).out


def test_show_names_the_ids_of_a_machine(tmp_path: Path, folder: Path, host: Path):
    (row,) = shown(folder, "--smbios", host)["tables"][0]["entries"]
    assert [(one["type"], one["looked_up"]) for one in row["known"]] == [(3, True)]
    text = invoke("hwids", "show", folder, "--smbios", host)
    # However long the folder's name is, and so wherever the line is broken.
    assert f"type3({host})" in "".join(text.out.split())
    assert all(len(line) <= 80 for line in text.out.splitlines()[1:])


def test_show_a_refused_table(tmp_path: Path):
    path = written(tmp_path, "x", hwids.from_descriptions([GOOD])[:-1])
    (found,) = shown(path)["tables"]
    assert "has no end" in found["error"]
    assert found["refused_by"] == ["260.3", "260.4", "261.1 to 262"]
    assert "refused as a whole by stubs 260.3, 260.4, 261.1 to 262" in invoke("hwids", "show", path).out


# --- from-host -------------------------------------------------------------------------------------------------------


def test_from_host(tmp_path: Path):
    """The fixed set of the HUAWEI story is what the command writes."""
    target = tmp_path / "out.json"
    path = ROOT / "fixtures" / "hosts" / "huawei-gaokun3.json"
    for call in (invoke, execute):
        result = call("hwids", "from-host", path, "--compatible", "huawei,gaokun3", "-o", target)
        assert (result.status, result.out) == (0, "")
        assert result.lines[0].startswith(f"stubsim: note: {path}: types 6, 7, 10, 11 are left out")
        assert target.read_bytes() == (SETS / "huawei-c233-fixed" / "huawei-gaokun3.json").read_bytes()


def test_from_host_for_a_firmware(host: Path):
    result = invoke("hwids", "from-host", host, "--fwid", "ovmf", "--types", "7,9", "--name", "Gerät")
    assert result.json == {
        "type": "uefi-fw", "name": "Gerät", "fwid": "ovmf", "hwids": [str(CHIDS[7]), str(CHIDS[9])],
    }  # fmt: skip
    assert '"Ger\\u00e4t"' in result.out


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ([], "one of the arguments --compatible --fwid is required"),
        (["--compatible", "a", "--fwid", "b"], "not allowed with"),
        (["--compatible", "a", "--types", "3,x"], "'3,x' is not a list of CHID types"),
        (["--compatible", "a", "--types", "12"], "type 12: no stub looks for it"),
        (["--compatible", "a", "--types", "15"], "type 15: the host has no EDID panel"),
        (["--compatible", "a", "--types", ""], "'' is not a list"),
    ],
)
def test_from_host_called_wrongly(host: Path, options: list[str], text: str):
    error(invoke("hwids", "from-host", host, *options), text)


def test_from_host_with_nothing_to_go_by(tmp_path: Path):
    path = written(tmp_path, "h.json", {"manufacturer": "To Be Filled By O.E.M."})
    error(execute("hwids", "from-host", path, "--fwid", "x"), path, "no id is left")


# --- lint ------------------------------------------------------------------------------------------------------------


def linted(*arguments: str | Path) -> Any:
    value = invoke("hwids", "lint", *arguments, "--format", "json").json
    LINT.validate(value)
    return value


@pytest.mark.parametrize(
    ("value", "statuses"),
    [
        (GOOD, (0, 0, 0, 0)),
        (GOOD | {"more": 1}, (0, 0, 1, 0)),
        (GOOD | {"hwids": []}, (0, 1, 1, 0)),
        (ZERO, (1, 1, 1, 0)),
    ],
    ids=["nothing", "note", "warning", "error"],
)
def test_exit_status(folder: Path, value: Any, statuses: tuple[int, ...]):
    written(folder, "a.json", value)
    for level, status in zip(("error", "warning", "note", "never"), statuses, strict=True):
        for form in ("text", "json", "sarif"):
            result = invoke("hwids", "lint", folder, "--fail-on", level, "--format", form)
            assert (result.status, result.err) == (status, "")
    for call in (invoke, execute):
        assert call("hwids", "lint", folder).status == statuses[1]


def test_a_bad_description_is_a_finding(folder: Path):
    bad = written(folder, "b.json", b"{")
    result = execute("hwids", "lint", folder, "--format", "json")
    assert (result.status, result.err) == (1, "")
    (finding,) = result.json["findings"]
    assert (finding["code"], finding["location"]["path"]) == ("HW001", str(bad))


def test_lint_what_cannot_be_read(tmp_path: Path, folder: Path, host: Path):
    missing = tmp_path / "missing"
    (tmp_path / "empty").mkdir()
    cut = written(tmp_path, "cut.efi", FULL_UKI[:1000])
    for arguments, texts in (
        ([missing], [missing, "No such file"]),
        ([tmp_path / "empty"], ["no hwids descriptions"]),
        ([folder, cut], [cut, "offset"]),
        ([], ["INPUT"]),
        ([folder, "--smbios", missing], [missing]),
        ([folder, "--hosts", missing], [missing, "--hosts"]),
        ([folder, "--hosts", tmp_path / "empty"], ["no files"]),
        ([folder, "--fail-on", "worst"], ["worst"]),
        ([folder, "--smb", host], ["--smb"]),
    ):
        for call in (invoke, execute) if texts[0] == missing else (invoke,):
            error(call("hwids", "lint", *arguments), *texts)
            result = call("hwids", "lint", *arguments, "--format", "json")
            assert result.status == 2
            ERROR.validate(result.json)
    error(invoke("hwids"), "ACTION")
    error(invoke("hwids", "audit"), "audit")


def test_lint_with_machines(tmp_path: Path):
    hosts = ROOT / "fixtures" / "hosts"
    value = linted(SETS / "huawei-c233", "--smbios", hosts / "huawei-w515.json")
    assert value["hosts"] == ["huawei-w515"]
    assert [row["code"] for row in value["findings"]] == ["HW207"]
    value = linted(SETS / "dell-latitude-7455", SETS / "huawei-c233", "--hosts", hosts)
    assert len(value["hosts"]) == len(list(hosts.glob("*.json")))
    assert [row["code"] for row in value["findings"]] == ["HW204", "HW205", "HW207"]
    assert value["counts"] == {"error": 0, "warning": 2, "note": 1}
    # Two machines of one name are called by their files.
    paths = [written(tmp_path, name, {"name": "same", "smbios": MACHINE}) for name in ("a.json", "b.json")]
    assert linted(SETS / "huawei-c233", "--smbios", paths[0], "--smbios", paths[1])["hosts"] == list(map(str, paths))


def test_the_forms_tell_the_same(shared: Path):
    path = shared / "data" / "hwids" / "json"
    value = linted(path)
    assert value["counts"] == {"error": 0, "warning": 19, "note": 6}
    log = invoke("hwids", "lint", path, "--format", "sarif").json
    SARIF.validate(log)
    results = log["runs"][0]["results"]
    assert [(one["ruleId"], one["level"]) for one in results] == [
        (row["code"], row["severity"]) for row in value["findings"]
    ]
    text = execute("hwids", "lint", path).out
    for row in value["findings"]:
        assert f"{row['location']['path']}:{row['location']['line']}: {row['severity']}" in " ".join(text.split())
        assert row["code"] in text
    assert "19 warnings, 6 notes in " in " ".join(text.split())


def test_as_text(tmp_path: Path, folder: Path):
    assert (
        invoke("hwids", "lint", folder).out.split()
        == f"nothing found in {folder}; no machines known (--smbios, --hosts)".split()
    )
    target = tmp_path / "out"
    written(folder, "a.json", ZERO)
    result = invoke("hwids", "lint", folder, "-o", target)
    assert (result.status, result.out) == (1, "")
    assert "HW203 zero-id: an id of zeros" in target.read_text()


def test_hostile_texts_do_not_steer_the_terminal(tmp_path: Path):
    evil = "\x1b[2J\r\u202e"
    written(tmp_path, "a.json", ZERO | {"name": evil, "compatible": evil, evil: 1})
    path = written(tmp_path, "b\x1b[2J.json", ZERO | {"compatible": "x"})
    for arguments in (["lint", tmp_path], ["show", tmp_path], ["lint", path], ["show", path]):
        result = invoke("hwids", *arguments)
        assert result.status == (1 if arguments[0] == "lint" else 0)
        for text in ("\x1b", "\r", "\u202e"):
            assert text not in result.out + result.err


def test_more_findings_than_one_wants_to_read(tmp_path: Path):
    zero = "00000000-0000-0000-0000-000000000000"
    rows = [GOOD | {"hwids": [zero], "compatible": f"lab,{number}"} for number in range(400)]
    path = written(tmp_path, "x", hwids.from_descriptions(rows))
    text = invoke("hwids", "lint", path).out
    assert "more, all of them with --format json" in text
    assert text.count("\n") < 2000
    assert len(linted(path)["findings"]) == 799


def test_help():
    for arguments, text in ((["hwids", "--help"], "from-host"), (["hwids", "lint", "--help"], "--fail-on")):
        result = execute(*arguments)
        assert (result.status, result.err) == (0, "")
        assert text in result.out


def test_lint_by_code(tmp_path: Path):
    sets = [ROOT / "fixtures" / "hwids" / name for name in ("example-zero-id", "example-firmware")]

    def codes(*options: str) -> set[str]:
        report = invoke("hwids", "lint", *sets, "--format", "json", *options).json
        return {row["code"] for row in report["findings"]}

    every = codes()
    assert len(every) > 1
    one = min(every)
    assert codes("--select", one) == {one}
    assert codes("--ignore", one) == every - {one}
    assert codes("--select", one, "--ignore", one) == set()
    assert codes("--select", "HW") == every
    assert codes("--ignore", ",".join(every)) == set()
    assert invoke("hwids", "lint", *sets, "--ignore", ",".join(every)).status == 0
    wrong = invoke("hwids", "lint", *sets, "--ignore", "HW999")
    assert (wrong.status, "'HW999' is not a code" in wrong.err) == (2, True)


def test_lint_in_one_line_each(tmp_path: Path):
    sets = ROOT / "fixtures" / "hwids" / "example-zero-id"
    lines = invoke("hwids", "lint", sets, "--format", "concise").out.splitlines()
    found = invoke("hwids", "lint", sets, "--format", "json").json["findings"]
    assert len(lines) == len(found)
    for line, row in zip(lines, found, strict=True):
        place = row["location"]
        assert line.startswith(f"{place['path']}:{place['line']}: {row['code']} {row['severity']}: ")
        assert line.endswith(row["message"])


def test_lint_explains(tmp_path: Path):
    told = invoke("hwids", "lint", "--explain", "hw207")
    assert (told.status, told.err) == (0, "")
    assert told.out.startswith("HW207 vague-match (warning): ")
    assert "Fix: " in told.out
    assert invoke("hwids", "lint", "--explain", "HW999").status == 2
    assert invoke("hwids", "lint").status == 2


def test_lint_of_a_folder_of_ukis(tmp_path: Path):
    folder = tmp_path / "ukis"
    folder.mkdir()
    written(folder, "good.efi", FULL_UKI)
    bad = written(folder, "bad.efi", uki(linux=b"no kernel"))
    report = invoke("hwids", "lint", folder, "--format", "json").json
    assert {row["location"]["path"] for row in report["findings"] if row["code"] == "HW307"} == {str(bad)}
