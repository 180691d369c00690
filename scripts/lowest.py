"""Make an environment with the lowest versions that pyproject.toml allows: lowest.py FOLDER.

A lower bound that nobody installs is a guess; `make test-lowest` runs the tests with these.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("check", "fleet", "sign", "snp", "test")
_BOUND = re.compile(r"([A-Za-z0-9._-]+)>=([0-9.]+)(?:; .*)?")


def lowest() -> Iterator[str]:
    """A constraint for each bound; raises ValueError for two bounds of one package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(row for extra in EXTRAS for row in project["optional-dependencies"][extra])]
    found: dict[str, str] = {}
    for row in wanted:
        match = _BOUND.fullmatch(row)
        if match is None:
            raise ValueError(f"{row}: no lower bound")
        name, version = match.groups()
        if found.setdefault(name, version) != version:
            raise ValueError(f"{name}: {found[name]} here and {version} there")
    yield from (f"{name}=={version}" for name, version in found.items())


def main(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    constraints = folder.with_suffix(".txt")
    constraints.write_text("".join(f"{row}\n" for row in lowest()), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    project = f"{ROOT}[{','.join(EXTRAS)}]"
    python = str(folder / "bin" / "python")
    quietly = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    subprocess.run(
        [*quietly, "--constraint", str(constraints), "--editable", project], check=True, stdin=subprocess.DEVNULL
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
