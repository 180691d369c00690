"""stubble's own rules, each with an image made for it; what the recordings of stubble 14-1 show is in conformance/."""

from __future__ import annotations

import struct
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubsim.formats import edid, hwids, pe
from stubsim.formats.efi_string import utf16z
from stubsim.formats.pe import SectionSpec
from stubsim.hosts import Host
from stubsim.result import Boot
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.stub.recognise import STUBBLE_14
from stubsim.trace import Log, Measured, Unknown
from stubsim.uki import Uki
from stubsim.views.json import profile_json
from tests.stub.harness import CHIDS, FIELDS, KERNEL, OTHER, Row, devicetree, firmware, make_pe, make_uki, table

SBAT = (".sbat", b"sbat,1,SBAT Version,sbat,1,x\nstubble,1,Canonical,stubble,14,x\nstubble.ubuntu,1,x,stubble,14-1,x\n")
HOST = Host(fields=FIELDS)
DT = hwids.DEVICETREE


def image(*sections: Row, linux: bytes | None = KERNEL) -> Uki:
    kernel = [] if linux is None else [(".linux", linux)]
    return Uki(pe.open_bytes(make_pe(SBAT, *kernel, *sections), "stubble.efi"))


def booted(*sections: Row, host: Host = HOST, line: str | bytes | None = None, **start: object) -> Boot:
    options = utf16z(line) if isinstance(line, str) else line
    return boot(image(*sections), host, Start(load_options=options, **start))  # type: ignore[arg-type]


def chosen(result: Boot) -> int | None:
    assert result.sections is not None
    section = result.sections.section(".dtbauto")
    return None if section is None else section.index


def log(result: Boot) -> list[str]:
    return [event.message for event in result.trace if isinstance(event, Log)]


def measured(result: Boot) -> list[tuple[int, str]]:
    return [(event.pcr, event.description) for event in result.trace if isinstance(event, Measured)]


def cmdline(result: Boot) -> str | None:
    assert result.prepared is not None
    return result.prepared.cmdline


def tree(result: Boot) -> tuple[str, int | None] | None:
    assert result.prepared is not None
    installed = result.prepared.devicetree
    return None if installed is None else (installed.source, installed.section)


def test_it_is_told_by_its_sbat():
    result = booted()
    assert (result.model, result.model_reason) == (STUBBLE_14, "stubble 14-1 in the UKI")
    assert result.outcome.status == "kernel-started"


@pytest.mark.parametrize("kind", range(18))
def test_the_types_it_looks_up(kind: int):
    host = HOST._replace(edid=edid.build("LAB1234"))
    own = booted(host=host).chids[kind]
    result = booted((".hwids", table((DT, own, "lab,a"))), (".dtbauto", devicetree("lab,a")), host=host)
    assert (chosen(result) is not None) == (kind in (17, 16, 15, 3, 6, 8, 10, 4, 5, 7, 9))


def test_the_best_type_wins_and_nothing_comes_after_it():
    entries = table((DT, CHIDS[9], "lab,nine"), (DT, CHIDS[3], "lab,three"))
    assert chosen(booted((".hwids", entries), *trees("lab,nine", "lab,three"))) == 4
    # The winner's compatible has no section, and no lesser entry is tried: .dtb is what is left.
    result = booted((".hwids", entries), *trees("lab,nine"), (".dtb", devicetree("lab,dtb")))
    assert chosen(result) is None
    assert tree(result) == (".dtb", 4)


def trees(*compatibles: str) -> list[Row]:
    return [(".dtbauto", devicetree(text)) for text in compatibles]


def test_a_zero_guid_matches_without_a_panel_only():
    sections = ((".hwids", table((DT, None, "lab,a"))), *trees("lab,a"))
    assert chosen(booted(*sections)) == 3
    assert chosen(booted(*sections, host=HOST._replace(edid=edid.build("LAB1234")))) is None


def test_firmware_entries_are_stepped_over():
    entries = table((hwids.UEFI_FW, CHIDS[3], "fw"), (DT, CHIDS[9], "lab,a"))
    result = booted((".hwids", entries), (".efifw", firmware("fw")), *trees("lab,a"))
    assert chosen(result) == 4
    assert result.sections is not None
    assert result.sections.efifw() is None


