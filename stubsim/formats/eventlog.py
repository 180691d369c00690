"""The TCG event log in its crypto agile form: read, build, and what systemd-stub writes into events.

Layout and event types: TCG PC Client Platform Firmware Profile 1.06, chapter 10. What
/sys/kernel/security/tpm0/binary_bios_measurements and EFI_TCG2_PROTOCOL.GetEventLog() give is the same format, as is
the CCEL area of a confidential guest, where the register index stands in the place of the PCR's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct

from stubsim.errors import StubsimError
from stubsim.formats.efi_string import from_utf16, utf16z
from stubsim.rows import NamedTuple

EVENT_TYPES: dict[str, int] = {
    "EV_PREBOOT_CERT": 0x00,
    "EV_POST_CODE": 0x01,
    "EV_UNUSED": 0x02,
    "EV_NO_ACTION": 0x03,
    "EV_SEPARATOR": 0x04,
    "EV_ACTION": 0x05,
    "EV_EVENT_TAG": 0x06,
    "EV_S_CRTM_CONTENTS": 0x07,
    "EV_S_CRTM_VERSION": 0x08,
    "EV_CPU_MICROCODE": 0x09,
    "EV_PLATFORM_CONFIG_FLAGS": 0x0A,
    "EV_TABLE_OF_DEVICES": 0x0B,
    "EV_COMPACT_HASH": 0x0C,
    "EV_IPL": 0x0D,
    "EV_IPL_PARTITION_DATA": 0x0E,
    "EV_NONHOST_CODE": 0x0F,
    "EV_NONHOST_CONFIG": 0x10,
    "EV_NONHOST_INFO": 0x11,
    "EV_OMIT_BOOT_DEVICE_EVENTS": 0x12,
    "EV_POST_CODE2": 0x13,
    "EV_EFI_VARIABLE_DRIVER_CONFIG": 0x80000001,
    "EV_EFI_VARIABLE_BOOT": 0x80000002,
    "EV_EFI_BOOT_SERVICES_APPLICATION": 0x80000003,
    "EV_EFI_BOOT_SERVICES_DRIVER": 0x80000004,
    "EV_EFI_RUNTIME_SERVICES_DRIVER": 0x80000005,
    "EV_EFI_GPT_EVENT": 0x80000006,
    "EV_EFI_ACTION": 0x80000007,
    "EV_EFI_PLATFORM_FIRMWARE_BLOB": 0x80000008,
    "EV_EFI_HANDOFF_TABLES": 0x80000009,
    "EV_EFI_PLATFORM_FIRMWARE_BLOB2": 0x8000000A,
    "EV_EFI_HANDOFF_TABLES2": 0x8000000B,
    "EV_EFI_VARIABLE_BOOT2": 0x8000000C,
    "EV_EFI_GPT_EVENT2": 0x8000000D,
    "EV_EFI_HCRTM_EVENT": 0x80000010,
    "EV_EFI_VARIABLE_AUTHORITY": 0x800000E0,
    "EV_EFI_SPDM_FIRMWARE_BLOB": 0x800000E1,
    "EV_EFI_SPDM_FIRMWARE_CONFIG": 0x800000E2,
    "EV_EFI_SPDM_DEVICE_POLICY": 0x800000E3,
    "EV_EFI_SPDM_DEVICE_AUTHORITY": 0x800000E4,
}
_EVENT_NAMES = {number: name for name, number in EVENT_TYPES.items()}

# TPM_ALG_ID and digest size in bytes (TCG Algorithm Registry 1.34, table 3).
ALGORITHMS: dict[str, tuple[int, int]] = {
    "sha1": (0x04, 20),
    "sha256": (0x0B, 32),
    "sha384": (0x0C, 48),
    "sha512": (0x0D, 64),
    "sm3_256": (0x12, 32),
    "sha3_256": (0x27, 32),
    "sha3_384": (0x28, 48),
    "sha3_512": (0x29, 64),
}
_ALGORITHM_NAMES = {number: name for name, (number, _) in ALGORITHMS.items()}

# How many registers a TPM has.
_PCRS = 24
_SIGNATURE = b"Spec ID Event03\0"
_U16, _U32, _U32_U32 = Struct("<H"), Struct("<I"), Struct("<II")
_OLD_EVENT = Struct("<II20sI")
_SPEC_ID = Struct("<16sIBBBBI")
_ALGORITHM = Struct("<HH")
_EVENT = Struct("<III")


class Event(NamedTuple):
    """One event; digests by bank name in the log's order, ``data`` as the log holds it."""

    pcr: int
    type: int
    digests: dict[str, bytes]
    data: bytes


class Header(NamedTuple):
    """The Spec ID event a log starts with: specification version, and bank name -> digest size in bytes.

    ``uintn`` is the size of the firmware's UINTN in units of 4 bytes. An algorithm that has no name in ALGORITHMS is
    called by its number, such as "0x1234".
    """

    banks: dict[str, int]
    platform_class: int = 0
    minor: int = 0
    major: int = 2
    errata: int = 0
    uintn: int = 2
    vendor: bytes = b""


