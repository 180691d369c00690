"""A UKI's tables and blobs, decoded part by part as a stub would meet them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stubsim.errors import StubsimError
from stubsim.explain.payload import Content, decode
from stubsim.extent import Extent
from stubsim.formats import efifw, fdt, hwids, pe
from stubsim.rows import NamedTuple
from stubsim.stub.chid_match import refusal
from stubsim.stub.models import PROPOSALS, StubModel, released
from stubsim.stub.recognise import STUBBLE_14
from stubsim.uki import Uki

# Sections of a real UKI do not overlap, so all of them together hold about as many bytes as the file does.
_ZEROS_MAX = 64 << 20
# A UKI has a handful of firmwares; a hostile one has thousands that each take long to decode.
_MOST_DECODED = 256
# Entries of a table that are explained one by one; all ids that Windows' drivers know would fit.
_MOST_ENTRIES = 32768
# Of the prototype shown at KVM Forum 2024 (agraf/systemd, branch fuki).
_IMAGE = ".fmwimg"
_NEVER_USED = "no stub accepts it: the UKI boots, and this firmware is silently never used"


class Table(NamedTuple):
    """A `.hwids`; ``error`` is what the newest stub would say, ``refused`` what those say that refuse it, by id."""

    section: pe.Section
    entries: Sequence[hwids.Entry]
    error: StubsimError | None
    refused: dict[str, StubsimError]


class Firmware(NamedTuple):
    """A `.efifw`; the blob is None where no stub accepts it, the content also where there are too many to decode."""

    section: pe.Section
    blob: efifw.Efifw | None
    content: Content | None
    error: StubsimError | None

    @property
    def fwid(self) -> str | None:
        return None if self.blob is None else self.blob.fwid.decode(errors="surrogateescape")

    @property
    def payload(self) -> Extent | None:
        return None if self.blob is None else self.blob.payload


class Image(NamedTuple):
    """A `.fmwimg`: the firmware of a prototype's UKI, as it is."""

    section: pe.Section
    payload: Extent | None
    content: Content | None
    error: StubsimError | None


class Tree(NamedTuple):
    """A `.dtbauto`; no compatible where a stub calls it bad."""

    section: pe.Section
    compatible: tuple[str, ...]
    error: StubsimError | None


class Part(NamedTuple):
    """The base (profile None) or one profile: a stub matches a part's sections by that part's own `.hwids`."""

    profile: int | None
    sections: tuple[pe.Section, ...]
    tables: tuple[Table, ...]
    firmwares: tuple[Firmware, ...]
    trees: tuple[Tree, ...]
    images: tuple[Image, ...]

    @property
    def title(self) -> str:
        return "the base" if self.profile is None else f"profile {self.profile}"

    @property
    def table(self) -> Table | None:
        """The one a stub reads: the first of the name, which counts as missing when it is empty."""
        return self.tables[0] if self.tables and self.tables[0].section.virtual_size else None


class Budget:
    """How many bytes may still be looked at: a hostile file can name the same ones again and again."""

    def __init__(self, uki: Uki) -> None:
        self._uki = uki
        self._left = 4 * uki.size + _ZEROS_MAX
        self._decoded = 0

    def spend(self, size: int) -> bool:
        self._left -= size
        return self._left >= 0

    def data(self, section: pe.Section) -> Extent:
        """A section's bytes; StubsimError when the sections add up to far more than the file holds."""
        data = self._uki.data(section)
        if not self.spend(data.stored):
            raise StubsimError("not decoded: the sections add up to far more than the file holds")
        return data

    def decode(self, payload: Extent) -> Content | None:
        self._decoded += 1
        return decode(payload) if self._decoded <= _MOST_DECODED and self.spend(len(payload)) else None


def read(uki: Uki, budget: Budget, *, profiles: bool = True) -> tuple[Part, ...]:
    """The base and every profile; without ``profiles`` all sections are in one part, as for a stub that knows none."""
    if not profiles:
        return (_part(None, uki.image.sections, budget),)
    parts = [(None, uki.base), *((profile.index, profile.sections) for profile in uki.profiles)]
    return tuple(_part(profile, sections, budget) for profile, sections in parts)


