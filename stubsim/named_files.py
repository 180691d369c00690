"""Files that another file names: not from anywhere, no devices, and no more of them than can be held.

A host file or a case file may come from a stranger. What it names would be shown, or be a device without an end.
"""

from __future__ import annotations

import os

from stubsim.errors import StubsimError
from stubsim.extent import of_file
from stubsim.rows import NamedTuple

HINT = "--allow-outside, if that is meant"


class NamedFiles(NamedTuple):
    """Where they may lie, links followed: below the folder of the file that names them, or below the current one."""

    folder: str = ""
    allow_outside: bool = False

    def path(self, name: str) -> str:
        """A name as it can be opened."""
        return os.path.join(self.folder, name)

    def check(self, path: str, what: str) -> None:
        """StubsimError, which begins with ``what``, for a path that lies elsewhere."""
        if not self._allows(path):
            raise StubsimError(f"{what}: {path!r} lies outside", expected=self._places(), hint=HINT)

    def read(self, name: str, maximum: int, what: str) -> bytes | None:
        """A file's bytes; None where there is no regular file of at most so many. StubsimError: `check`."""
        path = self.path(name)
        try:
            if not os.path.isfile(path):
                return None
            self.check(path, what)
            return content(path, maximum)
        except (OSError, ValueError):
            return None
        except StubsimError as error:
            if error.hint == HINT:
                raise
            return None

    def _allows(self, path: str) -> bool:
        if self.allow_outside:
            return True
        place = os.path.realpath(path)
        roots = {os.path.realpath(root) for root in (self.folder or ".", ".")}
        return any(os.path.commonpath((place, root)) == root for root in roots)

    def _places(self) -> str:
        own = self.folder or "."
        return "a file below the current folder" + ("" if own == "." else f" or below {own}")


def content(path: str, maximum: int) -> bytes:
    """The bytes of a regular file. StubsimError: cannot be read, no regular file, more than so many bytes."""
    data = of_file(path)
    if len(data) > maximum:
        raise StubsimError(f"too large: {len(data)} bytes", path=path, expected=f"at most {maximum >> 10} KiB")
    return bytes(data)
