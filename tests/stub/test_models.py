from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts import recorded_areas
from stubsim import chid
from stubsim.errors import StubsimError
from stubsim.formats.efi_program import StubId
from stubsim.stub import recorded
from stubsim.stub.models import (
    NEWEST,
    PROPOSALS,
    Choice,
    StubModel,
    behaviour,
    choose,
    in_words,
    released,
    which,
)
from stubsim.systemd.release import KNOWN
from stubsim.trace import WHOLE_RUN

# Nothing is proven for a stub that nobody has recorded, whatever rules are taken for it.
ASSUMED = NEWEST._replace(
    recorded=None, open_questions=((f"what this stub does otherwise than {NEWEST.id}", WHOLE_RUN),)
)

# Versions as the stubs of releases and distributions write them into .sdmagic and .sbat.
VERSIONS = {
    "262.1-1": "262.1",
    "262": "262.0",
    "262-1": "262.0",
    "257.13-1~deb13u1": "257.13",
    "257": "257.0",
    "258.3-1.fc43": "258.3",
    "259-1ubuntu3": "259.0",
    "v260.3": "260.3",
    "261.1": "261.1",
    "256.4-1.fc41": "256.4",
    "255.4-1ubuntu8": "255.4",
    "252.39-1~deb12u1": "252.39",
    "252-51.el9_6.2": "252-51.el9",
    "254.26-1~bpo12+1": "254.26",
}


def model(name: str) -> StubModel:
    return choose(None, name).model


@pytest.mark.parametrize(("version", "id_"), VERSIONS.items())
def test_version(version: str, id_: str):
    choice = choose(StubId("systemd-stub", version))
    assert choice == Choice(model(id_), f"systemd-stub {version} in the UKI")


@pytest.mark.parametrize("version", ["262.2", "263", "263~rc1", "300.1-1", "99999"])
def test_newer_than_known(version: str):
    model, reason = choose(StubId("systemd-stub", version))
    assert model == ASSUMED
    assert version in reason
    assert "newer" in reason
    assert reason.endswith("262.1 is assumed")


def test_newer_than_known_in_its_series():
    choice, reason = choose(StubId("systemd-stub", "257.99"))
    assert (behaviour(choice), choice.recorded) == (behaviour(model("257.13")), None)
    assert choice.open_questions
    assert reason.endswith("is newer than the newest of its series: 257.13 is assumed")


@pytest.mark.parametrize(
    ("version", "release"), [("262~rc1", "262.0"), ("261~devel", "261.0"), ("258-rc2-4-gab", "258.0")]
)
def test_from_before_a_release(version: str, release: str):
    """Which of the release's changes it has already is not known, and what they change is told."""
    choice, reason = choose(StubId("systemd-stub", version))
    assert behaviour(choice) == behaviour(model(release))
    assert choice.verified("x64") == ()
    assert reason == f"systemd-stub {version} in the UKI, from before {release}, which is assumed"
    ((what, affects),) = choice.open_questions
    assert version.partition("~")[0].partition("-")[0] in what
    assert {"selection", "measurements", "pcrs"} <= set(affects)


def test_older_than_known():
    choice, reason = choose(StubId("systemd-stub", "249.17"))
    assert choice.id == "252.0"
    assert behaviour(choice) == behaviour(model("252.0"))
    assert reason == "systemd-stub 249.17 in the UKI is older than the oldest known: 252.0 is assumed"
    assert choice.verified("x64") == ()
    assert choice.open_questions


def test_a_series_without_a_point():
    """Upstream's row in .sbat has the series only, so it may be any of its releases."""
    choice, reason = choose(StubId("systemd-stub", "257", series_only=True))
    assert (behaviour(choice), choice.recorded) == (behaviour(model("257.13")), None)
    assert choice.open_questions
    assert reason == "systemd-stub 257 in the UKI, which names no point release: 257.13 is assumed"


@pytest.mark.parametrize("version", ["", "v", "devel", "gabcdef1", "-1", "٢٦٢", "²", "9" * 5000])
def test_no_release_in_the_version(version: str):
    model, reason = choose(StubId("systemd-stub", version))
    assert model == ASSUMED
    assert "assumed" in reason


def test_foreign_stub():
    """The version is the other project's own: 5 is not a release of systemd older than 257."""
    for version in ("5", "257", "0.1-1ubuntu1"):
        model, reason = choose(StubId("stubble", version))
        assert model == ASSUMED
        assert f"stubble {version}" in reason
        assert "assumed" in reason


def test_no_stub_in_the_file():
    model, reason = choose(None)
    assert model == ASSUMED
    assert "names no stub" in reason
    assert "assumed" in reason


