"""Why this firmware and this devicetree, or why none."""

from __future__ import annotations

from stubsim.formats import hwids
from stubsim.result import Boot
from stubsim.rows import NamedTuple
from stubsim.stub.chid_match import Match
from stubsim.stub.models import StubModel, which
from stubsim.trace import Unknown


class Kind(NamedTuple):
    """A type of `.hwids` entry: ukify's words for it and for its string, and the section the string leads to."""

    word: str
    string: str
    section: str


KINDS = {
    hwids.DEVICETREE: Kind("devicetree", "compatible", ".dtbauto"),
    hwids.UEFI_FW: Kind("uefi-fw", "fwid", ".efifw"),
}


def reasons(boot: Boot) -> tuple[str, ...]:
    """One sentence for each kind of choice the UKI offers."""
    sections = boot.sections
    if sections is None:
        return ()
    present = {section.name for section in boot.uki.image.sections}
    return tuple(f"{words.section}: {reason(boot, kind)}" for kind, words in KINDS.items() if words.section in present)


def reason(boot: Boot, kind: int) -> str:
    """Why this section, or none; for a boot that settled on sections."""
    assert boot.sections is not None
    word, _, name = KINDS[kind]
    section = boot.sections.section(name)
    match = boot.sections.matches.get(kind)
    if kind == hwids.DEVICETREE and boot.host.devicetree is not None:
        if section is not None:
            return f"section {section.index} has the first compatible of the firmware's devicetree"
        return "the firmware's devicetree decides alone, and no section has its first compatible"
    if match is not None and section is not None:
        if _any_leads_to_it(boot):
            return f"section {section.index} is the first for {_string(match)}, and whatever entry matches leads to it"
        return f"section {section.index} is the first for {_matched(match, word)}"
    return _why_none(boot, kind, match)


def _why_none(boot: Boot, kind: int, match: Match | None) -> str:
    assert boot.sections is not None
    model = boot.model
    word, _, name = KINDS[kind]
    if name not in model.sections:
        return f"stub {model.id} does not know the section"
    if kind == hwids.UEFI_FW and not model.matches_firmware_entries:
        return never_matches_firmware(model)
    if boot.sections.section(".hwids") is None:
        return "there is no .hwids to match with"
    if boot.sections.hwids_error is not None:
        return f".hwids was refused as a whole: {boot.sections.hwids_error}"
    if match is None:
        return f"no {word} entry of .hwids has a CHID of this machine that the stub looks for"
    if match.string is None:
        return f".hwids entry {match.entry.index} {_how(match)}, but names nothing"
    return f"no usable section for {_matched(match, word)}"


def never_matches_firmware(model: StubModel) -> str:
    those = which(lambda other: other.matches_firmware_entries)
    return f"stub {model.id} never looks for firmware entries (those that do: {those})"


def _matched(match: Match, word: str) -> str:
    return f"{_string(match)}, the {word} entry {match.entry.index} of .hwids, which {_how(match)}"


def _string(match: Match) -> str:
    return repr((match.string or b"").decode("utf-8", "replace"))


def _how(match: Match) -> str:
    if match.entry.chid.int:
        return f"matches by CHID type {match.chid_type} ({match.entry.chid})"
    return (
        f"is a wildcard: its CHID is all zeros, and to the stub so is this machine's of type {match.chid_type}, as "
        "it has none"
    )


def _any_leads_to_it(boot: Boot) -> bool:
    """Whether it is not known which entry matches, but what is chosen by it is."""
    doubted = {key for event in boot.trace if isinstance(event, Unknown) for key in event.affects}
    return "hwids" in doubted and "selection" not in doubted
