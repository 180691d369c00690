"""What a machine may be like where its host file does not know: for each key a few values that stand for all others.

A value stands for its class: all that a stub tells apart is there. What a hash hides, which strings a CHID is of, needs
no string: the machine is taken to have the CHID itself (`Host.chids`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

from stubsim import chid
from stubsim.errors import StubsimError
from stubsim.extent import Bytes
from stubsim.formats import fdt, hwids, pe, smbios
from stubsim.hosts.host import (
    QEMU_VIRT,
    Capsules,
    Console,
    DevicetreeFixup,
    DirectBoot,
    Firmware,
    FwCfg,
    Host,
    Variable,
    VmFwUpdate,
)
from stubsim.rows import NamedTuple
from stubsim.stub.chid_match import unknown_fields
from stubsim.stub.models import StubModel
from stubsim.uefi.memory_layout import VENDORS
from stubsim.uefi.variables import LOADER
from stubsim.uki import Uki

# 512 MiB is the least that a machine with UEFI is sold or rented with; more than 4 GiB has RAM above the hole.
_MEMORY = (512 << 20, 64 << 30)
# Sections that the entries of .hwids lead to, and devicetrees: one that is chosen shows what a choice changes, a second
# one that it makes a difference which.
_CHOICES = 2


class Offers(NamedTuple):
    """What a UKI lets a machine choose from.

    ``types`` are the CHID types that are looked for, in order; ``guids`` CHIDs of entries that lead to different
    sections, or that say that a capsule is applied already; ``wildcard`` whether there is an all-zero one. ``payload``
    is the SHA-256 of the firmware that was chosen.
    """

    machine: str
    types: tuple[int, ...]
    capsules: bool
    compatibles: tuple[str, ...]
    guids: tuple[UUID, ...]
    wildcard: bool
    payload: str | None


class Supposed(NamedTuple):
    """The machine with other values for these of its unknown keys."""

    keys: frozenset[str]
    host: Host


def offers(uki: Uki, addons: Sequence[Uki], model: StubModel, profile: int | None, payload: str | None) -> Offers:
    """What base, profile and addons offer; all profiles where it is not known which one is booted."""
    chosen = uki.profiles if profile is None else uki.profiles[profile : profile + 1]
    parts = [_Part(uki, uki.base), *(_Part(uki, own.sections) for own in chosen)]
    parts += [_Part(addon, addon.image.sections) for addon in addons]
    compatibles = tuple(dict.fromkeys(_strings(parts, ".dtbauto")))
    names = {(hwids.DEVICETREE, string) for string in compatibles}
    names |= {(hwids.UEFI_FW, string) for string in _strings(parts, ".efifw")}
    tables = [hwids.leads(table, frozenset(names)) for part in parts for table in _tables(part, model)]
    guids = [guid for kind in (hwids.DEVICETREE, hwids.UEFI_FW) for guid in _leading(tables, kind)]
    if model.applies_capsules:
        guids += _targets(parts)
    return Offers(
        machine=uki.machine,
        # A capsule is held against all there are.
        types=tuple(dict.fromkeys((*model.chid_priority, *(chid.PARTS if model.applies_capsules else ())))),
        capsules=model.applies_capsules,
        compatibles=compatibles[:_CHOICES],
        guids=tuple(dict.fromkeys(guids)),
        wildcard=any(table.wildcard for table in tables),
        payload=payload,
    )


def alternatives(host: Host, key: str, offered: Offers) -> tuple[Host, ...] | None:
    """The machine with each other value that stands for the key; None where nothing does."""
    place = key
    while place not in _CLASSES and "." in place:
        place = place.rpartition(".")[0]
    if place not in _CLASSES:
        return None
    others = [other for other in _CLASSES[place](host, offered) if other != host]
    return tuple(other._replace(unknown=host.unknown - {key}) for other in dict.fromkeys(others))


def with_other_chids(host: Host, offered: Offers) -> Iterator[Supposed]:
    """The machine with CHIDs of the UKI's own in place of those that are not known.

    A CHID counts under the first type that a gap leaves open: what is found by a later one is found by it as well.
    """
    for kind, keys in _open_types(host, offered.types).items():
        values: list[UUID | None] = [*offered.guids]
        if offered.wildcard and "edid" in keys:
            values.append(None)
        for value in values:
            yield Supposed(keys, host._replace(chids=(*host.chids, (kind, value))))


def open_fields(key: str) -> tuple[str, ...]:
    """The parts of CHIDs that an unknown key leaves open."""
    if key == "edid":
        return ("edid_panel",)
    top, _, field = key.partition(".")
    if key == "smbios" or top == "smbios_table":
        return smbios.Fields._fields
    return (field,) if top == "smbios" and field in smbios.Fields._fields else ()


def _open_types(host: Host, types: Sequence[int]) -> dict[int, frozenset[str]]:
    """The first of the types that each key leaves open, and the keys whose first it is."""
    supposed = {kind for kind, _ in host.chids}
    found: dict[int, frozenset[str]] = {}
    for key in sorted(host.unknown):
        fields = set(open_fields(key))
        kind = next((kind for kind in types if not fields.isdisjoint(unknown_fields(host, kind))), None)
        if kind is not None and kind not in supposed:
            found[kind] = found.get(kind, frozenset()) | {key}
    return found


class _Part(NamedTuple):
    """Sections that are matched by their own `.hwids`."""

    uki: Uki
    sections: Sequence[pe.Section]


def _tables(part: _Part, model: StubModel) -> Iterator[Bytes]:
    """The table by which the part is matched, if the stub has one."""
    section = next((row for row in part.sections if row.name == hwids.SECTION), None)
    if section is not None and section.virtual_size and hwids.SECTION in model.sections:
        yield part.uki.data(section)


def _leading(tables: Sequence[hwids.Leads], kind: int) -> Iterator[UUID]:
    """A CHID for each of the first strings that name a section, one that names none, and one outside of `.hwids`."""
    named: dict[str, UUID] = {}
    for table in tables:
        for (type_, string), guid in table.named.items():
            if type_ == kind:
                named.setdefault(string, guid)
    yield from [*named.values()][:_CHOICES]
    for elsewhere in ([table.others for table in tables], [table.nothing for table in tables]):
        yield from [found[kind] for found in elsewhere if kind in found][:1]


def _strings(parts: Iterable[_Part], name: str) -> Iterator[str]:
    """The first compatible or the fwid of each section of the name that can be read."""
    for uki, section in _named(parts, name):
        try:
            if name == ".dtbauto":
                yield from fdt.root_compatible(uki.data(section))[:1]
            else:
                yield uki.efifw(section).fwid.decode("utf-8", "surrogateescape")
        except StubsimError:
            continue


def _targets(parts: Iterable[_Part]) -> Iterator[UUID]:
    for uki, section in _named(parts, ".efifw"):
        try:
            target = uki.efifw(section).target_chid
        except StubsimError:
            continue
        if target is not None:
            yield target


def _named(parts: Iterable[_Part], name: str) -> Iterator[tuple[Uki, pe.Section]]:
    return ((part.uki, section) for part in parts for section in part.sections if section.name == name)


_Class = Callable[[Host, Offers], Iterable[Host]]


def _each(attribute: str, *values: Any) -> _Class:
    return lambda host, offered: (host._replace(**{attribute: value}) for value in values)


def _part_of(attribute: str, **values: Sequence[Any]) -> _Class:
    """Other values of one part; where the whole is absent, so is the part."""

    def replaced(host: Host, offered: Offers) -> Iterator[Host]:
        whole = getattr(host, attribute)
        if whole is not None:
            for key, others in values.items():
                yield from (host._replace(**{attribute: whole._replace(**{key: other})}) for other in others)

    return replaced


def _devicetree(host: Host, offered: Offers) -> Iterator[Host]:
    """None; one that a `.dtbauto` is for; one that none is for, on Arm QEMU's, which changes the memory as well."""
    yield host._replace(devicetree=None)
    other = QEMU_VIRT if offered.machine == "aa64" else "stubsim,no-such-board"
    for compatible in (*offered.compatibles, other):
        yield host._replace(devicetree=fdt.build([compatible]))


