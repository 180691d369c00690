"""A QEMU guest, from the command line that starts it.

The defaults are those of the upstream machine types (QEMU 2.1 to 10, hw/i386/pc_q35.c, pc_piix.c and hw/arm/virt.c);
distributions have types of their own with other names, of which nothing is taken for known.
"""

from __future__ import annotations

import re

from stubsim.formats import fdt
from stubsim.hosts.fixture import BIOS_SIZE, CAPABILITIES, FEWEST_SLOTS, SLOTS
from stubsim.hosts.host import QEMU_VIRT, Console, FwCfg, Host, Reading, VmFwUpdate
from stubsim.hosts.qemu_kernel import kernel
from stubsim.hosts.qemu_options import CommandLine, Option, parse
from stubsim.hosts.qemu_smbios import table
from stubsim.hosts.qemu_unheeded import unheeded
from stubsim.named_files import NamedFiles

# Program -> architecture of the firmware; qemu-kvm and kvm do not tell.
_ARCHITECTURES = {
    "qemu-system-x86_64": "x64",
    "qemu-system-i386": "ia32",
    "qemu-system-aarch64": "aa64",
    "qemu-system-arm": "arm",
    "qemu-system-riscv64": "riscv64",
    "qemu-system-loongarch64": "loongarch64",
}
_PC = "Standard PC (i440FX + PIIX, 1996)"
_Q35 = "Standard PC (Q35 + ICH9, 2009)"
_MACHINES = ((r"q35|pc-q35-[0-9][0-9.]*", _Q35), (r"pc|pc-i440fx-[0-9][0-9.]*", _PC))
_X86 = ("x64", "ia32")
_VIRT = re.compile(r"virt(?:-[0-9][0-9.]*)?")

# Versioned machine types of upstream, and what stands for any that is new.
_PROXMOX = re.compile(r"\+pve[0-9]+\Z")
_VERSION = re.compile(r"(pc-q35|pc-i440fx|pc|virt)-([0-9]{1,3})\.([0-9]{1,3})")
_NEW = (99, 0)

# -vga MODEL and -device MODEL with which OVMF has graphics, and those that take the place of the default.
_GRAPHICS = re.compile(
    r"std|VGA|secondary-vga|qxl(?:-vga)?|cirrus(?:-vga)?|vmware(?:-svga)?|bochs-display|ramfb|virtio|(?:virtio|vhost-user)-(?:vga|gpu).*"
)
# The same for AAVMF on virt, which has no drivers for others (QEMU 7.2 with AAVMF 2022.11 and 2026.08, booted with each
# of ramfb, virtio-gpu-pci, VGA, bochs-display and virtio-gpu-device; virtio-gpu is the second, the one with OpenGL has
# its PCI id).
_GRAPHICS_ON_ARM = re.compile(r"ramfb|virtio-gpu(?:-gl)?-pci|virtio-gpu")
_NO_GRAPHICS_ON_ARM = re.compile(r"VGA|bochs-display|virtio-gpu-device")
_ARM = ("aa64", "arm")
_SERIAL_PORTS = (0x3F8, 0x2F8, 0x3E8, 0x2E8)
# OVMF knows COM1 and COM2 only (edk2, OvmfPkg/SioBusDxe).
_PORTS_OF_OVMF = 2
_CONFIDENTIAL = {"sev-snp-guest": "sev-snp", "tdx-guest": "tdx"}
_DEFAULT_MEMORY = 128 << 20


def read(data: bytes, files: NamedFiles) -> Reading:
    """The guest of a command line, and the files that it names."""
    command = parse(data)
    what = "QEMU command line" if command.program else "arguments of a QEMU command line"
    host, notes = guest(command, files, what)
    return Reading(host, "qemu", what, notes)


