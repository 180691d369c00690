"""What systemd-boot finds on the partition that it was started from, and which entry it takes."""

from __future__ import annotations

from stubsim.errors import StubsimError
from stubsim.extent import Extent
from stubsim.formats.efi_string import from_utf16
from stubsim.hosts import Host
from stubsim.loader.config import Config
from stubsim.loader.config import parse as config_of
from stubsim.loader.entries import Entries, Wanted, all_entries, compare, default_entry, find, selected_entry
from stubsim.loader.entry import ESP, TYPE2, Entry
from stubsim.loader.image import Loader
from stubsim.loader.releases import LoaderModel
from stubsim.rows import NamedTuple
from stubsim.uefi.esp import Esp, same_name
from stubsim.uefi.variables import GLOBAL, LOADER

_LOADER_CONF = "\\loader\\loader.conf"
_FIRMWARE_SETUP = 1


class Partitions(NamedTuple):
    """The one that systemd-boot was started from, and the one beside it."""

    esp: Esp
    xbootldr: Esp | None

    def of(self, entry: Entry) -> Esp:
        return self.esp if entry.partition == ESP or self.xbootldr is None else self.xbootldr


class Menu(NamedTuple):
    """What systemd-boot has before it shows a menu: loader.conf, all entries, and what the variables ask for."""

    loader: Loader
    partitions: Partitions
    conf: Extent | None
    config: Config
    entries: Entries
    wanted: Wanted

    @property
    def default(self) -> Entry | None:
        """The entry that is started when nobody chooses."""
        return default_entry(self.entries.entries, self.config, self.wanted, self.loader.model)

    @property
    def selects(self) -> bool:
        """Whether it takes an entry without showing a menu first."""
        return selected_entry(self.entries.entries, self.config, self.wanted, self.loader.model) is not None


def menu_of(loader: Loader, host: Host, partitions: Partitions) -> Menu:
    """Everything read, nothing measured; the entries are as LoaderEntries has them."""
    conf = partitions.esp.read(_LOADER_CONF)
    config = config_of(bytes(conf or b""), loader.model)
    entries = all_entries(
        loader.model,
        config,
        esp=partitions.esp,
        xbootldr=partitions.xbootldr,
        version=loader.version,
        machine=loader.image.machine,
        own_path=loader.path,
        oem_strings=() if host.confidential is not None else host.oem_strings,
        firmware_setup=offers_setup(host) is not False,
    )
    return Menu(loader, partitions, conf, config, entries, _wanted(host, loader.model))


def choose(menu: Menu, *, wanted: str | None, path: str | None, profile: int) -> Entry:
    """The entry asked for by its id, or "default", or that of an image by its path. Raises StubsimError for none."""
    rows = [row for row in menu.entries.entries if row.loader is not None]
    if wanted == "default":
        chosen = menu.default
        if chosen is None or chosen.loader is None:
            raise StubsimError("systemd-boot has no entry to start", expected="an entry that names an image")
        return chosen
    if wanted is not None:
        chosen = find(rows, wanted) or find(rows, f"{wanted}.conf") or find(rows, f"{wanted}.efi")
        if chosen is None:
            raise _no_entry(wanted, menu.entries)
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


def equals(menu: Menu, entry: Entry) -> list[Entry]:
    """Entries of other files that nothing but the order of the folder puts before or behind this one."""
    others = (row for row in menu.entries.entries if row.may_be_selected and row.file != entry.file)
    return [row for row in others if compare(row, entry, menu.loader.model) == 0]


def left_open(menu: Menu, host: Host) -> list[str]:
    """What of the list depends on what is not known of the machine."""
    model = menu.loader.model
    found = [f"how entries are sorted and what they are called: {why}" for why in menu.entries.open_ended]
    if "variables" in host.unknown:
        found.append(f"which entry is the default: {_variables(model)}")
    why_smbios = _untold_oem_strings(host)
    if why_smbios is not None and model.reads_smbios_entries:
        found.append(f"whether there are entries from SMBIOS: {why_smbios}")
    if why_smbios is not None and model.appends_smbios_extra:
        found.append(f"what is appended to the load options of kernels from SMBIOS: {why_smbios}")
    return found


def why_another_default(menu: Menu, host: Host) -> str | None:
    """Why another image than that of the default entry may be what is started; None where nothing else can be."""
    model = menu.loader.model
    images = [row for row in menu.entries.entries if row.loader is not None]
    if "variables" in host.unknown and len(images) > 1:
        return _variables(model)
    why_smbios = _untold_oem_strings(host)
    if why_smbios is not None and model.reads_smbios_entries:
        return f"there may be entries from SMBIOS: {why_smbios}"
    return menu.entries.open_ended[0] if menu.entries.open_ended and len(images) > 1 else None


def _variables(model: LoaderModel) -> str:
    names = "LoaderEntryOneShot, LoaderEntryDefault, LoaderEntryLastBooted"
    names += ", LoaderEntryPreferred" if model.prefers_entry else ""
    return f"the variables of the machine are not known ({names})"


def _untold_oem_strings(host: Host) -> str | None:
    """Why it is not known which OEM strings systemd-boot reads."""
    if {"smbios", "smbios.oem_strings"} & host.unknown or any(key.startswith("smbios_table") for key in host.unknown):
        return "the OEM strings of the machine are not known"
    if "confidential" in host.unknown and host.oem_strings:
        return "a confidential guest reads no OEM strings"
    return None


def offers_setup(host: Host) -> bool | None:
    """Whether the firmware can be told to start its set-up; None where the host file does not have the variable."""
    for row in host.variables:
        if (row.name, row.guid) == ("OsIndicationsSupported", GLOBAL):
            return bool(row.data[:1] and row.data[0] & _FIRMWARE_SETUP)
    return None


def _no_entry(wanted: str, entries: Entries) -> StubsimError:
    from difflib import get_close_matches

    files = tuple(f"\\{wanted}{ending}".lower() for ending in ("", ".conf", ".efi"))
    hidden = next((row for row in entries.hidden if (row.file or "").lower().endswith(files)), None)
    if hidden is not None:
        return StubsimError(
            f"{wanted} is not an entry for systemd-boot: {hidden.why}", expected="an entry that it lists"
        )
    other = find(entries.entries, wanted) or find(entries.entries, f"{wanted}.conf")
    if other is not None:
        what = "does not start an image" if other.url is None else f"starts {other.url}, which is not simulated"
        return StubsimError(f"the entry {other.id} {what}", expected="an entry for an image on the partition")
    ids = [row.id for row in entries.entries]
    near = get_close_matches(wanted, ids, 1)
    hint = f"did you mean {near[0]}?" if near else None
    return StubsimError(f"no entry matches {wanted!r}", expected=", ".join(ids) or "there are none", hint=hint)


def text_of(host: Host, name: str, model: LoaderModel) -> str | None:
    """A variable of systemd-boot's as it reads it; None where there is none, or one that is no text."""
    row = next((row for row in host.variables if (row.name, row.guid) == (name, LOADER)), None)
    if row is None or len(row.data) % 2:
        return None
    ended = not row.data or row.data[-2:] == b"\0\0"
    return from_utf16(row.data if ended or not model.cuts_unended_variables else row.data[:-2])


def _wanted(host: Host, model: LoaderModel) -> Wanted:
    return Wanted(
        one_shot=text_of(host, "LoaderEntryOneShot", model),
        preferred=text_of(host, "LoaderEntryPreferred", model),
        default=text_of(host, "LoaderEntryDefault", model),
        last=text_of(host, "LoaderEntryLastBooted", model),
    )
