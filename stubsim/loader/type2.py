"""Type #2 entries: UKIs in \\EFI\\Linux, one for each profile (systemd-boot: boot_entry_add_type2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stubsim.errors import StubsimError
from stubsim.extent import Bytes
from stubsim.formats import pe
from stubsim.formats.efi_string import decode_utf8
from stubsim.loader.entry import TYPE2, Entry, Hidden, Tries, is_auto, parse_tries
from stubsim.loader.releases import LoaderModel
from stubsim.rows import NamedTuple
from stubsim.systemd.key_value import ends_at_separator, key_values
from stubsim.systemd.strings import lower, mangle
from stubsim.uki import PROFILES_MAX, text_of

FOLDER = "\\EFI\\Linux"
_SUFFIX = ".efi"
# Of os-release and .profile.
_KEYS = frozenset(
    {
        b"PRETTY_NAME", b"IMAGE_ID", b"NAME", b"ID", b"IMAGE_VERSION", b"VERSION", b"VERSION_ID", b"BUILD_ID", b"TITLE",
    }
)  # fmt: skip


def valid_name(file: str, model: LoaderModel) -> bool:
    return file[:1] != "." and lower(file).endswith(_SUFFIX) and not is_auto(file, model)


def entries(data: Bytes, file: str, partition: str, model: LoaderModel, *, machine: str) -> Iterator[Entry | Hidden]:
    """An entry for each profile that has an os-release with a name; never raises.

    systemd-boot reads headers and sections from the file, which may be cut short behind them; one of VirtualSize 0
    counts as missing and hides others of its name.
    """
    place = f"{FOLDER}\\{file}"
    headers = pe.read_headers(data)
    if headers is None or len(headers.sections) != headers.section_count or _exceeds(headers, model):
        yield Hidden(place, partition, f"no PE image: {_why(data, place)}")
        return
    if model.checks_directories and not headers.has_relocations_directory:
        yield Hidden(place, partition, f"{headers.directories} data directories: none of base relocations")
        return
    if pe.MACHINES.get(headers.machine) != machine:
        yield Hidden(place, partition, f"for architecture {pe.MACHINES.get(headers.machine, hex(headers.machine))}")
        return
    counted = parse_tries(FOLDER, file, _SUFFIX, folds=model.folds_counter_suffix)
    for number, found in _profiles(headers, model):
        sections = {name: section for name, section in found.sections.items() if section.virtual_size}
        texts = {name: _text(data, section, model) for name, section in sections.items()}
        entry = _entry(texts, file, partition, number, model=model)
        if isinstance(entry, Hidden):
            yield entry
            continue
        yield entry if counted is None else _counted(entry, *counted, model)
        if not (entry.options_implied or model.lists_profiles_without_cmdline) and not found.last:
            yield Hidden(entry.file or file, partition, f"the profiles behind {entry.id}, which has no .cmdline")
            return


class _Found(NamedTuple):
    """The sections of a profile by name, and whether it is the last one."""

    sections: dict[str, pe.Section]
    last: bool


def _profiles(headers: pe.Headers, model: LoaderModel) -> Iterator[tuple[int, _Found]]:
    """The sections of each profile, its own before those of the base (pe_locate_profile_sections)."""
    if model.takes_last_section_by_prefix:
        found = {name: row for name in (".osrel", ".cmdline") for row in headers.sections if row.name.startswith(name)}
        yield 0, _Found(found, last=True)
        return
    groups: list[list[pe.Section]] = [[]]
    for row in headers.sections:
        if row.name == ".profile":
            groups.append([])
        if not model.ignores_sections_outside or row.virtual_address + row.virtual_size <= headers.size_of_image:
            groups[-1].append(row)
    base, profiles = _first(groups[0]), groups[1 : PROFILES_MAX + 1]
    if not model.lists_profiles or not profiles:
        profiles = [[]]
    for number, own in enumerate(profiles):
        yield number, _Found(base | _first(own), last=number + 1 == len(profiles))


def _counted(entry: Entry, id_: str, tries: Tries, model: LoaderModel) -> Entry:
    """The counter is cut short; the id keeps upper case up to 261."""
    if not model.strips_counter:
        return entry._replace(tries=tries)
    id_ = lower(id_) if model.lowers_image_ids else id_
    if entry.profile and model.keeps_profile_behind_counter:
        return entry._replace(id=_profile_id(id_, entry.profile_id, model), id_without_profile=id_, tries=tries)
    return entry._replace(id=id_, tries=tries)


def _profile_id(id_: str, profile: str | None, model: LoaderModel) -> str:
    whole = f"{id_}@{profile}"
    return whole if model.keeps_profile_behind_counter and not model.lowers_image_ids else lower(whole)


def _entry(texts: dict[str, bytes], file: str, partition: str, number: int, *, model: LoaderModel) -> Entry | Hidden:
    place = f"{FOLDER}\\{file}"
    words = f"profile {number}: " if number else ""
    if ".osrel" not in texts:
        return Hidden(place, partition, f"{words}no .osrel")
    fields = _fields(texts[".osrel"], model)
    name = next((fields[key] for key in ("PRETTY_NAME", "IMAGE_ID", "NAME", "ID") if key in fields), None)
    if name is None:
        return Hidden(place, partition, f"{words}.osrel has no PRETTY_NAME, IMAGE_ID, NAME or ID")
    versions = ("IMAGE_VERSION", "VERSION", "VERSION_ID", "BUILD_ID")
    profile = _fields(texts.get(".profile", b""), model)
    profile_id = profile.get("ID", str(number))
    cmdline = texts.get(".cmdline")
    return Entry(
        id=_profile_id(lower(file), profile_id, model) if number else lower(file),
        profile_id=profile_id,
        kind=TYPE2,
        file=place,
        loader=place,
        partition=partition,
        id_without_profile=lower(file) if number else None,
        title=_title(name, number, profile),
        version=next((fields[key] for key in versions if key in fields), None),
        sort_key=fields.get("IMAGE_ID", fields.get("ID")),
        options=None if cmdline is None else _options(cmdline, model),
        options_implied=cmdline is not None,
        profile=number,
        open_ended=next((name for name in (".osrel", ".profile") if _open_ended(texts.get(name, b""), model)), None),
    )


def _open_ended(text: bytes, model: LoaderModel) -> bool:
    """Whether the last line is a key of ours and nothing else."""
    keys = [key for key, _ in key_values(text, b"=")]
    return model.oversteps_empty_values and ends_at_separator(text) and keys[-1:] != [] and keys[-1] in _KEYS


def _options(cmdline: bytes, model: LoaderModel) -> str:
    """As those releases pass it on that do; the others have it for their menu only."""
    if not model.mangles_implied_options:
        return decode_utf8(cmdline.removesuffix(b"\n"))
    if not model.passes_implied_options:
        return mangle(decode_utf8(cmdline))
    text = "".join(" " if unit <= "\x1f" else unit for unit in decode_utf8(cmdline))
    return text.rstrip(" ") if model.trims_implied_options else text


def _title(name: str, number: int, profile: dict[str, str]) -> str:
    if "TITLE" in profile:
        return f"{name} ({profile['TITLE']})"
    if not number:
        return name
    return f"{name} ({profile['ID']})" if "ID" in profile else f"{name} (Profile #{number + 1})"


def _first(table: Sequence[pe.Section]) -> dict[str, pe.Section]:
    return {section.name: section for section in reversed(table)}


def _fields(text: bytes, model: LoaderModel) -> dict[str, str]:
    """The last value of each key; an empty one counts as missing where the release says so."""
    rows = key_values(text, b"=", quotes=model.quotes, oversteps=model.oversteps_empty_values)
    found = {key: value for key, value in rows if key in _KEYS}
    return {key.decode(): decode_utf8(value) for key, value in found.items() if value or not model.empty_is_missing}


def _text(data: Bytes, section: pe.Section, model: LoaderModel) -> bytes:
    size = section.virtual_size
    if not model.takes_last_section_by_prefix:
        size = min(section.raw_size, size)
    return text_of(data[section.raw_offset : section.raw_offset + size])


def _exceeds(headers: pe.Headers, model: LoaderModel) -> bool:
    return model.section_limit is not None and headers.section_count > model.section_limit


def _why(data: Bytes, name: str) -> str:
    try:
        pe.open_bytes(data, name)
    except StubsimError as error:
        return error.message
    return "its headers are cut short, or it has more sections than this release takes"
