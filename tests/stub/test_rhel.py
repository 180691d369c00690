"""RHEL's builds: which rows each has, and what only they do. Stubs built from their tags say the same in the lab."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.formats.efi_program import StubId
from stubsim.hosts import Host
from stubsim.stub import rhel
from stubsim.stub.arguments import process_arguments
from stubsim.stub.cmdline import append_addons, append_smbios, settle_command_line
from stubsim.stub.measure import Measured
from stubsim.stub.models import behaviour, choose, model_of
from stubsim.systemd.release import Release
from stubsim.trace import Unknown
from stubsim.uefi.loaded_image import ProgramFailed
from tests.stub.harness import make_uki, run

EXTRA = b"io.systemd.stub.kernel-cmdline-extra="
FROM_SMBIOS = Host(oem_strings=(EXTRA + b"a",))


@pytest.mark.parametrize(
    ("version", "id_", "features", "measures_uname"),
    [
        ("252-1.el9", "252-1.el9", 0xF, False),
        ("252-2.el9", "252-2.el9", 0xF, False),
        ("252-13.el9_2", "252-13.el9", 0xF, False),
        ("252-14.3.el9_2", "252-14.el9", 0xF, False),
        ("252-27.el9", "252-27.el9", 0xF, True),
        ("252-32.el9_4.7", "252-32.el9", 0x1F, True),
        ("252-51.0.1.el9_6.2", "252-51.el9", 0x1F, True),
        ("252-76.el9", "252-76.el9", 0x1F, True),
        ("257-13.el10_1.1", "257-13.el10", 0x7FF, True),
        ("257-9.el10.alma.1", "257-9.el10", 0x7FF, True),
    ],
)
def test_builds(version: str, id_: str, features: int, measures_uname: bool):
    model, reason = choose(StubId("systemd-stub", version))
    assert (model.id, model.stub_features, ".uname" in model.sections) == (id_, features, measures_uname)
    assert reason == f"systemd-stub {version} in the UKI"
    assert (model.verified("x64"), model.open_questions) == ((), ())
    assert choose(None, id_).model == model


@pytest.mark.parametrize(("version", "assumed"), [("252-77.el9", "252-76.el9"), ("257-40.el10", "257-28.el10")])
def test_builds_nobody_has_read(version: str, assumed: str):
    model, reason = choose(StubId("systemd-stub", version))
    assert reason == f"systemd-stub {version} in the UKI is not among the known builds: {assumed} is assumed"
    ((what, affects),) = model.open_questions
    assert assumed in what
    assert "pcrs" in affects


@pytest.mark.parametrize("version", ["252-5.fc37", "252-el9", "253-2.el9", "252-5.el9x", "257-9.el8", "252.4-5.el9"])
def test_what_is_no_build(version: str):
    assert rhel.find(version) is None


@given(st.text(max_size=30))
def test_any_text(version: str):
    found = rhel.find(version)
    assert found is None or found.build in rhel.BUILDS


def test_el10_is_a_release():
    for build, release in (("257-4.el10", (257, 2)), ("257-28.el10", (257, 3))):
        assert behaviour(choose(None, build).model) == behaviour(model_of(Release(*release)))


@pytest.mark.parametrize(("stub", "expected"), [("252-28.el9", "own a"), ("252-44.el9", "own"), ("252-20.el9", "own")])
def test_smbios_of_a_confidential_guest(stub: str, expected: str):
    """Whoever may have written it, up to 252-43.el9; before 252-28.el9 nobody reads it."""
    one = run(host=FROM_SMBIOS._replace(confidential="tdx"), stub=stub)
    assert append_smbios(one.context, "own", Measured()) == expected


def test_an_empty_line_from_smbios_halts():
    one = run(host=Host(oem_strings=(EXTRA,)), stub="252-76.el9")
    with pytest.raises(ProgramFailed, match="systemd-boot assertion 'description' failed"):
        append_smbios(one.context, "own", Measured())


@pytest.mark.parametrize(("stub", "counted"), [("252-28.el9", False), ("252-27.el9", None), ("252", None)])
def test_addons_without_a_tpm(stub: str, counted: bool | None):
    """What was measured last stands for a folder of addons: without a TPM nothing was."""
    one = run(host=Host(tpm=None), stub=stub)
    parameters = Measured()
    append_addons(one.context, "own", (), parameters)
    assert parameters.all is counted


@pytest.mark.parametrize(
    ("stub", "doubtful"), [("252.2", True), ("252.3", False), ("252-1.el9", True), ("252-2.el9", False)]
)
def test_lines_without_an_end(stub: str, doubtful: bool):
    """A stub built from 252.2 goes on behind `.cmdline` and load options alike; without either there is nothing."""
    for given_line, sections in ((None, [(".cmdline", b"own")]), ("given", []), (None, [])):
        one = run(make_uki(*sections), stub=stub)
        settle_command_line(one.context, given_line, one.sections(), Measured())
        expected = {12} if given_line else set()
        registers = [{*event.pcrs} & {12} for event in one.trace if isinstance(event, Unknown)]
        assert registers == ([expected] if doubtful and (given_line or sections) else [])


@pytest.mark.parametrize("version", ["253-2.el9", "260-5.el11"])
def test_a_build_of_no_known_package(version: str):
    """It is no release of upstream's, whatever its number."""
    model, reason = choose(StubId("systemd-stub", version))
    assert reason.endswith("is not among the known builds: " + f"{version[:3]}.0 is assumed")
    assert model.open_questions
    assert choose(None, version).model == model


@pytest.mark.parametrize(("stub", "doubtful"), [("252.2", True), ("252.3", False), ("252-1.el9", True)])
def test_load_options_of_one_byte(stub: str, doubtful: bool):
    """A stub built from v252-1 takes the byte behind them for the other half of a character."""
    for options, doubted in ((b"x", doubtful), (b"\0", doubtful), (b"", False)):
        one = run(load_options=options, stub=stub)
        assert process_arguments(one.context) == (0, None)
        registers = [{*event.pcrs} for event in one.trace if isinstance(event, Unknown)]
        assert registers == ([{9, 12}] if doubted else [])
