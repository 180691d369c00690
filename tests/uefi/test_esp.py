"""The partition: a folder of the host under the rules of FAT."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stubsim.errors import StubsimError
from stubsim.uefi.esp import Esp, same_name
from tests.samples import uki


@pytest.fixture
def esp(tmp_path: Path) -> Esp:
    folder = tmp_path / "EFI" / "Linux"
    folder.mkdir(parents=True)
    (folder / "Lab.efi").write_bytes(b"lab")
    (folder / "folder.efi").mkdir()
    (tmp_path / "top.txt").write_bytes(b"")
    return Esp(str(tmp_path))


@pytest.mark.parametrize("path", ["\\EFI\\Linux\\Lab.efi", "\\efi\\LINUX\\lab.EFI", "EFI\\\\Linux\\Lab.efi"])
def test_names_have_no_case(esp: Esp, path: str):
    assert esp.read(path) == b"lab"


def test_the_exact_name_wins_where_the_host_has_both(tmp_path: Path):
    """A FAT cannot hold both, the host's folder can; the choice must not depend on the host's order."""
    for name in ("b.cred", "B.cred"):
        (tmp_path / name).write_bytes(name.encode())
    esp = Esp(str(tmp_path))
    assert esp.read("\\b.cred") == b"b.cred"
    assert esp.read("\\B.cred") == b"B.cred"
    assert esp.read("\\B.CRED") == b"B.cred"


def test_folders_are_left_out(esp: Esp):
    assert esp.folder("\\efi\\linux") == ["Lab.efi"]
    assert esp.folder("\\") == ["top.txt"]
    assert esp.read("\\EFI\\Linux\\folder.efi") is None


@pytest.mark.parametrize(
    "path", ["\\loader", "\\EFI\\Linux\\gone", "\\top.txt", "\\top.txt\\x", "\\EFI\\Linux\\Lab.efi"]
)
def test_no_such_folder(esp: Esp, path: str):
    assert esp.folder(path) is None


@pytest.mark.parametrize("path", ["\\gone", "\\EFI\\gone\\x", "\\top.txt\\x", "\\..\\x", "\\EFI"])
def test_no_such_file(esp: Esp, path: str):
    assert esp.read(path) is None


def test_nothing_above_the_partition(tmp_path: Path):
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "esp").mkdir()
    assert Esp(str(tmp_path / "esp")).read("\\..\\secret") is None


def test_an_empty_partition():
    esp = Esp(None)
    assert esp.folder("\\") is None
    assert esp.read("\\x") is None
    assert esp.paths() == []


def test_paths_and_names(esp: Esp, tmp_path: Path):
    assert sorted(esp.name_of(path) for path in esp.paths()) == ["\\EFI\\Linux\\Lab.efi", "\\top.txt"]


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_content(tmp_path: Path, size: int):
    (tmp_path / "x").write_bytes(b"y" * size)
    content = Esp(str(tmp_path)).read("\\x")
    assert content is not None
    assert bytes(content) == b"y" * size


def test_a_program_is_opened_once(tmp_path: Path):
    (tmp_path / "a.efi").write_bytes(uki())
    (tmp_path / "b.efi").write_bytes(b"no image")
    esp = Esp(str(tmp_path))
    found = esp.program("\\A.EFI")
    assert found is not None
    assert (found.path, found) == ("\\A.EFI", esp.program("\\A.EFI"))
    assert [esp.program(path) for path in ("\\b.efi", "\\c.efi")] == [None, None]


def test_what_is_no_file_does_not_block(tmp_path: Path):
    """A pipe in the host's folder: an error that names it, since a FAT has no such thing."""
    os.mkfifo(tmp_path / "x.cred")
    esp = Esp(str(tmp_path))
    with pytest.raises(StubsimError) as error:
        esp.read("\\x.cred")
    assert error.value.path == str(tmp_path / "x.cred")
    assert esp.paths() == []


def test_a_link_to_nowhere(tmp_path: Path):
    (tmp_path / "x.cred").symlink_to(tmp_path / "gone")
    esp = Esp(str(tmp_path))
    assert esp.folder("\\") == ["x.cred"]
    with pytest.raises(StubsimError) as error:
        esp.read("\\x.cred")
    assert error.value.path == str(tmp_path / "x.cred")
    assert esp.paths() == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable(tmp_path: Path):
    (tmp_path / "x").write_bytes(b"y")
    (tmp_path / "x").chmod(0)
    (tmp_path / "folder").mkdir(mode=0)
    esp = Esp(str(tmp_path))
    with pytest.raises(StubsimError, match="Permission denied"):
        esp.read("\\x")
    with pytest.raises(StubsimError, match="Permission denied"):
        esp.folder("\\folder")


def test_refused_by_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The same without regard to who runs the test."""
    (tmp_path / "folder").mkdir()

    def refuse(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(StubsimError, match="folder: Permission denied") as error:
        Esp(str(tmp_path)).folder("\\folder")
    assert error.value.path == str(tmp_path / "folder")


@pytest.mark.parametrize(("one", "other", "same"), [("a.EFI", "A.efi", True), ("a", "b", False), ("ä", "Ä", True)])
def test_same_name(one: str, other: str, same: bool):
    assert same_name(one, other) is same
