"""systemd-boot from its start to the start of an entry's image, in its own order (boot.c, run and image_start)."""

from __future__ import annotations

from collections.abc import Callable

from stubsim.errors import StubsimError
from stubsim.extent import Bytes
from stubsim.formats import pe
from stubsim.formats.efi_string import from_utf16, utf16z
from stubsim.formats.uefi_status import GNU_EFI_TEXTS, TEXTS
from stubsim.hosts import Host
from stubsim.loader import config as loader_conf
from stubsim.loader import handing_on
from stubsim.loader.config import SAVED
from stubsim.loader.entries import Entries, Wanted, all_entries, default_entry, find, loader_version
from stubsim.loader.entry import EFI, ESP, TYPE2, Entry
from stubsim.loader.releases import LoaderModel, model_of, release_of
from stubsim.rows import NamedTuple
from stubsim.systemd.measure import PCR_BOOT_LOADER_CONFIG, PCR_KERNEL_CONFIG, Protocols, log_event
from stubsim.systemd.random_seed import refresh_random_seed
from stubsim.systemd.smbios import Type1TooShortError, measure_smbios
from stubsim.systemd.strings import lower
from stubsim.systemd.variables import ATTRIBUTES, export_common_variables
from stubsim.uefi.esp import Esp, same_name
from stubsim.uefi.image_path import usual_boot_file
from stubsim.uefi.loaded_image import ProgramFailed
from stubsim.uefi.services import Services
from stubsim.uefi.variables import GLOBAL, LOADER, NON_VOLATILE
from stubsim.uki import Uki

LOADER_CONF = "\\loader\\loader.conf"
DRIVERS = "\\EFI\\systemd\\drivers"
LOADER_CONF_EVENT_TAG = 0xF5BC582A
# What it writes itself at each boot; of a machine that it has booted they are its output.
WRITES = frozenset(
    {
        "LoaderInfo", "LoaderFeatures", "LoaderImageIdentifier", "LoaderDevicePartUUID", "LoaderFirmwareInfo",
        "LoaderFirmwareType", "LoaderTpm2ActivePcrBanks", "LoaderKeyboardLayout", "LoaderPcrSMBIOS", "LoaderEntries",
        "LoaderEntrySelected", "LoaderBootCountPath", "LoaderTimeInitUSec", "LoaderTimeMenuUSec", "LoaderTimeExecUSec",
    }
)  # fmt: skip
_FIRMWARE_SETUP = 1


class Loader(NamedTuple):
    """systemd-boot as it lies on the partition that the firmware starts it from."""

    image: Uki
    path: str
    version: str

    @property
    def model(self) -> LoaderModel:
        return model_of(self.version)


class Handed(NamedTuple):
    """What the image of the entry is given: its path, load options, and what the kernel is to find."""

    entry: Entry
    path: str
    load_options: bytes | None
    initrd: bytes | None
    devicetree: Bytes | None


class Partitions(NamedTuple):
    """The one that systemd-boot was started from, and the one beside it."""

    esp: Esp
    xbootldr: Esp | None

    def of(self, entry: Entry) -> Esp:
        return self.esp if entry.partition == ESP or self.xbootldr is None else self.xbootldr


def find_loader(esp: Esp, machine: str, boot_file: str | None) -> Loader | None:
    """What the firmware starts from a partition, where that is systemd-boot. Raises StubsimError for no such file."""
    usual = (usual_boot_file(machine), f"\\EFI\\systemd\\systemd-boot{machine}.efi")
    for path in usual if boot_file is None else (boot_file,):
        data = esp.read(path)
        if data is None:
            continue
        try:
            image = Uki(pe.open_bytes(data, path))
        except StubsimError:
            return None
        version = loader_version(image)
        return None if version is None else Loader(image, path, version)
    if boot_file is not None:
        raise StubsimError("no such file on the partition", path=boot_file, expected="what the firmware starts")
    return None


def entries_of(loader: Loader, host: Host, esp: Esp, xbootldr: Esp | None) -> Entries:
    """All entries, as LoaderEntries has them; nothing is measured."""
    oem_strings = () if host.confidential is not None else host.oem_strings
    return all_entries(
        loader.model,
        _config(loader, esp),
        esp=esp,
        xbootldr=xbootldr,
        version=loader.version,
        machine=loader.image.machine,
        own_path=loader.path,
        oem_strings=oem_strings,
        firmware_setup=offers_setup(host) is not False,
    )


def default_of(loader: Loader, host: Host, entries: Entries, esp: Esp) -> Entry | None:
    """The entry that is started when nobody chooses."""
    return default_entry(entries.entries, _config(loader, esp), _wanted(host), loader.model)


def offers_setup(host: Host) -> bool | None:
    """Whether the firmware can be told to start its set-up; None where the host file does not have the variable."""
    for row in host.variables:
        if (row.name, row.guid) == ("OsIndicationsSupported", GLOBAL):
            return bool(row.data[:1] and row.data[0] & _FIRMWARE_SETUP)
    return None


