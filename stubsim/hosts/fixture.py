"""Reading a host file: JSON of the schema `stubsim/host/1` (stubsim/schemas/host.json)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from stubsim.errors import StubsimError
from stubsim.formats import smbios, uefi_status
from stubsim.hosts.host import (
    Capsules,
    Console,
    DevicetreeFixup,
    DirectBoot,
    Firmware,
    FwCfg,
    Host,
    Patch,
    Reading,
    Variable,
    VmFwUpdate,
)
from stubsim.hosts.reading import Layout, Object, every_mistake, nearest, parse, read_object, shown

SCHEMA = "stubsim/host/1"
ARCHITECTURES = ("x64", "aa64", "ia32", "arm", "riscv64", "loongarch64", "riscv32", "loongarch32")
CONFIDENTIAL = ("sev-snp", "tdx")
BANKS = ("sha1", "sha256", "sha384", "sha512")

# What each dialect's device offers unless the file says otherwise: the QEMU patch "hw/misc/vmfwupdate" v5 has the
# constant mask 0x80 and EDKROM 0x08, the 2024 prototype the same and its PC bit, docs/specs/vmfwupdate.rst no bit
# that must be there.
CAPABILITIES = {"qemu-v5": 0x88, "spec": 0, "fuki-2024": 0x89}
MEMORY_SIZES = "a size in bytes, or with K, M, G or T behind it, from 1M to 4096T"
# OVMF in its usual build of 4 MiB (bytes).
BIOS_SIZE = 4 << 20
# Firmware ends at 4 GiB, and x86 has its interrupt controllers 18 to 20 MiB below.
LARGEST_BIOS = 16 << 20
# fw_cfg's file slots: today's default, and what QEMU takes (hw/nvram/fw_cfg.c, x-file-slots; FW_CFG_FILE_SLOTS_MIN).
SLOTS, FEWEST_SLOTS, MOST_SLOTS = 32, 16, 1024
# EDK II, PcdMaxSizeNonPopulateCapsule, and the reset types of ResetSystem() (UEFI 2.10, 8.5.1).
CAPSULE_SIZE = 10 << 20
RESETS = ("cold", "warm", "shutdown")
# systemd-boot takes no larger file for one (devicetree.c, devicetree_install).
LARGEST_DEVICETREE = 32 << 20

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
_ABOUT = ("$schema", "schema", "name", "source", "notes")

# The keys of every object, by where it stands.
KEYS: dict[str, tuple[str, ...]] = {
    "": (
        *_ABOUT,
        "smbios",
        "smbios_table",
        "edid",
        "devicetree",
        "devicetree_fixup",
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
        "xbootldr_partition_uuid",
        "console",
        "direct_boot",
        "fw_cfg",
        "firmware",
        "unknown",
    ),
    "smbios": (*_STRINGS, *_BYTES, "oem_strings"),
    "smbios_table": ("base64", "entry_point"),
    "devicetree_fixup": ("error", "needs", "first_call_only", "patches", "append", "fill_buffer"),
    "devicetree_fixup.patches[]": ("offset", "data"),
    "tpm": ("banks",),
    "variables[]": ("name", "guid", "attributes", "data"),
    "console": ("graphics", "virtio", "serial"),
    "direct_boot": ("load_options",),
    "fw_cfg": ("dma", "legacy_order", "slots", "vmfwupdate"),
    "fw_cfg.vmfwupdate": ("dialect", "cap", "bios_size", "disabled"),
    "firmware": ("vendor", "revision", "uefi_revision", "sha256", "pflash", "capsules"),
    "firmware.capsules": ("maximum_size", "reset"),
}

# Every key that may be unknown, dotted below the top level.
_NAMES = tuple(
    f"{place}.{key}" if place else key
    for place, keys in KEYS.items()
    if "[" not in place
    for key in keys
    if place or key not in (*_ABOUT, "unknown")
)
_LAYOUT = Layout(KEYS, _NAMES)


def read(data: bytes) -> Reading:
    """The host in a file in JSON; StubsimError for all that is none."""
    value = parse(data)
    host = from_json(value)
    notes = tuple(value.get("notes", ())) if isinstance(value, dict) else ()
    if host.damage is not None:
        notes = (*host.notes, *notes)
    return Reading(host, "json", f"host file in JSON ({SCHEMA})", notes)


def from_json(value: object, path: str | None = None) -> Host:
    """The host that a decoded JSON value describes; `path` is only for the StubsimError where it describes none."""
    try:
        return every_mistake(value, _host)
    except StubsimError as error:
        error.within(path=path)
        raise


def _host(value: object) -> Host:
    if isinstance(value, list):
        raise StubsimError("JSON of something else, not a host file: an array", expected="a JSON object")
    if isinstance(value, dict):
        _refuse_others(value)
    if isinstance(value, dict) and _is_flat(value):
        top = read_object(value, _LAYOUT, keys=(*_ABOUT, *KEYS["smbios"]))
        fields = top._replace(value={key: item for key, item in value.items() if key not in _ABOUT})
    else:
        top = read_object(value, _LAYOUT)
        fields = top.child("smbios")
    if top.string("schema", SCHEMA) != SCHEMA:
        top.fail("schema", f'"{SCHEMA}"')
    for key, note in top.items("notes"):
        if not isinstance(note, str):
            top.fail(key, "a string")
    walk = _walk(top)
    structures = None if walk is None else walk.structures
    read, oem_strings = _smbios(fields, structures)
    tpm, fixup = top.nullable("tpm", {}), top.nullable("devicetree_fixup", None)
    return Host(
        name=top.text("name"),
        source=top.text("source"),
        fields=read,
        oem_strings=oem_strings,
        structures=structures,
        damage=None if walk is None or walk.damage is None else str(walk.damage),
        edid=top.base64("edid"),
        devicetree=top.base64("devicetree"),
        devicetree_fixup=None if fixup is None else _devicetree_fixup(fixup),
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
        xbootldr_partition_uuid=top.guid("xbootldr_partition_uuid"),
        console=_console(top.child("console")),
        direct_boot=_direct_boot(top.nullable("direct_boot", None)),
        fw_cfg=_fw_cfg(top.nullable("fw_cfg", {})),
        firmware=_firmware(top.child("firmware")),
        unknown=_unknown(top),
    )


def _refuse_others(value: dict[Any, object]) -> None:
    """JSON of something else has another schema, or no key that looks like one of a host file."""
    schema = value.get("schema")
    if isinstance(schema, str) and schema != SCHEMA:
        raise StubsimError(f"schema: {shown(schema)}", expected=f'"{SCHEMA}"')
    known = {key for keys in KEYS.values() for key in keys} - {*_ABOUT}
    own = [key for key in value if key not in _ABOUT]
    if own and not known & {*own}:
        from difflib import get_close_matches

        if not any(get_close_matches(str(key)[:64], known, 1) for key in own[:20]):
            names = ", ".join(shown(key) for key in own[:5])
            raise StubsimError(
                f"JSON of something else, not a host file: {names}", expected='keys like "smbios", "memory" or "tpm"'
            )


def _is_flat(value: dict[Any, object]) -> bool:
    """SMBIOS keys at the top level, and none of a whole host beside them."""
    return any(key in value for key in KEYS["smbios"]) and not any(
        key in value for key in KEYS[""] if key not in _ABOUT
    )


def _walk(top: Object) -> smbios.Walk | None:
    table = top.nullable("smbios_table", None)
    if table is None:
        return None
    data, entry_point = table.base64("base64"), table.base64("entry_point")
    if data is None:
        table.fail("base64", "the raw SMBIOS table in base64")
    size = 0
    try:
        if entry_point is not None:
            _, _, size = smbios.parse_entry_point(entry_point)
    except StubsimError as error:
        error.message = f"{table.at('entry_point')}: {error.message}"
        raise
    # The stub's table is as long as the entry point says (systemd 252 to 262, find_smbios_configuration_table).
    walk = smbios.walk(data if entry_point is None else data[:size], size)
    some = walk.structures or smbios.walk(data).structures or smbios.is_begun(data)
    if walk.damage is not None and not some:
        walk.damage.message = f"{table.at('base64')}: {walk.damage.message}"
        raise walk.damage
    return walk


def _smbios(given: Object, structures: tuple[smbios.Structure, ...] | None) -> tuple[smbios.Fields, tuple[bytes, ...]]:
    """The fields and OEM strings; where there is a raw table they are read from it and the ones given must agree."""
    values: dict[str, Any] = {key: _smbios_string(given, key) for key in _STRINGS}
    values |= {key: given.integer(key, None, 0xFF) for key in _BYTES if given.get(key, None) is not None}
    fields = smbios.Fields(**values)
    oem_strings = tuple(_oem_string(given, *item) for item in given.items("oem_strings"))
    if structures is None:
        return fields, oem_strings
    read, read_oem_strings = smbios.fields(structures), smbios.oem_strings(structures)
    for key in given.value:
        one, other = (
            (getattr(fields, key), getattr(read, key)) if key in fields._fields else (oem_strings, read_oem_strings)
        )
        if (one or None) != (other or None):
            given.fail(key, f"what smbios_table holds: {shown(other)}")
    return read, read_oem_strings


def _smbios_string(given: Object, key: str) -> bytes | None:
    """A string of an SMBIOS structure; an empty one cannot stand there and is string number 0 as well."""
    text = given.text(key)
    if text and "\0" in text:
        given.fail(key, "a string without NUL")
    return text.encode() if text else None


def _oem_string(given: Object, key: str, value: object) -> bytes:
    if not isinstance(value, str) or not value or "\0" in value:
        given.fail(key, "a string, not empty and without NUL")
    try:
        return value.encode()
    except UnicodeEncodeError:
        given.fail(key, "a string without lone surrogates")


def _devicetree_fixup(fixup: Object) -> DevicetreeFixup:
    if "error" in fixup.value:
        error = fixup.choice("error", tuple(uefi_status.TEXTS))
        if error is None or len(fixup.value) > 1:
            fixup.fail("error", "a UEFI status, and no other key: a call that fails does nothing to the tree")
        return DevicetreeFixup(error)
    patches = None
    if "patches" in fixup.value:
        patches = tuple(_patch(patch) for patch in fixup.objects("patches"))
    fill = fixup.get("fill_buffer", None)
    return DevicetreeFixup(
        None,
        fixup.integer("needs", 0, LARGEST_DEVICETREE),
        fixup.boolean("first_call_only", False),
        patches,
        fixup.base64("append"),
        None if fill is None else fixup.integer("fill_buffer", None, 0xFF),
    )


def _patch(patch: Object) -> Patch:
    data = patch.base64("data")
    if data is None:
        patch.fail("data", "the bytes in base64")
    return Patch(patch.integer("offset", None, LARGEST_DEVICETREE - len(data)), data)


def memory_size(value: object) -> int | None:
    """Bytes of RAM, from a number of them or a text as in "2G"; None for what is neither, or out of bounds."""
    size = value
    if isinstance(value, str):
        digits, shift = value, 0
        if value[-1:].upper() in tuple("KMGT"):
            digits, shift = value[:-1], 10 * ("KMGT".index(value[-1].upper()) + 1)
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 16):
            return None
        size = int(digits) << shift
    return size if type(size) is int and 1 << 20 <= size <= 1 << 52 else None


def _memory(top: Object) -> int:
    size = memory_size(top.get("memory", "2G"))
    if size is None:
        top.fail("memory", MEMORY_SIZES)
    return size


def _banks(tpm: Object) -> tuple[str, ...]:
    banks = []
    for key, bank in tpm.items("banks", ["sha256"]):
        if bank not in BANKS or bank in banks:
            tpm.fail(key, f"each of {', '.join(BANKS)} at most once")
        banks.append(bank)
    if not banks:
        tpm.fail("banks", 'at least one bank, or "tpm": null for no TPM')
    return tuple(banks)


def _variables(top: Object) -> tuple[Variable, ...]:
    variables: dict[tuple[str, UUID], Variable] = {}
    for item in top.objects("variables"):
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


def _console(console: Object) -> Console:
    serial: dict[int, None] = {}
    for key, value in console.items("serial"):
        port = value
        if isinstance(value, str) and value[:2].lower() == "0x" and value[2:].isalnum() and len(value) <= 6:
            try:
                port = int(value, 16)
            except ValueError:
                port = None
        if type(port) is not int or not 0 <= port <= 0xFFFF or port in serial:
            console.fail(key, 'the I/O address of an ISA serial port, like "0x3f8", each once')
        serial[port] = None
    return Console(console.boolean("graphics", True), console.integer("virtio", 0, 0xFFFF), tuple(serial))


def _fw_cfg(fw_cfg: Object | None) -> FwCfg | None:
    if fw_cfg is None:
        return None
    found = FwCfg(
        dma=fw_cfg.boolean("dma", True),
        legacy_order=fw_cfg.boolean("legacy_order", False),
        slots=fw_cfg.integer("slots", SLOTS, MOST_SLOTS),
    )
    if found.slots < FEWEST_SLOTS:
        fw_cfg.fail("slots", f"an integer from {FEWEST_SLOTS} to {MOST_SLOTS}")
    device = fw_cfg.nullable("vmfwupdate", None)
    if device is None:
        return found
    dialect = device.choice("dialect", tuple(CAPABILITIES), "qemu-v5")
    if dialect is None:
        device.fail("dialect", f"one of {', '.join(CAPABILITIES)}")
    cap = device.integer("cap", CAPABILITIES[dialect], (1 << 64) - 1)
    bios_size = device.integer("bios_size", BIOS_SIZE, LARGEST_BIOS)
    disabled = device.boolean("disabled", False)
    return found._replace(vmfwupdate=VmFwUpdate(dialect, cap, bios_size, disabled))


def _direct_boot(direct: Object | None) -> DirectBoot | None:
    if direct is None:
        return None
    text = direct.text("load_options")
    if text is not None and "\0" in text:
        direct.fail("load_options", "a string without NUL")
    return DirectBoot(text)


def _firmware(firmware: Object) -> Firmware:
    default = Firmware()
    vendor, sha256 = firmware.string("vendor", default.vendor), firmware.hex("sha256")
    revision = firmware.integer("revision", default.revision, 0xFFFFFFFF)
    uefi_revision = firmware.integer("uefi_revision", default.uefi_revision, 0xFFFFFFFF)
    if sha256 is not None and len(sha256) != 32:
        firmware.fail("sha256", "64 hexadecimal digits")
    capsules = firmware.nullable("capsules", None)
    return Firmware(
        vendor,
        revision,
        uefi_revision,
        sha256.hex() if sha256 is not None else None,
        firmware.boolean("pflash", False),
        None if capsules is None else _capsules(capsules),
    )


def _capsules(capsules: Object) -> Capsules:
    reset = capsules.choice("reset", RESETS, "warm")
    if reset is None:
        capsules.fail("reset", f"one of {', '.join(RESETS)}")
    return Capsules(capsules.integer("maximum_size", CAPSULE_SIZE, (1 << 64) - 1), reset)


def _unknown(top: Object) -> frozenset[str]:
    unknown = set()
    for key, value in top.items("unknown"):
        if not isinstance(value, str) or value not in _NAMES:
            top.fail(key, "a key of the host file", hint=nearest([value], _NAMES, _NAMES))
        unknown.add(value)
    return frozenset(unknown)