def _devicetree_fixup(host: Host, offered: Offers) -> Iterator[Host]:
    """None; one that fails; one that adds to the tree."""
    for fixup in (None, DevicetreeFixup(error="EFI_NOT_FOUND"), DevicetreeFixup(append=bytes(16))):
        yield host._replace(devicetree_fixup=fixup)


def _firmware(host: Host, offered: Offers) -> Iterator[Host]:
    """Another one in all that the stub and the hand-over look at; the one that was chosen; one that takes capsules."""
    own = host.firmware
    # UEFI 2.10 is where a protocol begins to be missed.
    revision = 0x20000 if own.uefi_revision >= 0x20064 else 0x20064
    yield host._replace(firmware=Firmware("Another", own.revision + 1, revision, None, not own.pflash))
    if offered.machine == "aa64":
        # What tells the builds apart, whose memory differs.
        yield from (host._replace(firmware=own._replace(vendor=vendor)) for vendor in VENDORS if vendor != own.vendor)
    if offered.payload is not None:
        yield host._replace(firmware=own._replace(sha256=offered.payload))
    if offered.capsules:
        yield host._replace(firmware=own._replace(capsules=Capsules(1 << 40) if own.capsules is None else None))


def _firmware_sha256(host: Host, offered: Offers) -> Iterator[Host]:
    for digest in (None, offered.payload):
        yield host._replace(firmware=host.firmware._replace(sha256=digest))


