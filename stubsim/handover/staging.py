"""What the boot after a firmware update needs, put where it can be found: the same in every dialect."""

from __future__ import annotations

from stubsim.formats.efi_string import utf16z
from stubsim.stub.context import Context
from stubsim.stub.run import Prepared
from stubsim.trace import Staged

_GIB4 = 1 << 32


def stage_for_next_boot(context: Context, prepared: Prepared, firmware: memoryview) -> list[tuple[str, Staged, bytes]]:
    """Firmware, kernel, initrd and command line (UTF-16 with its NUL) below 4 GiB, with their SHA-256.

    The initrd is in pages of its own already; in a confidential guest all of it has to go into shared ones. Raises
    OutOfResources.
    """
    shared = context.host.confidential is not None
    kernel = prepared.sections.data(".linux")
    assert kernel is not None
    parts: dict[str, list[bytes | memoryview]] = {"firmware": [firmware], "kernel": [kernel]}
    if prepared.initrd is not None:
        parts["initrd"] = list(prepared.initrd.parts)
        if not prepared.initrd.known:
            context.unknown("the initrd's digest in the opaque page", "it holds the boot secret", "fw_cfg")
    if prepared.cmdline is not None:
        parts["cmdline"] = [utf16z(prepared.cmdline)]
    staged = []
    for kind, content in parts.items():
        if kind == "initrd" and prepared.initrd_pages is not None and not shared:
            row = prepared.initrd_pages
        else:
            row = context.memory.stage(kind, content, "EfiLoaderData", below=_GIB4, shared=shared)
            context.emit(row)
        staged.append((kind, row, context.digests.sha256_of_parts(content)))
    return staged
