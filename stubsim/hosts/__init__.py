"""Hosts: the machines a UKI is started on, and a module for each thing they can be read from."""

from __future__ import annotations

from stubsim.hosts.fixture import from_json
from stubsim.hosts.host import Capsules, Console, DirectBoot, Firmware, FwCfg, Host, Reading, Variable, VmFwUpdate
from stubsim.hosts.recognise import load, read

__all__ = [
    "Capsules",
    "Console",
    "DirectBoot",
    "Firmware",
    "FwCfg",
    "Host",
    "Reading",
    "Variable",
    "VmFwUpdate",
    "from_json",
    "load",
    "read",
]
