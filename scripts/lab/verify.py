"""The standard set on real stubs: does the simulator say what they do?

    python -m scripts.lab.verify --stub trixie --stub sid                     # make lab-verify
    python -m scripts.lab.verify --stub FILE --table                          # make lab-release: row by row
    python -m scripts.lab.verify --stub trixie --by qemu --record DIR basic   # make lab-record

A case is booted by efirun, by QEMU, or by both; each is compared with the simulator. The status is 1 where one differs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from scripts.lab import runs, standard
from scripts.lab.compare import Differences
from scripts.lab.stubs import ARCHITECTURES, Stub, stubs
from stubsim.errors import StubsimError
from stubsim.formats.efi_program import SYSTEMD_STUB, StubId
from stubsim.stub.models import choose


class Result(NamedTuple):
    """One boot of one case; ``found`` None: it was not possible, and ``why`` says why."""

    case: standard.Standard
    machine: str
    by: str
    found: Differences | None
    why: str = ""

    @property
    def verdict(self) -> str:
        if self.found is None:
            return f"not booted: {self.why}"
        return f"differs: {', '.join(self.found)}" if self.found else "holds"


def verify(case: standard.Standard, tested: Stub, by: str, record: Path | None) -> Result:
    """Boot the case by one way and compare; with ``record`` its folder is kept there."""
    with tempfile.TemporaryDirectory(prefix="lab-verify-") as name:
        folder = Path(name) / "case" if record is None else record / _folder(case, tested)
        try:
            seen, found = runs.compared(case.recipe(tested.machine), tested, by, folder)
        except StubsimError as error:
            return Result(case, tested.machine, by, None, str(error))
        if record is not None:
            runs.keep(folder, tested, seen, found, case.shows)
    return Result(case, tested.machine, by, found)


def _folder(case: standard.Standard, tested: Stub) -> str:
    release = choose(StubId(SYSTEMD_STUB, tested.release)).model.id
    return f"{case.name}@{release}" + ("" if tested.machine == "x64" else f"-{tested.machine}")


def results(arguments: argparse.Namespace) -> Iterator[Result]:
    for tested in stubs(arguments.stub, arguments.architecture):
        print(f"# {tested.release} {tested.machine}", flush=True)
        for case in standard.read(arguments.case):
            for by in arguments.by or standard.WAYS:
                if tested.machine in case.architectures and by in case.by:
                    yield verify(case, tested, by, arguments.record)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("case", nargs="*", help="names of scripts/lab/cases (default: all)")
    parser.add_argument("--stub", action="append", required=True, metavar="SUITE|FILE")
    parser.add_argument("--architecture", action="append", choices=ARCHITECTURES)
    parser.add_argument("--by", action="append", choices=standard.WAYS)
    parser.add_argument("--record", type=Path, metavar="DIR", help="keep the case folders")
    parser.add_argument("--table", action="store_true", help="what each case shows, too")
    arguments = parser.parse_args()
    done: list[Result] = []
    try:
        for result in results(arguments):
            shown = f"  [{result.case.since or 'every release'}] {result.case.shows}" if arguments.table else ""
            print(f"{result.case.name:32} {result.machine:5} {result.by:7} {result.verdict}{shown}", flush=True)
            done.append(result)
    except StubsimError as error:
        print(f"lab-verify: {error}", file=sys.stderr)
        return 2
    bad = [result for result in done if result.found]
    missing = sum(result.found is None for result in done)
    print(f"{len(done)} boots: {len(done) - len(bad) - missing} hold, {len(bad)} differ, {missing} not booted")
    return 1 if bad or missing else 0


if __name__ == "__main__":
    sys.exit(main())