def guest(command: CommandLine, files: NamedFiles, source: str) -> tuple[Host, tuple[str, ...]]:
    """The host that a command line makes, and what is to be said of it. Raises StubsimError for what QEMU refuses."""
    found = table(command, _defaults(command), files)
    notes = list(found.notes)
    if not command.complete:
        notes.append("not all options are there: what others may change is unknown")
    architecture = _architecture(command)
    started = kernel(command, files)
    unknown = set(found.unknown) | {"firmware"} | started.unknown
    notes += started.notes
    for row in unheeded(command, on_arm=architecture in _ARM):
        notes.append(row.note)
        unknown |= row.unknown
    devices = [option for option in command.of("device") if option.first]
    host = Host(
        name=_name(command),
        source=source,
        fields=found.fields,
        oem_strings=found.oem_strings,
        architecture=architecture,
        memory=_memory(command, unknown),
        confidential=_confidential(command, unknown),
        tpm=_tpm(devices),
        rng=any(option.first.startswith("virtio-rng") for option in devices),
        devicetree=_devicetree(command, architecture, unknown),
        console=_console(command, devices, architecture, unknown),
        previous_initrd=started.initrd,
        direct_boot=started.direct_boot,
        fw_cfg=_fw_cfg(command)._replace(vmfwupdate=_update_device(devices, unknown)),
    )
    if host.tpm:
        unknown.add("tpm.banks")
    if not host.rng:
        # Newer OVMF has one wherever the processor has RDRAND.
        unknown.add("rng")
    if not command.has("bios"):
        # The variables are in a flash image, keys and all.
        unknown.add("secure_boot")
    if architecture not in _X86 or any("usb-kbd" in option.first for option in devices):
        unknown.add("keyboard_layout")
    if any(option.first.startswith("vfio-pci") for option in devices):
        unknown |= {"edid", "console.graphics"}
    if not command.complete:
        unknown |= {"memory", "tpm", "console", "edid", "confidential", "keyboard_layout"}
    return host._replace(unknown=frozenset(unknown)), tuple(notes)


def _architecture(command: CommandLine) -> str | None:
    """That of the program, or else of a machine type that only x86 has."""
    pc = any(re.fullmatch(pattern, _machine(command) or "") for pattern, _ in _MACHINES)
    return _ARCHITECTURES.get(command.program or "", "x64" if pc else None)


def _defaults(command: CommandLine) -> dict[str, str | None]:
    """What the machine type puts into SMBIOS where no option says otherwise; None is not known."""
    machine = _machine(command)
    nothing: dict[str, str | None] = dict.fromkeys(("manufacturer", "product", "sku", "family"))
    if machine is None:
        # Upstream has no machine with another manufacturer, nor one with SKU or family.
        return {"manufacturer": "QEMU", "product": None}
    if command.program == "qemu-kvm" and "." not in machine:
        # Red Hat's, or somebody else's: it depends what that stands for.
        return nothing
    for pattern, product in _MACHINES:
        if re.fullmatch(pattern, machine):
            return {"manufacturer": "QEMU", "product": product}
    if _VIRT.fullmatch(machine) and command.program not in ("qemu-system-riscv64", "qemu-system-loongarch64"):
        kvm = _kvm(command)
        return {
            "manufacturer": "QEMU",
            "product": None if kvm is None else f"{'KVM' if kvm else 'QEMU'} Virtual Machine",
        }
    return nothing


def _machine(command: CommandLine) -> str | None:
    """The machine type; None where the option that names it may be missing.

    Proxmox writes a version of its own behind the type (its QEMU's patch "PVE: Allow version code in machine type").
    """
    if command.has("readconfig"):
        # The file may name another one.
        return None
    names = [option.get("type") or option.first for option in command.of("machine", "M")]
    given = [name for name in names if name]
    if given:
        return _PROXMOX.sub("", given[-1])
    return "pc" if command.complete and command.program in ("qemu-system-x86_64", "qemu-system-i386") else None


