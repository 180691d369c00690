"""Each rule: what it finds, where it says it is, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim import chid
from stubsim.formats import efifw, hwids, smbios
from stubsim.formats.pe import SectionSpec
from stubsim.hosts import Host
from stubsim.lint import RULES, SEVERITIES, Finding, lint
from stubsim.lint.identities import GENERIC
from stubsim.lint.subjects import read
from stubsim.stub.chid_match import chid_match
from tests.samples import CHIDS, COMPATIBLE, MACHINE, ROOT, devicetree, firmware, table, uki, written
from tests.strategies import mutated
from tests.stub.harness import run

A, B, C = (UUID(int=number << 64 | number) for number in (1, 2, 3))
NULL = UUID(int=0)
TREE, FIRMWARE = hwids.DEVICETREE, hwids.UEFI_FW


def description(folder: Path, file: str, *chids: object, **changes: Any) -> Path:
    value = {"type": "devicetree", "name": "Lab Board", "compatible": "lab,board", "hwids": [str(one) for one in chids]}
    value |= changes
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    return written(folder, file, {key: item for key, item in value.items() if item is not ...})


def section(folder: Path, *rows: tuple[int, UUID, str, str]) -> Path:
    return written(folder, "table.hwids", hwids.build(rows))


def found(*paths: Path, machines: Sequence[tuple[str, Host]] = ()) -> list[Finding]:
    return list(lint([str(path) for path in paths], machines))


def codes(*paths: Path, machines: Sequence[tuple[str, Host]] = ()) -> list[tuple[str, str]]:
    return [(one.rule.code, one.severity) for one in found(*paths, machines=machines)]


def one(*paths: Path, code: str, machines: Sequence[tuple[str, Host]] = ()) -> Finding:
    """The only finding, which is of that rule."""
    findings = found(*paths, machines=machines)
    assert [finding.rule.code for finding in findings] == [code], [finding.message for finding in findings]
    return findings[0]


def host(**changes: str | None) -> Host:
    fields = {key: text for key, text in (MACHINE | changes).items() if text is not None}
    return Host(fields=smbios.Fields(**{key: text.encode() for key, text in fields.items()}))


def test_the_table():
    assert len({rule.code for rule in RULES}) == len({rule.name for rule in RULES}) == len(RULES)
    assert [rule.code for rule in RULES] == sorted(rule.code for rule in RULES)
    for rule in RULES:
        assert rule.severity in SEVERITIES
        assert rule.explanation.endswith(".")
        assert rule.fix.endswith(".")


def test_a_good_set(tmp_path: Path):
    description(tmp_path, "a.json", A, B)
    description(tmp_path, "b.json", C, compatible="lab,other", name="Lab Other")
    assert found(tmp_path) == []


# --- descriptions ----------------------------------------------------------------------------------------------------


def test_a_description_that_ukify_refuses_hides_no_other(tmp_path: Path):
    bad = written(tmp_path, "a.json", b'{\n"type": "devicetree"\n,}')
    description(tmp_path, "sub/b.json", "no id")
    description(tmp_path, "c.json", NULL)
    first, second, zero = found(tmp_path)
    assert (first.rule.code, first.severity, first.place.path, first.place.line) == ("HW001", "error", str(bad), 3)
    assert (second.rule.code, second.place.path) == ("HW001", str(tmp_path / "sub" / "b.json"))
    assert "hwids[0]" in second.message
    assert zero.rule.code == "HW203"


def test_keys(tmp_path: Path):
    description(tmp_path, "a.json", A, hwid=[str(B)], comment="x")
    finding = one(tmp_path, code="HW002")
    assert finding.severity == "note"
    assert "'hwid', 'comment'" in finding.message
    written(
        tmp_path,
        "a.json",
        b'{"type": "uefi-fw", "name": "L", "fwid": "x", "name": "M", "hwids": ["%s"]}' % str(A).encode(),
    )
    assert [code for code, _ in codes(tmp_path)] == ["HW003", "HW102"]


def test_no_ids(tmp_path: Path):
    description(tmp_path, "a.json")
    assert one(tmp_path, code="HW004").severity == "warning"


# --- tables ----------------------------------------------------------------------------------------------------------


def patched(path: Path, at: int, value: int) -> Path:
    data = bytearray(path.read_bytes())
    data[at : at + 4] = value.to_bytes(4, "little")
    path.write_bytes(data)
    return path


def test_a_refused_table(tmp_path: Path):
    good = section(tmp_path, (TREE, A, "L", "a"), (TREE, B, "L", "b"))
    assert found(good) == []
    finding = one(patched(good, 28 + 24, 0x1000), code="HW101")
    assert (finding.severity, finding.place.entry, finding.place.offset) == ("error", 1, 28)
    assert "string of entry 1" in finding.message
    assert finding.message.endswith("refused by stubs 260.3, 260.4, 261.1 to 262")
    assert [code for code, _ in codes(patched(good, 0, 0x3000001C))] == ["HW101"]
    assert "stubs 257 to 262" in one(good, code="HW101").message


def test_a_string_without_end(tmp_path: Path):
    data = hwids.build([(TREE, A, "L", "a")])
    assert one(written(tmp_path, "t", data[:-1]), code="HW101").message.startswith("string of entry 0")


def test_firmware_and_older_stubs(tmp_path: Path):
    description(tmp_path, "a.json", A)
    path = description(tmp_path, "b.json", A, B, type="uefi-fw", compatible=..., fwid="fw")
    finding = one(tmp_path, code="HW102")
    assert (finding.severity, finding.place.path, len(finding.related)) == ("note", str(path), 1)
    assert "the whole table is refused by stub 257, devicetrees included" in finding.message
    assert "they are never matched by stubs 258 to 260.2, 261.0" in finding.message


@pytest.mark.parametrize(
    ("stub", "severity"),
    [("257.13-1", "error"), ("258.3", "warning"), ("261", "warning"), ("262.1-1", None), ("263", None)],
)
def test_firmware_and_the_stub_beside_it(tmp_path: Path, stub: str, severity: str | None):
    image = written(tmp_path, "uki.efi", uki(table((FIRMWARE, "fw")), firmware(), stub=f"systemd-stub {stub}"))
    assert codes(image) == ([] if severity is None else [("HW102", severity)])


def test_another_size_in_the_descriptor(tmp_path: Path):
    finding = one(patched(section(tmp_path, (TREE, A, "L", "a")), 0, 0x10000020), code="HW102")
    assert "refused by stub 257," in finding.message
    assert "258" not in finding.message


def test_an_end_that_is_none(tmp_path: Path):
    whole = hwids.build([(TREE, A, "L", "a"), (TREE, B, "L", "b")])
    entries, strings = whole[:56], whole[84:]
    # As many bytes as entries: the last one does not count (recorded: hwids-noeol-exact).
    no_names = b"".join(entries[at : at + 20] + bytes(8) for at in (0, 28))
    assert codes(written(tmp_path, "a", no_names)) == [("HW103", "error"), ("HW105", "warning")]
    # Strings in the place of the next entry.
    assert {code for code, _ in codes(written(tmp_path, "b", entries + b"x" * 40 + strings))} == {"HW101", "HW103"}
    assert ("HW103", "warning") in codes(written(tmp_path, "c", no_names + b"\1"))
    assert codes(written(tmp_path, "d", no_names + bytes(28))) == [("HW105", "warning")] * 2


def test_entries_behind_the_end(tmp_path: Path):
    whole = hwids.build([(TREE, A, "L", "a"), (TREE, B, "L", "b"), (TREE, C, "L", "c")])
    cut = whole[:28] + bytes(28) + whole[56:]
    finding = one(written(tmp_path, "t", cut), code="HW104")
    assert finding.message.startswith("1 entry behind")
    assert finding.place.offset == finding.place.file_offset == 56
    lost = whole[:28] + bytes(4) + whole[32:]
    assert ["descriptor 0" in one.message for one in found(written(tmp_path, "t", lost))] == [True, False]
    assert found(written(tmp_path, "t", whole)) == []


def test_no_string_and_no_entries(tmp_path: Path):
    finding = one(patched(section(tmp_path, (TREE, A, "L", "a")), 24, 0), code="HW105")
    assert "no compatible" in finding.message
    for data in (b"", bytes(28), bytes(28) + b"Lab\0"):
        assert codes(written(tmp_path, "t", data)) == [("HW106", "warning")]


# --- ids -------------------------------------------------------------------------------------------------------------


def test_one_id_for_two(tmp_path: Path):
    first = description(tmp_path, "a.json", A, B)
    second = description(tmp_path, "b.json", C, B, A, compatible="lab,other")
    finding = one(tmp_path, code="HW201")
    assert (finding.severity, finding.place.path, finding.place.line) == ("warning", str(second), 1)
    assert {place.path for place in finding.related} == {str(first), str(second)}
    assert "2 ids (type unknown) of 'lab,other' stand earlier for 'lab,board'" in finding.message


def test_an_id_that_no_stub_looks_for_is_no_clash(tmp_path: Path):
    machine = Host(fields=smbios.Fields(manufacturer=b"Lab", product_name=b"X", enclosure_type=6))
    enclosure, product = chid.hash_texts(["Lab", "6"]), chid.hash_texts(["Lab", "X"])
    description(tmp_path, "a.json", enclosure, A)
    description(tmp_path, "b.json", enclosure, B, compatible="lab,other")
    # It may be a SKU, unless one of the two is that machine's.
    assert "(type unknown)" in one(tmp_path, code="HW201", machines=[("m", machine)]).message
    description(tmp_path, "b.json", enclosure, product, compatible="lab,other")
    assert "HW201" not in dict(codes(tmp_path, machines=[("m", machine)]))
    assert "HW201" in dict(codes(tmp_path))


def test_order_is_that_of_the_files(tmp_path: Path):
    description(tmp_path, "b.json", A)
    later = description(tmp_path, "c.json", A, compatible="lab,other")
    assert one(tmp_path, code="HW201").place.path == str(later)
    earlier = description(tmp_path, "a/z.json", A, compatible="lab,third")
    findings = found(tmp_path)
    assert [finding.rule.code for finding in findings] == ["HW201", "HW201"]
    assert all(finding.related[-1].path == str(earlier) for finding in findings)


def test_the_same_id_for_a_devicetree_and_a_firmware_is_no_clash(tmp_path: Path):
    path = section(tmp_path, (TREE, A, "L", "a"), (FIRMWARE, A, "L", "b"))
    assert [code for code, _ in codes(path)] == ["HW102"]


def test_repeated(tmp_path: Path):
    path = description(tmp_path, "a.json", A, B, str(A).upper())
    finding = one(tmp_path, code="HW202")
    assert finding.severity == "note"
    assert (finding.place.json_path, finding.related[0].json_path) == ("$.hwids[2]", "$.hwids[0]")
    description(tmp_path, "a.json", A, B)
    description(tmp_path, "b.json", A, name="Lab Other")
    assert one(tmp_path, code="HW202").place.path == str(tmp_path / "b.json")
    assert path.exists()
    again = section(tmp_path, (TREE, A, "L", "a"), (TREE, A, "L", "a"))
    assert one(again, code="HW202").place.entry == 1


def test_zero(tmp_path: Path):
    path = section(tmp_path, (TREE, A, "L", "a"), (FIRMWARE, NULL, "L", "b"))
    findings = {finding.rule.code: finding for finding in found(path)}
    assert findings["HW203"].severity == "error"
    assert findings["HW203"].place.entry == 1


def test_a_name_gives_the_manufacturer_away(tmp_path: Path):
    path = description(tmp_path, "a.json", A, chid.hash_texts(["Lab Inc."]), name="Lab Inc. Board Ten")
    never = one(path, code="HW204")
    assert (never.severity, never.place.json_path) == ("note", "$.hwids[1]")
    assert "1 of 2 ids of 'lab,board' is of a type that no stub looks for: type 14" in never.message


def test_a_name_that_another_device_has_as_well(tmp_path: Path):
    """What stands behind the manufacturer may be the product, so alone it proves nothing."""
    family = chid.hash_texts(["Lab Inc.", "Board Ten"])
    path = description(tmp_path, "a.json", A, family, name="Lab Inc. Board Ten")
    assert found(path) == []
    description(tmp_path, "b.json", B, compatible="lab,other", name="Lab Inc. Board Ten")
    vague = one(tmp_path, code="HW208")
    assert (vague.severity, vague.place.json_path) == ("warning", "$.hwids[1]")
    assert "'Lab Inc.' & 'Board Ten', and 'lab,other' is called that" in vague.message
    machine = host(manufacturer="Lab Inc.", family="Board Ten")
    path = description(tmp_path, "a.json", chid.chids(machine.fields, None)[3], family, name="Lab Inc. Board Ten")
    assert one(path, code="HW208", machines=[("m", machine)]).severity == "note"
    # Type 9 of a product that is called like its family.
    machine = host(manufacturer="Lab Inc.", family="Board Ten", product_name="Board Ten")
    assert found(path, machines=[("m", machine)]) == []


def test_nothing_but_ids_that_no_stub_looks_for(tmp_path: Path):
    path = description(tmp_path, "a.json", chid.hash_texts(["Lab"]))
    assert one(path, code="HW204").severity == "error"


ALL = [own for own in CHIDS.values() if own]


def test_the_types_of_a_machines_ids(tmp_path: Path):
    fields = smbios.Fields(
        **{key: text.encode() for key, text in MACHINE.items()},
        bios_vendor=b"V", bios_version=b"W", bios_major=1, bios_minor=2, enclosure_type=10,
    )  # fmt: skip
    machine = Host(fields=fields)
    own = chid.chids(fields, None)
    path = description(tmp_path, "a.json", *[own[kind] for kind in range(15)], name="Other")
    assert codes(path) == []
    never, vague = found(path, machines=[("m", machine)])
    assert never.rule.code == "HW204"
    assert never.message.startswith(
        "6 of 15 ids of 'lab,board' are of types that no stub looks for: type 0, 1, 2, 12, 13, 14"
    )
    assert vague.rule.code == "HW208"
    extra = chid.hash_texts(["Example", "Family", "Product", "V"])
    path = description(tmp_path, "a.json", own[3], extra, name="Other")
    assert "1 of fwupd's extra ids" in one(path, code="HW204", machines=[("m", machine)]).message


def test_a_kind_of_enclosure_may_be_the_sku_of_another_machine(tmp_path: Path):
    """The text is the same, so only the device's own machine proves that it is the enclosure."""
    other = Host(fields=smbios.Fields(manufacturer=b"Lab", product_name=b"X", enclosure_type=6))
    mine = Host(fields=smbios.Fields(manufacturer=b"Lab", product_name=b"Y", product_sku=b"6", enclosure_type=10))
    path = description(tmp_path, "a.json", chid.hash_texts(["Lab", "6"]), chid.hash_texts(["Lab", "Y"]))
    assert codes(path, machines=[("other", other)]) == []
    assert codes(path, machines=[("mine", mine), ("other", other)]) == []
    own = description(tmp_path, "a.json", chid.hash_texts(["Lab", "6"]), chid.hash_texts(["Lab", "X"]))
    assert codes(own, machines=[("other", other)]) == [("HW204", "note")]


