"""What `why` says is what a boot does: compared with boots, also with those of a table without the winning entry."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubsim import chid
from stubsim.explain.lookup import Lookup, wildcard
from stubsim.explain.selection import KINDS
from stubsim.explain.why import Choice, Why, why
from stubsim.formats import edid, fdt, hwids, pe, smbios
from stubsim.formats.pe import SectionSpec
from stubsim.hosts import Host
from stubsim.result import Boot
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.stub.models import released
from stubsim.uki import Uki
from tests import samples
from tests.samples import devicetree, firmware

DT, FW = hwids.DEVICETREE, hwids.UEFI_FW
NULL = UUID(int=0)
OTHER = UUID("0a0b0c0d-0000-4000-8000-000000000001")
FIELDS = smbios.Fields(**{key: text.encode() for key, text in samples.MACHINE.items()})
HOST = Host(fields=FIELDS, tpm=None)
PANEL = edid.build("ABC12ef")
WITH_PANEL = HOST._replace(edid=PANEL)
OWN = {type_: value for type_, value in chid.chids(FIELDS, "ABC12ef").items() if value is not None}

Row = tuple[int, UUID, str]


def made(rows: list[Row], *more: SectionSpec, stub: str = "262.1-1", **options: Any) -> Uki:
    """A UKI of that table and those sections; an entry is named by its string."""
    table = SectionSpec(".hwids", hwids.build([(kind, own, f"of {string}", string) for kind, own, string in rows]))
    data = samples.uki(table, *more, stub=f"systemd-stub {stub}", **options)
    return Uki(pe.open_bytes(data, "uki.efi"))


def asked(image: Uki, host: Host = HOST, **options: Any) -> Why:
    start = Start(**options)
    return why(boot(image, host, start), start)


def choice(answer: Why, kind: int = DT) -> Choice:
    return next(row for row in answer.choices if row.kind == kind)


def lookup(answer: Why, kind: int = DT) -> Lookup:
    (only,) = choice(answer, kind).lookups
    return only


def verdicts(answer: Why, kind: int = DT) -> list[tuple[str, str]]:
    return [(blob.verdict, blob.why) for blob in choice(answer, kind).blobs]


# --- any table, any stub ---------------------------------------------------------------------------------------------


class Case(NamedTuple):
    rows: list[Row]
    blobs: list[tuple[int, str]]
    host: Host
    stub: str

    def boot(self, rows: list[Row] | None = None) -> Boot:
        blobs = [(devicetree if kind == DT else firmware)(string) for kind, string in self.blobs]
        return boot(made(self.rows if rows is None else rows, *blobs), self.host, Start(stub=self.stub))


STRINGS = st.sampled_from(["a", "b", "c"])
GUIDS = st.sampled_from([*OWN.values(), *chid.chids(FIELDS, None).values(), NULL, OTHER]).map(lambda own: own or NULL)
HOSTS = st.builds(
    lambda panel, tree, unknown: HOST._replace(edid=panel, devicetree=tree, unknown=frozenset(unknown)),
    st.sampled_from([None, PANEL, b"no EDID"]),
    st.sampled_from([None, None, None, fdt.build(["a"]), b"garbage"]),
    st.lists(st.sampled_from(["edid", "smbios.family", "smbios.product_sku", "smbios"]), max_size=1),
)
STUBS = [*(model.id for model in released()), "next"]
CASES = st.builds(
    Case,
    st.lists(st.tuples(st.sampled_from([DT, FW]), GUIDS, STRINGS), max_size=8),
    st.lists(st.tuples(st.sampled_from([DT, FW]), STRINGS), max_size=5),
    HOSTS,
    st.sampled_from(STUBS),
)


@settings(max_examples=300)
@given(CASES)
def test_the_winner_is_the_boots(case: Case):
    booted = case.boot()
    assert booted.sections is not None
    answer = why(booted, Start(stub=case.stub))
    for row in answer.choices:
        match = booted.sections.matches[row.kind]
        winner = next((each.winner for each in row.lookups), None)
        assert (match and (match.entry, match.chid_type)) == (winner and tuple(winner))
        section = booted.sections.section(KINDS[row.kind].section)
        assert row.section == section
        assert [blob.section for blob in row.blobs if blob.verdict == "chosen"] == ([section] if section else [])
        for each in row.lookups:
            found = {candidate.entry.index for candidate in each.candidates}
            assert found | set(each.misses) == {entry.index for entry in each.entries}
            assert not found & set(each.misses)


@settings(max_examples=300)
@given(CASES)
def test_the_runner_up_is_found_when_the_winner_is_taken_out(case: Case):
    """Really taken out: the table is built without it and booted."""
    answer = why(case.boot(), Start(stub=case.stub))
    for row in answer.choices:
        for each in row.lookups:
            if each.winner is None:
                continue
            rest = [entry for index, entry in enumerate(case.rows) if index != each.winner.entry.index]
            without = case.boot(rest)
            assert without.sections is not None
            match = without.sections.matches[row.kind]
            expected = each.runner_up and (each.runner_up.entry.chid, each.runner_up.entry.string, each.runner_up.type)
            assert (match and (match.entry.chid, match.entry.string, match.chid_type)) == expected


@settings(max_examples=100)
@given(CASES)
def test_the_other_stubs_are_booted_ones(case: Case):
    answer = why(case.boot(), Start(stub=case.stub))
    assert sorted(id_ for other in answer.others for id_ in other.ids) == sorted(STUBS)
    pairs = [(other, id_) for other in answer.others for id_ in {other.ids[0], other.model.id}]
    for other, id_ in pairs:
        assert other.model.id in other.ids
        booted = case._replace(stub=id_).boot()
        assert booted.sections is not None
        found = {kind: booted.sections.section(words.section) for kind, words in KINDS.items()}
        assert {kind: row and row.section for kind, row in other.chosen.items()} == found
        assert other.same == (found == {row.kind: row.section for row in answer.choices})
        assert other.same == (not other.reasons)


@settings(max_examples=200)
@given(CASES, st.sampled_from(["a", "b", "Family", "SKU", ""]), st.sampled_from([None, PANEL]))
def test_what_is_not_called_undecided_does_not_depend_on_the_unknown(case: Case, text: str, panel: bytes | None):
    """Any machine that the host file leaves open gets the same, where nothing is said to be undecided."""
    answer = why(case.boot(), Start(stub=case.stub))
    known = case.host._replace(unknown=frozenset())
    if "edid" in case.host.unknown:
        known = known._replace(edid=panel)
    for key in case.host.unknown:
        if key.startswith("smbios."):
            known = known._replace(fields=known.fields._replace(**{key.partition(".")[2]: text.encode()}))
        elif key == "smbios":
            known = known._replace(fields=smbios.Fields(manufacturer=text.encode()))
    real = case._replace(host=known).boot()
    assert real.sections is not None
    for row in answer.choices:
        if not row.undecided:
            assert real.sections.section(KINDS[row.kind].section) == row.section


# --- one rule at a time ----------------------------------------------------------------------------------------------


def test_the_order_is_the_stubs():
    rows = [(DT, OWN[7], "b"), (DT, OTHER, "c"), (DT, OWN[3], "a"), (DT, OWN[3], "b")]
    found = lookup(asked(made(rows, devicetree("a"), devicetree("b"))))
    assert [(candidate.entry.index, candidate.type) for candidate in found.candidates] == [(2, 3), (3, 3), (0, 7)]
    assert found.alternative is not None
    assert found.alternative.entry.index == 3
    assert found.misses == {1: None}


@pytest.mark.parametrize(
    ("host", "stub", "text"),
    [
        (HOST, "257", "no CHID that stub 257.13 looks up is ever absent"),
        (WITH_PANEL, "262", "this one has a panel"),
        (HOST._replace(unknown=frozenset({"edid"})), "262", "if the machine has no valid EDID, which is not known"),
    ],
)
def test_an_all_zero_guid_that_is_not_found(host: Host, stub: str, text: str):
    found = lookup(asked(made([(DT, NULL, "a")], devicetree("a")), host, stub=stub))
    assert found.candidates == ()
    assert text in str(found.misses[0])


@pytest.mark.parametrize("panel", [None, b"no EDID"])
def test_an_all_zero_guid_that_is_found(panel: bytes | None):
    found = lookup(asked(made([(DT, OWN[3], "b"), (DT, NULL, "a")]), HOST._replace(edid=panel)))
    assert found.winner is not None
    assert (found.winner.entry.index, found.winner.type) == (1, 17)
    assert "looked up as all zeros" in str(wildcard(found.winner))
    assert found.runner_up is not None
    assert wildcard(found.runner_up) is None


def test_an_entry_of_the_other_kind():
    answer = asked(made([(FW, OWN[9], "fw"), (DT, OTHER, "a")], devicetree("a"), firmware("fw")))
    assert lookup(answer).asides == ("entry 0 has this machine's CHID of type 9, but is uefi-fw, not devicetree",)
    # Nobody needs an explanation for what is found.
    assert lookup(answer, FW).asides == ()


def test_rows_behind_the_end():
    row = (hwids.DEVICETREE << 28 | 28).to_bytes(4, "little") + OWN[3].bytes_le + bytes(8)
    for data, text in (
        (bytes(28) + row, "the row at offset 0x1c has this machine's CHID of type 3, but the table ends at offset 0x0"),
        (row, "the row at offset 0x0 has this machine's CHID of type 3, but an entry counts only if at least one byte "
         "follows it"),
        (bytes(28) + row.replace(OWN[3].bytes_le, OTHER.bytes_le), None),
        (bytes(28) + b"\x1d" + row[1:], None),
    ):  # fmt: skip
        image = Uki(pe.open_bytes(samples.uki(SectionSpec(".hwids", data), devicetree("a")), "uki.efi"))
        assert lookup(asked(image)).asides == (() if text is None else (text,))


def test_sections_and_what_becomes_of_them():
    rows = [(DT, OWN[3], "b")]
    trees = [
        SectionSpec(".dtbauto", b"no devicetree".ljust(64)),
        SectionSpec(".dtbauto", fdt.build(["a", "b"])),
        SectionSpec(".dtbauto", fdt.build(["B"])),
        devicetree("b"),
        devicetree("b"),
    ]
    answer = asked(made(rows, *trees))
    assert [verdict for verdict, _ in verdicts(answer)] == ["bad", "other", "other", "chosen", "later"]
    texts = [text for _, text in verdicts(answer)]
    assert "not a devicetree" in texts[0]
    assert texts[1] == "has 'b', but not as its first compatible"
    assert texts[2] == "its compatible differs from 'b' in case or blanks"
    assert texts[4] == f"section {choice(answer).blobs[3].section.index} fits as well and comes first"
    ignored = asked(made([(DT, OTHER, "b")], *trees[3:]))
    assert verdicts(ignored) == [("ignored", "no compatible is looked for")] * 2


def test_a_profile_has_a_table_of_its_own():
    """Its match overrides the base's only where it has the section, too."""
    own = SectionSpec(".hwids", hwids.build([(DT, OWN[9], "of c", "c"), (DT, OWN[3], "of b", "b")]))
    for tree, expected in ((devicetree("b"), ["overridden", "chosen"]), (devicetree("x"), ["chosen", "other"])):
        image = made([(DT, OWN[3], "a")], devicetree("a"), SectionSpec(".profile", b"ID=p\n"), own, tree)
        answer = asked(image, profile=0)
        assert [verdict for verdict, _ in verdicts(answer)] == expected
        assert [each.profile for each in choice(answer).lookups] == [None, 0]
        led = choice(answer).led_by
        assert led is not None
        assert led.profile == (0 if expected[1] == "chosen" else None)
        assert ("'b'" if expected[1] == "chosen" else "'a'") in choice(answer).reason
    other = SectionSpec(".profile", b"ID=q\n")
    image = made([(DT, OWN[3], "a")], devicetree("a"), SectionSpec(".profile", b"ID=p\n"), other, own, devicetree("b"))
    assert verdicts(asked(image)) == [("chosen", "the first that fits"), ("ignored", "only for profile 1")]
    image = made([(DT, OWN[3], "a")], SectionSpec(".profile", b"ID=p\n"), devicetree("a"))
    assert verdicts(asked(image)) == [("ignored", "no .hwids in profile 0 to choose by")]


