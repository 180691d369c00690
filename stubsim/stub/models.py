"""Which stub is simulated: a point release of systemd-stub, by the table of what changed, or a proposal.

No step compares versions: what differs is a named field here, and stubsim.stub.releases says since when.
Proposals are from public sources: systemd pull request 43235 (capsules in .efifw) and the prototype branch "fuki" of
September 2024.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache

from stubsim.errors import StubsimError
from stubsim.formats.efi_program import SYSTEMD_STUB, StubId
from stubsim.rows import NamedTuple
from stubsim.stub import releases, rhel
from stubsim.stub.recorded import RECORDED
from stubsim.systemd import release as systemd_releases
from stubsim.systemd.release import Release, Version
from stubsim.trace import WHOLE_RUN


class StubModel(NamedTuple):
    """One stub's behaviour; each flag is one observed or published difference.

    ``recorded`` names the release whose recordings prove it, None where there are none or it is only assumed.
    """

    id: str
    basis: str  # "recording", "source" or "proposal"
    recorded: str | None
    sections: tuple[str, ...]
    stub_features: int | None
    chid_priority: tuple[int, ...]
    # of a UKI, an addon and the kernel; with more none of them is looked for
    section_limit: int | None
    # up to 256: the last section whose name begins with the wanted one, be it empty
    takes_last_section_by_prefix: bool
    # .hwids
    matches_devicetree_entries: bool
    matches_firmware_entries: bool
    refuses_inexact_descriptors: bool
    checks_hwids_offsets: bool
    reports_no_match_as_error: bool
    # where that is an error: with its UEFI status
    tells_status_of_no_match: bool
    # arguments and command line
    takes_profiles: bool
    # anywhere; in every release as the first unit
    drops_control_characters: bool
    # load options of blanks only count as a command line
    takes_blank_options: bool
    # given ones and the UKI's; or what lies in memory behind them is taken too
    ends_command_lines: bool
    trims_leading_blanks: bool
    trims_trailing_blanks: bool
    # a line of blanks only: mangled with what lies in memory behind it
    reads_on_behind_blanks: bool
    mangles_shell_line: bool
    takes_smbios_extra: bool
    # for it, whoever may have written it
    asks_confidential_host: bool
    mangles_smbios_extra: bool
    # in the search for it
    skips_absent_smbios_strings: bool
    appends_console: bool
    # more than one kind of console
    appends_all_consoles: bool
    takes_log_level: bool
    # addons
    takes_addons: bool
    takes_devicetree_addons: bool
    compares_addon_uname: bool
    takes_initrd_addons: bool
    joins_addons_by_folder: bool
    measures_addon_folders_apart: bool
    reports_empty_addon_as_error: bool
    reads_addons_itself: bool
    # what it leaves and finds
    needs_firmware_devicetree: bool
    says_devicetree_is_ignored: bool
    # behind those of credentials and extensions
    installs_devicetrees_last: bool
    refreshes_random_seed: bool
    creates_random_seed: bool
    creates_loader_folder: bool
    reports_missing_seed: bool
    # on a device without partitions
    searches_el_torito: bool
    makes_boot_secret: bool
    # what follows a line such as "ID=" is taken for its value
    oversteps_empty_values: bool
    takes_previous_initrd: bool
    # several joined: where their pages may lie
    joins_initrds_below_4g: bool
    joins_initrds_anywhere_on_x86: bool
    # where there is none at all
    reads_initrd_from_zero: bool
    pads_lone_microcode: bool
    measures_smbios: bool
    measures_smbios_by_cc: bool
    # of a type 1, before its wake-up byte is cleared
    checks_smbios_length: bool
    # in confidential guests, by EFI_CC_MEASUREMENT_PROTOCOL: at all, and tagged events too
    measures_by_cc: bool
    measures_tagged_events_by_cc: bool
    # what StubPcrKernelParameters goes by
    counts_tagged_events: bool
    counts_nothing_as_measured: bool
    # a folder of addons without a line: as what was measured before it
    counts_addons_as_measured_last: bool
    packs_os_release: bool
    packs_confexts_apart: bool
    packs_global_extensions: bool
    exports_stub_image: bool
    exports_tpm_banks: bool
    exports_keyboard_layout: bool
    loads_kernel_itself: bool
    # where it does
    places_kernel_by_image_base: bool
    checks_kernel_raw_data: bool
    checks_kernel_headers: bool
    # nothing is read behind its end
    bounds_kernel: bool
    aligns_kernel: bool
    warns_of_memory_attributes: bool
    # what it says of it, and other words
    prints_gnu_efi_status: bool
    reports_overlaps: bool
    reports_missing_fixup: bool
    # by its folder's name
    cuts_boot_counter: bool
    # for the load options; measuring is another matter
    knows_confidential_guests: bool
    # an image from memory: to find the random seed
    halts_without_device: bool
    # before it looks for its sections
    seeds_first: bool
    partition_in_lower_case: bool
    # seen where it ends before the kernel
    exports_image_pcr_at_once: bool
    tells_status_of_uki_as_addon: bool
    assertion: str
    event_assertion: str
    # an event without a description is none for want of a register too
    halts_at_unmeasured_archives: bool
    # proposals
    applies_capsules: bool = False
    firmware_section: str | None = None
    # Whose steps they are; what the flags above say is of systemd-stub's.
    name: str = SYSTEMD_STUB
    # What the public description leaves open: (what, keys of the boot's JSON that depend on it).
    open_questions: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def verified(self, machine: str) -> tuple[str, ...]:
        """The areas proven by recorded boots on machines of this architecture."""
        return () if self.recorded is None else tuple(RECORDED.get((self.name, self.recorded, machine), {}))


# Fields that say which model it is and how it is known, not what it does.
DESCRIPTIVE = ("id", "name", "basis", "recorded", "open_questions")


@cache
def model_of(release: Release) -> StubModel:
    """The stub of a point release."""
    id_ = str(release)
    recorded = any(name == SYSTEMD_STUB and known == id_ for name, known, _ in RECORDED)
    return StubModel(
        id=id_,
        basis="recording" if recorded else "source",
        recorded=id_ if recorded else None,
        **releases.fields(releases.changes(release)),
    )


NEWEST = model_of(systemd_releases.NEWEST)

_NEXT = NEWEST._replace(id="next", basis="proposal", recorded=None, applies_capsules=True)

_FUKI = model_of(Release(256, 0))._replace(
    id="fuki",
    basis="proposal",
    recorded=None,
    stub_features=None,
    sections=(*model_of(Release(256, 0)).sections, ".fmwimg"),
    firmware_section=".fmwimg",
    open_questions=(
        ("what the prototype of September 2024 measures and exports", ("measurements", "pcrs", "variables")),
    ),
)

PROPOSALS = {model.id: model for model in (_NEXT, _FUKI)}


def release_of(model: StubModel) -> Release | None:
    """The release that a model follows, be it assumed; None for a proposal and another's stub."""
    version = None if model.name != SYSTEMD_STUB or model.id in PROPOSALS else systemd_releases.parse(model.id)
    return None if version is None else version.release


