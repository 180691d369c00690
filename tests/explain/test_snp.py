"""The SEV-SNP launch measurement: what the tool's own command prints for the same image and arguments."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stubsim import hosts, uki
from stubsim.errors import StubsimError
from stubsim.explain import snp
from stubsim.formats import hwids, ovmf
from stubsim.result import Boot
from stubsim.simulation import boot
from tests.explain.test_payload import IGVM
from tests.samples import MACHINE, firmware, table, written
from tests.samples import uki as build

# Every type of section; the size is no multiple of 64 KiB, only of a page.
SECTIONS = tuple(
    ovmf.SevSection(0x800000 + 0x10000 * index, 0x1000 * (1 + index % 2 * (kind == 1)), kind)
    for index, kind in enumerate((1, 1, 2, 3, 4, 0x10))
)
RESET = (ovmf.SEV_ES_RESET, b"\x04\xb0\x80\0")
HASHES = (ovmf.SEV_HASHES, b"\0\x04\x85\0\0\x04\0\0")
IMAGE = ovmf.build([RESET, HASHES], 0x13000, sev=SECTIONS)
REQUESTS = [
    "vcpus=1,type=EPYC-v4",
    "vcpus=4,type=EPYC-v4",
    "type=EPYC-Genoa,vcpus=64",
    "vcpus=2,type=EPYC-Milan,guest_features=0x21",
    "vcpus=3,vmm=ec2",
    "vcpus=3,vmm=ec2,type=EPYC",
    "vcpus=3,vmm=gce",
]


def booted(folder: Path, payload: bytes) -> Boot:
    image = build(table((hwids.UEFI_FW, "fw")), firmware(payload=payload))
    return boot(uki.load(str(written(folder, "uki.efi", image))), hosts.from_json({"smbios": MACHINE}))


def tool(path: str, text: str) -> str:
    """`sev-snp-measure` as a program of its own."""
    pytest.importorskip("sevsnpmeasure")
    options = [word for pair in text.split(",") for word in (snp.KEYS[pair.split("=")[0]], pair.split("=")[1])]
    command = [sys.executable, "-m", "sevsnpmeasure.cli", "--mode", "snp", "--ovmf", path, *options]
    return subprocess.run(command, capture_output=True, check=True, text=True, timeout=60).stdout.strip()


@pytest.mark.parametrize("text", REQUESTS)
def test_the_tool_says_the_same_of_our_image(tmp_path: Path, text: str):
    launch = snp.measure(booted(tmp_path, IMAGE), snp.parse(text))
    assert launch.measurement.hex() == tool(str(written(tmp_path, "image.fd", IMAGE)), text)
    assert launch.fwid == "fw"


@pytest.mark.oracle
@pytest.mark.parametrize("text", REQUESTS)
@pytest.mark.parametrize("name", ["ovmf/OVMF.fd", "OVMF/OVMF_CODE.secboot.fd"])
def test_the_tool_says_the_same_of_debian_images(
    oracle_file: Callable[[str], bytes], tmp_path: Path, name: str, text: str
):
    path = f"/usr/share/{name}"
    assert snp.measure(booted(tmp_path, oracle_file(path)), snp.parse(text)).measurement.hex() == tool(path, text)


def test_every_argument_counts(tmp_path: Path):
    result = booted(tmp_path, IMAGE)
    digests = {snp.measure(result, snp.parse(text)).measurement for text in REQUESTS}
    # What the vCPU is does not matter on EC2.
    assert len(digests) == len(REQUESTS) - 1
    other = booted(tmp_path, bytes([IMAGE[0] ^ 1]) + IMAGE[1:])
    assert snp.measure(other, snp.parse(REQUESTS[0])).measurement not in digests


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "'' in --snp", None),
        ("vcpus", "'vcpus' in --snp", "did you mean vcpus?"),
        ("cpus=4,type=EPYC", "'cpus=4' in --snp (expected vcpus, type, guest_features, vmm)", "did you mean vcpus?"),
        ("vcpus=4,vcpus=5,type=EPYC", "vcpus twice", None),
        ("type=EPYC", "no vcpus", None),
        ("vcpus=4", "no type", None),
        ("vcpus=4,vmm=QEMU", "no type", None),
        ("vcpus=4,type=epyc-v4", "unknown type 'epyc-v4' in --snp (expected EPYC, EPYC-v1", "did you mean EPYC-v4?"),
        ("vcpus=4,type=Xeon", "unknown type 'Xeon'", None),
        ("vcpus=4,vmm=qemu,type=EPYC", "unknown vmm 'qemu' in --snp (expected QEMU, ec2, gce)", "did you mean QEMU?"),
        ("vcpus=0,type=EPYC", "vcpus=0 in --snp (expected a number from 1 to 4096)", None),
        ("vcpus=4097,type=EPYC", "vcpus=4097", None),
        ("vcpus=x,type=EPYC", "vcpus=x", None),
        ("vcpus=1,type=EPYC,guest_features=-1", "guest_features=-1", None),
        (f"vcpus=1,type=EPYC,guest_features={1 << 64}", "guest_features=18446744073709551616", None),
    ],
)
def test_wrong_text(text: str, message: str, hint: str | None):
    with pytest.raises(StubsimError) as caught:
        snp.parse(text)
    assert message in str(caught.value)
    assert caught.value.hint == hint


def sections(*rows: ovmf.SevSection) -> bytes:
    return ovmf.build([RESET], 4096, sev=rows)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (IGVM, "the payload is IGVM: version 1"),
        (b"raw", "the payload is unknown, 3 bytes (expected an OVMF image)"),
        (ovmf.build([RESET], 4096), "the OVMF image has no SEV metadata"),
        (ovmf.build([], 4096, sev=SECTIONS), "no SEV-ES reset block"),
        (ovmf.build([(ovmf.SEV_ES_RESET, bytes(4))], 4096, sev=SECTIONS), "no SEV-ES reset block"),
        (ovmf.build([(ovmf.SEV_ES_RESET, b"")], 4096, sev=SECTIONS), "no SEV-ES reset block"),
        (ovmf.build([RESET], 4097, sev=SECTIONS), "an OVMF image of 4097 bytes (expected a multiple of 4096)"),
        (sections(ovmf.SevSection(0, 0x1000, 9)), "SEV metadata type 0x9 of 0x1000 bytes"),
        (sections(ovmf.SevSection(0, 0x1001, 1)), "SEV metadata SNP_SEC_MEM of 0x1001 bytes"),
        (sections(*[ovmf.SevSection(0, 0xFFFFF000, 1)] * 9), "SEV metadata of 0x8ffff7000 bytes"),
        (IMAGE.replace(b"ASEV", b"ASEX"), "SEV metadata in OVMF that begin with 41534558"),
    ],
)
def test_what_cannot_be_launched(tmp_path: Path, payload: bytes, message: str):
    with pytest.raises(StubsimError) as caught:
        snp.measure(booted(tmp_path, payload), snp.parse("vcpus=1,type=EPYC"))
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'uki.efi'}: firmware fw: ")


@pytest.mark.oracle
def test_debian_s_large_image_has_no_metadata(oracle_file: Callable[[str], bytes], tmp_path: Path):
    """The tool takes it all the same, and leaves out what it does not find."""
    path = "/usr/share/OVMF/OVMF_CODE_4M.fd"
    with pytest.raises(StubsimError, match="the OVMF image has no SEV metadata"):
        snp.measure(booted(tmp_path, oracle_file(path)), snp.parse(REQUESTS[0]))
    assert len(tool(path, REQUESTS[0])) == 96


def test_no_firmware_is_chosen(tmp_path: Path):
    result = boot(uki.load(str(written(tmp_path, "uki.efi", build()))), hosts.from_json({"smbios": MACHINE}))
    with pytest.raises(StubsimError, match="no firmware is chosen on this machine"):
        snp.measure(result, snp.parse(REQUESTS[0]))


def test_a_fault_of_the_tool_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: Any, **__: Any) -> bytes:
        raise RuntimeError("Wrong SEV metadata version")

    monkeypatch.setattr("sevsnpmeasure.guest.calc_launch_digest", fail)
    with pytest.raises(StubsimError, match="sev-snp-measure: RuntimeError: Wrong SEV metadata version"):
        snp.measure(booted(tmp_path, IMAGE), snp.parse(REQUESTS[0]))


def test_without_the_package(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sevsnpmeasure.vcpu_types", None)
    with pytest.raises(StubsimError) as caught:
        snp.parse(REQUESTS[0])
    assert str(caught.value) == "--snp needs the package sev-snp-measure; pip install sev-snp-measure"
