"""The text of dmidecode, as it prints tables (2.12 to 3.6), with -q, -t and -u.

What it prints is nearly what the table holds: number 0 is "Not Specified", a number past the last string is
<BAD INDEX>, and where a byte is no printable ASCII there is a dot (dmidecode.c, dmi_string and ascii_filter).
"""

from __future__ import annotations

import re

from stubsim.errors import StubsimError
from stubsim.formats import smbios
from stubsim.hosts.described import machine, of_table
from stubsim.hosts.host import Host, Reading
from stubsim.rows import NamedTuple

_HANDLE = re.compile(rb"Handle 0x[0-9A-Fa-f]+, DMI type (\d+), (\d+) bytes")
_VERSION = re.compile(rb"# dmidecode ([0-9][0-9A-Za-z.]{0,15})")
_COUNT = re.compile(rb"^(\d+) structures occupying", re.MULTILINE)
_ATTRIBUTE = re.compile(rb"([ \t]++)([^:\t]+):(?: (.*))?")

# The titles that stand alone where -q leaves the handles out.
_TITLES = {
    b"BIOS Information": 0,
    b"System Information": 1,
    b"Base Board Information": 2,
    b"Chassis Information": 3,
    b"Processor Information": 4,
    b"OEM Strings": 11,
}

# Structure type -> what dmidecode calls a field, and the field.
_STRINGS: dict[int, dict[bytes, str]] = {
    0: {b"Vendor": "bios_vendor", b"Version": "bios_version"},
    1: {
        b"Manufacturer": "manufacturer",
        b"Product Name": "product_name",
        b"SKU Number": "product_sku",
        b"Family": "family",
    },
    2: {b"Manufacturer": "baseboard_manufacturer", b"Product Name": "baseboard_product"},
}
_RELEASE = ("bios_major", "bios_minor")
# Structure type -> the keys of a host file that it gives.
_KEYS = {
    kind: {f"smbios.{key}" for key in keys}
    for kind, keys in {
        0: (*_STRINGS[0].values(), *_RELEASE),
        1: tuple(_STRINGS[1].values()),
        2: tuple(_STRINGS[2].values()),
        3: ("enclosure_type",),
        11: ("oem_strings",),
    }.items()
}
NO_STRING = (b"Not Specified", b"<BAD INDEX>")
_PARTIAL = (
    "the text does not go to the end of the table (dmidecode -t or -q, or cut short): what is not in it is taken for "
    "unknown, not for absent"
)

# DSP0134 7.4.1, in dmidecode's words; "Blade Enclosing" is an old spelling of number 29.
_ENCLOSURES = (
    "Other", "Unknown", "Desktop", "Low Profile Desktop", "Pizza Box", "Mini Tower", "Tower", "Portable", "Laptop",
    "Notebook", "Hand Held", "Docking Station", "All In One", "Sub Notebook", "Space-saving", "Lunch Box",
    "Main Server Chassis", "Expansion Chassis", "Sub Chassis", "Bus Expansion Chassis", "Peripheral Chassis",
    "RAID Chassis", "Rack Mount Chassis", "Sealed-case PC", "Multi-system", "CompactPCI", "AdvancedTCA", "Blade",
    "Blade Enclosing", "Tablet", "Convertible", "Detachable", "IoT Gateway", "Embedded PC", "Mini PC", "Stick PC",
)  # fmt: skip
ENCLOSURE_TYPES = {name.encode(): number for number, name in enumerate(_ENCLOSURES, 1)} | {b"Blade Enclosure": 29}
_LOCK = {b"Present": 0x80, b"Not Present": 0}

# A dot is one that a vendor would write: behind a letter, a digit or a closing bracket, not inside of a word ("D.ll")
# unless that is the name of a host, and at the end only of an abbreviation. Of the 97,824 machines of linuxhw/DMI it
# doubts 270.
_DOUBTFUL_DOT = re.compile(rb"(?:^|[^A-Za-z0-9)])\.|[A-Za-z]\.[a-z]{2}")
_HOST_NAME = re.compile(rb"www\.|://|\.com\b")
_ABBREVIATION = re.compile(
    rb"(?:inc|\b(?:ltd|llc|corp|co|corporation|tech|plc|zrt|oem|[a-z](?:\.[a-z])+))\. *$", re.IGNORECASE
)
# No abbreviation is longer.
_LONGEST = 64
_SEVERAL_DOTS = re.compile(rb"\.\.|[ =]\.")


class Block(NamedTuple):
    """What is printed of one structure; `length` is None where -q leaves it out, `offset` is its place in the text."""

    type: int
    length: int | None
    lines: tuple[bytes, ...]
    offset: int

    def attributes(self) -> dict[bytes, bytes]:
        """The values by name, without those of the lists below a name; the first of a name counts."""
        found: dict[bytes, bytes] = {}
        indent = None
        for line in self.lines:
            match = _ATTRIBUTE.fullmatch(line)
            if match is None:
                continue
            indent = match[1] if indent is None else indent
            if match[1] == indent:
                found.setdefault(match[2], match[3] or b"")
        return found