class UserspaceEvent(NamedTuple):
    """What systemd extends a register by when the kernel runs; no log of the firmware has it."""

    pcr: int
    digests: dict[str, bytes]
    text: str


class Log(NamedTuple):
    """A whole log; ``events`` are those behind the header.

    ``sha1_only`` tells of the older format, which has SHA-1 digests whatever banks the TPM uses.
    """

    header: Header
    events: tuple[Event, ...]
    userspace: tuple[UserspaceEvent, ...] = ()
    sha1_only: bool = False

    @property
    def is_ccel(self) -> bool:
        """Whether this is the log of a TDX guest: its index is a register, 1 to 4 for RTMR 0 to 3 (UEFI 2.10, 38.4.1).

        A TPM's log has separators up to PCR 7.
        """
        kinds = EVENT_TYPES["EV_NO_ACTION"]
        used = {event.pcr for event in self.events if event.type != kinds}
        return list(self.header.banks) == ["sha384"] and bool(used) and used <= {0, 1, 2, 3, 4}


def type_name(number: int) -> str:
    """The name of an event type, or its number in hex where the profile has none."""
    return _EVENT_NAMES.get(number) or f"{number:#x}"


def tagged(tag: int, text: str) -> bytes:
    """The data of an EV_EVENT_TAG event as systemd-stub writes it: tag, size in bytes, UTF-16 text with its NUL.

    That of an EV_IPL event is the text alone.
    """
    description = utf16z(text)
    return _U32_U32.pack(tag, len(description)) + description


def describe(event: Event) -> tuple[int | None, str | None]:
    """Tag and text of an EV_IPL or EV_EVENT_TAG event, None for what it does not have.

    systemd writes UTF-16 with a NUL; other programs, such as GRUB, write plain text, which is read as UTF-8.
    """
    tag, data = None, event.data
    if event.type == EVENT_TYPES["EV_EVENT_TAG"]:
        if len(data) < _U32_U32.size:
            return None, None
        tag, size = _U32_U32.unpack_from(data)
        data = data[_U32_U32.size : _U32_U32.size + size]
    elif event.type != EVENT_TYPES["EV_IPL"]:
        return None, None
    if len(data) % 2 == 0 and data.endswith(b"\0\0"):
        return tag, from_utf16(data)
    try:
        return tag, data.rstrip(b"\0").decode()
    except UnicodeDecodeError:
        return tag, None


def parse(data: bytes | memoryview) -> tuple[Event, ...]:
    """The events of a log behind its header; see ``parse_log``."""
    return parse_log(data).events


def parse_log(data: bytes | memoryview) -> Log:
    """Header and events of a log. Unused space behind the last event, all 0x00 or all 0xFF, is not read.

    Raises StubsimError with the offset of what is cut short or malformed.
    """
    reader = _Reader(bytes(data))
    if reader.only_filler():
        raise StubsimError(
            "the event log is empty",
            offset=0,
            expected="events",
            hint="a firmware without a TPM, or without TCG2, hands over none",
        )
    if _is_sha1_only(reader.data):
        return _parse_sha1(reader)
    header = _parse_header(reader)
    names = {_number(bank): bank for bank in header.banks}
    events: list[Event] = []
    while not reader.only_filler():
        events.append(_parse_event(reader, header.banks, names))
    return Log(header, tuple(events))


def build(events: Iterable[Event], banks: Sequence[str]) -> bytes:
    """A log for these banks, with the header a UEFI 2.x firmware of 64 bits writes; see ``build_log``."""
    unknown = [bank for bank in banks if bank not in ALGORITHMS]
    if unknown:
        raise StubsimError(f"unknown bank {unknown[0]}", expected=f"one of {', '.join(ALGORITHMS)}")
    return build_log(Log(Header({bank: ALGORITHMS[bank][1] for bank in banks}), tuple(events)))


def build_log(log: Log) -> bytes:
    """The bytes of a log; ``parse_log`` of them is the log again.

    Raises StubsimError for a digest of a bank that the header does not list, or of another size.
    """
    header = log.header
    spec_id = bytearray(
        _SPEC_ID.pack(
            _SIGNATURE,
            header.platform_class,
            header.minor,
            header.major,
            header.errata,
            header.uintn,
            len(header.banks),
        )
    )
    for bank, size in header.banks.items():
        spec_id += _ALGORITHM.pack(_number(bank), size)
    spec_id += bytes((len(header.vendor),)) + header.vendor

    built = bytearray(_OLD_EVENT.pack(0, EVENT_TYPES["EV_NO_ACTION"], bytes(20), len(spec_id)) + spec_id)
    for event in log.events:
        built += _EVENT.pack(event.pcr, event.type, len(event.digests))
        for bank, digest in event.digests.items():
            if header.banks.get(bank) != len(digest):
                raise StubsimError(
                    f"event of PCR {event.pcr} has a {bank} digest of {len(digest)} bytes",
                    expected=", ".join(f"{name} with {size} bytes" for name, size in header.banks.items()),
                )
            built += _U16.pack(_number(bank)) + digest
        built += _U32.pack(len(event.data)) + event.data
    return bytes(built)


