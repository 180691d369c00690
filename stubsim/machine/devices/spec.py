"""The update device of docs/specs/vmfwupdate.rst, the document that came with the QEMU patch v5 and v6.

No code implements it. Where the document says nothing the decision is ours: see those in `stubsim.handover.spec`.
"""

from __future__ import annotations

from stubsim.formats import vmfwupdate
from stubsim.machine.devices.device import PLAIN, Device, Reset
from stubsim.machine.devices.qemu_v5 import ALIGNMENT
from stubsim.machine.fwcfg import Item


class SpecUpdate(Device):
    """The device; `bios_size` is the size in bytes of the BIOS region, which is also the most it can grow to."""

    def __init__(self, bios_size: int, *, cap: int = 0, disabled: bool = False) -> None:
        super().__init__()
        self.region = bios_size
        self.disabled = disabled
        self._cap = cap
        self._resizes = bool(cap & vmfwupdate.SPEC_CAP_BIOS_RESIZE)
        self._bios_size = bytearray(bios_size.to_bytes(8, "little"))
        self._size_before = bios_size
        self._bios_addr = bytearray(8)
        self._disable = bytearray(1)
        self._opaque = bytearray(vmfwupdate.OPAQUE_SIZE)

    def items(self) -> tuple[Item, ...]:
        if self.disabled:
            return ()
        return (
            Item(vmfwupdate.SPEC_CAP, self._cap.to_bytes(8, "little")),
            Item(vmfwupdate.SPEC_BIOS_SIZE, self._bios_size, writable=self._resizes, written=self._size_written),
            Item(vmfwupdate.SPEC_OPAQUE, self._opaque, writable=True),
            Item(
                vmfwupdate.SPEC_DISABLE,
                self._disable,
                writable=True,
                written=self._disable_written,
                locked=lambda: any(self._disable),
            ),
            Item(vmfwupdate.SPEC_BIOS_ADDR, self._bios_addr, writable=True),
        )

    def before_reset(self) -> Reset:
        gpa = int.from_bytes(self._bios_addr, "little")
        size = int.from_bytes(self._bios_size, "little")
        if self.disabled or any(self._disable) or not gpa or not size:
            return PLAIN
        return Reset("update", gpa, size, resize=True)

    def reset(self) -> None:
        """disable and bios-addr are 0 after a system reset; the opaque page is kept, and so is the size."""
        self._disable[:] = bytes(1)
        self._bios_addr[:] = bytes(8)

    def _disable_written(self, _offset: int, _length: int) -> None:
        self._disable[:] = b"\1"

    def _size_written(self, _offset: int, _length: int) -> None:
        size = int.from_bytes(self._bios_size, "little")
        if not size or size > self.region or size % ALIGNMENT:
            # The guest reads it back and finds that its size was not taken.
            self._bios_size[:] = self._size_before.to_bytes(8, "little")
        self._size_before = int.from_bytes(self._bios_size, "little")
