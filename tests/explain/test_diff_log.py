"""A log beside the prediction: each recording against its own log is equal, and every cause has its case."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim import hosts, uki
from stubsim.boot import Boot, Start, boot
from stubsim.errors import StubsimError
from stubsim.explain.diff_log import Comparison, compare
from stubsim.formats import authenticode, eventlog, hwids, smbios
from stubsim.formats.efi_string import utf16z
from stubsim.formats.eventlog import EVENT_TYPES, Event, Header, Log
from stubsim.formats.pe import SectionSpec
from stubsim.trace import Measured
from stubsim.views.eventlog import event_log
from tests.conftest import recordings
from tests.samples import FIRMWARE_UKI, FULL_UKI, devicetree, firmware, table
from tests.samples import MACHINE as FIELDS
from tests.samples import uki as sample
from tests.strategies import mutated

RECORDINGS = recordings()
MACHINE = {"smbios": FIELDS}
NOWHERE = "no kernel was started, or there is no TPM, so there is no log"
Write = Callable[..., Boot]


def from_recording(folder: Path) -> tuple[Boot, Start]:
    """The recorded UKI on the recorded host, started as it was."""
    arguments = json.loads((folder / "boot.json").read_text())["args"]
    fields: dict[str, Any] = {}
    words = iter(arguments)
    for word in words:
        if word == "--from-memory":
            fields["from_memory"] = True
        elif word == "--esp":
            fields["esp"] = str(folder / next(words))
        elif word == "--load-options":
            fields["load_options"] = (folder / next(words)).read_bytes()
        else:
            fields[word[2:]] = next(words)
    start = Start(**fields)
    return boot(uki.load(str(folder / "uki.efi")), hosts.load(str(folder / "host.json")), start), start


def recorded_log(folder: Path) -> Log:
    text = json.loads((folder / "expect.json").read_text())["eventlog"]
    if not text:
        pytest.skip(NOWHERE)
    return eventlog.parse_log(bytes.fromhex(text))


@pytest.mark.parametrize("folder", RECORDINGS, ids=lambda folder: folder.name)
def test_a_recording_equals_its_own_log(folder: Path):
    log = recorded_log(folder)
    result, start = from_recording(folder)
    found = compare(result, log, start)
    assert found.differences == ()
    # Every recorded log shows that this very UKI was started, and no boot loader touched PCR 12.
    assert found.hints == ()
    expected = json.loads((folder / "expect.json").read_text())
    assert found.matched == len(expected["measurements"])
    for pcr in ("11", "12", "13"):
        assert found.pcrs["sha256"].get(int(pcr), bytes(32)).hex() == expected["pcrs"][pcr]


@pytest.mark.parametrize(
    ("predicted", "logged", "kind", "words"),
    [
        (
            "efifw-match",
            "efifw-nomatch",
            "missing",
            "this host selects section 11 ('fw-b'), but no .efifw was measured",
        ),
        (
            "efifw-nomatch",
            "efifw-match",
            "extra",
            "an .efifw was measured that this host does not select; it is section",
        ),
    ],
)
def test_two_recordings(shared: Path, predicted: str, logged: str, kind: str, words: str):
    result, start = from_recording(shared / "golden" / f"{predicted}@262.1")
    found = compare(result, recorded_log(shared / "golden" / f"{logged}@262.1"), start)
    # The two UKIs differ in their .hwids too, which the stub measures before .efifw.
    assert [(row.kind, (row.predicted or row.logged).description) for row in found.differences] == [  # type: ignore[union-attr]
        ("differs", ".hwids"),
        (kind, ".efifw"),
        (kind, ".efifw"),
    ]
    assert found.differences[0].cause.endswith("may select another .dtbauto or .efifw")
    assert words in found.differences[1].cause
    assert found.hints[0].startswith("this log is of another UKI")


def test_events_of_systemd_boot_are_not_the_stubs(shared: Path):
    folder = shared / "golden" / "sdboot@262.1"
    result, start = from_recording(folder)
    found = compare(result, recorded_log(folder), start)
    # Two of its SMBIOS events are in PCR 1, with four of the firmware and a separator.
    assert found.skipped[1] == 7


# --- built UKIs -----------------------------------------------------------------------------------------------------

TYPE1 = bytes((1, 2, 0, 0)) + bytes(16) + bytes((6, 3, 4))
TYPE2 = bytes((1, 2, 0, 0))
TYPE11 = smbios.build_structure(11, b"\1", (b"an OEM string",), 0x300)


def smbios_host(*more: bytes, serial: bytes = b"1", **fields: Any) -> dict[str, Any]:
    """A host with a raw SMBIOS table: types 1 and 2, and ``more`` structures."""
    first = smbios.build_structure(1, TYPE1, (b"Example", b"Product", b"SKU", b"Family"), 0x100)
    second = smbios.build_structure(2, TYPE2, (b"Board", b"One" + serial), 0x200)
    data = smbios.build([first, second, *more])
    return {"smbios_table": {"base64": base64.b64encode(data).decode()}, **fields}


LOADER_GUID = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
PCR_SMBIOS = {
    "name": "LoaderPcrSMBIOS",
    "guid": LOADER_GUID,
    "attributes": 6,
    "data": base64.b64encode(utf16z("1")).decode(),
}


@pytest.fixture
def booted(tmp_path: Path) -> Write:
    """Boot these bytes on this host with this partition; all but those are fields of Start."""
    count = 0

    def run(
        image: bytes = FULL_UKI, host: dict[str, Any] | None = None, files: dict[str, bytes] | None = None, **start: Any
    ) -> Boot:
        nonlocal count
        count += 1
        folder = tmp_path / str(count)
        folder.mkdir()
        (folder / "uki.efi").write_bytes(image)
        if files is not None:
            for name, content in {"EFI/Linux/uki.efi": image, **files}.items():
                path = folder / "esp" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            start["esp"] = str(folder / "esp")
        return boot(
            uki.load(str(folder / "uki.efi")), hosts.from_json(MACHINE if host is None else host), Start(**start)
        )

    return run


def application(result: Boot, digest: bytes | None = None) -> Event:
    banks = result.host.tpm or ()
    own = {bank: authenticode.digest(result.uki.image, bank) for bank in banks}
    return Event(4, EVENT_TYPES["EV_EFI_BOOT_SERVICES_APPLICATION"], own if digest is None else {"sha256": digest}, b"")


def log_of(result: Boot) -> Log:
    """What the machine would have logged: the start of the UKI and the stub's events."""
    log = eventlog.parse_log(event_log(result))
    return log._replace(events=(application(result), *log.events))


