"""Which signatures of a UKI's `.pcrsig` hold for the PCR 11 values it can have, and which values have none.

A boot hands on one `.pcrsig`, its profile's or else the base's. systemd looks in it for an entry of the bank, the PCRs,
the key and the policy, takes the first that has a signature, and lets the TPM check it with SHA-256 whatever the bank
is (src/shared/tpm2-util.c of 255: find_signature(), tpm2_policy_authorize()). Policies are enrolled in the SHA-256 bank
where the machine has it, and else in that of SHA-1 (tpm2_get_best_pcr_bank()).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from stubsim.errors import StubsimError
from stubsim.explain import signing_keys
from stubsim.explain.boot_manager import CONDITION
from stubsim.explain.every_value import EVERY_PHASE, measurements
from stubsim.explain.measure import Case, Measurement, Value, at_phase, values_at
from stubsim.explain.signing_keys import Key, NoCryptographyError
from stubsim.formats import pcrsig, pe
from stubsim.hosts import Host
from stubsim.machine.tpm import BANKS, Tpm
from stubsim.rows import NamedTuple
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.stub.sections import Sections
from stubsim.systemd.measure import PCR_KERNEL_IMAGE
from stubsim.trace import Unknown
from stubsim.uki import Uki

# What the TPM is told to check a signature with.
_SIGNED_WITH = "sha256"
_ENROLLED = ("sha256", "sha1")
_BY_EACH_OTHERS_NAME = "systemd-measure 257 measures .dtbauto and .hwids by each other's name"
_EXCHANGED = {".dtbauto": ".hwids", ".hwids": ".dtbauto"}


class Table(NamedTuple):
    """A `.pcrsig` section; ``fault``: why nothing can be read from it."""

    section: pe.Section
    banks: tuple[pcrsig.Bank, ...]
    fault: str | None


class Handed(NamedTuple):
    """What the boots of a profile lead to, and what they hand on for it."""

    measurement: Measurement
    profile: int
    table: Table | None
    key_section: pe.Section | None
    keys: tuple[Key, ...]
    values: tuple[Value, ...]


class Held(NamedTuple):
    """A value of PCR 11 that has a signature."""

    handed: Handed
    value: Value


class Verdict(NamedTuple):
    """A signature and what becomes of it: ``status`` is holds (on all that are handed it), only, never or unknown."""

    section: pe.Section
    bank: str
    place: int
    entry: pcrsig.Entry
    status: str
    because: str | None
    held: tuple[Held, ...]


class Missing(NamedTuple):
    """What no signature holds for; no phase and no bank: any of them, where there is no value or no `.pcrsig`."""

    handed: Handed
    bank: str | None
    phase: str | None
    hosts: tuple[str, ...]
    conditions: tuple[str, ...]
    because: str


class Verification(NamedTuple):
    """Every signature with its verdict, and what has none; ``faults`` are those of the sections, by their names."""

    phases: tuple[str, ...]
    handed: tuple[Handed, ...]
    verdicts: tuple[Verdict, ...]
    missing: tuple[Missing, ...]
    faults: tuple[str, ...]
    assumed: tuple[str, ...]
    unknown: tuple[Unknown, ...]


def verify(
    uki: Uki,
    hosts: Sequence[tuple[str, Host]],
    start: Start,
    *,
    phases: Sequence[str],
    banks: Sequence[str] | None = None,
    keys: Sequence[Key] = (),
) -> Verification:
    """Check all signatures; each of ``phases`` has to have one in each of ``banks``, by default in the one enrolled in.

    Without hosts the banks are those that are signed for. ``keys`` are others beside the UKI's own. Raises StubsimError
    as `every_value.measurements` does, and without cryptography.
    """
    image = _Image(uki, keys)
    measured = tuple(measurements(uki, hosts, start, banks if hosts or banks else image.signed_banks))
    handed = tuple(_handed(image, one, start, phases) for one in measured)
    policies = _by_policy(handed)
    verdicts = tuple(verdict for table in image.tables.values() for verdict in _verdicts(table, handed, policies))
    return Verification(
        tuple(phases),
        handed,
        verdicts,
        tuple(_missing(handed, verdicts, phases, banks)),
        tuple(image.faults),
        tuple(dict.fromkeys(text for one in measured for text in one.assumed if text != CONDITION)),
        tuple(dict.fromkeys(row for one in measured for case in one.cases for row in case.unknown if _matters(row))),
    )


def _matters(row: Unknown) -> bool:
    """Whether it is not about another register."""
    return not row.what.startswith("PCR ") or row.what == f"PCR {PCR_KERNEL_IMAGE}"


class _Image:
    """The UKI's `.pcrsig` and `.pcrpkey` sections, each read once, and what is wrong with them."""

    def __init__(self, uki: Uki, keys: Sequence[Key]) -> None:
        self.uki = uki
        self.faults: list[str] = []
        self.tables = {
            section.index: self._table(section) for section in uki.image.sections if section.name == ".pcrsig"
        }
        self._given = tuple(keys)
        self._keys: dict[int, tuple[Key, ...]] = {}

    @property
    def signed_banks(self) -> list[str] | None:
        names = {bank.name for table in self.tables.values() for bank in table.banks}
        return [bank for bank in BANKS if bank in names] or None

    def keys(self, section: pe.Section | None) -> tuple[Key, ...]:
        """The section's key and those that were given."""
        if section is None:
            return self._given
        if section.index not in self._keys:
            self._keys[section.index] = self._key(section)
        return (*self._keys[section.index], *self._given)

    def _table(self, section: pe.Section) -> Table:
        try:
            table = Table(section, pcrsig.parse(self.uki.data(section)), None)
        except StubsimError as error:
            offset = "" if error.offset is None else f"offset {error.offset:#x}: "
            table = Table(section, (), f"{offset}{error.message}")
        bad = [f"{bank.name}: {bank.fault}; systemd's search ends there" for bank in table.banks if bank.fault]
        self.faults += [f".pcrsig (section {section.index}): {text}" for text in (table.fault or "", *bad) if text]
        return table

    def _key(self, section: pe.Section) -> tuple[Key, ...]:
        try:
            return (signing_keys.read(bytes(self.uki.data(section)[: signing_keys.KEY_MAX + 1])),)
        except NoCryptographyError:
            raise
        except StubsimError as error:
            self.faults.append(f".pcrpkey (section {section.index}): {error.message}")
            return ()


