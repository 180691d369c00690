"""The memory of a machine that a host file describes, as its firmware has it when the first image is started."""

from __future__ import annotations

from stubsim.errors import StubsimError
from stubsim.formats import fdt
from stubsim.hosts import Host
from stubsim.hosts.host import QEMU_VIRT
from stubsim.uefi.memory import Memory
from stubsim.uefi.memory_layout import BUILD, VENDORS


def memory_of(host: Host, architecture: str, size: int | None = None) -> Memory:
    """``size`` is bytes of RAM in place of the host's own."""
    return Memory(
        host.memory if size is None else size,
        architecture,
        confidential=host.confidential is not None,
        devices=_devices(host),
        build=VENDORS.get(host.firmware.vendor, BUILD),
    )


def _devices(host: Host) -> list[str]:
    """What makes the firmware hold more memory, or less (uefi/memory_layout.py, DEVICES)."""
    has = {
        "serial port beside graphics": host.console.serial and host.console.graphics,
        "rng": host.rng,
        "sha1": host.tpm is not None and "sha1" in host.tpm,
        "no tpm": host.tpm is None,
        "no graphics": not host.console.graphics,
        "no acpi": _has_qemus_devicetree(host),
    }
    return [device for device, is_so in has.items() if is_so]


def _has_qemus_devicetree(host: Host) -> bool:
    try:
        return host.devicetree is not None and QEMU_VIRT in fdt.root_compatible(host.devicetree)
    except StubsimError:
        return False
