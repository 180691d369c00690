"""A host as a host file: JSON of the schema `stubsim/host/1`, which reads back to the same answers."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from stubsim.formats import edid
from stubsim.hosts.fixture import SCHEMA
from stubsim.hosts.host import DevicetreeFixup, Host

# OEM strings that a stub reads; others may be serial numbers, service tags or credentials.
_READ_BY_STUBS = (b"io.systemd.stub.", b"io.systemd.boot.")

# What identifies one machine, or is a secret of it.
_IDENTIFYING = ("boot_secret", "esp_partition_uuid", "xbootldr_partition_uuid", "variables")


def to_json(host: Host, *, keep_ids: bool = False, notes: Sequence[str] = ()) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The host file with notes for people, and what could not be written into it, a line each.

    Without `keep_ids` no serial number, UUID or secret is in it: not the raw SMBIOS table, so that PCR 1 becomes
    unknown, no EFI variable, no OEM string that no stub reads, and of an EDID only the panel's model.
    """
    dropped: list[str] = []
    unknown = set(host.unknown)
    if not keep_ids:
        dropped += _left_out(host)
        host = _anonymous(host, unknown)
    value: dict[str, Any] = {"schema": SCHEMA, "name": host.name, "source": host.source}
    value["smbios"] = _smbios(host, unknown, dropped)
    if host.structures is not None:
        value["smbios_table"] = {"base64": _base64(b"".join(structure.raw for structure in host.structures))}
    for key in ("edid", "devicetree", "previous_initrd"):
        content = getattr(host, key)
        value[key] = None if content is None else _base64(content)
    value["devicetree_fixup"] = None if host.devicetree_fixup is None else _devicetree_fixup(host.devicetree_fixup)
    value |= {
        "architecture": host.architecture,
        "memory": host.memory,
        "hypervisor": host.hypervisor,
        "confidential": host.confidential,
        "secure_boot": host.secure_boot,
        "tpm": None if host.tpm is None else {"banks": list(host.tpm)},
        "rng": host.rng,
        "variables": [
            {"name": name, "guid": str(guid), "attributes": attributes, "data": _base64(data)}
            for name, guid, attributes, data in host.variables
        ],
        "boot_secret": None if host.boot_secret is None else host.boot_secret.hex(),
        "keyboard_layout": host.keyboard_layout,
        **{key: _guid(getattr(host, key)) for key in ("esp_partition_uuid", "xbootldr_partition_uuid")},
        "console": host.console._asdict() | {"serial": [f"{port:#x}" for port in host.console.serial]},
        "direct_boot": _plain(host.direct_boot),
        "fw_cfg": _plain(host.fw_cfg),
        "firmware": _plain(host.firmware),
        "unknown": sorted(unknown),
    }
    if notes:
        value["notes"] = [*notes]
    return {key: item for key, item in value.items() if not _says_nothing(host, key, unknown)}, tuple(dropped)


def _devicetree_fixup(fixup: DevicetreeFixup) -> dict[str, Any]:
    """Only what differs from a fix-up of which nothing is known."""
    value = {key: item for key, item in fixup._asdict().items() if item != DevicetreeFixup._field_defaults[key]}
    if fixup.patches is not None:
        value["patches"] = [{"offset": patch.offset, "data": _base64(patch.data)} for patch in fixup.patches]
    if fixup.append is not None:
        value["append"] = _base64(fixup.append)
    return value


def _says_nothing(host: Host, key: str, unknown: set[str]) -> bool:
    """Whether a key is as if it were not there: the default, where that is nothing or the value is not known."""
    if key not in host._fields:
        return False
    value = getattr(host, key)
    return value == getattr(Host(), key) and (key in unknown or value is None or value == ())


def _left_out(host: Host) -> Iterator[str]:
    """What is not written because it identifies the machine."""
    default = Host()
    parts = [key for key in _IDENTIFYING if getattr(host, key) != getattr(default, key)]
    if host.structures is not None:
        parts.append("the raw SMBIOS table")
    if any(not string.startswith(_READ_BY_STUBS) for string in host.oem_strings):
        parts.append("OEM strings that no stub reads")
    if parts:
        yield f"left out, as it identifies the machine: {', '.join(parts)}; --keep-ids keeps it"


def _anonymous(host: Host, unknown: set[str]) -> Host:
    default = Host()
    unknown |= {key for key in _IDENTIFYING if getattr(host, key) != getattr(default, key)}
    host = host._replace(**{key: getattr(default, key) for key in _IDENTIFYING})
    panel = None if host.edid is None else edid.panel_id(host.edid)
    return host._replace(
        structures=None,
        oem_strings=tuple(string for string in host.oem_strings if string.startswith(_READ_BY_STUBS)),
        # An EDID without panel id stays one: no stub tells it from none.
        edid=None if panel is None else edid.build(panel),
    )


def _smbios(host: Host, unknown: set[str], dropped: list[str]) -> dict[str, Any]:
    """The fields as text. What is no UTF-8 has a place only in the raw table."""
    value: dict[str, Any] = {}
    for key, content in host.fields._asdict().items():
        if isinstance(content, bytes):
            text = _text(content)
            if text is not None:
                value[key] = text
            elif host.structures is None:
                unknown.add(f"smbios.{key}")
                dropped.append(f"{key} {content!r} is not UTF-8, which JSON cannot hold: written as unknown")
        else:
            value[key] = content
    strings = [_text(string) for string in host.oem_strings]
    if None not in strings:
        value["oem_strings"] = strings
    elif host.structures is None:
        value["oem_strings"] = [text for text in strings if text is not None]
        unknown.add("smbios.oem_strings")
        dropped.append("an OEM string is not UTF-8, which JSON cannot hold: written as unknown")
    return value


def _guid(guid: UUID | None) -> str | None:
    return None if guid is None else str(guid)


def _text(content: bytes) -> str | None:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def _plain(value: Any) -> Any:
    """Rows within rows as JSON objects."""
    if hasattr(value, "_asdict"):
        return {key: _plain(item) for key, item in value._asdict().items()}
    return value


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