def test_a_firmware_devicetree_decides_alone():
    host = HOST._replace(devicetree=fdt.build(["b", "soc"]))
    answer = asked(made([(DT, OWN[3], "a")], devicetree("a"), devicetree("b")), host)
    assert [verdict for verdict, _ in verdicts(answer)] == ["other", "chosen"]
    found = lookup(answer)
    assert found.winner is None
    assert found.prevented == "the firmware brings a devicetree, so the stub looks for no devicetree entries"
    assert found.candidates[0].entry.index == 0
    garbage = asked(made([(DT, OWN[3], "a")], devicetree("a")), HOST._replace(devicetree=b"garbage"))
    assert verdicts(garbage) == [("ignored", "no compatible is looked for")]
    assert "the kernel gets the firmware's own devicetree" in choice(garbage).meaning


def test_why_a_stub_does_not_look():
    rows = [(DT, OWN[3], "a"), (FW, OWN[3], "fw")]
    image = made(rows, devicetree("a"), firmware("fw"))
    texts = {stub: [str(lookup(asked(image, stub=stub), kind).prevented) for kind in KINDS] for stub in ("257", "259")}
    assert texts["257"][0].startswith("the whole table is refused: .hwids (section 5): offset 0x1c: entry 1 has ")
    assert texts["257"][1] == "stub 257.13 knows no entries of this kind"
    assert texts["259"][0] == "None"
    assert texts["259"][1] == (
        "stub 259.8 never looks for firmware entries (those that do: 260.3, 260.4, 261.1 to 262)"
    )
    assert choice(asked(image, stub="256")).lookups == ()
    others = {id_: other for other in asked(image).others for id_ in other.ids}
    reasons = {id_: other.reasons for id_, other in others.items()}
    assert others["258.0"] is others["261.0"] is not others["260.3"]
    assert reasons["257.13"][DT].startswith("the whole table is refused: .hwids (section 5): offset 0x1c: ")
    assert reasons["258.0"].keys() == {FW}
    assert reasons["258.0"][FW].startswith("stub 261.0 never looks for firmware entries")
    assert reasons["260.3"] == reasons["262.1"] == reasons["next"] == {}


