"""What a fleet is asked of one kind of machine, from one boot of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from stubsim.explain.measure import Measurement, measure_hosts
from stubsim.explain.selection import KINDS
from stubsim.explain.verdicts import UNKNOWN, Verdict, verdicts
from stubsim.formats import fdt, hwids, pe
from stubsim.hosts.host import Host
from stubsim.result import Boot
from stubsim.rows import NamedTuple
from stubsim.start import Start
from stubsim.trace import Unknown
from stubsim.uki import Uki
from stubsim.wording import plain

PCRS = (4, 9, 11, 12, 13)


class Chosen(NamedTuple):
    """One section that the machine decides on, by its number in the section table, and the name that led to it.

    ``chid_type`` and ``entry`` are those of the `.hwids` match; None without one, and where they are not known although
    the section is. ``hangs_on`` are the unknown keys with which another one may be chosen, or none.
    """

    section: int | None
    string: str | None
    chid_type: int | None
    entry: int | None
    hangs_on: tuple[str, ...]


class Answer(NamedTuple):
    """How the boot ends and which of the unknown keys may change that; the choices by kind; known PCR values by number.

    The choices are those of a boot that comes to choosing. ``verdicts`` are those of the PCRs, without events.
    """

    status: str
    message: str | None
    hangs_on: tuple[str, ...]
    chosen: dict[int, Chosen]
    pcrs: dict[int, bytes]
    verdicts: dict[int, Verdict]
    assumed: tuple[str, ...]


def answer(uki: Uki, host: Host, start: Start, bank: str) -> Answer:
    """One boot, and those with other values for what is not known of the machine.

    Raises StubsimError as `stubsim.boot` does.
    """
    measured = measure_hosts(uki, [("", host)], start, (bank,))
    boot, case = measured.boot, measured.cases[0]
    pcrs = case.pcrs.get(bank, {})
    return Answer(
        status=boot.outcome.status,
        message=boot.outcome.message,
        hangs_on=_hangs_on_outcome(boot),
        chosen={kind: _chosen(boot, kind) for kind in KINDS},
        pcrs={pcr: pcrs[pcr] for pcr in PCRS if pcr in pcrs},
        verdicts={pcr: _verdict(measured, pcr, own) for pcr, own in verdicts(measured).items() if pcr in PCRS},
        assumed=measured.assumed,
    )


def _verdict(measured: Measurement, pcr: int, own: Verdict) -> Verdict:
    """With the unknown keys of the machine where those leave it open: the kernel's start may be left open as well."""
    [case] = measured.cases
    rows = [row for row in case.unknown if row.what in (f"PCR {pcr}", "all values") or pcr in row.pcrs]
    keys = [row.what for row in rows if row.what in measured.boot.host.unknown]
    if own.verdict == UNKNOWN and keys:
        return Verdict(UNKNOWN, f"{', '.join(map(plain, sorted(keys)))} not known")
    return own._replace(events=())


def _hangs_on_outcome(boot: Boot) -> tuple[str, ...]:
    return tuple(row.what for row in _unknown(boot) if "outcome" in row.affects)


def _chosen(boot: Boot, kind: int) -> Chosen:
    section = _section(boot, kind)
    match = None if boot.sections is None else boot.sections.matches.get(kind)
    hangs_on = _hangs_on(boot, lambda other: _place(_section(other, kind)))
    by = None if match is None or section is None else (match.chid_type, match.entry.index)
    if not hangs_on and _hangs_on(boot, lambda other: _by(other, kind)):
        by = None
    kind_, entry = by or (None, None)
    return Chosen(_place(section), _string(boot, kind, section), kind_, entry, hangs_on)


def _hangs_on(boot: Boot, fact: Callable[[Boot], object]) -> tuple[str, ...]:
    """The unknown keys with which a boot that comes to choosing has another fact than this one has.

    Keys together count where none of them changes it alone.
    """
    own = fact(boot)
    keys = set(_untried(boot))
    for other in sorted(boot.others, key=lambda other: (len(other.keys), sorted(other.keys))):
        if other.boot.sections is not None and keys.isdisjoint(other.keys) and fact(other.boot) != own:
            keys |= other.keys
    return tuple(sorted(keys))


def _untried(boot: Boot) -> Iterator[str]:
    """Keys of which not all was tried (`stubsim.doubt`): those affect all there is, CHIDs and the boot after it."""
    return (row.what for row in _unknown(boot) if {"chids", "next"} <= {*row.affects})


def _unknown(boot: Boot) -> Iterator[Unknown]:
    return (row for row in boot.trace if isinstance(row, Unknown) and row.what in boot.host.unknown)


def _section(boot: Boot, kind: int) -> pe.Section | None:
    return None if boot.sections is None else boot.sections.section(KINDS[kind].section)


def _place(section: pe.Section | None) -> int | None:
    return None if section is None else section.index


def _by(boot: Boot, kind: int) -> object:
    match = None if boot.sections is None else boot.sections.matches.get(kind)
    return None if match is None else (match.chid_type, match.entry.index)


def _string(boot: Boot, kind: int, section: pe.Section | None) -> str | None:
    """The firmware's id or the devicetree's compatible, as it stands in the section."""
    if section is None:
        return None
    if kind == hwids.UEFI_FW:
        return boot.uki.efifw(section).fwid.decode("utf-8", "backslashreplace")
    compatible = fdt.root_compatible(boot.uki.data(section))
    return compatible[0] if compatible else None
