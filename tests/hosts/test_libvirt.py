"""libvirt domain XML, beside the QEMU options that libvirt makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim import hosts
from stubsim.errors import StubsimError
from stubsim.formats import smbios
from stubsim.hosts import Console, DirectBoot, Host
from stubsim.hosts.host import Reading
from stubsim.hosts.recognise import read_bytes
from tests.hosts.outcomes import is_host_or_error
from tests.strategies import mutated

BIOS = {"bios_vendor", "bios_version", "bios_major", "bios_minor"}
DOMAIN = """<?xml version="1.0" encoding="UTF-8"?>
<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>größe</name>
  <memory unit='GiB'>3</memory>
  <os firmware='efi'>
    <type arch='x86_64' machine='pc-q35-9.2'>hvm</type>
    <smbios mode='sysinfo'/>
  </os>
  <sysinfo type='smbios'>
    <bios>
      <entry name='vendor'>V</entry>
      <entry name='release'>1.2</entry>
    </bios>
    <system>
      <entry name='manufacturer'> A, B &amp; C</entry>
      <entry name='product'></entry>
      <entry name='sku'>S</entry>
      <entry name='serial'>12345</entry>
    </system>
    <baseBoard>
      <entry name='product'>Board</entry>
    </baseBoard>
    <chassis>
      <entry name='sku'>C</entry>
    </chassis>
    <oemStrings>
      <entry>one</entry>
      <entry>io.systemd.stub.kernel-cmdline-extra=quiet</entry>
    </oemStrings>
  </sysinfo>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <serial type='pty'><target type='isa-serial' port='0'/></serial>
    <console type='pty'><target type='serial' port='0'/></console>
    <tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <video><model type='virtio'/></video>
    <controller type='pci' index='0' model='pcie-root'/>
    <controller type='pci' index='3' model='pcie-root-port'/>
    <controller type='virtio-serial' index='0'><address type='pci' bus='0x03'/></controller>
  </devices>
