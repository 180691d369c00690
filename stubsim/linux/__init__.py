"""Linux's own EFI stub: which kernel it is, and what it measures (drivers/firmware/efi/libstub)."""