def _handed(image: _Image, measured: Measurement, start: Start, phases: Sequence[str]) -> Handed:
    profile, sections = _settled(image.uki, measured, start)
    section = sections and sections.section(".pcrsig")
    table = None if section is None else image.tables[section.index]
    key = sections and sections.section(".pcrpkey")
    values = values_at(measured, PCR_KERNEL_IMAGE, tuple(dict.fromkeys((*phases, *EVERY_PHASE))))
    return Handed(measured, profile, table, key, () if table is None else image.keys(key), tuple(values))


def _settled(uki: Uki, measured: Measurement, start: Start) -> tuple[int, Sections | None]:
    """Profile and sections of the boot; which `.pcrsig` it is does not hang on the machine."""
    prepared = measured.boot.prepared or boot(uki, Host(), start).prepared
    return (0, None) if prepared is None else (prepared.profile, prepared.sections)


# --- each signature --------------------------------------------------------------------------------------------------

Policies = dict[tuple[str, bytes], list[Held]]
Judged = tuple[str, str | None, tuple[Held, ...]]


def policy_of(value: Value) -> bytes:
    """The policy digest that stands for a value of one PCR."""
    return pcrsig.policy_pcr(value.bank, {value.pcr: value.value})


def _by_policy(handed: Sequence[Handed]) -> Policies:
    found: Policies = {}
    for one in handed:
        for value in one.values:
            found.setdefault((value.bank, policy_of(value)), []).append(Held(one, value))
    return found


