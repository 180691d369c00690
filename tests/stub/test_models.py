from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim import chid
from stubsim.errors import StubsimError
from stubsim.stub.models import MODELS, Choice, StubModel, choose, release_of

# Nothing is proven for a stub that nobody has recorded, whatever rules are taken for it.
ASSUMED = MODELS["262"]._replace(verified=())

# Versions as the stubs of releases and distributions write them into .sdmagic and .sbat.
VERSIONS = {
    "262.1-1": (262, "262"),
    "262": (262, "262"),
    "262~rc1-1": (262, "262"),
    "257.13-1~deb13u1": (257, "257"),
    "257": (257, "257"),
    "257~rc3": (257, "257"),
    "258~rc2": (258, "258-261"),
    "258.3-1.fc43": (258, "258-261"),
    "259-1ubuntu3": (259, "258-261"),
    "v260.3": (260, "258-261"),
    "261.1": (261, "258-261"),
    "256.4-1.fc41": (256, "256"),
    "255.4-1ubuntu8": (255, "256"),
    "252.39-1~deb12u1": (252, "256"),
}


@pytest.mark.parametrize(("version", "release", "model"), [(v, *expected) for v, expected in VERSIONS.items()])
def test_version(version: str, release: int, model: str):
    assert release_of(version) == release
    choice = choose(("systemd-stub", version))
    assert choice == Choice(MODELS[model], f"systemd-stub {version} in the UKI")


@pytest.mark.parametrize("version", ["263", "263~rc1", "300.1-1", "99999"])
def test_newer_than_known(version: str):
    model, reason = choose(("systemd-stub", version))
    assert model == ASSUMED
    assert version in reason
    assert "newer" in reason
    assert "assumed" in reason


@pytest.mark.parametrize("version", ["", "v", "devel", "gabcdef1", "-1", "٢٦٢", "²", "9" * 5000])
def test_no_release_in_the_version(version: str):
    assert release_of(version) is None
    model, reason = choose(("systemd-stub", version))
    assert model == ASSUMED
    assert "assumed" in reason


def test_foreign_stub():
    """The version is the other project's own: 5 is not a release of systemd older than 257."""
    for version in ("5", "257", "0.1-1ubuntu1"):
        model, reason = choose(("stubble", version))
        assert model == ASSUMED
        assert f"stubble {version}" in reason
        assert "assumed" in reason


def test_no_stub_in_the_file():
    model, reason = choose(None)
    assert model == ASSUMED
    assert "names no stub" in reason
    assert "assumed" in reason


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("stub", [None, ("systemd-stub", "257.13-1"), ("stubble", "5")])
def test_override_by_name(name: str, stub: tuple[str, str] | None):
    assert choose(stub, name) == Choice(MODELS[name], f"--stub {name}")


@pytest.mark.parametrize(
    ("name", "model"),
    [("262.1", "262"), ("257.13-1~deb13u1", "257"), ("v260", "258-261"), ("258", "258-261"), ("250", "256")],
)
def test_override_by_release(name: str, model: str):
    assert choose(("systemd-stub", "262.1"), name) == Choice(MODELS[model], f"--stub {name}")


@pytest.mark.parametrize("name", ["", "stubble", "263", "Next", "fuki2", "newest"])
def test_unknown_override_lists_the_names(name: str):
    """Asked for by the user, a stub that nothing is known of is an error and not an assumption."""
    with pytest.raises(StubsimError) as raised:
        choose(("systemd-stub", "262.1"), name)
    assert repr(name) in raised.value.message
    expected = raised.value.expected
    assert expected is not None
    for known in MODELS:
        assert known in expected.replace(",", "").split()


@given(st.text(max_size=30), st.text(max_size=30))
def test_every_stub_gets_a_model_and_a_reason(name: str, version: str):
    model, reason = choose((name, version))
    assert model in (*MODELS.values(), ASSUMED)
    assert reason


@given(st.text(max_size=12))
def test_every_override_gets_a_model_or_an_error(name: str):
    try:
        model = choose(None, name).model
    except StubsimError:
        return
    assert model in (*MODELS.values(), ASSUMED)


# The table itself.


def test_models_are_named_by_their_id():
    assert all(model.id == name for name, model in MODELS.items())


def test_only_recorded_models_claim_to_be_verified():
    assert {name for name, model in MODELS.items() if model.verified} == {"257", "262"}
    for model in MODELS.values():
        assert bool(model.verified) == (model.basis == "recording"), model.id
        assert len(set(model.verified)) == len(model.verified)


def test_what_is_only_read_says_what_it_leaves_open():
    """Known from releases' sources or a branch, never seen booting: the reader is told what may be wrong."""
    for name in ("256", "258-261", "fuki"):
        assert MODELS[name].open_questions, name
        assert MODELS[name].stub_features is None, name


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
    names = [MODELS[name].sections for name in ("256", "257", "258-261", "262", "next")]
    for older, newer in pairwise(names):
        assert newer[: len(older)] == older


def test_258_to_261_do_not_match_firmware_entries():
    """They know .efifw but look .hwids up for devicetrees only: systemd pull request 42570."""
    model = MODELS["258-261"]
    assert ".efifw" in model.sections
    assert not model.matches_firmware_entries
    assert model.matches_devicetree_entries