def _console(host: Host, offered: Offers) -> Iterator[Host]:
    for console in (Console(), Console(True, 1, (0x3F8,)), Console(False, 0, (0x3F8,)), Console(False, 0, ())):
        yield host._replace(console=console)


def _direct_boot(host: Host, offered: Offers) -> Iterator[Host]:
    for direct in (None, DirectBoot(), DirectBoot("stubsim.another")):
        yield host._replace(direct_boot=direct)


# One of each proposal: they also differ in what becomes of a machine that cannot take the firmware.
_DEVICES = (
    VmFwUpdate("qemu-v5", 0x88, 4 << 20),
    VmFwUpdate("spec", 0, 4 << 20),
    VmFwUpdate("fuki-2024", 0x89, 4 << 20),
)


def _device(host: Host, offered: Offers) -> Iterator[Host]:
    whole = host.fw_cfg or FwCfg()
    for device in (None, *_DEVICES):
        yield host._replace(fw_cfg=whole._replace(vmfwupdate=device))


def _of_device(**values: Sequence[Any]) -> _Class:
    def replaced(host: Host, offered: Offers) -> Iterator[Host]:
        device = None if host.fw_cfg is None else host.fw_cfg.vmfwupdate
        if host.fw_cfg is not None and device is not None:
            for key, others in values.items():
                for other in others:
                    yield host._replace(fw_cfg=host.fw_cfg._replace(vmfwupdate=device._replace(**{key: other})))

    return replaced


def _fw_cfg(host: Host, offered: Offers) -> Iterator[Host]:
    yield host._replace(fw_cfg=None)
    yield from _device(host, offered)


def _tpm(host: Host, offered: Offers) -> Iterator[Host]:
    yield host._replace(tpm=None)
    yield from _banks(host._replace(tpm=("sha256",)), offered)


def _banks(host: Host, offered: Offers) -> Iterator[Host]:
    if host.tpm is not None:
        yield host
        yield host._replace(tpm=("sha1", "sha256", "sha384", "sha512"))


def _variables(host: Host, offered: Offers) -> Iterator[Host]:
    """What systemd-boot leaves; a token and a secret of earlier boots; a secret that the stub refuses; nothing."""
    by_loader = {
        "LoaderFeatures": b"\xff" * 8,
        "LoaderPcrSMBIOS": "1\0".encode("utf-16-le"),
        **{name: "another\0".encode("utf-16-le") for name in _EXPORTED},
    }
    earlier = {"LoaderSystemToken": bytes(32), "LoaderBootSecret": bytes(32)}
    refused = {"LoaderSystemToken": bytes(32), "LoaderBootSecret": bytes(31)}
    for given in (by_loader, earlier, refused, {}):
        rows = (Variable(name, LOADER, _ATTRIBUTES.get(name, 0x6), data) for name, data in given.items())
        yield host._replace(variables=tuple(rows))


