"""systemd-boot from its start to the start of an entry's image, in its own order (boot.c, run and image_start)."""

from __future__ import annotations

from collections.abc import Callable

from stubsim.extent import Bytes
from stubsim.formats.efi_string import decode_utf8, from_utf16, utf16z
from stubsim.formats.uefi_status import GNU_EFI_TEXTS, TEXTS
from stubsim.hosts import Host
from stubsim.loader import handing_on
from stubsim.loader.config import DISABLED, FORCED, HIDDEN, SAVED, Config, timeout_of
from stubsim.loader.entries import Entries, Wanted
from stubsim.loader.entry import LINUX, TYPE2, UKI, Entry
from stubsim.loader.image import Loader
from stubsim.loader.menu import Menu, Partitions, text_of
from stubsim.loader.releases import LoaderModel, release_of
from stubsim.rows import NamedTuple
from stubsim.systemd.measure import (
    PCR_BOOT_LOADER_CONFIG,
    PCR_KERNEL_CONFIG,
    PCR_OF_LINUX,
    PCR_PLATFORM_CONFIG,
    PCR_SYSTEM_EXTENSIONS,
    Protocols,
    log_event,
)
from stubsim.systemd.random_seed import refresh_random_seed, renew_by_variable
from stubsim.systemd.smbios import Type1TooShortError, measure_smbios, oem_strings
from stubsim.systemd.strings import lower, parse_number
from stubsim.systemd.variables import ATTRIBUTES, export_common_variables, partition_text
from stubsim.trace import Unknown
from stubsim.uefi.boot_manager import PCR_BOOT_MANAGER
from stubsim.uefi.esp import Esp
from stubsim.uefi.loaded_image import ProgramFailed
from stubsim.uefi.services import Services
from stubsim.uefi.variables import GLOBAL, NON_VOLATILE

DRIVERS = "\\EFI\\systemd\\drivers"
# The header of a flattened devicetree of version 1, and what systemd-boot takes for too large (devicetree.c).
_FDT_MIN, _FDT_MAX = 28, 32 << 20
# Of which boots are counted, and for which the random seed is renewed.
_OF_LINUX = (LINUX, UKI, TYPE2)
_SMBIOS_TIMEOUT = b"io.systemd.boot.timeout="
# What another release may do otherwise: all but what the stub reads from its own file.
_OF_THE_LOADER = (
    "cmdline", "load_options", "initrd", "devicetree", "variables", "esp_changes", "measurements", "pcrs", "rtmrs",
)  # fmt: skip
_PCRS_OF_THE_LOADER = (
    PCR_PLATFORM_CONFIG, PCR_BOOT_MANAGER, PCR_BOOT_LOADER_CONFIG, PCR_OF_LINUX, PCR_KERNEL_CONFIG,
    PCR_SYSTEM_EXTENSIONS,
)  # fmt: skip
LOADER_CONF_EVENT_TAG = 0xF5BC582A
# What it writes itself at each boot; of a machine that it has booted they are its output.
WRITES = frozenset(
    {
        "LoaderInfo", "LoaderFeatures", "LoaderImageIdentifier", "LoaderDevicePartUUID", "LoaderFirmwareInfo",
        "LoaderFirmwareType", "LoaderTpm2ActivePcrBanks", "LoaderKeyboardLayout", "LoaderPcrSMBIOS", "LoaderEntries",
        "LoaderEntrySelected", "LoaderBootCountPath", "LoaderTimeInitUSec", "LoaderTimeMenuUSec", "LoaderTimeExecUSec",
        "LoaderRandomSeed",
    }
)  # fmt: skip


class Handed(NamedTuple):
    """What the image of the entry is given: its path, load options, and what the kernel is to find."""

    path: str
    load_options: bytes | None
    initrd: bytes | None
    devicetree: Bytes | None


