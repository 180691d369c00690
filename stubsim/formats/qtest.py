"""QEMU's qtest protocol, as far as ports and memory go (docs/devel/testing/qtest.rst, system/qtest.c).

A command is a line of words, numbers in decimal, or in hex with 0x; the answer is `OK`, or `OK` and a number, or for
`read` the bytes. Values of `outX` and `writeX` are numbers, which the guest's own byte order turns into bytes.
"""

from __future__ import annotations

from stubsim.errors import StubsimError
from stubsim.rows import NamedTuple

# Suffix of in, out, read and write, and its width in bytes; ports have no 8-byte access.
WIDTHS = {"b": 1, "w": 2, "l": 4, "q": 8}
_NUMBERS = {
    **{f"out{suffix}": 2 for suffix in "bwl"},
    **{f"in{suffix}": 1 for suffix in "bwl"},
    **{f"write{suffix}": 2 for suffix in WIDTHS},
    **{f"read{suffix}": 1 for suffix in WIDTHS},
    "read": 2,
    "write": 2,
    "memset": 3,
}
# What a script may ask for in one go (bytes), far above what any needs.
_LARGEST = 256 << 20


class Command(NamedTuple):
    """One line. ``value`` is what outX, writeX and memset store; ``data`` the bytes of write; ``size`` is in bytes."""

    name: str
    address: int
    size: int
    value: int = 0
    data: bytes = b""


def parse(line: str) -> Command:
    """Read a command; StubsimError for another one, a wrong number of words, or what does not fit."""
    words = line.split()
    name = words[0] if words else ""
    if name not in _NUMBERS:
        raise StubsimError(f"unknown qtest command {name!r}", expected=", ".join(_NUMBERS))
    count = _NUMBERS[name] + (name == "write")
    if len(words) != count + 1:
        raise StubsimError(f"{line[:80]!r} has {len(words) - 1} arguments", expected=str(count))
    numbers = [_number(word, line) for word in words[1 : _NUMBERS[name] + 1]]
    address = numbers[0]
    if name in ("read", "write", "memset"):
        size = numbers[1]
        if size > _LARGEST:
            raise StubsimError(f"{line[:80]!r} asks for {size} bytes", expected=f"at most {_LARGEST}")
        data = _bytes(words[3], size, line) if name == "write" else b""
        value = numbers[2] if name == "memset" else 0
        if value > 0xFF:
            raise StubsimError(f"{line[:80]!r} fills with {value:#x}", expected="a byte")
        return Command(name, address, size, value, data)
    size = WIDTHS[name[-1]]
    value = numbers[1] if len(numbers) > 1 else 0
    if value >> 8 * size:
        raise StubsimError(f"{line[:80]!r} has a value of more than {size} bytes", expected=f"{2 * size} hex digits")
    return Command(name, address, size, value)


def build(command: Command) -> str:
    """The line of a command."""
    if command.name == "write":
        return f"write {command.address:#x} {command.size:#x} 0x{command.data.hex()}"
    if command.name == "memset":
        return f"memset {command.address:#x} {command.size:#x} {command.value:#x}"
    if command.name == "read":
        return f"read {command.address:#x} {command.size:#x}"
    value = f" {command.value:#x}" if command.name.startswith(("out", "write")) else ""
    return f"{command.name} {command.address:#x}{value}"


def answer(command: Command, result: bytes | None) -> str:
    """The answer to a command: the bytes it read, in ascending order of addresses; None for those that only write."""
    if result is None:
        return "OK"
    if command.name == "read":
        return f"OK 0x{result.hex()}"
    # Ports are answered with four digits at least, whatever the width, memory with sixteen.
    digits = 16 if command.name.startswith("read") else 4
    return f"OK 0x{int.from_bytes(result, 'little'):0{digits}x}"


def _number(word: str, line: str) -> int:
    try:
        value = int(word, 16 if word[:2].lower() == "0x" else 10) if word.isascii() and "_" not in word else -1
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 64:
        raise StubsimError(f"{line[:80]!r}: {word[:40]!r} is not a number", expected="decimal, or hex with 0x")
    return value


def _bytes(word: str, size: int, line: str) -> bytes:
    """The bytes of write; QEMU wants all of them, and takes no more than it asked for."""
    try:
        data = bytes.fromhex(word[2:]) if word[:2] == "0x" else b""
    except ValueError:
        data = b""
    if len(data) != size:
        raise StubsimError(f"{line[:80]!r} does not hold {size} bytes", expected=f"0x and {2 * size} hex digits")
    return data
