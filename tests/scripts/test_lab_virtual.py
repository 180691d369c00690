"""The virtual machine's lab, as far as it goes without one: what the launcher is told and what the probe tells."""

from __future__ import annotations

import base64
import struct
import sys
from pathlib import Path

import pefile
import pytest

from scripts.lab import efirun, guest, virtual
from scripts.lab.virtual import Probed, messages_of, probed, settings
from stubsim import uki
from stubsim.errors import StubsimError
from stubsim.formats import pe
from stubsim.formats.pe import SectionSpec


def test_the_probes_lines_are_found_among_others():
    text = "BdsDxe: starting\r\n\nLAB load-options 6100\n\nLAB pcr 010b 80\nLAB \nnoise LAB end \n"
    assert list(probed(text)) == [
        Probed("load-options", (b"a\0",)),
        Probed("pcr", (b"\x01\x0b", b"\x80")),
        Probed("end", (b"",)),
    ]


def test_the_shell_and_the_firmware_are_no_messages():
    said = "BdsDxe: starting Boot0001\r\nEDK II\r\nMapping table\r\n FS0: Alias(s):HD0b:\r\nFS0:\\> uki.efi\r\nsaid\r\n"
    assert messages_of(said, shell=True) == ["said"]
    assert messages_of(said + "FS0:\\> reset -s\r\nx\r\n", shell=True) == ["said"]
    assert messages_of("said\r\nUEFI Interactive Shell v2.2\r\nEDK II\r\n") == ["said"]
    assert messages_of("Shell> fs0:\r\n", shell=True) == []
    assert messages_of("BdsDxe: starting Boot0001\r\n\x1b[2Jsaid\r\nLAB end\r\n") == ["said"]


def test_the_launcher_is_told_type_size_and_data():
    variable = {"name": "A", "guid": "00112233-4455-6677-8899-aabbccddeeff", "attributes": 6, "data": "eA=="}
    host = {"variables": [variable], "edid": base64.b64encode(b"edid").decode(), "previous_initrd": None}
    case = efirun.Case(Path("uki.efi"), None, host, "\\x.efi", load_options=b"o\0", from_memory=True)
    data, rows = b"".join(settings(case, "x.efi")), []
    while data:
        kind, size = struct.unpack_from("<BI", data)
        rows.append((kind, data[5 : 5 + size]))
        data = data[5 + size :]
    guid = bytes.fromhex("33221100554477668899aabbccddeeff")
    assert rows == [
        (1, "\\x.efi\0".encode("utf-16-le")),
        (2, b"o\0"),
        (3, struct.pack("<I", 6) + guid + "A\0".encode("utf-16-le") + b"x"),
        (4, b"edid"),
        (7, b""),
    ]


def test_no_section_of_a_kernel_has_more_in_the_file_than_in_memory():
    image = pe.build([SectionSpec(".text", b"x", characteristics=0x6000_0020), SectionSpec(".bss", b"", 5000)])
    rows = [(row.Misc_VirtualSize, row.SizeOfRawData) for row in pefile.PE(data=guest.whole_sections(image)).sections]
    assert rows == [(512, 512), (5000, 0)]


def test_a_machine_that_does_not_end_is_told_from_one_that_fails(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(virtual, "PROCESSOR_TIME", 1)
    assert virtual._boot([sys.executable, "-c", "while True: pass"])
    with pytest.raises(StubsimError, match="failed"):
        virtual._boot([sys.executable, "-c", "raise SystemExit(1)"])


def test_only_a_kernel_with_the_probes_code_tells_of_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    probe = pe.build([SectionSpec(".text", bytes(range(256)), characteristics=0x6000_0020)])
    monkeypatch.setattr(guest, "program", lambda name, machine: probe)
    for name, kernel in (("probe", probe), ("other", pe.build([SectionSpec(".text", bytes(256))]))):
        path = tmp_path / f"{name}.efi"
        path.write_bytes(pe.build([SectionSpec(".linux", kernel)]))
        assert virtual.tells(uki.load(str(path))) == (name == "probe")
