"""The warnings of inspect, rule by rule, each with a UKI that calls for it; and its text."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from uuid import UUID

import pytest

from stubsim import uki as ukis
from stubsim.formats import efifw, hwids, igvm, pe
from stubsim.formats.pe import SectionSpec
from stubsim.views.inspect import inspect_json, render_inspect
from stubsim.views.terminal import Screen
from tests.explain.test_payload import CAPSULE, IGVM, OVMF
from tests.formats.test_elf import image as elf_image
from tests.formats.test_firmware_volume import AA64, IA32, SEC, X64, file, ovmf_like, terse, volume
from tests.samples import CHID, COMPATIBLE, FIRMWARE_UKI, FULL_UKI, KERNEL, devicetree, firmware, table, uki, written

OLD_UKIFY = b"\0" + efifw.build("fw", b"payload")[4:]
FW = (hwids.UEFI_FW, "fw")
ARM_KERNEL = pe.build([SectionSpec(".text", bytes(512))], machine=0xAA64)
DT = (hwids.DEVICETREE, COMPATIBLE)


def entries(*rows: tuple[int, str], descriptor: int | None = None, offset: int | None = None) -> SectionSpec:
    data = bytearray(table(*rows).data)
    if descriptor is not None:
        struct.pack_into("<I", data, 0, descriptor)
    if offset is not None:
        struct.pack_into("<I", data, 24, offset)
    return SectionSpec(".hwids", bytes(data))


def warnings(tmp_path: Path, data: bytes) -> list[str]:
    return inspect_json(ukis.load(str(written(tmp_path, "uki.efi", data))))["warnings"]


CASES: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "nothing": (FIRMWARE_UKI, ()),
    "foreign stub": (uki(stub="stubble 5"), ("unknown stub: stubble 5 was never recorded",)),
    "newer stub": (uki(stub="systemd-stub 400"), ("unknown stub: systemd-stub 400 is newer",)),
    "no kernel": (uki(linux=None), ("no .linux: not a UKI",)),
    "a kernel in one profile only": (
        uki(
            SectionSpec(".profile", b"ID=a\n"),
            SectionSpec(".linux", KERNEL),
            SectionSpec(".profile", b"ID=b\n"),
            linux=None,
        ),
        ("profile 1 has no .linux",),
    ),
    "old stub": (
        uki(table(DT), devicetree(), stub="systemd-stub 255"),
        (".dtbauto: stub 255.0 does not know", ".hwids: stub 255.0 does not know"),
    ),
    "two of a name": (uki(SectionSpec(".cmdline", b"x")), (".cmdline (section 5) is ignored: section 2 is the first",)),
    "one for each profile": (uki(SectionSpec(".profile", b"ID=a\n"), SectionSpec(".cmdline", b"x")), ()),
    "empty": (uki(SectionSpec(".uname")), (".uname (section 5) has VirtualSize 0",)),
    "refused by 257": (
        uki(table(FW), firmware(), stub="systemd-stub 257.9"),
        (".efifw: stub 257.9 does not know", "offset 0x0: entry 0 has descriptor 0x2000001c"),
    ),
    "bad type": (
        uki(entries(DT, descriptor=0x7000001C), devicetree()),
        ("entry 0 has descriptor 0x7000001c", "no entry of .hwids names its compatible"),
    ),
    "bad offset": (
        uki(entries(FW, offset=0x4000), firmware()),
        ("string of entry 0 at 0x4000 is outside", "no entry of .hwids names its fwid"),
    ),
    "bad offset that 257 does not notice": (
        uki(entries(DT, DT, offset=0x4000), devicetree(), stub="systemd-stub 257"),
        ("stub 257.0 does not notice; refused as a whole by: 260.3, 260.4, 261.1 to 262, next",),
    ),
    "no entries": (uki(SectionSpec(".hwids", bytes(28))), (".hwids (section 5) has no entries",)),
    "firmware entries before 260.3": (
        uki(table(FW, FW), firmware(), stub="systemd-stub 260"),
        ("entry 0 and 1 more: stub 260.0 never matches firmware entries",),
    ),
    "all-zero CHID": (
        uki(table(FW, chids=(UUID(int=0), CHID)), firmware()),
        ("entry 0: an all-zero CHID; stub 262.1 takes it before all others on a machine without EDID",),
    ),
    "all-zero CHID on 257": (
        uki(table(DT, chids=(UUID(int=0), CHID)), devicetree(), stub="systemd-stub 257"),
        (),
    ),
    "bad magic": (uki(table(FW), firmware(), SectionSpec(".efifw", bytes(20))), ("bad magic 0x00000000",)),
    "ukify's 13 bytes": (
        uki(table(FW), firmware(), SectionSpec(".efifw", OLD_UKIFY)),
        ("13-byte header: the UKI boots, but this firmware is silently never used",),
    ),
    "odd address": (
        uki(table(FW), firmware(), SectionSpec(".efifw", efifw.build("x", b""), virtual_address=0x20004)),
        ("firmware blob at address 0x20004 (expected a multiple of 8); no stub accepts it",),
    ),
    "bad devicetree": (uki(table(DT), devicetree(), SectionSpec(".dtbauto", b"x")), ("devicetree is cut short",)),
    "no table": (uki(firmware()), ("no .hwids in the base to choose by, so never selected",)),
    "no table in the profile": (
        uki(table(FW), firmware(), SectionSpec(".profile", b"ID=a\n"), firmware()),
        (".efifw (section 8): no .hwids in profile 0 to choose by",),
    ),
    "devicetrees without a table": (uki(devicetree()), ("used only where the firmware brings a devicetree",)),
    "an entry without section": (uki(table(FW)), ("entry 0: fwid 'fw', and no .efifw in the base has it",)),
    "an entry without string": (
        uki(entries(FW, offset=0), firmware()),
        ("entry 0: no fwid; a machine that matches it gets nothing", "no entry of .hwids names its fwid"),
    ),
    "a section without entry": (uki(table(FW), firmware(), firmware("b")), ("names its fwid 'b'; never selected",)),
    "the same id twice": (uki(table(FW), firmware(), firmware()), ("has the fwid 'fw' of section 6",)),
    "no multiple of 64 KiB": (
        uki(table(FW), firmware(payload=bytes(65537))),
        ("a payload of 65537 bytes, not a multiple of 64 KiB",),
    ),
    "an arm UKI has no such region": (
        uki(table(FW), firmware(payload=bytes(65537)), machine=0xAA64, linux=ARM_KERNEL),
        (),
    ),
    "8 MiB": (uki(table(FW), firmware(payload=bytes(8 << 20))), ()),
    "more than 8 MiB": (
        uki(table(FW), firmware(payload=bytes((8 << 20) + 65536))),
        ("a payload of 8454144 bytes, more than the 8 MiB that QEMU has for firmware in flash",),
    ),
    "a capsule is as long as it is": (uki(table(FW), firmware(payload=CAPSULE)), ()),
    "firmware for ia32": (
        uki(table(FW), firmware(payload=ovmf_like(IA32, IA32).ljust(65536))),
        ("the firmware is for ia32, the UKI for x64: it cannot start it",),
    ),
    "firmware for aa64": (
        uki(table(FW), firmware(payload=ovmf_like(AA64, AA64).ljust(65536))),
        ("the firmware is for aa64, the UKI for x64: it cannot start it",),
    ),
    "firmware whose DXE cannot be seen": (
        uki(table(FW), firmware(payload=volume(file(SEC, terse(AA64))).ljust(65536))),
        ("the firmware is for aa64, the UKI for x64: it cannot start it",),
    ),
    "firmware for x64 on the other side of 32 bits": (
        uki(table(FW), firmware(payload=ovmf_like(IA32, X64).ljust(65536))),
        ("the firmware starts in 32-bit mode (its SEC core is for ia32): no SEV-SNP or TDX guest can run it",),
    ),
    "32 bits alone do not tell": (
        uki(table(FW), firmware(payload=volume(file(SEC, terse(IA32))).ljust(65536))),
        ("the firmware starts in 32-bit mode",),
    ),
    "the right firmware": (uki(table(FW), firmware(payload=ovmf_like(X64, X64).ljust(65536))), ()),
    "32-bit ELF": (
        uki(table(FW), firmware(payload=elf_image(bits=32, machine=3))),
        ("an ELF image of 32 bit for ia32, the UKI is for x64",),
    ),
    "the right ELF": (uki(table(FW), firmware(payload=elf_image())), ()),
    "foreign IGVM": (
        uki(table(FW), firmware(payload=igvm.build([], version=2, architecture=1))),
        ("an IGVM file for aa64, the UKI is for x64",),
    ),
    "a prototype's firmware": (
        uki(SectionSpec(".fmwimg", b"odd")),
        (".fmwimg (section 5): a payload of 3 bytes, not a multiple of 64 KiB",),
    ),
    "the same compatible twice": (
        uki(table(DT), devicetree(), devicetree()),
        ("compatible 'example,board' of section 6",),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("data", "texts"), list(CASES.values()), ids=list(CASES))
def test_a_rule(tmp_path: Path, data: bytes, texts: tuple[str, ...]):
    found = warnings(tmp_path, data)
    assert len(found) == len(texts), found
    for text, line in zip(texts, found, strict=True):
        assert text in line


def test_the_model_of_another_architecture_is_not_verified(tmp_path: Path):
    value = inspect_json(ukis.load(str(written(tmp_path, "uki.efi", uki(machine=0x14C)))))
    assert value["uki"]["machine"] == "ia32"
    assert value["model"]["verified"] == []


def test_the_text_says_all_of_it(tmp_path: Path):
    value = inspect_json(ukis.load(str(written(tmp_path, "uki.efi", FULL_UKI))))
    for width in (80, 140):
        text = render_inspect(value, Screen(width, False))
        assert all(len(line) <= width for line in text.splitlines() if "uki.efi" not in line)
        assert "\x1b" not in text
        words = [
            value["uki"]["sha256"],
            value["uki"]["authenticode"],
            *(row["name"] for row in value["sections"]),
            *(row["chid"] for row in value["hwids"][0]["entries"]),
            *(row["fwid"] for row in value["efifw"]),
            *(row["payload"]["sha256"] for row in value["efifw"]),
            COMPATIBLE,
            "rescue: sections ",
            "main, Main: section ",
        ]
        assert [word for word in words if word not in text] == []
    assert "\x1b[" in render_inspect(value, Screen(80, True))


def test_payloads_are_shown(tmp_path: Path):
    """Each kind in each width, the raw firmware of the prototype among them."""
    payloads = [OVMF.ljust(65536, b"\0")[-65536:], IGVM, CAPSULE, elf_image(), OVMF.replace(b"ASEV", b"ASEX")]
    sections = [firmware(f"fw{index}", payload) for index, payload in enumerate(payloads)]
    value = inspect_json(ukis.load(str(written(tmp_path, "uki.efi", uki(*sections, SectionSpec(".fmwimg", OVMF))))))
    assert [row["payload"]["kind"] for row in value["efifw"]] == ["unknown", "igvm", "capsule", "elf", "ovmf"]
    assert [row["payload"]["kind"] for row in value["fmwimg"]] == ["ovmf"]
    for width in (80, 140):
        text = render_inspect(value, Screen(width, False))
        assert all(len(line) <= width for line in text.splitlines() if "uki.efi" not in line)
        words = [
            "SEC ia32, PEI ia32, DXE x64",
            f"OVMF: {len(OVMF)} bytes\n",
            f"{UUID(int=5)}: 3f",
            f"SEV metadata, at {OVMF.index(b'ASEV'):#x}",
            f"SEV metadata at {OVMF.index(b'ASEV'):#x}\n",
            "SNP_SECRETS  0x80d000  0x1000",
            "0xffff0000  0x10000",
            "MRTD",
            "SEV-SNP",
            "type 9",
            "PAGE_DATA",
            "firmware management protocol, header of 28",
            "PT_LOAD",
            "r-x",
            ".fmwimg, section 10, firmware without header",
            "that begin with",
            *(["0xffffffff81000000"] if width > 80 else []),
        ]
        assert [word for word in words if word not in text] == []
        for row in ("SEV-ES reset block +0x80b004", "SEV secret block +none", "SEV hash table +0x80f000 +0x400"):
            assert re.search(f"    {row}\n", text)


def test_only_so_many_payloads_are_decoded(tmp_path: Path):
    """A hostile image has thousands; each is named, the first ones are looked into."""
    sections = [firmware(f"fw{index}", elf_image()) for index in range(260)]
    rows = inspect_json(ukis.load(str(written(tmp_path, "uki.efi", uki(*sections)))))["efifw"]
    assert [row["payload"]["details"] is None for row in rows] == [False] * 256 + [True] * 4
    assert rows[-1]["payload"]["description"] == "not decoded, there are too many"


@pytest.mark.parametrize(("rows", "count"), [(1, "1 entry"), (2, "2 entries")])
def test_how_many_entries(tmp_path: Path, rows: int, count: str):
    path = written(tmp_path, "uki.efi", uki(entries(*[FW] * rows), firmware()))
    assert f": {count}\n" in render_inspect(inspect_json(ukis.load(str(path))), Screen(80, False))
