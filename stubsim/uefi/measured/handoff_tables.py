"""PCR 1: the SMBIOS table handed to the system, without what differs by unit (MdeModulePkg, SmbiosMeasurementDxe).

The fields that are left out are those of the filter table in OVMF 2026.08 (recorded there); the public source has all
of them but a processor's current speed.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from stubsim.formats.smbios import Structure
from stubsim.rows import NamedTuple
from stubsim.uefi.measured.row import Row, unknown
from stubsim.uefi.platform import Platform

_KIND = "EV_EFI_HANDOFF_TABLES"
_SMBIOS = UUID("eb9d2d31-2d88-11d3-9a16-0090273fc14d")
_SMBIOS3 = UUID("f2fd1544-9794-4a2c-992e-e5bbcf20e394")
_ANCHOR = "etc/smbios/smbios-anchor"
_HEADER = 4
_OEM = 128


class _Field(NamedTuple):
    """A field by its offset; a string's is its number, and the text is blanked as well."""

    offset: int
    size: int = 1
    is_string: bool = False


def _strings(*offsets: int) -> tuple[_Field, ...]:
    return tuple(_Field(offset, 1, True) for offset in offsets)


# Type -> what is left out; of those in _WHOLE everything behind the header.
_FILTER = {
    1: (*_strings(7), _Field(8, 16), _Field(0x18)),
    2: _strings(7, 0x0A),
    3: _strings(7, 8),
    4: (
        *_strings(0x20, 0x21, 0x22),
        *(_Field(0x23), _Field(0x24), _Field(0x25), _Field(0x2A, 2), _Field(0x2C, 2), _Field(0x2E, 2)),
        *(_Field(0x11), _Field(0x16, 2)),
    ),
    17: _strings(0x18, 0x19, 0x1A),
    22: (*_strings(7), _Field(0x10, 2), _Field(0x12, 2)),
    23: (_Field(0x0B, 2),),
    27: (_Field(0x0C, 2),),
    39: _strings(8, 9, 0x0A),
}
_WHOLE = frozenset({11, 15, 18, 31, 33})


def events(platform: Platform) -> Iterator[Row]:
    structures = platform.structures
    if structures is None:
        yield unknown(1, _KIND, "SMBIOS", "the raw SMBIOS table (smbios_table) is not known")
    elif platform.host.damage is not None:
        yield unknown(1, _KIND, "SMBIOS", f"the SMBIOS table is damaged: {platform.host.damage}")
    else:
        table = b"".join(map(_filtered, structures))
        is_new = (platform.fw_cfg or {}).get(_ANCHOR, b"").startswith(b"_SM3_")
        guid = _SMBIOS3 if is_new else _SMBIOS
        yield Row(1, _KIND, "SMBIOS", table, (1).to_bytes(8, "little") + guid.bytes_le + bytes(8))


def _filtered(structure: Structure) -> bytes:
    raw = bytearray(structure.raw)
    if structure.type in _WHOLE or structure.type >= _OEM:
        return bytes(raw[:_HEADER]) + bytes(len(raw) - _HEADER)
    for field in _FILTER.get(structure.type, ()):
        if field.offset + field.size > len(structure.formatted):
            continue
        if field.is_string:
            _blank(raw, structure, structure.formatted[field.offset])
        raw[field.offset : field.offset + field.size] = bytes(field.size)
    return bytes(raw)


def _blank(raw: bytearray, structure: Structure, number: int) -> None:
    """Blanks in the place of a string's characters."""
    if 0 < number <= len(structure.strings):
        before = structure.strings[: number - 1]
        start = len(structure.formatted) + sum(len(string) + 1 for string in before)
        size = len(structure.strings[number - 1])
        raw[start : start + size] = b" " * size
