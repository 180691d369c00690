"""From whatever there is of a machine to a host: the form is recognised by content, never by a file's name."""

from __future__ import annotations

import os
import re

from stubsim import stream
from stubsim.errors import StubsimError, reason
from stubsim.hosts.host import EXPECTED, Host, Reading
from stubsim.named_files import NamedFiles
from stubsim.stream import STANDARD_INPUT

# What a HOST on the command line may be, for --help.
HOST_HELP = (
    "the machine: a host file in JSON, SMBIOS (a raw table, a dmidecode --dump-bin file, a folder like "
    "/sys/firmware/dmi/tables), text of dmidecode, fwupdtool hwids, ComputerHardwareIds or of the files in "
    "/sys/class/dmi/id, a QEMU command line or its -smbios arguments, or libvirt domain XML; 'live' is this machine, - "
    "is standard input"
)
LIVE = "live"

# What is given in place of a host, by the bytes it begins with.
_OTHER_FILES = {
    b"MZ": "a PE file",
    b"\x7fELF": "an ELF file",
    b"\x1f\x8b": "gzip data",
    b"\x28\xb5\x2f\xfd": "zstd data",
    b"\xfd7zXZ\0": "xz data",
    b"PK\3\4": "a zip archive",
    b"07070": "a cpio archive",
    b"\xd0\x0d\xfe\xed": "a devicetree",
    b"\x89PNG\r\n": "a PNG picture",
    b"%PDF-": "a PDF document",
    b"-----BEGIN ": "PEM data",
}
_TAR = (257, b"ustar")

# An SMBIOS table, an EDID and a few variables take kilobytes; the rest is room for a previous initrd.
MAXIMUM_SIZE = 64 << 20

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF_16 = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
# A hunk of a unified diff, and what a plain one has in its place.
_HUNK = rb"(?m)^(?:@@ -[0-9,]+ \+[0-9,]+ @@|[0-9]+(?:,[0-9]+)?[acd][0-9]+(?:,[0-9]+)?\r?\n[<>] )"


def load(path: str, *, allow_outside: bool = False) -> Host:
    """The host at a path (see `read`)."""
    return read(path, allow_outside=allow_outside).host


def read(path: str, *, allow_outside: bool = False) -> Reading:
    """Read whatever is at `path`: a file, a folder, `live` for this machine or `-` for standard input.

    A file with one of these two names is `./live` or `./-`. Raises StubsimError, which names the path; also for a file
    that the description names and that lies neither below its folder nor below the current one, unless that is allowed.
    """
    try:
        if path == LIVE:
            from stubsim.hosts import live

            return live.read()
        if path != STANDARD_INPUT and os.path.isdir(path):
            return _folder(path)
        folder = "" if path == STANDARD_INPUT else os.path.dirname(path)
        return read_bytes(_bytes(path), folder, allow_outside=allow_outside)
    except StubsimError as error:
        raise error.within(path="standard input" if path == STANDARD_INPUT else path) from error


def _bytes(path: str) -> bytes:
    try:
        data = stream.read(path, MAXIMUM_SIZE + 1)
    except OSError as error:
        raise StubsimError(f"cannot be read: {reason(error)}", expected="a host file") from error
    except ValueError as error:
        raise StubsimError(f"cannot be opened: {error}", expected="a file name") from error
    if len(data) > MAXIMUM_SIZE:
        raise StubsimError("too large", expected=f"a host file of at most {MAXIMUM_SIZE >> 20} MiB")
    return data


def _folder(path: str) -> Reading:
    try:
        names = os.listdir(path)
    except OSError as error:
        raise StubsimError(f"cannot be read: {reason(error)}", expected="a folder") from error
    if "DMI" in names:
        from stubsim.hosts import raw

        return raw.read_folder(path)
    if "sys_vendor" in names or "product_name" in names:
        from stubsim.hosts import dmi_id

        return dmi_id.read_folder(path)
    raise StubsimError(
        "a folder without an SMBIOS table",
        expected="a folder like /sys/firmware/dmi/tables, with DMI and smbios_entry_point in it",
    )


def is_diff(data: bytes) -> bool:
    """Whether this is a diff: its lines look like those of the files that it compares."""
    return re.search(_HUNK, data) is not None and b"\0" not in data


def _utf_16(data: bytes) -> str | None:
    """The encoding of a text of two bytes a character, as Windows' shells write it, with or without the mark."""
    marked = _UTF_16.get(data[:2])
    if marked is not None or len(data) < 4:
        return marked
    for low, name in ((0, "utf-16-le"), (1, "utf-16-be")):
        # No type and length of a structure look like that.
        if data[1 - low : 8 : 2].count(0) == len(data[1 - low : 8 : 2]) and data[low:8:2].isascii():
            return name if data[low:8:2].decode().strip("\t\r\n").isprintable() else None
    return None


def read_bytes(data: bytes, folder: str = "", *, allow_outside: bool = False) -> Reading:
    """The host in the bytes of a file; `folder` is where the files lie that it names. Raises StubsimError."""
    files = NamedFiles(folder, allow_outside)
    encoding = _utf_16(data)
    if encoding is not None:
        try:
            text = data.decode(encoding).removeprefix("\ufeff")
            return read_bytes(text.encode(), folder, allow_outside=allow_outside)
        except UnicodeError as error:
            raise StubsimError("UTF-16 text that is damaged", offset=0, expected=EXPECTED) from error
    start = data.removeprefix(_BYTE_ORDER_MARK)
    if b"\0" not in data:
        # What looks like white space in front of binary data is a type.
        start = start.lstrip()
    if not start:
        raise StubsimError("empty", offset=0, expected=EXPECTED)
    if is_diff(start):
        raise StubsimError("a diff, not the description of a machine", offset=0, expected=EXPECTED)
    other = _other_file(data)
    if other is not None:
        raise StubsimError(f"{other}, not the description of a machine", offset=0, expected=EXPECTED)
    if start.startswith(b"{") or _is_array(start):
        from stubsim.hosts import fixture

        return fixture.read(data)
    if start.startswith(b"<"):
        from stubsim.hosts import libvirt

        return libvirt.read(data, files)
    from stubsim.hosts import dmi_id, dmidecode, fwupd, qemu_options, raw, windows

    if raw.is_dump(data):
        return raw.read_dump(data)
    if windows.is_one(data):
        return windows.read(data)
    if fwupd.is_one(data):
        return fwupd.read(data)
    if dmidecode.is_one(data):
        return dmidecode.read(data)
    if qemu_options.is_command_line(data):
        from stubsim.hosts import qemu

        return qemu.read(data, files)
    if dmi_id.is_text(data):
        return dmi_id.read_text(data)
    if raw.is_table(data):
        return raw.read_table(data)
    raise StubsimError("not recognised as the description of a machine", offset=0, expected=EXPECTED)


def _other_file(data: bytes) -> str | None:
    """What a file is that has a format of its own."""
    at, mark = _TAR
    if data.startswith(mark, at):
        return "a tar archive"
    return next((what for start, what in _OTHER_FILES.items() if data.startswith(start)), None)


def _is_array(data: bytes) -> bool:
    """Whether this is a JSON array; a section of TOML or of a unit begins with a bracket too."""
    return re.match(rb"\[\s*[\]\[{\"0-9-]", data) is not None
