"""QEMU's -kernel, -append and -initrd: what OVMF makes of them for an EFI program.

Rules: edk2, OvmfPkg/Library/GenericQemuLoadImageLib and X86QemuLoadImageLib; QEMU, hw/i386/x86-common.c. Booted with
QEMU 7.2.22 and OVMF 2022.11: the text of -append comes first and stands in for the UKI's own command line; with
AAVMF 2022.11: initrd=initrd comes behind it, and the initrd before the stub's. QEMU 7.2.22, 10.0.13 and 11.1.3 refuse a
UKI with -initrd on x86 ("linux kernel too old to load a ram disk").
"""

from __future__ import annotations

from stubsim.errors import StubsimError
from stubsim.hosts.host import DirectBoot
from stubsim.hosts.qemu_options import CommandLine, needs_shell
from stubsim.hosts.reading import shown
from stubsim.named_files import NamedFiles
from stubsim.rows import NamedTuple

_NEW_PREFIX = "initrd=initrd "
# As large as a host file may be, which it becomes a part of.
_MAXIMUM_SIZE = 32 << 20


class Kernel(NamedTuple):
    """What -kernel means for the host, which of it is not known, and what is to be said."""

    direct_boot: DirectBoot | None = None
    initrd: bytes | None = None
    unknown: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


def kernel(command: CommandLine, files: NamedFiles) -> Kernel:
    """With the initrd that is named. Raises StubsimError for what QEMU refuses: -append without -kernel."""
    name, append, initrd = (_last(command, option) for option in ("kernel", "append", "initrd"))
    if name is None:
        alone = "append" if append is not None else "initrd" if initrd is not None else None
        if alone is not None and command.complete:
            raise StubsimError(f"-{alone} without -kernel", expected="options that QEMU takes")
        if alone is None:
            return Kernel()
        text = f"-{alone} is not taken into account: the line has no -kernel"
        return Kernel(unknown=frozenset({"direct_boot"}), notes=(text,))
    unknown: set[str] = set()
    notes = [f"-kernel {shown(name)} is taken for the UKI: it comes from no partition, its path is kernel"]
    # Byte for byte, so that what is not ASCII comes out as Latin-1.
    options = (append or "").encode("utf-8", "surrogateescape").decode("latin-1")
    if append is not None and needs_shell(command, append):
        unknown.add("direct_boot.load_options")
    content = None
    if initrd is not None:
        options = _NEW_PREFIX + options
        unknown.add("direct_boot.load_options")
        content = files.read(initrd, _MAXIMUM_SIZE, "-initrd")
        if content is None:
            unknown.add("previous_initrd")
            notes.append(f"-initrd {shown(initrd)}: cannot be read here")
        notes.append(
            "-initrd puts initrd=initrd in front of the load options, with an older OVMF or AAVMF behind them; on x86 "
            "QEMU refuses it for a UKI (up to 11.1 at least)"
        )
    if command.has("shim"):
        unknown.add("direct_boot.load_options")
        notes.append("-shim is not taken into account: it starts the UKI with load options of its own")
    return Kernel(DirectBoot(options or None), content, frozenset(unknown), tuple(notes))


def _last(command: CommandLine, name: str) -> str | None:
    texts = [option.text for option in command.of(name)]
    return texts[-1] if texts else None
