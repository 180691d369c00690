"""The update device of the prototype shown at KVM Forum 2024 (a QEMU tree of its author, hw/misc/vmfwupdate.c of 2024).

How it copies the firmware is not in that file: see the decisions in `stubsim.handover.fuki_2024`.
"""

from __future__ import annotations

from stubsim.errors import StubsimError
from stubsim.formats import vmfwupdate
from stubsim.machine.devices.device import PLAIN, Device, Reset
from stubsim.machine.fwcfg import Item

# The file's size is not published; a page is ours.
_CPU_STATE = 4096


class FukiUpdate(Device):
    """The device; `cap` is its u16 of capability and platform bits."""

    def __init__(self, bios_size: int, *, cap: int, disabled: bool = False) -> None:
        super().__init__()
        self.region = bios_size
        self.disabled = disabled
        self._cap = cap
        self._blob = bytearray(vmfwupdate.FUKI_MOST_ENTRIES * vmfwupdate.FUKI_ENTRY.size)
        self._control = bytearray(1)
        self._given = 0  # bytes of entries
        self._off = False

    def items(self) -> tuple[Item, ...]:
        if self.disabled:
            return ()
        return (
            Item(vmfwupdate.FUKI_BLOB, self._blob, writable=True, written=self._blob_written),
            Item(vmfwupdate.FUKI_CPU, bytearray(_CPU_STATE), writable=True),
            Item(vmfwupdate.FUKI_CAP, (self._cap & 0xFFFF).to_bytes(2, "little")),
            Item(vmfwupdate.FUKI_CONTROL, self._control, writable=True, written=self._control_written),
        )

    def before_reset(self) -> Reset:
        if self.disabled or self._off or bytes(self._control) != vmfwupdate.FUKI_TRIGGER:
            return PLAIN
        firmware = next((row for row in self._entries() if vmfwupdate.FUKI_TYPES.get(row.type) == "firmware"), None)
        if firmware is None:
            return PLAIN
        if firmware.size > self.region:
            self._warn(f"firmware of {firmware.size} bytes is larger than the BIOS region, {self.region} bytes")
            return PLAIN
        return Reset("update", firmware.gpa, firmware.size)

    def reset(self) -> None:
        """The entries are kept; that they were given, and the control byte, are not."""
        self._given = 0
        self._control[:] = bytes(1)

    def _blob_written(self, offset: int, length: int) -> None:
        """A write counts that starts the file and holds whole entries; another changes the bytes all the same."""
        if not offset and not length % vmfwupdate.FUKI_ENTRY.size:
            self._given = length

    def _control_written(self, _offset: int, _length: int) -> None:
        """Either byte counts only behind good entries; the trigger resets at once."""
        command = bytes(self._control)
        if command not in (vmfwupdate.FUKI_TRIGGER, vmfwupdate.FUKI_SWITCH_OFF):
            self._warn(f"unknown control byte {command[0]:#04x}")
        elif self._off or not self._entries():
            return
        elif command == vmfwupdate.FUKI_SWITCH_OFF:
            self._off = True
        else:
            self.wants_reset = True

    def _entries(self) -> tuple[vmfwupdate.FukiEntry, ...]:
        """The entries as they are now, none where they do not count."""
        try:
            return vmfwupdate.unpack_fuki(bytes(self._blob[: self._given]))
        except StubsimError as error:
            self._given = 0
            self._warn(str(error))
            return ()

    def _warn(self, text: str) -> None:
        self.warnings.append(f"vmfwupdate: {text}")
