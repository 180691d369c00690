"""Which sections the stub settles on; recordings pe-*, profile-*, efifw-*, fwsel-*, launch-fwdtb-*."""

from __future__ import annotations

import pytest

from stubsim.chid import PRIORITY
from stubsim.formats import hwids, pe
from stubsim.formats.pe import SectionSpec
from stubsim.hosts import Host
from stubsim.stub.sections import Sections
from stubsim.uefi.loaded_image import ProgramFailed
from stubsim.uki import Uki
from tests.stub.harness import CHIDS, FIELDS, OTHER, Row, devicetree, firmware, make_uki, run, table, with_directories

DT, FW = hwids.DEVICETREE, hwids.UEFI_FW
THIS = CHIDS[PRIORITY[3]]
UINT_MAX = 0xFFFFFFFF


def text(sections: Sections, name: str) -> bytes | None:
    data = sections.data(name)
    return None if data is None else bytes(data)


def found(*rows: Row, profile: int = 0, host: Host | None = None, stub: str = "262") -> Sections:
    return run(make_uki(*rows), host, stub=stub).sections(profile)


def test_the_first_of_a_name_wins():
    """pe-duplicate."""
    assert text(found((".cmdline", b"a"), (".cmdline", b"b")), ".cmdline") == b"a"


def test_an_empty_section_is_missing_but_hides_later_ones():
    """pe-virtual-zero; that it hides is from the public source."""
    sections = found(SectionSpec(".cmdline", b"a", virtual_size=0), (".cmdline", b"b"))
    assert text(sections, ".cmdline") is None


def test_the_size_in_memory_counts():
    """pe-virtual-larger, -smaller."""
    sections = found(SectionSpec(".cmdline", b"abc", virtual_size=2), SectionSpec(".osrel", b"abc", virtual_size=600))
    assert text(sections, ".cmdline") == b"ab"
    assert text(sections, ".osrel") == b"abc" + bytes(597)


def test_names_end_at_their_nul():
    """pe-name-garbage."""
    assert text(found((".uname\0x", b"a")), ".uname") == b"a"


@pytest.mark.parametrize("stub", ["257", "262"])
def test_profiles(stub: str):
    """The first .profile ends the base; a profile's own section is preferred to the base's, name by name."""
    rows: list[Row] = [(".cmdline", b"base"), (".osrel", b"os")]
    rows += [(".profile", b"ID=zero"), (".profile", b"ID=one"), (".cmdline", b"one")]
    for number, cmdline, profile in ((0, b"base", b"ID=zero"), (1, b"one", b"ID=one"), (UINT_MAX, b"base", None)):
        sections = found(*rows, profile=number, stub=stub)
        assert text(sections, ".cmdline") == cmdline
        assert text(sections, ".profile") == profile
        assert text(sections, ".osrel") == b"os"


def test_an_empty_section_of_a_profile_hides_that_of_the_base():
    rows: list[Row] = [(".cmdline", b"base"), (".profile", b"x"), SectionSpec(".cmdline", b"y", virtual_size=0)]
    assert text(found(*rows), ".cmdline") is None


def test_an_empty_profile_section_counts_as_a_profile():
    rows: list[Row] = [SectionSpec(".profile", b"", virtual_size=0), (".profile", b"x"), (".cmdline", b"one")]
    assert text(found(*rows, profile=1), ".cmdline") == b"one"


@pytest.mark.parametrize("stub", ["257", "262"])
@pytest.mark.parametrize(("profiles", "number"), [(0, 1), (1, 1), (2, 3)])
def test_a_missing_profile_stops_the_boot(stub: str, profiles: int, number: int):
    """profile-at3-missing, profile-single-at1."""
    one = run(make_uki(*[(".profile", b"x")] * profiles), stub=stub)
    with pytest.raises(ProgramFailed) as failure:
        one.sections(number)
    assert failure.value.status == "EFI_NOT_FOUND"
    assert one.log() == ["Unable to locate embedded per-profile PE sections: Not found"]


@pytest.mark.parametrize("number", [0, UINT_MAX])
def test_some_numbers_need_no_profile(number: int):
    """profile-at0 and profile-at-max work on a UKI without `.profile`."""
    assert found(profile=number).section(".linux") is not None


def test_no_kernel():
    one = run(make_uki((".profile", b"x"), linux=None))
    with pytest.raises(ProgramFailed, match=r"Image lacks \.linux section\."):
        one.sections()


