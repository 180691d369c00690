"""Every PCR 11 that a UKI can have: of each of its profiles, in each phase, on each machine or kind of machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stubsim.explain.measure import PHASES, Measurement, measure_any, measure_hosts
from stubsim.hosts import Host
from stubsim.start import Start
from stubsim.uki import PROFILES_MAX, Uki

# Right after the stub, and then each phase that systemd measures.
EVERY_PHASE = ("", *PHASES)


def measurements(
    uki: Uki, hosts: Sequence[tuple[str, Host]], start: Start, banks: Sequence[str] | None = None
) -> Iterator[Measurement]:
    """One of each profile (of the one that is asked for; of the UKI where it has none).

    Raises StubsimError as `measure_hosts` and, without hosts, `measure_any` do.
    """
    first = _measured(uki, hosts, start, banks)
    yield first
    booted = 0 if first.boot.prepared is None else first.boot.prepared.profile
    if start.profile is None and first.boot.model.takes_profiles:
        for profile in range(min(len(uki.profiles), PROFILES_MAX)):
            if profile != booted:
                yield _measured(uki, hosts, start._replace(profile=profile), banks)


def _measured(uki: Uki, hosts: Sequence[tuple[str, Host]], start: Start, banks: Sequence[str] | None) -> Measurement:
    return measure_hosts(uki, hosts, start, banks) if hosts else measure_any(uki, start, banks)