# Volatile but for these; the boot secret is for boot services only.
_ATTRIBUTES = {"LoaderSystemToken": 0x7, "LoaderBootSecret": 0x3}
_EXPORTED = (
    "LoaderDevicePartUUID", "LoaderImageIdentifier", "LoaderFirmwareInfo", "LoaderFirmwareType",
    "LoaderTpm2ActivePcrBanks", "LoaderKeyboardLayout",
)  # fmt: skip


def _oem_strings(host: Host, offered: Offers) -> Iterator[Host]:
    """None that a stub reads; both that it does."""
    extra = (b"io.systemd.stub.kernel-cmdline-extra=stubsim.another", b"io.systemd.boot.loglevel=debug")
    yield host._replace(oem_strings=())
    yield host._replace(oem_strings=extra)


def _structures(host: Host, offered: Offers) -> Iterator[Host]:
    """A table with what a stub measures, and one without."""
    system = smbios.Structure(1, 1, bytes(27), (), bytes(29), 0)
    yield from _oem_strings(host, offered)
    yield host._replace(structures=())
    yield host._replace(structures=(system,))


def _architecture(host: Host, offered: Offers) -> Iterator[Host]:
    for name in (None, "aa64" if offered.machine != "aa64" else "x64"):
        yield host._replace(architecture=name)


_CLASSES: dict[str, _Class] = {
    "smbios": _oem_strings,
    "smbios.oem_strings": _oem_strings,
    "smbios_table": _structures,
    # These are told by their CHIDs alone.
    **{f"smbios.{field}": (lambda host, offered: ()) for field in smbios.Fields._fields},
    "edid": lambda host, offered: (),
    "devicetree": _devicetree,
    "devicetree_fixup": _devicetree_fixup,
    # Of more than the pages that another one leaves room in.
    "previous_initrd": _each("previous_initrd", None, bytes(1 << 16)),
    "architecture": _architecture,
    "memory": _each("memory", *_MEMORY),
    "hypervisor": _each("hypervisor", False, True),
    "confidential": _each("confidential", None, "sev-snp", "tdx"),
    "secure_boot": _each("secure_boot", False, True),
    "tpm": _tpm,
    "tpm.banks": _banks,
    "rng": _each("rng", False, True),
    "variables": _variables,
    "boot_secret": _each("boot_secret", None, bytes(32)),
    "keyboard_layout": _each("keyboard_layout", None, "en-US"),
    "esp_partition_uuid": _each("esp_partition_uuid", None, UUID("5eed0e5b-1ab0-4000-8000-000000000001")),
    "xbootldr_partition_uuid": _each("xbootldr_partition_uuid", None, UUID("5eed0e5b-1ab0-4000-8000-000000000002")),
    "console": _console,
    "direct_boot": _direct_boot,
    "console.graphics": _part_of("console", graphics=(False, True)),
    "console.virtio": _part_of("console", virtio=(0, 1)),
    "console.serial": _part_of("console", serial=((), (0x3F8,))),
    "fw_cfg": _fw_cfg,
    "fw_cfg.dma": _part_of("fw_cfg", dma=(False, True)),
    "fw_cfg.legacy_order": _part_of("fw_cfg", legacy_order=(False, True)),
    "fw_cfg.slots": _part_of("fw_cfg", slots=(16, 32)),
    "fw_cfg.vmfwupdate": _device,
    "fw_cfg.vmfwupdate.dialect": _of_device(dialect=("qemu-v5", "spec", "fuki-2024")),
    "fw_cfg.vmfwupdate.cap": _of_device(cap=(0, 0x88, 0x89)),
    "fw_cfg.vmfwupdate.bios_size": _of_device(bios_size=(0, 16 << 20)),
    "fw_cfg.vmfwupdate.disabled": _of_device(disabled=(False, True)),
    "firmware": _firmware,
    "firmware.vendor": _part_of("firmware", vendor=("Another", *VENDORS)),
    "firmware.revision": _part_of("firmware", revision=(0x20000,)),
    "firmware.uefi_revision": _part_of("firmware", uefi_revision=(0x20000, 0x20064)),
    "firmware.sha256": _firmware_sha256,
    "firmware.pflash": _part_of("firmware", pflash=(False, True)),
    "firmware.capsules": _part_of("firmware", capsules=(None, Capsules(1 << 12), Capsules(1 << 40))),
}
