"""PCRs and RTMRs: extended as the recorded TPMs were."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.formats.eventlog import EVENT_TYPES, Event
from stubsim.machine.tpm import BANKS, Tpm, replay, rtmr


def digests(data: bytes, banks: tuple[str, ...] = BANKS) -> dict[str, bytes]:
    return {bank: hashlib.new(bank, data).digest() for bank in banks}


def test_recorded_measurements_give_the_recorded_pcrs(shared: Path) -> None:
    """The stub's own events, from zero, give PCR 11 to 13 of the machine; before it nothing extends 11 and 13."""
    compared = 0
    for path in sorted(shared.glob("golden/*@*/expect.json")):
        expect = json.loads(path.read_text())
        if not expect["pcrs"]:
            continue
        host = json.loads((path.parent / "host.json").read_text())
        tpm = Tpm(host["tpm"]["banks"])
        for measurement in expect["measurements"]:
            tpm.extend(measurement["pcr"], {b: bytes.fromhex(d) for b, d in measurement["digests"].items()})
        values = tpm.pcrs()["sha256"]
        # Where systemd-boot ran before the stub it has extended PCR 12.
        pcrs = (11, 13) if path.parent.name.startswith("sdboot") else (11, 12, 13)
        for pcr in pcrs:
            assert values[pcr].hex() == expect["pcrs"][str(pcr)], path.parent.name
        compared += 1
    assert compared > 100


def test_extend_by_hand() -> None:
    tpm = Tpm(["sha1", "sha256"])
    tpm.extend(11, digests(b"a"))
    tpm.extend(11, digests(b"b"))
    first = hashlib.sha1(bytes(20) + hashlib.sha1(b"a").digest()).digest()
    assert tpm.pcrs()["sha1"][11] == hashlib.sha1(first + hashlib.sha1(b"b").digest()).digest()


def test_registers_of_the_stub_are_listed_untouched() -> None:
    tpm = Tpm(["sha384"])
    tpm.extend(1, digests(b"smbios"))
    assert list(tpm.pcrs()) == ["sha384"]
    assert list(tpm.pcrs()["sha384"]) == [1, 11, 12, 13]
    assert tpm.pcrs()["sha384"][12] == bytes(48)
    assert tpm.pcrs()["sha384"][1] != bytes(48)


@pytest.mark.parametrize("banks", [None, (), []])
def test_without_a_tpm(banks: list[str] | None) -> None:
    tpm = Tpm(banks)
    tpm.extend(11, {})
    assert not tpm.present
    assert tpm.algorithms == ()
    assert tpm.pcrs() == {}
    assert tpm.rtmrs() == {}
    assert tpm.active_banks_mask == 0


@pytest.mark.parametrize(
    ("banks", "mask"), [(["sha1"], 1), (["sha256"], 2), (["sha384"], 4), (["sha512"], 8), (list(BANKS), 15)]
)
def test_active_banks_mask(banks: list[str], mask: int) -> None:
    assert Tpm(banks).active_banks_mask == mask


def test_active_banks_as_recorded(shared: Path) -> None:
    """LoaderTpm2ActivePcrBanks, which 262 sets, is the mask in hex."""
    masks = set()
    for path in sorted(shared.glob("golden/*@262.1/expect.json")):
        variable = (json.loads(path.read_text())["variables"] or {}).get("LoaderTpm2ActivePcrBanks")
        tpm = json.loads((path.parent / "host.json").read_text())["tpm"]
        if variable:
            assert f"{Tpm(tpm and tpm['banks']).active_banks_mask:#010x}" == variable["text"]
            masks.add(variable["text"])
    assert len(masks) == 3


def test_rtmr_of_each_pcr() -> None:
    assert [rtmr(pcr) for pcr in range(18)] == [None, 0, 1, 1, 1, 1, 1, 0, *[2] * 8, None, None]


def test_tdx_guest_without_tpm() -> None:
    tpm = Tpm(None, "tdx")
    assert tpm.present
    assert tpm.algorithms == ("sha384",)
    assert not tpm.tags_events
    tpm.extend(1, digests(b"smbios"))
    tpm.extend(11, digests(b"kernel"))
    tpm.extend(12, digests(b"cmdline"))
    tpm.extend(0, digests(b"firmware"))
    kernel = hashlib.sha384(bytes(48) + hashlib.sha384(b"kernel").digest()).digest()
    assert tpm.rtmrs() == {
        0: hashlib.sha384(bytes(48) + hashlib.sha384(b"smbios").digest()).digest(),
        1: bytes(48),
        2: hashlib.sha384(kernel + hashlib.sha384(b"cmdline").digest()).digest(),
    }
    assert tpm.pcrs() == {}
    assert tpm.active_banks_mask == 0


def test_tdx_guest_with_tpm() -> None:
    tpm = Tpm(["sha256"], "tdx")
    assert tpm.algorithms == ("sha256", "sha384")
    assert tpm.tags_events
    tpm.extend(11, digests(b"kernel", tpm.algorithms))
    assert tpm.pcrs()["sha256"][11] != bytes(32)
    assert tpm.rtmrs()[2] != bytes(48)


def test_other_confidential_guests_have_no_rtmrs() -> None:
    assert not Tpm(None, "sev-snp").present


@given(st.lists(st.tuples(st.integers(0, 23), st.binary(max_size=20)), max_size=20))
def test_replay_is_what_extend_does(measured: list[tuple[int, bytes]]) -> None:
    tpm = Tpm(BANKS)
    for pcr, data in measured:
        tpm.extend(pcr, digests(data))
    values = replay(Event(pcr, EVENT_TYPES["EV_IPL"], digests(data), b"") for pcr, data in measured)
    touched = {pcr for pcr, _ in measured}
    assert values == {
        bank: {pcr: value for pcr, value in values.items() if pcr in touched}
        for bank, values in tpm.pcrs().items()
        if touched
    }


def test_replay_of_events_that_extend_nothing() -> None:
    no_action = EVENT_TYPES["EV_NO_ACTION"]
    assert replay([Event(5, no_action, digests(b"x"), b"anything")]) == {}
    assert replay([Event(0, no_action, {}, b"StartupLocality\0\4")]) == {}


def test_replay_starts_pcr_0_with_the_locality() -> None:
    extend = Event(0, EVENT_TYPES["EV_S_CRTM_VERSION"], digests(b"x", ("sha256",)), b"")
    other = extend._replace(pcr=1)
    locality = Event(0, EVENT_TYPES["EV_NO_ACTION"], {}, b"StartupLocality\0\3")
    digest = extend.digests["sha256"]
    assert replay([locality, extend, other])["sha256"] == {
        0: hashlib.sha256(bytes(31) + b"\3" + digest).digest(),
        1: hashlib.sha256(bytes(32) + digest).digest(),
    }


def test_replay_leaves_out_banks_that_cannot_be_hashed() -> None:
    event = Event(4, EVENT_TYPES["EV_SEPARATOR"], {**digests(b"x", ("sha256",)), "0x1234": bytes(8)}, bytes(4))
    assert list(replay([event])) == ["sha256"]
