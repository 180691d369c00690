"""Where a UKI lies on the partition."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given as any_of
from hypothesis import strategies as st

from stubsim import uki
from stubsim.errors import StubsimError
from stubsim.uefi import image_path
from stubsim.uefi.esp import Esp
from stubsim.uefi.image_path import Found
from tests.samples import FULL_UKI


@pytest.fixture
def esp(tmp_path: Path) -> Path:
    folder = tmp_path / "esp"
    (folder / "EFI" / "Linux").mkdir(parents=True)
    return folder


def put(path: Path, data: bytes = FULL_UKI) -> uki.Uki:
    path.write_bytes(data)
    return uki.load(str(path))


def test_a_uki_of_the_tree_has_its_path_there(esp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    image = put(esp / "EFI" / "Linux" / "b.efi")
    put(esp / "EFI" / "Linux" / "a.efi")
    assert image_path.found(image, Esp(str(esp))) == Found("\\EFI\\Linux\\b.efi")
    monkeypatch.chdir(esp / "EFI")
    assert image_path.found(uki.load("Linux/b.efi"), Esp("..")) == Found("\\EFI\\Linux\\b.efi")
    # The tree by another name, and a link in the tree to a file elsewhere.
    (tmp_path / "mount").symlink_to(esp)
    assert image_path.found(image, Esp(str(tmp_path / "mount"))) == Found("\\EFI\\Linux\\b.efi")
    put(tmp_path / "built.efi")
    (esp / "EFI" / "Linux" / "c.efi").symlink_to(tmp_path / "built.efi")
    assert image_path.found(uki.load(str(esp / "EFI/Linux/c.efi")), Esp(str(esp))) == Found("\\EFI\\Linux\\c.efi")


def test_a_folder_whose_name_begins_alike_is_another(esp: Path, tmp_path: Path):
    (tmp_path / "esp2").mkdir()
    image = put(tmp_path / "esp2" / "x.efi")
    assert image_path.found(image, Esp(str(esp))).path == "\\EFI\\Linux\\x.efi"


def test_many_of_the_same_content(esp: Path, tmp_path: Path):
    image = put(tmp_path / "x.efi")
    for index in range(12):
        put(esp / f"{index:02}.efi")
    put(esp / "longer.efi", FULL_UKI + b"x")
    path, assumed = image_path.found(image, Esp(str(esp)))
    assert path == "\\00.efi"
    assert len(assumed) == 1
    assert "12 times" in assumed[0]
    assert "\\07.efi and 4 more: " in assumed[0]


def test_no_tree(tmp_path: Path):
    image = put(tmp_path / "x.efi")
    assert image_path.found(image, Esp(None)) == Found("\\EFI\\Linux\\x.efi")
    # A recorded boot by QEMU's -kernel: the identifiers are "kernel".
    assert image_path.given(image, Esp(None), "kernel") == Found("kernel")
    path, assumed = image_path.given(image, Esp(None), "a/b")
    assert (path, len(assumed)) == ("\\a\\b", 1)


def test_another_file_of_the_given_path(esp: Path, tmp_path: Path):
    (esp / "kernel").write_bytes(b"another")
    image = put(tmp_path / "x.efi")
    path, assumed = image_path.given(image, Esp(str(esp)), "kernel")
    assert path == "\\kernel"
    assert [text for text in assumed if "another file" in text]


@any_of(st.text(max_size=20))
def test_any_text_is_a_path(text: str):
    class Image:
        path, size = "x.efi", 3

    path, assumed = image_path.given(Image(), Esp(None), text)  # type: ignore[arg-type]
    assert path == "kernel" or (path.startswith("\\") and "/" not in path)
    assert bool(assumed) == (not text.startswith(("\\", "/")) and text != "kernel")


def test_an_esp_that_is_none(tmp_path: Path):
    with pytest.raises(StubsimError, match="no such folder"):
        Esp(str(tmp_path / "no"))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StubsimError, match="not a folder"):
        Esp(str(tmp_path / "file"))
