"""Every PCR 11 without a machine: compared with recordings, and with the stub's own steps run on every machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubsim import uki
from stubsim.errors import StubsimError
from stubsim.explain import possible as module
from stubsim.explain.possible import possible
from stubsim.explain.quiet import quiet_context
from stubsim.formats import efifw, fdt, hwids, pe
from stubsim.formats.pe import SectionSpec
from stubsim.hosts import Host
from stubsim.machine.tpm import Tpm
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.stub import chid_match
from stubsim.stub.locate import find_sections
from stubsim.stub.measure import Measured, measure_sections

KERNEL = pe.build([SectionSpec(".text", b"\xf4" * 512)])
NULL = UUID(int=0)
POOL = (NULL, UUID(int=1), UUID(int=2), UUID(int=3))
STRINGS = ("a", "b", "c")
DT, FW = hwids.DEVICETREE, hwids.UEFI_FW


def made(*sections: SectionSpec, stub: str = "262.1-1") -> uki.Uki:
    magic = f"#### LoaderInfo: systemd-stub {stub} ####\0".encode()
    image = pe.build([SectionSpec(".sdmagic", magic), SectionSpec(".linux", KERNEL), *sections])
    return uki.Uki(pe.open_bytes(image, "made.efi"))


def table(*entries: tuple[int, UUID, str]) -> SectionSpec:
    return SectionSpec(".hwids", hwids.build([(kind, chid, "Name", string) for kind, chid, string in entries]))


def tree(compatible: str) -> SectionSpec:
    return SectionSpec(".dtbauto", fdt.build([compatible]))


def firmware(fwid: str, payload: bytes = b"") -> SectionSpec:
    return SectionSpec(".efifw", efifw.build(fwid, payload or fwid.encode()))


def ways(image: uki.Uki, start: Start = Start()) -> dict[bytes, module.Possible]:  # noqa: B008
    return {row.values["sha256"]: row for row in possible(boot(image, Host(), start), start)}


def selected(image: uki.Uki, start: Start = Start()) -> set[tuple[int | None, int | None]]:  # noqa: B008
    rows = ways(image, start).values()
    return {(row.dtbauto and row.dtbauto.index, row.efifw and row.efifw.index) for row in rows}


def test_nothing_depends_on_the_machine():
    (row,) = ways(made(SectionSpec(".cmdline", b"quiet"), table((FW, POOL[1], "a")))).values()
    assert (row.conditions, row.dtbauto, row.efifw) == ((), None, None)


@pytest.mark.parametrize("stub", ["254.26", "256.7", "257.13"])
def test_a_section_that_an_old_stub_takes_by_the_beginning_of_its_name(stub: str):
    """Up to 256 the last one counts, a .dtbauto for a .dtb too (recorded: launch-fwdtb-plain@254.26)."""
    sections = (SectionSpec(".dtb", b"one"), SectionSpec(".dtbauto", b"two"), SectionSpec(".osrel", b"ID=again"))
    image = made(*sections, stub=stub)
    row = boot(image, Host(), Start()).pcrs["sha256"][11]
    assert row in ways(image)


def test_firmware():
    image = made(table((FW, POOL[1], "a"), (FW, POOL[2], "b"), (FW, POOL[3], "gone")), firmware("a"), firmware("b"))
    assert selected(image) == {(None, None), (None, 3), (None, 4)}
    texts = {row.efifw and row.efifw.index: row.conditions for row in ways(image).values()}
    assert texts[3] == (f"the machine has CHID {POOL[1]} ('Name', uefi-fw fwid 'a')",)
    # An entry without a section for it leads to the same value as none.
    assert texts[None] == (
        "no uefi-fw entry matches",
        f"the machine has CHID {POOL[3]} ('Name', uefi-fw fwid 'gone')",
    )


def test_two_blobs_of_the_same_bytes_are_one_value():
    image = made(table((FW, POOL[1], "a"), (FW, POOL[2], "a")), firmware("a"), firmware("a"))
    assert len(ways(image)) == 2


def test_a_guid_of_both_kinds_cannot_match_one_alone():
    image = made(table((DT, POOL[1], "a"), (FW, POOL[1], "b")), tree("a"), firmware("b"))
    by_chid = {
        (row.dtbauto is not None, row.efifw is not None)
        for row in ways(image).values()
        if any("no devicetree;" in text for text in row.conditions)
    }
    assert by_chid == {(False, False), (True, True)}


def test_order_is_told_where_it_matters():
    image = made(
        table((FW, POOL[1], "a"), (FW, POOL[2], "b"), (DT, POOL[1], "a")), tree("a"), firmware("a"), firmware("b")
    )
    texts = [text for row in ways(image).values() for text in row.conditions]
    ordered = [text for text in texts if "lower priority" in text]
    assert ordered
    assert all(text.index(str(POOL[2])) < text.index(str(POOL[1])) for text in ordered)


@pytest.mark.parametrize("stub", ["256.1", "257.13", "260"])
def test_firmware_is_never_matched_before_262(stub: str):
    (row,) = ways(made(table((FW, POOL[1], "a")), firmware("a"), stub=stub)).values()
    assert row.efifw is None


def test_257_refuses_a_table_with_a_firmware_entry():
    entries = ((DT, POOL[1], "a"), (FW, POOL[2], "b"))
    assert selected(made(table(*entries), tree("a"), stub="257.13")) == {(None, None), (3, None)}
    texts = [t for row in ways(made(table(*entries), tree("a"), stub="257.13")).values() for t in row.conditions]
    assert not any("CHID" in text for text in texts)


def test_the_firmware_may_bring_a_devicetree():
    rows = ways(made(tree("a"), tree("b"))).values()
    assert [row.conditions for row in rows] == [
        ("the firmware brings no devicetree", "the firmware's devicetree fits no .dtbauto"),
        ("the firmware's devicetree is for 'a'",),
        ("the firmware's devicetree is for 'b'",),
    ]


def test_an_all_zero_guid_is_a_matter_of_the_edid():
    texts = {
        row.efifw is not None: row.conditions for row in ways(made(table((FW, NULL, "a")), firmware("a"))).values()
    }
    assert texts == {
        False: ("the machine has an EDID; no uefi-fw entry matches",),
        True: ("the machine has no EDID, which the all-zero CHID in .hwids matches ('Name', uefi-fw fwid 'a')",),
    }


def test_too_many_ways_are_an_error_and_no_hang():
    count = 300
    entries = [(kind, UUID(int=1 + i + kind * count), f"{kind}{i}") for kind in (DT, FW) for i in range(count)]
    blobs = [SectionSpec(".efifw", efifw.build(f"{FW}{i}", b"%d" % i)) for i in range(count)]
    image = made(table(*entries), *blobs, *[tree(f"{DT}{i}") for i in range(count)])
    result = boot(image, Host())
    with pytest.raises(StubsimError, match="more than") as error:
        possible(result, Start())
    assert error.value.hint is not None
    assert "--smbios" in error.value.hint


def test_a_large_table_is_no_hang_and_no_flood():
    rows = b"".join(hwids.build([(FW, UUID(int=1 + i), "N", "gone")])[:28] for i in range(20000))
    image = made(SectionSpec(".hwids", rows + bytes(28)), firmware("a"), stub="262.1")
    (row,) = ways(image).values()
    assert row.conditions == ()


def every_machine(image: uki.Uki, start: Start, patch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """PCR 11 by the stub's own steps, on each machine that differs in the GUIDs at hand."""
    result = boot(image, Host(), start)
    assert result.prepared is not None
    trees = [None, *(fdt.build([text]) for text in (*STRINGS, "other")), b"no tree"]
    for edid in (True, False):
        for size in range(len(POOL)):
            for guids in permutations(POOL[1:], size):
                chids = dict.fromkeys(range(18), UUID(int=99))
                chids |= dict(zip((3, 6, 8), guids, strict=False))
                if not edid:
                    chids |= dict.fromkeys((15, 16, 17), None)
                patch.setattr(chid_match, "machine_chids", lambda context, chids=chids: chids)
                for devicetree in trees:
                    host = Host(devicetree=devicetree)
                    context = quiet_context(result, start)
                    services = context.services._replace(tpm=Tpm(("sha256",)))
                    context = context._replace(host=host, services=services)
                    measure_sections(context, find_sections(context, result.prepared.profile), Measured())
                    yield {bank: values[11] for bank, values in context.tpm.pcrs().items()}


