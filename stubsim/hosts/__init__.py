"""Hosts: the machines a UKI is started on."""

from __future__ import annotations

from stubsim.hosts.fixture import from_json, load
from stubsim.hosts.host import Capsules, Console, Firmware, FwCfg, Host, Variable, VmFwUpdate

__all__ = ["Capsules", "Console", "Firmware", "FwCfg", "Host", "Variable", "VmFwUpdate", "from_json", "load"]
