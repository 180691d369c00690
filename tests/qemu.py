"""A real QEMU that does not run its CPU, led over its qtest socket."""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Qtest:
    def __init__(self, connection: socket.socket) -> None:
        self._stream = connection.makefile("rwb")

    def __call__(self, line: str) -> str | None:
        """The answer to one command, None when QEMU has ended."""
        try:
            self._stream.write(line.encode() + b"\n")
            self._stream.flush()
            while True:
                reply = self._stream.readline().decode()
                # Interrupts and the like are told in between.
                if not reply or reply.startswith(("OK", "FAIL", "ERR")):
                    return reply.rstrip("\n") or None
        except OSError:
            return None

    def run(self, lines: Iterable[str]) -> list[str | None]:
        return [self(line) for line in lines]


@contextmanager
def qemu(binary: str, *options: str) -> Iterator[Qtest]:
    """Start QEMU with these options and none of its default devices."""
    with tempfile.TemporaryDirectory(prefix="stubsim-qtest-") as folder:
        path = str(Path(folder) / "socket")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            server.listen(1)
            server.settimeout(60)
            # Its log of every command goes to stderr otherwise, and QEMU stands still once nobody reads on.
            quiet = ["-S", "-nodefaults", "-display", "none", "-qtest-log", "/dev/null"]
            command = [binary, *quiet, "-qtest", f"unix:{path}", *options]
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            try:
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    process.kill()
                    raise RuntimeError(f"QEMU did not come up: {process.stderr.read().decode()}") from None  # type: ignore[union-attr]
                with connection:
                    connection.settimeout(60)
                    yield Qtest(connection)
            finally:
                process.kill()
                process.communicate()