def released() -> Iterator[StubModel]:
    """The stub of every known release, oldest first."""
    return map(model_of, systemd_releases.KNOWN)


def which(does: Callable[[StubModel], object]) -> str:
    """The known releases whose stub does something, in words such as ``260.3 to 260.4, 261.1 to 262``."""
    return systemd_releases.in_words(release for release in systemd_releases.KNOWN if does(model_of(release)))


def in_words(ids: Iterable[str]) -> str:
    """Models by their id: runs of known releases, then proposals."""
    names = set(ids)
    known = [release for release in systemd_releases.KNOWN if str(release) in names]
    return ", ".join(
        [*([systemd_releases.in_words(known)] if known else []), *(name for name in PROPOSALS if name in names)]
    )


def stubs(words: str) -> str:
    """Releases that are in words already, as a subject: "stub 257", "stubs 258 to 260.2, 261.0"."""
    return f"stub{'s' if ' to ' in words or ',' in words else ''} {words}"


def behaviour(model: StubModel) -> tuple[object, ...]:
    """All that a model does, without what it is called and how it is known."""
    return tuple(value for field, value in model._asdict().items() if field not in DESCRIPTIVE)


def kinds() -> list[tuple[str, ...]]:
    """All known releases, those together that do the same; by the newest of each, oldest first."""
    alike: dict[object, list[str]] = {}
    for model in released():
        alike.setdefault(behaviour(model), []).append(model.id)
    place = {str(release): at for at, release in enumerate(systemd_releases.KNOWN)}
    return sorted((tuple(ids) for ids in alike.values()), key=lambda ids: place[ids[-1]])


class Choice(NamedTuple):
    model: StubModel
    reason: str


def choose(stub: StubId | None, override: str | None = None) -> Choice:
    """The model for a UKI's stub, or the one asked for by ``--stub``.

    Raises StubsimError for an unknown name given by the user; an unknown stub in the UKI is not an error: the newest
    known model is assumed and the reason says so.
    """
    if override is not None:
        return _named(override)
    if stub is None:
        return _assumed("the file names no stub (.sdmagic, .sbat)")
    if stub.name != SYSTEMD_STUB:
        return _assumed(f"foreign stub {stub.name} {stub.version}")
    return _of_version(stub)


