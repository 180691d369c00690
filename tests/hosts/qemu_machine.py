"""A real QEMU, stopped before its first instruction, and the SMBIOS table in its fw_cfg device."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_SELECTOR, _DATA = 0x510, 0x511
_DIRECTORY = 0x19


class FwCfg:
    """The device by its ports, through QEMU's qtest protocol."""

    def __init__(self, connection: socket.socket) -> None:
        self.stream = connection.makefile("rw", encoding="ascii")

    def _ask(self, command: str) -> str:
        self.stream.write(command + "\n")
        self.stream.flush()
        answer = self.stream.readline().split()
        assert answer[:1] == ["OK"], (command, answer)
        return answer[1] if len(answer) > 1 else ""

    def _read(self, item: int, size: int) -> bytes:
        self._ask(f"outw {_SELECTOR:#x} {item:#x}")
        return bytes(int(self._ask(f"inb {_DATA:#x}"), 16) for _ in range(size))

    def file(self, name: str) -> bytes:
        count = int.from_bytes(self._read(_DIRECTORY, 4), "big")
        rows = self._read(_DIRECTORY, 4 + 64 * count)[4:]
        for row in (rows[64 * index : 64 * index + 64] for index in range(count)):
            if row[8:].rstrip(b"\0").decode() == name:
                return self._read(int.from_bytes(row[4:6], "big"), int.from_bytes(row[:4], "big"))
        raise AssertionError(f"no file {name}")


@contextmanager
def started(program: str, arguments: Sequence[str], folder: Path) -> Iterator[FwCfg]:
    path = folder / "qtest"
    path.unlink(missing_ok=True)
    fixed = ["-S", "-display", "none", "-qtest", f"unix:{path},server=on,wait=off", "-qtest-log", "/dev/null"]
    with subprocess.Popen([program, *fixed, *arguments], cwd=folder, stderr=subprocess.PIPE) as process:
        try:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(30)
            for _ in range(200):
                try:
                    connection.connect(str(path))
                    break
                except OSError:
                    assert process.poll() is None, process.stderr and process.stderr.read().decode()
                    time.sleep(0.05)
            with connection:
                yield FwCfg(connection)
        finally:
            process.kill()


def smbios_of(program: str, arguments: Sequence[str], folder: Path) -> tuple[bytes, bytes]:
    """The table and the entry point that this QEMU gives its firmware."""
    with started(program, arguments, folder) as device:
        return device.file("etc/smbios/smbios-tables"), device.file("etc/smbios/smbios-anchor")


def refusal(program: str, arguments: Sequence[str], folder: Path) -> str | None:
    """What this QEMU says when it does not start; None when it does."""
    command = [program, "-S", "-display", "none", "-nodefaults", *arguments]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=3, check=False)
    except subprocess.TimeoutExpired:
        return None
    return done.stderr.decode()
