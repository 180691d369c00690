"""The cpio archives ("newc") an initrd is made of: as systemd-stub packs them, and read back.

An initrd is any number of archives one behind the other with zero bytes between them
(Linux, Documentation/driver-api/early-userspace/buffer-format.rst).
"""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Iterator, Sequence
from itertools import count
from struct import Struct

from stubsim.errors import StubsimError
from stubsim.extent import Bytes
from stubsim.rows import NamedTuple

TRAILER = "TRAILER!!!"

_DIRECTORY, _REGULAR = 0o040000, 0o100000
_PARENT_MODE = 0o555

# Six digits of magic, then 13 numbers of eight hex digits each.
_MAGICS = (b"070701", b"070702")
_HEADER_SIZE = 110
_FIELDS = Struct(">13I")

# systemd-stub writes every digit in lower case but this one (the recorded initrds of 257.13 and 262.1).
END = b"070701" + b"0" * 32 + b"00000001" + b"0" * 48 + b"0000000B" + b"0" * 8 + b"TRAILER!!!" + b"\0" * 4


class Member(NamedTuple):
    """One entry; ``offset`` is that of its header from the start of the data, ``data`` a slice of the input."""

    name: str
    ino: int
    mode: int
    uid: int
    gid: int
    nlink: int
    mtime: int
    devmajor: int
    devminor: int
    rdevmajor: int
    rdevminor: int
    check: int
    data: memoryview
    offset: int

    @property
    def is_trailer(self) -> bool:
        """Whether this entry ends its archive."""
        return self.name == TRAILER


def pack(target_dir: str, files: Sequence[tuple[str, Bytes]], dir_mode: int, file_mode: int) -> list[Bytes]:
    """The archive systemd-stub makes of sidecar files, byte for byte, in parts to be written one after the other.

    Folders come first: those above the target with mode 0555, the target itself with ``dir_mode`` (permission bits
    only, like ``file_mode``); then the files in the given order. The files' bytes are not copied: each is a part of
    its own. The sum of the parts' lengths is a multiple of 4.

    Raises StubsimError for a file of 4 GiB or more, which the format has no field for.
    """
    parts: list[Bytes] = []
    numbers = count(1)
    pending = bytearray(b"".join(folders(target_dir, dir_mode, numbers)))
    for name, data in files:
        pending += _header(f"{target_dir}/{name}", next(numbers), _REGULAR | file_mode, len(data))
        if data:
            parts += (bytes(pending), data)
            pending = bytearray(-len(data) % 4)
    parts.append(bytes(pending + END))
    return parts


def folders(target_dir: str, dir_mode: int, numbers: Iterator[int]) -> list[bytes]:
    """A member for each folder down to the target, with the inodes that come next."""
    names = target_dir.split("/")
    modes = [_PARENT_MODE] * (len(names) - 1) + [dir_mode]
    return [
        _header("/".join(names[:depth]), next(numbers), _DIRECTORY | mode, 0) for depth, mode in enumerate(modes, 1)
    ]


def file(path: str, data: Bytes, mode: int, number: int) -> list[Bytes]:
    """A file's member, in parts whose sum is a multiple of 4. Raises StubsimError as `pack` does."""
    return [_header(path, number, _REGULAR | mode, len(data)), data, bytes(-len(data) % 4)]


def _header(name: str, ino: int, mode: int, size: int) -> bytes:
    if size > 0xFFFFFFFF:
        raise StubsimError(f"{name} does not fit a cpio archive", expected=f"less than 4 GiB, not {size} bytes")
    raw_name = name.encode("utf-8", "surrogateescape") + b"\0"
    fields = (ino, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(raw_name), 0)
    header = b"070701" + _FIELDS.pack(*fields).hex().encode() + raw_name
    return header + bytes(-len(header) % 4)


def parse(data: bytes | memoryview) -> tuple[Member, ...]:
    """All members of one archive or of many with zero bytes between them, the trailers included.

    Names that are no UTF-8 keep their bytes as surrogates (``surrogateescape``). Data without any archive is ().

    Raises StubsimError, with the offset, where something else than an archive begins or one is malformed or cut short.
    """
    view = memoryview(data)
    members: list[Member] = []
    offset = _skip_zeros(view, 0)
    while offset < len(view):
        member, end = _member(view, offset)
        members.append(member)
        offset = _skip_zeros(view, end) if member.is_trailer else end
    if members and not members[-1].is_trailer:
        raise StubsimError("cpio archive without its end", offset=offset, expected=f"a member named {TRAILER}")
    return tuple(members)


def _member(view: memoryview, offset: int) -> tuple[Member, int]:
    """The member at an offset, and where the next one would start (never behind the end of the data)."""
    header = view[offset : offset + _HEADER_SIZE]
    if bytes(header[:6]) not in _MAGICS:
        raise StubsimError("no cpio archive here", offset=offset, expected="070701, the magic of a newc header")
    if offset % 4:
        # Linux refuses it too: "broken padding" (init/initramfs.c).
        raise StubsimError("cpio header is not aligned", offset=offset, expected="a multiple of 4")
    if len(header) < _HEADER_SIZE:
        raise StubsimError("cpio header is cut short", offset=offset, expected=f"{_HEADER_SIZE} bytes")
    try:
        fields = _FIELDS.unpack(unhexlify(header[6:]))
    except ValueError:
        raise StubsimError("cpio header is malformed", offset=offset + 6, expected="104 hex digits") from None
    ino, mode, uid, gid, nlink, mtime, size, devmajor, devminor, rdevmajor, rdevminor, name_size, check = fields

    name_at = offset + _HEADER_SIZE
    if name_size > len(view) - name_at:
        raise StubsimError("cpio member's name is cut short", offset=name_at, expected=f"{name_size} bytes")
    raw_name, nul, behind = bytes(view[name_at : name_at + name_size]).partition(b"\0")
    if not nul or behind:
        raise StubsimError("cpio member's name is malformed", offset=name_at, expected="one NUL, as its last byte")
    name = raw_name.decode("utf-8", "surrogateescape")

    data_at = _align(name_at + name_size)
    if size > max(0, len(view) - data_at):
        raise StubsimError(f"data of cpio member {name} is cut short", offset=data_at, expected=f"{size} bytes")
    data = view[data_at : data_at + size]
    return Member(
        name, ino, mode, uid, gid, nlink, mtime, devmajor, devminor, rdevmajor, rdevminor, check, data, offset
    ), min(_align(data_at + size), len(view))


def _align(offset: int) -> int:
    return offset + -offset % 4


def _skip_zeros(view: memoryview, offset: int) -> int:
    while offset < len(view):
        chunk = bytes(view[offset : offset + 4096])
        rest = len(chunk.lstrip(b"\0"))
        offset += len(chunk) - rest
        if rest:
            break
    return offset