def run(
    services: Services,
    menu: Menu,
    host: Host,
    entry: Entry,
    *,
    given: bytes | None,
    load_image: Callable[[str], ProgramFailed | None],
) -> Handed:
    """All that systemd-boot does before it loads the image; ``given`` are load options in place of the entry's own.

    ``load_image`` is LoadImage() of the image's path, and tells how the firmware refuses it. Raises ProgramFailed.
    """
    loader, partitions, conf, config, entries, wanted = menu
    model, esp = loader.model, partitions.esp
    protocols = Protocols(model.measures_by_cc, model.measures_tagged_events_by_cc, counts_tagged=True)
    _export_variables(services, loader, host)
    _tell_release(services, loader)
    if model.measures_smbios and services.tpm.reached(by_cc=model.measures_smbios_by_cc):
        _measure_smbios(services, protocols, host, model)
    _load_drivers(services, loader, host, esp)
    if conf is not None and model.measures_loader_conf:
        digests = services.digests.of(conf)
        log_event(services, protocols, PCR_BOOT_LOADER_CONFIG, "loader.conf", digests, tag=LOADER_CONF_EVENT_TAG)
    if _timeout_once(host, model) is not None:
        services.delete_variable("LoaderConfigTimeoutOneShot")
    services.delete_variable("LoaderEntryOneShot")
    _list_entries(services, entries, esp, host)
    if _shows_menu(menu, host):
        _set(services, "LoaderTimeMenuUSec", None)
    path = _count(services, entry, partitions, model)
    _save(services, entry, config, wanted)
    if model.renews_seed_by_variable:
        renew_by_variable(services, host, esp, config.random_seed_mode)
    elif entry.kind in _OF_LINUX or model.treats_all_as_linux:
        refresh_random_seed(
            services,
            host,
            esp,
            lambda level, message: None,
            creates=model.creates_random_seed,
            creates_folder=model.creates_loader_folder,
            by_partition=False,
        )
    if model.loads_image_first:
        _load(load_image, path, model)
    place = partitions.of(entry)
    initrd = None if model.installs_devicetree_first else _initrd(entry, place, model)
    if not model.loads_image_first:
        _load(load_image, path, model)
    devicetree = None
    if entry.devicetree is not None and (model.devicetree_under_secure_boot or not host.secure_boot):
        devicetree = _devicetree(entry.devicetree, place, host, model)
    if model.installs_devicetree_first:
        initrd = _with_extras(services, protocols, entry, place, host) or _initrd(entry, place, model)
    if initrd is not None and host.previous_initrd is not None and not model.takes_previous_initrd:
        because = "an earlier stage has registered an initrd"
        raise _failed(model, "Error registering initrd", "EFI_ALREADY_STARTED", because)
    options = given or None
    if given is None:
        text = handing_on.load_options(entry, model, place, _oem_strings(services, entry, model, host))
        options = None if text is None else utf16z(text)
    if options:
        digests = services.digests.of(options)
        log_event(services, protocols, PCR_KERNEL_CONFIG, from_utf16(options), digests)
    _set(services, "LoaderTimeExecUSec", None)
    return Handed(path, options, initrd, devicetree)


def _export_variables(services: Services, loader: Loader, host: Host) -> None:
    model = loader.model
    uuid = host.esp_partition_uuid
    partition = None if uuid is None else partition_text(uuid, model.partition_in_lower_case)
    export_common_variables(
        services,
        host,
        loader.path,
        partition,
        tpm_banks=model.exports_tpm_banks,
        keyboard_layout=model.exports_keyboard_layout,
    )
    _set(services, "LoaderTimeInitUSec", None)
    _set(services, "LoaderInfo", f"systemd-boot {loader.version}")
    services.set_variable("LoaderFeatures", model.features.to_bytes(8, "little"), ATTRIBUTES)


def _tell_release(services: Services, loader: Loader) -> None:
    if release_of(loader.version) is None:
        what = f"what systemd-boot {loader.version} does otherwise than {loader.model.release}"
        services.emit(Unknown(what, "its rules are not known", _OF_THE_LOADER, _PCRS_OF_THE_LOADER))


def _measure_smbios(services: Services, protocols: Protocols, host: Host, model: LoaderModel) -> None:
    """Raises ProgramFailed where it halts."""
    try:
        measure_smbios(services, protocols, host, checks_length=model.checks_smbios_length)
    except Type1TooShortError:
        because = "the SMBIOS structure of type 1 has less than 27 bytes with its strings"
        raise ProgramFailed("systemd-boot halts at an assertion", None, because) from None


