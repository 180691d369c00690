"""Where a UKI lies on the partition: a file of the tree, a path that was given, or what has to be taken for granted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from stubsim.rows import NamedTuple
from stubsim.uefi.esp import Esp, same_name
from stubsim.uki import Uki

# The name of an image that QEMU was given by -kernel (OvmfPkg, GenericQemuLoadImageLib; recorded): of no partition.
QEMU_KERNEL = "kernel"
# Type #2 entries of the Boot Loader Specification.
_USUAL_FOLDER = "\\EFI\\Linux\\"
_SHOWN = 8


class Found(NamedTuple):
    """The path as the firmware has it, and what is to be said of how it was come by."""

    path: str
    assumed: tuple[str, ...] = ()


def given(uki: Uki, esp: Esp, text: str) -> Found:
    """A path that was asked for. It need not be in the tree, which may hold only the rest of the partition."""
    if text == QEMU_KERNEL and esp.root is None:
        return Found(text)
    path, assumed = text.replace("/", "\\"), []
    if not path.startswith("\\"):
        path = f"\\{path}"
        assumed.append(f"--path {text}: has no leading backslash: {path} is used")
    if esp.root is not None:
        content = esp.read(path)
        if content is None:
            assumed.append(f"--path: {path} is not in --esp, which is taken to be the rest of the partition")
        elif len(content) != uki.size or content != uki.image.data:
            assumed.append(f"--path: {path} in --esp is another file, whose place the UKI is taken to have")
    return Found(path, tuple(assumed))


def found(uki: Uki, esp: Esp) -> Found:
    """The path of a UKI that lies in the tree, else of the only file with its content, else one that is likely."""
    if esp.root is None:
        return Found(_usual(uki))
    inside = _inside(uki.path, esp)
    if inside is not None:
        return Found(inside)
    paths = list(_equal(uki, esp))
    if len(paths) == 1:
        return Found(paths[0])
    if not paths:
        usual = _usual(uki)
        return Found(usual, (f"the UKI is not in --esp: it is taken to lie at {usual} (--path)",))
    started = next((path for path in paths if same_name(path, usual_boot_file(uki.machine))), None)
    which = "the first is taken" if started is None else f"{started}, which the firmware starts, is taken"
    return Found(started or paths[0], (f"the UKI is in --esp {len(paths)} times, {_listed(paths)}: {which} (--path)",))


def usual_boot_file(machine: str) -> str:
    """What the firmware starts from a partition that no boot option names (UEFI 2.10, 3.5.1.1)."""
    return f"\\EFI\\BOOT\\BOOT{machine.upper()}.EFI"


def _usual(uki: Uki) -> str:
    return _USUAL_FOLDER + os.path.basename(uki.path)


def _inside(path: str, esp: Esp) -> str | None:
    """The path within the tree of a file that was named there, links followed or not."""
    assert esp.root is not None
    for place in (os.path.abspath, os.path.realpath):
        below, root = place(path), place(esp.root)
        if os.path.isfile(below) and os.path.commonpath((below, root)) == root:
            return "\\" + os.path.relpath(below, root).replace(os.sep, "\\")
    return None


def _equal(uki: Uki, esp: Esp) -> Iterator[str]:
    for path in esp.paths():
        if os.path.getsize(path) == uki.size:
            name = esp.name_of(path)
            if esp.read(name) == uki.image.data:
                yield name


def _listed(paths: Sequence[str]) -> str:
    more = len(paths) - _SHOWN
    return ", ".join(paths[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
