"""Type #1 entries: \\loader\\entries\\*.conf (systemd-boot: boot_entry_add_type1; UAPI "Boot Loader Specification")."""

from __future__ import annotations

from collections.abc import Callable

from stubsim.formats.efi_string import decode_utf8
from stubsim.loader.entry import EFI, LINUX, UKI, UKI_URL, Entry, Fatal, Hidden, is_auto, parse_tries
from stubsim.loader.releases import LoaderModel
from stubsim.systemd.key_value import key_values
from stubsim.systemd.strings import NULL, UINT_MAX, efi_path, lower, parse_number

# Whether there is a file of this path on the entry's partition.
Exists = Callable[[str], bool]

FOLDER = "\\loader\\entries"
_SUFFIX = ".conf"
# Keys with a path that every release knows.
_PATHS = frozenset({b"linux", b"efi", b"devicetree", b"initrd"})
_TEXTS = frozenset({b"title", b"sort-key", b"version", b"machine-id"})
_IMAGES = {b"linux": LINUX, b"efi": EFI, b"uki": UKI, b"uki-url": UKI_URL}


def valid_name(file: str, model: LoaderModel) -> bool:
    return file[:1] not in ("", ".") and lower(file).endswith(_SUFFIX) and not is_auto(file, model)


def _path(text: str, model: LoaderModel) -> str:
    path = efi_path(text)
    return path if path.startswith("\\") or not model.roots_paths else f"\\{path}"


def parse(
    content: bytes | memoryview,
    file: str,
    partition: str,
    model: LoaderModel,
    *,
    machine: str,
    own_path: str | None,
    exists: Exists,
    directory: str | None = FOLDER,
) -> Entry | Hidden | Fatal:
    """The entry, or why systemd-boot shows none, or halts; never raises.

    ``own_path`` is that of systemd-boot, ``directory`` None for an entry out of SMBIOS, which counts no boots.
    """
    place = file if directory is None else f"{directory}\\{file}"
    entry = Entry(lower(file), "", place, None, partition)
    images = {key: kind for key, kind in _IMAGES.items() if key in _PATHS or decode_utf8(key) in model.type1_keys}
    texts: dict[bytes, str | None] = {}
    initrds: list[str] = []
    options: list[str] = []
    extras: list[str] = []
    for key, value in key_values(content, b" \t", quotes=model.quotes, runs_on=model.runs_on_behind_blanks):
        text = decode_utf8(value)
        given = None if model.empty_is_missing and not value else text
        if key in _PATHS and not value and model.halts_at_empty_paths:
            return Fatal(place, partition, f"an empty path ({decode_utf8(key)})")
        if key in _TEXTS:
            texts[key] = given
        elif key in images:
            named = _with_image(entry, images[key], text, model, own_path)
            if isinstance(named, str):
                return Hidden(place, partition, named)
            entry = named
        elif key == b"architecture" and (lower(text) if model.folds_architecture else text) != machine:
            return Hidden(place, partition, f"for architecture {text}")
        elif key == b"profile" and "profile" in model.type1_keys:
            number, tail = parse_number(text)
            if number is not None and not tail and number <= UINT_MAX:
                entry = entry._replace(profile=number)
        elif key == b"devicetree":
            entry = entry._replace(devicetree=_path(text, model))
        elif key == b"initrd":
            initrds.append(_path(text, model))
        elif key == b"extra" and "extra" in model.type1_keys:
            extras.append(_path(text, model))
        elif key == b"options" and (options or given is not None):
            # Up to the first one there is nothing that more could be appended to.
            options.append(NULL if given is None else given)
    entry = entry._replace(
        title=texts.get(b"title"),
        sort_key=texts.get(b"sort-key"),
        version=texts.get(b"version"),
        machine_id=texts.get(b"machine-id"),
        options=" ".join(options) if options else None,
        initrds=tuple(initrds),
        extras=tuple(extras),
    )
    if not entry.kind:
        return Hidden(place, partition, "it does not name an image")
    if entry.loader is not None and not exists(entry.loader):
        return Hidden(place, partition, f"{entry.loader} does not exist")
    return entry if directory is None else _counted(entry, directory, file, model)


def _with_image(entry: Entry, kind: str, text: str, model: LoaderModel, own_path: str | None) -> Entry | str:
    """The entry with that image, or why systemd-boot does not show it."""
    if model.refuses_two_kinds and entry.kind not in ("", kind):
        return f"{entry.kind} and {kind}: one image only"
    if kind == UKI_URL:
        if text.startswith(":"):
            return f"uki-url {text}: systemd-boot itself was not started from a URL"
        return entry._replace(kind=kind, url=text)
    path = _path(text, model)
    if kind == EFI and own_path is not None and lower(path) == lower(own_path):
        return "it is systemd-boot itself"
    return entry._replace(kind=kind, loader=path)


def _counted(entry: Entry, directory: str, file: str, model: LoaderModel) -> Entry:
    """With the tries that the file's name tells, if it tells any."""
    counted = parse_tries(directory, file, _SUFFIX, folds=model.folds_counter_suffix)
    if counted is None:
        return entry
    name, tries = counted
    if not model.strips_counter:
        return entry._replace(tries=tries)
    return entry._replace(id=lower(name) if model.lowers_counted_ids else name, tries=tries)
