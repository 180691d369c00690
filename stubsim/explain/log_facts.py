"""What an event log tells of its machine: Secure Boot, the images that were started, and from which partition."""

from __future__ import annotations

from struct import Struct, error
from uuid import UUID

from stubsim.errors import StubsimError
from stubsim.formats import eventlog, load_option
from stubsim.formats.efi_string import from_utf16
from stubsim.hosts import Host
from stubsim.machine.tpm import BANKS
from stubsim.rows import NamedTuple
from stubsim.uefi.variables import GLOBAL
from stubsim.uki import Uki

APPLICATION = eventlog.EVENT_TYPES["EV_EFI_BOOT_SERVICES_APPLICATION"]
_VARIABLE = eventlog.EVENT_TYPES["EV_EFI_VARIABLE_DRIVER_CONFIG"]
# UEFI_VARIABLE_DATA and UEFI_IMAGE_LOAD_EVENT (TCG PC Client Platform Firmware Profile 1.06, 10.2.6, 10.2.3).
_VARIABLE_HEAD, _IMAGE_HEAD = Struct("<16sQQ"), Struct("<QQQQ")
_PCR_SECURE_BOOT, _PCR_BOOT_MANAGER = 7, 4


class Application(NamedTuple):
    """An image that was started; ``place`` counts the log's events behind the header.

    ``path`` and ``partition`` are None where its device path does not tell.
    """

    place: int
    digests: dict[str, bytes]
    path: str | None
    partition: UUID | None


class Facts(NamedTuple):
    """``secure_boot`` is None where the log has no such variable."""

    secure_boot: bool | None
    applications: tuple[Application, ...]


class Disagreement(NamedTuple):
    """What the host file says otherwise than the log, in words; ``key`` is the host file's."""

    key: str
    host: str
    log: str


def facts(log: eventlog.Log) -> Facts:
    """Events that cannot be read tell nothing."""
    applications = [
        _application(place, event)
        for place, event in enumerate(log.events)
        if (event.pcr, event.type) == (_PCR_BOOT_MANAGER, APPLICATION)
    ]
    states = [
        state
        for event in log.events
        if (event.pcr, event.type) == (_PCR_SECURE_BOOT, _VARIABLE) and (state := _secure_boot(event.data)) is not None
    ]
    return Facts(states[0] if states else None, tuple(applications))


def applied(host: Host, log: eventlog.Log, uki: Uki) -> tuple[Host, tuple[Disagreement, ...]]:
    """The machine as its log shows it, and what the host file says otherwise."""
    rows: list[Disagreement] = []
    found = facts(log)
    own = found.secure_boot
    if own is not None:
        if "secure_boot" not in host.unknown and host.secure_boot != own:
            rows.append(Disagreement("secure_boot", _on(host.secure_boot), _on(own)))
        host = host._replace(secure_boot=own, unknown=host.unknown - {"secure_boot"})
    partition = _partition(found, uki)
    if partition is not None:
        theirs = host.esp_partition_uuid
        if "esp_partition_uuid" not in host.unknown and theirs not in (None, partition):
            rows.append(Disagreement("esp_partition_uuid", str(theirs), str(partition)))
        host = host._replace(esp_partition_uuid=partition, unknown=host.unknown - {"esp_partition_uuid"})
    return host, tuple(rows)


def _partition(found: Facts, uki: Uki) -> UUID | None:
    """The one that the UKI was started from, by its digest in a bank that both can make."""
    for row in reversed(found.applications):
        bank = next((name for name in row.digests if name in BANKS), None)
        try:
            if row.partition is not None and bank is not None and uki.authenticode(bank) == row.digests[bank]:
                return row.partition
        except StubsimError:
            return None
    return None


def _on(state: bool) -> str:
    return "on" if state else "off"


def _secure_boot(data: bytes) -> bool | None:
    try:
        guid, characters, size = _VARIABLE_HEAD.unpack_from(data)
    except error:
        return None
    name = data[_VARIABLE_HEAD.size : _VARIABLE_HEAD.size + 2 * characters]
    value = data[_VARIABLE_HEAD.size + 2 * characters :][:size]
    if UUID(bytes_le=guid) != GLOBAL or from_utf16(name) != "SecureBoot":
        return None
    return value == b"\1"


def _application(place: int, event: eventlog.Event) -> Application:
    path, partition = None, None
    try:
        *_, size = _IMAGE_HEAD.unpack_from(event.data)
        nodes = load_option.nodes(event.data[_IMAGE_HEAD.size : _IMAGE_HEAD.size + size])
        names = [from_utf16(node.data) for node in nodes if node.kind == load_option.FILE_PATH]
        path = "\\".join(name.strip("\\") for name in names)
        path = f"\\{path}" if path else None
        for node in nodes:
            drive = load_option.partition_of(node)
            partition = drive.guid if drive is not None else partition
    except (error, StubsimError):
        pass
    return Application(place, event.digests, path, partition)
