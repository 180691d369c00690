"""The order of the initrds and their combination (systemd-stub: run, combine_initrds)."""

from __future__ import annotations

from collections.abc import Sequence

from stubsim.extent import Bytes
from stubsim.rows import NamedTuple
from stubsim.stub.addons import Addons
from stubsim.stub.context import Context
from stubsim.stub.measure import Measured, log_event
from stubsim.systemd.measure import PCR_KERNEL_CONFIG

Parts = Sequence[Bytes]

UCODE_ADDON_EVENT_TAG = 0xDAC08E1A
INITRD_ADDON_EVENT_TAG = 0x49DFFE0F

# Later ones overwrite files of earlier ones, but for microcode, where the kernel takes the first it finds.
_ORDER = (
    "ucode", "previous", "initrd", "credentials", "global-credentials", "sysext", "global-sysext", "confext",
    "global-confext", "pcrsig", "pcrpkey", "osrel", "profile", "boot-secret",
)  # fmt: skip


class Initrd(NamedTuple):
    """One of the initrds; ``known`` is False for the one whose content cannot be told. Offsets and sizes in bytes."""

    kind: str
    name: str
    parts: Parts
    offset: int
    size: int
    known: bool


class Combined(NamedTuple):
    """What the kernel finds: the initrds at their offsets, and the parts (with padding) that make it up.

    ``by_stub`` is False where the stub has none of its own and an earlier stage's stays registered.
    """

    initrds: tuple[Initrd, ...]
    parts: Parts
    size: int
    by_stub: bool

    @property
    def known(self) -> bool:
        return all(initrd.known for initrd in self.initrds)


def combine_initrds(
    context: Context, own: dict[str, Parts], addons: Addons, parameters: Measured, unknown: frozenset[str]
) -> Combined | None:
    """Measure microcode addons in reverse, then initrd addons, and join all; None where there is no initrd at all.

    With more than one, each is padded with zeros to a multiple of 4; a single one is handed over as it is (256: but
    for microcode).
    """
    ordered: list[tuple[str, str, Parts]] = []
    for addon in reversed(addons.ucodes):
        digests = context.digests.of(addon.data)
        parameters.combine(log_event(context, PCR_KERNEL_CONFIG, addon.filename, digests, UCODE_ADDON_EVENT_TAG))
        ordered.append(("ucode-addon", addon.filename, (addon.data,)))
    ordered.extend((kind, kind, own[kind]) for kind in _ORDER if own.get(kind))
    for addon in addons.initrds:
        digests = context.digests.of(addon.data)
        parameters.combine(log_event(context, PCR_KERNEL_CONFIG, addon.filename, digests, INITRD_ADDON_EVENT_TAG))
        ordered.append(("initrd-addon", addon.filename, (addon.data,)))
    previous = context.host.previous_initrd
    by_stub = bool(ordered)
    if not ordered and previous is not None:
        ordered.append(("previous", "previous", (previous,)))
    if not ordered:
        return None
    initrds: list[Initrd] = []
    parts: list[Bytes] = []
    offset = 0
    for kind, name, content in ordered:
        size = sum(map(len, content))
        lone = len(ordered) == 1 and not (kind == "ucode" and context.model.pads_lone_microcode)
        padding = 0 if lone else -size % 4
        initrds.append(Initrd(kind, name, content, offset, size, kind not in unknown))
        parts.extend(content)
        if padding:
            parts.append(bytes(padding))
        offset += size + padding
    return Combined(tuple(initrds), parts, offset, by_stub)
