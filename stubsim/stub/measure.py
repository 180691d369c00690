"""What goes into the TPM: EV_IPL and tagged events, and PCR 11 from the sections (systemd-stub: measure.c, stub.c)."""

from __future__ import annotations

from stubsim.formats.efi_string import utf16z
from stubsim.stub.context import Context
from stubsim.stub.models import StubModel
from stubsim.stub.sections import Sections
from stubsim.systemd import measure
from stubsim.systemd.measure import PCR_KERNEL_CONFIG, PCR_KERNEL_IMAGE


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
    """Extend a PCR and log an event, as this stub does; False where there is no TPM or measurement protocol."""
    return measure.log_event(context.services, protocols(context.model), pcr, description, digests, tag=tag)


def protocols(model: StubModel) -> measure.Protocols:
    return measure.Protocols(model.measures_by_cc, model.measures_tagged_events_by_cc, model.counts_tagged_events)


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
