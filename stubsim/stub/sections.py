"""What a stub has found in the section tables of its image and of addons."""

from __future__ import annotations

from stubsim.extent import Extent
from stubsim.formats import efifw, pe
from stubsim.rows import NamedTuple
from stubsim.stub.chid_match import Match
from stubsim.uki import Uki


class Sections(NamedTuple):
    """The sections settled on by name, in the image they belong to, with the `.hwids` matches that led to them.

    A section of VirtualSize 0 stands for its name, so it hides later ones, but counts as missing.
    """

    uki: Uki
    found: dict[str, pe.Section]
    matches: dict[int, Match | None]
    hwids_error: str | None

    def section(self, name: str) -> pe.Section | None:
        section = self.found.get(name)
        return section if section is not None and section.virtual_size else None

    def data(self, name: str) -> Extent | None:
        section = self.section(name)
        return None if section is None else self.uki.data(section)

    def text(self, name: str) -> bytes | None:
        """The bytes that a section's text is made of; StubsimError where that is too long."""
        section = self.section(name)
        return None if section is None else self.uki.text(section)

    def efifw(self) -> efifw.Efifw | None:
        """The chosen firmware, None where none was."""
        section = self.section(".efifw")
        return None if section is None else self.uki.efifw(section)


class NamedAddon(NamedTuple):
    filename: str
    data: Extent