def _verdicts(table: Table, handed: Sequence[Handed], policies: Policies) -> Iterator[Verdict]:
    mine = [one for one in handed if one.table is not None and one.table.section.index == table.section.index]
    for bank in table.banks:
        search = _Search()
        for place, entry in enumerate(bank.entries):
            before = search.stopped_by(place, entry)
            judged = ("never", before, ()) if before else _judged(bank.name, entry, mine, policies)
            yield Verdict(table.section, bank.name, place, entry, *judged)


class _Search:
    """What keeps systemd from coming to an entry: one that it fails on, or one that it takes."""

    def __init__(self) -> None:
        self._failed: dict[bytes | None, int] = {}
        self._taken: dict[object, int] = {}

    def stopped_by(self, place: int, entry: pcrsig.Entry) -> str | None:
        """Why the entry is not looked at; entries are told in their order."""
        if entry.pcrs != (PCR_KERNEL_IMAGE,):
            return None
        failed = self._failed.get(None, self._failed.get(entry.pkfp))
        if failed is not None:
            return f"systemd's search ends with an error at entry {failed}"
        if entry.malformed in ("pkfp", "pol"):
            self._failed[entry.pkfp] = place
        if None in (entry.pkfp, entry.pol, entry.sig):
            return None
        taken = self._taken.setdefault((entry.pkfp, entry.pol, entry.ref), place)
        return None if taken == place else f"entry {taken} is for the same policy, and stands before it"


def _judged(bank: str, entry: pcrsig.Entry, mine: Sequence[Handed], policies: Policies) -> Judged:
    if entry.malformed is not None:
        return "never", f"its {entry.malformed} is malformed", ()
    missing = [key for key in ("pcrs", "pkfp", "pol", "sig") if getattr(entry, key) is None]
    if missing:
        return "never", f"it has no {' and no '.join(missing)}: systemd passes it over", ()
    assert entry.pol is not None
    if bank not in BANKS:
        return "unknown", f"values of a bank {bank} are not calculated", ()
    if entry.pcrs != (PCR_KERNEL_IMAGE,):
        others = ", ".join(map(str, entry.pcrs or ())) or "none"
        return "unknown", f"it is for the PCRs {others}, and only PCR 11 is calculated", ()
    if not mine:
        return "never", "no boot that was looked at hands this section on", ()
    profiles = {one.profile for one in mine}
    everywhere = policies.get((bank, entry.pol), [])
    held = tuple(row for row in everywhere if row.handed.profile in profiles)
    if not held:
        return "never", _exchanged(bank, entry.pol, mine) or _no_value(bank, mine, everywhere), ()
    refused = next(filter(None, (_refused(bank, entry, one.keys) for one in mine)), None)
    if refused is not None:
        return (*refused, ())
    reached = {(row.handed.profile, id(case)) for row in held for case in row.value.cases}
    all_of_them = sum(bank in case.pcrs for one in mine for case in one.measurement.cases)
    return "holds" if len(reached) == all_of_them else "only", None, held


def _no_value(bank: str, mine: Sequence[Handed], others: Sequence[Held]) -> str:
    if not any(value.bank == bank for one in mine for value in one.values):
        return f"there is no value in a bank {bank}"
    if others:
        profiles = " and ".join(str(profile) for profile in sorted({row.handed.profile for row in others}))
        return f"it is for profile {profiles}, whose boot does not hand this section on"
    return "no PCR 11 has this policy"


def _exchanged(bank: str, policy: bytes, mine: Sequence[Handed]) -> str | None:
    """systemd-measure 257 takes the file of --dtbauto for `.hwids`, and the other way round (observed: 257.13)."""
    for one in mine:
        for case in one.measurement.cases:
            value = _with_names_exchanged(bank, case, one.measurement.boot.model.sections)
            phases = () if value is None else (at_phase(bank, value, phase) for phase in EVERY_PHASE)
            if any(pcrsig.policy_pcr(bank, {PCR_KERNEL_IMAGE: each}) == policy for each in phases):
                return (
                    "no PCR 11 has this policy: systemd-measure 257 measures .dtbauto and .hwids by each other's name"
                )
    return None