def causes(found: Comparison) -> list[str]:
    return [row.cause for row in found.differences]


def ipl(pcr: int, text: str, content: bytes | None = None) -> Event:
    from hashlib import sha256

    data = utf16z(text)
    return Event(pcr, EVENT_TYPES["EV_IPL"], {"sha256": sha256(data if content is None else content).digest()}, data)


def without(log: Log, *texts: str) -> Log:
    return log._replace(events=tuple(event for event in log.events if eventlog.describe(event)[1] not in texts))


def changed(log: Log, text: str) -> Log:
    """The log with another digest in the last event of this text."""
    events = list(log.events)
    place = max(index for index, event in enumerate(events) if eventlog.describe(event)[1] == text)
    events[place] = events[place]._replace(digests={bank: bytes(len(d)) for bank, d in events[place].digests.items()})
    return log._replace(events=tuple(events))


def test_equal(booted: Write):
    result = booted()
    found = compare(result, log_of(result))
    assert (found.differences, found.hints, found.skipped) == ((), (), {4: 1})
    assert found.matched == sum(isinstance(event, Measured) for event in result.trace)
    assert found.pcrs["sha256"][11] == result.pcrs["sha256"][11]


@pytest.mark.parametrize(
    ("section", "words"),
    [
        (".linux", "`.linux` differs: another kernel was booted"),
        (".osrel", "`.osrel` differs: the UKI that was booted has other contents in this section"),
        (".hwids", "`.hwids` differs: the UKI that was booted has other contents in this section, and may select"),
        (".efifw", "`.efifw` differs: section 8 ('fw') has other contents in the UKI that was booted"),
        (".dtbauto", "`.dtbauto` differs: section 6 ('example,board') has other contents"),
    ],
)
def test_contents_of_a_section_differ(booted: Write, section: str, words: str):
    result = booted()
    found = compare(result, changed(log_of(result), section))
    assert [row.kind for row in found.differences] == ["differs"]
    assert words in causes(found)[0]


