"""Reading a host file: JSON of the schema `stubsim/host/1` (stubsim/schemas/host.json).

A typo must not silently become a default, so unknown keys and wrong types are errors that name the key.
"""

from __future__ import annotations

import binascii
import json
from typing import Any, NamedTuple, NoReturn
from uuid import UUID

from stubsim.errors import StubsimError
from stubsim.formats import smbios
from stubsim.hosts.host import Console, Firmware, FwCfg, Host, Variable, VmFwUpdate

SCHEMA = "stubsim/host/1"
ARCHITECTURES = ("x64", "aa64", "ia32", "arm", "riscv64", "loongarch64", "riscv32", "loongarch32")
CONFIDENTIAL = ("sev-snp", "tdx")
BANKS = ("sha1", "sha256", "sha384", "sha512")

# What each dialect's device offers unless the file says otherwise: the QEMU patch "hw/misc/vmfwupdate" v5 has the
# constant mask 0x80 and EDKROM 0x08, the 2024 prototype the same and its PC bit, docs/specs/vmfwupdate.rst no bit
# that must be there.
CAPABILITIES = {"qemu-v5": 0x88, "spec": 0, "fuki-2024": 0x89}
BIOS_SIZE = 4 << 20

# An SMBIOS table, an EDID and a few variables take kilobytes; the rest is room for a previous initrd.
MAXIMUM_SIZE = 64 << 20

_STRINGS = (
    "manufacturer",
    "product_name",
    "product_sku",
    "family",
    "baseboard_manufacturer",
    "baseboard_product",
    "bios_vendor",
    "bios_version",
)
_BYTES = ("bios_major", "bios_minor", "enclosure_type")
_ABOUT = ("schema", "name", "source")

# The keys of every object, by where it stands.
KEYS: dict[str, tuple[str, ...]] = {
    "": (
        *_ABOUT,
        "smbios",
        "smbios_table",
        "edid",
        "devicetree",
        "previous_initrd",
        "architecture",
        "memory",
        "hypervisor",
        "confidential",
        "secure_boot",
        "tpm",
        "rng",
        "variables",
        "boot_secret",
        "keyboard_layout",
        "esp_partition_uuid",
        "console",
        "fw_cfg",
        "firmware",
        "unknown",
    ),
    "smbios": (*_STRINGS, *_BYTES, "oem_strings"),
    "smbios_table": ("base64", "entry_point"),
    "tpm": ("banks",),
    "variables[]": ("name", "guid", "attributes", "data"),
    "console": ("graphics", "virtio", "serial"),
    "fw_cfg": ("dma", "vmfwupdate"),
    "fw_cfg.vmfwupdate": ("dialect", "cap", "bios_size", "disabled"),
    "firmware": ("vendor", "revision", "uefi_revision", "sha256"),
}