def _with_extras(services: Services, protocols: Protocols, entry: Entry, esp: Esp, host: Host) -> bytes | None:
    """The initrd of the entry's extra files, each kind measured by itself, behind that of an earlier stage.

    None: there are no such files.
    """
    archives = handing_on.extras(entry, esp)
    for kind, parts in archives:
        log_event(services, protocols, kind.pcr, kind.description, services.digests.of_parts(parts))
    if not archives:
        return None
    previous = host.previous_initrd or b""
    pieces = [previous, bytes(-len(previous) % 4), *(bytes(part) for _, parts in archives for part in parts)]
    return b"".join(pieces)


def _load_drivers(services: Services, loader: Loader, host: Host, esp: Esp) -> None:
    """Each driver of its folder is loaded, and so measured (drivers.c); what is no driver is unloaded again."""
    ending = f"{loader.image.machine}.efi"
    for file in sorted(esp.folder(DRIVERS) or ()):
        if file[:1] != "." and lower(file).endswith(ending):
            services.load_image(esp, f"{DRIVERS}\\{file}", loader.image.machine, secure_boot=host.secure_boot)


def _list_entries(services: Services, entries: Entries, esp: Esp, host: Host) -> None:
    """Raises ProgramFailed where it halts at one of them."""
    if entries.fatal is not None:
        because = f"{entries.fatal.file} has {entries.fatal.why}"
        raise ProgramFailed("systemd-boot halts at an assertion", None, because)
    _set(services, "LoaderEntries", "\0".join(row.id for row in entries.entries))
    for why in entries.open_ended:
        services.unknown("how entries are sorted and what they are called", why, "variables")
    if _has_keys(esp, host):
        why = "whether it is in setup mode: then systemd-boot lists the keys of loader/keys, or enrols them"
        services.unknown("LoaderEntries", why, "variables")


def _has_keys(esp: Esp, host: Host) -> bool:
    """Whether the firmware may be in setup mode, in which keys of the partition are entries."""
    if host.secure_boot or not esp.folders("\\loader\\keys"):
        return False
    mode = next((row.data for row in host.variables if (row.name, row.guid) == ("SetupMode", GLOBAL)), None)
    return mode is None or mode[:1] != b"\0"


def _shows_menu(menu: Menu, host: Host) -> bool:
    """Of all that give a timeout the last one counts, and one for this boot alone leads to a menu in any case."""
    if _timeout_once(host, menu.loader.model) is not None:
        return True
    given = (_timeout_by_smbios(host, menu.loader.model), _timeout_by(host, "LoaderConfigTimeout", menu.loader.model))
    timeout = next((seconds for seconds in given if seconds is not None), menu.config.timeout)
    return timeout not in (HIDDEN, DISABLED) or (timeout == HIDDEN and not menu.selects)


def _timeout_once(host: Host, model: LoaderModel) -> int | None:
    return _timeout_by(host, "LoaderConfigTimeoutOneShot", model)


def _timeout_by(host: Host, variable: str, model: LoaderModel) -> int | None:
    """The largest one stands for all larger numbers in a variable."""
    text = text_of(host, variable, model) or ""
    number, tail = parse_number(text)
    if number is not None and not tail:
        return min(number, FORCED)
    return timeout_of(text, model)


def _timeout_by_smbios(host: Host, model: LoaderModel) -> int | None:
    """Nobody asks the host of a confidential guest."""
    if not model.reads_smbios_timeout or host.confidential is not None:
        return None
    found = next((text for text in host.oem_strings if text.startswith(_SMBIOS_TIMEOUT)), None)
    return None if found is None else timeout_of(decode_utf8(found.removeprefix(_SMBIOS_TIMEOUT)), model)


def _load(load_image: Callable[[str], ProgramFailed | None], path: str, model: LoaderModel) -> None:
    refused = load_image(path)
    if refused is not None:
        what = "Error loading EFI binary" if model.loads_image_first else "Error loading"
        raise _failed(model, f"{what} {path}", refused.status or "EFI_LOAD_ERROR", refused.because)


