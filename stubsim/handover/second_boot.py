"""The boot after a firmware update: what the new firmware is, and whether what the first boot left is still there."""

from __future__ import annotations

from collections.abc import Sequence

from stubsim.errors import StubsimError
from stubsim.extent import Extent, of_bytes
from stubsim.formats import efi_string
from stubsim.formats.vmfwupdate import Left
from stubsim.handover.guest import FwCfgError, Guest
from stubsim.handover.leaving import Dialect, Leaving, tell_warnings
from stubsim.machine.ram import PAGE
from stubsim.rows import NamedTuple
from stubsim.stub.context import Context
from stubsim.stub.devicetree import Devicetree
from stubsim.stub.initrd import Combined, Initrd
from stubsim.stub.kernel import linux_exec
from stubsim.uefi.loaded_image import ProgramFailed
from stubsim.uefi.memory import Memory, OutOfResources
from stubsim.uefi.memory_layout import FREE

_SECURITY = "EFI_SECURITY_VIOLATION"
_LOOP = "boot loop after the update"


class SecondBoot(NamedTuple):
    """How it ended, and what the kernel finds; ``firmware`` are the bytes at the end of the BIOS region."""

    status: str
    message: str | None = None
    efi_status: str | None = None
    firmware: Extent | None = None
    cmdline: str | None = None
    initrd: Combined | None = None
    load_options: bytes | None = None
    devicetree: Devicetree | None = None
    because: str | None = None


def second_boot(context: Context, leaving: Leaving, dialect: Dialect, left: Sequence[Left]) -> SecondBoot:
    """Start again on the machine as the reset left it; ``context`` is that of the new run, ``left`` what was staged.

    The firmware runs already when the end of the BIOS region has the payload's bytes; otherwise the stub would ask for
    the same update again. What the opaque page says is checked against the memory before anything is made of it.
    """
    machine = leaving.machine
    assert machine.bios is not None
    firmware = _joined(machine.bios.end(len(leaving.firmware)))
    wanted, found = context.digests.sha256(leaving.firmware), context.digests.sha256(firmware)
    if wanted != found:
        why = f"the BIOS region ends with other bytes than the firmware (SHA-256 {found.hex()[:16]}...)"
        return SecondBoot("boot-loop", f"{_LOOP}: {why}, so the stub asks for the same update again", None, firmware)
    if dialect.read_left is not None:
        context.log("info", "The machine already runs the selected firmware; nothing is handed over.")
    # Until the opaque page is read, nobody knows what of the memory is in use: what the first boot staged came from
    # the top, so the buffers go to the bottom.
    guest = Guest(machine, context.memory, context.emit, at=_lowest(context.memory))
    guest.probe()
    try:
        found_left = tuple(left) if dialect.read_left is None else dialect.read_left(guest)
        contents = {row.kind: _content(context, row) for row in found_left}
        for kind in ("firmware", "kernel"):
            if kind not in contents:
                raise StubsimError(f"the opaque page names no {kind}")
    except StubsimError as error:
        return SecondBoot("failed", f"what the first boot left is refused: {error}", _SECURITY, firmware)
    if dialect.settle is not None:
        told = len(machine.warnings)
        try:
            dialect.settle(guest, next(row for row in found_left if row.kind == "firmware"))
        except (FwCfgError, OutOfResources) as error:
            return SecondBoot("failed", f"the update device cannot be settled: {error}", "EFI_DEVICE_ERROR", firmware)
        tell_warnings(context, machine.warnings[told:])
    cmdline, initrd, tree = _cmdline(contents), _initrd(contents), _devicetree(contents)
    if dialect.read_left is None:
        context.unknown("how the new firmware starts the kernel", "no source says it", "load_options", "memory")
        return SecondBoot("kernel-started", None, None, firmware, _text(contents), initrd)
    try:
        started = linux_exec(context, _joined(contents["kernel"]), cmdline, initrd)
    except ProgramFailed as failure:
        return SecondBoot("failed", failure.message, failure.status, firmware, cmdline, initrd, because=failure.because)
    return SecondBoot("kernel-started", None, None, firmware, cmdline, initrd, started.load_options, tree)


def _lowest(memory: Memory) -> int | None:
    """Where the lowest two free pages are, as a gpa."""
    return next((row.start for row in memory.map() if row.type == FREE and row.start and row.pages > 1), None)


def _content(context: Context, row: Left) -> list[memoryview | Extent]:
    """The bytes of an entry, in RAM, where nothing of the new firmware lies, and unchanged; StubsimError otherwise."""
    where = f"{row.kind}, {row.size} bytes at {row.gpa:#x}"
    if row.size and not context.memory.contains(row.gpa, row.size):
        raise StubsimError(f"{where}: not all in RAM")
    try:
        if row.size:
            start = row.gpa & -PAGE
            context.memory.allocate(row.gpa + row.size - start, "EfiLoaderData", at=start)
    except OutOfResources:
        raise StubsimError(f"{where}: something else is there already") from None
    parts = [*context.memory.parts(row.gpa, row.size)]
    found = context.digests.sha256_of_parts(parts)
    if found != row.sha256:
        raise StubsimError(f"{where}: SHA-256 {found.hex()}", expected=row.sha256.hex())
    return parts


def _cmdline(contents: dict[str, list[memoryview | Extent]]) -> str | None:
    """UTF-16 with its NUL, as the first boot left it."""
    if "cmdline" not in contents:
        return None
    return efi_string.from_utf16(_joined(contents["cmdline"]))


def _text(contents: dict[str, list[memoryview | Extent]]) -> str | None:
    """Bytes up to a NUL, as the prototype leaves it."""
    if "cmdline" not in contents:
        return None
    return bytes(_joined(contents["cmdline"])).partition(b"\0")[0].decode("ascii", "replace")


def _initrd(contents: dict[str, list[memoryview | Extent]]) -> Combined | None:
    parts = contents.get("initrd", [])
    size = sum(map(len, parts))
    if not size:
        return None
    return Combined((Initrd("left", "left", parts, 0, size, True),), parts, size, True)


def _devicetree(contents: dict[str, list[memoryview | Extent]]) -> Devicetree | None:
    parts = contents.get("devicetree")
    return None if parts is None else Devicetree("left by the first boot", None, _joined(parts))


def _joined(parts: Sequence[memoryview | Extent]) -> Extent:
    return of_bytes(parts[0] if len(parts) == 1 else b"".join(map(bytes, parts)))
