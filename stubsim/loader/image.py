"""systemd-boot as it lies on the partition: how it is told, and its version."""

from __future__ import annotations

from stubsim.errors import StubsimError
from stubsim.loader.releases import LoaderModel, model_of
from stubsim.rows import NamedTuple
from stubsim.uefi.esp import Esp
from stubsim.uefi.image_path import usual_boot_file
from stubsim.uki import Uki


class Loader(NamedTuple):
    """systemd-boot as it lies on the partition that the firmware starts it from."""

    image: Uki
    path: str
    version: str

    @property
    def model(self) -> LoaderModel:
        return model_of(self.version)


def find_loader(esp: Esp, machine: str, boot_file: str | None) -> Loader | None:
    """What the firmware starts from a partition, where that is systemd-boot. Raises StubsimError for no such file."""
    usual = (usual_boot_file(machine), f"\\EFI\\systemd\\systemd-boot{machine}.efi")
    for path in usual if boot_file is None else (boot_file,):
        if esp.read(path) is None:
            continue
        image = esp.program(path)
        version = None if image is None else loader_version(image)
        return None if image is None or version is None else Loader(image, path, version)
    if boot_file is not None:
        raise StubsimError("no such file on the partition", path=boot_file, expected="what the firmware starts")
    return None


def loader_version(uki: Uki) -> str | None:
    """The version of systemd-boot in an image, None in any other (.sdmagic)."""
    stub = uki.stub
    return stub.version if stub is not None and stub.name == "systemd-boot" else None
