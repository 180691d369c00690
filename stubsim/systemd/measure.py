"""Logging to the TPM and to a confidential guest's registers, as systemd's programs do it (src/boot/measure.c)."""

from __future__ import annotations

import struct

from stubsim.formats.efi_string import utf16z
from stubsim.rows import NamedTuple
from stubsim.uefi.services import Services

# UAPI specification "TPM PCR measurements of Linux userspace boot components".
PCR_PLATFORM_CONFIG = 1
PCR_BOOT_LOADER_CONFIG = 5
# Into which Linux measures its load options and its initrd.
PCR_OF_LINUX = 9
PCR_KERNEL_IMAGE = 11
PCR_KERNEL_CONFIG = 12
PCR_SYSTEM_EXTENSIONS = 13


class Protocols(NamedTuple):
    """What a release does beside the TPM: whether events, and tagged ones, go to a confidential guest's registers.

    ``counts_tagged``: a tagged event counts as measured.
    """

    cc: bool
    tagged_by_cc: bool
    counts_tagged: bool


def log_event(
    services: Services,
    protocols: Protocols,
    pcr: int,
    description: str,
    digests: dict[str, bytes],
    *,
    tag: int | None = None,
) -> bool:
    """Extend a PCR and log an event; False where there is no TPM or measurement protocol.

    EV_IPL carries the description in UTF-16 with its NUL; EV_EVENT_TAG puts u32 tag and u32 size before it. The
    measurement protocol of a confidential guest knows EV_IPL alone, and up to 260 tagged events do not go there.
    """
    by_cc = protocols.cc and (tag is None or protocols.tagged_by_cc)
    if not services.tpm.reached(by_cc=by_cc):
        return False
    data = utf16z(description)
    tagged = tag is not None and services.tpm.tags_events
    if tagged:
        data = struct.pack("<II", tag, len(data)) + data
    kind = "EV_EVENT_TAG" if tagged else "EV_IPL"
    services.measure(pcr, kind, description, digests, data, tag=tag if tagged else None, by_cc=by_cc)
    # Releases without it call a tagged event not measured (recorded on 257.13: sidecars with an initrd addon).
    return tag is None or protocols.counts_tagged