def test_strings_that_were_not_stripped(tmp_path: Path):
    machine = host(product_sku="0C85 ", manufacturer=" Example")
    made = [
        chid.hash_texts([" Example", "0C85 "]),  # nothing stripped
        chid.hash_texts(["Example", "0C85"]),  # only blanks
        chid.hash_texts(["Example", "Product"]),  # right
    ]
    path = description(tmp_path, "a.json", *made)
    finding = one(path, code="HW205", machines=[("m", machine)])
    assert finding.severity == "warning"
    assert finding.message.startswith("2 of 3 ids of 'lab,board' are made from strings that were not stripped")
    assert "type 9 is left for m" in finding.message
    assert str(chid.hash_texts(["Example", "C85"])) in finding.fix
    assert found(path) == []


def test_an_unknown_string_proves_nothing(tmp_path: Path):
    machine = host(product_sku="0C85")._replace(unknown=frozenset({"smbios.product_sku"}))
    path = description(tmp_path, "a.json", chid.hash_texts(["Example", "0C85"]))
    assert found(path, machines=[("m", machine)]) == []


@pytest.mark.parametrize("generic", ["", "Default string", "To be filled by O.E.M.", "SKU", "Not Specified"])
def test_generic_strings(tmp_path: Path, generic: str):
    path = description(tmp_path, "a.json", A, chid.hash_texts(["Lab", generic]))
    finding = one(path, code="HW206")
    assert finding.severity == "warning"
    assert f"'Lab' & {generic!r}" in finding.message
    whole = description(tmp_path, "a.json", A, chid.hash_texts([generic] * 6))
    assert one(whole, code="HW206").place.json_path == "$.hwids[1]"


