"""Which Linux a kernel image is, by its header and the UKI's `.uname`."""

from __future__ import annotations

import re

from stubsim.extent import Bytes
from stubsim.rows import NamedTuple

# Documentation/arch/x86/boot.rst: boot flag, magic, and the offset of the version text, from 0x200.
_BOOT_FLAG, _SETUP_MAGIC, _VERSION_OFFSET = 0x1FE, 0x202, 0x20E
_VERSION_MAX = 256
# Documentation/arch/arm64/booting.rst and arch/riscv/boot-image-header.rst: magic at offset 56.
# Newer ones for other architectures have LINUX_PE_MAGIC of include/linux/pe.h there.
_IMAGE_MAGICS = {b"ARM\x64": "arm64 Image", b"RSC\x05": "riscv Image", b"\xcd\x23\x82\x81": "EFI Image"}
_IMAGE_MAGIC = 56
# drivers/firmware/efi/libstub/zboot-header.S
_ZBOOT_MAGIC = b"zimg"
_RELEASE = re.compile(r"(\d{1,4})\.(\d{1,6})")


class Linux(NamedTuple):
    """``format`` of the image, its ``release`` as text and as (major, minor); None where nothing tells."""

    format: str
    release: str | None
    version: tuple[int, int] | None


def identify(image: Bytes, uname: bytes | None = None) -> Linux | None:
    """The Linux in an image; None for what is none.

    An x86 image has its release in its header; images for other architectures have none that is not compressed, so
    what `.uname` says has to do.
    """
    head = bytes(image[: _VERSION_OFFSET + 2])
    named = None if uname is None else uname.partition(b"\0")[0].decode("utf-8", "replace").strip()
    if head[_BOOT_FLAG : _BOOT_FLAG + 2] == b"\x55\xaa" and head[_SETUP_MAGIC : _SETUP_MAGIC + 4] == b"HdrS":
        start = int.from_bytes(head[_VERSION_OFFSET : _VERSION_OFFSET + 2], "little") + 0x200
        text = bytes(image[start : start + _VERSION_MAX]).partition(b"\0")[0] if start > 0x200 else b""
        own = text.decode("ascii", "replace").partition(" ")[0]
        return _linux("bzImage", own or named)
    if head[4:8] == _ZBOOT_MAGIC and head[:2] == b"MZ":
        return _linux("zboot", named)
    kind = _IMAGE_MAGICS.get(head[_IMAGE_MAGIC : _IMAGE_MAGIC + 4])
    return None if kind is None else _linux(kind, named)


def _linux(kind: str, release: str | None) -> Linux:
    match = _RELEASE.match(release or "")
    return Linux(kind, release or None, None if match is None else (int(match[1]), int(match[2])))
