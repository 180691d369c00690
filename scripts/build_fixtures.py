"""Build the fixture UKIs: ``build_fixtures.py [DIR]``, by default build/fixtures; the same bytes on every run.

Everything in them is made up but the hardware ids, which are those of the machines in fixtures/hosts. Tools read them
like any UKI, but none of them can boot: where a stub or a kernel would have its code there are three instructions that
return EFI_UNSUPPORTED. The version in ``.sdmagic`` says whose rules stubsim is to apply.
"""

from __future__ import annotations

import argparse
import hashlib
import struct
from base64 import b64decode
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from uuid import UUID

from stubsim import chid, hosts
from stubsim.formats import capsule, cpio, efifw, fdt, hwids, hwids_json, igvm, ovmf, pcrsig, pe
from stubsim.formats.pe import SectionSpec

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "build" / "fixtures"

X64, AA64 = 0x8664, 0xAA64
READ_CODE = 0x6000_0020
# UEFI 2.10, appendix D, and the calling conventions of 2.3: EFI_UNSUPPORTED is 0x8000000000000003, in rax or x0.
RETURN_UNSUPPORTED = {
    X64: bytes.fromhex("48b8 0300000000000080 c3"),
    AA64: struct.pack("<III", 0xD2800060, 0xF2F00000, 0xD65F03C0),
}
KERNEL_RELEASE = b"6.12.0-fixture"
OS_RELEASE = b'ID=fixture\nNAME="stubsim fixture"\nVERSION_ID=1\n'
CMDLINE = b"root=/dev/vda2 ro quiet"
# Ed25519; the private key is 00 01 02 ... 1f.
PUBLIC_KEY = b"""-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAA6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=
-----END PUBLIC KEY-----
"""

# A key of RSA for signed policies: its primes, and itself.
_PRIMES = (
    int(
        "da591a834480becdda4f53b91267315f6344adb5953efb25a898f02a4432dcedebab197fd81b0e02ada93d09ef6bb400563f1fb21ae75e64a171e3cf9e2eadd7",
        16,
    ),
    int(
        "d0d57e604ca4983a871724a5648ce66397c65725e253436fbf3d26f2cd531f187ca95607ee3388203e4876a5f99a6aee36f853120b5052c224698ce9abc8164f",
        16,
    ),
)
SIGNING_KEY = b"""-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCyHn13tLX94dhsvnNz4BRiJG8u
UukH4VOhtKoiB3FSqRMY6IPrTNiCbtTQKb6ojOp1zi9wayVrIPXW5bit55qeDeHM
gBN8zvhrvuvk8qVElOIlGdJ1RermmR6dpnvnUY5lHtZWQ7Q3zIXAg9k5Oxv/m2FW
42Ta6hFNUrPvQFAfWQIDAQAB
-----END PUBLIC KEY-----
"""
_EXPONENT = 65537
_PKCS_1 = 22
# RFC 8017, 9.2: what EMSA-PKCS1-v1_5 puts before a SHA-256 digest.
_SHA256_PREFIX = bytes.fromhex("3031300d060960864801650304020105000420")

# --- what goes into the sections -------------------------------------------------------------------------------------


def noise(seed: str, size: int) -> bytes:
    """Bytes that no compression and no page of zeros hides, the same for the same seed."""
    return hashlib.shake_128(seed.encode()).digest(size)


def code(machine: int) -> SectionSpec:
    # The stub refuses a kernel whose sections have more bytes in the file than in memory, so no padding.
    return SectionSpec(".text", RETURN_UNSUPPORTED[machine].ljust(512, b"\xcc"), characteristics=READ_CODE)


def kernel(machine: int) -> bytes:
    """A kernel that passes the stub's checks: for the right machine, image version 1, no base relocations."""
    data = SectionSpec(".data", noise("kernel", 4096))
    return pe.build([code(machine), data], machine=machine, major_image_version=1, entry_point=4096)


