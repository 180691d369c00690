"""Random boots: a UKI, a partition, a machine and a start, of values that stubs treat in different ways."""

from __future__ import annotations

from random import Random

from scripts.lab.drawing.machines import Machine
from scripts.lab.drawing.sections import Sections
from scripts.lab.drawing.starts import Start
from scripts.lab.recipes import Recipe


def draw(random: Random, machine: str) -> Recipe:
    """A boot that nothing but the random numbers decides."""
    of = Machine(random, machine)
    sections = Sections(random, machine, of.fields, of.panel)
    start = Start(random, machine, sections.addon)
    path = None if start.maybe(0.04) else start.path()
    host = of.host()
    sections.damages_trees = host.get("devicetree_fixup") is None
    shell = start.shell_line() if start.maybe(0.08) else None
    files = {} if path is None else start.files(path)
    if files and start.maybe(0.08):
        # All that a boot secret needs, which by chance nearly never meets.
        host["rng"] = True
        others = [row for row in host["variables"] if row["name"] != "LoaderBootSecret"]
        host["variables"] = [*others, of.boot_secret()]
        files |= {"loader/random-seed": b"\x44" * 32, "loader/boot-secret-mixin": b"\x45" * start.one(32, 32, 40)}
    return Recipe(
        tuple(sections.uki()),
        files,
        host,
        path,
        None if shell is not None or start.maybe(0.35) else start.load_options(),
        shell,
        # Without a certificate table nothing starts at all under Secure Boot.
        start.maybe(0.95 if host.get("secure_boot") else 0.05),
    )
