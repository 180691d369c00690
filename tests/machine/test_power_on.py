"""What is settled before the stub runs."""

from __future__ import annotations

from stubsim import hosts
from stubsim.machine.power_on import refuses_to_start


def test_what_qemu_does_not_start_with():
    """Seen on QEMU 10.0.13 with the patch v5 applied."""
    device = {"fw_cfg": {"vmfwupdate": {}}}
    assert refuses_to_start(hosts.from_json(device), "x64") is None
    assert refuses_to_start(hosts.from_json(device), "aa64") == "This machine does not support vmfwupdate device"
    pflash = hosts.from_json(device | {"firmware": {"pflash": True}})
    assert "pflash" in (refuses_to_start(pflash, "x64") or "")
    assert refuses_to_start(hosts.from_json({"firmware": {"pflash": True}}), "x64") is None