def test_an_offset_for_which_262_refuses():
    data = bytearray(made([(DT, OWN[3], "a"), (DT, OTHER, "b")]).image.data)
    start = bytes(data).index(OWN[3].bytes_le) - 4
    data[start + 28 + 20 : start + 28 + 24] = (0xFFFF).to_bytes(4, "little")
    answer = asked(Uki(pe.open_bytes(bytes(data), "uki.efi")))
    assert "name of entry 1 at 0xffff is outside" in str(lookup(answer).prevented)
    assert lookup(answer).winner is None
    assert [candidate.entry.index for candidate in lookup(answer).candidates] == [0]


# --- whether it matters ----------------------------------------------------------------------------------------------


def meaning(image: Uki, host: Host = HOST, kind: int = DT, **options: Any) -> str:
    return " | ".join(choice(asked(image, host, **options), kind).meaning)


def test_what_a_miss_means():
    rows, miss = [(DT, OTHER, "a")], "HWID matching failed, no DT blob will be selected"
    text = meaning(made(rows, devicetree("a")), stub="257")
    assert "does no harm on an x86 machine" in text
    assert f'the stub prints "{miss}.": shown as an error, but stub 257.13 says so of every machine' in text
    text = meaning(made(rows, devicetree("a")))
    assert f'stub 262.1 is silent about that at its usual log level; for 257 to 259.3 it is the error "{miss}."' in text
    arm = {"machine": 0xAA64, "linux": pe.build([SectionSpec(".text", b"\xf4" * 512)], machine=0xAA64)}
    text = meaning(made(rows, devicetree("a"), **arm))
    assert "fatal on one that has none; the host file does not say which" in text
    text = meaning(made(rows, devicetree("a"), SectionSpec(".dtb", fdt.build(["plain"]))))
    assert text.startswith("the kernel gets the devicetree of .dtb | ")
    text = meaning(made([(DT, OWN[3], "x"), (DT, OWN[4], "a")], devicetree("a")))
    assert text.startswith("the stub takes the first entry it finds, and does not go on to the next ")
    assert "silent" not in text