def test_a_bad_type_voids_the_table_and_says_so_to_debug_only():
    entries = bytearray(table((DT, CHIDS[3], "lab,a"), (DT, OTHER, "lab,b")))
    struct.pack_into("<I", entries, 28, 0x3000001C)
    for line, said in (("quiet", []), ("debug", ["HWID matching failed, no DT blob will be selected: Unsupported"])):
        result = booted((".hwids", bytes(entries)), *trees("lab,a"), line=line)
        assert chosen(result) is None
        assert log(result)[3:] == said


def test_offsets_are_not_checked():
    entries = bytearray(table((DT, CHIDS[3], "lab,a"), (DT, OTHER, "lab,b")))
    struct.pack_into("<I", entries, 20, 0x7FFF0000)
    assert chosen(booted((".hwids", bytes(entries)), *trees("lab,a"))) == 3
    struct.pack_into("<I", entries, 24, 0x7FFF0000)
    result = booted((".hwids", bytes(entries)), *trees("lab,a"))
    assert chosen(result) is None
    assert any("offset 0x7fff0000" in event.what for event in result.trace if isinstance(event, Unknown))
    # It is followed into another section, here the .dtbauto one page further on.
    blob = devicetree("lab,a")
    struct.pack_into("<I", entries, 24, 0x1000 + blob.index(b"lab,a"))
    result = booted((".hwids", bytes(entries)), *trees("lab,a"))
    assert chosen(result) == 3
    assert not [event for event in result.trace if isinstance(event, Unknown)]
    struct.pack_into("<I", entries, 24, 0)
    assert chosen(booted((".hwids", bytes(entries)), *trees("lab,a"))) is None


def test_a_tree_that_is_none():
    entries = (".hwids", table((DT, CHIDS[3], "lab,a")))
    aligned = SectionSpec(".dtbauto", devicetree("lab,a"))
    result = booted(entries, aligned._replace(virtual_address=0x10002), aligned._replace(virtual_address=0x11000))
    assert chosen(result) == 4
    assert log(result) == ["Found bad DT blob in PE section 3"]
    assert log(booted(entries, (".dtbauto", b"x"), *trees("lab,a"))) == ["Found bad DT blob in PE section 3"]
    # Nobody complains where the firmware's tree is sought.
    host = HOST._replace(devicetree=devicetree("lab,a"))
    result = booted(entries, (".dtbauto", b"x"), aligned._replace(virtual_address=0x10002), host=host)
    assert (chosen(result), log(result)) == (None, [])


def test_a_firmware_tree_decides_alone():
    sections = ((".hwids", table((DT, CHIDS[3], "lab,b"))), *trees("lab,a", "lab,b"))
    host = HOST._replace(devicetree=devicetree("lab,a"))
    assert chosen(booted(*sections, host=host)) == 3
    result = booted(*sections, host=HOST._replace(devicetree=devicetree("lab,c")))
    assert (chosen(result), tree(result)) == (None, ("firmware", None))


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("stubble.dtb_override=false", True),
        ("quiet stubble.dtb_override=false debug", True),
        ("stubble.dtb_override=true stubble.dtb_override=false", True),
        ("stubble.dtb_override=false stubble.dtb_override=true", False),
        ("stubble.dtb_override=falsely", False),
        ("xstubble.dtb_override=false", False),
        ("stubble.dtb_override=false\x01", False),
        (None, False),
    ],
)
def test_the_option_that_keeps_the_firmwares_tree(line: str | None, kept: bool):
    host = HOST._replace(devicetree=devicetree("lab,a"))
    own = (".cmdline", b"stubble.dtb_override=false")
    assert tree(booted(*trees("lab,a"), own, host=host, line=line)) == (("firmware", None) if kept else (".dtbauto", 2))
    # It has no say over a plain .dtb.
    assert tree(booted((".dtb", b"garbage"), own, host=host, line=line)) == (".dtb", 2)


