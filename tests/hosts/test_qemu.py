"""QEMU command lines: what is read of them, and that a real QEMU makes the same of them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim import chid, hosts
from stubsim.errors import StubsimError
from stubsim.formats import fdt, smbios
from stubsim.hosts import Console, Host
from stubsim.hosts.qemu_options import is_command_line, split
from stubsim.hosts.recognise import read_bytes
from tests.hosts.outcomes import is_host_or_error
from tests.hosts.qemu_machine import refusal, smbios_of
from tests.strategies import mutated

Q35 = "Standard PC (Q35 + ICH9, 2009)"
PC = "Standard PC (i440FX + PIIX, 1996)"
BIOS = {"bios_vendor", "bios_version", "bios_major", "bios_minor"}


def read(text: str, folder: str = "") -> Host:
    reading = read_bytes(text.encode("utf-8", "surrogateescape"), folder)
    assert reading.kind == "qemu"
    return reading.host


def unknown_fields(host: Host) -> set[str]:
    return {key.partition(".")[2] for key in host.unknown if key.startswith("smbios.")}


# --- the words -------------------------------------------------------------------------------------------------------


def test_options_and_their_values():
    assert split("type=1,manufacturer=A,,B,product=,sku") == (
        ("type", "1"),
        ("manufacturer", "A,B"),
        ("product", ""),
        ("sku", "on"),
    )
    assert split("q35,accel=kvm") == (("", "q35"), ("accel", "kvm"))
    assert split('{"driver":"tpm-crb","id":"t"}') == (("", "tpm-crb"), ("id", "t"))
    assert split("{broken") == ()


SCRIPT = r"""#!/bin/sh
# qemu-system-aarch64 -M virt -smbios type=1,manufacturer=comment
qemu-img create disk.img 1G
exec qemu-system-x86_64 \
    -M q35,smm=on -m 4G -nographic \
    -smbios 'type=1,manufacturer=Maker,, Inc,product=RG264#ABA' \
    --smbios "type=1,sku=a \"b\"" disk.img > log 2>&1