def _of_version(stub: StubId) -> Choice:
    named = f"{stub.name} {stub.version}"
    build = _of_build(stub.version)
    if build is not None:
        return Choice(build[0], f"{named} in the UKI{build[1]}")
    version = systemd_releases.parse(stub.version)
    if version is None:
        return _assumed(f"{named} names no release")
    if (version.release or Release(version.major, 0)) > systemd_releases.NEWEST:
        return _assumed(f"{named} is newer than the newest known")
    model, but = _but_for_a_build(stub.version, *_known(version, series_only=stub.series_only))
    return Choice(model, f"{named} in the UKI{but}")


def _of_build(version: str) -> tuple[StubModel, str] | None:
    """The model for a version of RHEL's packages, and in which respect it is not that stub's own."""
    found = rhel.find(version)
    if found is None:
        return None
    model = StubModel(id=found.id, basis="source", recorded=None, **found.build.fields())
    if found.assumed is None:
        return model, ""
    but = f" is not among the known builds: {found.assumed} is assumed"
    return in_doubt(model, f"what systemd-stub {found.id} does otherwise than {found.assumed}"), but


def _but_for_a_build(version: str, model: StubModel, but: str) -> tuple[StubModel, str]:
    """RHEL's builds are no release of upstream's, and of those without a row nothing is known."""
    if not rhel.is_build(version):
        return model, but
    what = f"what systemd-stub {version} does otherwise than {model.id}"
    return in_doubt(model, what), but or f" is not among the known builds: {model.id} is assumed"


def _known(version: Version, *, series_only: bool = False) -> tuple[StubModel, str]:
    """The model for a version that is not newer than the newest, and in which respect it is not that stub's own."""
    release = version.release or Release(version.major, 0)
    if release < systemd_releases.OLDEST:
        return _before_the_oldest(release), f" is older than the oldest known: {systemd_releases.OLDEST} is assumed"
    newest = Release(release.major, systemd_releases.NEWEST_POINT[release.major])
    if version.release is None and series_only:
        what = f"what the release of {release.major} that it is does otherwise than {newest}"
        return in_doubt(model_of(newest), what), f", which names no point release: {newest} is assumed"
    if version.before is not None:
        return _before(release, version.before), f", from before {release}, which is assumed"
    if release > newest:
        what = f"what systemd-stub {release} does otherwise than {newest}, the newest known of its series"
        return in_doubt(model_of(newest), what), f" is newer than the newest of its series: {newest} is assumed"
    return model_of(release), ""


def _assumed(why: str) -> Choice:
    """For a stub nobody has recorded: the newest rules, none of them proven for it."""
    return Choice(in_doubt(NEWEST, f"what this stub does otherwise than {NEWEST.id}"), f"{why}: {NEWEST.id} is assumed")


def in_doubt(model: StubModel, what: str) -> StubModel:
    """A model taken for another stub's: nothing that it says of a boot is known of that one."""
    return model._replace(recorded=None, open_questions=((what, WHOLE_RUN),))


def _before(release: Release, version: str) -> StubModel:
    """A release candidate or development version: which changes of its release it has is not known."""
    new = [change for change in releases.changes(release) if str(release.major) in change.since and not release.point]
    what = f"which changes of {release} {release.major}~{version} has"
    what += f": {', '.join(change.name for change in new)}" if new else ""
    return in_doubt(model_of(release), what)


def _before_the_oldest(release: Release) -> StubModel:
    what = f"what systemd-stub {release} does otherwise than {systemd_releases.OLDEST}, the oldest known"
    return in_doubt(model_of(systemd_releases.OLDEST), what)


def _named(name: str) -> Choice:
    reason = f"--stub {name}"
    if name in PROPOSALS:
        return Choice(PROPOSALS[name], reason)
    build = _of_build(name)
    if build is not None:
        return Choice(build[0], reason + build[1])
    version = systemd_releases.parse(name)
    if (
        version is not None
        and name.lstrip("v") == str(version.major)
        and version.major in systemd_releases.NEWEST_POINT
    ):
        # A bare series is its newest known point release; 257.0 is the first.
        version = version._replace(release=Release(version.major, systemd_releases.NEWEST_POINT[version.major]))
    if version is None or (version.release or Release(version.major, 0)) > systemd_releases.NEWEST:
        raise StubsimError(
            f"unknown stub {name!r}",
            expected=f"a release such as {systemd_releases.NEWEST} or 257, or {', '.join(PROPOSALS)}",
        )
    model, but = _but_for_a_build(name, *_known(version))
    return Choice(model, reason + but)
