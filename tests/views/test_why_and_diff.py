"""What `stubsim why` and `stubsim diff` print for people: the whole texts, and that hostile texts stay texts.

The expected texts are committed; UPDATE_EXPECTED=1 writes them anew, to be read before they are committed.
"""

from __future__ import annotations

import re
from pathlib import Path
from uuid import UUID

import pytest

from scripts import build_fixtures
from stubsim import hosts, uki
from stubsim.explain.diff import diff
from stubsim.explain.why import why
from stubsim.formats import efifw, fdt, hwids, pe
from stubsim.formats.pe import SectionSpec
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.views.diff import diff_json, render_diff
from stubsim.views.html_why import why_page
from stubsim.views.json import boot_json
from stubsim.views.terminal import Screen, render_boot
from stubsim.views.why import render_why, why_json
from tests.conftest import ROOT
from tests.samples import MACHINE
from tests.views.test_terminal import (
    FIELDS,
    HOSTILE,
    KERNEL,
    SGR,
    STUB,
    expected,
    make_host,
    make_uki,
    on_terminal,
    own_chid,
    piped,
)  # fmt: skip

UKI, HOST = "build/fixtures/{}.efi", "fixtures/hosts/{}.json"
DEMO, STUB257 = UKI.format("demo"), UKI.format("stub257")
GUEST, CLOUD, KVM = (
    HOST.format(name) for name in ("example-qemu-vmfwupdate", "google-compute-engine", "redhat-kvm-rhel9")
)
# A devicetree with parts of CHIDs unknown, a firmware, a miss, a refused table; two machines, stubs, UKIs, profiles.
CALLS = {
    "why-devicetree": ("why", UKI.format("devicetrees"), "--smbios", HOST.format("dell-xps13-9345")),
    "why-firmware": ("why", DEMO, "--smbios", CLOUD),
    "why-miss": ("why", DEMO, "--smbios", KVM),
    "why-refused": ("why", STUB257, "--smbios", GUEST),
    "diff-hosts": ("diff", DEMO, "--smbios", GUEST, "--smbios", CLOUD),
    "diff-stubs": ("diff", STUB257, "--smbios", GUEST, "--stub", "257", "--stub", "262"),
    "diff-ukis": ("diff", DEMO, UKI.format("payloads"), "--smbios", CLOUD),
    "diff-profiles": ("diff", UKI.format("profiles"), "--smbios", KVM, "--profile", "0", "--profile", "1"),
    "diff-equal": ("diff", DEMO, DEMO, "--smbios", KVM),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tree")
    build_fixtures.build(folder / "build" / "fixtures")
    (folder / "fixtures").symlink_to(ROOT / "fixtures")
    return folder


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("name", list(CALLS))
def test_the_whole_text_piped(tree: Path, name: str, width: int):
    text = piped(tree, *CALLS[name], COLUMNS=str(width))
    assert text == expected(f"{name}-{width}", text)
    assert all(len(line) <= width for line in text.splitlines())


@pytest.mark.parametrize("name", ["why-refused", "diff-hosts"])
def test_the_whole_text_on_a_terminal(tree: Path, name: str):
    # What is piped is as wide as it likes, unless it is told otherwise.
    plain = piped(tree, *CALLS[name], COLUMNS="80")
    assert on_terminal(tree, *CALLS[name], NO_COLOR="1") == plain
    coloured = on_terminal(tree, *CALLS[name])
    assert SGR.search(coloured)
    assert [line.rstrip() for line in SGR.sub("", coloured).splitlines()] == plain.splitlines()


@pytest.mark.parametrize("target", [Screen(80), Screen(140, True)], ids=["plain", "colour"])
def test_hostile_texts_stay_texts(target: Screen):
    word = HOSTILE.replace("\ud800", "").replace("\0", "").replace("\n", "")
    host = hosts.from_json(make_host(name=word, smbios=MACHINE | {"family": word}), "host.json")
    rows = [(hwids.UEFI_FW, own_chid(9), word, word), (hwids.DEVICETREE, own_chid(9), word, word)]
    table = SectionSpec(".hwids", hwids.build(rows))
    image = uki.Uki(pe.open_bytes(make_uki(name=word, fwid=word), HOSTILE))
    other = uki.Uki(pe.open_bytes(pe.build([SectionSpec(".sdmagic", STUB), table]), HOSTILE))
    known = hosts.from_json(make_host(), "host.json")
    start = Start()
    texts = [
        render_why(why_json(why(boot(each, machine, start), start)), target)
        for each in (image, other)
        for machine in (host, known)
    ]
    booted = boot(image, host, start), boot(other, known, start)
    texts.append(render_diff(diff_json(diff(booted, (start, start)), [word]), target))
    for text in texts:
        plain = SGR.sub("", text)
        assert (text != plain) == target.colour
        assert all(line.isprintable() for line in plain.split("\n"))
        assert r"\x1b[31m" in "".join(plain.split())


@pytest.mark.parametrize("strangers", [4, 5])
def test_devices_of_which_nothing_is_known_are_counted(strangers: int):
    rows = [(hwids.DEVICETREE, UUID(int=number), f"n{number // 2}", "c") for number in range(2, 2 + 2 * strangers)]
    rows += [(hwids.DEVICETREE, own_chid(kind), "own", "c") for kind in (9, 14)]
    rows.append((hwids.DEVICETREE, UUID(int=1), "own", "c"))
    data = make_uki(SectionSpec(".profile", b"ID=p\n"), SectionSpec(".hwids", hwids.build(rows)))
    start = Start(profile=0)
    host = hosts.from_json(make_host(), "host.json")
    text = render_why(why_json(why(boot(uki.Uki(pe.open_bytes(data, "uki.efi")), host, start), start)), Screen(140))
    told = text.partition("Other devicetree entries of .hwids of profile 0\n")[2].partition("\n\n")[0].splitlines()
    assert "this machine's CHID of type 14, which no stub looks up" in told[0]
    assert told[1].split() == [
        "1",
        "entry",
        '"own",',
        "c:",
        "nothing",
        "in",
        "common",
        "is",
        "known;",
        "1",
        "more",
        "of",
        "the",
        "device",
        "are",
        "this",
        "machine's",
    ]
    if strangers == 4:
        assert [line.split()[:2] for line in told[2:]] == [["2", "entries"]] * 4
    else:
        assert [line.strip() for line in told[2:]] == ["10 entries  of 5 other devices: nothing in common is known"]


def test_the_same_choice_by_another_id_is_told():
    """Two machines that share an id too many: nothing differs, but the table says what they are taken for."""
    table = hwids.build([(hwids.UEFI_FW, own_chid(kind), "n", "fw") for kind in (3, 9)])
    sections = [(".sdmagic", STUB), (".hwids", table), (".efifw", efifw.build("fw", b"")), (".linux", KERNEL)]
    image = uki.Uki(pe.open_bytes(pe.build([SectionSpec(name, data) for name, data in sections]), "uki.efi"))
    machines = [hosts.from_json(make_host(smbios=FIELDS | {"product_sku": sku}), "host.json") for sku in ("EX-1", "2")]
    a, b = (boot(image, machine, Start(handover="none")) for machine in machines)
    report = diff_json(diff((a, b), (Start(), Start())), ["host"])
    assert report["equal"]
    assert report["machine"]["same_chids"] == [8, 10, 5, 9, 11]
    told = render_diff(report, Screen(80)).partition(".efifw: the same\n")[2].splitlines()[:3]
    assert [line.strip() for line in told] == [
        "A, B  fw",
        "A     by entry 0 of .hwids and CHID type 3",
        "B     by entry 1 of .hwids and CHID type 9",
    ]


def test_many_entries_are_cut_in_the_text_only():
    rows = [(hwids.DEVICETREE, own_chid(9), f"n{number}", f"c{number}") for number in range(300)]
    rows += [(hwids.DEVICETREE, own_chid(14), f"o{number}", f"c{number}") for number in range(300)]
    data = pe.build([SectionSpec(".sdmagic", STUB), SectionSpec(".hwids", hwids.build(rows))])
    start = Start()
    host = hosts.from_json(make_host(), "host.json")
    report = why_json(why(boot(uki.Uki(pe.open_bytes(data, "uki.efi")), host, start), start))
    (lookup,) = report["choices"]["devicetree"]["lookups"]
    assert [len(lookup[key]) for key in ("matches", "misses")] == [300, 300]
    text = render_why(report, Screen(80))
    assert "and 236 more, all of them with --format json" in re.sub(r"\s+", " ", text)
    assert len(text) < 40_000


@pytest.mark.parametrize(("count", "chosen"), [(70, 69), (70, 3), (600, 599)])
def test_the_chosen_row_is_never_cut(count: int, chosen: int):
    trees = [SectionSpec(".dtbauto", fdt.build([f"example,board{number}"])) for number in range(count)]
    table = hwids.build([(hwids.DEVICETREE, own_chid(9), "n", f"example,board{chosen}")])
    data = pe.build(
        [SectionSpec(".sdmagic", STUB), SectionSpec(".hwids", table), *trees, SectionSpec(".linux", KERNEL)]
    )
    start, host = Start(), hosts.from_json(make_host(), "host.json")
    report = why_json(why(boot(uki.Uki(pe.open_bytes(data, "uki.efi")), host, start), start))
    for text in (render_why(report, Screen(80)), why_page(report)):
        section = next(row for row in report["choices"]["devicetree"]["sections"] if row["verdict"] == "chosen")
        assert re.search(rf"(chosen +{section['section']} |{section['section']}</th>.*\n?.*>chosen<)", text)


def test_a_wildcard_is_no_hash_of_strings():
    table = hwids.build([(hwids.DEVICETREE, UUID(int=0), "n", "example,board")])
    sections = [(".sdmagic", STUB), (".hwids", table), (".dtbauto", fdt.build(["example,board"])), (".linux", KERNEL)]
    data = pe.build([SectionSpec(name, content) for name, content in sections])
    result = boot(uki.Uki(pe.open_bytes(data, "uki.efi")), hosts.from_json(make_host(), "host.json"), Start())
    text = " ".join(render_boot(result, Screen(80)).split())
    assert "which is a wildcard: its CHID is all zeros" in text
    assert "CHID type 17 manufacturer" not in text
    assert "wildcard" in boot_json(result)["selection"]["reasons"][0]