def test_generic_strings_of_a_known_machine(tmp_path: Path):
    machine = host(product_sku="0000")
    path = description(tmp_path, "a.json", A, chid.hash_texts(["Example", ""]), name="Example Family")
    assert "HW206" in dict(codes(path, machines=[("m", machine)]))


def test_generic_texts_are_texts_as_a_stub_leaves_them():
    assert len(set(GENERIC)) == len(GENERIC)
    for text in GENERIC:
        assert text == text.lstrip(" ").lstrip("0").rstrip(" ")


def test_a_vague_match(tmp_path: Path):
    """HUAWEI C233: a workstation with manufacturer and SKU of a laptop."""
    mine, other = host(), host(product_name="Other", family="Else", baseboard_product="Two")
    path = description(tmp_path, "a.json", CHIDS[3], CHIDS[7], CHIDS[9])
    finding = one(path, code="HW207", machines=[("mine", mine), ("other", other)])
    assert finding.place.json_path == "$.hwids[1]"
    assert (
        "other gets 'lab,board' by nothing but type 7, manufacturer + product SKU ('Example', 'SKU')" in finding.message
    )
    # With an exact id of its own, or where the vague one is all there is.
    assert found(path, machines=[("other", host(family="Else"))]) == []
    assert found(description(tmp_path, "a.json", CHIDS[7]), machines=[("other", other)]) == []
    # Where another device has an id of the machine that comes before it, that one wins; type 9 comes behind.
    own = chid.chids(other.fields, None)
    description(tmp_path, "a.json", CHIDS[3], CHIDS[7], CHIDS[9])
    description(tmp_path, "b.json", own[9], compatible="lab,other")
    assert one(tmp_path, code="HW207", machines=[("other", other)])
    description(tmp_path, "b.json", own[3], compatible="lab,other")
    assert found(tmp_path, machines=[("other", other)]) == []


