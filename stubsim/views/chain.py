"""The chain of a boot as a picture: its stages from left to right, what each hands to the next, what each measures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from stubsim.formats.efi_string import from_utf16
from stubsim.result import Boot
from stubsim.rows import NamedTuple
from stubsim.stub.programs import is_simulated
from stubsim.trace import ImageLoaded, Measured
from stubsim.uefi.boot_manager import PCR_BOOT_MANAGER
from stubsim.views.block import Block, doubt
from stubsim.views.units import size

_TEXT_MAX = 48
Json = dict[str, Any]
TITLE = "The chain"
ROWS = ("is", "hands on", "measures")


class Stage(NamedTuple):
    """``what`` it is; ``hands_on`` to the next one, and ``measures``, line by line."""

    name: str
    what: tuple[str, ...]
    hands_on: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()


def stages(boot: Boot) -> tuple[Stage, ...]:
    """From the firmware as far as the boot comes; the last one says how it ends where no kernel starts."""
    found = [*_stages(boot)]
    if boot.outcome.status not in ("kernel-started", "firmware-update"):
        last = found[-1]
        found[-1] = last._replace(what=(*last.what, f"ends here: {boot.outcome.said}"))
    return tuple(found)


def chain_block(boot: Boot) -> Block:
    """The picture in columns of text."""
    return picture(TITLE + chain_doubt(boot), stages(boot))


def chain_doubt(boot: Boot) -> str:
    """What the heading ends with where something in the picture is not known."""
    return doubt(boot, "outcome", "cmdline", "initrd", "devicetree", "measurements")


def chain_json(boot: Boot) -> Json:
    """The picture as data, for reports whose text is made from their JSON; `read` is its inverse."""
    return {"doubtful": bool(chain_doubt(boot)), "stages": [_stage_json(stage) for stage in stages(boot)]}


def heading(chain: Json, side: str = "") -> str:
    """Of a report that does not list all that is unknown."""
    return TITLE + side + (", as far as is known" if chain["doubtful"] else "")


def _stage_json(stage: Stage) -> Json:
    return {
        "name": stage.name,
        "what": list(stage.what),
        "hands_on": list(stage.hands_on),
        "measures": list(stage.measures),
    }


def read(chain: Json) -> tuple[Stage, ...]:
    return tuple(
        Stage(row["name"], tuple(row["what"]), tuple(row["hands_on"]), tuple(row["measures"]))
        for row in chain["stages"]
    )


def picture(title: str, shown: Sequence[Stage]) -> Block:
    """A column for each stage."""
    rows: list[tuple[str, ...]] = []
    for label, cells in zip(ROWS, _cells(shown), strict=True):
        for number, line in enumerate(zip_longest(*cells, fillvalue="")):
            rows.append((label if number == 0 else "", *line))
    names = [shown[0].name, *(f"-> {stage.name}" for stage in shown[1:])]
    return Block(title, rows, ("", *names), fixed=(0,))


def _cells(shown: Sequence[Stage]) -> Iterator[list[tuple[str, ...]]]:
    yield [stage.what for stage in shown]
    yield [stage.hands_on for stage in shown]
    yield [stage.measures for stage in shown]


def _stages(boot: Boot) -> Iterator[Stage]:
    loaded = boot.events(ImageLoaded)
    measured = _measured(boot)
    host = boot.host.firmware
    first = () if boot.loader is not None else tuple(_given(boot))
    yield Stage("firmware", (host.vendor,), first, (*_images(boot, loaded), *measured.pop("firmware", ())))
    if any(event.by == "shim" for event in loaded):
        yield Stage("shim", (loaded[0].path,), (), measured.pop("shim", ()))
    if boot.loader is not None:
        loader = boot.loader.loader
        what = (loader.path, f"entry {boot.loader.entry.id}")
        yield Stage(f"systemd-boot {loader.version}", what, tuple(_given(boot)), measured.pop("loader", ()))
    if boot.image is not None and not any(event.path == (boot.image.path or "") for event in loaded):
        return
    stub = boot.uki.stub
    named = boot.model.id if stub is None or not is_simulated(boot.model) else f"{stub.name} {stub.version}"
    place: tuple[str, ...] = (
        ("loaded from memory",) if boot.image is None or boot.image.path is None else (boot.image.path,)
    )
    if boot.prepared is not None and boot.uki.profiles and boot.model.takes_profiles:
        place = (*place, f"profile {boot.prepared.profile}")
    yield Stage(named, place, tuple(_handed_on(boot)), measured.pop("stub", ()))
    if boot.outcome.status == "kernel-started":
        name = "kernel" if boot.linux is None else f"Linux {boot.linux.release or ''}".rstrip()
        kind = "not a known Linux" if boot.linux is None else boot.linux.format
        yield Stage(name, (kind,), (), measured.pop("kernel", ()))
    elif boot.dialect is not None:
        yield Stage(f"hand-over by {boot.dialect}", ("of the chosen firmware",))


def _measured(boot: Boot) -> dict[str, tuple[str, ...]]:
    """By stage, its events in each register."""
    counts: dict[str, Counter[int]] = {}
    for event in boot.events(Measured):
        counts.setdefault(event.by, Counter())[event.pcr] += 1
    return {
        by: tuple(f"PCR {pcr}: {count} event{'' if count == 1 else 's'}" for pcr, count in sorted(events.items()))
        for by, events in counts.items()
    }


def _images(boot: Boot, loaded: list[ImageLoaded]) -> Iterator[str]:
    if boot.host.tpm and loaded:
        count = len(loaded)
        # What a shell or another program was started by is not known.
        more = " and more" if boot.start.shell is not None or boot.start.from_memory else ""
        yield f"PCR {PCR_BOOT_MANAGER}: {count} image{'' if count == 1 else 's'}{more}"


def _given(boot: Boot) -> Iterator[str]:
    """What the UKI is started with."""
    image = boot.image
    if image is None:
        return
    if image.shell is not None:
        yield "a line of the UEFI shell"
    elif image.load_options:
        yield f"load options {_shortened(from_utf16(image.load_options))}"
    if boot.loader is not None:
        entry = boot.loader.entry
        if entry.initrds:
            yield "an initrd"
        if entry.devicetree is not None and not boot.host.secure_boot:
            yield "a devicetree"


def _handed_on(boot: Boot) -> Iterator[str]:
    prepared = boot.prepared
    if prepared is None:
        return
    yield "no command line" if prepared.cmdline is None else f"command line {_shortened(prepared.cmdline)}"
    yield "no initrd" if prepared.initrd is None else f"initrd, {size(prepared.initrd.size)}"
    if prepared.devicetree is not None and prepared.devicetree.source != "firmware":
        yield "devicetree"


def _shortened(text: str) -> str:
    return f'"{text}"' if len(text) <= _TEXT_MAX else f'"{text[:_TEXT_MAX]}..." ({len(text)} characters)'