def bzimage() -> bytes:
    """The same kernel with a setup header, as the prototype of 2024 wants one (Linux/x86 boot protocol 2.15).

    The header begins in the first 512 bytes, behind the PE headers, and goes on in .text, whose code begins at 0x300.
    """
    text = bytearray(0x200)
    struct.pack_into("<2s4sH", text, 0, b"\xeb\x66", b"HdrS", 0x020F)
    # relocatable_kernel, min_alignment (a power of two), xloadflags: 64-bit entry, loads above 4 GiB, EFI handover.
    struct.pack_into("<BBHI", text, 0x34, 1, 21, 0b1011, 2047)
    text[0x100:0x200] = RETURN_UNSUPPORTED[X64].ljust(256, b"\xcc")
    sections = [
        SectionSpec(".text", bytes(text), characteristics=READ_CODE),
        SectionSpec(".data", noise("bzimage", 8192)),
    ]
    image = bytearray(pe.build(sections, machine=X64, major_image_version=1, entry_point=4096 + 0x100))
    image[0x1FE:0x200] = b"\x55\xaa"
    return bytes(image)


def initrd() -> bytes:
    files = [("initrd-release", OS_RELEASE), ("noise", noise("initrd", 8192))]
    return b"".join(map(bytes, cpio.pack("etc", files, 0o755, 0o644)))


def bitmap() -> bytes:
    """A BMP of 2 x 2 pixels in 24 bits."""
    pixels = bytes.fromhex("ff0000 00ff00 0000 0000ff ffffff 0000")
    header = struct.pack("<IiiHHIIiiII", 40, 2, 2, 1, 24, 0, len(pixels), 2835, 2835, 0, 0)
    return struct.pack("<2sIHHI", b"BM", 14 + len(header) + len(pixels), 0, 0, 14 + len(header)) + header + pixels


# Where OvmfPkgX64.fdf has them.
SEV_MEMORY = (
    ovmf.SevSection(0x800000, 0x9000, 1),
    ovmf.SevSection(0x80A000, 0x3000, 1),
    ovmf.SevSection(0x80D000, 0x1000, 2),
    ovmf.SevSection(0x80E000, 0x1000, 3),
    ovmf.SevSection(0x80F000, 0x11000, 1),
)


def ovmf_image(seed: str, size: int, *, tdx: bool = False, sev: Sequence[ovmf.SevSection] | None = None) -> bytes:
    """Noise with OVMF's table at its end, either with the entries of SEV or with that of TDX."""
    if tdx:
        volume = ovmf.TdxSection(0, size, (1 << 32) - size, size, 0, ovmf.EXTEND_MR)
        table = ovmf.build([], 4096, tdx=[volume, ovmf.TdxSection(0, 0, 0x809000, 0x2000, 2, 0)])
    else:
        reset, hashes = struct.pack("<I", 0x80B004), struct.pack("<II", 0x80B400, 1024)
        table = ovmf.build([(ovmf.SEV_ES_RESET, reset), (ovmf.SEV_HASHES, hashes)], 4096, sev=sev)
    return noise(seed, size - len(table)) + table


def igvm_file() -> bytes:
    return igvm.build([igvm.platform(2), igvm.platform(3, 2)], noise("igvm", 4096))


def capsule_file() -> bytes:
    flags = capsule.PERSIST_ACROSS_RESET | capsule.INITIATE_RESET
    return capsule.build(capsule.FIRMWARE_MANAGEMENT, noise("capsule", 4096), flags=flags)


def elf_file() -> bytes:
    """An executable for x86-64 of one segment at 1 MiB (ELF-64: file header, program header, content)."""
    body, address = RETURN_UNSUPPORTED[X64], 0x100000
    start = 64 + 56
    ident = b"\x7fELF" + bytes([2, 1, 1]).ljust(12, b"\0")
    file_header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, address + start, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    size = start + len(body)
    return ident + file_header + struct.pack("<IIQQQQQQ", 1, 5, 0, address, address, size, size, 4096) + body


def firmware(fwid: str, payload: bytes, *, target_chid: UUID | None = None) -> SectionSpec:
    return SectionSpec(".efifw", efifw.build(fwid, payload, target_chid=target_chid))


def old_ukify_firmware(fwid: str, payload: bytes) -> SectionSpec:
    """As ukify 262-1 writes it: the magic is one zero byte, the header 13 bytes that claim to be 16."""
    text = fwid.encode() + b"\0"
    return SectionSpec(".efifw", b"\0" + struct.pack("<III", 16, len(text), len(payload)) + text + payload)


def load_host(name: str) -> hosts.Host:
    return hosts.load(str(ROOT / "fixtures" / "hosts" / f"{name}.json"))