CHID_LISTS = st.lists(st.sampled_from([*ALL, A, B]), max_size=6, unique=True)


@given(CHID_LISTS, CHID_LISTS)
def test_the_vague_match_is_the_stubs(tmp_path_factory: pytest.TempPathFactory, first: list[UUID], second: list[UUID]):
    """Told exactly where the stub's look-up ends with a vague id of a device whose exact ones are all of others."""
    rows = [(TREE, one, "L", "a") for one in first] + [(TREE, one, "L", "b") for one in second]
    path = section(tmp_path_factory.getbasetemp(), *rows)
    machine = host()
    match, _ = chid_match(run(host=machine).context, memoryview(path.read_bytes()), TREE)
    ids = first if match is not None and match.string == b"a" else second
    exact = {CHIDS[kind] for kind in (3, 4, 5, 8, 9)}
    vague = match is not None and match.chid_type in (6, 7, 10, 11) and set(ids) - set(ALL) and not set(ids) & exact
    told = [finding for finding in found(path, machines=[("m", machine)]) if finding.rule.code == "HW207"]
    assert bool(told) == bool(vague)
    if told:
        assert match is not None
        assert told[0].place.entry == match.entry.index


# --- the sections of a UKI -------------------------------------------------------------------------------------------


def image(folder: Path, *sections: SectionSpec, **options: Any) -> Path:
    return written(folder, "uki.efi", uki(*sections, **options))


