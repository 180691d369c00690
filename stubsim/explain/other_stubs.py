"""What other stubs would choose from the same UKI on the same machine."""

from __future__ import annotations

from stubsim.explain.contents import read_table
from stubsim.explain.quiet import quiet_context
from stubsim.explain.selection import KINDS, reason
from stubsim.formats import fdt, hwids, pe
from stubsim.formats.efi_program import SYSTEMD_STUB
from stubsim.result import Boot
from stubsim.rows import NamedTuple
from stubsim.start import Start
from stubsim.stub.arguments import process_arguments
from stubsim.stub.models import PROPOSALS, StubModel, behaviour, released
from stubsim.stub.programs import is_simulated, program
from stubsim.stub.sections import Sections
from stubsim.uefi.loaded_image import ProgramFailed


class Chosen(NamedTuple):
    """A section, and its compatible or firmware id."""

    section: pe.Section
    string: str


class OtherStub(NamedTuple):
    """What some stubs would choose by kind; ``reasons`` where that is something else than this boot's stub does.

    ``failed`` is the stub's message where it would not get that far. ``model`` is the boot's own, or else the newest
    of those that answer alike; ``ids`` are all of them.
    """

    model: StubModel
    ids: tuple[str, ...]
    failed: str | None
    chosen: dict[int, Chosen | None]
    same: bool
    reasons: dict[int, str]


def other_stubs(boot: Boot, start: Start) -> tuple[OtherStub, ...]:
    """One for all known stubs with the same answer, oldest first; none where no stub that is known starts."""
    if not is_simulated(boot.model):
        return ()
    own = boot.sections or _run(boot, start, boot.model)
    if boot.sections is None and not isinstance(own, str):
        return ()
    # The prototype has a section of its own and nothing to choose by.
    stubs = (*released(), *(model for model in PROPOSALS.values() if model.firmware_section is None))
    if boot.model.name != SYSTEMD_STUB:
        stubs = (boot.model, *stubs)
    alike: dict[object, list[StubModel]] = {}
    answers: dict[object, object] = {}
    for model in stubs:
        does = model.name, behaviour(model)
        if does not in answers:
            # Reasons name the stub, which is no reason to tell two apart.
            answer = _other(boot, start, model._replace(id=""), own)
            answers[does] = repr(answer._replace(model=None))  # type: ignore[arg-type]
        alike.setdefault(answers[does], []).append(model)
    return tuple(_representative(boot, start, models, own) for models in alike.values())


def _representative(boot: Boot, start: Start, models: list[StubModel], own: Sections | str) -> OtherStub:
    model = next((model for model in models if model.id == boot.model.id), models[-1])
    return _other(boot, start, model, own)._replace(ids=tuple(model.id for model in models))


def profile_of(boot: Boot, start: Start) -> int | None:
    """The profile asked for, whether it is there or not; None where the stub knows none."""
    context = quiet_context(boot, start)
    return process_arguments(context)[0] if boot.model.takes_profiles else None


def chosen(sections: Sections | None, kind: int) -> Chosen | None:
    """What was settled on for one kind of choice."""
    section = None if sections is None else sections.section(KINDS[kind].section)
    if sections is None or section is None:
        return None
    if kind == hwids.UEFI_FW:
        string = sections.uki.efifw(section).fwid.decode(errors="surrogateescape")
    else:
        string = fdt.root_compatible(sections.uki.data(section))[0]
    return Chosen(section, string)


def _other(boot: Boot, start: Start, model: StubModel, own: Sections | str) -> OtherStub:
    found = _run(boot, start, model)
    if isinstance(found, str):
        return OtherStub(model, (), found, dict.fromkeys(KINDS), found == own, {})
    results = {kind: chosen(found, kind) for kind in KINDS}
    ours = {kind: None if isinstance(own, str) else chosen(own, kind) for kind in KINDS}
    as_if = boot._replace(model=model, sections=found)
    reasons = {kind: _reason(as_if, kind) for kind in KINDS if results[kind] != ours[kind]}
    return OtherStub(model, (), None, results, not reasons and not isinstance(own, str), reasons)


def _reason(boot: Boot, kind: int) -> str:
    """Of a refused table, which entry is to blame."""
    text = reason(boot, kind)
    assert boot.sections is not None
    table = boot.sections.section(".hwids")
    if boot.sections.hwids_error is not None and table is not None:
        blame = read_table(table, boot.uki.data(table), [boot.model]).refused.get(boot.model.id)
        if blame is not None and text.startswith(".hwids was refused"):
            return f"the whole table is refused: {blame}"
    return text


def _run(boot: Boot, start: Start, model: StubModel) -> Sections | str:
    """The sections another stub settles on, or its message where it gives up before."""
    steps = program(model)
    assert steps is not None
    try:
        return steps.settle(quiet_context(boot._replace(model=model), start))
    except ProgramFailed as failure:
        return failure.message
