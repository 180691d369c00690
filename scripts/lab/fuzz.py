"""Random boots by a real stub's own code, each compared with the simulator's answer.

    python -m scripts.lab.fuzz --count 5000 --seed 1 --stub trixie --stub sid
    make lab-fuzz N=5000 SEED=1 STUB='trixie sid'
    make lab-fuzz-loader N=2000 STUB=sid        # --loader: systemd-boot on random partitions, by efirun alone

A stub is a file or a Debian suite (stubs.py). A boot that differs is made smaller as long as it differs in the same
keys, and saved as a case folder under --out, with expect.json (what the stub did) and differs.json. The same seed
gives the same boots by number (--first), whatever the stub; the status is 1 where one differed.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, Generic, TypeVar

from scripts.lab import guest, loaders, runs, virtual
from scripts.lab.compare import Differences
from scripts.lab.drawing import boots, partitions
from scripts.lab.drawing.sections import good_kernel
from scripts.lab.efirun import TooSlowError
from scripts.lab.loaders import LoaderRecipe
from scripts.lab.recipes import Recipe
from scripts.lab.stubs import ARCHITECTURES, Stub, loader, stub, stubs
from stubsim.errors import StubsimError

Json = dict[str, Any]
# Folders in memory, where there is such a place.
_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
# A difference is tried to be made smaller by this many boots.
TRIES = 150
# What is counted beside the keys that differ.
NOT_BOOTED, TIMED_OUT = "not booted", "timed out"


R = TypeVar("R")


class Laboratory(ABC, Generic[R]):
    """One program, booted by efirun or in QEMU from recipes; a folder is made anew for every boot."""

    def __init__(self, tested: Stub, by: str) -> None:
        self.tested = tested
        self.by = by

    @abstractmethod
    def draw(self, seed: int, number: int) -> R: ...

    @abstractmethod
    def compared(self, recipe: R, folder: Path) -> tuple[Json, Differences]: ...

    @abstractmethod
    def less(self, recipe: R) -> Iterable[R]:
        """Every recipe with one thing less, the larger things first."""

    def differs(self, recipe: R) -> Differences:
        with tempfile.TemporaryDirectory(prefix="lab-fuzz-", dir=_MEMORY) as folder:
            return self.compared(recipe, Path(folder))[1]

    def smaller(self, recipe: R, found: Differences) -> R:
        """A recipe that has as little as possible and still differs in the same keys."""
        tries = TRIES if self.by == "efirun" else 0
        changed = True
        while changed and tries > 0:
            changed = False
            for candidate in self.less(recipe):
                tries -= 1
                if tries < 0:
                    break
                try:
                    same = self.differs(candidate).keys() == found.keys()
                except StubsimError:
                    continue
                if same:
                    recipe, changed = candidate, True
                    break
        return recipe

    def save(self, recipe: R, folder: Path) -> None:
        seen, found = self.compared(recipe, folder)
        runs.keep(folder, self.tested, seen, found, "a random boot")


class StubLaboratory(Laboratory[Recipe]):
    def draw(self, seed: int, number: int) -> Recipe:
        recipe = boots.draw(Random(f"{seed}/{number}"), self.tested.machine)
        return recipe if self.by == "efirun" else for_qemu(recipe, self.tested.machine)

    def compared(self, recipe: Recipe, folder: Path) -> tuple[Json, Differences]:
        return runs.compared(recipe, self.tested, self.by, folder)

    def less(self, recipe: Recipe) -> Iterable[Recipe]:
        return smaller_recipes(recipe)


class LoaderLaboratory(Laboratory[LoaderRecipe]):
    def draw(self, seed: int, number: int) -> LoaderRecipe:
        return partitions.draw(Random(f"{seed}/{number}"), self.tested.machine)

    def compared(self, recipe: LoaderRecipe, folder: Path) -> tuple[Json, Differences]:
        return loaders.compared(recipe, self.tested, folder)

    def less(self, recipe: LoaderRecipe) -> Iterable[LoaderRecipe]:
        return loaders.smaller(recipe)


def for_qemu(recipe: Recipe, machine: str) -> Recipe:
    """With the probe in place of a kernel that is never run, out of the launcher's way, and ports that OVMF drives."""
    dummy = good_kernel(machine)
    sections = (
        spec._replace(data=guest.program("probe", machine)) if spec.data == dummy else spec for spec in recipe.sections
    )
    host = recipe.host
    if "serial" in host.get("console", {}):
        ports = [port for port in host["console"]["serial"] if port in virtual.PORTS]
        host = host | {"console": host["console"] | {"serial": ports}}
    if host.get("keyboard_layout") is not None:
        host = host | {"keyboard_layout": virtual.LAYOUT}
    path = recipe.path
    if recipe.shell is not None:
        # As the line calls it; and the shell has no gifts.
        path = "\\uki.efi"
        host = {key: value for key, value in host.items() if key not in virtual.GIFTS}
    elif path == virtual.usual_path(machine):
        path = "\\EFI\\Linux\\usual.efi"
    return recipe._replace(sections=tuple(sections), path=path, host=host)


