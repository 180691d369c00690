"""The partition the UKI was started from: a folder of the host, seen as the FAT file system it stands for."""

from __future__ import annotations

import os
from collections.abc import Iterator

from stubsim import extent
from stubsim.errors import StubsimError, reason
from stubsim.extent import Extent
from stubsim.formats import pe
from stubsim.uki import Uki

# The names, and each by what it is without regard to case.
_Listing = tuple[frozenset[str], dict[str, str]]
# A partition has hundreds of files.
_MOST_NAMES = 1 << 16
_LARGEST = (1 << 32) - 1


def walk(root: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """As os.walk: each folder with the names in it. StubsimError where that is no partition but half a disk."""
    count = 0
    for folder, folders, names in os.walk(root):
        count += len(folders) + len(names)
        if count > _MOST_NAMES:
            raise StubsimError(
                f"more than {_MOST_NAMES} files and folders", path=root, expected="the tree of a partition (--esp)"
            )
        yield folder, folders, names


class Esp:
    """A tree of files under ``\\``-separated, case-insensitive paths; an absent folder is an empty partition.

    Nothing is written to the folder: what the stub creates is kept beside it. A file is read and opened once.
    Raises StubsimError where `root` is not a folder.
    """

    def __init__(self, root: str | None) -> None:
        if root is not None and not os.path.isdir(root):
            there = os.path.lexists(root)
            raise StubsimError(
                "is not a folder" if there else "no such folder",
                path=root,
                expected="the tree of the partition (--esp)",
            )
        self.root = root
        self._read: dict[str, extent.Extent] = {}
        self._opened: dict[str, Uki | None] = {}
        self._listed: dict[str, _Listing] = {}

    def folder(self, path: str) -> list[str] | None:
        """The names of the files in a folder, folders left out; None where there is no such folder."""
        found = self._find(path)
        if found is None or not os.path.isdir(found):
            return None
        with self._errors(found):
            return [entry.name for entry in os.scandir(found) if not entry.is_dir()]

    def folders(self, path: str) -> list[str] | None:
        """The names of the folders in a folder; None where there is no such folder."""
        found = self._find(path)
        if found is None or not os.path.isdir(found):
            return None
        with self._errors(found):
            return [entry.name for entry in os.scandir(found) if entry.is_dir()]

    def read(self, path: str) -> Extent | None:
        """A file's content; None where there is no such file."""
        found = self._find(path)
        if found is None or os.path.isdir(found):
            return None
        if found not in self._read:
            content = extent.of_file(found)
            if len(content) > _LARGEST:
                raise StubsimError("too large", path=found, expected="a file of less than 4 GiB, as FAT can hold")
            self._read[found] = content
        return self._read[found]

    def program(self, path: str) -> Uki | None:
        """The image in a file; None where there is no such file, or no PE image in it."""
        if path not in self._opened:
            data = self.read(path)
            try:
                self._opened[path] = None if data is None else Uki(pe.open_bytes(data, path))
            except StubsimError:
                self._opened[path] = None
        return self._opened[path]

    def paths(self) -> list[str]:
        """Every file of the partition with its host path, for finding the UKI by content."""
        if self.root is None:
            return []
        found = (os.path.join(folder, name) for folder, _, names in sorted(walk(self.root)) for name in sorted(names))
        return [path for path in found if os.path.isfile(path)]

    def host_path(self, path: str) -> str | None:
        """Where a file of the partition lies on this host; None where there is no such file."""
        found = self._find(path)
        return None if found is None or os.path.isdir(found) else found

    def name_of(self, host_path: str) -> str:
        """A host path below the tree as the firmware would write it."""
        return "\\" + os.path.relpath(host_path, self.root).replace(os.sep, "\\")

    def _find(self, path: str) -> str | None:
        if self.root is None:
            return None
        place = self.root
        for part in filter(None, path.split("\\")):
            names, folded = self._listing(place)
            match = part if part in names else folded.get(part.casefold())
            if match is None:
                return None
            place = os.path.join(place, match)
        return place

    def _listing(self, place: str) -> _Listing:
        """What is in a folder, looked up once; without regard to case the first name in order counts."""
        if place not in self._listed:
            with self._errors(place):
                names = os.listdir(place) if os.path.isdir(place) else []
            folded = {name.casefold(): name for name in sorted(names, reverse=True)}
            self._listed[place] = frozenset(names), folded
        return self._listed[place]

    @staticmethod
    def _errors(path: str) -> _Errors:
        return _Errors(path)


class _Errors:
    """Turns what the host's file system refuses into the one error of this program."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, OSError):
            raise StubsimError(reason(error), path=self._path) from error


def same_name(one: str, other: str) -> bool:
    """FAT names are equal without regard to case."""
    return one.casefold() == other.casefold()
