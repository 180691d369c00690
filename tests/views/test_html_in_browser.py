"""The HTML page of a boot as Chromium has it: its structure, that nothing is asked for, and that it can be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stubsim.formats import hwids
from stubsim.formats.pe import SectionSpec
from tests.browser import Browser, is_blank
from tests.samples import FULL_UKI, MACHINE, firmware, invoke, table, uki, written

pytestmark = pytest.mark.oracle

LONG = "x" * 300
DEVICE = {
    "name": "a-machine",
    "smbios": MACHINE,
    "fw_cfg": {"vmfwupdate": {"dialect": "qemu-v5", "bios_size": 4194304}},
    "tpm": {"banks": ["sha1", "sha256", "sha512"]},
    "unknown": ["console"],
}
UKIS = {
    "update": uki(table((hwids.UEFI_FW, "fw")), firmware("other"), firmware(payload=b"BIOS" * 0x4000)),
    "kernel": FULL_UKI,
    "failed": uki(linux=None),
    "long": uki(table((hwids.UEFI_FW, LONG)), firmware(LONG), SectionSpec(".profile", b"TITLE=" + LONG.encode())),
}
WIDTHS = {"wide": 1280, "phone": 390}

# Every element with a text of its own: how it stands out from what is behind it, by WCAG 2.1.
CONTRAST = """(() => {
  const part = (value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const rgba = (text) => text.match(/[0-9.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * part(r / 255) + 0.7152 * part(g / 255) + 0.0722 * part(b / 255);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const color = rgba(getComputedStyle(node).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const node of document.body.querySelectorAll("*:not(svg *)")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility()) continue;
    const [one, other] = [light(rgba(getComputedStyle(node).color)), light(behind(node))].sort((a, b) => b - a);
    found.push([(one + 0.05) / (other + 0.05), node.tagName + "." + node.className]);
  }
  return found.sort((a, b) => a[0] - b[0]).slice(0, 1).concat([[found.length, "count"]]);
})()"""

# What sticks out of the page on the right, unless it lies in something that scrolls.
OVERFLOW = """(() => {
  const out = [];
  for (const node of document.body.querySelectorAll("*")) {
    const box = node.getBoundingClientRect();
    if (box.right > innerWidth + 1 && !node.closest(".scroll, figure, pre, svg")) out.push(node.outerHTML.slice(0, 80));
  }
  return {out, wide: document.documentElement.scrollWidth, inner: innerWidth};
})()"""

COUNT = """Object.fromEntries(["h1", "h2", "h3", "table", "caption", "details", "svg", "nav a", "script"].map(
  (name) => [name, document.querySelectorAll(name).length]))"""


@pytest.fixture
def pages(tmp_path: Path) -> dict[str, Path]:
    host = written(tmp_path, "host.json", DEVICE)
    made = {}
    for name, data in UKIS.items():
        image, target = written(tmp_path, f"{name}.efi", data), tmp_path / f"{name}.html"
        assert invoke("boot", image, "--smbios", host, "--format", "html", "-o", target).status in (0, 1)
        made[name] = target
    return made


def test_a_section_name_is_one_line(browser: Browser, pages: dict[str, Path]):
    for file in pages.values():
        browser.open(file, width=800)
        heights = browser.evaluate("[...document.querySelectorAll('td code.nowrap')].map(e => e.offsetHeight)")
        assert len(heights) >= 4
        assert len(set(heights)) == 1


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_page_is_whole_readable_and_asks_for_nothing(
    browser: Browser, pages: dict[str, Path], dark: bool, width: str
):
    for name, file in pages.items():
        browser.open(file, dark=dark, width=WIDTHS[width])
        assert browser.complaints() == []
        assert browser.requests() == [file.as_uri()]
        count = browser.evaluate(COUNT)
        assert (count["h1"], count["script"], count["svg"]) == (1, 0, 1)
        assert count["nav a"] == count["h2"] >= 6
        assert count["table"] == count["caption"] >= 3
        # The page's style was let in by its own policy, and follows the colour scheme.
        background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == ("rgb(21, 26, 34)" if dark else "rgb(255, 255, 255)")
        (worst, where), (texts, _) = browser.evaluate(CONTRAST)
        assert worst >= 4.5, (name, where)
        assert texts > 50
        over = browser.evaluate(OVERFLOW)
        assert over["out"] == [], name
        assert over["wide"] <= over["inner"] == WIDTHS[width]
        assert not is_blank(browser.screenshot())


@pytest.mark.parametrize("width", WIDTHS)
def test_what_a_screen_reader_is_told(browser: Browser, pages: dict[str, Path], width: str):
    browser.open(pages["update"], width=WIDTHS[width])
    roles = browser.roles()
    tables = [name for role, name in roles if role == "table"]
    assert tables == browser.evaluate(
        "[...document.querySelectorAll('table')].filter((t) => t.checkVisibility()).map((t) => t.caption.textContent)"
    )
    assert len(tables) >= 6
    kinds = [role for role, _ in roles]
    assert kinds.count("rowheader") > 20
    assert kinds.count("heading") >= 10
    assert kinds.count("columnheader") > 20
    assert ("navigation", "Contents") in roles
    assert any(role in ("image", "img") and name.startswith("Memory map") for role, name in roles)
    assert next(name for role, name in roles if role == "heading").startswith("Firmware update: fw")


def test_the_links_lead_somewhere_and_details_open(browser: Browser, pages: dict[str, Path]):
    browser.open(pages["update"])
    targets = browser.evaluate("[...document.links].map((a) => document.getElementById(a.hash.slice(1))?.tagName)")
    assert set(targets) == {"SECTION"}
    shown = "[...document.querySelectorAll('details pre')].map((node) => node.checkVisibility())"
    assert not any(browser.evaluate(shown))
    browser.evaluate("document.querySelectorAll('details').forEach((node) => { node.open = true; })")
    assert all(browser.evaluate(shown))


def test_on_paper_all_details_are_there_and_the_contents_are_not(browser: Browser, pages: dict[str, Path]):
    browser.open(pages["update"], media="print")
    heights: list[Any] = browser.evaluate(
        "[...document.querySelectorAll('details > :not(summary)')].map((node) => node.getBoundingClientRect().height)"
    )
    assert len(heights) >= 4
    assert all(height > 0 for height in heights)
    assert browser.evaluate("document.querySelector('nav').checkVisibility()") is False


def test_the_policy_stops_what_gets_in(browser: Browser, tmp_path: Path):
    """That the page is safe does not hang on its escaping alone."""
    host, image = written(tmp_path, "host.json", DEVICE), written(tmp_path, "uki.efi", UKIS["kernel"])
    text = invoke("boot", image, "--smbios", host, "--format", "html").out
    bad = "<script>document.title = 'run'</script><img src='nothing.png'><style>body { display: none }</style>"
    file = tmp_path / "page.html"
    file.write_text(text.replace("<main>", f"<main>{bad}"), encoding="utf-8")
    browser.open(file)
    assert browser.evaluate("document.title") == "uki.efi on a-machine"
    assert browser.evaluate("getComputedStyle(document.body).display") == "block"
    failed = [event["params"] for event in browser.events if event.get("method") == "Network.loadingFailed"]
    assert [each.get("blockedReason") for each in failed] == ["csp"]
    assert len(browser.complaints()) >= 3
