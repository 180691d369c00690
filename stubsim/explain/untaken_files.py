"""Files that lie where a stub looks, beside the UKI and in \\loader, and that it does not take, and by which rule.

The rules are those of the manual of systemd-stub; a stub passes over such files without a word.
"""

from __future__ import annotations

from collections.abc import Iterator

from stubsim.explain.quiet import quiet_context
from stubsim.result import Boot
from stubsim.rows import NamedTuple
from stubsim.start import Start
from stubsim.stub.addons import extra_folder, folder_files
from stubsim.stub.context import Context
from stubsim.stub.models import which
from stubsim.uefi.esp import same_name

_EXTRA = ".extra.d"
_SUFFIXES = (".addon.efi", ".cred", ".raw")
_LOADER = {
    "\\loader\\addons": (".addon.efi",),
    "\\loader\\credentials": (".cred",),
    "\\loader\\extensions": (".raw",),
}


class Untaken(NamedTuple):
    """A file or folder of the partition, and why the stub does not take it."""

    path: str
    why: str


def untaken_files(boot: Boot, start: Start) -> tuple[Untaken, ...]:
    """In the order of the folders; () where the UKI comes from no tree."""
    context = quiet_context(boot, start)
    if context.image.esp is None or context.image.esp.root is None:
        return ()
    own = extra_folder(context)
    rows = [] if own is None else [*_beside(context, own), *_in_folder(context, own, _SUFFIXES)]
    for folder, suffixes in _LOADER.items():
        rows += _in_folder(context, folder, suffixes)
    return tuple(rows)


def _beside(context: Context, own: str) -> Iterator[Untaken]:
    """Other UKIs' folders, and what belongs into one."""
    esp = context.image.esp
    assert esp is not None
    place, _, wanted = own.rpartition("\\")
    for name in sorted(esp.folders(place) or ()):
        if name.lower().endswith(_EXTRA) and not same_name(name, wanted):
            yield Untaken(f"{place}\\{name}", f"the folder of another UKI; this one's is {wanted}")
    for name in sorted(esp.folder(place) or ()):
        if name.lower().endswith(_SUFFIXES):
            yield Untaken(f"{place}\\{name}", f"beside the UKI nothing is taken; it belongs in {wanted}")


def _in_folder(context: Context, folder: str, suffixes: tuple[str, ...]) -> Iterator[Untaken]:
    esp = context.image.esp
    assert esp is not None
    names = esp.folder(folder)
    if names is None:
        return
    taken = {name for suffix in suffixes for name in folder_files(context, folder, suffix) or ()}
    late = folder == "\\loader\\extensions" and not context.model.packs_global_extensions
    listed = ", ".join(f"*{suffix}" for suffix in suffixes)
    for name in sorted(names):
        if name in taken:
            if late:
                older = which(lambda model: not model.packs_global_extensions)
                yield Untaken(f"{folder}\\{name}", f"stubs {older} take no extensions from here")
            continue
        if name.startswith("."):
            why = "its name begins with a dot"
        elif not name.isascii():
            why = "its name is not ASCII"
        elif len(name) > 255:
            why = "its name is longer than 255 characters"
        else:
            why = f"only {listed} are taken here"
        yield Untaken(f"{folder}\\{name}", why)
    for name in sorted(esp.folders(folder) or ()):
        yield Untaken(f"{folder}\\{name}", "a folder, and only files are taken here")
