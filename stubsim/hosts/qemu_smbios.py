"""What QEMU's -smbios options make of an SMBIOS table (QEMU, hw/smbios/smbios.c)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from stubsim.errors import StubsimError
from stubsim.formats import smbios
from stubsim.hosts.qemu_options import CommandLine, Option, needs_shell
from stubsim.hosts.reading import shown
from stubsim.named_files import NamedFiles
from stubsim.rows import NamedTuple

_KEYS: dict[int, tuple[str, ...]] = {
    0: ("vendor", "version", "date", "release", "uefi"),
    1: ("manufacturer", "product", "version", "serial", "uuid", "sku", "family"),
    2: ("manufacturer", "product", "version", "serial", "asset", "location"),
    3: ("manufacturer", "version", "serial", "asset", "sku"),
    11: ("value", "path"),
}
# (type, key) -> the field it ends up in.
_FIELDS = {
    (0, "vendor"): "bios_vendor",
    (0, "version"): "bios_version",
    (1, "manufacturer"): "manufacturer",
    (1, "product"): "product_name",
    (1, "sku"): "product_sku",
    (1, "family"): "family",
    (2, "manufacturer"): "baseboard_manufacturer",
    (2, "product"): "baseboard_product",
}
_BIOS = ("bios_vendor", "bios_version", "bios_major", "bios_minor")
# Type 3 is always there: chassis type 1, "Other".
_ENCLOSURE_TYPE = 1
_MAXIMUM_TYPE = 127
_MAXIMUM_SIZE = 1 << 20


class Result(NamedTuple):
    """What the guest's SMBIOS table says, what of it is not known, and what was found out on the way."""

    fields: smbios.Fields
    oem_strings: tuple[bytes, ...]
    unknown: frozenset[str]
    notes: tuple[str, ...]


def table(command: CommandLine, defaults: dict[str, str | None], files: NamedFiles) -> Result:
    """The table of a command line.

    `defaults` are the machine's "manufacturer", "product", "sku" and "family", None for an unknown one.
    Raises StubsimError for what QEMU refuses, and for files that may not be read.
    """
    given: dict[int, list[Option]] = {}
    blobs: list[bytes] = []
    not_built: set[int] = set()
    unknown: set[str] = set()
    notes: list[str] = []
    for option in command.of("smbios"):
        path = option.get("file")
        if path is not None:
            blob = _blob(path, files)
            if blob is None:
                unknown.add("smbios")
                notes.append(f"-smbios file={shown(path)}: cannot be read here, and may replace any structure")
                continue
            if blob[0] in given:
                raise _refused(option, f"fields of type {blob[0]} are given already")
            blobs.append(blob)
            not_built.add(blob[0])
            continue
        kind = _type(option)
        if kind in not_built:
            raise _refused(option, f"a file with a structure of type {kind} is given already")
        given.setdefault(kind, []).append(option)

    values = _values(command, given, unknown)
    if command.expands:
        # Another -smbios may be among what a shell puts there, but not for a structure that a file has.
        unknown |= {
            f"smbios.{field}" for place, field in _FIELDS.items() if place not in values and place[0] not in not_built
        }
        if 11 not in not_built:
            unknown.add("smbios.oem_strings")
    # The board is there only where it is asked for.
    for kind in {1} | ({2} & given.keys()):
        for key, default in defaults.items():
            if (kind, key) in _FIELDS and (kind, key) not in values and kind not in not_built:
                values[kind, key] = default or ""
                if default is None:
                    unknown.add(f"smbios.{_FIELDS[kind, key]}")
    major, minor = _release(given.get(0, []))
    fields = smbios.Fields(
        **{field: _bytes(values.get(place)) for place, field in _FIELDS.items()},
        bios_major=major,
        bios_minor=minor,
        enclosure_type=_ENCLOSURE_TYPE,
    )
    oem_strings = _oem_strings(command, given.get(11, []), files, unknown)
    if not {0} & (given.keys() | not_built):
        # The firmware makes its own then, with its own name and version.
        unknown |= {f"smbios.{field}" for field in _BIOS}
        not_built.add(0)
    # Files come first in the table, and no structure of their types is built.
    built = smbios.parse(smbios.from_fields(fields, oem_strings))
    rest = b"".join(structure.raw for structure in built if structure.type not in not_built)
    structures = smbios.parse(b"".join(blobs) + rest)
    return Result(smbios.fields(structures), smbios.oem_strings(structures), frozenset(unknown), tuple(notes))


