"""What goes into the TPM: EV_IPL and tagged events, and PCR 11 from the sections (systemd-stub: measure.c, stub.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from stubsim import trace
from stubsim.formats.efi_string import utf16z
from stubsim.stub.context import Context

if TYPE_CHECKING:
    from stubsim.stub.sections import Sections

# UAPI specification "TPM PCR measurements of Linux userspace boot components".
PCR_KERNEL_IMAGE = 11
PCR_KERNEL_CONFIG = 12
PCR_SYSTEM_EXTENSIONS = 13


class Measured:
    """Whether everything there was of one kind has been measured; None while nothing was submitted.

    What is there but was not measured turns it off for good, and a missing sidecar folder counts as such, which is why
    StubPcrKernelParameters is nearly never set (recorded on 257.13 and 262.1).
    """

    def __init__(self) -> None:
        self.all: bool | None = None

    def combine(self, measured: bool) -> None:
        self.all = measured if self.all is None else self.all and measured


def log_event(context: Context, pcr: int, description: str, digests: dict[str, bytes], tag: int | None = None) -> bool:
    """Extend a PCR and log an event; False where there is no TPM or measurement protocol.

    EV_IPL carries the description in UTF-16 with its NUL; EV_EVENT_TAG puts u32 tag and u32 size before it. The
    measurement protocol of a confidential guest knows EV_IPL alone, and up to 260 tagged events do not go there.
    """
    model = context.model
    by_cc = model.measures_by_cc and (tag is None or model.measures_tagged_events_by_cc)
    if not context.tpm.reached(by_cc=by_cc):
        return False
    data = utf16z(description)
    tagged = tag is not None and context.tpm.tags_events
    if tagged:
        data = struct.pack("<II", tag, len(data)) + data
    context.tpm.extend(pcr, digests, by_cc=by_cc)
    kind = "EV_EVENT_TAG" if tagged else "EV_IPL"
    context.emit(trace.Measured(pcr, kind, tag if tagged else None, description, digests, data))
    # Releases without it call a tagged event not measured (recorded on 257.13: sidecars with an initrd addon).
    return tag is None or model.counts_tagged_events


def log_load_options(context: Context, text: str, parameters: Measured) -> None:
    """A command line: measured and described as its UTF-16 text with the NUL."""
    digests = context.digests.of(utf16z(text))
    parameters.combine(log_event(context, PCR_KERNEL_CONFIG, text, digests))


def measure_sections(context: Context, sections: Sections, image: Measured) -> None:
    """Each section found, in canonical order, `.pcrsig` left out: its name with NUL, then its data."""
    found = [(name, data) for name in context.model.sections if (data := sections.data(name)) and name != ".pcrsig"]
    for _, data in found:
        context.digests.start(data)
    for name, data in found:
        for content in (name.encode("ascii") + b"\0", data):
            image.combine(log_event(context, PCR_KERNEL_IMAGE, name, context.digests.of(content)))
