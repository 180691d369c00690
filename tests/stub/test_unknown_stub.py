"""A stub that nobody has read or recorded: no value may rest on the rules that are assumed for it."""

from __future__ import annotations

import pytest

from stubsim.explain.measure import measure_any, measure_hosts
from stubsim.explain.verdicts import UNKNOWN, verdicts
from stubsim.formats import pe
from stubsim.hosts import Host
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.trace import WHOLE_RUN, Unknown
from stubsim.uki import Uki
from tests.stub.harness import KERNEL, make_pe, make_uki

UNKNOWN_BUILDS = ["252-99.el9", "257-99.el10"]
UNKNOWN_RELEASES = ["261~devel", "258~rc1", "257.99", "249.17"]
REGISTERS = (1, 4, 9, 11, 12, 13)
HOST = Host(tpm=("sha256",))


def named(stub: str) -> Uki:
    sdmagic = b"#### LoaderInfo: systemd-stub %s ####\0" % stub.encode()
    rows = [(".sdmagic", sdmagic), (".linux", KERNEL), (".cmdline", b"own")]
    return Uki(pe.open_bytes(make_pe(*rows), "lab.efi"))


def nameless() -> Uki:
    return Uki(pe.open_bytes(make_pe((".linux", KERNEL), (".cmdline", b"own")), "lab.efi"))


def assert_nothing_is_known(uki: Uki, start: Start) -> None:
    result = boot(uki, HOST, start)
    assert result.known_pcrs == {"sha256": {}}
    told = [event for event in result.events(Unknown) if event.affects == WHOLE_RUN]
    assert told
    for measurement in (measure_any(uki, start, ["sha256"]), measure_hosts(uki, [("lab", HOST)], start)):
        assert all(not values for case in measurement.cases for values in case.pcrs.values())
        found = verdicts(measurement)
        assert {pcr: row.verdict for pcr, row in found.items() if pcr != 5} == dict.fromkeys(REGISTERS, UNKNOWN)


@pytest.mark.parametrize("stub", [*UNKNOWN_BUILDS, *UNKNOWN_RELEASES])
def test_asked_for(stub: str):
    assert_nothing_is_known(make_uki((".cmdline", b"own")), Start(stub=stub))


@pytest.mark.parametrize("stub", [*UNKNOWN_BUILDS, *UNKNOWN_RELEASES, "263", "262.9", "gabcdef", "260-5.el11"])
def test_in_the_uki(stub: str):
    assert_nothing_is_known(named(stub), Start())


def test_without_a_name():
    assert_nothing_is_known(nameless(), Start())


@pytest.mark.parametrize("stub", ["252-1.el9", "252-76.el9", "254.26+suse.1", "257.13-1~deb13u1"])
def test_a_known_one_has_values(stub: str):
    assert boot(named(stub), HOST).known_pcrs["sha256"].keys() >= {11, 13}


@pytest.mark.parametrize("stub", ["262.1", "257"])
def test_asking_for_a_known_one_has_values(stub: str):
    """What a reader does who takes one for granted."""
    assert boot(nameless(), HOST, Start(stub=stub)).known_pcrs["sha256"].keys() >= {11, 13}