def _with_names_exchanged(bank: str, case: Case, names: Sequence[str]) -> bytes | None:
    """PCR 11 of a case with these sections' contents exchanged; None where it measures neither."""
    contents: dict[str, bytes] = {}
    for event in case.measurements:
        if event.pcr == PCR_KERNEL_IMAGE and bank in event.digests:
            # The second event of a section is that of its content.
            contents[event.description] = event.digests[bank]
    if not _EXCHANGED.keys() & contents.keys():
        return None
    tpm = Tpm((bank,))
    for name in names:
        content = contents.get(_EXCHANGED.get(name, name))
        if content is not None:
            tpm.extend(
                PCR_KERNEL_IMAGE, {bank: hashlib.new(bank, name.encode() + b"\0", usedforsecurity=False).digest()}
            )
            tpm.extend(PCR_KERNEL_IMAGE, {bank: content})
    return tpm.pcrs()[bank][PCR_KERNEL_IMAGE]


def _refused(bank: str, entry: pcrsig.Entry, keys: Sequence[Key]) -> tuple[str, str] | None:
    """Status and reason where the signature is not, or not known to be, that of the key it names."""
    key = next((key for key in keys if entry.pkfp in key.fingerprints), None)
    if key is None:
        what = "its key is not among those that are there" if keys else "there is no key"
        return "unknown", f"{what}, so that the signature is not checked (--public-key)"
    signature = entry.sig or b""
    if key.holds(_SIGNED_WITH, signature, entry.signed):
        return None
    if key.holds(bank, signature, entry.signed):
        return (
            "never",
            f"it is signed with {bank}, as systemd-measure 255 and 257 do, and the TPM checks {_SIGNED_WITH}",
        )
    return "never", f"the signature is not one of this policy by its key ({key.kind})"


# --- what has none ---------------------------------------------------------------------------------------------------


def _missing(
    handed: Sequence[Handed], verdicts: Sequence[Verdict], phases: Sequence[str], banks: Sequence[str] | None
) -> Iterator[Missing]:
    # A policy with a reference is for what was enrolled with that reference.
    held = {
        (row.handed.profile, row.value.bank, row.value.phase, row.value.value)
        for one in verdicts
        if one.entry.ref is None
        for row in one.held
    }
    for one in handed:
        if one.table is None or one.table.fault is not None:
            hosts = tuple(host for case in one.measurement.cases for host in case.hosts)
            fault = (
                "the boot hands on no .pcrsig" if one.table is None else f".pcrsig cannot be read: {one.table.fault}"
            )
            yield Missing(one, None, None, hosts, (), fault)
            continue
        yield from _without_value(one, phases, banks)
        for value in one.values:
            cases = tuple(case for case in value.cases if value.bank in _needed(case, banks))
            key = (one.profile, value.bank, value.phase, value.value)
            if value.phase in phases and cases and key not in held:
                because = "no signature holds for this value"
                there = value._replace(cases=cases)
                yield Missing(one, value.bank, value.phase, there.hosts, there.conditions, because)


def _without_value(handed: Handed, phases: Sequence[str], banks: Sequence[str] | None) -> Iterator[Missing]:
    there: dict[int, set[tuple[str, str]]] = {}
    for value in handed.values:
        for case in value.cases:
            there.setdefault(id(case), set()).add((value.bank, value.phase))
    for case in handed.measurement.cases:
        values, why = there.get(id(case)), _no_values(case)
        if values is None:
            yield Missing(handed, None, None, case.hosts, case.conditions, why)
            continue
        for bank in _needed(case, banks):
            for phase in phases:
                if (bank, phase) not in values:
                    yield Missing(handed, bank, phase, case.hosts, case.conditions, why)


def _needed(case: Case, banks: Sequence[str] | None) -> Sequence[str]:
    return banks or [bank for bank in (*_ENROLLED, *case.pcrs) if bank in case.pcrs][:1]


def _no_values(case: Case) -> str:
    if case.unknown:
        return "; ".join(f"{row.what}: {row.why}" for row in case.unknown)
    return case.outcome.said