def test_a_good_uki(tmp_path: Path):
    assert found(image(tmp_path, table((TREE, COMPATIBLE), (FIRMWARE, "fw")), devicetree(), firmware())) == []
    assert found(image(tmp_path)) == []


def test_blobs_that_no_stub_accepts(tmp_path: Path):
    old = SectionSpec(".efifw", b"\0" + efifw.build("fw", b"payload")[4:])
    path = image(tmp_path, table((FIRMWARE, "fw")), old, SectionSpec(".dtbauto", b"no tree"))
    findings = found(path)
    assert [(one.rule.code, one.severity) for one in findings] == [
        ("HW301", "error"), ("HW301", "error"), ("HW302", "warning"),
    ]  # fmt: skip
    assert "13-byte header" in findings[0].message
    assert (findings[0].place.section_name, findings[0].place.offset) == (".efifw", 0)
    assert "unless it is one that no stub accepts" in findings[2].message
    data = path.read_bytes()
    assert data[findings[0].place.file_offset :][:13] == old.data[:13]


def test_entries_and_sections_that_do_not_meet(tmp_path: Path):
    path = image(tmp_path, table((TREE, "lab,none"), (FIRMWARE, "none")), devicetree(), firmware(), firmware())
    assert codes(path) == [
        ("HW302", "note"), ("HW302", "warning"), ("HW303", "warning"), ("HW303", "warning"), ("HW304", "warning"),
    ]  # fmt: skip


