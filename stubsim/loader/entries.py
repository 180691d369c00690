"""All entries of a machine in systemd-boot's order, and which one it takes (config_load_all_entries)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cmp_to_key, partial
from typing import Any

from stubsim.formats.efi_string import decode_utf8
from stubsim.loader import type1, type2
from stubsim.loader.config import SAVED, Config
from stubsim.loader.entry import ACTION, AUTO, ESP, XBOOTLDR, Entry, Fatal, Hidden
from stubsim.loader.image import loader_version
from stubsim.loader.releases import LoaderModel
from stubsim.rows import NamedTuple
from stubsim.systemd.pattern import matches
from stubsim.systemd.strings import lower
from stubsim.systemd.version_order import compare_versions
from stubsim.uefi.esp import Esp

_SMBIOS_ENTRY = b"io.systemd.boot.entries-extra:"
# What is looked for behind the entries of its own, in this order; {} is the architecture. macOS is looked for on each
# file system of the machine, the others on systemd-boot's own.
_MACOS = ("auto-osx", "macOS", "\\System\\Library\\CoreServices\\boot.efi")
_AUTO_LOADERS = (
    _MACOS,
    ("auto-windows", "Windows Boot Manager", "\\EFI\\Microsoft\\Boot\\bootmgfw.efi"),
    ("auto-efi-shell", "EFI Shell", "\\shell{}.efi"),
)
_DEFAULT_LOADER, _GRUB = "\\EFI\\BOOT\\BOOT{}.efi", "\\EFI\\BOOT\\GRUB{}.EFI"


class Entries(NamedTuple):
    """``entries`` as LoaderEntries names them, ``hidden`` what looks like an entry and is none.

    ``fatal`` is the file at which systemd-boot halts before it has any of them.
    """

    entries: tuple[Entry, ...]
    hidden: tuple[Hidden, ...]
    fatal: Fatal | None = None

    @property
    def open_ended(self) -> list[str]:
        """What of the entries is not read from their files."""
        return [
            f"the last value in {row.open_ended} of {row.file} is what lies in memory behind it (taken to be nothing)"
            for row in self.entries
            if row.open_ended is not None
        ]


class Wanted(NamedTuple):
    """Which entries the variables ask for, as read: one boot only, preferred, by default, the one booted last."""

    one_shot: str | None = None
    preferred: str | None = None
    default: str | None = None
    last: str | None = None


def all_entries(
    model: LoaderModel,
    config: Config,
    *,
    esp: Esp,
    xbootldr: Esp | None,
    version: str,
    machine: str,
    own_path: str | None,
    oem_strings: Sequence[bytes] = (),
    firmware_setup: bool = True,
) -> Entries:
    """Every entry there is, sorted, then what systemd-boot adds by itself.

    ``version`` and ``own_path`` are systemd-boot's own; there is no path where it was not started from the partition.
    ``oem_strings`` are those of SMBIOS that it may read (none in a confidential guest); ``firmware_setup`` whether the
    firmware offers to start its set-up (OsIndicationsSupported). macOS is looked for on the partitions given only.
    """
    found: list[Entry | Hidden | Fatal] = []
    found += _unified(esp, ESP, model, machine)
    found += _written(esp, ESP, model, machine, own_path)
    if xbootldr is not None:
        found += _unified(xbootldr, XBOOTLDR, model, machine)
        found += _written(xbootldr, XBOOTLDR, model, machine, None)
    if model.reads_smbios_entries:
        found += _from_smbios(esp, model, machine, own_path, oem_strings)
    own = sorted((row for row in found if isinstance(row, Entry)), key=cmp_to_key(partial(compare, model=model)))
    if not model.adds_power_entries:
        config = config._replace(auto_poweroff=False, auto_reboot=False)
    added = _added(config, esp, xbootldr, version, machine, own_path=own_path, firmware_setup=firmware_setup)
    hidden = tuple(row for row in found if isinstance(row, Hidden))
    return Entries((*own, *added), hidden, next((row for row in found if isinstance(row, Fatal)), None))


def compare(a: Entry, b: Entry, model: LoaderModel) -> int:
    """The order of the menu (boot_entry_compare): exhausted ones last, newer versions first."""
    if order := _compare(_exhausted(a), _exhausted(b)):
        return order
    if order := _compare(a.sort_key is None, b.sort_key is None):
        return order
    if a.sort_key is not None and b.sort_key is not None:
        order = _compare(a.sort_key, b.sort_key) or _compare_optional(a.machine_id, b.machine_id)
        order = order or -compare_versions(a.version, b.version)
        if order := order or (_compare(a.profile, b.profile) if model.sorts_versions_by_profile else 0):
            return order
    if order := -compare_versions(a.id_without_profile or a.id, b.id_without_profile or b.id):
        return order
    if a.id_without_profile and b.id_without_profile and (order := _compare(a.profile, b.profile)):
        return order
    if a.tries is None or b.tries is None:
        return 0
    return -_compare(a.tries.left, b.tries.left) or _compare(a.tries.done, b.tries.done)


def default_entry(entries: Sequence[Entry], config: Config, wanted: Wanted, model: LoaderModel) -> Entry | None:
    """The entry that is started when nobody chooses; None where there is none.

    Where none can be selected, it is the first, behind a menu (recorded: systemd-boot 262.1 with profile in the only
    Type #1 entry).
    """
    return selected_entry(entries, config, wanted, model) or next(iter(entries), None)


def selected_entry(entries: Sequence[Entry], config: Config, wanted: Wanted, model: LoaderModel) -> Entry | None:
    """The entry that systemd-boot takes by itself; None: there is none that it may.

    Patterns name the first entry that they match, in the order of config_select_default_entry: the variable for one
    boot, the preferred entry by variable, then by loader.conf, the default by both, else the first of systemd-boot's
    own. What is preferred has to have tries left.
    """
    if (chosen := _first(entries, wanted.one_shot)) is not None:
        return chosen
    if model.prefers_entry:
        able = [entry for entry in entries if not _exhausted(entry)]
        if (chosen := _by_both(able, wanted.preferred, config.preferred, wanted.last)) is not None:
            return chosen
    if (chosen := _by_both(entries, wanted.default, config.default, wanted.last)) is not None:
        return chosen
    return next((row for row in entries if row.may_be_selected and (model.may_select_profile or not row.profile)), None)


def _by_both(entries: Sequence[Entry], variable: str | None, in_config: str | None, last: str | None) -> Entry | None:
    """By a variable, else by loader.conf; @saved is the entry booted last, which is looked for once."""
    by_variable = None if variable is None else lower(variable)
    patterns = [last if by_variable == SAVED else by_variable]
    if in_config != SAVED:
        patterns.append(in_config)
    elif by_variable != SAVED:
        patterns.append(last)
    found = (_first(entries, pattern, folds=pattern is not last) for pattern in patterns)
    return next((entry for entry in found if entry is not None), None)


def _first(entries: Sequence[Entry], pattern: str | None, *, folds: bool = True) -> Entry | None:
    """The entry booted last is written as its id is, and so it is looked for."""
    if pattern is None:
        return None
    folded = lower(pattern) if folds else pattern
    return next((row for row in entries if matches(folded, row.id)), None)


def find(entries: Sequence[Entry], pattern: str) -> Entry | None:
    """The first entry whose id the pattern matches, without regard to case."""
    folded = lower(pattern)
    return next((entry for entry in entries if matches(folded, lower(entry.id))), None)


def _unified(esp: Esp, partition: str, model: LoaderModel, machine: str) -> list[Entry | Hidden]:
    found: list[Entry | Hidden] = []
    for file in sorted(esp.folder(type2.FOLDER) or ()):
        if not type2.valid_name(file, model):
            continue
        data = esp.read(f"{type2.FOLDER}\\{file}")
        found += type2.entries(b"" if data is None else data, file, partition, model, machine=machine)
    return found


def _written(
    esp: Esp, partition: str, model: LoaderModel, machine: str, own_path: str | None
) -> list[Entry | Hidden | Fatal]:
    found: list[Entry | Hidden | Fatal] = []
    for file in sorted(esp.folder(type1.FOLDER) or ()):
        if type1.valid_name(file, model):
            content = bytes(esp.read(f"{type1.FOLDER}\\{file}") or b"")
            found.append(
                type1.parse(content, file, partition, model, machine=machine, own_path=own_path, exists=_exists_on(esp))
            )
    return found


def _from_smbios(
    esp: Esp, model: LoaderModel, machine: str, own_path: str | None, oem_strings: Sequence[bytes]
) -> list[Entry | Hidden | Fatal]:
    found: list[Entry | Hidden | Fatal] = []
    for text in oem_strings:
        name, equals, content = text.removeprefix(_SMBIOS_ENTRY).partition(b"=")
        file = decode_utf8(name)
        if text.startswith(_SMBIOS_ENTRY) and equals and type1.valid_name(file, model):
            found.append(
                type1.parse(
                    content, file, ESP, model,
                    machine=machine, own_path=own_path, exists=_exists_on(esp), directory=None,
                )
            )  # fmt: skip
    return found


def _exists_on(esp: Esp) -> type1.Exists:
    # A folder opens as well as a file does.
    return lambda path: esp.read(path) is not None or esp.folder(path) is not None


def _added(
    config: Config,
    esp: Esp,
    xbootldr: Esp | None,
    version: str,
    machine: str,
    *,
    own_path: str | None,
    firmware_setup: bool,
) -> list[Entry]:
    added = []
    if config.auto_entries:
        for row in _AUTO_LOADERS:
            name, title, path = row
            place = path.format(machine)
            if esp.read(place) is not None:
                added.append(Entry(name, AUTO, place, place, title=title))
            elif row is _MACOS and xbootldr is not None and xbootldr.read(place) is not None:
                added.append(Entry(name, AUTO, place, place, XBOOTLDR, title=title))
        default = _DEFAULT_LOADER.format(machine)
        places = [path.format(machine) for path in (_DEFAULT_LOADER, _GRUB)]
        ours = own_path is not None and lower(default) == lower(own_path)
        if esp.read(default) is not None and not ours and not any(_is_loader(esp, path, version) for path in places):
            added.append(Entry("auto-efi-default", AUTO, default, default, title="EFI Default Loader"))
    for wanted, name, title in (
        (config.auto_firmware and firmware_setup, "auto-reboot-to-firmware-setup", "Reboot Into Firmware Interface"),
        (config.auto_poweroff, "auto-poweroff", "Power Off The System"),
        (config.auto_reboot, "auto-reboot", "Reboot The System"),
    ):
        if wanted:
            added.append(Entry(name, ACTION, None, None, title=title))
    return added


def _is_loader(esp: Esp, path: str, version: str) -> bool:
    """Whether it is systemd-boot, of the same version as the one that asks (is_sd_boot)."""
    image = esp.program(path)
    return image is not None and loader_version(image) == version


def _exhausted(entry: Entry) -> bool:
    return entry.tries is not None and entry.tries.left == 0


def _compare_optional(one: str | None, other: str | None) -> int:
    """A missing text is less than any (strcmp16 of pointers)."""
    return _compare((one is not None, one or ""), (other is not None, other or ""))


def _compare(one: Any, other: Any) -> int:
    return int(one > other) - int(one < other)
