"""The pages of `why` and `diff`: valid, self-contained, what the JSON says, and readable in a real browser."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

import pytest

from stubsim.formats import hwids
from stubsim.formats.pe import SectionSpec
from tests.browser import Browser, is_blank
from tests.conftest import recordings
from tests.samples import COMPATIBLE, FULL_UKI, MACHINE, devicetree, execute, firmware, invoke, table, uki, written
from tests.views.test_html_boot import check, rows, sections, shown
from tests.views.test_html_in_browser import CONTRAST, OVERFLOW, WIDTHS

RECORDINGS = recordings()
HOST = {"name": "a machine", "smbios": MACHINE}
OTHER = {"name": "another", "smbios": MACHINE | {"product_sku": "SKU-2", "family": "x" * 300}, "unknown": ["rng"]}
UNKNOWN = {"smbios": MACHINE, "unknown": ["edid", "smbios.family"]}
HOSTILE = "</style></title><script>alert(1)</script><b x=\"'>&amp;&#x41;\x1b[31m\u202eevil"


@pytest.fixture
def calls(tmp_path: Path) -> dict[str, list[str | Path]]:
    """A call for each kind of page."""
    image, host = written(tmp_path, "uki.efi", FULL_UKI), written(tmp_path, "host.json", HOST)
    other, unknown = written(tmp_path, "other.json", OTHER), written(tmp_path, "unknown.json", UNKNOWN)
    profile = uki(
        table((hwids.DEVICETREE, "a")),
        devicetree("a"),
        SectionSpec(".profile", b"ID=p\n"),
        table((hwids.DEVICETREE, "b")),
        devicetree("b"),
    )
    profiles, failing = written(tmp_path, "profiles.efi", profile), written(tmp_path, "failing.efi", uki(linux=None))
    return {
        "why": ["why", image, "--smbios", host],
        "why-unknown": ["why", image, "--smbios", unknown],
        "why-profile": ["why", profiles, "--smbios", host, "--profile", "0"],
        "why-failing": ["why", failing, "--smbios", host],
        "diff-hosts": ["diff", image, "--smbios", host, "--smbios", other],
        "diff-profiles": ["diff", image, "--smbios", host, "--profile", "0", "--profile", "1"],
        "diff-failing": ["diff", image, failing, "--smbios", host],
        "diff-equal": ["diff", image, image, "--smbios", host],
    }


def made(call: list[str | Path]) -> Element:
    result = invoke(*call, "--format", "html")
    assert result.status in (0, 1), result.err
    return check(result.out)


def test_every_page_is_valid(calls: dict[str, list[str | Path]]):
    for call in calls.values():
        made(call)


def test_why(calls: dict[str, list[str | Path]]):
    root = made(calls["why"])
    report = invoke(*calls["why"], "--format", "json").json
    assert shown(root.find(".//h1")) == f"Devicetree {COMPATIBLE} is chosen; firmware fw is chosen"
    found = sections(root)
    assert [*found] == ["summary", "the-chain", "devicetree", "firmware", "hardware-ids", "other-stubs"]
    assert [row[1] for row in rows(found["firmware"])] == [
        row["verdict"] for row in report["choices"]["uefi-fw"]["sections"]
    ]
    steps = [shown(item.find("div")) for item in found["firmware"].iter("li")]
    assert any(step.startswith("type 3: ") and step.endswith("entry 1 (fw)") for step in steps)
    assert "type 17: absent, so all zeros are looked up, in no entry" in steps
    ids = rows(found["hardware-ids"])
    assert [int(row[1]) for row in ids] == [row["type"] for row in report["chids"]]
    by_type = {row[1]: row for row in ids}
    assert by_type["3"][3] == "Example&Family&Product&SKU&Board&One"
    assert by_type["3"][4] == "devicetree 0, uefi-fw 1"


def test_what_is_not_known_is_marked(calls: dict[str, list[str | Path]]):
    root = made(calls["why-unknown"])
    assert shown(root.find(".//h1/a")) == "see Unknown"
    assert [shown(part.find("h2/a")) for part in sections(root).values()][2:4] == ["see Unknown"] * 2
    assert "type 3: not known family" in [shown(item) for item in root.iter("li")]


def test_a_profile_has_a_look_up_of_its_own(calls: dict[str, list[str | Path]]):
    headings = [shown(node) for node in made(calls["why-profile"]).iter("h3")]
    assert headings == ["The look-up", "The look-up of profile 0", "The .dtbauto sections"]


def test_diff(calls: dict[str, list[str | Path]]):
    root = made(calls["diff-profiles"])
    found = sections(root)
    line = found["command-line"].find("pre")
    assert line is not None
    assert [(node.tag, shown(node)) for node in line] == [("del", "[-quiet-]"), ("ins", "{+rescue+}")]
    assert ["changed", "StubProfile", '"0" -> "1"'] in rows(found["efi-variables"])
    assert "only B measures profile 1" in shown(found["pcr-12"])
    equal = made(calls["diff-equal"])
    assert shown(equal.find(".//h1")).startswith("The two boots are equal")
    assert shown(equal.find("head/title")) == "Diff: uki.efi on a machine, stub 262.1"


def test_hostile_texts_stay_texts(tmp_path: Path):
    word = HOSTILE
    data = uki(table((hwids.UEFI_FW, word), (hwids.DEVICETREE, word)), firmware(word), devicetree(word))
    image, other = written(tmp_path, "a.efi", data), written(tmp_path, "b.efi", FULL_UKI)
    host = written(tmp_path, "host.json", {"name": word, "smbios": MACHINE | {"family": word}})
    plain = written(tmp_path, "plain.json", HOST)
    for call in (
        ["why", image, "--smbios", host],
        ["why", image, "--smbios", plain],
        ["diff", image, other, "--smbios", host, "--smbios", plain, "--cmdline", word, "--cmdline", "a"],
    ):
        root = made(call)
        assert "<script>alert(1)</script>" in shown(root)
        assert "\\x1b[31m\\u202eevil" in shown(root)


def test_the_same_bytes_each_time_and_as_a_program(tmp_path: Path, calls: dict[str, list[str | Path]]):
    for name in ("why", "diff-hosts"):
        target = tmp_path / "page.html"
        assert execute(*calls[name], "--format", "html", "-o", target).status == (name != "why")
        assert target.read_text(encoding="utf-8") == invoke(*calls[name], "--format", "html").out


@pytest.mark.skipif(not RECORDINGS, reason="no recordings (STUBSIM_SHARED)")
def test_recordings():
    for first, second in zip(RECORDINGS[::12], RECORDINGS[5::12], strict=False):
        machines = [word for folder in (first, second) for word in ("--smbios", folder / "host.json")]
        made(["why", first / "uki.efi", *machines[:2]])
        made(["diff", first / "uki.efi", second / "uki.efi", *machines])


@pytest.mark.oracle
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_page_is_readable_and_asks_for_nothing(
    browser: Browser, calls: dict[str, list[str | Path]], tmp_path: Path, dark: bool, width: str
):
    for name, call in calls.items():
        file = tmp_path / f"{name}.html"
        assert invoke(*call, "--format", "html", "-o", file).status in (0, 1)
        browser.open(file, dark=dark, width=WIDTHS[width])
        assert browser.complaints() == []
        assert browser.requests() == [file.as_uri()]
        (worst, where), _ = browser.evaluate(CONTRAST)
        assert worst >= 4.5, (name, where)
        over = browser.evaluate(OVERFLOW)
        assert over["out"] == [], name
        assert over["wide"] <= over["inner"] == WIDTHS[width]
        assert not is_blank(browser.screenshot())


def test_files_that_are_not_taken_are_named_with_their_rule(tmp_path: Path):
    folder = tmp_path / "esp/EFI/Linux"
    (folder / "other.efi.extra.d").mkdir(parents=True)
    written(folder, "other.efi.extra.d/a.cred", b"x")
    image, host = written(folder, "mine.efi", FULL_UKI), written(tmp_path, "host.json", HOST)
    call = ["why", image, "--smbios", host, "--esp", tmp_path / "esp"]
    (row,) = invoke(*call, "--format", "json").json["files_not_taken"]
    text = " ".join(" ".join(made(call).itertext()).split())
    assert "Files that are not taken" in text
    assert row["path"] in text
    assert row["why"] in text
