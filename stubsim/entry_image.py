"""The image of an entry, found before anything is booted: from a partition's tree and the name of the entry alone."""

from __future__ import annotations

from stubsim.errors import StubsimError
from stubsim.hosts import Host
from stubsim.loader import run
from stubsim.shim.image import find_shim
from stubsim.uefi.esp import Esp

_MACHINES = ("x64", "aa64")


def loader_of(esp: Esp, host: Host, boot_file: str | None) -> run.Loader:
    """systemd-boot, as the firmware of a machine starts it, by itself or by shim. Raises StubsimError for none."""
    for machine in _MACHINES if host.architecture is None else (host.architecture,):
        shim = find_shim(esp, machine, boot_file)
        loader = run.find_loader(esp, machine, boot_file if shim is None else shim.second_stage)
        if loader is not None:
            return loader
    raise StubsimError("no systemd-boot there", path=esp.root, expected="systemd-boot (--boot-file)")


def image_of(wanted: str, host: Host, esp: Esp, xbootldr: Esp | None, boot_file: str | None) -> str:
    """This host's path of the image that the entry starts. Raises StubsimError for no such entry."""
    loader = loader_of(esp, host, boot_file)
    entries = run.entries_of(loader, host, esp, xbootldr)
    entry = run.choose(loader, host, entries, esp, wanted=wanted, path=None, profile=0)
    place = run.Partitions(esp, xbootldr).of(entry).host_path(entry.loader or "")
    if place is None:
        raise StubsimError(f"the entry {entry.id} names no image of the partition", path=esp.root, expected="a UKI")
    return place