</domain>
"""


def read(text: str) -> Reading:
    reading = read_bytes(text.encode())
    assert reading.kind == "libvirt"
    return reading


def unknown_fields(host: Host) -> set[str]:
    return {key.partition(".")[2] for key in host.unknown if key.startswith("smbios.")}


def changed(old: str, new: str) -> Reading:
    assert old in DOMAIN
    return read(DOMAIN.replace(old, new))


def test_a_domain():
    host = read(DOMAIN).host
    assert host.fields == smbios.Fields(
        manufacturer=b" A, B & C",
        product_name=b"Standard PC (Q35 + ICH9, 2009)",
        product_sku=b"S",
        baseboard_manufacturer=b"QEMU",
        baseboard_product=b"Board",
        bios_vendor=b"V",
        bios_major=1,
        bios_minor=2,
        enclosure_type=1,
    )
    assert host.oem_strings == (b"one", b"io.systemd.stub.kernel-cmdline-extra=quiet")
    assert (host.name, host.memory, host.architecture) == ("größe", 3 << 30, "x64")
    assert host.console == Console(True, 0, (0x3F8,))
    assert host.rng
    assert host.unknown == {"firmware", "secure_boot", "tpm.banks"}


def test_a_domain_says_what_the_options_say():
    """The same as the command line that libvirt 11 logs for such a domain."""
    options = (
        "/usr/bin/qemu-system-x86_64 -name guest=größe -machine pc-q35-9.2,accel=kvm -m size=3145728k -nodefaults "
        "-smbios type=0,vendor=V,release=1.2 -smbios 'type=1,manufacturer= A,, B & C,sku=S' "
        "-smbios type=2,product=Board -smbios type=3,sku=C "
        "-smbios type=11,value=one,value=io.systemd.stub.kernel-cmdline-extra=quiet "
        "-device isa-serial,index=0 -device tpm-crb -device virtio-rng-pci -device virtio-vga "
        "-device pcie-root-port,id=pci.3 -device virtio-serial-pci,bus=pci.3"
    )
    assert read(DOMAIN).host._replace(source=None) == read_bytes(options.encode()).host._replace(source=None)


@pytest.mark.parametrize(("features", "has_tree"), [("", True), ("<features><acpi/></features>", False)])
def test_acpi_on_arm(features: str, has_tree: bool):
    """libvirt switches it off where the domain does not ask for it."""
    host = read(f"<domain type='kvm'><os><type arch='aarch64' machine='virt'/></os>{features}</domain>").host
    assert (host.devicetree is not None) is has_tree


def test_sysinfo_that_is_not_used():
    for mode in ("", "<smbios mode='emulate'/>"):
        reading = changed("<smbios mode='sysinfo'/>", mode)
        assert reading.host.fields.manufacturer == b"QEMU"
        assert reading.host.oem_strings == ()
        assert unknown_fields(reading.host) == BIOS
        assert any("sysinfo is not used" in note for note in reading.notes)


def test_strings_of_the_machine_that_it_runs_on():
    reading = changed("mode='sysinfo'", "mode='host'")
    assert unknown_fields(reading.host) >= {"manufacturer", "product_name", "baseboard_product", *BIOS}


def test_options_for_qemu_itself():
    extra = "<qemu:commandline><qemu:arg value='-smbios'/><qemu:arg value='type=1,product=P'/></qemu:commandline>"
    reading = changed("</devices>", f"</devices>{extra}")
    assert reading.host.fields.product_name == b"P"
    assert any("passes to QEMU" in note for note in reading.notes)


@pytest.mark.parametrize(
    ("features", "secure_boot"),
    [
        ("<feature enabled='yes' name='secure-boot'/><feature enabled='yes' name='enrolled-keys'/>", True),
        ("<feature enabled='no' name='secure-boot'/>", False),
        ("<feature enabled='yes' name='secure-boot'/><feature enabled='no' name='enrolled-keys'/>", False),
        ("<feature enabled='yes' name='secure-boot'/>", None),
    ],
)
def test_secure_boot(features: str, secure_boot: bool | None):
    host = changed("</os>", f"<firmware>{features}</firmware></os>").host
    assert ("secure_boot" in host.unknown) == (secure_boot is None)
    assert host.secure_boot == bool(secure_boot)


def test_other_machines():
    host = changed("arch='x86_64' machine='pc-q35-9.2'", "arch='aarch64' machine='virt-9.2'").host
    assert (host.architecture, host.fields.product_name) == ("aa64", b"KVM Virtual Machine")
    host = read(DOMAIN.replace("pc-q35-9.2", "pc-q35-rhel9.4.0").replace("system-x86_64<", "kvm<")).host
    assert "product_name" in unknown_fields(host)
    host = changed("</devices>", "<hostdev type='pci'/></devices>").host
    assert host.unknown >= {"edid", "console.graphics"}
    host = changed("bus='0x03'", "bus='0x00'").host
    assert host.console.virtio == 1
    host = changed("</os>", "</os><launchSecurity type='sev-snp'/>").host
    assert host.confidential == "sev-snp"


def test_a_snapshot_holds_a_domain():
    domain = DOMAIN.partition("?>\n")[2]
    assert read(f"\ufeff<domainsnapshot><name>s</name>{domain}</domainsnapshot>").host == read(DOMAIN).host


BAD = {
    "a DTD": ("<!DOCTYPE domain [<!ENTITY a 'aaaa'>]><domain type='kvm'>&a;</domain>", "XML with a DTD", 17),
    "an entity": ("<domain type='kvm'>&a;</domain>", "undefined entity", 19),
    "an end": ("\n<domain type='kvm'>", "no element found", 20),
    "no XML": ("<domain type='kvm'<", "not well-formed", 18),
    "another root": ("<network/>", "'network' is not a libvirt domain", None),
    "a snapshot of nothing": ("<domainsnapshot/>", "is not a libvirt domain", None),
    "another hypervisor": ("<domain type='xen'/>", "of type 'xen'", None),
    "memory": ("<domain type='kvm'><memory>x</memory></domain>", "memory: 'x'", None),
    "another encoding": ("<?xml version='1.0' encoding='nothing'?><domain/>", "unknown encoding", 0),
}


@pytest.mark.parametrize(("text", "message", "offset"), BAD.values(), ids=list(BAD))
def test_what_is_no_domain(tmp_path: Path, text: str, message: str, offset: int | None):
    path = tmp_path / "vm.xml"
    path.write_text(text)
    with pytest.raises(StubsimError) as caught:
        hosts.load(str(path))
    assert message in caught.value.message
    assert (caught.value.path, caught.value.offset) == (str(path), offset)
    assert caught.value.expected


@given(st.binary().map(lambda data: b"<domain type='kvm'>" + data) | mutated(DOMAIN.encode()))
def test_any_xml_is_a_host_or_one_error(data: bytes):
    assert is_host_or_error(data)


def test_deep_xml():
    with pytest.raises(StubsimError):
        read_bytes(b"<domain type='kvm'>" + b"<a>" * 100_000)
    deep = b"<domain type='kvm'>" + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</domain>"
    assert isinstance(read_bytes(deep).host, Host)


SHORT = """<domain type='kvm'><name>x</name><os firmware='efi'>
<type arch='x86_64' machine='{machine}'>hvm</type>{os}</os>
<devices>{devices}</devices></domain>"""


def short(machine: str = "q35", os: str = "", devices: str = "") -> Reading:
    return read(SHORT.format(machine=machine, os=os, devices=devices))


def test_a_direct_kernel_boot():
    reading = short(os="<kernel>/uki.efi</kernel><cmdline>debug x</cmdline>")
    assert reading.host.direct_boot == DirectBoot("debug x")
    assert short(os="<kernel>/uki.efi</kernel><cmdline/>").host.direct_boot == DirectBoot(None)
    assert short().host.direct_boot is None
    assert "previous_initrd" in short(os="<kernel>/k</kernel><initrd>/no</initrd>").host.unknown
    with pytest.raises(StubsimError, match="-append without -kernel"):
        short(os="<cmdline>x</cmdline>")


@pytest.mark.parametrize(
    ("devices", "q35", "pc"),
    [
        ("", ((), 0), ((), 0)),
        ("<console type='pty'/>", ((0x3F8,), 0), ((0x3F8,), 0)),
        ("<console type='pty'><target type='serial' port='0'/></console>", ((0x3F8,), 0), ((0x3F8,), 0)),
        # libvirt puts the controller of these behind a root port of Q35, on the bus of the PC.
        ("<console type='pty'><target type='virtio'/></console>", ((), 0), ((), 1)),
        ("<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>", ((), 0), ((), 1)),
        ("<serial type='pty'><target port='1'/></serial><console type='pty'/>", ((0x2F8,), 0), ((0x2F8,), 0)),
    ],
)
def test_what_libvirt_adds_to_consoles(devices: str, q35: tuple[object, int], pc: tuple[object, int]):
    for machine, expected in (("q35", q35), ("pc-q35-9.2", q35), ("pc", pc), ("pc-i440fx-9.2", pc)):
        console = short(machine, devices=devices).host.console
        assert (console.serial, console.virtio) == expected


@pytest.mark.parametrize("kind", ["sev", "s390-pv"])
def test_confidential_guests_that_are_not_simulated(kind: str):
    domain = DOMAIN.replace("<devices>", f"<launchSecurity type='{kind}'/><devices>")
    reading = read(domain)
    assert "confidential" in reading.host.unknown
    assert any(f"-object '{kind}-" in note for note in reading.notes)


def test_the_firmware():
    assert not any("no firmware" in note for note in short().notes)
    for loader in ("<loader type='pflash'>/x</loader>", "<loader type='rom'>/x</loader>"):
        text = SHORT.format(machine="q35", os=loader, devices="").replace(" firmware='efi'", "")
        assert not any("no firmware" in note for note in read(text).notes)
    assert any("no firmware" in note for note in read(DOMAIN.replace(" firmware='efi'", "")).notes)
