"""The HTML page of a boot: valid, self-contained, the same bytes on each run, and hostile texts stay texts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import html5lib
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stubsim.chid import chids
from stubsim.formats import hwids
from stubsim.formats.pe import SectionSpec
from stubsim.formats.smbios import Fields
from stubsim.views.html import code, details, facts, headline, hexdump, listing, page, section, table
from tests.conftest import recordings
from tests.samples import (
    COMPATIBLE,
    FULL_UKI,
    MACHINE,
    devicetree,
    execute,
    firmware,
    invoke,
    uki,
    written,
)
from tests.samples import (
    table as hwids_table,
)

RECORDINGS = recordings()
BIOS = b"BIOS" * 0x4000
DEVICE = {
    "name": "a machine",
    "smbios": MACHINE,
    "fw_cfg": {"vmfwupdate": {"dialect": "qemu-v5", "bios_size": 4194304}},
}
UPDATING = uki(hwids_table((hwids.UEFI_FW, "fw")), firmware("other"), firmware(payload=BIOS))
SVG = "{http://www.w3.org/2000/svg}"


def parsed(text: str) -> Element:
    """The page by the rules of HTML5, without a single error."""
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)


def shown(node: Element | None) -> str:
    return "" if node is None else " ".join("".join(node.itertext()).split())


def sections(root: Element) -> dict[str, Element]:
    return {str(part.get("id")): part for part in root.iterfind("body/div/main/section")}


def rows(part: Element, number: int = 0) -> list[list[str]]:
    """The body of a section's table as texts."""
    return [[shown(cell) for cell in row] for row in part.findall(".//table")[number].iterfind("tbody/tr")]


def check(text: str) -> Element:
    """What holds for every page."""
    root = parsed(text)
    tags = {node.tag for node in root.iter() if isinstance(node.tag, str)}
    assert not tags & {"script", "iframe", "object", "embed", "img", "link", "base", "form", "audio", "video", "source"}
    assert root.get("lang") == "en"
    metas = {meta.get("http-equiv") or meta.get("name"): meta.get("content") for meta in root.iterfind("head/meta")}
    assert metas["viewport"] == "width=device-width, initial-scale=1"
    assert metas["color-scheme"] == "light dark"
    policy = str(metas["Content-Security-Policy"])
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    for node in root.iter():
        for name, value in node.attrib.items():
            assert not name.lower().startswith("on")
            assert name != "style"
            if name in ("href", "src", "xlink:href", "action", "data"):
                assert value.startswith("#")
                assert root.find(f".//*[@id='{value[1:]}']") is not None
    ids = [node.get("id") for node in root.iter() if node.get("id")]
    assert len(ids) == len(set(ids))
    styles = " ".join(node.text or "" for node in root.iter() if node.tag in ("style", f"{SVG}style"))
    assert re.findall(r"@import|url\((?!#)|expression", styles) == []
    assert [shown(node) for node in root.iter("h1")] != [""]
    assert len(root.findall(".//h1")) == len(root.findall(".//main")) == 1
    links = [str(link.get("href"))[1:] for link in root.iterfind(".//nav//a")]
    assert links == list(sections(root))
    for part in root.iter("table"):
        assert shown(part.find("caption"))
        width = {len(row) for row in part.iter("tr") if row.find("td[@colspan]") is None}
        assert len(width) == 1
        assert all(head.get("scope") == "col" for head in part.iterfind("thead/tr/th"))
        assert all(head.get("scope") == "row" for head in part.iterfind("tbody/tr/th"))
    return root


def boot_page(*arguments: str | Path, status: int = 0) -> Element:
    result = invoke("boot", *arguments, "--format", "html")
    assert result.status == status, result.err
    return check(result.out)


@pytest.fixture
def host(tmp_path: Path) -> Path:
    return written(tmp_path, "host.json", DEVICE)


