"""Why a boot chose this devicetree and this firmware, or none: the look-ups, the sections, the other stubs' answers."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from stubsim.errors import StubsimError
from stubsim.explain.contents import Budget, Part, Table, read
from stubsim.explain.lookup import Lookup, OwnChid, look_up, own_chids
from stubsim.explain.near_misses import near_misses
from stubsim.explain.other_stubs import OtherStub, other_stubs, profile_of
from stubsim.explain.selection import KINDS, never_matches_firmware, reason
from stubsim.explain.untaken_files import Untaken, untaken_files
from stubsim.explain.what_it_means import what_it_means
from stubsim.formats import fdt, hwids, pe
from stubsim.formats.efi_program import SYSTEMD_STUB
from stubsim.result import Boot
from stubsim.rows import NamedTuple
from stubsim.start import Start
from stubsim.stub.programs import is_simulated
from stubsim.systemd.strings import UINT_MAX

NO_STUB = "the boot ends before the stub chooses: "


class Blob(NamedTuple):
    """A `.dtbauto` or `.efifw`: its compatibles or its firmware id, and what becomes of it on this machine.

    ``verdict`` is chosen, overridden (by the profile's), later (an earlier one has the same string), other, bad, or
    ignored (the stub does not come to it).
    """

    section: pe.Section
    profile: int | None
    strings: tuple[str, ...]
    verdict: str
    why: str


class Choice(NamedTuple):
    """One kind of choice: what was chosen and why, and all that was to choose from.

    ``undecided`` are the parts of CHIDs, or the host's devicetree, that are not known and that it depends on.
    """

    kind: int
    section: pe.Section | None
    string: str | None
    reason: str
    lookups: tuple[Lookup, ...]
    blobs: tuple[Blob, ...]
    undecided: tuple[str, ...]
    meaning: tuple[str, ...]

    @property
    def offered(self) -> bool:
        """Whether the UKI has anything of the kind at all."""
        return bool(self.blobs or any(lookup.entries for lookup in self.lookups))

    @property
    def led_by(self) -> Lookup | None:
        """The look-up that led to the choice, or one that found an entry which led to nothing."""
        found = [lookup for lookup in self.lookups if lookup.winner is not None]
        profile = next((blob.profile for blob in self.blobs if blob.section is self.section), None)
        return next((lookup for lookup in found if lookup.profile == profile), found[0] if found else None)


class Why(NamedTuple):
    """The answer; ``chids`` are all types, ``others`` what other stubs would choose, ``untaken`` files of the ESP."""

    boot: Boot
    profile: int | None
    chids: dict[int, OwnChid]
    choices: tuple[Choice, ...]
    others: tuple[OtherStub, ...]
    untaken: tuple[Untaken, ...] = ()


class _Case(NamedTuple):
    """One kind of choice in one boot; ``profile`` is the one asked for, None where the stub knows none."""

    boot: Boot
    kind: int
    profile: int | None

    @property
    def firmware_tree(self) -> bytes | None:
        """A devicetree of the firmware, which then decides alone."""
        return self.boot.host.devicetree if self.kind == hwids.DEVICETREE else None

    def reads(self, part: Part) -> bool:
        return part.profile is None or (part.profile == self.profile and self.profile != UINT_MAX)


def why(boot: Boot, start: Start) -> Why:
    """Explain a boot that was started this way; one that failed as far as it came."""
    parts = read(boot.uki, Budget(boot.uki), profiles=boot.model.name == SYSTEMD_STUB)
    profile = profile_of(boot, start)
    own = own_chids(boot.host)
    near = near_misses(boot.host, boot.model)
    choices = tuple(_choice(_Case(boot, kind, profile), parts, own, near) for kind in KINDS)
    return Why(boot, profile, own, choices, other_stubs(boot, start), untaken_files(boot, start))


def _choice(case: _Case, parts: tuple[Part, ...], own: dict[int, OwnChid], near: dict[UUID, str]) -> Choice:
    boot, kind = case.boot, case.kind
    section = None if boot.sections is None else boot.sections.section(KINDS[kind].section)
    lookups = tuple(
        look_up(
            kind,
            part.profile,
            part.table,
            boot.uki.data(part.table.section),
            prevented=_prevented(case, part.table),
            own=own,
            near=near,
            model=boot.model,
        )
        for part in parts
        if part.table is not None and case.reads(part) and hwids.SECTION in boot.model.sections
    )
    blobs = tuple(blob for part in parts for blob in _blobs(case, part, lookups, section))
    string = next((blob.strings[0] for blob in blobs if blob.section is section and blob.strings), None)
    failed = NO_STUB + (boot.outcome.said)
    choice = Choice(
        kind,
        section,
        string,
        failed if boot.sections is None else reason(boot, kind),
        lookups,
        blobs,
        tuple(dict.fromkeys(_undecided(case, lookups, own))) if blobs or lookups else (),
        (),
    )
    return choice._replace(meaning=tuple(what_it_means(boot, kind, offered=choice.offered)))


def _prevented(case: _Case, table: Table) -> str | None:
    """Why the stub does not look entries of this kind up, or has no use for what it finds."""
    model = case.boot.model
    if KINDS[case.kind].section not in model.sections:
        return f"stub {model.id} knows no entries of this kind"
    if case.kind == hwids.UEFI_FW and not model.matches_firmware_entries:
        return never_matches_firmware(model)
    if case.firmware_tree is not None:
        return "the firmware brings a devicetree, so the stub looks for no devicetree entries"
    refused = table.refused.get(model.id)
    return None if refused is None else f"the whole table is refused: {refused}"


def _undecided(case: _Case, lookups: tuple[Lookup, ...], own: dict[int, OwnChid]) -> Iterator[str]:
    if case.kind == hwids.DEVICETREE and "devicetree" in case.boot.host.unknown:
        yield "devicetree"
    for lookup in lookups:
        for type_ in lookup.undecided if lookup.prevented is None else ():
            yield from own[type_].unknown


def _blobs(case: _Case, part: Part, lookups: tuple[Lookup, ...], chosen: pe.Section | None) -> Iterator[Blob]:
    """Every section of the kind in a part, in file order."""
    wanted = _wanted(case, part, lookups)
    first: pe.Section | None = None
    for section, strings, error in _strings(case.kind, part):
        misfit = _misfit(case, part, strings, wanted) if error is None else ("bad", str(error))
        if misfit is not None:
            verdict, text = misfit
        elif section is chosen:
            verdict, text = "chosen", "the first that fits"
        elif first is not None:
            verdict, text = "later", f"section {first.index} fits as well and comes first"
        elif case.boot.sections is None:
            verdict, text = "ignored", "it fits, but the boot ends before"
        else:
            verdict, text = "overridden", f"it fits, but profile {case.profile} brings its own"
        if misfit is None:
            first = first or section
        yield Blob(section, part.profile, strings, verdict, text)


def _strings(kind: int, part: Part) -> Iterator[tuple[pe.Section, tuple[str, ...], StubsimError | None]]:
    if kind == hwids.DEVICETREE:
        for tree in part.trees:
            yield tree.section, tree.compatible, tree.error
    else:
        for firmware in part.firmwares:
            yield firmware.section, (() if firmware.fwid is None else (firmware.fwid,)), firmware.error


def _wanted(case: _Case, part: Part, lookups: tuple[Lookup, ...]) -> str | None:
    """The string that the stub seeks in this part, None where it seeks nothing."""
    if case.firmware_tree is not None:
        try:
            return next(iter(fdt.root_compatible(case.firmware_tree, whole=False)), None)
        except StubsimError:
            return None
    winner = next((lookup.winner for lookup in lookups if lookup.profile == part.profile), None)
    return None if winner is None else winner.entry.string


def _misfit(case: _Case, part: Part, strings: tuple[str, ...], wanted: str | None) -> tuple[str, str] | None:
    """Verdict and reason for a section that does not fit, None for one that does."""
    words = KINDS[case.kind]
    if not is_simulated(case.boot.model):
        return "ignored", f"what {case.boot.model.id} does with it is not simulated"
    if words.section not in case.boot.model.sections:
        return "ignored", f"stub {case.boot.model.id} does not know the section"
    if not case.reads(part):
        return "ignored", f"only for profile {part.profile}"
    if wanted is None:
        if part.table is None and case.firmware_tree is None:
            return "ignored", f"no .hwids in {part.title} to choose by"
        return "ignored", f"no {words.string} is looked for"
    if strings[0] == wanted:
        return None
    if wanted in strings:
        return "other", f"has {wanted!r}, but not as its first {words.string}"
    if strings[0].strip().lower() == wanted.strip().lower():
        return "other", f"its {words.string} differs from {wanted!r} in case or blanks"
    return "other", f"another {words.string} than {wanted!r}"