def test_the_option_counts_under_secure_boot_though_the_line_is_dropped():
    host = HOST._replace(devicetree=devicetree("lab,a"), secure_boot=True)
    result = booted(*trees("lab,a"), (".cmdline", b"own"), host=host, line="stubble.dtb_override=false")
    assert result.outcome.status == "failed"  # unsigned: the firmware starts nothing
    signed = make_pe(SBAT, (".linux", KERNEL), *trees("lab,a"), (".cmdline", b"own"), certificates=bytes(16))
    start = Start(load_options=utf16z("stubble.dtb_override=false"))
    result = boot(Uki(pe.open_bytes(signed, "x")), host, start)
    assert (tree(result), cmdline(result), measured(result)) == (("firmware", None), "own", [])


def test_sections_of_a_profile_are_sections_like_any_other():
    result = booted((".profile", b"ID=x"), (".hwids", table((DT, CHIDS[3], "lab,a"))), *trees("lab,a"))
    assert chosen(result) == 4
    assert profile_json(result) == {"index": 0, "id": None, "title": None}


@pytest.mark.parametrize(
    ("own", "line", "expected", "events"),
    [
        (b"own", None, "own", []),
        (b"  own\ttext \0rest", None, "  own\ttext ", []),
        (b"caf\xe9 abc", None, "cafbc", []),
        (b"own", " given\x7f ", "given", [(12, "given")]),
        (b"own", "given\ttab", "own", []),
        (b"own", "  ", "own", []),
        (b"own", b"x", "own", []),
        (None, "@1 x", "@1 x", [(12, "@1 x")]),
        (None, "\x01abc", "\x01abc", []),
        (None, None, None, []),
    ],
)
def test_the_command_line(own: bytes | None, line: str | bytes | None, expected: str | None, events: list[object]):
    sections = [] if own is None else [(".cmdline", own)]
    result = booted(*sections, line=line)
    assert (cmdline(result), measured(result)) == (expected, events)
    assert result.load_options == (None if expected is None else utf16z(expected))


def test_nothing_is_added_measured_or_set():
    result = booted(
        (".osrel", b"ID=x"), (".cmdline", b"own"), (".initrd", b"initrd"), (".ucode", b"ucode"), (".pcrsig", b"{}"),
        host=HOST._replace(oem_strings=(b"io.systemd.stub.kernel-cmdline-extra=extra",), rng=True),
    )  # fmt: skip
    assert result.prepared is not None
    initrd = result.prepared.initrd
    assert initrd is not None
    assert [(row.kind, row.offset, row.size) for row in initrd.initrds] == [("initrd", 0, 6)]
    assert (cmdline(result), measured(result), result.variables) == ("own", [], ())
    assert set(result.pcrs["sha256"].values()) == {bytes(32)}


def test_an_earlier_initrd():
    host = HOST._replace(previous_initrd=b"earlier")
    result = booted(host=host)
    assert result.prepared is not None
    assert result.prepared.initrd is not None
    assert (result.prepared.initrd.size, result.prepared.initrd.by_stub) == (7, False)
    failed = booted((".initrd", b"own"), host=host).outcome
    assert (failed.status, failed.efi_status) == ("failed", "EFI_ALREADY_STARTED")
    assert failed.message == "Error registering initrd: Already started"


OUTSIDE = "Section would write outside of memory"
BAD_KERNELS = {
    "none": (None, "Image lacks .linux section.", "EFI_NOT_FOUND"),
    "no PE": (b"text", "Bad kernel image: Load error", "EFI_LOAD_ERROR"),
    "of another machine": (make_pe((".text", b"x"), machine=0xAA64), "Bad kernel image: Load error", "EFI_LOAD_ERROR"),
    "of machine 0": (make_pe((".text", b"x"), machine=0), "Bad kernel image: Unsupported", "EFI_UNSUPPORTED"),
    "old": (make_pe((".text", b"x"), major_image_version=0), "Bad kernel image: Unsupported", "EFI_UNSUPPORTED"),
    "relocated": (
        make_pe((".text", b"x"), base_relocations=(4096, 8)),
        "Inner kernel image contains base relocations, which we do not support.",
        "EFI_LOAD_ERROR",
    ),
    "with relocations of a section": (
        make_pe(SectionSpec(".text", b"x", relocations_offset=8)),
        "Inner kernel image contains sections with relocations, which we do not support.",
        "EFI_LOAD_ERROR",
    ),
    "outside": (make_pe((".text", bytes(8192)), size_of_image=8192), OUTSIDE, "EFI_LOAD_ERROR"),
}