def choose(
    loader: Loader, host: Host, entries: Entries, esp: Esp, *, wanted: str | None, path: str | None, profile: int
) -> Entry:
    """The entry asked for by its id, or "default", or that of an image by its path. Raises StubsimError for none."""
    rows = [row for row in entries.entries if row.loader is not None]
    if wanted == "default":
        chosen = default_of(loader, host, entries, esp)
        if chosen is None or chosen.loader is None:
            raise StubsimError("systemd-boot has no entry to start", expected="an entry that names an image")
        return chosen
    if wanted is not None:
        chosen = find(rows, wanted) or find(rows, f"{wanted}.conf") or find(rows, f"{wanted}.efi")
        if chosen is None:
            raise _no_entry(wanted, entries)
        return chosen
    named = [row for row in rows if row.partition == ESP and path is not None and same_name(row.loader or "", path)]
    own = [row for row in named if row.kind == TYPE2 and row.profile == profile] or [
        row for row in named if row.kind == TYPE2 and row.profile == 0
    ]
    found = own or named
    if len(found) > 1:
        raise StubsimError(f"{' and '.join(row.id for row in found)} start {path}", expected="one of them (--entry)")
    if not found:
        raise StubsimError(f"systemd-boot has no entry for {path}", expected="an entry (--entry), or --loader none")
    return found[0]


def _no_entry(wanted: str, entries: Entries) -> StubsimError:
    from difflib import get_close_matches

    hidden = next((row for row in entries.hidden if (row.file or "").lower().endswith(wanted.lower())), None)
    if hidden is not None:
        return StubsimError(f"{wanted} is no entry to systemd-boot: {hidden.why}", expected="an entry that it lists")
    ids = [row.id for row in entries.entries]
    near = get_close_matches(wanted, ids, 1)
    hint = f"did you mean {near[0]}?" if near else None
    return StubsimError(f"no entry matches {wanted!r}", expected=", ".join(ids) or "there are none", hint=hint)


def run(
    services: Services,
    loader: Loader,
    host: Host,
    partitions: Partitions,
    entry: Entry,
    *,
    given: bytes | None,
    load_image: Callable[[str], ProgramFailed | None],
) -> Handed:
    """All that systemd-boot does before it loads the image; ``given`` are load options in place of the entry's own.

    ``load_image`` is LoadImage() of the image's path, and tells how the firmware refuses it. Raises ProgramFailed.
    """
    model, esp = loader.model, partitions.esp
    protocols = Protocols(model.measures_by_cc, model.measures_tagged_events_by_cc, counts_tagged=True)
    _export_variables(services, loader, host)
    _tell_release(services, loader)
    if model.measures_smbios and services.tpm.reached(by_cc=model.measures_smbios_by_cc):
        _measure_smbios(services, protocols, host, model)
    _load_drivers(services, loader, host, esp)
    conf = esp.read(LOADER_CONF)
    if conf is not None and model.measures_loader_conf:
        digests = services.digests.of(conf)
        log_event(services, protocols, PCR_BOOT_LOADER_CONFIG, "loader.conf", digests, tag=LOADER_CONF_EVENT_TAG)
    config, wanted = _config(loader, esp), _wanted(host)
    for name in ("LoaderConfigTimeoutOneShot", "LoaderEntryOneShot"):
        services.delete_variable(name)
    entries = entries_of(loader, host, esp, partitions.xbootldr)
    _set(services, "LoaderEntries", "\0".join(row.id for row in entries.entries))
    if _has_keys(esp, host):
        why = "whether it is in setup mode: then systemd-boot lists the keys of loader/keys, or enrols them"
        services.unknown("LoaderEntries", why, "variables")
    if _shows_menu(config, host):
        _set(services, "LoaderTimeMenuUSec", None)
    path = _count(services, entry, partitions, model)
    _save(services, entry, config, wanted)
    if entry.kind != EFI or model.treats_efi_as_linux:
        refresh_random_seed(
            services,
            host,
            esp,
            lambda level, message: None,
            creates=model.creates_random_seed,
            creates_folder=model.creates_loader_folder,
        )
    if model.loads_image_first:
        _load(load_image, path, model)
    initrd = _initrd(entry, partitions.of(entry), model)
    if not model.loads_image_first:
        _load(load_image, path, model)
    devicetree = None
    if entry.devicetree is not None and (model.devicetree_under_secure_boot or not host.secure_boot):
        devicetree = partitions.of(entry).read(entry.devicetree)
        if devicetree is None:
            raise _failed(model, f"Error loading {entry.devicetree}", "EFI_NOT_FOUND")
    initrd = _with_extras(services, protocols, entry, partitions.of(entry)) or initrd
    options = _load_options(entry, model, partitions.of(entry), host, given)
    if options:
        digests = services.digests.of(options)
        log_event(services, protocols, PCR_KERNEL_CONFIG, from_utf16(options), digests)
    _set(services, "LoaderTimeExecUSec", None)
    return Handed(entry, path, options, initrd, devicetree)