echo done -smbios type=1,family=no
"""
LOG = r"""2026-01-01 10:00:00.000+0000: starting up libvirt version: 11.0.0
LC_ALL=C \
PATH=/usr/bin \
/usr/bin/qemu-system-x86_64 \
-name guest=vm,debug-threads=on \
-machine pc-q35-9.2,usb=off,accel=kvm \
-m size=2097152k \
-device '{"driver":"virtio-serial-pci","id":"virtio-serial0","bus":"pci.3","addr":"0x0"}' \
-device '{"driver":"pcie-root-port","port":8,"id":"pci.3","bus":"pcie.0"}' \
-smbios 'type=1,manufacturer=Maker,product=One'
char device redirected to /dev/pts/1 (label charserial0)
"""


def test_a_script():
    host = read(SCRIPT)
    assert host.fields.manufacturer == b"Maker, Inc"
    assert host.fields.product_name == b"RG264#ABA"
    assert host.fields.product_sku == b'a "b"'
    assert host.fields.family is None
    assert (host.memory, host.architecture) == (4 << 30, "x64")
    assert unknown_fields(host) == BIOS


def test_the_log_of_libvirt():
    host = read(LOG)
    assert (host.name, host.memory) == ("vm", 2 << 30)
    assert (host.fields.manufacturer, host.fields.product_name) == (b"Maker", b"One")
    # Behind a root port a virtio device is no transitional one.
    assert host.console.virtio == 0
    assert not any(key.startswith("console") for key in host.unknown)


def test_the_words_of_a_process():
    words = ["/usr/bin/qemu-system-x86_64", "-M", "pc", "-smbios", "type=1,manufacturer=A $HOME; B,product=x"]
    host = read("\0".join(words) + "\0")
    assert (host.fields.manufacturer, host.fields.product_name) == (b"A $HOME; B", b"x")
    assert unknown_fields(host) == BIOS


def test_bytes_that_are_no_utf_8():
    assert read("-smbios type=1,manufacturer=M\udcff").fields.manufacturer == b"M\xff"


@pytest.mark.parametrize(
    "text",
    [
        "-smbios type=1,sku=1",
        "x -smbios type=1",
        "-smbios 'file=x'",
        "$QEMU -m 1G \\\n --smbios \\\n type=1",
        "/usr/bin/kvm -m 1G",
        "'qemu-system-x86_64' -M q35",
        "root 1 0.0 ? Sl 10:00 /usr/bin/qemu-system-x86_64 \\\n -M q35",
        'exec kvm "$@"',
        "qemu-kvm disk.img -m 1G",
        "qemu-kvm\n",
        "qemu-kvm\0-m\0",
        "-m\0001G\0-smbios\0type=1\0",
    ],
)
def test_what_is_a_command_line(text: str):
    assert is_command_line(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "", "smbios", "my-smbios x", "a qemu", "notqemu-kvm x", "qemu-kvm\0\x01", "stubsim boot x --smbios host.json",
        "what qemu-kvm does", "with kvm, it is", "README.md\0qemu-kvm\0-m\0",
    ],
)  # fmt: skip
def test_what_is_none(text: str):
    assert not is_command_line(text.encode())


def test_words_that_lost_their_quotes():
    with pytest.raises(StubsimError, match="'Inc,product=P' belongs to no option") as caught:
        read("qemu-system-x86_64 -smbios type=1,manufacturer=Maker Inc,product=P")
    assert "/proc/PID/cmdline" in str(caught.value)


def test_words_that_belong_to_no_option():
    """One is a disk image; of several QEMU says that the drive exists."""
    assert read("qemu-system-x86_64 -m 1G disk.img").memory == 1 << 30
    for line in ("-kernel uki.efi -append root=/dev/vda2 ro quiet", "-m 1G to boot it"):
        with pytest.raises(StubsimError, match=r"not a QEMU command line: '.* belong to no option") as caught:
            read(f"qemu-system-x86_64 {line}")
        assert "libvirt XML" in str(caught.value)
        assert "/proc/PID/cmdline" in str(caught.value)
    # What a shell puts there is not known.
    assert read('qemu-system-x86_64 -m 1G "$@" $MORE').memory == 1 << 30


def test_lines_of_options_beside_others():
    assert read("set -e\ncd 'it is'\n$QEMU -smbios type=1,sku=1\n-m 1G\n").fields.product_sku == b"1"


def test_a_quote_without_an_end(tmp_path: Path):
    path = tmp_path / "script"
    path.write_text("-smbios 'type=1")
    with pytest.raises(StubsimError, match="not a QEMU command line: a quote that is not closed") as caught:
        hosts.load(str(path))
    assert caught.value.path == str(path)
    assert "libvirt XML" in str(caught.value)


# --- what is in SMBIOS -----------------------------------------------------------------------------------------------

# The arguments of a QEMU for x86, each made into a table by a real one below; "{folder}" has the files of BLOBS.
COMMANDS = [
    "-M q35",
    "-M pc",
    "",
    "-machine type=q35,usb=off",
    "-M pc-q35-6.2 -smbios type=1",
    "-M q35 -smbios type=1,manufacturer=A,,B,product=,,,serial=4",
    "-M pc -smbios type=1,manufacturer=,product=P,version=V,serial=1,uuid=01234567-89ab-cdef-0123-456789abcdef",
    "-M q35 -smbios type=1,family=x,family=y,sku",
    "-M q35 -smbios type=1,sku=1,family=F -smbios type=1,sku=2",
    "-M q35 -smbios type=2,serial=1",
    "-M pc -smbios type=2,manufacturer=,product=Board -smbios type=2,version=3",
    "-M q35 -smbios type=2,manufacturer=M,product=P,asset=A,location=L",
    "-M q35 -smbios type=3,manufacturer=M,serial=1,sku=9",
    "-M q35 -smbios type=0",
    "-M q35 -smbios type=0,vendor=V,version=1.2,date=01/02/2020,release=1.999,uefi=on",
    "-M q35 -smbios type=0,release=3.4 -smbios type=0,vendor=x",
    "-M q35 -smbios 'type=0,release= 7.8x'",
    "-M q35 -smbios type=0x1,product=hex -smbios type=1,manufacturer=' 0blanks '",
    "-M q35 -smbios type=11,value=,value=one,value=a,,b -smbios type=11,value=two",
    "-M q35 -smbios type=11,path=strings.txt,value=behind",
    "-M q35 -smbios type=4,manufacturer=CPU -smbios type=17,manufacturer=RAM",
    "-M q35 -smbios file=type1.bin -smbios type=2,product=Board",
    "-M q35 -smbios file=type1.bin -smbios file=second1.bin",
    "-M pc -smbios file=type2.bin -smbios file=type3.bin -smbios file=type0.bin",
    "-M q35 -smbios file=short1.bin",
    "-M q35 -smbios file=type11.bin",
    "-M q35 -smbios file=two.bin -smbios type=1,product=P",
    "-M q35 -smbios type=1,product=Größe",
]
REFUSED = [
    "-smbios type=1,foo=bar",
    "-smbios type=3,product=x",
    "-smbios type=1x",
    "-smbios type=-1",
    "-smbios type=128",
    "-smbios foo=1",
    "-smbios help",
    "-smbios type=0,release=1",
    "-smbios type=0,release=x.y",
    "-smbios file=type1.bin -smbios type=1,sku=1",
    "-smbios type=1,sku=1 -smbios file=type1.bin",
    "-smbios type=11,path=nul.txt",
]

SYSTEM = bytes([1, 2, 0, 0, *bytes(16), 6, 3, 0])
BLOBS = {
    "type0.bin": smbios.build_structure(0, bytes([1, 2, 0, 0, 0, 0, *bytes(10), 5, 6, 255, 255]), [b"V", b"W"]),
    "type1.bin": smbios.build_structure(1, SYSTEM, [b"Maker", b"Product", b"SKU"], 0x100),
    "second1.bin": smbios.build_structure(1, SYSTEM, [b"Another", b"One", b"S"], 0x101),
    "short1.bin": smbios.build_structure(1, bytes([1, 2, 0, 0, *bytes(17)]), [b"Maker", b"Product"]),
    "type2.bin": smbios.build_structure(2, bytes([1, 2, 0, 0]), [b"Board", b"B1"]),
    "type3.bin": smbios.build_structure(3, bytes([0, 0x8A, *bytes(7)])),
    "type11.bin": smbios.build_structure(11, b"\2", [b"x", b"y"]),
    "two.bin": smbios.build_structure(200, b"", [b"v"]) + smbios.build_structure(2, bytes([1, 0, 0, 0]), [b"First"]),
    "strings.txt": b"from a file\n",
    "nul.txt": b"a\0b",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in BLOBS.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.mark.oracle
@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_real_qemu_makes_the_same_of_it(oracle: Callable[[str], str], folder: Path, arguments: str):
    table, entry_point = smbios_of(oracle("qemu-system-x86_64"), shlex.split(arguments), folder)
    real = read_bytes(table).host
    host = read(f"qemu-system-x86_64 {arguments}", str(folder))
    expected = set() if re.search(r"type=0\b|type0", arguments) else BIOS
    assert unknown_fields(host) == expected
    assert host.fields == real.fields
    assert host.oem_strings == real.oem_strings
    for view in chid.VIEWS:
        assert chid.compute(host.fields, None, view) == chid.compute(real.fields, None, view)
    # As a dump the table is the same machine.
    dump = bytearray(entry_point.ljust(32, b"\0"))
    dump[24:28] = (32).to_bytes(4, "little")
    assert read_bytes(bytes(dump) + table).host._replace(source=real.source) == real


@pytest.mark.oracle
@pytest.mark.parametrize("arguments", REFUSED)
def test_what_a_real_qemu_refuses(oracle: Callable[[str], str], folder: Path, arguments: str):
    assert refusal(oracle("qemu-system-x86_64"), shlex.split(arguments), folder)
    with pytest.raises(StubsimError) as caught:
        read(f"qemu-system-x86_64 {arguments}", str(folder))
    assert caught.value.message.startswith("-smbios ")
    assert caught.value.expected


def test_the_defaults_of_a_machine():
    host = read("qemu-system-x86_64 -M q35")
    assert host.fields == smbios.Fields(manufacturer=b"QEMU", product_name=Q35.encode(), enclosure_type=1)
    assert read("qemu-system-x86_64 -m 1G").fields.product_name == PC.encode()
    assert read("kvm -M q35").architecture == "x64"


@pytest.mark.parametrize(
    ("text", "product"),
    [
        ("qemu-system-aarch64 -M virt", b"QEMU Virtual Machine"),
        ("qemu-system-aarch64 -M virt-9.2 -accel kvm", b"KVM Virtual Machine"),
        ("qemu-system-aarch64 -machine virt,accel=kvm", b"KVM Virtual Machine"),
        ("qemu-system-aarch64 -M virt -enable-kvm", b"KVM Virtual Machine"),
        ("qemu-system-aarch64 -M virt -accel kvm -accel tcg", None),
        ("qemu-system-aarch64 -M virt,accel=kvm:tcg", None),
        ("qemu-system-riscv64 -M virt", None),
        ("qemu-system-x86_64 -M pc-q35-rhel9.4.0", None),
        ("qemu-system-x86_64 -M pc-q35-noble", None),
        ("/usr/bin/kvm -machine type=pc-q35-9.2+pve1", Q35.encode()),
        ("/usr/bin/kvm -machine type=pc+pve0", PC.encode()),
        ("/usr/bin/kvm -machine pc-q35-9.2+other1", None),
        ("/usr/libexec/qemu-kvm -M q35", None),
        ("qemu-system-aarch64 -m 1G", None),
        ("-smbios type=1,manufacturer=M", None),
    ],
)
def test_machines_of_others_and_of_other_architectures(text: str, product: bytes | None):
    host = read(text)
    assert host.fields.product_name == product
    assert ("product_name" in unknown_fields(host)) == (product is None)


@pytest.mark.parametrize("more", ["$EXTRA", '"$@"', "$(options)"])
def test_more_options_may_be_where_a_shell_puts_them(more: str):
    strings = {*smbios.Fields._fields[:6], "oem_strings"}
    assert unknown_fields(read(f"qemu-system-x86_64 -M q35 {more}")) == strings | BIOS
    given = read(f"qemu-system-x86_64 -M q35 -smbios type=1,product=P,family=F {more}")
    assert unknown_fields(given) == strings - {"product_name", "family"} | BIOS
    # In the place of a value there is no room for an option.
    assert unknown_fields(read("qemu-system-x86_64 -M q35 -drive file=$DISK")) == BIOS


def test_a_file_of_options_may_name_another_machine():
    host = read("qemu-system-x86_64 -M q35 -readconfig vm.conf")
    assert unknown_fields(host) == {"product_name"} | BIOS


def test_what_is_given_is_known_on_any_machine():
    fields = "manufacturer=M,product=P,sku=S,family=F"
    host = read(f"/usr/libexec/qemu-kvm -M q35 -smbios type=1,{fields} -smbios type=2,manufacturer=B")
    assert unknown_fields(host) == BIOS | {"baseboard_product"}


def test_files_that_are_not_here(tmp_path: Path):
    reading = read_bytes(b"qemu-system-x86_64 -M q35 -smbios file=/nowhere/x.bin", str(tmp_path))
    assert "smbios" in reading.host.unknown
    assert any("'/nowhere/x.bin': cannot be read" in note for note in reading.notes)
    host = read("qemu-system-x86_64 -M q35 -smbios type=11,path=nowhere", str(tmp_path))
    assert "oem_strings" in unknown_fields(host)


def test_a_broken_file(tmp_path: Path):
    (tmp_path / "x.bin").write_bytes(b"\1\x1b\0\1\1")
    with pytest.raises(StubsimError, match=r"-smbios file='x\.bin': SMBIOS structure of type 1") as caught:
        read("qemu-system-x86_64 -smbios file=x.bin", str(tmp_path))
    assert caught.value.offset == 1


def test_files_are_looked_for_beside_the_text(folder: Path):
    (folder / "start.sh").write_text("qemu-system-x86_64 -M q35 -smbios file=type1.bin\n")
    assert hosts.load(str(folder / "start.sh")).fields.manufacturer == b"Maker"


def test_what_only_a_shell_knows():
    host = read('qemu-system-x86_64 -M q35 -smbios "type=1,serial=1,sku=$SKU" -smbios type=11,value=$(id)')
    assert unknown_fields(host) == BIOS | {"product_sku", "oem_strings"}
    host = read('qemu-system-x86_64 -M q35 "$@"')
    assert host.unknown >= {"memory", "tpm", "console", "edid"}
    host = read("qemu-system-x86_64 -M q35 -readconfig x")
    assert host.unknown >= {"memory", "tpm", "console"}


# --- the rest of the machine -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        ("", 128),
        ("-m 512", 512),
        ("-m 4G", 4096),
        ("-m size=2g,slots=2", 2048),
        ("-m 1G -m 3G", 3072),
        ("-m 64k", None),
    ],
)
def test_memory(arguments: str, size: int | None):
    host = read(f"qemu-system-x86_64 -M q35 {arguments}")
    assert ("memory" in host.unknown) == (size is None)
    assert size is None or host.memory == size << 20


@pytest.mark.parametrize(
    ("arguments", "console", "unknown"),
    [
        ("", Console(True, 0, (0x3F8,)), set()),
        ("-nodefaults", Console(False, 0, ()), set()),
        ("-nographic", Console(True, 0, (0x3F8,)), set()),
        ("-vga none", Console(False, 0, (0x3F8,)), set()),
        ("-vga none -device virtio-gpu-pci", Console(True, 0, (0x3F8,)), set()),
        ("-nodefaults -vga qxl -serial stdio", Console(True, 0, (0x3F8,)), set()),
        ("-serial none", Console(True, 0, ()), set()),
        ("-serial none -serial stdio", Console(True, 0, (0x2F8,)), set()),
        ("-device isa-serial,index=1", Console(True, 0, (0x2F8,)), set()),
        ("-device isa-serial,iobase=0x3e8", Console(True, 0, (0x3E8,)), {"console.serial"}),
        ("-nodefaults -device isa-serial,chardev=c", Console(False, 0, (0x3F8,)), set()),
        ("-device virtio-serial", Console(True, 1, (0x3F8,)), set()),
        ("-device virtio-serial-pci,disable-legacy=on", Console(True, 0, (0x3F8,)), set()),
        ("-device virtio-serial-pci-non-transitional", Console(True, 0, (0x3F8,)), set()),
        ("-device virtio-serial-pci,bus=x", Console(True, 0, (0x3F8,)), {"console.virtio"}),
        ("-device pcie-root-port,id=x -device virtio-serial-pci,bus=x", Console(True, 0, (0x3F8,)), set()),
        ("-device pcie-pci-bridge,id=x -device virtio-serial-pci,bus=x", Console(True, 1, (0x3F8,)), set()),
        ("-device vfio-pci,host=01:00.0", Console(True, 0, (0x3F8,)), {"console.graphics"}),
    ],
)
def test_consoles(arguments: str, console: Console, unknown: set[str]):
    host = read(f"qemu-system-x86_64 -M q35 {arguments}")
    assert host.console == console
    assert {key for key in host.unknown if key.startswith("console")} == unknown


def test_tpm_rng_and_secure_boot():
    host = read("qemu-system-x86_64 -M q35")
    assert (host.tpm, host.rng, host.secure_boot) == (None, False, False)
    assert host.unknown == {"firmware", "rng", "secure_boot", *(f"smbios.{key}" for key in BIOS)}
    host = read("qemu-system-x86_64 -M q35 -bios OVMF.fd -device tpm-tis,tpmdev=t -device virtio-rng-pci")
    assert host.tpm is not None
    assert host.rng
    assert host.unknown == {"firmware", "tpm.banks", *(f"smbios.{key}" for key in BIOS)}


@pytest.mark.parametrize(
    ("arguments", "confidential", "unknown"),
    [
        ("-M q35,confidential-guest-support=s -object sev-snp-guest,id=s", "sev-snp", False),
        ('-M q35,confidential-guest-support=s -object \'{"qom-type":"tdx-guest","id":"s"}\'', "tdx", False),
        ("-M q35,confidential-guest-support=s -object sev-guest,id=s", None, True),
        ("-M q35 -object sev-snp-guest,id=s", None, False),
    ],
)
def test_confidential_guests(arguments: str, confidential: str | None, unknown: bool):
    host = read(f"qemu-system-x86_64 {arguments}")
    assert host.confidential == confidential
    assert ("confidential" in host.unknown) == unknown


def test_the_proposed_update_device():
    host = read("qemu-system-x86_64 -M q35 -device vmfwupdate")
    assert host.fw_cfg is not None
    assert host.fw_cfg.vmfwupdate is not None
    assert "fw_cfg.vmfwupdate.dialect" in host.unknown


def test_other_architectures():
    host = read("qemu-system-aarch64 -M virt -serial stdio")
    assert (host.architecture, host.console.serial, host.console.graphics) == ("aa64", (), False)
    assert "keyboard_layout" in host.unknown
    assert "devicetree" in read("qemu-system-riscv64 -M virt").unknown


@pytest.mark.parametrize(
    ("options", "graphics", "unknown"),
    [
        ("", False, set()),
        ("-device ramfb", True, set()),
        ("-device virtio-gpu-pci", True, set()),
        ("-device virtio-gpu", True, set()),
        ("-device VGA", False, set()),
        ("-device bochs-display", False, set()),
        ("-device virtio-gpu-device", False, set()),
        ("-device VGA -device ramfb", True, set()),
        ("-device qxl", False, {"console.graphics"}),
        ("-vga std", False, {"console.graphics"}),
        ("-vga none", False, set()),
    ],
)
def test_a_screen_on_virt(options: str, graphics: bool, unknown: set[str]):
    """aa64: console-virtio-gpu, console-virtio-std-vga, basic-novga and their like."""
    host = read(f"qemu-system-aarch64 -M virt {options}")
    assert host.console == Console(graphics, 0, ())
    assert {key for key in host.unknown if key.startswith("console")} == unknown


@pytest.mark.parametrize(
    ("line", "tree", "unknown"),
    [
        ("qemu-system-aarch64 -M virt", None, False),
        ("qemu-system-aarch64 -machine type=virt-9.2,acpi=on", None, False),
        ("qemu-system-aarch64 -M virt,acpi=off", b"linux,dummy-virt", True),
        ("qemu-system-aarch64 -M virt -no-acpi", b"linux,dummy-virt", True),
        ("qemu-system-aarch64 -M virt,acpi=on -M acpi=off", b"linux,dummy-virt", True),
        ("qemu-system-arm -M virt", b"linux,dummy-virt", True),
        ("qemu-system-aarch64 -M raspi3b", None, True),
        ("qemu-system-aarch64 -M virt -readconfig x", None, True),
        ("qemu-system-aarch64 -M virt -dtb x", None, True),
        ("qemu-system-x86_64 -M q35", None, False),
    ],
)
def test_a_tree_on_virt(line: str, tree: bytes | None, unknown: bool):
    """aa64: dtfw-*. What else is in QEMU's tree the options decide."""
    host = read(line)
    found = None if host.devicetree is None else fdt.root_compatible(host.devicetree)[0].encode()
    assert found == tree
    assert ("devicetree" in host.unknown) is unknown


@given(st.text() | st.text().map(lambda text: f"qemu-system-x86_64 -smbios {text}") | st.text().map(shlex.quote))
def test_any_text_is_a_host_or_one_error(text: str):
    for whole in (text, f"-smbios type=1,{text}", f"qemu-system-x86_64 -M q35 {text}"):
        assert is_host_or_error(whole.encode("utf-8", "surrogatepass"))


@given(mutated(SCRIPT.encode()) | mutated(LOG.encode()))
def test_any_change_of_a_text_is_a_host_or_one_error(data: bytes):
    assert is_host_or_error(data)
