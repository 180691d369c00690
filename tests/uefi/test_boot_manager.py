"""PCR 4 by hand from the events of a trace, and the order in which the trace has them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from stubsim.digests import Digests
from stubsim.extent import Extent, of_bytes
from stubsim.formats import pe
from stubsim.hosts import Host
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.trace import ImageLoaded, Measured, Unknown
from stubsim.uefi.boot_manager import boot_manager_pcr
from stubsim.uefi.image_path import QEMU_KERNEL
from tests.stub.harness import make_pe, make_uki

ATTEMPT, SEPARATOR = b"Calling EFI Application from Boot Option", bytes(4)


def loaded(path: str, content: bytes, subsystem: int = pe.APPLICATION) -> ImageLoaded:
    return ImageLoaded(path, subsystem, of_bytes(content), "firmware")


def hashed(algorithm: str, data: Extent) -> bytes:
    return hashlib.new(algorithm, b"image " + bytes(data)).digest()


def extended(bank: str, *digests: bytes) -> bytes:
    value = bytes(hashlib.new(bank).digest_size)
    for digest in digests:
        value = hashlib.new(bank, value + digest).digest()
    return value


@pytest.mark.parametrize("bank", ["sha1", "sha256", "sha384"])
def test_attempt_and_separator_come_before_the_images(bank: str):
    images = [loaded("\\a.efi", b"a"), loaded("\\d.efi", b"driver", pe.BOOT_SERVICE_DRIVER), loaded("\\b.efi", b"b")]
    fixed = [hashlib.new(bank, content).digest() for content in (ATTEMPT, SEPARATOR)]
    expected = extended(bank, *fixed, hashed(bank, of_bytes(b"a")), hashed(bank, of_bytes(b"b")))
    assert boot_manager_pcr(images, (bank,), Digests((bank,)), hashed) == {bank: expected}


def test_qemus_kernel_comes_before_the_attempt():
    fixed = [hashlib.sha256(content).digest() for content in (ATTEMPT, SEPARATOR)]
    own, more = (hashed("sha256", of_bytes(content)) for content in (b"a", b"b"))
    images = [loaded(QEMU_KERNEL, b"a"), loaded("\\b.efi", b"b")]
    assert boot_manager_pcr(images, ("sha256",), Digests(), hashed) == {"sha256": extended("sha256", own, *fixed, more)}


def test_the_trace_has_the_images_where_they_are_loaded(tmp_path: Path):
    """257: the UKI, its addons behind the measuring of the image, then the kernel, which 262 loads itself."""
    folder = tmp_path / "loader" / "addons"
    folder.mkdir(parents=True)
    (folder / "a.addon.efi").write_bytes(make_pe((".cmdline", b"more")))
    uki = make_uki()
    for stub, kernel in (("257", [".linux"]), ("262", [])):
        result = boot(uki, Host(), Start(esp=str(tmp_path), path="\\u.efi", stub=stub))
        images = result.events(ImageLoaded)
        assert [event.path for event in images] == ["\\u.efi", "\\loader\\addons\\a.addon.efi", *kernel]
        assert [event.by for event in images] == ["firmware", "stub", *["stub" for _ in kernel]]
        measured = [event for event in result.trace if isinstance(event, Measured) and event.pcr == 11]
        places = [result.trace.index(event) for event in (images[0], measured[0], images[1])]
        assert places == sorted(places)


def test_the_firmware_does_not_measure_the_kernel_under_secure_boot():
    """Its check is where it measures, and the stub stands in for that."""
    signed = make_uki(certificates=b"signature")
    for host, expected in ((Host(), [".linux"]), (Host(secure_boot=True), [])):
        images = boot(signed, host, Start(stub="257")).events(ImageLoaded)
        assert [event.path for event in images[1:]] == expected


def test_an_addon_for_another_machine_is_measured_and_refused(tmp_path: Path):
    """257.13 and 262.1 on OVMF 2022.11: not the text, nor an image for no machine."""
    (folder := tmp_path / "loader" / "addons").mkdir(parents=True)
    for name, machine in (("a", 0xAA64), ("b", 0)):
        (folder / f"{name}.addon.efi").write_bytes(make_pe((".cmdline", b"more"), machine=machine))
    (folder / "c.addon.efi").write_bytes(b"text")
    result = boot(make_uki(), Host(), Start(esp=str(tmp_path), path="\\u.efi", stub="262"))
    assert [event.path for event in result.events(ImageLoaded)] == ["\\u.efi", "\\loader\\addons\\a.addon.efi"]
    assert result.load_options is None
    assert not [event for event in result.events(Unknown) if event.what == "PCR 4"]