@pytest.mark.parametrize("stub", [None, StubId("systemd-stub", "257.13-1"), StubId("stubble", "5")])
def test_override_by_name(stub: StubId | None):
    """The id of every model leads to it."""
    for known in (*released(), *PROPOSALS.values()):
        choice = choose(stub, known.id)
        assert choice == Choice(known, f"--stub {known.id}")


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("262.1", "262.1"), ("257.13-1~deb13u1", "257.13"), ("v260", "260.4"), ("258", "258.10"), ("257", "257.13"),
        ("257.0", "257.0"), ("257-1", "257.0"), ("252", "252.39"),
    ],
)  # fmt: skip
def test_override_by_release(name: str, id_: str):
    assert choose(StubId("systemd-stub", "262.1"), name) == Choice(model(id_), f"--stub {name}")


@pytest.mark.parametrize(("name", "id_"), [("262~rc1", "262.0"), ("257.99", "257.13"), ("250", "252.0")])
def test_an_override_that_is_assumed_says_so(name: str, id_: str):
    choice = choose(None, name)
    assert choice.model.id == id_
    assert choice.reason.startswith(f"--stub {name}")
    assert choice.reason.endswith("assumed")


@pytest.mark.parametrize("name", ["", "stubble-13", "lanzaboote", "263", "262.2", "Next", "fuki2", "newest"])
def test_unknown_override_lists_the_names(name: str):
    """Asked for by the user, a stub that nothing is known of is an error and not an assumption."""
    with pytest.raises(StubsimError) as raised:
        choose(StubId("systemd-stub", "262.1"), name)
    assert repr(name) in raised.value.message
    expected = raised.value.expected
    assert expected is not None
    for known in ("262.1", *PROPOSALS):
        assert known in expected.replace(",", "").split()


@given(st.text(max_size=30), st.text(max_size=30))
def test_every_stub_gets_a_model_and_a_reason(name: str, version: str):
    model, reason = choose(StubId(name, version))
    assert isinstance(model, StubModel)
    assert reason


@given(st.text(max_size=12) | st.from_regex(r"v?[0-9]{1,4}(\.[0-9]{1,3})?([-~](rc[0-9]|devel|1))?", fullmatch=True))
def test_every_override_gets_a_model_or_an_error(name: str):
    try:
        model = choose(None, name).model
    except StubsimError:
        return
    assert isinstance(model, StubModel)


# The models themselves.

MODELS = {model.id: model for model in (*released(), *PROPOSALS.values())}


def test_only_recorded_models_claim_to_be_verified():
    there = {release for name, release, machine in recorded.RECORDED if (name, machine) == ("systemd-stub", "x64")}
    assert {name for name, model in MODELS.items() if model.verified("x64")} == there
    assert {"252.39", "254.26", "257.13", "258.0", "259.8", "260.4", "261.0", "261.2", "262.1"} <= there
    for model in MODELS.values():
        assert (model.recorded is not None) == (model.basis == "recording"), model.id
    assert MODELS["262.1"].verified("arm") == ()


def test_what_is_verified_is_what_was_recorded(shared: Path):
    made = recorded_areas.module(recorded_areas.count(shared))
    assert made == Path(recorded.__file__).read_text(encoding="utf-8")


def test_the_prototype_says_what_it_leaves_open():
    """Known from a branch, never seen booting: the reader is told what may be wrong."""
    assert MODELS["fuki"].open_questions
    assert MODELS["fuki"].stub_features is None


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_rows_do_not_contradict_themselves(model: StubModel):
    assert set(model.chid_priority) <= set(chid.PRIORITY)
    # A firmware entry is of no use without the section, and neither is a table of devicetrees.
    assert not model.matches_firmware_entries or ".efifw" in model.sections
    assert not model.matches_devicetree_entries or {".hwids", ".dtbauto"} <= set(model.sections)
    assert model.takes_profiles == (".profile" in model.sections)
    assert model.firmware_section is None or model.firmware_section in model.sections


def test_sections_are_added_and_never_lost():
    """Each release knows what the one before it knew, in the same order: PCR 11 depends on it."""
    names = [model.sections for model in (*released(), PROPOSALS["next"])]
    for older, newer in pairwise(names):
        assert tuple(name for name in newer if name in older) == older


def test_which_match_firmware_entries():
    """258 knows .efifw; the look-up of firmware entries was backported (systemd pull request 42570)."""
    assert which(lambda model: ".efifw" in model.sections) == "258 to 262"
    assert which(lambda model: model.matches_firmware_entries) == "260.3, 260.4, 261.1 to 262"


def test_models_in_words():
    assert in_words(["257.13", "next", "257.12", "257.10"]) == "257.10, 257.12, 257.13, next"
    assert in_words([]) == ""
    assert in_words(map(str, KNOWN)) == "252 to 262"


def test_no_stub_is_verified_in_what_it_has_not_got():
    """A recording of stubble on a machine with a serial port shows nothing of console= arguments."""
    assert recorded_areas.NOT_IN_EACH.keys().isdisjoint(recorded.RECORDED["stubble", "14", "x64"])
    for (name, release, _), areas in recorded.RECORDED.items():
        for area, field in recorded_areas.NOT_IN_EACH.items():
            assert area not in areas or (name == "systemd-stub" and getattr(choose(None, release).model, field)), (
                release
            )
