"""`stubsim fleet diff`: what changes for whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import html5lib
import pytest
from jsonschema import Draft202012Validator

from stubsim import schemas
from tests import samples
from tests.fleet import machines as made

pytest.importorskip("duckdb")

GIVEN = ("--given", "edid=null", "--given", "secure_boot=false")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    trees = (samples.devicetree("example,one"), samples.devicetree("example,two"))
    for name, string in (("a", "example,one"), ("b", "example,two")):
        table = samples.table((1, string), chids=(samples.CHIDS[3],))
        samples.written(tmp_path, f"{name}.efi", samples.uki(table, *trees))
    (tmp_path / "m.ndjson").write_text(made.ndjson(made.machines()))
    return tmp_path


def diff(place: Path, *words: str | Path) -> Any:
    result = samples.invoke("fleet", "diff", *words, "--hosts", place / "m.ndjson", "--format", "json")
    assert not list(Draft202012Validator(schemas.load("fleet-diff")).iter_errors(result.json))
    return result.json


def meant() -> int:
    """Machines that have all strings of MACHINE."""
    same = [all(row[key] == text for key, text in samples.MACHINE.items()) for row in made.machines()]
    assert sum(same) > 5
    return sum(same)


def test_two_ukis(place: Path):
    found = diff(place, place / "a.efi", place / "b.efi", *GIVEN)
    assert (found["machines"], found["changed"], found["changed_unsure"]) == (100, meant(), 0)
    [change] = found["changes"]
    assert (change["what"], change["a"], change["b"]) == (".dtbauto", "example,one", "example,two")
    assert change["machines"] == meant()
    assert change["example"]["product_name"] == "Product"
    pcr11 = next(row for row in found["pcrs"] if row["pcr"] == 11)
    # .hwids is measured as well, so everybody's value changes; a null leaves it open for some.
    assert (pcr11["values_a"], pcr11["values_b"]) == (2, 2)
    assert pcr11["machines"] + pcr11["unknown"] == 100
    assert meant() < pcr11["machines"] < 100


def test_the_same_twice(place: Path):
    found = diff(place, place / "a.efi", place / "a.efi", *GIVEN)
    assert (found["changed"], found["changes"]) == (0, [])
    assert all(row["machines"] == 0 for row in found["pcrs"])


def test_what_is_not_known_is_no_lack_of_change(place: Path):
    found = diff(place, place / "a.efi", place / "b.efi")
    assert found["changed_unsure"] == found["changed"] == meant()
    assert found["unsure"] == 100 - meant()


def test_two_stubs(place: Path):
    found = diff(place, place / "a.efi", "--stub", "256", "--stub", "262", *GIVEN)
    [change] = found["changes"]
    assert (change["a"], change["b"], change["machines"]) == (None, "example,one", meant())


def test_two_sets_of_ids(place: Path):
    table = samples.table((1, "example,one"), chids=(samples.CHIDS[3],)).data
    wider = samples.table((1, "example,one"), chids=(samples.CHIDS[3], samples.CHIDS[7])).data
    a, b = samples.written(place, "a.hwids", table), samples.written(place, "b.hwids", wider)
    found = diff(place, a, b, *GIVEN)
    assert found["pcrs"] == []
    [change] = found["changes"]
    skus = [row for row in made.machines() if row["product_sku"] == "SKU"]
    assert (change["a"], change["b"]) == (None, "example,one")
    assert change["machines"] == len(skus) - meant()


def test_exit_status_and_comment(place: Path):
    words = ("fleet", "diff", place / "a.efi", place / "b.efi", "--hosts", place / "m.ndjson", *GIVEN)
    assert samples.invoke(*words).status == 0
    assert samples.invoke(*words, "--fail-on-change").status == 1
    same = ("fleet", "diff", place / "a.efi", place / "a.efi", "--hosts", place / "m.ndjson", *GIVEN)
    assert samples.invoke(*same, "--fail-on-change").status == 0
    assert f"**{meant()} of 100 machines change**" in samples.invoke(*words, "--format", "markdown").out


def test_a_comment_has_no_markup_of_an_inventory(place: Path):
    hostile = "@all <img src=x> | [a](http://b) `c` **d**"
    (place / "m.ndjson").write_text(made.ndjson([{**samples.MACHINE, "bios_vendor": "x", "serial": hostile}]))
    table = samples.table((1, hostile), chids=(samples.CHIDS[3],))
    samples.written(place, "b.efi", samples.uki(table, samples.devicetree(hostile)))
    words = ("fleet", "diff", place / "a.efi", place / "b.efi", "--hosts", place / "m.ndjson", *GIVEN)
    text = samples.invoke(*words, "--format", "markdown").out
    assert "&lt;img src=x&gt;" in text
    assert not any(part in text for part in ("<img", "@all", "](", "`c`", "**d"))


@pytest.mark.parametrize("words", [("a.efi",), ("a.efi", "b.efi", "a.efi"), ("a.efi", "missing.efi"), ()])
def test_calls_that_compare_nothing(words: tuple[str, ...], place: Path):
    paths = [place / word for word in words]
    assert samples.invoke("fleet", "diff", *paths, "--hosts", place / "m.ndjson").status == 2
    two = ("fleet", place / "a.efi", place / "b.efi", "--hosts", place / "m.ndjson")
    assert samples.invoke(*two).status == 2


def test_the_page_says_what_the_text_says(place: Path):
    words = ("fleet", "diff", place / "a.efi", place / "b.efi", "--hosts", place / "m.ndjson", *GIVEN)
    page = samples.invoke(*words, "--format", "html").out
    assert f"{meant()} of 100 machines change" in page
    tree = html5lib.parse(page, namespaceHTMLElements=False)
    cells = [cell.text for kind in ("th", "td") for cell in tree.iter(kind)]
    assert {str(meant()), ".dtbauto", "example,one", "example,two"} <= {*cells}


def test_a_page_has_no_markup_of_an_inventory(place: Path):
    hostile = "<img src=x onerror=y>"
    (place / "m.ndjson").write_text(made.ndjson([{**samples.MACHINE, "serial": hostile}]))
    table = samples.table((1, hostile), chids=(samples.CHIDS[3],))
    samples.written(place, "b.efi", samples.uki(table, samples.devicetree(hostile)))
    words = ("fleet", "diff", place / "a.efi", place / "b.efi", "--hosts", place / "m.ndjson", *GIVEN)
    page = samples.invoke(*words, "--format", "html").out
    assert "&lt;img" in page
    assert "<img" not in page