def load(path: str) -> Host:
    """Read the host file at `path` (UTF-8, with or without a byte order mark); StubsimError for all it cannot be."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAXIMUM_SIZE + 1)
    except OSError as error:
        raise StubsimError(f"cannot be read: {error.strerror or error}", path=path, expected="a host file") from error
    except ValueError as error:
        raise StubsimError(f"cannot be opened: {error}", path=path, expected="a file name") from error
    if len(data) > MAXIMUM_SIZE:
        raise StubsimError("too large", path=path, expected=f"a host file of at most {MAXIMUM_SIZE >> 20} MiB")
    try:
        value = _parse(data)
    except StubsimError as error:
        error.within(path=path)
        raise
    return from_json(value, path)


def from_json(value: object, path: str | None = None) -> Host:
    """The host that a decoded JSON value describes; `path` is only for the StubsimError where it describes none."""
    try:
        return _host(value)
    except StubsimError as error:
        error.within(path=path)
        raise


def _parse(data: bytes) -> object:
    expected = "JSON"
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise StubsimError("not UTF-8", offset=error.start, expected="JSON in UTF-8") from error
    body = text.removeprefix("\ufeff")
    try:
        return json.loads(body, object_pairs_hook=_unique, parse_constant=_constant)
    except json.JSONDecodeError as error:
        offset = len(data) - len(body[error.pos :].encode())
        where = f"line {error.lineno}, column {error.colno}"
        raise StubsimError(f"{where}: {error.msg}", offset=offset, expected=expected) from error
    except RecursionError as error:
        raise StubsimError("nested too deeply", expected="a JSON object") from error
    except ValueError as error:  # Python reads no integer of more than 4300 digits
        raise StubsimError("a number is too long", expected=expected) from error


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in value if keys.count(key) > 1)
        raise StubsimError(f"{_name(twice)}: given twice in one object", expected="each key once")
    return value


def _constant(text: str) -> NoReturn:
    raise StubsimError(f"{text} is not JSON", expected="JSON")


def _host(value: object) -> Host:
    if isinstance(value, dict) and _is_flat(value):
        top = _object(value, "", (*_ABOUT, *KEYS["smbios"]))
        fields = _object({key: item for key, item in value.items() if key not in _ABOUT}, "", KEYS["smbios"])
    else:
        top = _object(value, "", KEYS[""])
        fields = _object(top.get("smbios", {}), "smbios", KEYS["smbios"])
    if top.string("schema", SCHEMA) != SCHEMA:
        top.fail("schema", f'"{SCHEMA}"')
    structures = _structures(top)
    read, oem_strings = _smbios(fields, structures)
    tpm = top.nullable("tpm", "tpm", {})
    return Host(
        name=top.text("name"),
        source=top.text("source"),
        fields=read,
        oem_strings=oem_strings,
        structures=structures,
        edid=top.base64("edid"),
        devicetree=top.base64("devicetree"),
        previous_initrd=top.base64("previous_initrd"),
        architecture=top.choice("architecture", ARCHITECTURES),
        memory=_memory(top),
        hypervisor=top.boolean("hypervisor", True),
        confidential=top.choice("confidential", CONFIDENTIAL),
        secure_boot=top.boolean("secure_boot", False),
        tpm=_banks(tpm) if tpm else None,
        rng=top.boolean("rng", False),
        variables=_variables(top),
        boot_secret=top.hex("boot_secret"),
        keyboard_layout=top.text("keyboard_layout"),
        esp_partition_uuid=top.guid("esp_partition_uuid"),
        console=_console(_object(top.get("console", {}), "console", KEYS["console"])),
        fw_cfg=_fw_cfg(top.nullable("fw_cfg", "fw_cfg", {})),
        firmware=_firmware(_object(top.get("firmware", {}), "firmware", KEYS["firmware"])),
        unknown=_unknown(top),
    )


def _is_flat(value: dict[Any, object]) -> bool:
    """SMBIOS keys at the top level, and none of a whole host beside them."""
    return any(key in value for key in KEYS["smbios"]) and not any(
        key in value for key in KEYS[""] if key not in _ABOUT
    )


def _structures(top: _Object) -> tuple[smbios.Structure, ...] | None:
    table = top.nullable("smbios_table", "smbios_table", None)
    if table is None:
        return None
    data, entry_point = table.base64("base64"), table.base64("entry_point")
    if data is None:
        table.fail("base64", "the raw SMBIOS table in base64")
    key = "base64"
    try:
        structures = smbios.parse(data)
        key = "entry_point"
        if entry_point is not None:
            smbios.parse_entry_point(entry_point)
    except StubsimError as error:
        error.message = f"{table.at(key)}: {error.message}"
        raise
    return structures


def _smbios(given: _Object, structures: tuple[smbios.Structure, ...] | None) -> tuple[smbios.Fields, tuple[bytes, ...]]:
    """The fields and OEM strings; where there is a raw table they are read from it and the ones given must agree."""
    values: dict[str, Any] = {key: given.smbios_string(key) for key in _STRINGS}
    values |= {key: given.integer(key, None, 0xFF) for key in _BYTES if given.get(key, None) is not None}
    fields = smbios.Fields(**values)
    oem_strings = tuple(given.oem_string(*item) for item in given.items("oem_strings"))
    if structures is None:
        return fields, oem_strings
    read, read_oem_strings = smbios.fields(structures), smbios.oem_strings(structures)
    for key in given.value:
        one, other = (
            (getattr(fields, key), getattr(read, key)) if key in fields._fields else (oem_strings, read_oem_strings)
        )
        if (one or None) != (other or None):
            given.fail(key, f"what smbios_table holds: {_shown(other)}")
    return read, read_oem_strings


def _memory(top: _Object) -> int:
    expected = "a size in bytes, or with K, M, G or T behind it, from 1M to 4096T"
    value = top.get("memory", "2G")
    size = value
    if isinstance(value, str):
        digits, shift = value, 0
        if value[-1:].upper() in tuple("KMGT"):
            digits, shift = value[:-1], 10 * ("KMGT".index(value[-1].upper()) + 1)
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 16):
            top.fail("memory", expected)
        size = int(digits) << shift
    if type(size) is not int or not 1 << 20 <= size <= 1 << 52:
        top.fail("memory", expected)
    return size


def _banks(tpm: _Object) -> tuple[str, ...]:
    banks = []
    for key, bank in tpm.items("banks", ["sha256"]):
        if bank not in BANKS or bank in banks:
            tpm.fail(key, f"each of {', '.join(BANKS)} at most once")
        banks.append(bank)
    if not banks:
        tpm.fail("banks", 'at least one bank, or "tpm": null for no TPM')
    return tuple(banks)


def _variables(top: _Object) -> tuple[Variable, ...]:
    variables: dict[tuple[str, UUID], Variable] = {}
    for key, value in top.items("variables"):
        item = _object(value, key, KEYS["variables[]"])
        name, guid, data = item.text("name"), item.guid("guid"), item.base64("data")
        attributes = item.integer("attributes", None, 0xFFFFFFFF)
        if not name or "\0" in name:
            item.fail("name", "the name of an EFI variable")
        if guid is None:
            item.fail("guid", "the vendor GUID")
        if data is None:
            item.fail("data", "the contents in base64")
        if (name, guid) in variables:
            item.fail("name", "each variable once")
        variables[name, guid] = Variable(name, guid, attributes, data)
    return tuple(variables.values())


def _console(console: _Object) -> Console:
    serial: list[int] = []
    for key, value in console.items("serial"):
        port = value
        if isinstance(value, str) and value[:2].lower() == "0x" and value[2:].isalnum() and len(value) <= 6:
            try:
                port = int(value, 16)
            except ValueError:
                port = None
        if type(port) is not int or not 0 <= port <= 0xFFFF or port in serial:
            console.fail(key, 'the I/O address of an ISA serial port, like "0x3f8", each once')
        serial.append(port)
    return Console(console.boolean("graphics", True), console.integer("virtio", 0, 0xFFFF), tuple(serial))


def _fw_cfg(fw_cfg: _Object | None) -> FwCfg | None:
    if fw_cfg is None:
        return None
    device = fw_cfg.nullable("vmfwupdate", "fw_cfg.vmfwupdate", None)
    if device is None:
        return FwCfg(fw_cfg.boolean("dma", True), None)
    dialect = device.choice("dialect", tuple(CAPABILITIES), "qemu-v5")
    if dialect is None:
        device.fail("dialect", f"one of {', '.join(CAPABILITIES)}")
    cap = device.integer("cap", CAPABILITIES[dialect], (1 << 64) - 1)
    bios_size = device.integer("bios_size", BIOS_SIZE, (1 << 64) - 1)
    disabled = device.boolean("disabled", False)
    return FwCfg(fw_cfg.boolean("dma", True), VmFwUpdate(dialect, cap, bios_size, disabled))


def _firmware(firmware: _Object) -> Firmware:
    default = Firmware()
    vendor, sha256 = firmware.string("vendor", default.vendor), firmware.hex("sha256")
    revision = firmware.integer("revision", default.revision, 0xFFFFFFFF)
    uefi_revision = firmware.integer("uefi_revision", default.uefi_revision, 0xFFFFFFFF)
    if sha256 is not None and len(sha256) != 32:
        firmware.fail("sha256", "64 hexadecimal digits")
    return Firmware(vendor, revision, uefi_revision, sha256.hex() if sha256 is not None else None)


def _unknown(top: _Object) -> frozenset[str]:
    names = _dotted()
    unknown = set()
    for key, value in top.items("unknown"):
        if not isinstance(value, str) or value not in names:
            top.fail(key, "a key of the host file", hint=_nearest([value], names))
        unknown.add(value)
    return frozenset(unknown)


def _dotted() -> tuple[str, ...]:
    """Every key that may be unknown, dotted below the top level."""
    return tuple(
        f"{place}.{key}" if place else key
        for place, keys in KEYS.items()
        if "[" not in place
        for key in keys
        if place or key not in (*_ABOUT, "unknown")
    )


class _Object(NamedTuple):
    """One JSON object of the file; reads its values by key and complains in the key's name."""

    place: str
    value: dict[str, Any]

    def at(self, key: str) -> str:
        return f"{self.place}.{key}" if self.place else key

    def fail(self, key: str, expected: str, hint: str | None = None) -> NoReturn:
        value = self._indexed(key)
        shown = "missing" if value is _ABSENT else _shown(value)
        raise StubsimError(f"{self.at(key)}: {shown}", expected=expected, hint=hint)

    def _indexed(self, key: str) -> Any:
        name, _, index = key.partition("[")
        value = self.value.get(name, _ABSENT)
        return value[int(index[:-1])] if index else value

    def get(self, key: str, default: Any) -> Any:
        return self.value.get(key, default)

    def nullable(self, key: str, place: str, default: dict[str, Any] | None) -> _Object | None:
        value = self.value.get(key, default)
        return None if value is None else _object(value, place, KEYS[place])

    def items(self, key: str, default: list[Any] | None = None) -> list[tuple[str, Any]]:
        """The items of an array, each with its name for complaints."""
        value = self.value.get(key, default or [])
        if not isinstance(value, list):
            self.fail(key, "an array")
        return [(f"{key}[{index}]", item) for index, item in enumerate(value)]

    def text(self, key: str) -> str | None:
        return self.string(key, "") if self.value.get(key) is not None else None

    def string(self, key: str, default: str) -> str:
        value = self.value.get(key, default)
        if not isinstance(value, str):
            self.fail(key, "a string")
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            self.fail(key, "a string without lone surrogates")
        return value

    def smbios_string(self, key: str) -> bytes | None:
        """A string of an SMBIOS structure; an empty one cannot stand there and is string number 0 as well."""
        text = self.text(key)
        if text and "\0" in text:
            self.fail(key, "a string without NUL")
        return text.encode() if text else None

    def oem_string(self, key: str, value: object) -> bytes:
        if not isinstance(value, str) or not value or "\0" in value:
            self.fail(key, "a string, not empty and without NUL")
        try:
            return value.encode()
        except UnicodeEncodeError:
            self.fail(key, "a string without lone surrogates")

    def integer(self, key: str, default: int | None, maximum: int) -> int:
        value = self.value.get(key, default)
        if type(value) is not int or not 0 <= value <= maximum:
            self.fail(key, f"an integer from 0 to {maximum}")
        return value

    def boolean(self, key: str, default: bool) -> bool:
        value = self.value.get(key, default)
        if not isinstance(value, bool):
            self.fail(key, "true or false")
        return value

    def choice(self, key: str, choices: tuple[str, ...], default: str | None = None) -> str | None:
        value = self.value.get(key, default)
        if value is not None and value not in choices:
            self.fail(key, f"one of {', '.join(choices)}")
        return value

    def base64(self, key: str) -> bytes | None:
        text = self.text(key)
        if text is None:
            return None
        try:
            return binascii.a2b_base64(text, strict_mode=True)
        except ValueError:
            self.fail(key, "base64")

    def hex(self, key: str) -> bytes | None:
        text = self.text(key)
        if text is None:
            return None
        try:
            return binascii.unhexlify(text)
        except ValueError:
            self.fail(key, "hexadecimal digits, two for each byte")

    def guid(self, key: str) -> UUID | None:
        text = self.text(key)
        if text is None:
            return None
        try:
            guid = UUID(text)
        except ValueError:
            guid = None
        # UUID() takes braces, "urn:uuid:" and dashes anywhere
        if guid is None or str(guid) != text.lower():
            self.fail(key, "a GUID like 4a67b082-0a4c-41cf-b6c7-440b29bb8c4f")
        return guid