def _export_variables(services: Services, loader: Loader, host: Host) -> None:
    model = loader.model
    partition = None if host.esp_partition_uuid is None else str(host.esp_partition_uuid).upper()
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
        services.unknown(
            f"what systemd-boot {loader.version} does otherwise than {loader.model.release}",
            "its rules are not known",
            "cmdline", "initrd", "variables", "esp_changes", "measurements", "pcrs", "rtmrs",
        )  # fmt: skip


def _measure_smbios(services: Services, protocols: Protocols, host: Host, model: LoaderModel) -> None:
    """Raises ProgramFailed where it halts."""
    try:
        measure_smbios(services, protocols, host, checks_length=model.checks_smbios_length)
    except Type1TooShortError:
        because = "the SMBIOS structure of type 1 has less than 27 bytes with its strings"
        raise ProgramFailed("systemd-boot halts at an assertion", None, because) from None


def _with_extras(services: Services, protocols: Protocols, entry: Entry, esp: Esp) -> bytes | None:
    """The initrd of the entry's extra files, each kind measured by itself; None: there are none."""
    archives = handing_on.extras(entry, esp)
    for kind, parts in archives:
        log_event(services, protocols, kind.pcr, kind.description, services.digests.of_parts(parts))
    return b"".join(bytes(part) for _, parts in archives for part in parts) if archives else None


def _load_drivers(services: Services, loader: Loader, host: Host, esp: Esp) -> None:
    """Each driver of its folder is loaded, and so measured (drivers.c); what is no driver is unloaded again."""
    ending = f"{loader.image.machine}.efi"
    for file in sorted(esp.folder(DRIVERS) or ()):
        if file[:1] != "." and lower(file).endswith(ending):
            services.load_image(esp, f"{DRIVERS}\\{file}", loader.image.machine, secure_boot=host.secure_boot)


def _has_keys(esp: Esp, host: Host) -> bool:
    """Whether the firmware may be in setup mode, in which keys of the partition are entries."""
    if host.secure_boot or not esp.folders("\\loader\\keys"):
        return False
    mode = next((row.data for row in host.variables if (row.name, row.guid) == ("SetupMode", GLOBAL)), None)
    return mode is None or mode[:1] != b"\0"


def _shows_menu(config: loader_conf.Config, host: Host) -> bool:
    texts = {row.name: from_utf16(row.data) for row in host.variables if row.guid == LOADER}
    if "LoaderConfigTimeoutOneShot" in texts:
        return True
    by_variable = loader_conf.shows_menu(texts.get("LoaderConfigTimeout", ""))
    return config.menu if by_variable is None else by_variable


def _load(load_image: Callable[[str], ProgramFailed | None], path: str, model: LoaderModel) -> None:
    refused = load_image(path)
    if refused is not None:
        what = "Error loading EFI binary" if model.loads_image_first else "Error loading"
        raise _failed(model, f"{what} {path}", refused.status or "EFI_LOAD_ERROR", refused.because)


def _initrd(entry: Entry, esp: Esp, model: LoaderModel) -> bytes | None:
    pieces = handing_on.initrd(entry, esp, model)
    if isinstance(pieces, str):
        raise _failed(model, "Error preparing initrd", "EFI_NOT_FOUND", f"there is no {pieces} on the partition")
    return None if pieces is None else b"".join(bytes(piece) for piece in pieces)


def _failed(model: LoaderModel, what: str, status: str, because: str | None = None) -> ProgramFailed:
    texts = GNU_EFI_TEXTS if model.prints_gnu_efi_status else TEXTS
    return ProgramFailed(f"{what}: {texts[status]}", status, because)


def _save(services: Services, entry: Entry, config: loader_conf.Config, wanted: Wanted) -> None:
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
    if entry.tries is None or (entry.kind == EFI and not model.treats_efi_as_linux):
        return entry.loader
    esp = partitions.of(entry) if model.counts_on_own_partition else partitions.esp
    before, after = (f"{entry.tries.directory}\\{name}" for name in (entry.tries.current, entry.tries.next))
    there = esp.read(before)
    if there is None:
        # Where systemd-boot looks on the wrong partition.
        return entry.loader
    services.rename(before, after, len(there))
    _set(services, "LoaderBootCountPath", after)
    return after if entry.kind == TYPE2 else entry.loader


def _load_options(entry: Entry, model: LoaderModel, esp: Esp, host: Host, given: bytes | None) -> bytes | None:
    if given is not None:
        return given or None
    text = handing_on.load_options(entry, model, esp, () if host.confidential is not None else host.oem_strings)
    return None if text is None else utf16z(text)


def _config(loader: Loader, esp: Esp) -> loader_conf.Config:
    content = esp.read(LOADER_CONF)
    return loader_conf.parse(bytes(content or b""), takes_preferred=loader.model.prefers_entry)


def _wanted(host: Host) -> Wanted:
    texts = {row.name: from_utf16(row.data) for row in host.variables if row.guid == LOADER}
    return Wanted(
        one_shot=texts.get("LoaderEntryOneShot"),
        preferred=texts.get("LoaderEntryPreferred"),
        default=texts.get("LoaderEntryDefault"),
        last=texts.get("LoaderEntryLastBooted"),
    )
