"""docs/handover.md and docs/handover/ are what stubsim does, and what it says of itself."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest

from scripts import worked_examples
from stubsim import handover, schemas
from stubsim.formats import vmfwupdate
from stubsim.views.json import boot_json
from tests.samples import fixtures_in

ROOT = Path(__file__).resolve().parent.parent
OVERVIEW = (ROOT / "docs" / "handover.md").read_text(encoding="utf-8")
PAGES = {name: f"docs/handover/{name}.md" for name in handover.DIALECTS}
FILES = ["docs/handover.md", *PAGES.values(), *(f"docs/handover/{name}.svg" for name in handover.DIALECTS)]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands of the pages work; what was made for the pages is cut out of them."""
    folder = fixtures_in(tmp_path_factory.mktemp("tree"))
    shutil.copytree(ROOT / "docs", folder / "docs")
    for name in (worked_examples.OVERVIEW, *PAGES.values()):
        path = folder / name
        text = path.read_text(encoding="utf-8")
        emptied = re.sub(r"(<!-- made: .*? -->\n).*?(?=<!-- end -->)", r"\1", text, flags=re.DOTALL)
        assert emptied != text
        path.write_text(emptied, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def made(tree: Path) -> dict[str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tree)
        return worked_examples.files(tree)


@pytest.mark.parametrize("name", FILES)
def test_a_real_run_gives_the_same_bytes(made: dict[str, str], name: str):
    assert (ROOT / name).read_bytes().decode() == made[name]


def test_nothing_else_is_made(made: dict[str, str]):
    assert sorted(made) == sorted(FILES)
    assert {f"docs/handover/{path.name}" for path in (ROOT / "docs" / "handover").iterdir()} < {*FILES}


def test_check_tells_what_differs(tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(worked_examples, "ROOT", tree)
    # It goes there itself; so that the tests behind this one are where they were.
    monkeypatch.chdir(tree)
    before = (tree / PAGES["spec"]).read_bytes()
    assert worked_examples.main(["--check"]) == 1
    assert f"{PAGES['spec']} is not what stubsim does" in capsys.readouterr().out
    assert (tree / PAGES["spec"]).read_bytes() == before


# --- the overview ----------------------------------------------------------------------------------------------------


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", OVERVIEW, re.M | re.S)
    assert found is not None, title
    return found[1]


def rows(text: str) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]


def test_every_dialect_has_its_section():
    titles = re.findall(r"^## (\S+)$", OVERVIEW, re.M)
    assert titles == list(handover.DIALECTS)
    assert [row[0].strip("`") for row in rows(OVERVIEW.partition("## ")[0])] == titles


@pytest.mark.parametrize("name", handover.DIALECTS)
def test_the_decisions_are_those_of_the_code(name: str):
    listed = section(name).partition("Decided here:")[2]
    assert re.findall(r"^- (.*)$", listed, re.M) == list(handover.dialect(name).about.decisions)


@pytest.mark.parametrize("name", vmfwupdate.FILES)
def test_the_files_are_those_of_the_code(name: str):
    access = {True: "rw", False: "ro"}
    found = {row[0].strip("`"): (row[1], row[2]) for row in rows(section(name))}
    assert list(found) == [file.name for file in vmfwupdate.FILES[name]]
    for file in vmfwupdate.FILES[name]:
        size, how = found[file.name]
        assert size == ("not published" if file.size is None else str(file.size))
        assert how == access[file.writable] if file.writable is not None else how not in access.values()


def test_the_keys_are_those_of_the_schema():
    properties = schemas.load("boot")["properties"]
    keys = [key for row in rows(section("In JSON")) for key in re.findall(r"`([^`]*)`", row[0])]
    assert {"fw_cfg.writes", "next"} < {*keys}
    for key in keys:
        top, _, below = key.partition(".")
        assert top in properties
        assert not below or below in properties[top]["properties"]


def test_the_opaque_page_has_the_described_layout():
    page = vmfwupdate.build_opaque([vmfwupdate.Left("initrd", 0x1000, 5, bytes(range(32)))])
    text = section("The opaque page")
    offsets = [int(offset) for offset in re.findall(r"^\| (\d+) \|", text, re.M)]
    assert offsets == [0, 8, 12, 16, 20, 24, 0, 4, 8, 16, 24]
    assert (page[:8], page[8:12], page[12:16], page[20:24]) == (
        b"STUBSIM\0",
        *(n.to_bytes(4, "little") for n in (1, 1, 0)),
    )
    entry = page[24 : 24 + 56]
    assert int.from_bytes(entry[:4], "little") == 3
    assert int.from_bytes(entry[8:16], "little") == 0x1000
    assert int.from_bytes(entry[16:24], "little") == 5
    assert entry[24:] == bytes(range(32))


# --- the pages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_that_it_is_about_a_proposal(name: str):
    text = (ROOT / PAGES[name]).read_text(encoding="utf-8")
    assert f"[{name}](../handover.md#{name}) is a proposed protocol" in text


@pytest.mark.parametrize("name", PAGES)
def test_the_picture_is_svg(name: str):
    picture = ElementTree.parse(ROOT / "docs" / "handover" / f"{name}.svg").getroot()
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"


@pytest.mark.parametrize("path", ["docs/handover.md", *PAGES.values()])
def test_links_lead_somewhere(path: str):
    folder = (ROOT / path).parent
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", (ROOT / path).read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        found = folder / file if file else ROOT / path
        assert found.is_file(), target
        titles = re.findall(r"^##? (.*)$", found.read_text(encoding="utf-8"), re.M)
        assert not anchor or anchor in [title.lower().replace(" ", "-") for title in titles]


@pytest.mark.parametrize("name", PAGES)
def test_the_json_of_each_run_keeps_the_schema(tree: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.chdir(tree)
    example = worked_examples.EXAMPLES[name]
    for run in (example.run, example.refused, example.updated):
        if run is not None:
            jsonschema.validate(boot_json(run.boot()), schemas.load("boot"))
