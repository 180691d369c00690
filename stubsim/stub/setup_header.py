"""The setup header of a bzImage, as stubs read it that do not start the kernel by its own PE headers."""

from __future__ import annotations

from stubsim.extent import Extent
from stubsim.stub.context import Context

# Linux/x86 boot protocol, Documentation/arch/x86/boot.rst: offsets in the setup header.
_BOOT_FLAG, _HEADER_MAGIC, _VERSION, _RELOCATABLE, _XLOADFLAGS, _CMDLINE_SIZE = 0x1FE, 0x202, 0x206, 0x234, 0x236, 0x238
_XLF_CAN_BE_LOADED_ABOVE_4G, _XLF_EFI_HANDOVER_32, _XLF_EFI_HANDOVER_64 = 1 << 1, 1 << 2, 1 << 3


def check_setup_header(context: Context, kernel: Extent) -> None:
    """Whether a bzImage has the 64-bit (32-bit) EFI handover entry; of 4096 bytes at least. Raises ProgramFailed."""
    if _number(kernel, _HEADER_MAGIC, 4) != int.from_bytes(b"HdrS", "little") or (
        _number(kernel, _BOOT_FLAG, 2) != 0xAA55
    ):
        raise context.fail("Unsupported kernel image.", "EFI_UNSUPPORTED")
    if _number(kernel, _VERSION, 2) < 0x20B:
        raise context.fail("Kernel too old.", "EFI_UNSUPPORTED")
    if not kernel[_RELOCATABLE]:
        raise context.fail("Kernel is not relocatable.", "EFI_UNSUPPORTED")
    wanted = _XLF_EFI_HANDOVER_64 if context.machine == "x64" else _XLF_EFI_HANDOVER_32
    if _number(kernel, _VERSION, 2) >= 0x20C and not _number(kernel, _XLOADFLAGS, 2) & wanted:
        raise context.fail("Kernel does not support EFI handover protocol.", "EFI_UNSUPPORTED")


def command_line_limit(kernel: Extent) -> int:
    """The characters of command line that a bzImage takes, without the NUL."""
    return _number(kernel, _CMDLINE_SIZE, 4)


def loads_above_4g(kernel: Extent) -> bool:
    """Whether a bzImage, and what it is given, may lie above 4 GiB; the flag is there since protocol 2.12."""
    return _number(kernel, _VERSION, 2) >= 0x20C and bool(_number(kernel, _XLOADFLAGS, 2) & _XLF_CAN_BE_LOADED_ABOVE_4G)


def _number(kernel: Extent, offset: int, size: int) -> int:
    return int.from_bytes(kernel[offset : offset + size], "little")
