"""A log beside the prediction: each recording against its own log is equal, a made-up machine's where it should be."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim import hosts, uki
from stubsim.errors import StubsimError
from stubsim.explain.diff_log import compare
from stubsim.formats import eventlog
from stubsim.formats.efi_string import utf16z
from stubsim.formats.eventlog import EVENT_TYPES, Event, Header, Log
from stubsim.formats.pe import SectionSpec
from stubsim.result import Boot
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.trace import ImageLoaded, Measured
from stubsim.views.eventlog import event_log
from tests.conftest import recordings
from tests.explain.logs import (
    EXTRA,
    MACHINE,
    OPTIONS,
    PCR_SMBIOS,
    Write,
    addon,
    application,
    causes,
    changed,
    ipl,
    log_of,
    smbios_host,
)
from tests.samples import FULL_UKI
from tests.samples import uki as sample
from tests.strategies import mutated

RECORDINGS = recordings()
# By a program of the lab, by the UEFI shell, from memory, or by a systemd-boot that is not on the partition.
STARTED_BY_ANOTHER = ("launch-", "dtfixup-", "dtfw-launch-", "shell-", "sdboot", "no-path", "qemu-kernel")
APPLICATION = EVENT_TYPES["EV_EFI_BOOT_SERVICES_APPLICATION"]
NOWHERE = "no kernel was started, or there is no TPM, so there is no log"


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
    # Every recorded log shows that this very UKI was started, and by the firmware itself where nothing else is said.
    if not folder.name.startswith(STARTED_BY_ANOTHER):
        assert found.hints == ()
    expected = json.loads((folder / "expect.json").read_text())
    images = sum(event.by == "stub" for event in result.events(ImageLoaded))
    assert found.matched_by["stub"] == len(expected["measurements"]) + images
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
        ("differs", result.image.path),  # type: ignore[union-attr]
        ("differs", ".hwids"),
        (kind, ".efifw"),
        (kind, ".efifw"),
    ]
    assert found.differences[1].cause.endswith("may select another .dtbauto or .efifw")
    assert words in found.differences[2].cause
    assert (found.root or "").startswith("this log is of another UKI")


def test_events_of_systemd_boot_are_not_the_stubs(shared: Path):
    folder = shared / "golden" / "sdboot@262.1"
    result, start = from_recording(folder)
    found = compare(result, recorded_log(folder), start)
    # Two of its SMBIOS events are in PCR 1, with four of the firmware and a separator.
    assert found.skipped[1] == 7


# --- built UKIs -----------------------------------------------------------------------------------------------------


def test_equal(booted: Write):
    result = booted()
    found = compare(result, log_of(result))
    assert (found.differences, found.root, found.hints, found.skipped) == ((), None, (), {})
    assert found.matched == sum(isinstance(event, Measured | ImageLoaded) for event in result.trace)
    assert found.matched_by == {"firmware": 1, "stub": found.matched - 1}
    assert found.pcrs["sha256"][11] == result.pcrs["sha256"][11]


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
    assert causes(found) == [
        r"the EV_IPL event 'enter-initrd\x1b[31m' of PCR 11 is not something that systemd-stub measures"
    ]
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
    assert causes(found) == ["both have it, but in a different order, and the value of PCR 12 depends on the order"]


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
    assert [(row.kind, row.logged and row.logged.place) for row in found.differences] == [("extra", 1)]
    assert "a boot loader has measured the load options that it passes on, 'debug'" in causes(found)[0]


def test_smbios_that_a_boot_loader_measured_first(booted: Write):
    result = booted(image=sample(), host=smbios_host())
    log = log_of(result)
    *rest, one, two = log.events
    found = compare(result, log._replace(events=(one, two, *rest)))
    assert not found.differences
    assert found.hints == ("SMBIOS was measured before the stub, by a boot loader, which then sets LoaderPcrSMBIOS",)

    # Where not known of this machine, they are not the stub's.
    told = booted(image=sample(), host=smbios_host(variables=[PCR_SMBIOS]))
    found = compare(told, log._replace(events=(one, two, *rest)))
    assert (found.differences, found.hints, found.skipped) == ((), (), {1: 2})


def test_smbios_of_a_host_without_a_table_is_not_compared(booted: Write):
    logged = booted(image=sample(), host=smbios_host())
    found = compare(booted(image=sample(), host=MACHINE), log_of(logged))
    assert not found.differences
    assert found.skipped == {1: 2}


def test_a_stub_that_ran_before(booted: Write):
    first, result = booted(image=sample(linux=b"no kernel")), booted()
    found = compare(result, log_of(result)._replace(events=(*log_of(first).events, *log_of(result).events)))
    assert found.matched == len(log_of(result).events)
    assert {row.kind for row in found.differences} == {"extra"}
    assert len(found.differences) == len(log_of(first).events) - 1
    assert set(causes(found)) == {
        "measured before this UKI was started: by another UKI, which came back to the firmware or boot loader"
    }
    assert found.hints == (
        "PCR 4 has other images from before: \\EFI\\Linux\\uki.efi; it is not that of this boot alone",
    )


def test_another_uki_was_started(booted: Write):
    result = booted()
    log = log_of(result)
    other = application(result, bytes(32))
    found = compare(result, log._replace(events=(other, *log.events[1:])))
    assert causes(found) == [
        "this log is of another UKI: an image without a path (PCR 4) does not have this file's digest"
    ]
    assert (found.root or "").startswith("this log is of another build of this UKI (an image without a path, PCR 4)")
    found = compare(result, changed(log._replace(events=(other, *log.events[1:])), ".osrel"))
    assert found.root == "this log is of another UKI (an image without a path, PCR 4): it differs in .osrel"


def test_a_boot_that_is_predicted_to_fail(booted: Write):
    result = booted(image=sample(linux=b"no kernel"))
    found = compare(result, log_of(result))
    assert not found.differences
    message, because = result.outcome.message, result.outcome.because
    assert found.hints == (f"the boot is predicted to fail: {message}: {because}",)


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
    tells_images = any((event.pcr, event.type) == (4, APPLICATION) for event in log.events)
    kinds = (Measured, ImageLoaded) if tells_images else (Measured,)
    predicted = sum(isinstance(event, kinds) for event in result.trace)
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
    before = time.process_time()
    found = compare(sample_boot, Log(Header({"sha256": 32}), (same,) * 20_000))
    assert found.matched <= 2
    assert time.process_time() - before < 5
