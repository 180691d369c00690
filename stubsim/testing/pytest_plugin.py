"""The pytest plugin: case files are collected as tests, one item for each case and machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from stubsim.result import Boot
    from stubsim.testing.running import Inputs, Run

# As stubsim.testing.cases.SUFFIX; nothing of stubsim is loaded where there are no such files.
_SUFFIX = ".boot.toml"


_OUTSIDE = "stubsim_allow_outside"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("stubsim", "cases of stubsim")
    group.addoption(
        "--stubsim-allow-outside",
        action="store_true",
        dest=_OUTSIDE,
        help="read files that a case or a machine names wherever they lie",
    )


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> BootFile | None:
    if file_path.name.endswith(_SUFFIX):
        return BootFile.from_parent(parent, path=file_path)
    return None


class BootFile(pytest.File):
    """A case file."""

    def collect(self) -> Iterator[BootItem]:
        from stubsim.errors import StubsimError
        from stubsim.printable import clean
        from stubsim.testing import cases, running

        try:
            runs = running.runs_of(cases.load(str(self.path), allow_outside=self.config.getoption(_OUTSIDE)))
        except StubsimError as error:
            raise self.CollectError("\n".join(clean(str(one)) for one in (error, *error.more))) from error
        for run in runs:
            name = clean(f"{run.case.name}[{run.machine.label}]")
            yield BootItem.from_parent(self, name=name, run=run, inputs=_inputs(self.config))


class BootItem(pytest.Item):
    """A case on one machine."""

    def __init__(self, *, run: Run, inputs: Inputs, **more: Any) -> None:
        super().__init__(**more)
        self.boot_run = run
        self.inputs = inputs

    def runtest(self) -> None:
        from stubsim.testing.running import check

        result = check(self.boot_run, self.inputs)
        if result.error is not None:
            raise result.error
        if result.differences:
            from stubsim.testing.telling import difference_json, summary, text

            rows = [difference_json(row) for row in result.differences]
            raise NotAsExpectedError(f"{summary(rows)}\n{text(rows)}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        from stubsim.errors import StubsimError
        from stubsim.printable import clean, clean_lines

        if isinstance(excinfo.value, NotAsExpectedError):
            case, machine = self.boot_run
            return clean_lines(f"{excinfo.value}\n({case.uki} on {machine.path})")
        if isinstance(excinfo.value, StubsimError):
            return clean(str(excinfo.value))
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, self.name


class NotAsExpectedError(AssertionError):
    """A boot that differs from what its case file expects."""


@pytest.fixture(scope="session")
def stubsim_boot(pytestconfig: pytest.Config) -> Callable[..., Boot]:
    """Boot a UKI on a machine: ``stubsim_boot("uki.efi", "host.json", cmdline="quiet")`` is a `stubsim.Boot`.

    The options are those of a case file. Each UKI and each host is read once in the whole session.
    """

    def boot(uki: str | Path, host: str | Path, **options: Any) -> Boot:
        from stubsim.testing.cases import Case, Machine, read_options
        from stubsim.testing.running import Run

        machine = Machine(str(host), str(host))
        case = Case("the test", "", "", str(uki), (machine,), read_options(options), {})
        return _inputs(pytestconfig).boot(Run(case, machine))

    return boot


_INPUTS: pytest.StashKey[Inputs] = pytest.StashKey()


def _inputs(config: pytest.Config) -> Inputs:
    """UKIs and hosts, read once for all tests."""
    from stubsim.testing.running import Inputs

    return config.stash.setdefault(_INPUTS, Inputs(allow_outside=config.getoption(_OUTSIDE)))