def test_a_profile_has_its_own_table(tmp_path: Path):
    profile = SectionSpec(".profile", b"ID=x\n")
    base = [table((FIRMWARE, "fw")), firmware()]
    finding = one(image(tmp_path, *base, profile, firmware("own"), firmware("own2")), code="HW305")
    assert (finding.severity, finding.place.profile, len(finding.related)) == ("warning", 0, 1)
    assert one(image(tmp_path, *base, profile, devicetree()), code="HW305").severity == "note"
    assert found(image(tmp_path, *base, profile, table((FIRMWARE, "own")), firmware("own"))) == []
    assert one(image(tmp_path, firmware()), code="HW305").message == "no .hwids in the base"


def test_tables_that_are_not_read(tmp_path: Path):
    whole, empty = table((FIRMWARE, "fw")), SectionSpec(".hwids", b"")
    assert one(image(tmp_path, whole, firmware(), whole), code="HW306").place.section == 7
    assert [code for code, _ in codes(image(tmp_path, empty, whole))] == ["HW306", "HW306"]
    old = image(tmp_path, whole, firmware(), stub="systemd-stub 256.4")
    assert "stub 256.4 does not know" in one(old, code="HW306").message


def test_places_in_a_uki(tmp_path: Path):
    path = image(tmp_path, table((TREE, "a"), (TREE, "a"), chids=[NULL]))
    first = next(finding for finding in found(path) if finding.rule.code == "HW203")
    place = first.place
    assert (place.section, place.section_name, place.entry, place.offset) == (5, ".hwids", 0, 0)
    assert place.file_offset is not None
    assert path.read_bytes()[place.file_offset :][:4] == b"\x1c\0\0\x10"