def test_a_firmware_update(tmp_path: Path, host: Path):
    root = boot_page(written(tmp_path, "uki.efi", UPDATING), "--smbios", host)
    assert (
        shown(root.find(".//h1"))
        == "Firmware update: fw (64.0 KiB, unknown kind) is handed over by qemu-v5, a proposed protocol"
    )
    assert shown(root.find("head/title")) == "uki.efi on a machine"
    found = sections(root)
    assert [*found] == [
        "summary", "the-chain", "selection", "hardware-ids", "the-uki", "command-line", "initrd", "memory", "fw-cfg",
        "opaque-blob", "fw-blob", "measurements", "variables", "messages", "assumed", "unknown",
    ]  # fmt: skip
    tree = [shown(item.find("div")) for item in found["selection"].iter("li")]
    assert any(text.startswith("type 3: ") and text.endswith('entry 0 "Device"') for text in tree)
    assert "section 6: other differs" in tree
    assert "section 7: fw chosen" in tree
    ids = rows(found["hardware-ids"])
    assert [row[1] for row in ids] == ["17", "16", "15", "3", "6", "8", "10", "4", "5", "7", "9", "11"]
    assert ids[3][-1] == "uefi-fw entry 0"
    assert ids[3][3] == "manufacturer, family, product name, product SKU, baseboard manufacturer, baseboard product"
    picture = found["memory"].find(f".//{SVG}svg")
    assert picture is not None
    in_picture = {text.text for text in picture.iter(f"{SVG}text")}
    assert {row[-1] for row in rows(found["memory"])} <= in_picture
    assert {"firmware, next boot", "BIOS region", "PCI hole", "2 GiB"} <= in_picture
    assert [row[1] for row in rows(found["fw-cfg"])] == ["etc/vmfwupdate/opaque-blob", "etc/vmfwupdate/fw-blob"]
    assert "no released stub performs this hand-over" in shown(found["fw-cfg"])
    assert "0010 " in shown(found["fw-cfg"])
    # PCR 1, whose events are not known, is not among the values.
    assert [shown(link) for link in found["measurements"].iterfind("h2/a")] == []


def test_the_numbers_are_those_of_the_json(tmp_path: Path, host: Path):
    image = written(tmp_path, "uki.efi", UPDATING)
    report = invoke("boot", image, "--smbios", host, "--format", "json").json
    found = sections(boot_page(image, "--smbios", host))
    assert [row[-1] for row in rows(found["measurements"], 1)] == [
        event["digests"]["sha256"] for event in report["measurements"]
    ]
    assert [row[2] for row in rows(found["measurements"], 1)][:2] == [".linux (the name itself)", ".linux"]
    assert rows(found["measurements"])[0][-1] == report["pcrs"]["sha256"]["11"]
    assert [row[-1] for row in rows(found["initrd"])] == [part["sha256"] for part in report["initrd"]["parts"]]
    used = {int(row[0]): row for row in rows(found["the-uki"]) if row[5] == "used"}
    assert {index: row[-1] for index, row in used.items()} == {
        row["index"]: row["digests"]["sha256"] for row in report["sections"]
    }
    named = {row["name"] for row in report["variables"] if row["set_by_stub"]}
    assert named == {row[0] for row in rows(found["variables"])}


def test_what_is_not_known_is_marked_and_linked(tmp_path: Path):
    unsure = written(tmp_path, "host.json", DEVICE | {"unknown": ["smbios.family", "console", "rng"]})
    found = sections(boot_page(written(tmp_path, "uki.efi", UPDATING), "--smbios", unsure))
    for name in ("selection", "hardware-ids", "command-line", "memory", "measurements"):
        heads = [head for level in ("h2", "h3") for head in found[name].iter(level)]
        assert any(link.get("href") == "#unknown" for head in heads for link in head.iter("a")), name
    assert "smbios.family: not known of this machine" in shown(found["unknown"])
    assert "family not known" in shown(found["hardware-ids"])
    assert rows(found["hardware-ids"])[3][2] == "not known the host file says that it is not known: family"
    assert rows(found["hardware-ids"])[0][2] == "absent all zeros to the stub"
    steps = [shown(item.find("div")) for item in found["selection"].iter("li")]
    assert "type 3: not known the host file does not tell" in steps