ENTRIES = st.lists(st.tuples(st.sampled_from((DT, FW)), st.sampled_from(POOL), st.sampled_from(STRINGS)), max_size=5)
PARTS = st.tuples(
    st.none() | ENTRIES, st.lists(st.sampled_from(STRINGS), max_size=2), st.lists(st.sampled_from(STRINGS), max_size=2)
)


def sections_of(part: tuple[list[tuple[int, UUID, str]] | None, list[str], list[str]], mark: str) -> list[SectionSpec]:
    entries, trees, blobs = part
    rows = [] if entries is None else [table(*entries)]
    rows += [SectionSpec(".dtbauto", fdt.build([text, mark])) for text in trees]
    return rows + [firmware(text, f"{mark}{number}".encode()) for number, text in enumerate(blobs)]


@settings(max_examples=60)
@given(base=PARTS, own=st.none() | PARTS, stub=st.sampled_from(("257.13", "260", "262.1")))
def test_it_is_what_the_stub_does_on_every_machine(base, own, stub):  # noqa: ANN001
    sections = sections_of(base, "base")
    if own is not None:
        sections += [SectionSpec(".profile", b"ID=a"), *sections_of(own, "own")]
    image = made(*sections, stub=stub)
    start = Start(profile=0)
    with pytest.MonkeyPatch.context() as patch:
        expected = {values["sha256"] for values in every_machine(image, start, patch)}
    assert set(ways(image, start)) == expected


@pytest.mark.parametrize("case", ["efifw-match", "efifw-nomatch"])
def test_the_recorded_firmware_case_has_two_values(shared: Path, case: str):
    folder = shared / "golden" / f"{case}@262.1"
    expected = json.loads((folder / "expect.json").read_text())
    rows = ways(uki.load(str(folder / "uki.efi")))
    assert len(rows) == 2
    row = rows[bytes.fromhex(expected["pcrs"]["11"])]
    assert ([row.efifw.index] if row.efifw else []) == (expected["selection"]["efifw"] or [])
    assert row.conditions == (
        ("no uefi-fw entry matches",) if case == "efifw-nomatch" else (
            "the machine has CHID c1c530a2-b47f-59bc-848c-b78981b4073e ('FW B', uefi-fw fwid 'fw-b')",)
    )  # fmt: skip
