"""The image of an entry, found before anything is booted: from a partition's tree and the name of the entry alone."""

from __future__ import annotations

from stubsim.errors import StubsimError
from stubsim.hosts import Host
from stubsim.loader.menu import Loader, Partitions, choose, find_loader, menu_of
from stubsim.shim.image import find_shim
from stubsim.uefi.esp import Esp

_MACHINES = ("x64", "aa64")


def loader_of(esp: Esp, host: Host, boot_file: str | None) -> Loader:
    """systemd-boot, as the firmware of a machine starts it, by itself or by shim. Raises StubsimError for none."""
    for machine in _MACHINES if host.architecture is None else (host.architecture,):
        shim = find_shim(esp, machine, boot_file)
        loader = find_loader(esp, machine, boot_file if shim is None else shim.second_stage)
        if loader is not None:
            return loader
    raise StubsimError("no systemd-boot there", path=esp.root, expected="systemd-boot (--boot-file)")


def image_of(wanted: str, host: Host, esp: str, xbootldr: str | None, boot_file: str | None) -> str:
    """The path, on this computer, of the image that the entry starts; the partitions are folders.

    Raises StubsimError for no such entry.
    """
    partitions = Partitions(Esp(esp), None if xbootldr is None else Esp(xbootldr))
    loader = loader_of(partitions.esp, host, boot_file)
    entry = choose(menu_of(loader, host, partitions), wanted=wanted, path=None, profile=0)
    place = partitions.of(entry).host_path(entry.loader or "")
    if place is None:
        raise StubsimError(f"the entry {entry.id} names no image of the partition", path=esp, expected="a UKI")
    return place
