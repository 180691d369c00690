"""Type #2 entries: UKIs in \\EFI\\Linux, one for each profile (systemd-boot: boot_entry_add_type2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stubsim.formats import pe
from stubsim.formats.efi_string import decode_utf8
from stubsim.loader.entry import TYPE2, Entry, Hidden, Tries, is_auto, parse_tries
from stubsim.loader.releases import LoaderModel
from stubsim.systemd.key_value import key_values
from stubsim.systemd.strings import lower, mangle
from stubsim.uki import PROFILES_MAX, Uki, text_of

FOLDER = "\\EFI\\Linux"
_SUFFIX = ".efi"


def valid_name(file: str, model: LoaderModel) -> bool:
    return file[:1] != "." and lower(file).endswith(_SUFFIX) and not is_auto(file, model)


def entries(uki: Uki, file: str, partition: str, model: LoaderModel) -> Iterator[Entry | Hidden]:
    """An entry for each profile that has an os-release with a name; never raises.

    systemd-boot reads the sections from the file; one of VirtualSize 0 counts as missing and hides others of its name.
    """
    counted = parse_tries(FOLDER, file, _SUFFIX, folds=model.folds_counter_suffix)
    profiles: Sequence[Sequence[pe.Section]] = ((),)
    if model.lists_profiles and uki.profiles:
        profiles = [profile.sections for profile in uki.profiles[:PROFILES_MAX]]
    for number, own in enumerate(profiles):
        sections = _first(uki.base) | _first(own)
        entry = _entry(uki, file, partition, number, sections, model=model)
        if isinstance(entry, Hidden):
            yield entry
            continue
        yield entry if counted is None else _counted(entry, *counted, model)
        if not (entry.options_implied or model.lists_profiles_without_cmdline) and profiles[number + 1 :]:
            yield Hidden(entry.file or file, partition, f"the profiles behind {entry.id}, which has no .cmdline")
            return


def _counted(entry: Entry, id_: str, tries: Tries, model: LoaderModel) -> Entry:
    """The counter is cut off; its entry's id keeps upper case."""
    if not model.strips_counter:
        return entry._replace(tries=tries)
    if entry.profile and model.keeps_profile_behind_counter:
        return entry._replace(id=f"{id_}@{entry.profile_id}", id_without_profile=id_, tries=tries)
    return entry._replace(id=id_, tries=tries)


def _entry(
    uki: Uki, file: str, partition: str, number: int, sections: dict[str, pe.Section], *, model: LoaderModel
) -> Entry | Hidden:
    place = f"{FOLDER}\\{file}"
    words = f"profile {number}: " if number else ""
    sections = {name: section for name, section in sections.items() if section.virtual_size}
    release = sections.get(".osrel")
    if release is None:
        return Hidden(place, partition, f"{words}no .osrel")
    fields = _fields(uki, release)
    name = next((fields[key] for key in ("PRETTY_NAME", "IMAGE_ID", "NAME", "ID") if key in fields), None)
    if name is None:
        return Hidden(place, partition, f"{words}.osrel has no PRETTY_NAME, IMAGE_ID, NAME or ID")
    versions = ("IMAGE_VERSION", "VERSION", "VERSION_ID", "BUILD_ID")
    profile = _fields(uki, sections[".profile"]) if ".profile" in sections else {}
    cmdline = sections.get(".cmdline")
    return Entry(
        id=lower(f"{file}@{profile.get('ID', number)}" if number else file),
        profile_id=str(profile.get("ID", number)),
        kind=TYPE2,
        file=place,
        loader=place,
        partition=partition,
        id_without_profile=lower(file) if number else None,
        title=_title(name, number, profile),
        version=next((fields[key] for key in versions if key in fields), None),
        sort_key=fields.get("IMAGE_ID", fields.get("ID")),
        options=None if cmdline is None else _options(_text(uki, cmdline), model),
        options_implied=cmdline is not None,
        profile=number,
    )


def _options(cmdline: bytes, model: LoaderModel) -> str:
    if model.mangles_implied_options:
        return mangle(decode_utf8(cmdline))
    return decode_utf8(cmdline.removesuffix(b"\n"))


def _title(name: str, number: int, profile: dict[str, str]) -> str:
    if "TITLE" in profile:
        return f"{name} ({profile['TITLE']})"
    if not number:
        return name
    return f"{name} ({profile['ID']})" if "ID" in profile else f"{name} (Profile #{number + 1})"


def _first(table: Sequence[pe.Section]) -> dict[str, pe.Section]:
    return {section.name: section for section in reversed(table)}


def _fields(uki: Uki, section: pe.Section) -> dict[str, str]:
    return {decode_utf8(key): decode_utf8(value) for key, value in key_values(_text(uki, section), b"=")}


def _text(uki: Uki, section: pe.Section) -> bytes:
    size = min(section.raw_size, section.virtual_size)
    return text_of(uki.image.data[section.raw_offset : section.raw_offset + size])
