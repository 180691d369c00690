"""Random boots by a real stub's own code, each compared with the simulator's answer.

    python -m scripts.lab.fuzz --count 5000 --seed 1 --stub trixie --stub sid
    make lab-fuzz N=5000 SEED=1 STUB='trixie sid'

A stub is a file or a Debian suite (stubs.py). A boot that differs is made smaller as long as it differs in the same
keys, and saved as a case folder under --out, with expect.json (what the stub did) and differs.json. The same seed and
count give the same boots, whatever the stub; the status is 1 where one differed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from scripts.lab import efirun, recipes
from scripts.lab.compare import Differences, differences
from scripts.lab.drawing import boots
from scripts.lab.recipes import Recipe
from scripts.lab.stubs import ARCHITECTURES, Stub, stubs
from stubsim import uki
from stubsim.errors import StubsimError

Json = dict[str, Any]

# Folders in memory, where there is such a place.
_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
# A difference is tried to be made smaller by this many boots.
TRIES = 150


class Laboratory:
    """One stub, and a folder that every boot of it is made in anew."""

    def __init__(self, tested: Stub) -> None:
        self.tested = tested
        self._image = tested.path.read_bytes()

    def boot(self, recipe: Recipe, folder: Path) -> tuple[Json, Differences]:
        recipes.write(recipe, self._image, self.tested.machine, folder)
        case = efirun.load(folder)
        image = uki.load(str(case.uki))
        seen = efirun.run(case, image)
        secret = boot_secret(seen)
        if secret is not None:
            # Drawn at random: the simulator is told, as it is of a machine that was recorded.
            case.host["boot_secret"] = secret
        return seen, differences(case, seen, image)

    def differs(self, recipe: Recipe) -> Differences:
        with tempfile.TemporaryDirectory(prefix="lab-fuzz-", dir=_MEMORY) as folder:
            return self.boot(recipe, Path(folder))[1]

    def smaller(self, recipe: Recipe, found: Differences) -> Recipe:
        """A recipe that has as little as possible and still differs in the same keys."""
        tries = TRIES
        changed = True
        while changed and tries > 0:
            changed = False
            for candidate in smaller_recipes(recipe):
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

    def save(self, recipe: Recipe, folder: Path) -> None:
        seen, found = self.boot(recipe, folder)
        secret = boot_secret(seen)
        if secret is not None:
            host = folder / "host.json"
            host.write_text(json.dumps(json.loads(host.read_text()) | {"boot_secret": secret}, indent=1) + "\n")
        seen = {"case": folder.name, "stub": self.tested.release, **seen}
        (folder / "expect.json").write_text(json.dumps(seen, indent=1) + "\n")
        rows = {key: {"stubsim": ours, "stub": theirs} for key, (ours, theirs) in found.items()}
        (folder / "differs.json").write_text(json.dumps(rows, indent=1) + "\n")


def boot_secret(seen: Json) -> str | None:
    """The 32 bytes of .extra/boot-secret in the initrd that the kernel got, in hex."""
    data = bytes.fromhex(seen.get("initrd_hex") or "")
    at = data.rfind(b".extra/boot-secret\0")
    start = at + -(-(110 + 19) // 4) * 4 - 110
    return data[start : start + 32].hex() if at >= 0 else None


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


def fuzz(tested: Stub, count: int, seed: int, out: Path, limit: int) -> Counter[str]:
    """Boot them all; what is counted are sets of keys, "" for no difference."""
    laboratory = Laboratory(tested)
    counts: Counter[str] = Counter()
    started = time.monotonic()
    for number in range(count):
        recipe = boots.draw(Random(f"{seed}/{number}"), tested.machine)
        try:
            found = laboratory.differs(recipe)
        except StubsimError as error:
            found = {"error": (str(error), None)}
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
    bad = count - counts[""]
    print(f"{tested.release} {tested.machine}: {count} boots, {bad} differ, {seconds:.0f} s")
    for keys, number in counts.most_common():
        if keys:
            print(f"  {number:5} {keys}")
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=100, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stub", action="append", required=True, metavar="SUITE|FILE")
    parser.add_argument("--architecture", action="append", choices=ARCHITECTURES)
    parser.add_argument("--out", type=Path, default=Path("build/lab-fuzz"), metavar="DIR")
    parser.add_argument("--limit", type=int, default=3, metavar="N", help="save at most so many of the same keys")
    arguments = parser.parse_args()
    bad = 0
    try:
        for tested in stubs(arguments.stub, arguments.architecture):
            counts = fuzz(tested, arguments.count, arguments.seed, arguments.out, arguments.limit)
            bad += arguments.count - counts[""]
    except StubsimError as error:
        print(f"lab-fuzz: {error}", file=sys.stderr)
        return 2
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
