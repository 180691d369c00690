"""Test vectors: each recipe's image and machine, and what each stub settles on, as `boot` finds it."""

from __future__ import annotations

from uuid import UUID

from stubsim.formats import edid, fdt, hwids, pe
from stubsim.hosts import Host
from stubsim.result import Boot
from stubsim.rows import NamedTuple
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.stub.chid_match import Match
from stubsim.stub.models import StubModel, choose
from stubsim.testing.vector_recipes import Recipe, image, recipes
from stubsim.trace import Unknown
from stubsim.uki import Uki

# Released stubs that know .hwids, one for each way of reading it.
STUBS = ("257.13", "259.8", "262.1")


class Expected(NamedTuple):
    """What a stub settles on; ``refused`` is its message where it does not boot.

    ``matches`` are those in the `.hwids` that counts, by type of entry; ``hwids_error`` is the status of its refusal.
    """

    refused: str | None
    sections: dict[str, pe.Section]
    matches: dict[int, Match | None]
    hwids_error: str | None


class Vector(NamedTuple):
    """``chids`` are the machine's, as 262 computes them; an expectation is None where nobody can tell."""

    recipe: Recipe
    image: bytes
    edid: bytes | None
    devicetree: bytes | None
    chids: dict[int, UUID | None]
    expected: dict[str, Expected | None]


def models() -> tuple[StubModel, ...]:
    return tuple(choose(None, name).model for name in STUBS)


def vectors() -> tuple[Vector, ...]:
    """Every recipe, booted by every stub."""
    return tuple(_vector(recipe) for recipe in recipes())


def _vector(recipe: Recipe) -> Vector:
    data = image(recipe.sections, kernel=all(section.name != ".linux" for section in recipe.sections))
    panel = None if recipe.panel is None else edid.build(recipe.panel)
    tree = None if recipe.devicetree is None else fdt.build([recipe.devicetree])
    host = Host(fields=recipe.fields, edid=panel, devicetree=tree)
    uki = Uki(pe.open_bytes(data, recipe.name))
    starts = {name: Start(from_memory=True, profile=recipe.profile, stub=name, handover="none") for name in STUBS}
    boots = {name: boot(uki, host, start) for name, start in starts.items()}
    expected = {name: _expected(result) for name, result in boots.items()}
    return Vector(recipe, data, panel, tree, boots[STUBS[-1]].chids, expected)


def _expected(result: Boot) -> Expected | None:
    if any(isinstance(event, Unknown) and "selection" in event.affects for event in result.trace):
        return None
    sections = result.sections
    if sections is None:
        return Expected(result.outcome.message, {}, dict.fromkeys((hwids.DEVICETREE, hwids.UEFI_FW)), None)
    found = {name: section for name in result.model.sections if (section := sections.section(name)) is not None}
    return Expected(None, found, sections.matches, sections.hwids_error)