def _part(profile: int | None, sections: tuple[pe.Section, ...], budget: Budget) -> Part:
    def named(name: str) -> list[pe.Section]:
        return [section for section in sections if section.name == name]

    return Part(
        profile,
        sections,
        tuple(_table(section, budget) for section in named(hwids.SECTION)),
        tuple(_firmware(section, budget) for section in named(efifw.SECTION)),
        tuple(_tree(section, budget) for section in named(".dtbauto")),
        tuple(_image(section, budget) for section in named(_IMAGE)),
    )


def _table(section: pe.Section, budget: Budget) -> Table:
    try:
        data = budget.data(section)
        count = len(hwids.walk(data))
        if count > _MOST_ENTRIES:
            raise StubsimError(f"not decoded: {count} entries, more than {_MOST_ENTRIES}")
    except StubsimError as error:
        return Table(section, (), placed(error, section), {})
    return read_table(section, data, (*released(), *PROPOSALS.values(), STUBBLE_14))


def read_table(section: pe.Section, data: Extent, models: Iterable[StubModel]) -> Table:
    """A `.hwids`, and which of these stubs refuse it, by their id."""
    table = Table(section, hwids.walk(data), None, {})
    try:
        hwids.parse(data)
    except StubsimError as error:
        table = table._replace(error=placed(error, section))
    # Many releases read a table alike.
    reasons: dict[tuple[bool, bool], StubsimError | None] = {}
    for model in models:
        if hwids.SECTION not in model.sections:
            continue
        reading = model.refuses_inexact_descriptors, model.checks_hwids_offsets
        if reading not in reasons:
            reasons[reading] = _refused(model, table, data)
        reason = reasons[reading]
        if reason is not None:
            table.refused[model.id] = reason
    return table


def _refused(model: StubModel, table: Table, data: Extent) -> StubsimError | None:
    """Why a stub refuses a `.hwids` as a whole, with the place; None: it does not."""
    found = refusal(model, data)
    if found is None:
        return None
    entry, status = found
    if status == "EFI_UNSUPPORTED":
        exact = model.refuses_inexact_descriptors
        return StubsimError(
            f"entry {entry.index} has descriptor {entry.type << 28 | entry.size:#010x}",
            section=label(table.section),
            offset=entry.offset,
            expected="0x1000001c, a devicetree" if exact else "type 1 (devicetree) or 2 (uefi-fw) in the highest digit",
        )
    if table.error is not None:
        return table.error
    return StubsimError(f"entry {entry.index} is refused", section=label(table.section), offset=entry.offset)


def _firmware(section: pe.Section, budget: Budget) -> Firmware:
    try:
        blob = accepted_firmware(section, budget.data(section))
    except StubsimError as error:
        error.hint = error.hint or _NEVER_USED
        return Firmware(section, None, None, placed(error, section))
    return Firmware(section, blob, budget.decode(blob.payload), None)


def _image(section: pe.Section, budget: Budget) -> Image:
    try:
        data = budget.data(section)
    except StubsimError as error:
        return Image(section, None, None, placed(error, section))
    return Image(section, data, budget.decode(data), None)


def accepted_firmware(section: pe.Section, data: Extent) -> efifw.Efifw:
    """The blob; StubsimError for one that no stub accepts, be it for its place in memory (efi-firmware.h)."""
    if section.virtual_address % 8:
        at = section.virtual_address
        raise StubsimError(f"firmware blob at address {at:#x}", section=label(section), expected="a multiple of 8")
    return efifw.parse(data)


def accepted_tree(section: pe.Section, data: Extent) -> tuple[str, ...]:
    """The compatibles; StubsimError for what no stub takes for a tree, be it for its place in memory."""
    if section.virtual_address % 4:
        at = section.virtual_address
        raise StubsimError(f"devicetree at address {at:#x}", section=label(section), expected="a multiple of 4")
    return fdt.root_compatible(data)


def _tree(section: pe.Section, budget: Budget) -> Tree:
    try:
        return Tree(section, accepted_tree(section, budget.data(section)), None)
    except StubsimError as error:
        return Tree(section, (), placed(error, section))


def label(section: pe.Section) -> str:
    """How a section is called where there may be several of the name."""
    return f"{section.name} (section {section.index})"


def placed(error: StubsimError, section: pe.Section) -> StubsimError:
    """The same error, saying which section it is about; the file is for the caller to name."""
    return StubsimError(
        error.message, section=label(section), offset=error.offset, expected=error.expected, hint=error.hint
    )