# --- input -----------------------------------------------------------------------------------------------------------


def test_what_is_read_together(tmp_path: Path):
    """Descriptions given one by one are one set; folders and tables stand for themselves."""
    one_, two = description(tmp_path, "a/a.json", A), description(tmp_path, "b/b.json", A, compatible="lab,other")
    assert [code for code, _ in codes(two, one_)] == ["HW201"]
    assert codes(tmp_path / "a", tmp_path / "b") == []
    assert codes(section(tmp_path, (TREE, A, "L", "a")), one_) == []
    assert [subject.path for subject in read([str(one_), str(one_)])] == [str(one_)]


@given(st.binary(max_size=300))
def test_arbitrary_tables(tmp_path_factory: pytest.TempPathFactory, data: bytes):
    check_total(tmp_path_factory, b"\x1c" + data)


ROWS = [(TREE, NULL, "L", "a"), (FIRMWARE, A, "Lab Inc.", "b"), (TREE, chid.hash_texts(["L"]), "L", "a")]
VALID = hwids.build([*ROWS, *ROWS])


@given(mutated(VALID, places=list(range(0, 28 * 7, 4))))
def test_mutated_tables(tmp_path_factory: pytest.TempPathFactory, data: bytes):
    check_total(tmp_path_factory, data)


def check_total(folders: pytest.TempPathFactory, data: bytes) -> None:
    """Any table has findings or none; in a UKI it has the same ones about its entries."""
    path = folders.getbasetemp() / "any.hwids"
    path.write_bytes(data)
    machines = [("m", host())]
    alone = found(path, machines=machines)
    for finding in alone:
        assert finding.place.file_offset is None or finding.place.file_offset <= len(data)
        assert finding.message == " ".join(finding.message.split())
    inside = found(image(folders.getbasetemp(), SectionSpec(".hwids", data)), machines=machines)
    about = ("HW101", "HW103", "HW104", "HW105", "HW201", "HW202", "HW203", "HW204", "HW205", "HW206", "HW207")
    if data:
        assert [(one.rule.code, one.message) for one in alone if one.rule.code in about] == [
            (one.rule.code, one.message) for one in inside if one.rule.code in about
        ]


def test_a_hostile_table_takes_no_time(tmp_path: Path):
    """As many devices as entries, each with a name of its own."""
    rows = [(TREE, UUID(int=number), f"Lab {number} of many words", f"b{number % 7}") for number in range(20_000)]
    assert [code for code, _ in codes(section(tmp_path, *rows))] == ["HW203"]
    # All of them with one name, and its id.
    chid_ = chid.hash_texts(["Lab", "x"])
    same = [(TREE, chid_, "Lab x", f"b{number}") for number in range(20_000)]
    assert {code for code, _ in codes(section(tmp_path, *same))} == {"HW201", "HW208"}
    # One string for all of them, each a byte later.
    count = 4000
    start = (count + 1) * 28
    entries = [
        b"\x1c\0\0\x10" + UUID(int=1).bytes_le + bytes(4) + (start + number).to_bytes(4, "little")
        for number in range(count)
    ]
    found(written(tmp_path, "t", b"".join(entries) + bytes(28) + b"x" * 100_000 + b"\0"))


def test_the_docs_have_every_rule():
    text = (ROOT / "docs" / "hwids.md").read_text("utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| HW")]
    assert rows == [f"| {rule.code} | {rule.severity} | {rule.summary} |" for rule in RULES]