def _kvm(command: CommandLine) -> bool | None:
    """Whether KVM runs the guest; None where that depends on the machine it runs on."""
    accelerators = [option.first or option.get("accel") or "" for option in command.of("accel")]
    accelerators += [text for option in command.of("machine", "M") if (text := option.get("accel"))]
    if command.has("enable-kvm"):
        accelerators.append("kvm")
    names = [name for text in accelerators for name in text.split(":")]
    if "kvm" in names:
        return True if set(names) == {"kvm"} else None
    return None if command.program in ("kvm", "qemu-kvm") or not command.complete else False


def _name(command: CommandLine) -> str | None:
    names = [option.get("guest") or option.first for option in command.of("name")]
    # JSON has no lone surrogates.
    return names[-1].encode("utf-8", "replace").decode() if names and names[-1] else None


def _memory(command: CommandLine, unknown: set[str]) -> int:
    size = _DEFAULT_MEMORY
    for option in command.of("m"):
        text = option.get("size") or option.first
        match = re.fullmatch(r"(\d{1,15})([BKMGTbkmgt]?)(?:i?[Bb])?", text, re.ASCII)
        if match is not None:
            size = int(match[1]) << 10 * "BKMGT".index((match[2] or "M").upper())
        if match is None or not 1 << 20 <= size <= 1 << 52:
            unknown.add("memory")
            return Host().memory
    return size


def _confidential(command: CommandLine, unknown: set[str]) -> str | None:
    wanted = [
        value
        for option in command.of("machine", "M")
        for key, value in option.pairs
        # The second is what the first was called up to QEMU 5.2 (docs/about/deprecated.rst).
        if key in ("confidential-guest-support", "memory-encryption") and value
    ]
    if not wanted:
        return None
    kinds = [
        option.first or option.get("qom-type") for option in command.of("object") if option.get("id") == wanted[-1]
    ]
    kind = _CONFIDENTIAL.get(kinds[0] or "") if kinds else None
    if kind is None:
        unknown.add("confidential")
    return kind


def _tpm(devices: list[Option]) -> tuple[str, ...] | None:
    return ("sha256",) if any(option.first.startswith("tpm-") for option in devices) else None


def _console(command: CommandLine, devices: list[Option], architecture: str | None, unknown: set[str]) -> Console:
    if architecture in _ARM:
        return Console(_graphics_on_arm(command, devices, unknown), _virtio(devices, unknown), ())
    is_x86 = architecture in _X86
    defaults = is_x86 and not command.has("nodefaults")
    models = [option.first for option in command.of("vga")]
    graphic = [option.first for option in devices if _GRAPHICS.fullmatch(option.first)]
    model = models[-1] if models else "std" if defaults and not graphic else "none"
    serial = _serial(command, devices, defaults, unknown) if is_x86 else ()
    virtio = _virtio(devices, unknown)
    return Console(bool(graphic) or _GRAPHICS.fullmatch(model) is not None, virtio, serial)


def _graphics_on_arm(command: CommandLine, devices: list[Option], unknown: set[str]) -> bool:
    """Whether there is a screen; of a model that was never tried it is not known."""
    models = [option.first for option in devices]
    if any(_GRAPHICS_ON_ARM.fullmatch(model) for model in models):
        return True
    shown = [model for model in models if _GRAPHICS.fullmatch(model) and not _NO_GRAPHICS_ON_ARM.fullmatch(model)]
    if shown or any(option.first != "none" for option in command.of("vga")):
        unknown.add("console.graphics")
    return False


def _devicetree(command: CommandLine, architecture: str | None, unknown: set[str]) -> bytes | None:
    """The tree that the firmware hands on: on aarch64 none beside the ACPI tables, which only acpi=off takes away.

    32-bit firmware has no ACPI (EDK II, ArmVirtPkg/PlatformHasAcpiDtDxe). Of QEMU's tree the compatible is known, and
    not all that firmware and options put into it.
    """
    if architecture in _X86:
        return None
    is_virt = command.complete and _VIRT.fullmatch(_machine(command) or "") is not None
    if architecture == "aa64" and is_virt and not _acpi_is_off(command):
        return None
    unknown.add("devicetree")
    return fdt.build([QEMU_VIRT]) if architecture in _ARM and is_virt else None


