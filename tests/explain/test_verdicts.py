"""One value, or what it hangs on; recorded registers are compared in conformance/test_linux.py."""

from __future__ import annotations

from stubsim.explain.measure import measure_any, measure_hosts
from stubsim.explain.verdicts import BY_MACHINE, UNKNOWN, VALUE, verdicts
from stubsim.formats.efi_string import utf16z
from stubsim.hosts import Host
from stubsim.hosts.host import Variable
from stubsim.start import Start
from stubsim.uefi.variables import LOADER
from tests.stub.harness import make_uki

UKI = make_uki((".osrel", b"ID=lab"))


def verdicts_of(*hosts: Host, start: Start | None = None) -> dict[int, str]:
    measurement = measure_hosts(UKI, [(f"host {n}", host) for n, host in enumerate(hosts)], start or Start())
    return {pcr: row.verdict for pcr, row in verdicts(measurement).items()}


def test_one_machine():
    """What a kernel measures that is no Linux nobody knows."""
    assert verdicts_of(Host()) == {4: VALUE, 9: UNKNOWN, 11: VALUE, 12: VALUE, 13: VALUE}


def test_machines_differ():
    extra = Host(oem_strings=(b"io.systemd.stub.kernel-cmdline-extra=x",))
    assert verdicts_of(Host(), extra)[12] == BY_MACHINE


def test_no_machine():
    rows = verdicts(measure_any(UKI, Start()))
    assert rows[11].verdict == VALUE
    assert rows[12].verdict == BY_MACHINE


def test_no_value_that_leaves_the_boot_loader_out():
    """It has measured the load options before the stub did, and its own image is in PCR 4."""
    host = Host(variables=(Variable("LoaderInfo", LOADER, 6, utf16z("systemd-boot 257.13")),))
    options = Start(load_options=utf16z("quiet"))
    assert verdicts_of(host, start=options)[12] == UNKNOWN
    assert verdicts_of(host, start=options)[4] == UNKNOWN
    assert verdicts_of(host)[12] == VALUE
    assert verdicts_of(host, start=options._replace(loader="none"))[12] == VALUE
