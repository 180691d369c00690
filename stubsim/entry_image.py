"""The image of an entry, found before anything is booted: from a partition's tree and the name of the entry alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stubsim.errors import StubsimError
from stubsim.hosts import Host
from stubsim.loader.image import Loader, find_loader
from stubsim.loader.menu import Partitions, choose, menu_of
from stubsim.shim.image import find_shim
from stubsim.uefi.esp import Esp
from stubsim.uefi.image_path import usual_boot_file

_MACHINES = ("x64", "aa64")


def loader_of(esp: Esp, host: Host, boot_file: str | None) -> Loader:
    """systemd-boot, as the firmware of a machine starts it, by itself or by shim. Raises StubsimError for none."""
    for machine, path in _started(esp, host, boot_file):
        loader = find_loader(esp, machine, path)
        if loader is not None:
            return loader
    raise StubsimError("no systemd-boot there", path=esp.root, expected="systemd-boot (--boot-file)")


def image_of(wanted: str, host: Host, partitions: Partitions, boot_file: str | None) -> str:
    """The path, on this computer, of the image that the entry starts. Raises StubsimError for no such entry."""
    loader = loader_of(partitions.esp, host, boot_file)
    entry = choose(menu_of(loader, host, partitions), wanted=wanted, path=None, profile=0)
    place = partitions.of(entry).host_path(entry.loader or "")
    if place is None:
        raise StubsimError(
            f"the entry {entry.id} names no image of the partition", path=partitions.esp.root, expected="a UKI"
        )
    return place


def started(
    hosts: Sequence[Host], esp: str, xbootldr: str | None, boot_file: str | None, wanted: str | None
) -> tuple[str, str | None]:
    """The path of what the machines start, and by which entry; none of them: a UKI in the firmware's place.

    The partitions are folders. Without ``wanted`` it is that, or else the boot loader's default. Raises StubsimError
    for no image, and for two.
    """
    partition = Esp(esp)
    own = _by_firmware(partition, hosts[0], boot_file) if wanted is None else None
    if own is not None:
        return own, None
    entry = wanted or "default"
    partitions = Partitions(partition, None if xbootldr is None else Esp(xbootldr))
    found = sorted({image_of(entry, host, partitions, boot_file) for host in hosts})
    if len(found) > 1:
        raise StubsimError(f"the machines start {' and '.join(found)}", expected="one image, or a UKI that is given")
    return found[0], entry


def _by_firmware(esp: Esp, host: Host, boot_file: str | None) -> str | None:
    """The UKI that the firmware, or shim, starts from a partition; None for another program."""
    for machine, named in _started(esp, host, boot_file):
        path = named or usual_boot_file(machine)
        place = esp.host_path(path)
        if place is not None:
            program = esp.program(path)
            sections = () if program is None else program.image.sections
            return place if any(section.name == ".linux" for section in sections) else None
    return None


def _started(esp: Esp, host: Host, boot_file: str | None) -> Iterator[tuple[str, str | None]]:
    """For each architecture that the machine may have what is started, by shim where that is there first."""
    for machine in _MACHINES if host.architecture is None else (host.architecture,):
        shim = find_shim(esp, machine, boot_file)
        yield machine, boot_file if shim is None else shim.second_stage
