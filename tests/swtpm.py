"""A TPM in software, with all registers as after a reset, and tpm2-tools to talk to it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def software_tpm(folder: Path, oracle: Callable[[str], str]) -> Iterator[dict[str, str]]:
    """The environment of tools that talk to it; its second port is the one after the first."""
    port = free_ports()
    command = [oracle("swtpm"), "socket", "--tpm2", "--tpmstate", f"dir={folder}"]
    command += ["--flags", "not-need-init,startup-clear"]
    command += ["--server", f"type=tcp,port={port}", "--ctrl", f"type=tcp,port={port + 1}"]
    environment = {"PATH": os.environ["PATH"], "TPM2TOOLS_TCTI": f"swtpm:port={port}"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(100):
                if answers(port + 1):
                    break
                time.sleep(0.1)
            yield environment
        finally:
            process.kill()


def free_ports() -> int:
    """The first of two ports in a row that nobody listens on."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                two.bind(("127.0.0.1", port + 1))
                return port


def answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