# Predicted, logged (keywords of the fixture `booted`), and for each difference its kind and what its cause has to say.
TWO_EFIFW = table((hwids.UEFI_FW, "fw")), firmware("other", b"another firmware"), firmware()
OTHER_CHOICE = table((hwids.UEFI_FW, "other")), *TWO_EFIFW[1:]
NO_HWIDS = sample(firmware())
OTHER_HOST = {"smbios": {"manufacturer": "Other"}}
OPTIONS = {"load_options": utf16z("debug")}
EXTRA = "EFI/Linux/uki.efi.extra.d/"
SB = {"secure_boot": True}
SIGNED = sample(certificates=bytes(16))
OEM_STRING = "io.systemd.stub.kernel-cmdline-extra=from-smbios"
OEM = {"smbios": FIELDS | {"oem_strings": [OEM_STRING]}}


def addon(*sections: SectionSpec) -> bytes:
    from stubsim.formats import pe

    return pe.build(sections)


CMDLINE_ADDON = addon(SectionSpec(".cmdline", b"from-addon"))
UCODE_ADDON = addon(SectionSpec(".ucode", b"microcode"))
INITRD_ADDON = addon(SectionSpec(".initrd", b"initrd"))

CASES: dict[str, tuple[dict[str, Any], dict[str, Any], list[tuple[str, str]]]] = {
    "efifw not selected": (
        {"image": FIRMWARE_UKI, "host": OTHER_HOST},
        {"image": FIRMWARE_UKI},
        [("extra", "an .efifw was measured that this host does not select; it is section 6 ('fw')")] * 2,
    ),
    "efifw not measured": (
        {"image": FIRMWARE_UKI},
        {"image": FIRMWARE_UKI, "host": OTHER_HOST},
        [("missing", "this host selects section 6 ('fw'), but no .efifw was measured on the machine; stubs before")]
        * 2,
    ),
    "efifw of a stub that has none": (
        {"image": FIRMWARE_UKI, "stub": "257"},
        {"image": FIRMWARE_UKI},
        [("extra", "an .efifw was measured, which stub 257 does not know; it is section 6 ('fw')")] * 2,
    ),
    "another efifw": (
        {"image": sample(*TWO_EFIFW)},
        {"image": sample(*OTHER_CHOICE)},
        [
            ("differs", "`.hwids` differs"),
            ("differs", "another .efifw was measured: section 6 ('other'); this host selects section 7 ('fw')"),
        ],
    ),
    "efifw of another UKI": (
        {"image": NO_HWIDS},
        {"image": FIRMWARE_UKI},
        [
            ("extra", "`.hwids` was measured: the UKI that was booted has this section, this one has not"),
            ("extra", "`.hwids` was measured"),
        ]
        + [("extra", "an .efifw was measured that this host does not select; it is section 5 ('fw')")] * 2,
    ),
    "dtbauto not selected": (
        {"image": sample(table((1, "example,board")), devicetree()), "host": OTHER_HOST},
        {"image": sample(table((1, "example,board")), devicetree())},
        [("extra", "a .dtbauto was measured that this host does not select; it is section 6 ('example,board')")] * 2,
    ),
    "dtbauto not measured": (
        {"image": sample(table((1, "example,board")), devicetree())},
        {"image": sample(table((1, "example,board")), devicetree()), "host": OTHER_HOST},
        [("missing", "this host selects section 6 ('example,board'), but no .dtbauto was measured on the machine")] * 2,
    ),
    "section only here": (
        {"image": sample(SectionSpec(".uname", b"6.1"), SectionSpec(".pcrpkey", b"key"))},
        {"image": sample(SectionSpec(".uname", b"6.1"))},
        [("missing", "`.pcrpkey` was not measured: the UKI that was booted has no such section")] * 2,
    ),
    "section only there": (
        {"image": sample()},
        {"image": sample(SectionSpec(".ucode", b"x"))},
        [("extra", "`.ucode` was measured: the UKI that was booted has this section, this one has not")] * 2,
    ),
    "newer stub": (
        {"image": sample(table((1, "x"))), "stub": "256"},
        {"image": sample(table((1, "x")))},
        [("extra", "`.hwids` was measured, which stub 256 does not do: the stub that ran is newer (--stub)")] * 2,
    ),
    "older stub": (
        {"image": sample(table((1, "x")))},
        {"image": sample(table((1, "x"))), "stub": "256"},
        [("missing", "`.hwids` was not measured: the UKI that was booted has no such section, or its stub is too old")]
        * 2,
    ),
    "profile 1 was booted": (
        {},
        {"profile": 1},
        [
            ("extra", "the machine booted profile '1', predicted is profile 0 (--profile)"),
            ("differs", "`.cmdline` differs: the one measured is section 11 of this UKI, of profile 1"),
            ("differs", "`.profile` differs: the one measured is section 10 of this UKI, of profile 1"),
        ],
    ),
    "profile 0 was booted": (
        {"profile": 1},
        {},
        [
            ("missing", "the machine booted profile 0, predicted is profile 1"),
            ("differs", "`.cmdline` differs: the one measured is section 2 of this UKI, of no profile"),
            ("differs", "`.profile` differs: the one measured is section 9 of this UKI, of profile 0"),
        ],
    ),
    "load options not given": (
        {"image": sample()},
        {"image": sample(), **OPTIONS},
        [("extra", "the log has load options that were not given: 'debug'")],
    ),
    "load options differ": (
        {"image": sample(), "load_options": utf16z("single")},
        {"image": sample(), **OPTIONS},
        [("differs", "the load options differ: the log has 'debug', predicted is 'single'")],
    ),
    "load options of the shell": (
        {"image": sample(), "shell": "uki.efi  one  two"},
        {"image": sample()},
        [("missing", "the log lacks the load options that were given, 'one two': Secure Boot drops them")],
    ),
    "load options dropped on the machine": (
        {"image": SIGNED, **OPTIONS},
        {"image": SIGNED, "host": MACHINE | SB, **OPTIONS},
        [("missing", "the log lacks the load options that were given, 'debug': Secure Boot drops them")],
    ),
    "load options dropped here": (
        {"image": SIGNED, "host": MACHINE | SB, **OPTIONS},
        {"image": SIGNED, **OPTIONS},
        [("extra", "the log has the load options, 'debug', which are dropped in the prediction (Secure Boot is on)")],
    ),
    "control characters": (
        {"image": sample(), "load_options": utf16z("a\tb")},
        {"image": sample(), "load_options": utf16z("a\tb"), "stub": "257"},
        [("extra", "the log has the load options, 'a b', which are dropped in the prediction (stub 262)")],
    ),
    "addon arguments not predicted": (
        {"image": sample(), **OPTIONS},
        {"image": sample(), **OPTIONS, "files": {f"{EXTRA}a.addon.efi": CMDLINE_ADDON}},
        [("extra", "arguments of addons or SMBIOS type 11 that are not predicted: 'from-addon'; no --esp was given")],
    ),
    "addon arguments missing": (
        {"image": sample(), "files": {f"{EXTRA}a.addon.efi": CMDLINE_ADDON}},
        {"image": sample()},
        [("missing", "the log lacks the addons' arguments, 'from-addon'")],
    ),
    "SMBIOS arguments missing": (
        {"image": sample(), "host": OEM},
        {"image": sample()},
        [("missing", "the log lacks the arguments of the host's SMBIOS type 11, 'from-smbios'")],
    ),
    "SMBIOS arguments differ": (
        {"image": sample(), "host": OEM},
        {"image": sample(), "host": {"smbios": FIELDS | {"oem_strings": [f"{OEM_STRING}-2"]}}},
        [("differs", "the SMBIOS arguments differ: the log has 'from-smbios-2', predicted is 'from-smbios'")],
    ),
    "credentials differ": (
        {"image": sample(), "files": {f"{EXTRA}a.cred": b"1"}},
        {"image": sample(), "files": {f"{EXTRA}a.cred": b"2"}},
        [("differs", "'Credentials initrd' differs: other files, names or contents (*.cred in")],
    ),
    "global credentials missing": (
        {"image": sample(), "files": {"loader/credentials/a.cred": b"1"}},
        {"image": sample()},
        [
            (
                "missing",
                "'Global credentials initrd' is not in the log: the machine had no *.cred in \\loader\\credentials",
            )
        ],
    ),
    "system extension not predicted": (
        {"image": sample()},
        {"image": sample(), "files": {f"{EXTRA}a.raw": b"1"}},
        [("extra", "'System extension initrd' is in the log, but the prediction has no *.raw in the folder")],
    ),
    "configuration extension missing": (
        {"image": sample(), "files": {f"{EXTRA}a.confext.raw": b"1"}},
        {"image": sample(), "files": {}},
        [("missing", "'Configuration extension initrd' is not in the log")],
    ),
    "global extensions of 262": (
        {"image": sample(), "stub": "257", "files": {"loader/extensions/a.raw": b"1"}},
        {"image": sample(), "files": {"loader/extensions/a.raw": b"1"}},
        [("extra", "'Global system extension initrd' is in the log: the stub that ran is 262 or later")],
    ),
    "initrd addon differs": (
        {"image": sample(), "files": {f"{EXTRA}a.addon.efi": INITRD_ADDON}},
        {"image": sample(), "files": {f"{EXTRA}a.addon.efi": addon(SectionSpec(".initrd", b"other"))}},
        [("differs", "the initrd addon 'a.addon.efi' differs: it has other contents on the machine")],
    ),
    "devicetree addon missing": (
        {"image": sample(), "files": {"loader/addons/a.addon.efi": addon(SectionSpec(".dtb", b"tree"))}},
        {"image": sample(), "files": {}},
        [("missing", "the devicetree addon 'a.addon.efi' is not in the log")],
    ),
    "microcode addon missing": (
        {"image": sample(), "files": {f"{EXTRA}a.addon.efi": UCODE_ADDON}},
        {"image": sample()},
        [("missing", "the microcode addon 'a.addon.efi' is not in the log: the machine does not have it, or refused")],
    ),
    "microcode addon not predicted": (
        {"image": sample()},
        {"image": sample(), "files": {f"{EXTRA}a.addon.efi": UCODE_ADDON}},
        [("extra", "the microcode addon 'a.addon.efi' was measured, but is not predicted; no --esp was given")],
    ),
    "SMBIOS measured by a newer stub": (
        {"image": sample(), "host": smbios_host(), "stub": "257"},
        {"image": sample(), "host": smbios_host()},
        [("extra", "SMBIOS measured by the stub: 262 or later; predicted is stub 257")] * 2,
    ),
    "SMBIOS not measured": (
        {"image": sample(), "host": smbios_host()},
        {"image": sample(), "host": smbios_host(), "stub": "257"},
        [("missing", "SMBIOS was not measured: the stub that ran is older than 262, or LoaderPcrSMBIOS was set")] * 2,
    ),
    "SMBIOS measured though a boot loader had": (
        {"image": sample(), "host": smbios_host(variables=[PCR_SMBIOS])},
        {"image": sample(), "host": smbios_host()},
        [("extra", "SMBIOS measured by the stub: LoaderPcrSMBIOS, which the host file has, was not set")] * 2,
    ),
    "SMBIOS differs": (
        {"image": sample(), "host": smbios_host()},
        {"image": sample(), "host": smbios_host(serial=b"2")},
        [("differs", "SMBIOS type2: the base board differs from the host file's table")],
    ),
    "SMBIOS has more": (
        {"image": sample(), "host": smbios_host()},
        {"image": sample(), "host": smbios_host(TYPE11)},
        [("extra", "SMBIOS type11: the machine has more structures of this type than the host file's table")],
    ),
    "SMBIOS has fewer": (
        {"image": sample(), "host": smbios_host(TYPE11)},
        {"image": sample(), "host": smbios_host()},
        [("missing", "SMBIOS type11: the machine has fewer structures of this type than the host file's table")],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_causes(booted: Write, name: str):
    ours, theirs, expected = CASES[name]
    predicted, logged = booted(**ours), booted(**theirs)
    start = {key: value for key, value in ours.items() if key not in ("image", "host", "files")}
    if "files" in ours:
        start["esp"] = "esp"
    found = compare(predicted, log_of(logged), Start(**start))
    assert [row.kind for row in found.differences] == [kind for kind, _ in expected]
    for cause, (_, words) in zip(causes(found), expected, strict=True):
        assert words in cause
    # The other way round something differs as well, and each machine equals its own log.
    assert compare(logged, log_of(predicted)).differences
    assert not compare(logged, log_of(logged)).differences


def test_nothing_of_a_stub_in_the_log(booted: Write):
    result = booted()
    found = compare(result, log_of(result)._replace(events=()))
    assert found.matched == 0
    assert set(causes(found)) == {"nothing is in PCR 11: no systemd-stub ran on this machine, or it found no TPM"}
    assert found.hints == ("the log does not say which images were started (no boot application in PCR 4)",)


def test_something_else_extends_pcr_11(booted: Write):
    result = booted()
    log = log_of(result)
    found = compare(result, log._replace(events=(*log.events, ipl(11, "enter-initrd\x1b[31m"))))
    assert causes(found) == [r"the EV_IPL event 'enter-initrd\x1b[31m' of PCR 11 is nothing a systemd-stub measures"]
    assert found.differences[0].logged is not None
    assert found.differences[0].logged.place == len(log.events)


def test_another_order(booted: Write):
    files = {f"{EXTRA}{name}.addon.efi": addon(SectionSpec(".initrd", name.encode())) for name in "abc"}
    result = booted(image=sample(), files=files)
    log = log_of(result)
    *rest, a, b, c = log.events
    assert not compare(result, log).differences
    found = compare(result, log._replace(events=(*rest, b, c, a)))
    assert [row.kind for row in found.differences] == ["order"]
    assert causes(found) == ["both have it, but in another order, and the value of PCR 12 depends on the order"]


def test_the_first_difference_is_the_first_of_the_boot(booted: Write):
    result = booted(**OPTIONS)
    log = changed(changed(log_of(result), "debug"), ".osrel")
    log = log._replace(events=(*log.events, ipl(12, "late")))
    found = compare(result, log)
    assert [(row.predicted or row.logged).description for row in found.differences] == [".osrel", "debug", "late"]  # type: ignore[union-attr]


def test_load_options_that_a_boot_loader_measured_first(booted: Write):
    """systemd-boot measures load options between loading and starting the UKI, which then does it again."""
    result = booted(**OPTIONS)
    log = log_of(result)
    found = compare(result, log._replace(events=(log.events[0], ipl(12, "debug"), *log.events[1:])))
    assert not found.differences
    assert found.skipped == {4: 1, 12: 1}
    assert found.hints == (
        "PCR 12 has 1 event from before the stub, by a boot loader: its value is not the stub's alone",
    )


def test_smbios_that_a_boot_loader_measured_first(booted: Write):
    result = booted(image=sample(), host=smbios_host())
    log = log_of(result)
    *rest, one, two = log.events
    found = compare(result, log._replace(events=(one, two, *rest)))
    assert not found.differences
    assert found.hints == ("SMBIOS was measured before the stub, by a boot loader, which then sets LoaderPcrSMBIOS",)

    # Where the host file says so, they are not the stub's.
    told = booted(image=sample(), host=smbios_host(variables=[PCR_SMBIOS]))
    found = compare(told, log._replace(events=(one, two, *rest)))
    assert (found.differences, found.hints, found.skipped) == ((), (), {1: 2, 4: 1})


def test_smbios_of_a_host_without_a_table_is_not_compared(booted: Write):
    logged = booted(image=sample(), host=smbios_host())
    found = compare(booted(image=sample(), host=MACHINE), log_of(logged))
    assert not found.differences
    assert found.skipped == {1: 2, 4: 1}


def test_a_stub_that_ran_before(booted: Write):
    first, result = booted(image=sample(linux=b"no kernel")), booted()
    found = compare(result, log_of(result)._replace(events=(*log_of(first).events, *log_of(result).events)))
    assert found.matched == len(log_of(result).events) - 1
    assert {row.kind for row in found.differences} == {"extra"}
    assert len(found.differences) == len(log_of(first).events) - 1
    assert set(causes(found)) == {
        "measured before this UKI was started: by another UKI, which came back to the firmware or boot loader"
    }


def test_another_uki_was_started(booted: Write):
    result = booted()
    digest = authenticode.digest(result.uki.image).hex()
    log = log_of(result)
    other = application(result, bytes(32))
    one = compare(result, log._replace(events=(other, *log.events[1:])))
    two = compare(result, log._replace(events=(other, other, *log.events[1:])))
    assert one.hints == (
        f"this log is of another UKI: the image started (PCR 4) does not have this file's digest, sha256 {digest}",
    )
    assert two.hints[0].startswith("this log is of another UKI: none of the 2 images started (PCR 4) has this file's")
    assert compare(result, log._replace(events=(other, *log.events, other))).hints == ()


def test_a_boot_that_is_predicted_to_fail(booted: Write):
    result = booted(image=sample(linux=b"no kernel"))
    found = compare(result, log_of(result))
    assert not found.differences
    assert found.hints == (f"the boot is predicted to fail: {result.outcome.message}",)


# --- banks ------------------------------------------------------------------------------------------------------------


def banks(*names: str) -> dict[str, Any]:
    return MACHINE | {"tpm": {"banks": list(names)}}


def test_only_common_banks_are_compared(booted: Write):
    result = booted(host=banks("sha256"))
    found = compare(result, log_of(booted(host=banks("sha1", "sha256", "sha384"))))
    assert (found.banks, found.differences, list(found.pcrs)) == (("sha256",), (), ["sha256"])


def test_all_common_banks_are_compared(booted: Write):
    result = booted(host=banks("sha1", "sha256"))
    log = log_of(result)
    event = log.events[4]._replace(digests=log.events[4].digests | {"sha1": bytes(20)})
    found = compare(result, log._replace(events=(*log.events[:4], event, *log.events[5:])))
    assert [row.kind for row in found.differences] == ["differs"]


def test_a_bank_that_the_log_lacks_is_a_difference(booted: Write):
    found = compare(booted(host=banks("sha1", "sha256")), log_of(booted(host=banks("sha256"))))
    assert [(row.kind, row.predicted, row.logged) for row in found.differences] == [("bank", None, None)]
    assert causes(found)[0].startswith("the log has no sha1 bank: the machine's TPM does not use it")


def test_no_common_bank(booted: Write):
    with pytest.raises(StubsimError) as caught:
        compare(booted(host=banks("sha384")), log_of(booted(host=banks("sha1", "sha256"))))
    assert str(caught.value).startswith("the log and the host have no bank in common: the log has sha1, sha256")


def test_no_tpm(booted: Write):
    with pytest.raises(StubsimError, match="the host has no TPM") as caught:
        compare(booted(host=MACHINE | {"tpm": None}), log_of(booted()))
    assert caught.value.hint == "the log's banks are sha256: name them in the host file's tpm.banks"


# --- anything at all --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sample_boot(tmp_path_factory: pytest.TempPathFactory) -> Boot:
    path = tmp_path_factory.mktemp("uki") / "uki.efi"
    path.write_bytes(FULL_UKI)
    return boot(uki.load(str(path)), hosts.from_json(smbios_host()), Start(load_options=utf16z("a b")))


EVENTS = st.builds(
    Event,
    st.sampled_from([0, 1, 4, 11, 12, 13, 14, 0xFFFFFFFF]),
    st.sampled_from([3, 6, 13, EVENT_TYPES["EV_EFI_BOOT_SERVICES_APPLICATION"], 0xFFFF]),
    st.fixed_dictionaries({}, optional={"sha256": st.sampled_from([bytes(32), b"\1" * 32])}),
    st.sampled_from([b"", b"x", utf16z(".linux"), utf16z(".efifw"), utf16z("\ud800"), utf16z("smbios:type1")])
    | st.binary(max_size=12)
    | st.tuples(
        st.sampled_from([0x13AED6DB, 0xD5CB7CBC, 0x6C46F751, 0xDAC08E1A, 0x49DFFE0F, 1]),
        st.sampled_from(["", "1", "smbios:type1", "smbios:type11", "a.efi"]),
    ).map(lambda pair: eventlog.tagged(*pair)),
)


def check(result: Boot, log: Log) -> None:
    found = compare(result, log)
    predicted = sum(isinstance(event, Measured) for event in result.trace)
    pairs = [row for row in found.differences if row.kind in ("differs", "order")]
    missing = [row for row in found.differences if row.kind == "missing"]
    extra = [row for row in found.differences if row.kind == "extra"]
    # Every event of either side is accounted for exactly once.
    assert found.matched + len(pairs) + len(missing) == predicted
    extending = sum(event.type != EVENT_TYPES["EV_NO_ACTION"] for event in log.events)
    assert found.matched + len(pairs) + len(extra) + sum(found.skipped.values()) == extending
    assert all(row.cause for row in found.differences)


@given(st.lists(EVENTS, max_size=12))
def test_any_events(sample_boot: Boot, events: Sequence[Event]):
    check(sample_boot, Log(Header({"sha256": 32}), tuple(events)))


@given(st.data())
def test_the_real_log_with_events_taken_out_put_in_and_moved(sample_boot: Boot, data: st.DataObject):
    events = list(log_of(sample_boot).events)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(events) - 1))
        what = data.draw(st.sampled_from(["out", "in", "move"]))
        event = data.draw(EVENTS) if what == "in" else events.pop(place)
        if what != "out":
            events.insert(data.draw(st.integers(0, len(events))), event)
    check(sample_boot, Log(Header({"sha256": 32}), tuple(events)))


@given(st.binary(max_size=200))
def test_any_bytes(sample_boot: Boot, data: bytes):
    try:
        check(sample_boot, eventlog.parse_log(data))
    except StubsimError:
        return


@given(st.data())
def test_mutated_log(sample_boot: Boot, data: st.DataObject):
    try:
        check(sample_boot, eventlog.parse_log(data.draw(mutated(event_log(sample_boot)))))
    except StubsimError:
        return


def test_a_very_long_log_takes_no_time(sample_boot: Boot):
    """20,000 events that are all the same, as a hostile log may have them."""
    same = log_of(sample_boot).events[2]
    before = time.monotonic()
    found = compare(sample_boot, Log(Header({"sha256": 32}), (same,) * 20_000))
    assert found.matched <= 2
    assert time.monotonic() - before < 5