@pytest.mark.parametrize(
    ("stub", "message"),
    [
        ("252.31", "Unable to locate embedded .linux section: Load Error"),
        ("254.23", "Unable to locate embedded .linux section: Load error"),
        ("257.2", "Unable to locate PE section table: Load error"),
        ("257.3", None),
    ],
)
def test_more_than_96_sections(stub: str, message: str | None):
    """systemd issue 35943: verify_pe() had a cap; the UKI itself is one of those it looks at (pe.c, stub.c)."""
    one = run(make_uki(*((f".s{number}", b"x") for number in range(95))), stub=stub)
    if message is None:
        assert one.sections().section(".linux") is not None
        return
    with pytest.raises(ProgramFailed) as failure:
        one.sections()
    assert (failure.value.message, failure.value.status) == (message, "EFI_LOAD_ERROR")
    assert run(make_uki(*((f".s{number}", b"x") for number in range(94))), stub=stub).sections().section(".linux")


def test_a_profile_may_bring_the_kernel():
    assert text(run(make_uki((".profile", b"x"), (".linux", b"k"), linux=None)).sections(), ".linux") == b"k"


def test_stub_256_knows_no_profiles():
    """Its section list ends with .pcrpkey."""
    sections = found((".profile", b"x"), (".cmdline", b"y"), (".hwids", b"z"), stub="256")
    assert text(sections, ".profile") is None
    assert text(sections, ".hwids") is None


# Firmware and devicetree


def test_both_kinds_are_looked_up_separately():
    """efifw-both, efifw-both-samestring: an entry of one kind never chooses the other kind."""
    rows: list[Row] = [
        (".hwids", table((DT, THIS, "same"), (FW, THIS, "fw"))),
        (".efifw", firmware("same")),
        (".efifw", firmware("fw")),
        (".dtbauto", devicetree("fw")),
        (".dtbauto", devicetree("same")),
    ]
    sections = found(*rows)
    assert text(sections, ".efifw") == firmware("fw")
    assert text(sections, ".dtbauto") == devicetree("same")


def test_257_refuses_a_table_with_a_firmware_entry():
    """efifw-match: it loses its devicetrees, too."""
    rows: list[Row] = [
        (".hwids", table((DT, THIS, "tree"), (FW, OTHER, "fw"))),
        (".dtbauto", devicetree("tree")),
        (".efifw", firmware("fw")),
    ]
    one = run(make_uki(*rows), stub="257")
    sections = one.sections()
    assert sections.section(".dtbauto") is None
    assert sections.hwids_error == "Unsupported"
    assert one.log() == ["HWID matching failed, no DT blob will be selected: Unsupported"]


def test_some_releases_that_know_firmware_do_not_choose_it():
    """systemd pull request 42570, backported to 260.3 and 261.1 (efifw-both@260.4, @261)."""
    rows: list[Row] = [(".hwids", table((DT, THIS, "tree"), (FW, THIS, "fw")))]
    rows += [(".dtbauto", devicetree("tree")), (".efifw", firmware("fw"))]
    for stub, chosen in (("260.2", False), ("260.3", True), ("261.0", False), ("261.1", True)):
        sections = found(*rows, stub=stub)
        assert (sections.section(".efifw") is not None) == chosen
        assert text(sections, ".dtbauto") == devicetree("tree")


def test_the_firmwares_devicetree_stops_only_the_devicetree_look_up():
    """launch-fwdtb-efifw; launch-fwdtb-nomatch, -hwids: what .hwids says of devicetrees does not count then."""
    rows: list[Row] = [(".hwids", table((DT, THIS, "tree"), (FW, THIS, "fw")))]
    rows += [(".dtbauto", devicetree("tree")), (".efifw", firmware("fw"))]
    sections = found(*rows, host=Host(fields=FIELDS, devicetree=devicetree("firmware")))
    assert sections.section(".dtbauto") is None
    assert sections.matches[DT] is None
    assert text(sections, ".efifw") == firmware("fw")


def test_a_fwid_without_section_is_the_end():
    """fwsel-no-section: no other CHID is tried."""
    rows: list[Row] = [
        (".hwids", table((FW, CHIDS[3], "gone"), (FW, CHIDS[9], "fw"))),
        (".efifw", firmware("fw")),
    ]
    assert found(*rows).section(".efifw") is None


@pytest.mark.parametrize("other", ["FW", "fw ", "f", "fw2"])
def test_fwids_are_compared_as_a_whole(other: str):
    """fwsel-case, fwsel-space, efifw-raw-*."""
    rows: list[Row] = [(".hwids", table((FW, THIS, "fw"))), (".efifw", firmware(other))]
    assert found(*rows).section(".efifw") is None


def test_the_first_section_with_the_fwid_wins_and_bad_ones_are_named():
    """fwsel-same-fwid-twice; efifw-badheader names the bad blob twice."""
    rows: list[Row] = [
        (".hwids", table((FW, THIS, "fw"))),
        (".efifw", b"bad"),
        (".efifw", firmware("fw", b"first")),
        (".efifw", firmware("fw", b"second")),
    ]
    one = run(make_uki(*rows))
    assert text(one.sections(), ".efifw") == firmware("fw", b"first")
    assert one.log() == ["Found bad efifw blob in PE section 3"] * 2