def _acpi_is_off(command: CommandLine) -> bool:
    given = [value for option in command.of("machine", "M") if (value := option.get("acpi"))]
    return command.has("no-acpi") or (bool(given) and given[-1] in ("off", "no", "false"))


def _serial(command: CommandLine, devices: list[Option], defaults: bool, unknown: set[str]) -> tuple[int, ...]:
    """The ports of the ISA serial ports; -serial none takes a number, and any of them the place of the default."""
    given = [option.first or "" for option in command.of("serial")]
    ports = [_SERIAL_PORTS[index] for index, text in enumerate(given[:4]) if text != "none"]
    cards = [option for option in devices if option.first == "isa-serial"]
    if defaults and not given and not cards:
        ports.append(_SERIAL_PORTS[0])
    for card in cards:
        port, index = card.get("iobase"), card.get("index")
        free = [candidate for candidate in _SERIAL_PORTS if candidate not in ports]
        try:
            chosen = int(port, 0) if port else _SERIAL_PORTS[int(index, 0)] if index else free[0]
        except (ValueError, IndexError):
            unknown.add("console.serial")
            continue
        ports.append(chosen)
    if any(port not in _SERIAL_PORTS[:_PORTS_OF_OVMF] for port in ports):
        unknown.add("console.serial")
    return tuple(dict.fromkeys(ports))


def _virtio(devices: list[Option], unknown: set[str]) -> int:
    """The virtio serial controllers with the transitional PCI id: those not behind a PCI Express port."""
    count = 0
    buses = {option.get("id"): option.first for option in devices}
    for option in devices:
        match = re.fullmatch(r"virtio-serial(?:-pci)?(-transitional|-non-transitional)?", option.first)
        if match is None or match[1] == "-non-transitional" or option.get("disable-legacy") in ("on", "true", "True"):
            continue
        bus = option.get("bus") or "pcie.0"
        bridge = buses.get(bus, buses.get(bus.partition(".")[0], ""))
        legacy = match[1] or option.get("disable-legacy") in ("off", "false", "False")
        if legacy or bus in ("pcie.0", "pci.0") or bridge in ("pcie-pci-bridge", "pci-bridge", "i82801b11-bridge"):
            count += 1
        elif bridge not in ("pcie-root-port", "ioh3420", "xio3130-downstream"):
            unknown.add("console.virtio")
    return count


def _fw_cfg(command: CommandLine) -> FwCfg:
    """The device of the machine type; -global may switch off its DMA.

    Up to 2.4 there is no DMA, up to 2.5 an own order of the files (x86), up to 2.8 there are 16 of them (hw_compat_2_4,
    pc_i440fx_2_5_machine_options, hw_compat_2_8; directories of QEMU 7.2.22 seen for 1.7 to 2.9).
    """
    machine = _machine(command) or ""
    match = _VERSION.fullmatch(machine)
    version = (int(match[2]), int(match[3])) if match else _NEW
    off = any(
        option.get(f"{driver}.dma_enabled") in ("off", "false", "no")
        for option in command.of("global")
        for driver in ("fw_cfg", "fw_cfg_io", "fw_cfg_mem")
    )
    is_pc = match is not None and match[1] != "virt"
    return FwCfg(
        dma=not off and version > (2, 4),
        legacy_order=is_pc and version <= (2, 5),
        slots=FEWEST_SLOTS if version <= (2, 8) else SLOTS,
    )


def _update_device(devices: list[Option], unknown: set[str]) -> VmFwUpdate | None:
    """The proposed vmfwupdate device, which no released QEMU has; which revision of the proposal is not to be seen."""
    if not any(option.first == "vmfwupdate" for option in devices):
        return None
    unknown.add("fw_cfg.vmfwupdate.dialect")
    return VmFwUpdate("qemu-v5", CAPABILITIES["qemu-v5"], BIOS_SIZE)
