"""The SEV-SNP launch measurement: what the tool's own command prints for the same image and arguments."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

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
        (
            "cpus=4,type=EPYC",
            "'cpus=4' in --snp (expected vcpus, type, guest_features, vmm, kernel_hashes)",
            "did you mean vcpus?",
        ),
        ("vcpus=4,vcpus=5,type=EPYC", "vcpus is given twice", None),
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


def table_of_hashes(kernel: bytes, initrd: bytes, append: str) -> bytes:
    """QEMU's (target/i386/sev.c, SevHashTable): a GUID and its length before entries of a GUID, a length, a SHA-256."""
    rows = [
        ("97d02dd8-bd20-4c94-aa78-e7714d36ab2a", append.encode() + b"\0"),
        ("44baf731-3a2f-4bd7-9af1-41e29169781d", initrd),
        ("4de79437-abd2-427f-b835-d5b172d2045b", kernel),
    ]
    entries = b"".join(
        UUID(guid).bytes_le + (50).to_bytes(2, "little") + hashlib.sha256(data).digest() for guid, data in rows
    )
    size = 18 + len(entries)
    head = UUID("9438d606-4f22-4cc9-b479-a793d411fd21").bytes_le + size.to_bytes(2, "little")
    return (head + entries).ljust(-(-size // 16) * 16, b"\0")


def given(folder: Path, load_options: str | None = None, initrd: bytes | None = None) -> Boot:
    """A boot by QEMU's -kernel, -append and -initrd."""
    host: dict[str, Any] = {"smbios": MACHINE, "direct_boot": {"load_options": load_options}}
    if initrd is not None:
        host["previous_initrd"] = base64.b64encode(initrd).decode()
    return boot(uki.load(str(written(folder, "uki.efi", build(table((hwids.UEFI_FW, "fw")))))), hosts.from_json(host))


GIVEN = [
    (None, None, ""),
    ("quiet", None, "quiet"),
    ("initrd=initrd quiet root=\xc3\xa9", b"archive", "quiet root=\xe9"),
    ("quiet initrd=initrd", b"archive", "quiet"),
    ("initrd=initrd ", b"archive", ""),
    ("initrd=initrd", b"archive", ""),
    ("initrd=initrd of the user", None, "initrd=initrd of the user"),
]


@pytest.mark.parametrize(("options", "initrd", "append"), GIVEN)
def test_the_hashes_of_what_qemu_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str | None, initrd: bytes | None, append: str
):
    """The page that the tool measures is the one that QEMU makes, and its command says the same of the files."""
    from sevsnpmeasure import sev_hashes

    pages: list[bytes] = []
    construct = sev_hashes.SevHashes.construct_page

    def seen(self: sev_hashes.SevHashes, offset: int) -> bytes:
        pages.append(construct(self, offset))
        return pages[-1]

    monkeypatch.setattr(sev_hashes.SevHashes, "construct_page", seen)
    result, request = given(tmp_path, options, initrd), snp.parse("vcpus=2,type=EPYC-v4,kernel_hashes=on")
    launch = snp.measure_machine(result, request, memoryview(IMAGE))
    kernel = (tmp_path / "uki.efi").read_bytes()
    offset = int.from_bytes(HASHES[1][:4], "little") & 0xFFF
    (page,) = pages
    assert page[offset:].rstrip(b"\0") == table_of_hashes(kernel, initrd or b"", append).rstrip(b"\0")
    assert not any(page[:offset])
    files = {"--kernel": str(tmp_path / "uki.efi"), "--append": append}
    if initrd is not None:
        files["--initrd"] = str(written(tmp_path, "initrd", initrd))
    command = [sys.executable, "-m", "sevsnpmeasure.cli", "--mode", "snp", "--vcpus", "2", "--vcpu-type", "EPYC-v4"]
    command += ["--ovmf", str(written(tmp_path, "image.fd", IMAGE)), *(word for pair in files.items() for word in pair)]
    done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60)
    assert launch.measurement.hex() == done.stdout.strip()
    assert launch.request.kernel_hashes
    without = snp.measure_machine(result, request._replace(kernel_hashes=False), memoryview(IMAGE))
    assert without.measurement != launch.measurement
    assert len(without.excluded) == len(launch.excluded) + 1


def test_hashes_are_refused_where_qemu_would_have_none(tmp_path: Path):
    request = snp.parse("vcpus=1,type=EPYC-v4,kernel_hashes=on")
    with pytest.raises(StubsimError, match="not given by QEMU's -kernel"):
        snp.measure_machine(booted(tmp_path, IMAGE), request, memoryview(IMAGE))
    with pytest.raises(StubsimError, match="started without a kernel"):
        snp.measure(booted(tmp_path, IMAGE), request)
    result = given(tmp_path)
    no_page = tuple(section for section in SECTIONS if section.type != 0x10)
    no_area = (ovmf.SEV_HASHES, bytes(8))
    for entries, sections in (([RESET, HASHES], no_page), ([RESET], SECTIONS), ([RESET, no_area], SECTIONS)):
        with pytest.raises(StubsimError, match="no place for them"):
            snp.measure_machine(result, request, memoryview(ovmf.build(entries, 0x13000, sev=sections)))
    unknown = result._replace(host=result.host._replace(unknown=frozenset({"previous_initrd"})))
    with pytest.raises(StubsimError, match="previous_initrd of the machine is not known"):
        snp.measure_machine(unknown, request, memoryview(IMAGE))
    with pytest.raises(StubsimError, match="not UTF-8"):
        snp.measure_machine(given(tmp_path, "\xff"), request, memoryview(IMAGE))
    for text in ("kernel_hashes=yes", "kernel_hashes=on,vmm=ec2"):
        with pytest.raises(StubsimError, match="kernel_hashes"):
            snp.parse(f"vcpus=1,type=EPYC-v4,{text}")
