"""Whether the hypervisor starts a machine at all."""

from __future__ import annotations

from stubsim.hosts import Host


def refuses_to_start(host: Host, architecture: str) -> str | None:
    """Why the hypervisor does not even start with the update device (patch v5, seen on QEMU 10.0.13); None: it does."""
    device = None if host.fw_cfg is None else host.fw_cfg.vmfwupdate
    if device is None or device.dialect != "qemu-v5":
        return None
    if architecture not in ("x64", "ia32"):
        return "This machine does not support vmfwupdate device"
    if host.firmware.pflash:
        return "the vmfwupdate device needs the firmware in a ROM (-bios), and it is in pflash"
    return None
