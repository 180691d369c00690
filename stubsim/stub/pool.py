"""The stub's heap: what is large takes pages of its own, and there is no way to fail (systemd-stub: util.c, log.c)."""

from __future__ import annotations

from collections.abc import Iterable

from stubsim.machine.ram import PAGE
from stubsim.rows import NamedTuple
from stubsim.stub import refused
from stubsim.stub.context import Context
from stubsim.uefi.loaded_image import ProgramFailed
from stubsim.uefi.memory import POOL_OVERHEAD, OutOfResources

_TYPE = "EfiLoaderData"

# What is asserted in xmalloc(), xmalloc_pages() and, for a kernel that is aligned, xmalloc_aligned_pages().
POOL = "BS->AllocatePool(EfiLoaderData, size, &p) == EFI_SUCCESS"
PAGES = "BS->AllocatePages(type, memory_type, n_pages, &addr) == EFI_SUCCESS"
ALIGNED_PAGES = "BS->AllocatePages(type, memory_type, n_pages, &aligned) == EFI_SUCCESS"
TOTAL_PAGES = "BS->AllocatePages(type, memory_type, total_pages, &addr) == EFI_SUCCESS"

# Bytes of the last record of an archive, and of a record but for its name and content.
_TRAILER, _RECORD = 124, 6 + 13 * 8


class Packed(NamedTuple):
    """A file that is packed: its size in bytes, and whether the stub reads it from the partition before."""

    name: str
    size: int
    is_read: bool


Pages = int | None
"""Where the pages of something lie; None where it has none of its own."""


def halted(context: Context, asserted: str, what: str, size: int) -> ProgramFailed:
    """A failed assertion halts the machine with this message (efi_assert), which then names file and line."""
    because = refused.out_of_memory(context, what, size)
    return context.halt(asserted, because, "EFI_OUT_OF_RESOURCES")


def allocate(context: Context, size: int, what: str) -> Pages:
    """The pages of something large, None for what shares the pool's; ProgramFailed where there are none."""
    if size + POOL_OVERHEAD <= PAGE:
        return None
    try:
        return context.memory.allocate(size + POOL_OVERHEAD, _TYPE)
    except OutOfResources:
        raise halted(context, POOL, what, size) from None


def free(context: Context, *pages: Pages) -> None:
    """Give back what allocate() gave."""
    for gpa in pages:
        if gpa is not None:
            context.memory.free(gpa)


def pack_cpio(context: Context, target: str, files: Iterable[Packed], size: int) -> Pages:
    """The pages of an archive of so many bytes below the folder, allocated as the stub builds it; raises ProgramFailed.

    A file is read whole. The archive grows record by record, each time into a new and larger one, with the old one
    freed after that (systemd-stub 257.13: cpio.c, pack_cpio_one; util.h, xrealloc). So the last file takes twice its
    size beside what is packed already, and the trailer twice the size of all.
    """
    what = f"the archive of {target}"
    rows = [(file, _aligned(_RECORD + len(target) + len(file.name) + 2) + _aligned(file.size)) for file in files]
    grown = size - _TRAILER - sum(record for _, record in rows)
    archive = allocate(context, grown, what)
    for file, record in rows:
        # Up to 3 bytes more, so that it ends with a NUL of either kind (util.c, file_handle_read).
        content = allocate(context, file.size + file.size % 2 + 2, file.name) if file.is_read else None
        grown += record
        archive = _grown(context, archive, grown, what)
        free(context, content)
    return _grown(context, archive, size, what)


def _grown(context: Context, archive: Pages, size: int, what: str) -> Pages:
    larger = allocate(context, size, what)
    free(context, archive)
    return larger


def _aligned(size: int) -> int:
    return -(-size // 4) * 4
