"""What the boot after a firmware update needs, put where it can be found."""

from __future__ import annotations

from stubsim.extent import Bytes
from stubsim.formats.efi_string import utf16z
from stubsim.formats.vmfwupdate import Left
from stubsim.handover.leaving import Leaving

_GIB4 = 1 << 32
_PAGE = 4096


def stage_for_next_boot(leaving: Leaving, *, firmware_size: int | None = None) -> tuple[Left, ...]:
    """Firmware, kernel, initrd, command line (UTF-16 with its NUL) and devicetree below 4 GiB, with their SHA-256.

    ``firmware_size`` puts zeros before a firmware so that it has that many bytes. The initrd is in pages of its own
    already; in a confidential guest all of it has to go into shared ones. Raises OutOfResources.
    """
    context, prepared = leaving.context, leaving.prepared
    shared = context.memory.confidential
    kernel = prepared.sections.data(".linux")
    assert kernel is not None
    padding = max((firmware_size or 0) - len(leaving.firmware), 0)
    parts: dict[str, list[Bytes]] = {
        "firmware": [*([bytes(padding)] if padding else []), leaving.firmware],
        "kernel": [kernel],
    }
    if prepared.initrd is not None:
        parts["initrd"] = list(prepared.initrd.parts)
        if not prepared.initrd.known:
            context.unknown("the initrd's digest in the opaque page", "it holds the boot secret", "fw_cfg")
    if prepared.cmdline is not None:
        parts["cmdline"] = [utf16z(prepared.cmdline)]
    tree = prepared.devicetree
    if tree is not None and tree.source != "firmware" and tree.data is not None:
        parts["devicetree"] = [tree.data]
    left = []
    for kind, content in parts.items():
        if kind == "initrd" and prepared.initrd_pages is not None and not shared:
            row = prepared.initrd_pages
        else:
            row = context.memory.stage(kind, content, "EfiLoaderData", below=_GIB4, shared=shared)
            context.emit(row)
        left.append(Left(kind, row.gpa, row.size, context.digests.sha256_of_parts(content)))
    return tuple(left)
