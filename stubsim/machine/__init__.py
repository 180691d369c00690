"""The simulated machine: memory, fw_cfg device, hypervisor, TPM and EFI variables."""
