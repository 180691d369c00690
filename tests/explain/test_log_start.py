"""What a log tells of the boot loader, where no option does."""

from __future__ import annotations

from pathlib import Path

import pytest

from stubsim.explain.log_start import with_loader
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.uki import load
from tests.explain.logs import log_of
from tests.loader.test_run import HOST, esp_of
from tests.stub.harness import make_pe

OTHER = "\\EFI\\systemd\\systemd-bootx64.efi"


@pytest.fixture
def esp(tmp_path: Path) -> Path:
    """Two boot loaders of other versions."""
    esp = esp_of(tmp_path, "257.13")
    (esp / "EFI/systemd").mkdir()
    magic = b"#### LoaderInfo: systemd-boot 262.1 ####\0"
    (esp / "EFI/systemd/systemd-bootx64.efi").write_bytes(make_pe((".sdmagic", magic)))
    return esp


def told(esp: Path, start: Start, given: Start | None = None) -> Start:
    """What is taken from the log of a boot that was started in some way."""
    uki = load(str(esp / "EFI/Linux/lab.efi"))
    return with_loader(given or Start(esp=str(esp)), log_of(boot(uki, HOST, start)), uki)


def test_the_boot_file(esp: Path):
    assert told(esp, Start(esp=str(esp), boot_file=OTHER)).boot_file == OTHER
    assert told(esp, Start(esp=str(esp))).boot_file == "\\EFI\\BOOT\\BOOTX64.EFI"


def test_none(esp: Path):
    """A boot option that names the UKI, though there is a boot loader."""
    assert told(esp, Start(esp=str(esp), loader="none")).loader == "none"


@pytest.mark.parametrize("given", [{"loader": "none"}, {"entry": "lab.efi"}, {"boot_file": "\\x.efi"}, {"esp": None}])
def test_options_go_before_it(esp: Path, given: dict[str, str | None]):
    start = Start(esp=str(esp))._replace(**given)  # type: ignore[arg-type]
    assert told(esp, Start(esp=str(esp), boot_file=OTHER), start) == start


def test_an_image_that_is_not_there_tells_nothing(esp: Path):
    uki = load(str(esp / "EFI/Linux/lab.efi"))
    log = log_of(boot(uki, HOST, Start(esp=str(esp), boot_file=OTHER)))
    (esp / "EFI/systemd/systemd-bootx64.efi").write_bytes(make_pe((".sdmagic", b"another")))
    assert with_loader(Start(esp=str(esp)), log, uki) == Start(esp=str(esp))
    (esp / "EFI/systemd/systemd-bootx64.efi").write_bytes(b"no image")
    assert with_loader(Start(esp=str(esp)), log, uki) == Start(esp=str(esp))
    assert with_loader(Start(esp=str(esp)), log._replace(events=()), uki) == Start(esp=str(esp))