def _values(command: CommandLine, given: dict[int, list[Option]], unknown: set[str]) -> dict[tuple[int, str], str]:
    """The last value of each key, over all options of a type."""
    values: dict[tuple[int, str], str] = {}
    for kind, options in given.items():
        for option in options:
            for key, value in dict(option.pairs).items():
                if (kind, key) in _FIELDS:
                    values[kind, key] = value
                    unknown.discard(f"smbios.{_FIELDS[kind, key]}")
                    if needs_shell(command, value):
                        unknown.add(f"smbios.{_FIELDS[kind, key]}")
    return values


def _type(option: Option) -> int:
    text = option.get("type")
    if text is None:
        raise _refused(option, "neither type= nor file=", "-smbios type=1,... or -smbios file=...")
    if re.fullmatch(r"0[xX][0-9A-Fa-f]{1,4}|[1-9][0-9]{0,4}|0[0-7]{0,4}", text) is None:
        raise _refused(option, f"type={shown(text)} is not a number", "type=0 to type=127")
    kind = int(text, 0) if not re.fullmatch(r"0[0-7]+", text) else int(text, 8)
    if kind > _MAXIMUM_TYPE:
        raise _refused(option, f"type={kind} is out of range", f"0 to {_MAXIMUM_TYPE}")
    strange = [key for key, _ in option.pairs if kind in _KEYS and key not in ("type", *_KEYS[kind])]
    if strange:
        raise _refused(option, f"type={kind} has no {shown(strange[0])}", ", ".join(_KEYS[kind]))
    return kind


def _release(options: Iterable[Option]) -> tuple[int, int]:
    """QEMU scans two numbers of a byte each; without any they are 0."""
    major, minor = 0, 0
    for option in options:
        text = option.get("release")
        if text is None:
            continue
        match = re.match(r"\s*(\d{1,9})\.\s*(\d{1,9})", text, re.ASCII)
        if match is None:
            raise _refused(option, f"release={shown(text)}", "release=MAJOR.MINOR")
        major, minor = int(match[1]) & 0xFF, int(match[2]) & 0xFF
    return major, minor


def _oem_strings(
    command: CommandLine, options: list[Option], files: NamedFiles, unknown: set[str]
) -> tuple[bytes, ...]:
    strings = []
    for option in options:
        for key, value in option.pairs:
            if key == "value":
                strings.append(_bytes(value) or b"")
            elif key == "path":
                content = files.read(value, _MAXIMUM_SIZE, "-smbios path=")
                if content is not None and b"\0" in content:
                    raise _refused(option, f"a NUL byte is in {shown(value)}")
                strings.append(content or b"")
                if content is None:
                    unknown.add("smbios.oem_strings")
            if needs_shell(command, value):
                unknown.add("smbios.oem_strings")
    return tuple(string for string in strings if string)


def _blob(path: str, files: NamedFiles) -> bytes | None:
    content = files.read(path, _MAXIMUM_SIZE, "-smbios file=")
    if content is None:
        return None
    if len(content) < 4:
        raise StubsimError(f"-smbios file={shown(path)}: {len(content)} bytes", expected="an SMBIOS structure")
    try:
        smbios.parse(content)
    except StubsimError as error:
        raise StubsimError(
            f"-smbios file={shown(path)}: {error.message}", offset=error.offset, expected=error.expected
        ) from error
    return content


def _bytes(text: str | None) -> bytes | None:
    return text.encode("utf-8", "surrogateescape") if text else None


def _refused(option: Option, message: str, expected: str | None = None) -> StubsimError:
    text = shown(",".join(f"{key}={value}" if key else value for key, value in option.pairs))
    return StubsimError(f"-smbios {text}: {message}", expected=expected or "options that QEMU takes")