class _Reader:
    """A position in a log that never gets behind its end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.offset = 0
        self._filler = {byte: len(data.rstrip(byte)) for byte in (b"\0", b"\xff")}

    def take(self, size: int, what: str) -> bytes:
        if size > len(self.data) - self.offset:
            raise StubsimError(f"event log ends within {what}", offset=self.offset, expected=f"{size} bytes")
        self.offset += size
        return self.data[self.offset - size : self.offset]

    def only_filler(self) -> bool:
        """Whether the log ends here. Fewer than 8 bytes of 0x00 may be the start of an event that is cut short."""
        left = len(self.data) - self.offset
        if not left:
            return True
        return left >= 8 and self.offset >= min(self._filler.values())


def _is_sha1_only(data: bytes) -> bool:
    """Whether the first event is one of a PCR and of a known type, and no header: the format of TCG 1.2.

    A TPM 2.0's firmware hands it over as well (EFI_TCG2_EVENT_LOG_FORMAT_TCG_1_2).
    """
    if len(data) < _OLD_EVENT.size:
        return False
    pcr, kind, _, _ = _OLD_EVENT.unpack_from(data)
    return (
        pcr < _PCRS and kind in _EVENT_NAMES and data[_OLD_EVENT.size : _OLD_EVENT.size + len(_SIGNATURE)] != _SIGNATURE
    )


def _parse_sha1(reader: _Reader) -> Log:
    events = []
    while not reader.only_filler():
        pcr, kind, digest, size = _OLD_EVENT.unpack(reader.take(_OLD_EVENT.size, "an event"))
        events.append(Event(pcr, kind, {"sha1": digest}, reader.take(size, "an event's data")))
    return Log(Header({"sha1": 20}), tuple(events), sha1_only=True)


def _parse_header(reader: _Reader) -> Header:
    _, kind, _, size = _OLD_EVENT.unpack(reader.take(_OLD_EVENT.size, "its header"))
    if kind != EVENT_TYPES["EV_NO_ACTION"] or reader.data[reader.offset : reader.offset + 16] != _SIGNATURE:
        raise StubsimError(
            "not an event log",
            offset=0,
            expected='an EV_NO_ACTION event "Spec ID Event03", or an event with a SHA-1 digest',
        )
    # The event's size counts, as for Linux, also where the fields below end before it.
    start = reader.offset
    reader.take(size, "its header")
    end, reader.offset = reader.offset, start
    _, platform_class, minor, major, errata, uintn, count = _SPEC_ID.unpack(reader.take(_SPEC_ID.size, "its header"))
    banks: dict[str, int] = {}
    for _ in range(count):
        number, digest_size = _ALGORITHM.unpack(reader.take(_ALGORITHM.size, "its list of algorithms"))
        bank = _ALGORITHM_NAMES.get(number) or f"{number:#06x}"
        if bank in banks or not digest_size or digest_size != ALGORITHMS.get(bank, (0, digest_size))[1]:
            raise StubsimError(
                f"event log lists {bank} with {digest_size} bytes",
                offset=reader.offset - _ALGORITHM.size,
                expected="each algorithm once and with the size of its digests",
            )
        banks[bank] = digest_size
    vendor = reader.take(reader.take(1, "its header")[0], "its vendor information")
    if reader.offset > end:
        raise StubsimError("event log's header is too short", offset=28, expected=f"{reader.offset - start} bytes")
    reader.offset = end
    return Header(banks, platform_class, minor, major, errata, uintn, vendor)


def _parse_event(reader: _Reader, banks: dict[str, int], names: dict[int, str]) -> Event:
    pcr, kind, count = _EVENT.unpack(reader.take(_EVENT.size, "an event"))
    digests: dict[str, bytes] = {}
    for _ in range(count):
        (number,) = _U16.unpack(reader.take(_U16.size, "an event's digests"))
        bank = names.get(number)
        if bank is None or bank in digests:
            raise StubsimError(
                f"event of PCR {pcr} has a digest of algorithm {number:#x}",
                offset=reader.offset - _U16.size,
                expected=f"each of {', '.join(banks) or 'none'} at most once",
            )
        digests[bank] = reader.take(banks[bank], "a digest")
    (size,) = _U32.unpack(reader.take(_U32.size, "an event"))
    return Event(pcr, kind, digests, reader.take(size, "an event's data"))


def _number(bank: str) -> int:
    return ALGORITHMS[bank][0] if bank in ALGORITHMS else int(bank, 16)
