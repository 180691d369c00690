"""The complete event log of a boot: what the firmware measures, and between that what loader, stub and kernel do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stubsim.errors import StubsimError
from stubsim.explain.cc_log import CcWriter
from stubsim.explain.log_writer import Writer
from stubsim.explain.measure import Measurement
from stubsim.explain.predicted_log import LogEvent, WholeLog
from stubsim.machine.tpm import RTMR_BANK, rtmr
from stubsim.result import Boot
from stubsim.start import Start
from stubsim.trace import ImageLoaded, Measured, Unknown
from stubsim.uefi.baseline import PEI_VOLUME
from stubsim.uefi.esp import same_name
from stubsim.uefi.image_path import QEMU_KERNEL
from stubsim.uefi.measured import boot_variables, crtm
from stubsim.uefi.platform import Platform


def whole_log(boot: Boot, platform: Platform, start: Start) -> WholeLog:
    """The log of a boot that was simulated on this platform's host; of a TDX guest without a TPM that of its registers.

    Raises StubsimError where nothing is measured, and for an image that has no Authenticode digest.
    """
    is_cc = not boot.host.tpm and boot.host.confidential == "tdx"
    banks = (RTMR_BANK,) if is_cc else boot.host.tpm or ()
    if not banks:
        raise StubsimError(
            "nothing is measured, so there is no event log: the host has no TPM",
            hint='a host file gives it one with "tpm": {"banks": ["sha256"]}',
        )
    _check(platform, is_cc=is_cc)
    writer = (CcWriter if is_cc else Writer)(boot, platform, banks)
    writer.write(start)
    assumed = tuple(dict.fromkeys((*boot.assumed, *_assumed(platform, writer, banks))))
    return WholeLog(banks, tuple(writer.events), assumed, is_cc)


def _check(platform: Platform, *, is_cc: bool) -> None:
    baseline = platform.baseline
    if baseline is not None and baseline.is_cc != is_cc:
        kinds = {True: "the log of a TDX guest's own registers (CCEL)", False: "a TPM's log"}
        message = f"the baseline is {kinds[baseline.is_cc]}, and this host makes {kinds[is_cc]}"
        raise StubsimError(message, expected=kinds[is_cc])


def with_whole_log(boot: Boot, log: WholeLog) -> Boot:
    """The boot with all events of the log in its trace, and its values; what is not known stays unknown."""
    told = {pcr for event in boot.events(Unknown) for pcr in event.pcrs}
    affects = ("measurements", "rtmrs" if log.is_cc else "pcrs")
    names = {pcr: f"RTMR {rtmr(pcr)}" if log.is_cc else f"PCR {pcr}" for pcr in log.unknown_pcrs}
    lost = [Unknown(names[pcr], why, affects, (pcr,)) for pcr, why in log.unknown_pcrs.items() if pcr not in told]
    others = [event for event in boot.trace if not isinstance(event, Measured)]
    measured = [
        Measured(event.pcr, event.type or "", _tag(event), event.description, event.digests, event.data, event.by)
        for event in log.events
        if event.digests is not None
    ]
    assumed = tuple(dict.fromkeys((*boot.assumed, *log.assumed)))
    values = {"rtmrs": log.rtmrs} if log.is_cc else {"pcrs": log.pcrs}
    return boot._replace(trace=(*lost, *others, *measured), assumed=assumed, **values)


def measured_whole(measurement: Measurement, platform: Platform, start: Start) -> Measurement:
    """The values of one machine with those of the firmware's registers."""
    (case,) = measurement.cases
    if not case.pcrs:
        return measurement
    log = whole_log(measurement.boot, platform, start)
    lost = {f"PCR {pcr}": why for pcr, why in log.unknown_pcrs.items()}
    pcrs = {
        bank: {pcr: value for pcr, value in sorted((log.pcrs[bank] | values).items()) if f"PCR {pcr}" not in lost}
        for bank, values in case.pcrs.items()
    }
    # What the case alone could not know of registers that the log has, or knew for a lesser reason.
    known = {f"PCR {pcr}" for values in log.pcrs.values() for pcr in values}
    kept = [event for event in case.unknown if event.what not in known | lost.keys()]
    kept += [Unknown(what, why, ("pcrs",)) for what, why in lost.items()]
    case = case._replace(pcrs=pcrs, unknown=tuple(kept))
    assumed = tuple(dict.fromkeys((*measurement.assumed, *log.assumed)))
    return measurement._replace(cases=(case,), assumed=assumed, with_firmware=True)


def _tag(event: LogEvent) -> int | None:
    """The tag in front of a tagged event's data."""
    return int.from_bytes(event.data[:4], "little") if event.type == "EV_EVENT_TAG" else None


def _assumed(platform: Platform, writer: Writer, banks: Sequence[str]) -> Iterator[str]:
    build = platform.build
    if isinstance(writer, CcWriter):
        yield "RTMR 1: what OVMF measures by its public source; no TDX guest was recorded"
    elif writer.is_other_firmware:
        yield "the baseline was taken with another firmware: what follows from its code is not taken from there"
    elif build is not None and build.has_platform_info and writer.is_computed(PEI_VOLUME):
        yield crtm.ASSUMES_TCG
    if writer.disagreeing:
        names = ", ".join(dict.fromkeys(writer.disagreeing))
        yield f"the baseline is of another machine or an earlier time: {names} of the files differ from it, and count"
    for event in writer.boot.events(Unknown):
        if "outcome" in event.affects:
            yield f"how it ends is not known ({event.what}: {event.why}): the values are those of this boot if it is so"
        elif event.what == "tpm":
            taken = " and ".join(banks)
            yield f"whether the machine has a TPM, and with which banks, is not known: taken to have {taken}"
    yield from _another_start(writer.boot, platform)
    if platform.firmware is not None and not platform.option_roms and platform.baseline is None:
        register = "RTMR 1" if isinstance(writer, CcWriter) else "PCR 2"
        yield f"no --option-rom: no device has an option ROM with an EFI program ({register})"


def _another_start(boot: Boot, platform: Platform) -> Iterator[str]:
    """Where the store's entries start something else than was simulated."""
    if platform.variable("BootNext") is not None:
        yield "the store has BootNext, which the firmware starts first: it is taken to be what is simulated"
    options = boot_variables.boot_options(platform)
    image = next(iter(boot.events(ImageLoaded)), None)
    if isinstance(options, str) or image is None or image.path == QEMU_KERNEL:
        return
    wanted = boot_variables.first_path(options)
    name = f"Boot{options[0].number:04X}" if options else "no boot entry"
    if wanted is None or not same_name(wanted, image.path):
        yield f"{name} comes first and starts {wanted or 'no file'}: {image.path} is taken to be started all the same"
    elif boot_variables.has_load_options(options[0]) and boot.start.load_options is None:
        first = "the boot loader" if boot.loader is not None else None
        if any(event.by == "shim" for event in boot.events(ImageLoaded)):
            first = "shim, for which they may name another second stage"
        of = "(--load-options)" if first is None else f"for {first}"
        yield f"{name} has load options, which are taken to be none {of}"
