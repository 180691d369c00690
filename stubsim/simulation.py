"""The simulation: a UKI, a host and how it was started go in, a Boot comes out. Nothing is printed or written here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stubsim.after_update import after_update
from stubsim.chain import Chain
from stubsim.digests import Digests
from stubsim.hosts import Host
from stubsim.hosts.host import DirectBoot, Watched
from stubsim.machine.tpm import Tpm
from stubsim.result import Boot, Other, facts, pcrs_of, rtmrs_of
from stubsim.rows import NamedTuple
from stubsim.start import DEFAULT_START, Loaded, Start, assumed, loaded_image, start_context
from stubsim.stub.addons import addon_paths
from stubsim.stub.chid_match import machine_chids
from stubsim.stub.context import Context
from stubsim.stub.recognise import model_for
from stubsim.systemd.measure import PCR_PLATFORM_CONFIG
from stubsim.trace import WHOLE_RUN, WHOLE_RUN_PCRS, EspWritten, Event, Unknown
from stubsim.uefi.variables import WatchedVariables
from stubsim.uki import Uki

if TYPE_CHECKING:
    from collections import Counter

    from stubsim.doubt import Doubt

# Secure Boot's policy, and who vouched for each image (TCG PC Client PFP 3.3.4.8).
_PCR_SECURE_BOOT = 7


def boot(uki: Uki, host: Host, start: Start = DEFAULT_START) -> Boot:
    """Boot a UKI on a host.

    Raises StubsimError for options that contradict each other and for files of the partition that cannot be read; what
    the stub or the firmware refuses is an outcome.
    """
    unknown = host.unknown - {"memory"} if start.memory is not None else host.unknown
    if not unknown:
        return _boot(uki, host, start)[0]
    return _with_doubts(uki, host._replace(unknown=unknown), start)._replace(host=host)


class _Files(NamedTuple):
    """What runs of one image with the same start share: the image as it was found, and digests."""

    direct: DirectBoot | None
    loaded: Loaded
    digests: Digests


def _boot(
    uki: Uki, host: Host, start: Start, *, watch: Counter[str] | None = None, files: _Files | None = None
) -> tuple[Boot, Context, _Files]:
    """One chain. ``watch`` counts what it reads of the host; ``files`` are those of a run before."""
    if start.handover not in (None, "none"):
        from stubsim import handover

        handover.dialect(start.handover)
    model, reason = model_for(uki, start.stub)
    trace: list[Event] = []
    machine = host if watch is None else Watched(host, watch)
    tpm = Tpm(machine.tpm, machine.confidential)
    direct = machine.direct_boot
    if files is None:
        files = _Files(direct, loaded_image(uki, host, start), Digests(tpm.algorithms or ("sha256",), uki.digests))
    else:
        loaded = files.loaded if direct == files.direct else loaded_image(uki, host, start)
        files = _Files(direct, loaded, files.digests.standing_in(tpm.algorithms))
    loaded, digests = files.loaded, files.digests
    context = start_context(uki, machine, start, model, image=loaded.image, tpm=tpm, digests=digests, emit=trace.append)
    if watch is not None:
        variables = WatchedVariables(host.variables, watch)
        context = context._replace(services=context.services._replace(variables=variables))
    for what, affects in model.open_questions:
        registers = (PCR_PLATFORM_CONFIG, *WHOLE_RUN_PCRS) if "pcrs" in affects else ()
        trace.append(Unknown(what, "no source and no recording of this stub says it", affects, registers))
    chain = Chain(context, start, reason, watch)
    outcome = chain.outcome()
    told = outcome.status != "not-simulated"
    context = chain.context
    following = after_update(chain) if start.follow else None
    result = Boot(
        uki=uki,
        host=host,
        model=model,
        model_reason=reason,
        outcome=outcome,
        chids=machine_chids(host),
        sections=chain.found[-1] if chain.found else None,
        prepared=chain.prepared,
        load_options=chain.load_options,
        variables=tuple(context.variables.items()),
        pcrs=pcrs_of(tpm) if told else {},
        rtmrs=rtmrs_of(tpm) if told else {},
        dialect=chain.dialect,
        proposal=chain.proposal,
        assumed=(*assumed(host, start, loaded), *chain.told(host), *_of_what_is_written(trace)),
        trace=tuple(trace),
        digests=digests,
        memory=context.memory,
        left=() if chain.handed_over is None else chain.handed_over.outcome.left,
        firmware=None,
        next=following,
        start=start,
        linux=chain.linux,
        loader=chain.front,
        image=context.image,
    )
    return result, context, files


def _of_what_is_written(trace: list[Event]) -> tuple[str, ...]:
    """A file system of a CD, for one, is read-only, which no host file says (systemd: random-seed.c, boot-secret.c)."""
    if not any(isinstance(event, EspWritten) for event in trace):
        return ()
    return ("the partition can be written; on a read-only one no file changes, and there is no random seed of its own",)


def _default(boot: Boot, start: Start, host: Host) -> tuple[Start, list[Unknown]]:
    """The start with the entry by its id where the default was asked for, and that it may be another one."""
    if start.entry != "default" or boot.loader is None:
        return start, []
    from stubsim.loader.menu import why_another_default

    entry, why = boot.loader.entry, why_another_default(boot.loader.menu, host)
    # Under Secure Boot who vouches for the image is measured as well.
    pcrs = sorted({*WHOLE_RUN_PCRS, *((_PCR_SECURE_BOOT,) if host.secure_boot else ())})
    told = [] if why is None else [Unknown("which entry is the default", why, WHOLE_RUN, tuple(pcrs))]
    return start._replace(entry=entry.id), told


def _with_doubts(uki: Uki, host: Host, start: Start) -> Boot:
    """The boot on the host as it is taken to be, with what of it hangs on the unknown keys."""
    from collections import Counter
    from functools import cache

    from stubsim import doubt, supposed

    others: list[Other] = []

    # Most trials come to the same profile and firmware, and an image can have hundreds of devicetrees and entries.
    @cache
    def offered(profile: int | None, payload: str | None) -> supposed.Offers:
        return supposed.offers(uki, addons, first.model, profile, payload)

    def trial(boot: Boot, reads: Counter[str]) -> doubt.Trial:
        blob = None if boot.sections is None else boot.sections.efifw()
        payload = None if blob is None else boot.digests.sha256(blob.payload).hex()
        profile = None if boot.prepared is None else boot.prepared.profile
        registers = {(bank, pcr): value for bank, values in boot.pcrs.items() for pcr, value in values.items()}
        return doubt.Trial(
            facts=facts(boot),
            registers=None if boot.prepared is None else registers,
            reads=reads,
            offered=offered(profile, payload),
            ending=boot.outcome.said,
        )

    def again(row: supposed.Supposed) -> doubt.Trial:
        reads: Counter[str] = Counter()
        result = _boot(uki, row.host, settled, watch=reads, files=files)[0]
        others.append(Other(row.keys, result))
        return trial(result, reads)

    reads: Counter[str] = Counter()
    first, context, files = _boot(uki, host, start, watch=reads)
    settled, another = _default(first, start, host)
    quiet = context.services._replace(emit=lambda event: None)
    unwatched = context._replace(host=host._replace(secure_boot=False), services=quiet)
    addons = [image for path in addon_paths(unwatched) if isinstance(image := unwatched.load_image(path), Uki)]
    seen = trial(first, reads)
    found = doubt.doubts(host, seen, again)
    rows = [Unknown(key, _why(row), row.affects, row.pcrs) for key, row in found.items()]
    rows += another
    return first._replace(trace=(*rows, *first.trace), others=tuple(others))


def _why(doubt: Doubt) -> str:
    why = "not known of this machine"
    return why if doubt.ending is None else f"{why}, and the boot may end otherwise: {doubt.ending}"