def test_what_a_refused_table_means():
    image = made([(DT, OWN[3], "a"), (FW, OWN[3], "fw")], devicetree("a"))
    text = meaning(image, stub="257")
    assert 'Unsupported": an error, the table is refused as a whole and no machine is matched by it' in text


def test_a_miss_in_a_profile_beside_a_refused_table_in_the_base():
    """Each table has a message of its own, and only one of them is an error."""
    refused = SectionSpec(".hwids", b"\x1c\0\0\x30" + bytes(60))
    own = SectionSpec(".hwids", hwids.build([(DT, OTHER, "n", "a")]))
    data = samples.uki(refused, devicetree("a"), SectionSpec(".profile", b"ID=p\n"), own)
    host = HOST._replace(oem_strings=(b"io.systemd.boot.loglevel=debug",))
    text = meaning(Uki(pe.open_bytes(data, "uki.efi")), host, profile=0)
    assert 'selected: Unsupported": an error' in text
    assert 'selected: Not found": no error' in text


def test_what_a_firmware_means():
    image = made([(FW, OWN[3], "fw")], firmware("fw"))
    assert meaning(image, kind=FW).startswith("it is measured into PCR 11, ")
    assert meaning(image, HOST._replace(fields=smbios.Fields()), kind=FW) == (
        "the machine keeps its firmware and the kernel starts as usual"
    )
    assert meaning(made([]), kind=FW) == ""