def test_a_confidential_guest_has_registers_instead_of_pcrs(tmp_path: Path):
    guest = written(tmp_path, "host.json", {"smbios": MACHINE, "confidential": "tdx", "tpm": None})
    found = sections(boot_page(written(tmp_path, "uki.efi", UPDATING), "--smbios", guest))
    assert shown(found["measurements"].find("h2/span")).endswith("no TPM, so no PCR values")
    assert {row[1] for row in rows(found["measurements"])} == {"11"}
    assert {len(row[-1]) for row in rows(found["measurements"])} == {96}
    # What starts is not Linux: the register is as the stub leaves it, and doubted.
    left = found["rtmr-values-after-the-same-measurements"]
    assert any(link.get("href") == "#unknown" for link in left.iter("a"))
    assert "RTMR values" in shown(found["unknown"])


def test_what_to_bear_in_mind_is_on_top(tmp_path: Path, host: Path):
    image = written(tmp_path, "uki.efi", UPDATING)

    def cautions(*arguments: str) -> list[str]:
        header = boot_page(image, "--smbios", host, *arguments).find("body/header")
        return [] if header is None else [shown(mark) for mark in header.iterfind("p/*[@class='badge warn']")]

    assert cautions() == ["proposed protocol", "2 assumed", "1 unknown"]
    assert cautions("--stub", "260.2")[0] == "unverified: no recorded boots behind this"


def test_a_boot_that_fails(tmp_path: Path, host: Path):
    root = boot_page(written(tmp_path, "uki.efi", uki(linux=None)), "--smbios", host, status=1)
    assert shown(root.find(".//h1")) == "The boot fails: Image lacks .linux section. (EFI_NOT_FOUND)"
    header = root.find("body/header")
    assert header is not None
    assert header.get("class") == "outcome bad"
    assert {"summary", "messages", "memory"} <= set(sections(root))


def steps(root: Element, name: str) -> str:
    part = root.find(f".//section[@id='choice-{name}']")
    return " | ".join(shown(item.find("div")) for item in ([] if part is None else part.iter("li")))


def test_why_none_is_chosen(tmp_path: Path, host: Path):
    def tree(*specs: SectionSpec, stub: str = "262", machine: object = {"smbios": MACHINE}, name: str = "efifw") -> str:
        image, own = written(tmp_path, "uki.efi", uki(*specs)), written(tmp_path, "own.json", machine)
        return steps(boot_page(image, "--smbios", own, "--stub", stub), name)

    entry = hwids_table((hwids.UEFI_FW, "fw"))
    nobody = {"smbios": {"manufacturer": "Nobody"}}
    assert tree(entry, firmware(), machine=nobody).endswith("in no entry | No entry matches.")
    assert "There is no .hwids" in tree(firmware())
    assert "section 6: other differs" in tree(entry, firmware("other"))
    assert "section 6: bad .efifw (section 6): offset 0x0: bad magic" in tree(entry, SectionSpec(".efifw", bytes(32)))
    assert "section 7: fw fits too" in tree(entry, firmware(), firmware())
    assert tree(entry, firmware(), stub="260.2") == ""
    both = hwids_table((hwids.DEVICETREE, COMPATIBLE), (hwids.UEFI_FW, "fw"))
    refused = tree(both, devicetree(), firmware(), stub="257", name="dtbauto")
    assert refused.startswith("refused as a whole .hwids (section 5): offset 0x1c: entry 1 has descriptor")


