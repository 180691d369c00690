"""What the differences of a log come from: the first rule that applies, that of what changes most before the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from stubsim.explain.log_case import Case, is_addon, is_archive, is_choice, is_smbios
from stubsim.explain.log_facts import Disagreement
from stubsim.explain.log_items import Difference, Item, is_image
from stubsim.rows import NamedTuple
from stubsim.stub.models import behaviour, choose, in_words, released
from stubsim.stub.profile import PROFILE_EVENT_TAG
from stubsim.systemd.measure import PCR_KERNEL_CONFIG, PCR_KERNEL_IMAGE
from stubsim.trace import Unknown

_SHOWN = 4

# Differences, but for the images, where another stub is taken.
WithStub = Callable[[str], int]


class Story(NamedTuple):
    """All that is known of a comparison; the differences are in the order of the boot, each with an event."""

    case: Case
    disagreements: tuple[Disagreement, ...]
    differences: tuple[Difference, ...]

    def having(self, applies: Callable[[Item], bool]) -> list[Difference]:
        return [row for row in self.differences if row.item is not None and applies(row.item)]

    @property
    def uki_differs(self) -> bool:
        pairs = self.case.images.pairs
        return bool(pairs) and pairs[0].kind is not None

    def disagreement(self, key: str) -> Disagreement | None:
        return next((row for row in self.disagreements if row.key == key), None)


def root_cause(story: Story, with_stub: WithStub) -> str | None:
    """One sentence; None where nothing differs."""
    if not story.differences and not story.disagreements:
        return None
    for rule in _RULES:
        text = rule(story, with_stub)
        if text is not None:
            return text
    return story.differences[0].cause


def _no_stub(story: Story, with_stub: WithStub) -> str | None:
    if story.case.contents:
        return None
    return next((row.cause for row in story.having(lambda item: item.pcr == PCR_KERNEL_IMAGE)), None)


def _uki(story: Story, with_stub: WithStub) -> str | None:
    """Another file was started: by its own stub or sections."""
    if not story.uki_differs:
        return None
    logged = story.case.images.pairs[0].logged
    where = f"{(logged and logged.description) or 'an image without a path'}, PCR 4"
    contents = story.having(lambda item: item.pcr == PCR_KERNEL_IMAGE)
    others = story.having(lambda item: not is_image(item))
    if not others:
        what = "the file is another, and the same is measured of it"
        return f"this log is of another build of this UKI ({where}): {what}"
    stubs = _fitting_stubs(story, with_stub)
    if stubs:
        own = story.case.boot.model.id
        return f"this log is of a UKI with another stub ({where}): its events are those of stub {stubs}, not {own}"
    names = ", ".join(dict.fromkeys(row.item.description for row in contents if row.item is not None))
    return f"this log is of another UKI ({where}){f': it differs in {names}' if names else ''}"


def _fitting_stubs(story: Story, with_stub: WithStub) -> str:
    """The releases whose events the log has, each behaviour tried once."""
    groups: dict[object, list[str]] = {}
    for model in released():
        groups.setdefault(behaviour(model), []).append(model.id)
    fitting = [ids for ids in groups.values() if story.case.boot.model.id not in ids and with_stub(ids[0]) == 0]
    return in_words(name for ids in fitting for name in ids)


def _secure_boot(story: Story, with_stub: WithStub) -> str | None:
    row = story.disagreement("secure_boot")
    return None if row is None else f"Secure Boot is {row.log} in the log (PCR 7), and {row.host} in the host file"


def _stub(story: Story, with_stub: WithStub) -> str | None:
    """--stub, of a UKI that was started as it is."""
    boot, start = story.case.boot, story.case.start
    if start.stub is None or not story.having(lambda item: not is_image(item)):
        return None
    own = choose(boot.uki.stub).model.id
    if own == boot.model.id:
        return None
    return f"the prediction is for stub {boot.model.id} (--stub), and the UKI that was started has {own}"


def _loader(story: Story, with_stub: WithStub) -> str | None:
    """What stands in front of the UKI."""
    images = story.case.images
    front = story.having(lambda item: is_image(item) and (item.by not in (None, "stub") or item.place < images.place))
    rows = [row for row in front if row.predicted is None or row.predicted is not images.pairs[0].predicted]
    return rows[0].cause if rows else None


def _profile(story: Story, with_stub: WithStub) -> str | None:
    rows = story.having(lambda item: item.pcr == PCR_KERNEL_CONFIG and item.tag == PROFILE_EVENT_TAG)
    return rows[0].cause if rows else None


def _partition(story: Story, with_stub: WithStub) -> str | None:
    """Files beside the UKI."""
    rows = story.having(lambda item: is_archive(item) or is_addon(item) or _is_file(item))
    if not rows:
        return None
    start = story.case.start
    if start.esp is None and not start.from_memory and all(row.kind == "extra" for row in rows):
        return f"no --esp was given, and the machine's partition had more: {_named(rows)}"
    return f"--esp is not what the machine's partition held: {rows[0].cause}"


def _is_file(item: Item) -> bool:
    """An addon; the kernel in the UKI has no path."""
    return is_image(item) and bool(item.description)


def _named(rows: list[Difference]) -> str:
    names = list(dict.fromkeys(row.item.description for row in rows if row.item is not None))
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _machine(story: Story, with_stub: WithStub) -> str | None:
    rows = story.having(lambda item: is_choice(item) or (is_smbios(item)))
    if not rows:
        return None
    return f"the host file is not of this machine: {rows[0].cause}"


def _partition_guid(story: Story, with_stub: WithStub) -> str | None:
    row = story.disagreement("esp_partition_uuid")
    return (
        None if row is None else f"the UKI was started from the partition {row.log}, and the host file has {row.host}"
    )


def _failed(story: Story, with_stub: WithStub) -> str | None:
    outcome = story.case.boot.outcome
    if outcome.status in ("kernel-started", "firmware-update"):
        return None
    return f"the boot is predicted to fail, and the log has one that did not: {outcome.said}"


def _doubted(story: Story, with_stub: WithStub) -> str | None:
    """What the host file does not tell, where it has a part in each register that differs."""
    keys = list(_keys_in_doubt(story))
    if not keys:
        return None
    return f"not known of this machine: {', '.join(keys)}; {story.differences[0].cause}"


def _keys_in_doubt(story: Story) -> Iterator[str]:
    registers = {row.item.pcr for row in story.differences if row.item is not None}
    rows = [event for event in story.case.boot.trace if isinstance(event, Unknown)]
    if registers and all(any(pcr in event.pcrs for event in rows) for pcr in registers):
        yield from dict.fromkeys(event.what for event in rows if registers & set(event.pcrs))


_RULES = (
    _no_stub,
    _uki,
    _secure_boot,
    _stub,
    _loader,
    _profile,
    _partition,
    _partition_guid,
    _failed,
    _doubted,
    _machine,
)
