"""EFI_DT_FIXUP_PROTOCOL: the firmware changes a devicetree before it is installed.

Source: the protocol's public text (github.com/U-Boot-EFI/EFI_DT_FIXUP_PROTOCOL), and what U-Boot does of it
(lib/efi_loader/efi_dt_fixup.c). What a firmware does is described by the host file.
"""

from __future__ import annotations

from stubsim.errors import StubsimError
from stubsim.extent import Bytes
from stubsim.formats import fdt
from stubsim.hosts.host import DevicetreeFixup


class FixupProtocol:
    """The protocol of one boot; it counts its calls."""

    def __init__(self, described: DevicetreeFixup) -> None:
        self.described = described
        self._calls = 0

    def fix_up(self, tree: Bytes, size: int) -> tuple[str | None, Bytes, int]:
        """Fixup() for a tree in a buffer of `size` bytes: the status where it fails, the tree, and BufferSize.

        The tree comes back as it was where the call fails, or where it is not known what becomes of it.
        """
        self._calls += 1
        described = self.described
        if described.error is not None:
            return described.error, tree, size
        needed = _room(described, tree)
        if self._calls == 1 or not described.first_call_only:
            needed = max(needed, described.needs)
        if size < needed:
            return "EFI_BUFFER_TOO_SMALL", tree, needed
        return None, _changed(described, tree, size) if described.known else tree, size


def _end(tree: Bytes) -> int:
    """Where the tree ends: behind what its header says, or behind all that there is of a blob without one."""
    try:
        return min(fdt.total_size(tree), len(tree))
    except StubsimError:
        return len(tree)


def _room(described: DevicetreeFixup, tree: Bytes) -> int:
    """The bytes of buffer that the changes take themselves."""
    patched = (patch.offset + len(patch.data) for patch in described.patches or ())
    return max(_end(tree) + len(described.append or b""), *patched, 0)


def _changed(described: DevicetreeFixup, tree: Bytes, size: int) -> bytes:
    end = _end(tree)
    changed = bytearray(bytes(tree[:end]))
    changed += described.append or b""
    if described.fill_buffer is not None:
        changed = changed.ljust(size, bytes([described.fill_buffer]))
    if len(changed) != end:
        fdt.set_total_size(changed, len(changed))
    for offset, data in described.patches or ():
        changed = changed.ljust(offset + len(data), b"\0")
        changed[offset : offset + len(data)] = data
    return bytes(changed)
