"""The stubs whose steps are known, by the name in the key of a model."""

from __future__ import annotations

from collections.abc import Callable

from stubsim.extent import Bytes
from stubsim.formats.efi_program import STUBBLE, SYSTEMD_STUB
from stubsim.rows import NamedTuple
from stubsim.stub import kernel, locate, run, stubble
from stubsim.stub.arguments import process_arguments
from stubsim.stub.context import Context
from stubsim.stub.initrd import Combined
from stubsim.stub.models import StubModel
from stubsim.stub.sections import Sections


class Program(NamedTuple):
    """One stub's steps, as `boot` joins them and as explanations ask them again; all of them raise ProgramFailed.

    ``settle`` gives the sections alone, with the arguments read but nothing measured.
    """

    settle: Callable[[Context], Sections]
    prepare: Callable[[Context, list[Sections]], run.Prepared]
    check_kernel: Callable[[Context, Bytes], object]
    linux_exec: Callable[[Context, Bytes, str | None, Combined | None], kernel.Started]


def _settle_systemd(context: Context) -> Sections:
    return locate.find_sections(context, process_arguments(context)[0])


def _settle_stubble(context: Context) -> Sections:
    return stubble.find_sections(context, stubble.parse_options(stubble.process_arguments(context)))


_PROGRAMS = {
    SYSTEMD_STUB: Program(_settle_systemd, run.prepare, kernel.check_kernel, kernel.linux_exec),
    STUBBLE: Program(_settle_stubble, stubble.prepare, stubble.check_kernel, stubble.linux_exec),
}


def program(model: StubModel) -> Program | None:
    """The steps of a model's stub; None for a stub that is known by name only."""
    return _PROGRAMS.get(model.name)


def is_simulated(model: StubModel) -> bool:
    """Whether anything can be said of what the model's stub does."""
    return program(model) is not None
