"""The image of an entry, found before anything is booted: from a partition's tree and the name of the entry alone."""

from __future__ import annotations

from collections.abc import Sequence

from stubsim.errors import StubsimError
from stubsim.hosts import Host
from stubsim.loader.menu import Loader, Partitions, choose, find_loader, menu_of
from stubsim.shim.image import find_shim
from stubsim.uefi.esp import Esp
from stubsim.uefi.image_path import usual_boot_file
from stubsim.uki import load

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


def started(
    hosts: Sequence[Host], esp: str, xbootldr: str | None, boot_file: str | None, wanted: str | None
) -> tuple[str, str | None]:
    """The path of what the machines start, and by which entry; none of them: a UKI in the firmware's place.

    Without ``wanted`` it is that, or else the boot loader's default. Raises StubsimError for no image, and for two.
    """
    own = _by_firmware(hosts[0], Esp(esp), boot_file) if wanted is None else None
    if own is not None:
        return own, None
    entry = wanted or "default"
    found = sorted({image_of(entry, host, esp, xbootldr, boot_file) for host in hosts})
    if len(found) > 1:
        raise StubsimError(f"the machines start {' and '.join(found)}", expected="one image, or a UKI that is given")
    return found[0], entry


def _by_firmware(host: Host, esp: Esp, boot_file: str | None) -> str | None:
    """The UKI that the firmware, or shim, starts from a partition; None for another program."""
    for machine in _MACHINES if host.architecture is None else (host.architecture,):
        shim = find_shim(esp, machine, boot_file)
        path = (boot_file or usual_boot_file(machine)) if shim is None else shim.second_stage
        place = esp.host_path(path)
        if place is not None:
            return place if _is_uki(place) else None
    return None


def _is_uki(path: str) -> bool:
    try:
        return any(section.name == ".linux" for section in load(path).image.sections)
    except StubsimError:
        return False