def test_profiles(tmp_path: Path, host: Path):
    own = [SectionSpec(".profile", b"ID=one\n"), hwids_table((hwids.UEFI_FW, "own")), firmware("own")]
    image = written(tmp_path, "uki.efi", uki(hwids_table((hwids.UEFI_FW, "fw")), firmware(), *own))
    root = boot_page(image, "--smbios", host, "--handover", "none")
    text = steps(root, "efifw")
    assert text.startswith("In the base | ")
    assert "section 6: fw fits too, but is not the one that counts" in text
    assert "In profile 0, whose choice goes before the base's" in text
    assert text.endswith("section 9: own chosen")


HOSTILE = [
    "<script>alert(1)</script>", "</style><script>", "\"><img src=x onerror=alert(1)>", "'-alert(1)-'", "&lt;b&gt;",
    "</title></head><body onload=x>", "\x1b[2J\x07", "\u202etxt.exe", "]]>", "<!--", "</svg></pre>",
    "http://example.com/", "javascript:alert(1)", "(see Unknown)", "\n\n<p>", "",
]  # fmt: skip
CHARACTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
TEXTS = st.one_of(st.sampled_from(HOSTILE), st.text(CHARACTERS, max_size=40))
TAGS = {
    "html", "head", "meta", "title", "style", "body", "header", "div", "nav", "main", "footer", "section", "h1", "h2",
    "h3", "p", "ol", "ul", "li", "dl", "dt", "dd", "table", "caption", "thead", "tbody", "tr", "th", "td", "details",
    "summary", "pre", "span", "code", "em", "strong", "a", "figure",
} | {f"{SVG}{tag}" for tag in ("svg", "title", "desc", "style", "rect", "line", "g", "path", "text")}  # fmt: skip


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(TEXTS, min_size=7, max_size=7), raw=st.binary(max_size=30))
def test_hostile_texts_stay_texts(tmp_path: Path, texts: list[str], raw: bytes):
    fwid, name, cmdline, title, version, machine, sku = texts
    own = MACHINE | {"product_sku": sku}
    host = {"name": machine, "smbios": own, "fw_cfg": DEVICE["fw_cfg"]}
    chid_9 = chids(Fields(**{key: text.encode() for key, text in own.items()}), None)[9]
    assert chid_9 is not None
    fwid += "\udcff"
    image = uki(
        SectionSpec(".hwids", hwids.build([(hwids.UEFI_FW, chid_9, name + "\udc80", fwid)])),
        firmware(fwid, BIOS),
        SectionSpec(raw[:8].decode("latin-1").replace("\0", "") or ".x", b"x"),
        SectionSpec(".profile", b"ID=one\nTITLE=" + title.encode()),
        SectionSpec(".cmdline", cmdline.encode() + raw),
        stub=f"systemd-stub 262.1-{version}",
    )
    path, machine_file = written(tmp_path, "uki.efi", image), written(tmp_path, "host.json", host)
    result = invoke("boot", path, "--smbios", machine_file, "--format", "html")
    assert result.status in (0, 1), result.err
    assert {node.tag for node in check(result.out).iter()} <= TAGS
    assert all(character.isprintable() or character == "\n" for character in result.out)


@given(st.one_of(TEXTS, st.text(max_size=20)))
def test_the_elements_with_any_text(text: str):
    written_page = page(
        text,
        headline("stubsim", text, "good", code(text)),
        [
            section(
                text or "x", facts([(text, text)]), listing([text]), details(text, table([text], [[text]], text or "t"))
            )
        ],
    )
    root = parsed(written_page)
    assert {node.tag for node in root.iter()} <= TAGS


def test_long_tables_are_cut_and_say_so():
    root = parsed(
        page("t", headline("c", "h", "good"), [section("s", table(["n"], [[str(n)] for n in range(2000)], "t"))])
    )
    body = root.findall(".//tbody/tr")
    assert len(body) == 501
    assert shown(body[-1]) == "and 1500 more, all of them with --format json"


