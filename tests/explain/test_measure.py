"""PCR values by phase, bank and machine, and what is left out because it is not known."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from stubsim import uki
from stubsim.explain.measure import (
    PHASES,
    Measurement,
    at_phase,
    in_every_case,
    measure_any,
    measure_hosts,
    pcrs_of,
    phase_path,
    policy,
    values_at,
)
from stubsim.formats import authenticode, fdt, hwids, pe, smbios
from stubsim.formats.pe import SectionSpec
from stubsim.hosts import Host
from stubsim.start import Start
from tests import samples

FIELDS = smbios.Fields(**{key: text.encode() for key, text in samples.MACHINE.items()})
MATCHING = Host(name="matching", fields=FIELDS)


def loaded(*sections: SectionSpec, **options: Any) -> uki.Uki:
    return uki.Uki(pe.open_bytes(samples.uki(*sections, **options), "made.efi"))


FIRMWARE_UKI = uki.Uki(pe.open_bytes(samples.FIRMWARE_UKI, "made.efi"))


def on(image: uki.Uki, host: Host, start: Start | None = None, banks: tuple[str, ...] | None = None) -> Measurement:
    return measure_hosts(image, [("h", host)], start or Start(), banks)


def replayed(bank: str, *contents: bytes) -> bytes:
    value = bytes(hashlib.new(bank).digest_size)
    for content in contents:
        value = hashlib.new(bank, value + hashlib.new(bank, content).digest()).digest()
    return value


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (":", ""),
        ("", ""),
        ("::", ""),
        (":a:", "a"),
        ("a::b", "a:b"),
        ("enter-initrd", "enter-initrd"),
        ("a b:c", "a b:c"),
    ],
)
def test_phase_path(text: str, path: str):
    assert phase_path(text) == path


@pytest.mark.parametrize("bank", ["sha1", "sha256", "sha384", "sha512"])
def test_phases(bank: str):
    start = replayed(bank, b"x")
    assert at_phase(bank, start, "") == start
    assert at_phase(bank, start, "one:two") == replayed(bank, b"x", b"one", b"two")


def test_pcr_4_of_262_has_the_uki_alone_and_of_257_the_kernel_too():
    attempt = [b"Calling EFI Application from Boot Option", bytes(4)]
    for stub, images in (("262.1", 1), ("257.13", 2)):
        image = loaded(stub=f"systemd-stub {stub}")
        for bank in ("sha1", "sha256"):
            value = replayed(bank, *attempt)
            digests = [authenticode.digest(image.image, bank), authenticode.digest(samples.KERNEL, bank)]
            for digest in digests[:images]:
                value = hashlib.new(bank, value + digest).digest()
            assert on(image, Host(), None, (bank,)).cases[0].pcrs[bank][4] == value


@pytest.mark.parametrize(
    ("start", "why"), [(Start(shell="x.efi a"), "shell"), (Start(from_memory=True), "unknown program")]
)
def test_pcr_4_is_not_known_when_something_was_started_before(start: Start, why: str):
    (case,) = on(loaded(), Host(), start).cases
    assert 4 not in case.pcrs["sha256"]
    assert [why in row.why for row in case.unknown if row.what == "PCR 4"] == [True]


def test_pcr_4_has_an_addon_for_another_machine_too(tmp_path: Path):
    """OVMF measures an image before it refuses it (seen in QEMU)."""
    folder = tmp_path / "loader" / "addons"
    folder.mkdir(parents=True)
    sections = [SectionSpec(".cmdline", b"more")]
    good = pe.build(sections)
    (folder / "a.addon.efi").write_bytes(good)
    (case,) = on(loaded(), Host(), Start(esp=str(tmp_path))).cases
    plain = on(loaded(), Host()).cases[0].pcrs["sha256"][4]
    assert case.pcrs["sha256"][4] == hashlib.sha256(plain + authenticode.digest(good, "sha256")).digest()
    foreign = pe.build(sections, machine=0xAA64)
    (folder / "b.addon.efi").write_bytes(foreign)
    (both,) = on(loaded(), Host(), Start(esp=str(tmp_path))).cases
    one = case.pcrs["sha256"][4]
    assert both.pcrs["sha256"][4] == hashlib.sha256(one + authenticode.digest(foreign, "sha256")).digest()


def test_pcr_1_is_never_given():
    table = smbios.parse(smbios.from_fields(FIELDS))
    (case,) = on(loaded(), Host(structures=table, fields=FIELDS)).cases
    assert any(event.pcr == 1 for event in case.measurements)
    assert 1 not in case.pcrs["sha256"]
    assert "PCR 1" in [row.what for row in case.unknown]


@pytest.mark.parametrize(
    ("key", "lost"),
    [
        ("smbios", {11, 12}), ("smbios_table", {11, 12}), ("smbios.family", {11}), ("smbios.oem_strings", {12}),
        ("edid", set()), ("secure_boot", set()), ("confidential", {4}), ("memory", set()), ("variables", {4}),
        ("smbios.bios_vendor", set()), ("smbios.product_sku", {11}),
    ],
)  # fmt: skip
def test_what_depends_on_the_unknown_is_left_out(key: str, lost: set[int]):
    (case,) = on(FIRMWARE_UKI, MATCHING._replace(unknown=frozenset({key}))).cases
    assert set(case.pcrs["sha256"]) == {4, 11, 12, 13} - lost
    assert {row.what for row in case.unknown} >= {f"PCR {pcr}" for pcr in lost}


def test_without_sections_by_machine_pcr_11_is_known_on_an_unknown_one():
    (case,) = on(loaded(), Host(unknown=frozenset({"smbios"}))).cases
    assert set(case.pcrs["sha256"]) == {4, 11, 13}


def test_banks_are_those_of_the_machine_or_those_asked_for():
    assert on(loaded(), Host(tpm=("sha384", "sha1"))).banks == ("sha1", "sha384")
    assert on(loaded(), Host(), None, ("sha512", "sha1")).banks == ("sha1", "sha512")
    assert measure_any(loaded(), Start()).banks == ("sha256",)


def test_without_a_tpm_nothing_is_measured():
    result = on(loaded(), Host(tpm=None))
    assert (result.banks, result.cases[0].pcrs) == ((), {})
    assert any("no TPM" in row.why for row in result.cases[0].unknown)
    taken = on(loaded(), Host(tpm=None), None, ("sha256",))
    assert taken.cases[0].pcrs == on(loaded(), Host()).cases[0].pcrs
    assert any("no TPM" in text for text in taken.assumed)


def test_a_tdx_guest_measures_elsewhere():
    (case,) = on(loaded(), Host(tpm=None, confidential="tdx")).cases
    assert case.pcrs == {}
    assert any("RTMR" in row.why for row in case.unknown)


def test_a_boot_that_fails_early_has_no_values():
    (case,) = on(loaded(linux=None), Host()).cases
    assert case.pcrs == {}
    assert "all values" in [row.what for row in case.unknown]


def test_a_refused_kernel_leaves_what_was_measured_before():
    (case,) = on(loaded(linux=b"no kernel"), Host()).cases
    assert set(case.pcrs["sha256"]) == {11, 12, 13}
    assert "the phases of this boot" in [row.what for row in case.unknown]
    result = on(loaded(linux=b"no kernel"), Host())
    assert [row.phase for row in values_at(result, 11, ("", *PHASES))] == [""]


def test_any_machine_agrees_with_each_machine():
    start = Start(loader="none")
    rows = measure_any(FIRMWARE_UKI, start).cases
    by_choice = {case.efifw and case.efifw.index: case for case in rows}
    for host in (MATCHING, Host()):
        (case,) = on(FIRMWARE_UKI, host).cases
        same = by_choice[case.efifw and case.efifw.index]
        assert same.pcrs == case.pcrs
        assert [e.digests for e in same.measurements] == [e.digests for e in case.measurements]
    assert in_every_case(measure_any(FIRMWARE_UKI, start))["sha256"].keys() == {4, 12, 13}


def test_an_addon_with_devicetrees_makes_pcr_12_a_matter_of_the_machine(tmp_path: Path):
    folder = tmp_path / "loader" / "addons"
    folder.mkdir(parents=True)
    sections = [SectionSpec(".dtbauto", fdt.build(["a"])), samples.table((hwids.DEVICETREE, "a"))]
    (folder / "a.addon.efi").write_bytes(pe.build(sections))
    start = Start(esp=str(tmp_path))
    assert pcrs_of(measure_any(loaded(), start)) == (4, 11, 13)
    values = [on(loaded(), host, start).cases[0].pcrs["sha256"][12] for host in (MATCHING, Host())]
    assert values[0] != values[1]


def test_policy_merges_machines_with_the_same_values():
    hosts = [("a", MATCHING), ("b", Host()), ("c", MATCHING), ("d", Host(unknown=frozenset({"smbios"})))]
    result = measure_hosts(FIRMWARE_UKI, hosts, Start())
    merged = policy(result)
    assert [case.hosts for case in merged.cases] == [("a", "c"), ("b",), ("d",)]
    rows = values_at(merged, 11, PHASES)
    assert [row.hosts for row in rows] == [("a", "c"), ("b",)] * len(PHASES)
    assert len({row.value for row in rows}) == len(rows)
    assert [row.hosts for row in values_at(result, 13, PHASES)] == [("a", "b", "c", "d")]