def linked_at(address: int) -> bytes:
    kernel = bytearray(KERNEL)
    struct.pack_into("<Q", kernel, 64 + 24 + 24, address)
    return bytes(kernel)


@pytest.mark.parametrize(("kernel", "message", "status"), BAD_KERNELS.values(), ids=BAD_KERNELS)
def test_a_kernel_that_is_refused(kernel: bytes | None, message: str, status: str):
    result = boot(image((".cmdline", b"x"), linux=kernel), HOST, Start())
    assert result.outcome[:3] == ("failed", message, status)
    assert log(result) == [message]


def test_a_kernel_that_was_linked_for_a_place():
    result = boot(image(linux=linked_at(0x140000000)), HOST, Start())
    assert result.outcome[:2] == ("failed", OUTSIDE)
    assert "ImageBase" in (result.outcome.because or "")
    # Addresses count from it, so one below the first section does no harm.
    assert boot(image(linux=linked_at(0x1000)), HOST, Start()).outcome.status == "kernel-started"


def test_a_section_with_more_in_the_file_than_in_memory_is_a_doubt():
    kernel = make_pe(SectionSpec(".text", b"x" * 512, virtual_size=100))
    result = boot(image(linux=kernel), HOST, Start())
    assert any("outcome" in event.affects for event in result.trace if isinstance(event, Unknown))


def test_debug_tells_what_it_is_set_to():
    assert log(booted(line="debug x")) == ["Stubble configuration:", "debug: enabled", "dtb_override: enabled"]
    assert log(booted((".cmdline", b"debug"))) == []


def test_no_handover():
    result = booted((".efifw", firmware("fw")), (".hwids", table((hwids.UEFI_FW, CHIDS[3], "fw"))), handover="qemu-v5")
    assert (result.outcome.status, result.dialect) == ("kernel-started", None)


def test_another_stubs_image_by_its_rules_when_asked():
    result = boot(make_uki((".cmdline", b"own")), HOST, Start(stub="stubble"))
    assert (result.model, cmdline(result), result.variables) == (STUBBLE_14, "own", ())


NAMES = (".linux", ".cmdline", ".initrd", ".dtb", ".dtbauto", ".hwids", ".profile", ".sdmagic", ".osrel")
CONTENTS = st.one_of(
    st.binary(max_size=80),
    st.sampled_from([b"", KERNEL, linked_at(4096), devicetree("lab,a"), table((DT, CHIDS[3], "lab,a"))]),
    st.builds(lambda kind, number: table((kind, UUID(int=number), "lab,a")), st.integers(1, 3), st.integers(0, 2)),
)
ROWS = st.tuples(st.sampled_from(NAMES), CONTENTS, st.none() | st.integers(0, 200)).map(lambda row: SectionSpec(*row))


@settings(max_examples=60)
@given(
    st.lists(ROWS, max_size=6),
    st.binary(max_size=40) | st.sampled_from(["debug", "stubble.dtb_override=false x"]).map(utf16z),
    st.none() | CONTENTS,
    st.booleans(),
    st.booleans(),
)
def test_any_image_has_an_outcome(
    rows: list[SectionSpec], options: bytes, firmware_tree: bytes | None, kernel: bool, secure_boot: bool
):
    host = HOST._replace(devicetree=firmware_tree, secure_boot=secure_boot, previous_initrd=firmware_tree)
    linux = [(".linux", KERNEL)] if kernel else []
    made = Uki(pe.open_bytes(make_pe((".text", b"code"), *linux, *rows, certificates=bytes(16)), "x"))
    result = boot(made, host, Start(load_options=options, stub="stubble"))
    assert result.outcome.status in ("kernel-started", "failed")
    assert (result.outcome.status == "failed") == (result.outcome.message is not None)
    assert {event.pcr for event in result.trace if isinstance(event, Measured)} <= {12}