def of_host(name: str, types: Iterable[int], **device: str) -> dict[str, object]:
    """A hwids description, as ukify takes them, by some of the ids of a machine in fixtures/hosts."""
    host = load_host(name)
    known = chid.chids(host.fields, None)
    kind = "uefi-fw" if "fwid" in device else "devicetree"
    product = (host.fields.product_name or b"").decode()
    return {"type": kind, "name": product, "hwids": [str(known[number]) for number in types], **device}


# Types 3 to 10 as `fwupdtool hwids` printed them on the machines (published by ubuntu/stubble and TravMurav/dtbloader);
# the first two machines are in fixtures/hosts.
LAPTOPS: tuple[dict[str, object], ...] = (
    {
        "type": "devicetree",
        "name": "LENOVO ThinkPad X13s Gen 1",
        "compatible": "lenovo,thinkpad-x13s",
        "hwids": [
            "ddf28a3f-43fc-54a4-a6a7-4cba5ad46b3e",
            "4df470e6-7878-5b0f-b2e0-733d5d9fa228",
            "3ad863ab-0181-5a2f-9cc1-70eedc446da9",
            "69c47e1e-fde2-5062-b777-acbeab73784b",
            "3486eccc-d0ac-534a-9e2f-a1c18bc310c6",
            "c869f39e-f205-5ca0-be7b-d90f90ef5556",
            "b470d002-ad8e-5d5c-a7bf-bb1333f2ce4b",
            "64b71f12-4341-5e5c-b7cd-25b6503799e3",
        ],
    },
    {
        "type": "devicetree",
        "name": "Dell Inc. XPS",
        "compatible": "dell,xps13-9345",
        "hwids": [
            "7c7c2920-cb59-56ad-bc8a-939e803b0192",
            "940c6349-f0a5-54ba-8deb-10e709e0b76c",
            "3b9a1d76-f2e8-52e8-84de-14c5942b3d41",
            "3c2649a7-2275-5130-a0c4-cc5f9809a2c1",
            "36e8dd88-512d-5a74-86a4-039333f9e15a",
            "e656b5f2-69c3-55da-bf22-4dd58d5f6d4f",
            "bc685cec-e979-5cb9-bf02-e15586c7cb4b",
            "81972cb8-6fc7-5e08-b140-b0063ed4fefa",
        ],
    },
    {
        "type": "devicetree",
        "name": "LENOVO Yoga Slim 7 14Q8X9",
        "compatible": "lenovo,yoga-slim7x",
        "hwids": ["8073dbed-501f-5f5e-a619-4cdd9c00e865", "d27cf20e-e185-578e-bd46-f4cc3a718bb2"],
    },
)

# --- UKIs ------------------------------------------------------------------------------------------------------------


def uki(sections: Sequence[SectionSpec], *, stub: str = "262.1-1", machine: int = X64, sbat: bool = True) -> bytes:
    """A UKI whose stub says to be of this version; sections of one name may repeat."""
    release = stub.partition(".")[0]
    levels = (
        "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\n"
        f"systemd-stub,1,The systemd Developers,systemd,{release},https://systemd.io/\n"
    )
    front = [code(machine), SectionSpec(".sdmagic", f"#### LoaderInfo: systemd-stub {stub} ####".encode())]
    if sbat:
        front.append(SectionSpec(".sbat", levels.encode()))
    return pe.build([*front, *sections], machine=machine, major_image_version=0, entry_point=4096)


def hwids_section(*descriptions: dict[str, object]) -> SectionSpec:
    return SectionSpec(".hwids", hwids.from_descriptions(descriptions))


def hwids_folder(name: str) -> SectionSpec:
    """The section that ukify makes of a folder of fixtures/hwids."""
    files = hwids_json.files(str(ROOT / "fixtures" / "hwids" / name))
    return SectionSpec(".hwids", hwids_json.build([hwids_json.read(file) for file in files]))


def system(machine: int = X64, linux: bytes | None = None) -> list[SectionSpec]:
    """An operating system to boot."""
    return [
        SectionSpec(".osrel", OS_RELEASE),
        SectionSpec(".cmdline", CMDLINE),
        SectionSpec(".uname", KERNEL_RELEASE),
        SectionSpec(".initrd", initrd()),
        SectionSpec(".linux", kernel(machine) if linux is None else linux),
    ]


