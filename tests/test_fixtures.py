"""The fixture UKIs are what they say, for tools we did not write as well, and the README says what is true."""

from __future__ import annotations

import doctest
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts import build_fixtures
from stubsim import boot, hosts, uki
from stubsim.errors import StubsimError
from stubsim.explain import snp
from stubsim.explain.payload import decode
from stubsim.explain.selection import reasons
from stubsim.formats import efifw, payload
from stubsim.formats.pe import Section
from stubsim.result import Boot
from stubsim.trace import FwCfgWritten, Log
from tests.documents import Example, blocks, compare, examples, links, workplace

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
NAMES = tuple(build_fixtures.FIXTURES)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return workplace(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def built(tree: Path) -> Path:
    return tree / "build" / "fixtures"


def booted(built: Path, name: str, host: str) -> Boot:
    return boot(uki.load(str(built / name)), hosts.load(str(ROOT / "fixtures" / "hosts" / f"{host}.json")))


def chosen(result: Boot, section: str) -> int | None:
    assert result.sections is not None
    found = result.sections.section(section)
    return None if found is None else found.index


def all_of(image: uki.Uki, name: str) -> list[Section]:
    return [section for section in image.image.sections if section.name == name]


# --- the files -------------------------------------------------------------------------------------------------------


def test_two_runs_give_the_same_bytes(built: Path, tmp_path: Path):
    # Another process, as hash seeds differ between processes only.
    command = [sys.executable, str(ROOT / "scripts" / "build_fixtures.py"), str(tmp_path)]
    subprocess.run(command, check=True, timeout=60, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
    for name in NAMES:
        assert (tmp_path / name).read_bytes() == (built / name).read_bytes(), name


@pytest.mark.parametrize("name", NAMES)
def test_pefile_reads_them_without_a_warning(built: Path, name: str):
    import pefile

    image = pefile.PE(str(built / name))
    assert image.get_warnings() == []
    sections = {section.Name.rstrip(b"\0").decode(): section for section in image.sections}
    assert sections[".sdmagic"].get_data().startswith(b"#### LoaderInfo: systemd-stub ")
    kernel = pefile.PE(data=sections[".linux"].get_data()[: sections[".linux"].Misc_VirtualSize])
    assert kernel.get_warnings() == []
    assert kernel.OPTIONAL_HEADER.MajorImageVersion == 1
    assert not kernel.has_relocs()


@pytest.mark.oracle
@pytest.mark.parametrize("name", NAMES)
def test_ukify_inspects_them(built: Path, name: str, newer_oracle: Callable[..., str]):
    inspected = json.loads(newer_oracle("ukify", (built / name).read_bytes(), "--json=short", "inspect", "{}"))
    assert inspected[".osrel"]["text"] == build_fixtures.OS_RELEASE.decode()
    linux = build_fixtures.bzimage() if name == "fuki.efi" else build_fixtures.kernel(build_fixtures.X64)
    assert inspected[".linux"]["size"] == len(linux)


@pytest.mark.oracle
def test_cpio_lists_the_initrd(oracle: Callable[[str], str]):
    done = subprocess.run(
        [oracle("cpio"), "--list", "--quiet"],
        input=build_fixtures.initrd(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == [b"etc", b"etc/initrd-release", b"etc/noise"]


def test_pyelftools_reads_the_elf_payload():
    from elftools.elf.elffile import ELFFile

    file = ELFFile(io.BytesIO(build_fixtures.elf_file()))
    (segment,) = file.iter_segments()
    assert (file.elfclass, file.get_machine_arch(), file["e_type"]) == (64, "x64", "ET_EXEC")
    assert segment["p_type"] == "PT_LOAD"
    assert segment["p_vaddr"] <= file["e_entry"] < segment["p_vaddr"] + segment["p_memsz"]


# --- what a stub does with them --------------------------------------------------------------------------------------


def test_the_demo_has_two_choices_and_a_machine_with_none(built: Path):
    script = (ROOT / "scripts" / "demo.sh").read_text()
    names = re.findall(r"^boot '.*' (\S+)$", script, re.M)
    results = [booted(built, "demo.efi", name) for name in names]
    sections = [chosen(result, ".efifw") for result in results]
    first, second = (section.index for section in all_of(results[0].uki, ".efifw"))
    assert sections == [first, second, None]
    assert [result.outcome.status for result in results] == ["firmware-update", "kernel-started", "kernel-started"]
    assert all("262" in result.model_reason for result in results)


def test_the_demo_shows_the_hand_over(built: Path):
    result = booted(built, "demo.efi", "example-qemu-vmfwupdate")
    writes = [event for event in result.trace if isinstance(event, FwCfgWritten)]
    assert [(write.file, len(write.data)) for write in writes] == [
        ("etc/vmfwupdate/opaque-blob", 4096),
        ("etc/vmfwupdate/fw-blob", 16),
    ]
    assert result.proposal is not None
    assert "no released stub" in result.proposal


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("example-qemu-vmfwupdate", "ovmf"),
        ("redhat-kvm-rhel9", "igvm"),
        ("google-compute-engine", "capsule"),
        ("microsoft-hyper-v-gen2", "elf"),
        ("amazon-ec2-m5.2xlarge", "unknown"),
    ],
)
def test_each_kind_of_payload_has_its_machine(built: Path, host: str, kind: str):
    result = booted(built, "payloads.efi", host)
    assert result.sections is not None
    data = result.sections.data(".efifw")
    assert data is not None
    found = payload.kind(efifw.parse(data).payload)
    assert found.name == kind
    assert "broken" not in found.description


@pytest.mark.parametrize("name", ["demo.efi", "payloads.efi"])
def test_nothing_in_a_payload_is_broken(built: Path, name: str):
    image = uki.load(str(built / name))
    for section in all_of(image, ".efifw"):
        details = decode(efifw.parse(image.data(section)).payload).details or {}
        assert details.get("errors", []) == []


def test_one_firmware_can_be_measured_for_sev_snp(built: Path):
    launch = snp.measure(booted(built, "payloads.efi", "example-qemu-vmfwupdate"), snp.parse("vcpus=4,type=EPYC-v4"))
    assert len(launch.measurement) == 48


def test_raw_firmware_fills_whole_blocks_of_64_kib(built: Path):
    for name in ("demo.efi", "payloads.efi", "stub257.efi"):
        image = uki.load(str(built / name))
        blobs = [efifw.parse(image.data(section)).payload for section in all_of(image, ".efifw")]
        sizes = [len(blob) for blob in blobs if payload.kind(blob).name == "ovmf"]
        assert sizes
        assert [size % 65536 for size in sizes] == [0] * len(sizes)


@pytest.mark.parametrize(
    ("number", "cmdline"),
    [
        (0, "root=/dev/vda2 ro quiet"),
        (1, "root=/dev/vda2 ro quiet systemd.factory_reset=yes"),
        (2, "rd.systemd.unit=storage-target-mode.target"),
    ],
)
def test_profiles_have_their_own_command_lines(built: Path, number: int, cmdline: str):
    from stubsim.start import Start

    image = uki.load(str(built / "profiles.efi"))
    result = boot(image, hosts.Host(), Start(profile=number))
    assert result.prepared is not None
    assert (result.prepared.profile, result.prepared.cmdline) == (number, cmdline)
    assert len(image.profiles) == 3


@pytest.mark.parametrize(
    ("host", "compatible"),
    [("lenovo-thinkpad-x13s-21bx", b"lenovo,thinkpad-x13s"), ("dell-xps13-9345", b"dell,xps13-9345")],
)
def test_laptops_get_their_devicetree(built: Path, host: str, compatible: bytes):
    result = booted(built, "devicetrees.efi", host)
    assert result.sections is not None
    tree = result.sections.data(".dtbauto")
    assert tree is not None
    assert compatible in bytes(tree)
    # The published ids match by the most specific type there is, so the strings of the host file are theirs.
    match = result.sections.matches[1]
    assert match is not None
    assert match.chid_type == 3


def test_a_laptop_not_in_the_table_gets_no_devicetree(built: Path):
    image = uki.load(str(built / "devicetrees.efi"))
    assert len(all_of(image, ".dtbauto")) == 3
    assert chosen(boot(image, hosts.Host()), ".dtbauto") is None


def test_the_firmware_of_an_old_ukify_is_found_and_not_used(built: Path):
    result = booted(built, "old-ukify.efi", "example-qemu-vmfwupdate")
    assert chosen(result, ".efifw") is None
    assert result.outcome.status == "kernel-started"
    (section,) = all_of(result.uki, ".efifw")
    bad = f"Found bad efifw blob in PE section {section.index}"
    assert bad in [event.message for event in result.trace if isinstance(event, Log)]
    data = bytes(result.uki.data(section))
    with pytest.raises(StubsimError) as caught:
        efifw.parse(data)
    assert caught.value.hint is not None
    assert "13-byte header" in caught.value.hint
    # With the four bytes of a real magic in the place of the one it is the firmware it was meant to be.
    assert efifw.parse(efifw.MAGIC.to_bytes(4, "little") + data[1:]).fwid == b"example.ovmf"


def test_the_plain_uki_has_nothing_that_debian_12_cannot_measure(built: Path):
    names = [section.name for section in uki.load(str(built / "plain.efi")).image.sections]
    known = {".linux", ".osrel", ".cmdline", ".initrd", ".splash", ".dtb", ".pcrpkey"}
    assert set(names) - known == {".text", ".sdmagic"}
    assert known <= set(names)


@pytest.mark.oracle
def test_the_plain_uki_has_every_section_that_debian_12_can_measure(built: Path, oracle: Callable[[str], str]):
    measure = oracle("systemd-measure")
    if not subprocess.run([measure, "--version"], capture_output=True, check=True).stdout.startswith(b"systemd 252"):
        pytest.skip("not the systemd-measure of Debian 12")
    usage = subprocess.run([measure, "--help"], capture_output=True, check=True, text=True).stdout
    names = {section.name for section in uki.load(str(built / "plain.efi")).image.sections}
    assert set(re.findall(r"→ (\.\w+)", usage)) == names - {".text", ".sdmagic"}


def test_257_loses_the_devicetree_to_the_firmware_entry_and_262_does_not(built: Path):
    from stubsim.start import Start

    image = uki.load(str(built / "stub257.efi"))
    host = hosts.load(str(ROOT / "fixtures" / "hosts" / "example-qemu-vmfwupdate.json"))
    old, new = boot(image, host), boot(image, host, Start(stub="262", handover="none"))
    assert old.model.id == "257.13"
    assert (chosen(old, ".dtbauto"), chosen(old, ".efifw")) == (None, None)
    assert any("refused as a whole" in reason for reason in reasons(old))
    assert None not in (chosen(new, ".dtbauto"), chosen(new, ".efifw"))


# --- the README ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", [*examples(README)], ids=lambda example: example.command)
def test_the_readme_shows_real_output(example: Example, tree: Path):
    compare(example, tree)


def test_the_readme_shows_the_demo_first():
    commands = [example.command for example in examples(README)]
    assert commands[:2] == ["make demo", "make test"]
    assert any(example.command.startswith("stubsim boot") and example.expected for example in examples(README))


def test_the_python_example_of_the_readme(tree: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tree)
    (block,) = blocks(README, "pycon")
    example = doctest.DocTestParser().get_doctest(block, {}, "README", str(README), 0)
    assert len(example.examples) > 3
    said: list[str] = []
    assert doctest.DocTestRunner().run(example, out=said.append).failed == 0, "".join(said)


def test_the_host_file_of_the_readme_is_one():
    (block,) = blocks(README, "json")
    assert hosts.from_json(json.loads(block), "README").fields.manufacturer is not None


def test_the_files_that_the_readme_names_are_there():
    assert "docs/boot.svg" in links(README)
    for link in links(README):
        assert (ROOT / link).exists(), link