def is_one(data: bytes) -> bool:
    """Whether this is text of dmidecode."""
    start = data.lstrip()
    return (
        start.startswith(b"# dmidecode")
        or _HANDLE.search(data) is not None
        or (start.startswith(tuple(_TITLES)) and b"\0" not in data)
    )


def read(data: bytes) -> Reading:
    """The host that the text describes. Raises StubsimError where it has no structure."""
    version = _VERSION.search(data)
    description = "text of dmidecode" + (f" {version[1].decode()}" if version else "")
    blocks = _blocks(data)
    if not blocks:
        raise StubsimError(
            "text of dmidecode without a structure",
            offset=0,
            expected='"Handle 0x0001, DMI type 1, 27 bytes" and what follows',
            hint=_why_none(data),
        )
    complete = _is_complete(data, blocks)
    # With a title in front it is a structure of a vendor, whose meaning dmidecode does not know.
    if any(block.lines[:1] and block.lines[0].strip() == _HEX for block in blocks):
        description += " -u, byte by byte"
        host = _of_hex(blocks, complete, description)
        return Reading(host, "dmidecode-text", description, () if complete else (_PARTIAL,))
    # Behind a whole structure stands an empty line.
    cut = not complete and not data.replace(b"\r", b"").endswith(b"\n\n")
    host, notes = _Text(blocks, complete, cut).host(description)
    return Reading(host, "dmidecode-text", description, notes)


def _why_none(data: bytes) -> str | None:
    if b"ermission denied" in data:
        return "dmidecode was not allowed to read the table; run it as root"
    if b"No SMBIOS nor DMI entry point found" in data:
        return "dmidecode found no SMBIOS table on that machine"
    return None


def _blocks(data: bytes) -> list[Block]:
    blocks: list[Block] = []
    quiet = _HANDLE.search(data) is None
    head: tuple[int, int | None, int] | None = None
    lines: list[bytes] = []

    def close() -> None:
        if head is not None:
            blocks.append(Block(head[0], head[1], tuple(lines), head[2]))
        lines.clear()

    offset = 0
    for whole in data.split(b"\n"):
        line = whole.removesuffix(b"\r")
        match = None if quiet else _HANDLE.match(line.lstrip(b" \t"))
        if match is not None and len(match[1]) <= 3 and len(match[2]) <= 3:
            close()
            head = int(match[1]), int(match[2]), offset
        elif quiet and line.rstrip() in _TITLES:
            close()
            head = _TITLES[line.rstrip()], None, offset
        elif line[:1].strip() and (lines or quiet):
            # Not indented and not the title behind a handle: it belongs to no structure.
            close()
            head = None
        elif head is not None:
            lines.append(line)
        offset += len(whole) + 1
    # The last line of a text that was cut off is cut short itself.
    if lines and not data.endswith(b"\n"):
        lines.pop()
    close()
    return blocks


def _is_complete(data: bytes, blocks: list[Block]) -> bool:
    """Whether the table is there to its end: then what is not there is not in the table either."""
    count = _COUNT.search(data)
    return (
        any(block.type == smbios.END_OF_TABLE for block in blocks)
        or (count is not None and int(count[1][:6]) == len(blocks))
        or any(text in data for text in (b"DMI table is broken", b"<TRUNCATED>", b"Wrong DMI structures"))
    )


