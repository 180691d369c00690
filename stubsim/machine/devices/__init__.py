"""Devices of the hypervisor that stand behind fw_cfg files; a module a device."""
