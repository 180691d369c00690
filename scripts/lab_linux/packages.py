"""What the lab boots, from Debian's packages: kernel with modules, loader, stub, firmware, shim, busybox.

Each package is fetched once, without installing it, and unpacked under STUBSIM_LAB/packages/SUITE; remove that folder
to have the suite's newest again.
"""

from __future__ import annotations

import lzma
import re
from pathlib import Path

from scripts.lab import stubs
from stubsim.errors import StubsimError

# Package -> those of its dependencies that hold the files: newer suites split them.
_HOLD = {
    "linux-image-cloud-amd64": r"linux-(image|binary|modules)-\d.*",
    "ovmf": "ovmf-generic",
    "qemu-system-x86": r"lib.*|zlib1g|qemu-system-(common|data)|seabios|ipxe-qemu",
    "systemd": r"lib.*|zlib1g",
    "systemd-tpm": r"lib.*|zlib1g",
}
MODULES = ("efivarfs", "qemu_fw_cfg")


def file(suite: str, package: str, pattern: str) -> Path:
    """The one file of the package (or of what it is split into) that the pattern names. StubsimError: none, or more."""
    folder = stubs.LAB / "packages" / suite / package
    if not folder.is_dir():
        stubs.unpack(suite, "amd64", _names(suite, package), folder)
    found = [path for path in folder.glob(pattern) if path.is_file()]
    if len(found) != 1:
        raise StubsimError(f"{len(found)} files of {package} in {suite}", path=pattern, expected="one")
    return found[0]


def _names(suite: str, package: str) -> list[str]:
    if package not in _HOLD:
        return [package]
    needed = stubs.depends(suite, "amd64", package)
    return [package, *sorted(name for name in needed if re.fullmatch(_HOLD[package], name))]


def kernel(suite: str) -> Path:
    try:
        return file(suite, "linux-image-cloud-amd64", "boot/vmlinuz-*")
    except StubsimError:
        return file(suite, "linux-image-cloud-amd64", "usr/lib/modules/*/vmlinuz")


def modules(suite: str) -> dict[str, bytes]:
    """Those that the guest needs, by file name."""
    found = {}
    for name in MODULES:
        path = file(suite, "linux-image-cloud-amd64", f"**/lib/modules/*/kernel/**/{name}.ko*")
        data = path.read_bytes()
        found[f"{name}.ko"] = lzma.decompress(data) if path.suffix == ".xz" else data
    return found


def stub(suite: str) -> Path:
    return file(suite, "systemd-boot-efi", "usr/lib/systemd/boot/efi/linuxx64.efi.stub")


def addon_stub(suite: str) -> Path:
    return file(suite, "systemd-boot-efi", "usr/lib/systemd/boot/efi/addonx64.efi.stub")


def loader(suite: str) -> Path:
    return file(suite, "systemd-boot-efi", "usr/lib/systemd/boot/efi/systemd-bootx64.efi")


def firmware(suite: str, name: str) -> Path:
    return file(suite, "ovmf", f"usr/share/OVMF/{name}")


def shim(suite: str) -> Path:
    return file(suite, "shim-signed", "usr/lib/shim/shimx64.efi.signed")


def qemu(suite: str | None) -> list[str]:
    """The command: the machine's own QEMU, or that of a suite."""
    if suite is None:
        return ["qemu-system-x86_64"]
    root = stubs.LAB / "packages" / suite / "qemu-system-x86"
    data = [str(root / folder) for folder in ("usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu")]
    return [
        *program(suite, "qemu-system-x86", "usr/bin/qemu-system-x86_64"),
        *(part for name in data for part in ("-L", name)),
    ]


def program(suite: str, package: str, pattern: str) -> list[str]:
    """The command that runs a program of the package with the suite's own libraries."""
    path, linker = file(suite, package, pattern), file(suite, package, "usr/lib*/ld-linux-x86-64.so.2")
    libraries = stubs.LAB / "packages" / suite / package / "usr/lib/x86_64-linux-gnu"
    return [str(linker), "--library-path", f"{libraries}:{libraries}/systemd", str(path)]


def busybox() -> Path:
    return file("trixie", "busybox-static", "usr/bin/busybox")