_ABSENT = object()


def _object(value: object, place: str, keys: tuple[str, ...]) -> _Object:
    if not isinstance(value, dict):
        where = f"{place}: " if place else ""
        raise StubsimError(f"{where}{_shown(value)}", expected="a JSON object")
    item = _Object(place, value)
    strange = [key for key in value if key not in keys]
    if strange:
        names = ", ".join(item.at(_name(key)) for key in strange[:5])
        more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""
        what = "unknown key" if len(strange) == 1 else "unknown keys"
        raise StubsimError(f"{names}{more}: {what}", hint=_nearest(strange[:5], keys))
    return item


def _nearest(strange: list[Any], known: tuple[str, ...]) -> str | None:
    """A hint with the known name nearest to each strange one; the same key elsewhere in the file is nearer still."""
    from difflib import get_close_matches

    near = []
    for key in strange:
        if isinstance(key, str):
            elsewhere = [name for name in _dotted() if name.rpartition(".")[2] == key]
            near += elsewhere[:1] or get_close_matches(key[:64], known, 1, 0.0)
    return f"did you mean {', '.join(dict.fromkeys(near))}?" if near else None


def _name(key: object) -> str:
    """A key as it is spelled, quoted where it is none that anybody would write."""
    return key if isinstance(key, str) and key.isidentifier() and len(key) <= 64 else _shown(key)


def _shown(value: object) -> str:
    """What stands in the file, for an error message: short, and printable whatever it is."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 64 else "a huge integer"
    if isinstance(value, bytes):
        value = value.decode(errors="backslashreplace")
    if isinstance(value, str):
        return repr(value[:60]) + ("..." if len(value) > 60 else "")
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, tuple):
        return ", ".join(_shown(item) for item in value[:5]) or "none"
    return "an array" if isinstance(value, list) else repr(value)[:60]