def test_the_same_bytes_on_each_run(tmp_path: Path, host: Path):
    image = written(tmp_path, "uki.efi", UPDATING)
    first = execute("boot", image, "--smbios", host, "--format", "html", env={"PYTHONHASHSEED": "1"})
    second = execute("boot", image, "--smbios", host, "--format", "html", env={"PYTHONHASHSEED": "2"})
    assert first == second
    assert first.out == invoke("boot", image, "--smbios", host, "--format", "html").out
    target = tmp_path / "boot.html"
    assert invoke("boot", image, "--smbios", host, "--format", "html", "-o", target).status == 0
    assert target.read_text(encoding="utf-8") == first.out


@pytest.mark.parametrize("kind", ["text", "json"])
def test_other_formats_load_nothing_of_it(tmp_path: Path, host: Path, kind: str):
    image = written(tmp_path, "uki.efi", FULL_UKI)
    result = execute("boot", image, "--smbios", host, "--format", kind, env={"PYTHONPROFILEIMPORTTIME": "1"})
    loaded = {line.rpartition("|")[2].strip() for line in result.err.splitlines()}
    assert "stubsim.simulation" in loaded
    assert not [name for name in loaded if name.startswith(("stubsim.views.html", "stubsim.views.m", "xml"))]


def agrees(root: Element, report: Any) -> None:
    """The tree has the sections and entries of the boot."""
    for kind, name in (("devicetree", "dtbauto"), ("uefi-fw", "efifw")):
        part = root.find(f".//section[@id='choice-{name}']")
        good = [] if part is None else [shown(item.find("div")) for item in part.iterfind(".//li[@class='good']")]
        selected, match = report["selection"][name], report["hwids"]["matches"][kind]
        chosen = [text.split()[1] for text in good if text.startswith("section ")]
        assert chosen == ([f"{selected['section']}:"] if selected else [])
        found = [re.findall(r"^type (\d+): .*? entry (\d+)", text)[0] for text in good if text.startswith("type ")]
        if part is not None and match is not None:
            assert (str(match["chid_type"]), str(match["entry"])) in found
        elif not report["profile"] or not selected:
            assert found == []


def test_the_page_says_how_it_was_made(tmp_path: Path):
    """But not where it went: the same boot is the same page."""
    image = written(tmp_path, "a uki.efi", UPDATING)
    host = written(tmp_path, "host.json", DEVICE)
    made = []
    for number, more in enumerate((["-o", tmp_path / "0"], [f"--output={tmp_path / '1'}"])):
        invoke("boot", image, *more, "--smbios", host, "--format", "html", "--memory", "4G")
        made.append((tmp_path / str(number)).read_text())
    assert f"<code>stubsim boot '{image}' --smbios {host} --format html --memory 4G</code>" in made[0]
    assert made[0] == made[1]


def test_many_bytes_are_not_all_shown():
    rows = hexdump(b"x" * (1 << 20)).findall("span")
    assert len(rows) == 4098
    assert rows[-1].text == "and 983040 more bytes, all of them with --format json"


@pytest.mark.skipif(not RECORDINGS, reason="no recordings (STUBSIM_SHARED)")
def test_every_recorded_boot_makes_a_page(monkeypatch: pytest.MonkeyPatch):
    known = {str(tag).removeprefix(SVG) for tag in TAGS}
    for number, folder in enumerate(RECORDINGS):
        monkeypatch.chdir(folder)
        arguments = json.loads((folder / "boot.json").read_text())["args"]
        result = invoke("boot", "uki.efi", "--smbios", "host.json", "--format", "html", *arguments)
        assert result.status in (0, 1), result.err
        assert set(re.findall(r"<([^\s/>!]+)", result.out)) <= known
        # The parser takes a tenth of a second for a page.
        if number % 8 == 0 or "<h2><span>Selection" in result.out:
            report = invoke("boot", "uki.efi", "--smbios", "host.json", "--format", "json", *arguments).json
            agrees(check(result.out), report)
