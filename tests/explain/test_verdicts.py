"""One value, or what it hangs on; recorded registers are compared in conformance/test_linux.py."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from uuid import UUID

from stubsim.explain.measure import measure_any, measure_hosts
from stubsim.explain.verdicts import BY_BOOT, BY_MACHINE, IN_PART, UNKNOWN, VALUE, verdicts
from stubsim.formats import pe, smbios
from stubsim.formats.efi_string import utf16z
from stubsim.hosts import Host
from stubsim.hosts.host import DirectBoot, Variable
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.uefi.variables import LOADER
from stubsim.uki import Uki
from tests import samples


def made(**how: Any) -> Uki:
    return Uki(pe.open_bytes(samples.uki(**how), "lab.efi"))


UKI = made()


def verdicts_of(*hosts: Host, start: Start | None = None) -> dict[int, str]:
    measurement = measure_hosts(UKI, [(f"host {n}", host) for n, host in enumerate(hosts)], start or Start())
    return {pcr: row.verdict for pcr, row in verdicts(measurement).items()}


def test_one_machine():
    """What a kernel measures that is no Linux nobody knows."""
    host = Host(structures=smbios.parse(smbios.from_fields(smbios.Fields(manufacturer=b"Lab"))))
    expected = {1: IN_PART, 4: VALUE, 5: IN_PART, 9: UNKNOWN, 11: VALUE, 12: VALUE, 13: VALUE}
    assert verdicts_of(host) == expected
    assert verdicts_of(Host()) == expected | {1: UNKNOWN}
    rows = verdicts(measure_hosts(UKI, [("h", host)], Start()))
    assert [event.description for event in rows[1].events] == ["smbios:type1"]
    assert "if the firmware starts the UKI itself" in (rows[4].because or "")


def test_machines_differ():
    extra = Host(oem_strings=(b"io.systemd.stub.kernel-cmdline-extra=x",))
    assert verdicts_of(Host(), extra)[12] == BY_MACHINE


def test_no_machine_and_nothing_that_tells_of_a_loader():
    """PCR 4 and 12 have events of a boot loader, if there is one."""
    measurement = measure_any(UKI, Start())
    rows = verdicts(measurement)
    assert (rows[11].verdict, rows[13].verdict) == (VALUE, BY_MACHINE)
    for pcr in (4, 12):
        assert rows[pcr].verdict == UNKNOWN
        assert "a boot loader has started the UKI" in (rows[pcr].because or "")
        assert all(pcr not in case.pcrs["sha256"] for case in measurement.cases)
    assert not [text for text in measurement.assumed if text.startswith("PCR 4")]


def test_no_machine_is_needed_for_what_hangs_on_none(tmp_path: Path):
    """Without a boot loader, and with the partition; the stub's own SMBIOS strings may be on any machine."""
    rows = verdicts(measure_any(UKI, Start(loader="none", esp=str(tmp_path))))
    assert (rows[4].verdict, rows[13].verdict) == (VALUE, VALUE)
    assert (rows[12].verdict, rows[12].because) == (
        BY_MACHINE, "it depends on SMBIOS type 11; the value given is that of a plain machine"
    )  # fmt: skip
    assert rows[1].verdict == BY_MACHINE
    without = verdicts(measure_any(UKI, Start(loader="none")))
    assert all("what lies on its partition" in (without[pcr].because or "") for pcr in (4, 12, 13))


def test_secure_boot_keeps_a_kernel_out_of_pcr_4():
    """257 has the firmware load the kernel, which under Secure Boot the stub checks itself."""
    signed = made(stub="systemd-stub 257.13", certificates=bytes(8))
    rows = verdicts(measure_any(signed, Start(loader="none")))
    assert "Secure Boot" in (rows[4].because or "")
    newer = made(certificates=bytes(8))
    assert "Secure Boot" not in (verdicts(measure_any(newer, Start(loader="none")))[4].because or "")


def test_what_differs_is_named():
    extra = Host(oem_strings=(b"io.systemd.stub.kernel-cmdline-extra=x",))
    measurement = measure_hosts(UKI, [("a", Host()), ("b", extra), ("c", extra)], Start())
    assert verdicts(measurement)[12].because == "2 values on 3 machines, by x"


def test_a_boot_secret_that_is_drawn_is_another_at_each_boot():
    host = Host(rng=True, esp_partition_uuid=UUID(int=1))
    linux = made(linux=samples.linux("6.12.1"))
    row = verdicts(measure_hosts(linux, [("h", host)], Start()))[9]
    assert row.verdict == BY_BOOT
    # The bytes that it names are those that two secrets differ in, and with one of them there is a value.
    first, last, size = map(int, re.search(r"bytes (\d+) to (\d+) of (\d+)", row.because or "").groups())  # type: ignore[union-attr]
    one, two = (
        b"".join(bytes(part) for part in boot(linux, host._replace(boot_secret=secret), Start()).prepared.initrd.parts)  # type: ignore[union-attr]
        for secret in (bytes(32), b"\xff" * 32)
    )
    assert [place for place in range(size) if one[place] != two[place]] == list(range(first, last + 1))
    known = host._replace(boot_secret=bytes(32))
    assert verdicts(measure_hosts(linux, [("h", known)], Start()))[9].verdict == VALUE


def test_a_linux_that_measures_nothing():
    linux = made(linux=samples.linux("5.10.0"))
    measurement = measure_hosts(linux, [("h", Host())], Start())
    assert verdicts(measurement)[9] == (VALUE, "Linux 5.10.0 measures nothing", ())
    assert measurement.cases[0].pcrs["sha256"][9] == bytes(32)


def test_no_value_that_leaves_the_boot_loader_out():
    """It has measured the load options before the stub did, and its own image is in PCR 4."""
    host = Host(variables=(Variable("LoaderInfo", LOADER, 6, utf16z("systemd-boot 257.13")),))
    options = Start(load_options=utf16z("quiet"))
    assert verdicts_of(host, start=options)[12] == UNKNOWN
    assert verdicts_of(host, start=options)[4] == UNKNOWN
    assert verdicts_of(host)[12] == VALUE
    assert verdicts_of(host, start=options._replace(loader="none"))[12] == VALUE


def test_variables_that_are_not_known_may_have_a_loaders():
    host = Host(unknown=frozenset({"variables"}))
    assert verdicts_of(host)[4] == UNKNOWN
    assert verdicts_of(host, start=Start(load_options=utf16z("quiet")))[12] == UNKNOWN
    assert verdicts_of(host)[12] == VALUE
    told = Start(load_options=utf16z("quiet"), loader="none")
    assert (verdicts_of(host, start=told)[4], verdicts_of(host, start=told)[12]) == (VALUE, VALUE)


def test_qemus_kernel_is_started_by_the_firmware():
    rows = verdicts(measure_hosts(UKI, [("h", Host(direct_boot=DirectBoot()))], Start()))
    assert (rows[4].verdict, rows[4].because) == (VALUE, None)