def test_the_message_at_debug_level_is_no_error():
    host = HOST._replace(oem_strings=(b"io.systemd.boot.loglevel=debug",))
    text = meaning(made([(DT, OTHER, "a")], devicetree("a")), host)
    assert 'no DT blob will be selected: Not found": no error, no entry is for this machine' in text


# --- boots that fail -------------------------------------------------------------------------------------------------


def test_a_boot_that_fails_is_explained_as_far_as_it_came():
    image = made([(DT, OWN[3], "a")], devicetree("a"))
    wrong = asked(image, HOST._replace(architecture="aa64"))
    assert choice(wrong).reason == "the boot ends before the stub chooses: The image is for x64, the machine is aa64."
    assert choice(wrong).section is None
    assert lookup(wrong).candidates[0].entry.index == 0
    assert verdicts(wrong) == [("ignored", "it fits, but the boot ends before")]
    assert wrong.others == ()
    missing = asked(image, profile=3)
    assert missing.boot.outcome.status == "failed"
    assert [other.failed for other in missing.others if "262.1" in other.ids] == [missing.boot.outcome.message]
    # 256 knows no profiles, so there it boots.
    assert missing.others[0].failed is None
    refused = asked(made([(DT, OWN[3], "a")], devicetree("a"), linux=b"no kernel"))
    assert refused.boot.outcome.status == "failed"
    assert [verdict for verdict, _ in verdicts(refused)] == ["chosen"]
