"""What is what, by content: names, `-` and `live`, and what is none of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim import hosts
from stubsim.errors import StubsimError
from stubsim.formats import smbios
from stubsim.hosts.host import KINDS
from stubsim.hosts.recognise import read_bytes
from tests.hosts.outcomes import is_host_or_error
from tests.hosts.test_dmidecode import TEXT as DMIDECODE
from tests.hosts.test_fwupd import TEXT as FWUPD
from tests.hosts.test_libvirt import DOMAIN
from tests.hosts.test_qemu import LOG
from tests.hosts.test_raw import DUMP, OLD_DUMP, TABLE
from tests.samples import ROOT

FORMS = {
    "JSON": (b'{"smbios": {"manufacturer": "M"}}', "json"),
    "JSON behind blanks": (b"\n {}", "json"),
    "table": (TABLE, "smbios-table"),
    "dump": (DUMP, "dmidecode-bin"),
    "old dump": (OLD_DUMP, "dmidecode-bin"),
    "dmidecode": (DMIDECODE, "dmidecode-text"),
    "fwupdtool": (FWUPD, "fwupd-hwids"),
    "QEMU": (LOG.encode(), "qemu"),
    "libvirt": (DOMAIN.encode(), "libvirt"),
}


@pytest.mark.parametrize(("data", "kind"), FORMS.values(), ids=list(FORMS))
def test_every_form_by_content(tmp_path: Path, data: bytes, kind: str):
    path = tmp_path / "misleading.json"
    path.write_bytes(data)
    reading = hosts.read(str(path))
    assert (reading.kind, reading.host) == (kind, hosts.load(str(path)))
    assert kind in KINDS
    assert reading.description
    # Standard input is the same.
    code = "import sys; from stubsim import hosts; print(hosts.read('-').kind)"
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True, cwd=ROOT)
    assert done.stdout.decode().strip() == kind


NOTHING = {
    "empty": (b"", "empty"),
    "blanks": (b" \n", "empty"),
    "text": (b"nothing of a machine", "not recognised"),
    "a PE file": (b"MZ\x90\0", "a PE file, not"),
    "an ELF file": (b"\x7fELF\2\1\1\0", "an ELF file, not"),
    # Each of these could be a table: the first byte is a type, the second a length.
    "gzip": (b"\x1f\x8b\x08\0" + bytes(200), "gzip data, not"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(200), "a PNG picture, not"),
    "a devicetree": (b"\xd0\x0d\xfe\xed" + bytes(200), "a devicetree, not"),
    "PDF": (b"%PDF-1.4\n%\xe2\xe3", "a PDF document, not"),
    "a certificate": (b"-----BEGIN CERTIFICATE-----\n", "PEM data, not"),
    "zip": (b"PK\3\4" + bytes(30), "a zip archive, not"),
    "tar": (b"notes.md".ljust(257, b"\0") + b"ustar  \0 qemu-system-x86_64 -m 1G", "a tar archive, not"),
    "TOML": (b'[package]\nname = "x"\n', "not recognised"),
    "a unit": (b"[Unit]\nDescription=x\n", "not recognised"),
    "Markdown": (
        b"# Boots\n\nIt's `stubsim boot x.efi --smbios host.json`:\n\n    $ x --smbios host.json\n",
        "not rec",
    ),
    "prose": (b"That isn't what qemu-system-x86_64 and qemu-kvm do with -smbios or --smbios.\n", "not recognised"),
    "prose with quotes": (b"Don't give kvm 'a quote; -smbios 'x' is what counts.\n", "not recognised"),
    "C": (b'/* don\'t */\nint main(void) { return system("kvm"); }\n', "not recognised"),
    "binary data with a command in it": (b"data\0\0qemu-system-x86_64 -m 1G\0", "not recognised"),
    "UTF-16": ("what".encode("utf-16"), "not recognised"),
}


@pytest.mark.parametrize(("data", "message"), NOTHING.values(), ids=list(NOTHING))
def test_what_is_nothing(tmp_path: Path, data: bytes, message: str):
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(StubsimError) as caught:
        hosts.load(str(path))
    assert caught.value.path == str(path)
    assert caught.value.message.startswith(message)
    assert caught.value.offset is not None
    assert caught.value.expected


def test_standard_input_is_named(monkeypatch: pytest.MonkeyPatch):
    code = "from stubsim import hosts; hosts.load('-')"
    done = subprocess.run([sys.executable, "-c", code], input=b"x", capture_output=True, check=False, cwd=ROOT)
    assert b"standard input: offset 0x0: not recognised" in done.stderr


def test_a_file_of_a_special_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in ("live", "-"):
        (tmp_path / name).write_text('{"name": "a file"}')
        assert hosts.load(f"./{name}").name == "a file"


def test_a_folder_that_is_none(tmp_path: Path):
    with pytest.raises(StubsimError, match="a folder without an SMBIOS table") as caught:
        hosts.load(str(tmp_path))
    assert caught.value.path == str(tmp_path)


# The least of every form, so that what is behind it is looked at.
STARTS = [
    b"",
    b"{",
    b"<domain",
    b"_SM3_",
    b"_SM_",
    b"Computer Information\n",
    b"# dmidecode",
    b"-smbios ",
    b"\1\x1b\0\1",
]


@given(st.sampled_from(STARTS), st.binary())
def test_any_bytes_are_a_host_or_one_error(start: bytes, data: bytes):
    assert is_host_or_error(start + data)


def test_a_json_file_loads_no_other_reader(tmp_path: Path):
    path = tmp_path / "host.json"
    path.write_text("{}")
    code = (
        "import sys; from stubsim import hosts; hosts.load(sys.argv[1]);"
        "print([m for m in sys.modules if m.startswith(('stubsim.hosts.', 'xml', 'shlex'))])"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, path], capture_output=True, text=True, check=True, cwd=ROOT
    )
    modules = {"fixture", "host", "reading", "recognise"}
    assert set(eval(done.stdout)) == {f"stubsim.hosts.{name}" for name in modules}


def test_the_forms_agree_on_a_machine(tmp_path: Path):
    """One machine by its table, as a dump and in a folder."""
    table = smbios.from_fields(smbios.Fields(b"M", b"P", b"S", b"F", b"B", b"C", b"V", b"W", 1, 2, 3))
    (tmp_path / "DMI").write_bytes(table)
    dump = smbios.build_entry_point(table).ljust(32, b"\0") + table
    read = [read_bytes(table), read_bytes(dump), hosts.read(str(tmp_path))]
    assert len({reading.host._replace(source=None) for reading in read}) == 1


DMIDECODE = "Handle 0x0001, DMI type 1, 27 bytes\nSystem Information\n\tManufacturer: A\n\n"


@pytest.mark.parametrize(
    "text",
    [
        f"--- a\n+++ b\n@@ -1,3 +1,3 @@\n {DMIDECODE}-\tFamily: A\n+\tFamily: B\n",
        f"diff --git a/x b/x\n@@ -1 +1,9 @@ System\n {DMIDECODE}",
        "1,2c1\n< Handle 0x0001, DMI type 1, 27 bytes\n",
        "@@ -1 +1 @@\n-qemu-system-x86_64 -m 1G\n+qemu-system-x86_64 -m 2G\n",
        "@@ -1 +1 @@\n Computer Information\n-Family: A\n+Family: B\n",
    ],
)
def test_a_diff_is_no_machine(text: str):
    with pytest.raises(StubsimError, match="a diff, not the description of a machine"):
        read_bytes(text.encode())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema": "stubsim/boot/1", "uki": {}}', "schema: 'stubsim/boot/1'"),
        (
            '{"dependencies": {}, "license": "MIT"}',
            "JSON of something else, not a host file: 'dependencies'",
        ),
        ('{"name": "x", "dependencies": {}}', "JSON of something else"),
        # What is only mistyped is not something else.
        ('{"memroy": "x"}', "did you mean memory"),
        ('{"memory": "1G", "dependencies": {}}', "dependencies: unknown key"),
    ],
)
def test_json_of_something_else(text: str, message: str):
    with pytest.raises(StubsimError) as caught:
        read_bytes(text.encode())
    assert message in str(caught.value)


def test_text_of_two_bytes_a_character():
    plain = read_bytes(DMIDECODE.encode())
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        assert read_bytes(DMIDECODE.encode(encoding)) == plain
    assert read_bytes('{"memory": "1G"}'.encode("utf-16")).host.memory == 1 << 30
    with pytest.raises(StubsimError, match="UTF-16 text that is damaged"):
        read_bytes(b"\xff\xfea")