def smaller_recipes(recipe: Recipe) -> Iterator[Recipe]:
    """Every recipe with one thing less, the larger things first."""
    for name in recipe.files:
        yield recipe._replace(files={key: value for key, value in recipe.files.items() if key != name})
    for index in range(len(recipe.sections)):
        yield recipe._replace(sections=recipe.sections[:index] + recipe.sections[index + 1 :])
    for key in recipe.host:
        if key not in ("schema", "fw_cfg", "architecture", "memory"):
            yield recipe._replace(host={name: value for name, value in recipe.host.items() if name != key})
    for index in range(len(recipe.host.get("variables", ()))):
        rows = recipe.host["variables"]
        yield recipe._replace(host=recipe.host | {"variables": rows[:index] + rows[index + 1 :]})
    if recipe.load_options is not None:
        yield recipe._replace(load_options=None)
    if recipe.shell is not None:
        yield recipe._replace(shell=None)
    for name, content in recipe.files.items():
        if isinstance(content, tuple) and len(content) > 1:
            for index in range(len(content)):
                less = content[:index] + content[index + 1 :]
                yield recipe._replace(files=recipe.files | {name: less})
    if recipe.load_options:
        for cut in (len(recipe.load_options) // 4 * 2, len(recipe.load_options) - 2):
            yield recipe._replace(load_options=recipe.load_options[: max(cut, 0)])
    for index, spec in enumerate(recipe.sections):
        if spec.virtual_size is not None:
            plain = spec._replace(virtual_size=None)
            yield recipe._replace(sections=(*recipe.sections[:index], plain, *recipe.sections[index + 1 :]))


def fuzz(laboratory: Laboratory[R], numbers: range, seed: int, out: Path, limit: int) -> Counter[str]:
    """Boot them all and count the sets of keys that differ; "" is no difference, NOT_BOOTED what cannot be booted.

    Ended by SIGINT or SIGTERM it tells what it has come to.
    """
    tested = laboratory.tested
    counts: Counter[str] = Counter()
    started = time.monotonic()
    with suppress(KeyboardInterrupt):
        for number in numbers:
            recipe = laboratory.draw(seed, number)
            try:
                found = laboratory.differs(recipe)
            except TooSlowError:
                counts[TIMED_OUT] += 1
                continue
            except StubsimError:
                counts[NOT_BOOTED] += 1
                continue
            except Exception as error:  # the simulator must not do that, and this is where it is seen
                found = {"exception": (repr(error), None)}
            # Registers follow from what was measured.
            keys = ",".join(key for key in found if not key.startswith("pcrs.") or "measurements" not in found)
            counts[keys] += 1
            if found and counts[keys] <= limit:
                folder = (
                    out / f"{tested.release}-{tested.machine}-{seed}-{number}-{'-'.join(found).replace('.', '-')}"[:200]
                )
                try:
                    laboratory.save(laboratory.smaller(recipe, found), folder)
                except Exception as error:
                    print(f"{number}: {keys}: not saved: {error!r}")
                print(f"{number}: {keys}: {folder}", flush=True)
    seconds = time.monotonic() - started
    done = counts.total() - counts[NOT_BOOTED] - counts[TIMED_OUT]
    print(
        f"{tested.release} {tested.machine}: {done} boots by {laboratory.by}, {done - counts['']} differ, "
        f"{counts[NOT_BOOTED]} not possible, {counts[TIMED_OUT]} timed out, {seconds:.0f} s"
    )
    for keys, number in counts.most_common():
        if keys not in ("", NOT_BOOTED, TIMED_OUT):
            print(f"  {number:5} {keys}")
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=100, metavar="N")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="the number of the first boot of the seed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stub", action="append", required=True, metavar="SUITE|FILE")
    parser.add_argument("--loader", action="store_true", help="systemd-boot of the suite, in place of its stub")
    parser.add_argument("--architecture", action="append", choices=ARCHITECTURES)
    parser.add_argument("--by", choices=runs.BOOT, default="efirun")
    parser.add_argument("--out", type=Path, default=Path("build/lab-fuzz"), metavar="DIR")
    parser.add_argument("--limit", type=int, default=3, metavar="N", help="save at most so many of the same keys")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    bad = 0
    numbers = range(arguments.first, arguments.first + arguments.count)
    try:
        kind: type[Laboratory[Any]] = LoaderLaboratory if arguments.loader else StubLaboratory
        for tested in stubs(arguments.stub, arguments.architecture, loader if arguments.loader else stub):
            laboratory = kind(tested, arguments.by)
            counts = fuzz(laboratory, numbers, arguments.seed, arguments.out, arguments.limit)
            bad += counts.total() - counts[""] - counts[NOT_BOOTED] - counts[TIMED_OUT]
    except StubsimError as error:
        print(f"lab-fuzz: {error}", file=sys.stderr)
        return 2
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
