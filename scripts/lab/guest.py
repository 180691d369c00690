"""The two programs of our own that run in a virtual machine: the probe, a kernel that tells what it was handed, and
the launcher, which installs what QEMU cannot. Built by clang and lld when they are not there or have changed.
"""

from __future__ import annotations

import hashlib
import struct
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from scripts.lab.stubs import LAB
from stubsim.errors import StubsimError

_SOURCES = Path(__file__).resolve().parent / "guest"
_TARGETS = {"x64": ("x86_64-unknown-windows", "x64"), "aa64": ("aarch64-unknown-windows", "arm64")}
_COMPILE = (
    "-std=gnu17", "-ffreestanding", "-fno-stack-protector", "-mno-stack-arg-probe", "-O2", "-Wall", "-Wextra",
    "-Werror", "-fshort-wchar", "-c",
)  # fmt: skip
_LINK = ("/subsystem:efi_application", "/entry:entry", "/nodefaultlib", "/version:1.0", "/dynamicbase", "/Brepro")


@cache
def program(name: str, machine: str) -> bytes:
    """The image of "probe" or "launcher"; without base relocations, so it lies wherever it is put."""
    sources = [_SOURCES / f"{name}.c", _SOURCES / "guest.h", _SOURCES.parent / "efi.h"]
    state = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    built = LAB / "build" / f"{name}-{machine}-{state}.efi"
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        target, linked = _TARGETS[machine]
        with tempfile.TemporaryDirectory(dir=built.parent) as folder:
            object_file, image = f"{folder}/a.obj", f"{folder}/a.efi"
            _run("clang", "-target", target, *_COMPILE, "-o", object_file, str(sources[0]))
            _run("lld-link", *_LINK, f"/machine:{linked}", f"/out:{image}", object_file)
            data = whole_sections(Path(image).read_bytes())
            Path(image).write_bytes(data)
            Path(image).replace(built)
    return built.read_bytes()


def whole_sections(image: bytes) -> bytes:
    """The image with VirtualSize at least SizeOfRawData: stubs refuse a kernel that has more in the file (259.2 on)."""
    data = bytearray(image)
    header = int.from_bytes(data[0x3C:0x40], "little")
    count, optional_size = struct.unpack_from("<H12xH", data, header + 6)
    for row in range(header + 24 + optional_size, header + 24 + optional_size + 40 * count, 40):
        virtual, _, raw = struct.unpack_from("<III", data, row + 8)
        struct.pack_into("<I", data, row + 8, max(virtual, raw))
    return bytes(data)


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    except FileNotFoundError as error:
        raise StubsimError(f"{command[0]} is not there", hint="make lab-setup") from error
    if done.returncode:
        raise StubsimError(f"{command[0]} failed: {(done.stderr or done.stdout).strip().splitlines()[0]}")
