"""The kernel after its start, until it leaves boot services: what it measures, or why that is not known."""

from __future__ import annotations

from collections.abc import Sequence

from stubsim.extent import Bytes
from stubsim.linux.identify import Linux
from stubsim.linux.measure import INITRD_TAG, PCR_KERNEL_INITRD, measurements
from stubsim.linux.releases import known_model
from stubsim.rows import NamedTuple
from stubsim.trace import Unknown
from stubsim.uefi.services import Services


class Initrd(NamedTuple):
    """What the kernel loads: the parts that make it up, and why the content of one is not known, if it is not."""

    parts: Sequence[Bytes]
    unknown: str | None = None


def measure(services: Services, linux: Linux | None, load_options: bytes | None, initrd: Initrd | None) -> None:
    """The load options and the initrd into PCR 9, by TCG2 where there is a TPM, else by the CC protocol.

    Of a kernel that is no Linux nothing is said, unless its events go into a register with those of the stub: RTMR 2 is
    given as the stub leaves it, and is doubted.
    """
    tpm = services.tpm
    by_cc = not tpm.banks
    if not tpm.present:
        return
    if linux is None:
        if by_cc:
            why = ".linux is not a Linux, so what it measures is not known; the value is the one that the stub leaves"
            services.emit(Unknown("RTMR 2", why, ("measurements", "rtmrs"), ()))
        return
    model = known_model(linux)
    if model is None:
        why = f"nothing tells the release of this Linux ({linux.format})"
        if linux.version is not None:
            why = f"Linux {linux.release} may have changes of later releases"
        _unknown(services, f"{why}, so what it measures is not known")
        return
    protocol = "cc" if by_cc else "tcg2"
    rows = measurements(model, load_options, initrd=initrd is not None, protocol=protocol)
    for tag, description, data in rows:
        if tag == INITRD_TAG and initrd is not None and initrd.unknown is not None:
            _unknown(services, f"the kernel measures the initrd, and {initrd.unknown}")
            return
        digests = services.digests.of(load_options or b"")
        if tag == INITRD_TAG and initrd is not None:
            digests = services.digests.of_parts(initrd.parts)
        services.measure(PCR_KERNEL_INITRD, "EV_EVENT_TAG", description, digests, data, tag=tag, by_cc=by_cc)
    if not by_cc:
        tpm.show(PCR_KERNEL_INITRD)


def _unknown(services: Services, why: str) -> None:
    register = f"PCR {PCR_KERNEL_INITRD}" if services.tpm.banks else "RTMR 2"
    affects = ("measurements", "pcrs" if services.tpm.banks else "rtmrs")
    services.emit(Unknown(register, why, affects, (PCR_KERNEL_INITRD,)))
