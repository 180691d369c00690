"""EDK II's variable store, as it lies in the second flash chip of a virtual machine: read only.

A firmware volume (GUID gEfiSystemNvDataFvGuid) that starts with a VARIABLE_STORE_HEADER and the variables one behind
the other (MdeModulePkg/Include/Guid/VariableFormat.h). Which of them count: those that were added and not deleted, and
one in deletion where there is no newer one of its name (MdeModulePkg/Universal/Variable, FindVariableEx). Offsets in
errors are bytes from the start of the image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from struct import Struct
from uuid import UUID

from stubsim.errors import StubsimError
from stubsim.formats.efi_string import from_utf16
from stubsim.rows import NamedTuple

_NV_DATA = UUID("fff12b8d-7696-4c8b-a985-2747075b4f50").bytes_le
_AUTHENTICATED = UUID("aaf32c78-947b-439a-a180-2e144ec37792").bytes_le
# From the file system to the signature, with the length between them.
_VOLUME = re.compile(re.escape(_NV_DATA) + b".{8}_FVH", re.DOTALL)
_QCOW2 = b"QFI\xfb"
# GUID, size with this header, format, state, 6 reserved bytes.
_STORE = Struct("<16sIBB6x")
_FORMATTED, _HEALTHY = 0x5A, 0xFE
# Start, state, reserved, attributes, monotonic count, time stamp, key index, size of name and of data, GUID.
_VARIABLE = Struct("<HBxIQ16sIII16s")
_START = 0x55AA
_ADDED, _IN_DELETION = 0x3F, 0x3E
EXPECTED = "a variable store of EDK II (such as OVMF_VARS.fd, the second pflash)"


class StoredVariable(NamedTuple):
    """A variable; the name is without its NUL."""

    name: str
    guid: UUID
    attributes: int
    data: bytes


def parse(image: bytes | memoryview) -> tuple[StoredVariable, ...]:
    """The variables that count, in the order in which they lie there. Raises StubsimError for what is no store."""
    data = memoryview(image).toreadonly()
    found: dict[tuple[str, UUID], tuple[int, StoredVariable]] = {}
    for state, variable in _variables(data, *_store(data)):
        key = variable.name, variable.guid
        if state == _ADDED or (state == _IN_DELETION and key not in found):
            found.pop(key, None)
            found[key] = state, variable
    return tuple(variable for _, variable in found.values())


def _store(data: memoryview) -> tuple[int, int]:
    """Where the variables begin and where the store ends."""
    match = _VOLUME.search(data)
    if match is None or match.start() < 16:
        qcow2 = bytes(data[:4]) == _QCOW2
        hint = "it is a qcow2 image: qemu-img convert -O raw makes a plain one of it" if qcow2 else None
        raise StubsimError("no variable store in it", offset=0, expected=EXPECTED, hint=hint)
    start = match.start() - 16
    header = int.from_bytes(data[start + 48 : start + 50], "little")
    at = start + header
    if header < 56 or at + _STORE.size > len(data):
        raise StubsimError(
            "the variable store's volume is cut short", offset=start, expected="a volume with its header"
        )
    guid, size, form, state = _STORE.unpack_from(data, at)
    if guid != _AUTHENTICATED:
        raise StubsimError("a variable store of another format", offset=at, expected=f"{UUID(bytes_le=_AUTHENTICATED)}")
    if (form, state) != (_FORMATTED, _HEALTHY):
        message = f"the variable store has format {form:#x}, state {state:#x}"
        raise StubsimError(message, offset=at + 20, expected=f"{_FORMATTED:#x}, {_HEALTHY:#x}")
    if not _STORE.size <= size <= len(data) - at:
        message = f"a variable store of {size} bytes"
        raise StubsimError(message, offset=at + 16, expected=f"{_STORE.size} to {len(data) - at}")
    return at + _STORE.size, at + size


def _variables(data: memoryview, at: int, end: int) -> Iterator[tuple[int, StoredVariable]]:
    """State and variable, up to free space."""
    while at + _VARIABLE.size <= end:
        start, state, attributes, _, _, _, name_size, data_size, guid = _VARIABLE.unpack_from(data, at)
        if start != _START:
            return
        name_at = at + _VARIABLE.size
        data_at = name_at + name_size
        if name_size + data_size > end - name_at:
            message = f"a variable with a name of {name_size} and data of {data_size} bytes"
            raise StubsimError(message, offset=at, expected=f"at most {end - name_at} together")
        if state in (_ADDED, _IN_DELETION):
            text = from_utf16(bytes(data[name_at:data_at]))
            content = bytes(data[data_at : data_at + data_size])
            yield state, StoredVariable(text, UUID(bytes_le=guid), attributes, content)
        at = data_at + data_size
        at += -at % 4