def demo() -> bytes:
    """Two firmwares: one for a QEMU guest, one for Google Compute Engine, none for any other machine."""
    return uki(
        [
            *system(),
            hwids_section(
                of_host("example-qemu-vmfwupdate", (3, 9), fwid="example.ovmf-sev"),
                of_host("google-compute-engine", (8, 9), fwid="example.ovmf-tdx"),
            ),
            firmware("example.ovmf-sev", ovmf_image("sev", 65536)),
            firmware("example.ovmf-tdx", ovmf_image("tdx", 65536, tdx=True)),
        ]
    )


def payloads() -> bytes:
    """Each kind of firmware payload, each for another machine."""
    kinds = (
        ("example-qemu-vmfwupdate", "example.ovmf", ovmf_image("ovmf", 131072, sev=SEV_MEMORY)),
        ("redhat-kvm-rhel9", "example.igvm", igvm_file()),
        ("google-compute-engine", "example.capsule", capsule_file()),
        ("microsoft-hyper-v-gen2", "example.elf", elf_file()),
        ("amazon-ec2-m5.2xlarge", "example.raw", noise("raw", 4096)),
    )
    entries = [of_host(host, (9,), fwid=fwid) for host, fwid, _ in kinds]
    return uki([*system(), hwids_section(*entries), *(firmware(fwid, payload) for _, fwid, payload in kinds)])


def profiles() -> bytes:
    """Three profiles; the first has the base's command line, the others have their own."""
    return uki(
        [
            *system(),
            SectionSpec(".profile", b"ID=main\nTITLE=Normal start\n"),
            SectionSpec(".profile", b"ID=factory-reset\nTITLE=Factory reset\n"),
            SectionSpec(".cmdline", CMDLINE + b" systemd.factory_reset=yes"),
            SectionSpec(".profile", b"ID=storage\nTITLE=Storage target mode\n"),
            SectionSpec(".cmdline", b"rd.systemd.unit=storage-target-mode.target"),
        ]
    )


def devicetrees() -> bytes:
    """A devicetree for each of three laptops."""
    trees = [fdt.build([str(laptop["compatible"]), "example,fixture"]) for laptop in LAPTOPS]
    trees_sections = [SectionSpec(".dtbauto", tree) for tree in trees]
    return uki([*system(AA64), hwids_section(*LAPTOPS), *trees_sections], machine=AA64)


def old_ukify() -> bytes:
    """A firmware that matches and is never used: its header is the one that ukify 262-1 writes."""
    return uki(
        [
            *system(),
            hwids_section(of_host("example-qemu-vmfwupdate", (9,), fwid="example.ovmf")),
            old_ukify_firmware("example.ovmf", ovmf_image("old", 65536)),
        ]
    )


def plain() -> bytes:
    """Only sections that systemd-measure of systemd 252 knows, and every one of them."""
    return uki(
        [
            SectionSpec(".osrel", OS_RELEASE),
            SectionSpec(".cmdline", CMDLINE),
            SectionSpec(".splash", bitmap()),
            SectionSpec(".dtb", fdt.build(["example,fixture"])),
            SectionSpec(".pcrpkey", PUBLIC_KEY),
            SectionSpec(".initrd", initrd()),
            SectionSpec(".linux", kernel(X64)),
        ],
        sbat=False,
    )


def stub257() -> bytes:
    """A devicetree that the firmware entry beside it costs: 257 refuses the whole table."""
    name = "example-qemu-vmfwupdate"
    return uki(
        [
            *system(),
            hwids_section(
                of_host(name, (9,), compatible="example,fixture"), of_host(name, (9,), fwid="example.ovmf-sev")
            ),
            SectionSpec(".dtbauto", fdt.build(["example,fixture"])),
            firmware("example.ovmf-sev", ovmf_image("sev", 65536)),
        ],
        stub="257.13-1~deb13u1",
    )


def large_firmware() -> bytes:
    """A firmware of one page more than the BIOS region of the example machines."""
    size = 4 * 1024 * 1024 + 4096
    return uki(
        [
            *system(),
            hwids_section(of_host("example-qemu-vmfwupdate", (3,), fwid="example.ovmf-large")),
            firmware("example.ovmf-large", ovmf_image("large", size, tdx=False)),
        ]
    )


