"""What an SMBIOS table alone says of a machine, and what it leaves open."""

from __future__ import annotations

from collections.abc import Collection

from stubsim.formats import smbios
from stubsim.hosts.host import Console, FwCfg, Host

# What no SMBIOS table tells and a boot depends on.
NOT_IN_SMBIOS = frozenset(
    {"edid", "devicetree", "memory", "secure_boot", "tpm", "rng", "console", "keyboard_layout", "firmware"}
)

# The features every x86-64 processor has, in EDX of CPUID leaf 1: FPU, TSC, MSR, CX8, CMOV, MMX, FXSR, SSE, SSE2.
_X86_64_FEATURES = sum(1 << bit for bit in (0, 4, 5, 8, 15, 23, 24, 25, 26))

# Type 0, second extension byte: bit 4 "SMBIOS table describes a virtual machine" (DSP0134).
_VIRTUAL_MACHINE = 0x10

# How manufacturer, product, board or firmware begin on virtual machines (systemd, src/basic/virt.c,
# detect_vm_dmi_vendor(); and the product of Hyper-V). Of the 97,824 machines of linuxhw/DMI six are found, all virtual.
_OF_HYPERVISORS = (
    b"QEMU", b"KVM", b"OpenStack", b"KubeVirt", b"Amazon EC2", b"Google Compute Engine", b"VMware", b"VMW",
    b"innotek GmbH", b"VirtualBox", b"Xen", b"Bochs", b"Parallels", b"BHYVE", b"Hyper-V", b"Apple Virtualization",
    b"Virtual Machine",
)  # fmt: skip
# Amazon's machines without a hypervisor.
_METAL = b".metal"


def _names_a_hypervisor(fields: smbios.Fields) -> bool:
    """Whether the strings are those of a virtual machine; a table that does not have type 0 says it no other way."""
    product = fields.product_name or b""
    names = (fields.manufacturer, product, fields.baseboard_manufacturer, fields.bios_vendor)
    return not product.endswith(_METAL) and any((name or b"").startswith(_OF_HYPERVISORS) for name in names)


def is_x86_64(processor_id: bytes) -> bool:
    """Whether the 8 bytes of a type 4's processor ID are CPUID's EAX and EDX of an x86-64 processor.

    Elsewhere they are a register that numbers the model, and a revision (DSP0134 7.5.3).
    """
    return len(processor_id) == 8 and int.from_bytes(processor_id[4:], "little") & _X86_64_FEATURES == _X86_64_FEATURES


def machine(
    fields: smbios.Fields,
    oem_strings: tuple[bytes, ...] = (),
    *,
    source: str,
    structures: tuple[smbios.Structure, ...] | None = None,
    virtual: bool = False,
    processor_id: bytes = b"",
    unknown: Collection[str] = (),
) -> Host:
    """The host of which nothing but its SMBIOS strings is known; `unknown` are those that are not.

    Firmware for x86 brings no devicetree, so it is left open only where the processor may be another one.
    """
    virtual = virtual or _names_a_hypervisor(fields)
    more = NOT_IN_SMBIOS - {"devicetree"} if is_x86_64(processor_id) else NOT_IN_SMBIOS
    if virtual:
        # A confidential guest has the strings of its kind of machine: those of a Google Compute Engine, say.
        more |= {"confidential"}
    return Host(
        source=source,
        fields=fields,
        oem_strings=oem_strings,
        structures=structures,
        hypervisor=virtual,
        fw_cfg=FwCfg() if virtual else None,
        console=Console(),
        unknown=more | frozenset(unknown),
    )


def of_table(structures: tuple[smbios.Structure, ...], *, source: str) -> Host:
    """The host of an SMBIOS table."""
    bios, processor = (smbios.first(structures, kind, 20) for kind in (0, 4))
    return machine(
        smbios.fields(structures),
        smbios.oem_strings(structures),
        source=source,
        structures=structures,
        virtual=bios is not None and bool(bios.formatted[19] & _VIRTUAL_MACHINE),
        processor_id=b"" if processor is None else processor.formatted[8:16],
    )
