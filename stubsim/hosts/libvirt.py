"""libvirt domain XML: said again as the QEMU options that libvirt makes of it (src/qemu/qemu_command.c)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from stubsim.errors import StubsimError
from stubsim.hosts import qemu
from stubsim.hosts.host import Reading
from stubsim.hosts.qemu_options import CommandLine, Option, command_line
from stubsim.hosts.reading import shown
from stubsim.named_files import NamedFiles

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_QEMU_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"
# The domain itself, and what holds one: a snapshot, a checkpoint, libvirt's own state.
_ROOTS = ("domain", "domainsnapshot", "domaincheckpoint", "domstatus")
_HYPERVISORS = ("kvm", "qemu")

# Element below sysinfo -> SMBIOS type, and its entries that become keys of -smbios.
_SYSINFO = {
    "bios": (0, ("vendor", "version", "date", "release")),
    "system": (1, ("manufacturer", "product", "version", "serial", "sku", "family")),
    "baseBoard": (2, ("manufacturer", "product", "version", "serial", "asset", "location")),
    "chassis": (3, ("manufacturer", "version", "serial", "asset", "sku")),
}
_UNITS = {
    "b": 1, "bytes": 1, "KB": 10**3, "k": 1 << 10, "KiB": 1 << 10, "MB": 10**6, "M": 1 << 20, "MiB": 1 << 20,
    "GB": 10**9, "G": 1 << 30, "GiB": 1 << 30, "TB": 10**12, "T": 1 << 40, "TiB": 1 << 40,
}  # fmt: skip
_PROGRAMS = {
    "x86_64": "qemu-system-x86_64",
    "i686": "qemu-system-i386",
    "aarch64": "qemu-system-aarch64",
    "armv7l": "qemu-system-arm",
    "riscv64": "qemu-system-riscv64",
    "loongarch64": "qemu-system-loongarch64",
}
# What libvirt calls a device, and what QEMU does.
_BRIDGES = {
    "pcie-to-pci-bridge": "pcie-pci-bridge",
    "dmi-to-pci-bridge": "i82801b11-bridge",
    "pcie-switch-downstream-port": "xio3130-downstream",
}
_VIDEOS = {
    "vga": "VGA",
    "qxl": "qxl-vga",
    "cirrus": "cirrus-vga",
    "vmvga": "vmware-svga",
    "bochs": "bochs-display",
    "ramfb": "ramfb",
    "virtio": "virtio-vga",
}
_LAUNCH_SECURITY = {
    "sev-snp": "sev-snp-guest", "tdx": "tdx-guest", "sev": "sev-guest", "s390-pv": "s390-pv-guest",
}  # fmt: skip


def read(data: bytes, files: NamedFiles) -> Reading:
    """The guest of a domain, and the files that it names.

    Raises StubsimError for XML that is none, has a DTD or no domain for QEMU in it.
    """
    root = _parse(data)
    domain = root if root.tag == "domain" else root.find("domain") if root.tag in _ROOTS else None
    if domain is None:
        raise StubsimError(f"{shown(root.tag)} is not a libvirt domain", expected="<domain type='kvm'>")
    kind = domain.get("type", "")
    if kind not in _HYPERVISORS:
        raise StubsimError(f"a libvirt domain of type {shown(kind)}", expected="a domain of type kvm or qemu")
    notes: list[str] = []
    command = _command(domain, kind, notes)
    host, more = qemu.guest(command, files, "libvirt domain XML")
    unknown = set(host.unknown)
    mode = _smbios_mode(domain)
    if mode == "host":
        # libvirt puts the strings of the machine it runs on into types 0, 1 and 2.
        unknown |= {f"smbios.{key}" for key in host.fields._fields if key != "enclosure_type"}
        notes.append("the guest has the SMBIOS strings of the machine that it runs on")
    if mode != "sysinfo" and domain.find("sysinfo[@type='smbios']") is not None:
        notes.append("sysinfo is not used: <os> has no <smbios mode='sysinfo'/>")
    secure_boot = _secure_boot(domain)
    if secure_boot is not None:
        host = host._replace(secure_boot=secure_boot)
        unknown.discard("secure_boot")
    return Reading(host._replace(unknown=frozenset(unknown)), "libvirt", "libvirt domain XML", (*notes, *more))


def _parse(data: bytes) -> Element:
    """The root element. A DTD is refused, and with it every entity that could grow or reach for files."""
    from xml.etree.ElementTree import TreeBuilder
    from xml.parsers import expat

    builder = TreeBuilder()
    parser = expat.ParserCreate(namespace_separator=" ")

    def refuse(*_: object) -> None:
        raise StubsimError("XML with a DTD", offset=parser.CurrentByteIndex, expected="libvirt XML, which has none")

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(data.lstrip(), True)
    except expat.ExpatError as error:
        offset = parser.ErrorByteIndex + len(data) - len(data.lstrip())
        raise StubsimError(
            f"XML: {expat.ErrorString(error.code)}", offset=offset, expected="libvirt domain XML"
        ) from error
    except (ValueError, LookupError) as error:
        raise StubsimError(f"XML: {error}", offset=0, expected="libvirt domain XML in UTF-8") from error
    return builder.close()


def _command(domain: Element, kind: str, notes: list[str]) -> CommandLine:
    """The QEMU options of a domain, in the order in which later ones win."""
    machine = domain.find("os/type")
    emulator = (domain.findtext("devices/emulator") or "").strip()
    arch = "" if machine is None else machine.get("arch", "")
    program = "qemu-kvm" if emulator.endswith("/qemu-kvm") else _PROGRAMS.get(arch)
    options = [Option("name", (("guest", (domain.findtext("name") or "").strip()),)), Option("nodefaults")]
    pairs = [("type", machine.get("machine", ""))] if machine is not None and machine.get("machine") else []
    if arch == "aarch64" and domain.find("features/acpi") is None:
        pairs.append(("acpi", "off"))
    pairs.append(("accel", "kvm" if kind == "kvm" else "tcg"))
    security = domain.find("launchSecurity")
    if security is not None:
        pairs.append(("confidential-guest-support", "lsec0"))
        guest = _LAUNCH_SECURITY.get(security.get("type", ""), "")
        options.append(Option("object", (("", guest), ("id", "lsec0")), guest))
    options += [Option("machine", tuple(pairs)), *_firmware(domain), *_kernel(domain)]
    options += [*_memory(domain), *_smbios(domain), *_devices(domain)]
    passed = [argument.get("value", "") for argument in domain.iter(f"{_QEMU_NAMESPACE} arg")]
    if passed:
        options += command_line(None, passed).options
        notes.append("options that the domain passes to QEMU itself are taken into account")
    return CommandLine(program, tuple(options), complete=program is not None)


def _firmware(domain: Element) -> list[Option]:
    """The firmware, by the option that tells a ROM from flash."""
    loader = domain.find("os/loader")
    if loader is not None and loader.get("type") != "pflash" and (loader.text or "").strip():
        return [_text("bios", (loader.text or "").strip())]
    named = loader is not None or domain.find("os[@firmware='efi']") is not None
    return [Option("pflash")] if named else []


def _kernel(domain: Element) -> list[Option]:
    """A direct kernel boot; an empty element is none for libvirt."""
    options = []
    for element, option in (("kernel", "kernel"), ("initrd", "initrd"), ("cmdline", "append"), ("shim", "shim")):
        text = domain.findtext(f"os/{element}") or ""
        if text:
            options.append(_text(option, text))
    if dtb := domain.findtext("os/dtb"):
        options.append(_text("dtb", dtb))
    return options


def _text(name: str, text: str) -> Option:
    return Option(name, (("", text),), text)


def _memory(domain: Element) -> list[Option]:
    element = domain.find("memory")
    if element is None:
        return []
    text, unit = (element.text or "").strip(), _UNITS.get(element.get("unit", "KiB"))
    if unit is None or not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise StubsimError(f"memory: {shown(text)} {shown(element.get('unit', 'KiB'))}", expected="a size of memory")
    return [Option("m", (("size", f"{int(text) * unit}b"),))]


def _smbios_mode(domain: Element) -> str | None:
    element = domain.find("os/smbios")
    return None if element is None else element.get("mode")


def _smbios(domain: Element) -> list[Option]:
    """Empty entries are no entries for libvirt, and each element of a kind is an option of its own."""
    sysinfo = domain.find("sysinfo[@type='smbios']")
    if sysinfo is None or _smbios_mode(domain) != "sysinfo":
        return []
    options = []
    for name, (kind, keys) in _SYSINFO.items():
        for element in sysinfo.findall(name):
            entries: dict[str, str] = {}
            for entry in element.findall("entry"):
                entries.setdefault(entry.get("name", ""), entry.text or "")
            pairs = [(key, entries[key]) for key in keys if entries.get(key)]
            if pairs:
                options.append(Option("smbios", (("type", str(kind)), *pairs)))
    strings = [entry.text for entry in sysinfo.findall("oemStrings/entry") if entry.text]
    if strings:
        options.append(Option("smbios", (("type", "11"), *(("value", text) for text in strings))))
    return options


def _devices(domain: Element) -> list[Option]:
    devices = domain.find("devices")
    options: list[Option] = []
    if devices is None:
        return options
    for element in devices.findall("tpm"):
        options.append(Option("device", (("", element.get("model", "tpm-crb")),)))
    if any(element.get("model", "").startswith("virtio") for element in devices.findall("rng")):
        options.append(Option("device", (("", "virtio-rng-pci"),)))
    for element in devices.findall("serial"):
        target = element.find("target")
        kind = "isa-serial" if target is None else target.get("type", "isa-serial")
        port = "0" if target is None else target.get("port", "0")
        options.append(Option("device", (("", kind), ("index", port))))
    options += _consoles(domain, devices)
    for element in devices.findall("controller[@type='pci']"):
        model = _BRIDGES.get(element.get("model", ""), element.get("model", ""))
        options.append(Option("device", (("", model), ("id", f"pci.{element.get('index', '')}"))))
    for element in devices.findall("controller[@type='virtio-serial']"):
        model = element.get("model", "")
        suffix = model.removeprefix("virtio") if model.startswith("virtio-") else ""
        options.append(Option("device", (("", "virtio-serial-pci" + suffix), ("bus", _bus(element)))))
    for element in devices.findall("video/model"):
        options.append(Option("device", (("", _VIDEOS.get(element.get("type", ""), "")),)))
    for _ in devices.findall("hostdev[@type='pci']"):
        options.append(Option("device", (("", "vfio-pci"),)))
    for _ in devices.findall("input[@type='keyboard'][@bus='usb']"):
        options.append(Option("device", (("", "usb-kbd"),)))
    return options


def _consoles(domain: Element, devices: Element) -> list[Option]:
    """What libvirt adds on its own: the serial port of a <console>, and the controller of virtio consoles and channels.

    On Q35 it puts a virtio device behind a root port, elsewhere on the root bus (src/conf/domain_conf.c,
    src/qemu/qemu_domain_address.c).
    """
    kinds = [
        "serial" if target is None else target.get("type", "serial")
        for console in devices.findall("console")
        for target in [console.find("target")]
    ]
    options = []
    if "serial" in kinds and devices.find("serial") is None:
        options.append(Option("device", (("", "isa-serial"), ("index", "0"))))
    virtio = "virtio" in kinds or devices.find("channel/target[@type='virtio']") is not None
    if virtio and devices.find("controller[@type='virtio-serial']") is None:
        machine = domain.find("os/type")
        has_root_bus = machine is not None and re.match(r"pc(-i440fx|$)", machine.get("machine", "pc"))
        bus = "pci.0" if has_root_bus else "pci.added"
        options.append(Option("device", (("", "pcie-root-port"), ("id", "pci.added"))))
        options.append(Option("device", (("", "virtio-serial-pci"), ("bus", bus))))
    return options


def _bus(controller: Element) -> str:
    """The name of the bus that a controller is on; the root bus is number 0."""
    address = controller.find("address[@type='pci']")
    try:
        number = -1 if address is None else int(address.get("bus", "0"), 0)
    except ValueError:
        number = -1
    return "pcie.0" if number == 0 else f"pci.{number}"


def _secure_boot(domain: Element) -> bool | None:
    """Whether Secure Boot is on, where the domain asks libvirt for a firmware with or without it."""
    features = {feature.get("name", ""): feature.get("enabled") for feature in domain.findall("os/firmware/feature")}
    if features.get("secure-boot") == "no" or features.get("enrolled-keys") == "no":
        return False
    return True if features.get("secure-boot") == "yes" and features.get("enrolled-keys") == "yes" else None