def fuki() -> bytes:
    """For the prototype of 2024: its one firmware in .fmwimg, and a kernel with a setup header."""
    image = SectionSpec(".fmwimg", ovmf_image("fuki", 65536, tdx=False))
    return uki([*system(linux=bzimage()), image], stub="257~devel")


def capsule_update() -> bytes:
    """A capsule for a machine, until that has the CHID of type 0 that comes with the new firmware's version.

    Another machine is given it, too, whose firmware takes no capsules.
    """
    wanted = chid.chids(load_host("example-capsule-updated").fields, None)[0]
    return uki(
        [
            *system(),
            hwids_section(
                of_host("example-capsule", (3,), fwid="example.capsule"),
                of_host("redhat-kvm-rhel9", (9,), fwid="example.capsule"),
            ),
            firmware("example.capsule", capsule_file(), target_chid=wanted),
        ]
    )


def huawei(folder: str) -> bytes:
    """A devicetree for one tablet, and the ids that lead to it."""
    tree = SectionSpec(".dtbauto", fdt.build(["huawei,gaokun3", "qcom,sc8280xp"]))
    return uki([*system(AA64), hwids_folder(folder), tree], machine=AA64)


def signed() -> bytes:
    """Policies of PCR 11 in `.pcrsig`, signed as systemd-measure does: for each phase, in the bank of SHA-256."""
    from stubsim.explain.measure import PHASES, measure_any, values_at
    from stubsim.start import DEFAULT_START
    from stubsim.uki import Uki

    sections = [*system(), SectionSpec(".pcrpkey", SIGNING_KEY)]
    measured = measure_any(Uki(pe.open_bytes(uki(sections), "signed.efi")), DEFAULT_START)
    policies = [pcrsig.policy_pcr("sha256", {11: row.value}) for row in values_at(measured, 11, PHASES)]
    return uki([*sections, SectionSpec(".pcrsig", signatures("sha256", policies))])


def signatures(bank: str, policies: Iterable[bytes]) -> bytes:
    """A `.pcrsig` of these policies, by SIGNING_KEY."""
    p, q = _PRIMES
    size = (p * q).bit_length() // 8
    private = pow(_EXPONENT, -1, (p - 1) * (q - 1))
    # The DER of PKCS #1 ends the PEM file's: behind it is nothing, before it the algorithm and a bit string's header.
    fingerprint = hashlib.sha256(b64decode(b"".join(SIGNING_KEY.split(b"\n")[1:-2]))[_PKCS_1:]).digest()
    entries = []
    for policy in policies:
        digest = _SHA256_PREFIX + hashlib.sha256(policy).digest()
        padded = b"\0\1" + b"\xff" * (size - 3 - len(digest)) + b"\0" + digest
        value = pow(int.from_bytes(padded, "big"), private, p * q).to_bytes(size, "big")
        entries.append(pcrsig.Entry((11,), fingerprint, policy, value))
    return pcrsig.build([pcrsig.Bank(bank, tuple(entries))])


def zero_id() -> bytes:
    """A devicetree whose only id is all zeros, and no other entry."""
    return uki([*system(), hwids_folder("example-zero-id"), SectionSpec(".dtbauto", fdt.build(["example,board"]))])


FIXTURES: dict[str, Callable[[], bytes]] = {
    "demo.efi": demo,
    "payloads.efi": payloads,
    "profiles.efi": profiles,
    "devicetrees.efi": devicetrees,
    "old-ukify.efi": old_ukify,
    "plain.efi": plain,
    "stub257.efi": stub257,
    "large-firmware.efi": large_firmware,
    "fuki.efi": fuki,
    "capsule.efi": capsule_update,
    "huawei.efi": partial(huawei, "huawei-c233"),
    "huawei-fixed.efi": partial(huawei, "huawei-c233-fixed"),
    "zero-id.efi": zero_id,
    "signed.efi": signed,
}


def build(target: Path) -> None:
    """Write every fixture; a file with the right bytes already in it is left alone."""
    target.mkdir(parents=True, exist_ok=True)
    for name, make in FIXTURES.items():
        path, data = target / name, make()
        if not path.exists() or path.read_bytes() != data:
            temporary = path.with_suffix(".tmp")
            temporary.write_bytes(data)
            temporary.replace(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build the fixture UKIs; the same bytes on every run.")
    parser.add_argument("target", metavar="DIR", nargs="?", type=Path, default=TARGET, help="by default build/fixtures")
    build(parser.parse_args().target)
