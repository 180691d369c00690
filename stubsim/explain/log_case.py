"""What a comparison of logs looks at beside two events: the facts of the whole log, and what kind an event is of."""

from __future__ import annotations

from collections import Counter

from stubsim.explain.images_in_log import Images
from stubsim.explain.log_items import Item
from stubsim.formats import pe
from stubsim.hosts import Host
from stubsim.result import Boot
from stubsim.rows import NamedTuple
from stubsim.start import Start
from stubsim.stub.devicetree import DEVICETREE_ADDON_EVENT_TAG
from stubsim.stub.initrd import INITRD_ADDON_EVENT_TAG, UCODE_ADDON_EVENT_TAG
from stubsim.stub.sidecars import TABLE as SIDECARS
from stubsim.systemd.measure import (
    PCR_KERNEL_CONFIG,
    PCR_KERNEL_IMAGE,
    PCR_PLATFORM_CONFIG,
)

ADDONS = {
    DEVICETREE_ADDON_EVENT_TAG: "devicetree addon",
    UCODE_ADDON_EVENT_TAG: "microcode addon",
    INITRD_ADDON_EVENT_TAG: "initrd addon",
}
SMBIOS = {
    "smbios:type1": "the system information, with serial number and UUID,",
    "smbios:type2": "the base board",
    "smbios:type11": "the OEM strings",
}
ARCHIVES = {row.description: row for row in SIDECARS}


class Logged(NamedTuple):
    """The log's events: those that are compared, those of a stub before it, and of all others how many by PCR.

    ``first`` is the place of the stub's first one.
    """

    images: Images
    first: int
    items: list[Item]
    earlier: list[Item]
    skipped: Counter[int]
    hints: list[str]


class Case(NamedTuple):
    """What the rules look at beside the two events; facts of the whole log, which may be long, are found once.

    ``first`` is the place of the stub's first event, ``contents`` are the digests in PCR 11 by description,
    ``earlier`` the places of what a stub before this one left, ``identified`` the sections of this UKI that were found
    by their digest in the log, as far as looked for.
    """

    boot: Boot
    start: Start
    bank: str
    contents: dict[str, set[bytes]]
    has_smbios: bool
    first_command_line: int
    earlier: frozenset[int]
    identified: dict[str, pe.Section | None]
    images: Images
    first: int

    @classmethod
    def of(cls, boot: Boot, start: Start, bank: str, log: Logged) -> Case:
        contents: dict[str, set[bytes]] = {}
        for item in log.items:
            if item.pcr == PCR_KERNEL_IMAGE:
                contents.setdefault(item.description, set()).add(item.digests.get(bank, b""))
        return cls(
            boot,
            start,
            bank,
            contents,
            any(is_smbios(item) for item in log.items),
            min((item.place for item in log.items if is_command_line(item)), default=-1),
            frozenset(item.place for item in log.earlier),
            {},
            log.images,
            log.first,
        )


def is_smbios(item: Item) -> bool:
    """One of the SMBIOS events of PCR 1; in a confidential guest they have no tag."""
    return item.pcr == PCR_PLATFORM_CONFIG and item.type in ("EV_EVENT_TAG", "EV_IPL") and item.description in SMBIOS


def smbios_is_measured(host: Host) -> bool:
    """Whether a boot loader says that it has measured SMBIOS already."""
    return any(variable.name == "LoaderPcrSMBIOS" for variable in host.variables)


def is_command_line(item: Item) -> bool:
    """Load options, the addons' or SMBIOS's command line: their event's text is what was measured."""
    return item.pcr == PCR_KERNEL_CONFIG and item.type == "EV_IPL" and item.description not in ARCHIVES


def is_archive(item: Item) -> bool:
    """Credentials and extensions of the partition."""
    return item.description in ARCHIVES and item.pcr == ARCHIVES[item.description].pcr


def is_addon(item: Item) -> bool:
    return item.pcr == PCR_KERNEL_CONFIG and item.tag in ADDONS


def is_choice(item: Item) -> bool:
    """A section that the machine decides on."""
    return item.pcr == PCR_KERNEL_IMAGE and item.description in (".efifw", ".dtbauto")