def _initrd(entry: Entry, esp: Esp, model: LoaderModel) -> bytes | None:
    pieces = handing_on.initrd(entry, esp, model)
    if isinstance(pieces, str):
        raise _failed(model, "Error preparing initrd", "EFI_NOT_FOUND", f"there is no {pieces} on the partition")
    if pieces == [] and model.halts_at_empty_initrds:
        raise ProgramFailed("systemd-boot halts at an assertion", None, "it asks for no pages for files that are empty")
    # One of no bytes is not registered.
    return b"".join(bytes(piece) for piece in pieces or ()) or None


def _devicetree(path: str, esp: Esp, host: Host, model: LoaderModel) -> Bytes:
    """The tree that is installed (devicetree_install); raises ProgramFailed, without one the entry is not started."""
    if model.needs_firmware_devicetree and host.devicetree is None:
        because = "the firmware has no devicetree that it could take the place of"
        raise _failed(model, f"Error loading {path}", "EFI_UNSUPPORTED", because)
    tree = esp.read(path)
    if tree is None:
        raise _failed(model, f"Error loading {path}", "EFI_NOT_FOUND")
    if not _FDT_MIN <= len(tree) <= _FDT_MAX:
        because = f"{path} has {len(tree)} bytes, a devicetree {_FDT_MIN} to {_FDT_MAX}"
        raise _failed(model, f"Error loading {path}", "EFI_INVALID_PARAMETER", because)
    return tree


def _failed(model: LoaderModel, what: str, status: str, because: str | None = None) -> ProgramFailed:
    texts = GNU_EFI_TEXTS if model.prints_gnu_efi_status else TEXTS
    return ProgramFailed(f"{what}: {texts[status]}", status, because)


def _save(services: Services, entry: Entry, config: Config, wanted: Wanted) -> None:
    """LoaderEntrySelected, and for @saved the entry that was booted last (save_selected_entry)."""
    _set(services, "LoaderEntrySelected", entry.id)
    if wanted.one_shot is not None and lower(wanted.one_shot) == entry.id:
        return
    by_variable = None if wanted.default is None else lower(wanted.default)
    if SAVED not in (by_variable, config.default if by_variable is None else None):
        services.delete_variable("LoaderEntryLastBooted")
    elif wanted.last != entry.id:
        services.set_variable("LoaderEntryLastBooted", utf16z(entry.id), ATTRIBUTES | NON_VOLATILE)


def _set(services: Services, name: str, text: str | None) -> None:
    """Text, or a time, which only the clock knows."""
    services.set_variable(name, None if text is None else utf16z(text), ATTRIBUTES, 2)


def _count(services: Services, entry: Entry, partitions: Partitions, model: LoaderModel) -> str:
    """The path of the image, after one more try was put down in the name of the entry's file."""
    assert entry.loader is not None
    if entry.tries is None or not (entry.kind in _OF_LINUX or model.treats_all_as_linux):
        return entry.loader
    esp = partitions.of(entry) if model.counts_on_own_partition else partitions.esp
    before, after = (f"{entry.tries.directory}\\{name}" for name in (entry.tries.current, entry.tries.next))
    there = esp.read(before)
    if there is None or esp.read(after) is not None:
        # Where systemd-boot looks on the wrong partition, and where FAT has a file of the new name (EFI_ACCESS_DENIED).
        return entry.loader
    services.rename(before, after, len(there))
    _set(services, "LoaderBootCountPath", after)
    return after if entry.kind == TYPE2 else entry.loader


def _oem_strings(services: Services, entry: Entry, model: LoaderModel, host: Host) -> tuple[bytes, ...]:
    """Those of SMBIOS that it reads for the load options; none in a confidential guest."""
    if host.confidential is not None or not model.appends_smbios_extra:
        return ()
    found = oem_strings(host, skips_absent_strings=model.skips_absent_smbios_strings)
    if (
        found is None
        and entry.kind == LINUX
        and any(row.startswith(handing_on.SMBIOS_EXTRA) for row in host.oem_strings)
    ):
        why = "it loses its way behind a structure without strings, and the host file has no whole table (smbios_table)"
        affects = ("cmdline", "load_options", "measurements", "pcrs", "rtmrs")
        registers = (PCR_OF_LINUX, PCR_KERNEL_CONFIG)
        services.emit(Unknown("whether systemd-boot finds the line from SMBIOS", why, affects, registers))
    return host.oem_strings if found is None else found