def test_all_bad_blobs_are_named_before_the_second_round():
    """Booted systemd-stub 262.1 in QEMU: devicetrees first and once, then the firmwares, in two rounds."""
    rows: list[Row] = [
        (".dtbauto", b"bad"),
        (".dtbauto", devicetree("c,x")),
        (".hwids", table((DT, THIS, "c,x"), (FW, THIS, "fw"))),
        (".efifw", b"bad"),
        (".efifw", b"bad"),
    ]
    one = run(make_uki(*rows))
    one.sections()
    assert one.log() == [
        "Found bad DT blob in PE section 2",
        *["Found bad efifw blob in PE section 5", "Found bad efifw blob in PE section 6"] * 2,
    ]


@pytest.mark.parametrize(("address", "bad"), [(0x10002, True), (0x10004, True), (0x10008, False)])
def test_a_blob_must_be_aligned(address: int, bad: bool):
    """To 8 bytes: 262.1's own code in emulation."""
    rows: list[Row] = [
        (".hwids", table((FW, THIS, "fw"))),
        SectionSpec(".efifw", firmware("fw"), virtual_address=address),
    ]
    one = run(make_uki(*rows))
    assert (one.sections().section(".efifw") is None) == bad
    assert one.log() == ["Found bad efifw blob in PE section 3"] * 2 * bad


@pytest.mark.parametrize("stub", ["252", "254"])
def test_252_reports_sections_that_overlap(stub: str):
    """252.39's own code in emulation: each that begins before the end of the one in front of it in the table."""
    rows = [SectionSpec(".osrel", b"x", virtual_address=0x20000), SectionSpec(".uname", b"y", virtual_address=0x10000)]
    one = run(make_uki(*rows), stub=stub)
    one.sections()
    text = "Overlapping PE sections detected. Boot may fail due to image memory corruption!"
    assert one.log() == ([text] if stub == "252" else [])


@pytest.mark.parametrize(("stub", "status"), [("252", "Not Found"), ("253", "Not found"), ("256", "Not found")])
def test_252_prints_a_status_as_gnu_efi_does(stub: str, status: str):
    with pytest.raises(ProgramFailed) as failure:
        run(make_uki(linux=None), stub=stub).sections()
    assert failure.value.message == f"Unable to locate embedded .linux section: {status}"


@pytest.mark.parametrize(("kind", "name"), [(FW, ".efifw"), (DT, ".dtbauto")])
def test_a_profiles_blobs_need_hwids_inside_the_profile(kind: int, name: str):
    """fwsel-profile-nohwids, profile-dtbauto: without it the base's choice stays."""
    blob = firmware if kind == FW else devicetree
    base: list[Row] = [(".hwids", table((kind, THIS, "base"))), (name, blob("base")), (".profile", b"x")]
    assert text(found(*base, (name, blob("base") + bytes(4))), name) == blob("base")
    own: list[Row] = [(".hwids", table((kind, THIS, "own"))), (name, blob("own"))]
    assert text(found(*base, *own), name) == blob("own")
    # A table of the profile that has nothing for this machine leaves the base's choice, too.
    assert text(found(*base, (".hwids", table((kind, OTHER, "own"))), (name, blob("own"))), name) == blob("base")


def test_no_match_is_an_error_for_257_only():
    """hwids-* without match: silent unless debugging in 262.1."""
    rows: list[Row] = [(".hwids", table((DT, OTHER, "tree"))), (".dtbauto", devicetree("tree"))]
    for stub, expected in (("257", ["HWID matching failed, no DT blob will be selected."]), ("262", [])):
        one = run(make_uki(*rows), stub=stub)
        assert one.sections().hwids_error is None
        assert one.log() == expected


def test_262_refuses_the_table_for_both_look_ups():
    """hwids-off-nonmatch-*: offsets are checked in entries for other machines as well."""
    data = bytearray(table((DT, THIS, "tree"), (FW, OTHER, "fw")))
    data[28 + 20 : 28 + 24] = len(data).to_bytes(4, "little")
    one = run(make_uki((".hwids", bytes(data)), (".dtbauto", devicetree("tree"))))
    assert one.sections().section(".dtbauto") is None
    assert one.log() == [
        "HWID matching failed, no DT blob will be selected: Invalid parameter",
        "No UEFI FW will be selected: Invalid parameter",
    ]


@pytest.mark.parametrize(("stub", "taken"), [("258.9", True), ("258.10", False), ("260.4", False)])
def test_a_uki_without_the_directory_of_base_relocations(stub: str, taken: bool):
    """pe.c, verify_pe."""
    data = with_directories(bytes(make_uki().image.data), 0)
    one = run(Uki(pe.open_bytes(data, "lab.efi")), stub=stub)
    if taken:
        assert one.sections().section(".linux") is not None
    else:
        with pytest.raises(ProgramFailed, match="Unable to locate PE section table: Load error"):
            one.sections()