class _Text:
    """The first structure of each type, and on the way what of them is not known, and what there is to say."""

    def __init__(self, blocks: list[Block], complete: bool, cut: bool) -> None:
        self.first: dict[int, Block] = {}
        for block in blocks:
            self.first.setdefault(block.type, block)
        self.complete = complete
        self.cut = blocks[-1] if cut else None
        self.unknown: set[str] = set()
        self.notes: list[str] = []

    def host(self, description: str) -> tuple[Host, tuple[str, ...]]:
        values: dict[str, bytes | int | None] = {}
        for kind, names in _STRINGS.items():
            attributes = self._seen(kind)
            if attributes is not None:
                values |= {key: self._string(attributes, name, key) for name, key in names.items()}
                if kind == 0:
                    values |= self._release(attributes)
        values |= self._enclosure()
        oem_strings = self._oem_strings()
        if not self.complete:
            self.notes.append(_PARTIAL)
        processor = self.first.get(4)
        host = machine(
            smbios.Fields(**values),  # type: ignore[arg-type]
            oem_strings,
            source=description,
            virtual=any(line.strip() == b"System is a virtual machine" for line in self._lines(0)),
            processor_id=_bytes(processor.attributes().get(b"ID", b"")) if processor else b"",
            unknown=self.unknown,
        )
        return host, tuple(self.notes)

    def _lines(self, kind: int) -> tuple[bytes, ...]:
        return self.first[kind].lines if kind in self.first else ()

    def _seen(self, kind: int) -> dict[bytes, bytes] | None:
        """What is printed of a type, None where a stub sees none of it or nobody knows."""
        block = self.first.get(kind)
        if block is None:
            if not self.complete:
                self.unknown |= _KEYS[kind]
            return None
        minimum = smbios.MINIMUM_LENGTHS[kind]
        if block.length is not None and block.length < minimum:
            self.notes.append(
                f"SMBIOS type {kind} has {block.length} bytes; a stub asks for {minimum} and sees nothing of it"
                + _quoted(block, kind)
            )
            return None
        return block.attributes()

    def _string(self, attributes: dict[bytes, bytes], name: bytes, key: str) -> bytes | None:
        value = attributes.get(name)
        if value is None:
            self.unknown.add(f"smbios.{key}")
            return None
        if value in NO_STRING:
            return None
        if not value:
            # dmidecode prints no empty string: there were blanks, which somebody has cut off.
            return b" "
        if is_doubtful(value):
            self.unknown.add(f"smbios.{key}")
            self.notes.append(
                f"{key} {value.decode('ascii', 'backslashreplace')!r}: dmidecode prints a dot for every byte that is "
                "not printable, and not all of these look like dots"
            )
        return value

    def _release(self, attributes: dict[bytes, bytes]) -> dict[str, int]:
        match = re.fullmatch(rb"(\d{1,3})\.(\d{1,3}) *", attributes.get(b"BIOS Revision", b""))
        if match and max(int(match[1]), int(match[2])) <= 0xFF:
            return {"bios_major": int(match[1]), "bios_minor": int(match[2])}
        length = self.first[0].length
        if length is None or length >= smbios.RELEASE_LENGTH:
            # No line is printed where one of the two is 255, "not supported", and then both should be (DSP0134 7.1).
            self.unknown |= {f"smbios.{key}" for key in _RELEASE}
        return {}

    def _enclosure(self) -> dict[str, int]:
        attributes = self._seen(3)
        if attributes is None:
            return {}
        kind = ENCLOSURE_TYPES.get(attributes.get(b"Type", b"").strip())
        lock = _LOCK.get(attributes.get(b"Lock", b"").strip())
        if kind is None or lock is None:
            self.unknown.add("smbios.enclosure_type")
            return {}
        return {"enclosure_type": kind | lock}

    def _oem_strings(self) -> tuple[bytes, ...]:
        attributes = self._seen(11)
        if attributes is None:
            return ()
        strings = [
            value
            for name, value in attributes.items()
            if re.fullmatch(rb"String \d+", name) and value and value not in NO_STRING
        ]
        if self.first[11] is self.cut:
            # There may have been more of them.
            self.unknown.add("smbios.oem_strings")
        # The others are nothing to a stub; what it reads has dots in the words of a command line.
        if any(string.startswith(b"io.systemd.") and _SEVERAL_DOTS.search(string) for string in strings):
            self.unknown.add("smbios.oem_strings")
        return tuple(strings)


def is_doubtful(value: bytes) -> bool:
    """Whether a dot in it may well stand for a byte that dmidecode does not print."""
    if value.rstrip(b" ").endswith(b".") and _ABBREVIATION.search(value.rstrip(b" ")[-_LONGEST:]) is None:
        return True
    return _DOUBTFUL_DOT.search(value) is not None and _HOST_NAME.search(value) is None


def _quoted(block: Block, kind: int) -> str:
    attributes = block.attributes()
    values = [attributes[name] for name in _STRINGS.get(kind, {}) if name in attributes]
    shown = ", ".join(repr(value.decode("ascii", "backslashreplace")) for value in values)
    return f" ({shown})" if shown else ""


_HEX = b"Header and Data:"
_ROW = re.compile(rb"(?:[0-9A-F]{2} ?)+")


def _bytes(text: bytes) -> bytes:
    text = text.strip()
    return bytes.fromhex(text.decode()) if _ROW.fullmatch(text) else b""


def _of_hex(blocks: list[Block], complete: bool, source: str) -> Host:
    """The host of the table that dmidecode -u prints byte by byte, or of a part of it."""
    table = b"".join(_structure(block) for block in blocks)
    try:
        host = of_table(smbios.parse(table), source=source)
    except StubsimError as error:
        # It is one in bytes that the text has not.
        error.offset = None
        raise
    if complete:
        return host
    there = {block.type for block in blocks}
    absent = {key for kind, keys in _KEYS.items() if kind not in there for key in keys}
    return host._replace(structures=None, unknown=host.unknown | absent)


def _structure(block: Block) -> bytes:
    rows = iter(line.strip() for line in block.lines)
    formatted, strings = bytearray(), bytearray()
    for row in rows:
        if row == b"Strings:":
            break
        formatted += _bytes(row)
    for row in rows:
        strings += _bytes(row)
        # Behind the bytes of a string stands its text, which may look like bytes as well.
        if strings.endswith(b"\0"):
            next(rows, None)
    if len(formatted) != block.length or (strings and not strings.endswith(b"\0")):
        raise StubsimError(
            f"the bytes of the SMBIOS structure of type {block.type} are not all there",
            offset=block.offset,
            expected=f"{block.length} bytes and whole strings",
        )
    return bytes(formatted + (strings or b"\0") + b"\0")
