"""The update device of the QEMU patch "hw/misc/vmfwupdate", v5 of 29 January 2025 and v6 of 14 February 2025.

It was never part of a QEMU release. The rules of v5 were seen on QEMU 10.0.13 with the patch applied.
"""

from __future__ import annotations

from stubsim.formats import vmfwupdate
from stubsim.machine.devices.device import PLAIN, Device, Reset
from stubsim.machine.fwcfg import Item

ALIGNMENT = 64 << 10  # x86_bios_rom_init() and the patch's own assertion


class VmFwUpdate(Device):
    """The device; `bios_size` is the size in bytes of the BIOS region, which ends at 4 GiB.

    `disabled` is its command line option (the default for machine types up to 2.8): it then has no files. A `cap` with
    BIOS_RESIZE, which v5 never offers, makes the rules behind that bit apply; one without the constant bit is v6's.
    """

    def __init__(self, bios_size: int, *, cap: int = vmfwupdate.CAP_OFFERED, disabled: bool = False) -> None:
        super().__init__()
        self.region = bios_size
        self.disabled = disabled
        self._cap = cap
        self._bios_size = bytearray(bios_size.to_bytes(8, "little"))
        self._disable = bytearray(1)
        self._fw_blob = bytearray(vmfwupdate.FW_BLOB_SIZE)
        self._opaque = bytearray(vmfwupdate.OPAQUE_SIZE)

    @property
    def bios_size(self) -> int:
        """The platform's size in bytes as the file bios-size tells it: the region's until a write changes it."""
        return int.from_bytes(self._bios_size, "little")

    def items(self) -> tuple[Item, ...]:
        """The five files, or none when the device is disabled."""
        if self.disabled:
            return ()
        return (
            Item(vmfwupdate.BIOS_SIZE, self._bios_size),
            Item(vmfwupdate.CAP, self._cap.to_bytes(8, "little")),
            Item(vmfwupdate.DISABLE, self._disable, writable=True),
            Item(vmfwupdate.FW_BLOB, self._fw_blob, writable=True, written=self._blob_written),
            Item(vmfwupdate.OPAQUE_BLOB, self._opaque, writable=True),
        )

    def before_reset(self) -> Reset:
        """What a cold reset does. Nothing of the device is cleared by it: the next one copies again."""
        blob = vmfwupdate.unpack_fw_blob(self._fw_blob)
        if self.disabled or any(self._disable) or not blob.bios_paddr or not blob.bios_size:
            return PLAIN
        if blob.bios_size % ALIGNMENT:
            return Reset("abort", reason=f"firmware of {blob.bios_size} bytes is not a multiple of 64 KiB")
        if blob.bios_size > self.bios_size:
            reason = f"firmware of {blob.bios_size} bytes is larger than bios-size, {self.bios_size} bytes"
            return Reset("abort", reason=reason)
        return Reset("update", blob.bios_paddr, blob.bios_size)

    def _blob_written(self, _offset: int, _length: int) -> None:
        """Look at both fields as they are after any accepted write; the guest learns nothing of the outcome.

        Where a write leaves bios_size 0, bios-size becomes 0 for good: no update is possible then.
        """
        size = vmfwupdate.unpack_fw_blob(self._fw_blob).bios_size
        if not self.bios_size:
            return
        resize = vmfwupdate.CAP_BIOS_RESIZE if self._cap & vmfwupdate.CAP_CONSTANT else vmfwupdate.SPEC_CAP_BIOS_RESIZE
        if size and not self._cap & resize:
            self.warnings.append("vmfwupdate: VMFWUPDATE_CAP_BIOS_RESIZE not enabled")
        elif size > self.region:
            self.warnings.append(f"vmfwupdate: bios size cannot be larger than {self.region}")
        else:
            self._bios_size[:] = size.to_bytes(8, "little")
