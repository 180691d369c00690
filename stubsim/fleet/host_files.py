"""The host files of a fleet, in a folder or a tar file, each as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from stubsim.errors import StubsimError, reason
from stubsim.hosts.recognise import read_bytes
from stubsim.hosts.writing import to_json
from stubsim.rows import NamedTuple

if TYPE_CHECKING:
    import tarfile

# No table of SMBIOS is larger.
_FILE_MAX = 16 << 20


class HostFile(NamedTuple):
    """``folder`` is where the files lie that it may name."""

    name: str
    content: bytes | StubsimError
    folder: str


def in_folder(folder: str) -> Iterator[HostFile]:
    """Each file in a folder and below, by its path there."""
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = os.path.join(where, name)
            if not name.startswith(".") and os.path.isfile(path):
                yield HostFile(os.path.relpath(path, folder), _content(path), where)


def _content(path: str) -> bytes | StubsimError:
    try:
        with open(path, "rb") as file:
            data = file.read(_FILE_MAX + 1)
    except OSError as error:
        return StubsimError(reason(error))
    return data if len(data) <= _FILE_MAX else StubsimError("too large", expected=f"at most {_FILE_MAX >> 20} MiB")


def in_tar(path: str, place: str) -> Iterator[HostFile]:
    """Each file in a tar file; what it names is not looked for."""
    import tarfile

    ended: list[bool] = []
    try:
        with tarfile.open(path, "r|*", tarinfo=_member_type(ended)) as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isreg() else None
                if file is not None:
                    small = member.size <= _FILE_MAX
                    yield HostFile(member.name, file.read() if small else StubsimError("too large"), path)
        if not ended:
            raise tarfile.ReadError("no mark of its end")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise StubsimError(f"the tar file ends or breaks: {error}", path=place) from error


def _member_type(ended: list[bool]) -> type[tarfile.TarInfo]:
    """What reads the members of a tar file; ``ended`` is told of the block of zeros at its end, which tarfile hides."""
    import tarfile

    end = tarfile.EOFHeaderError  # type: ignore[attr-defined]

    class Member(tarfile.TarInfo):
        @classmethod
        def fromtarfile(cls, tarfile: Any) -> Any:
            try:
                return super().fromtarfile(tarfile)
            except end:
                ended.append(True)
                raise

    return Member


def host_json(file: HostFile) -> str:
    """The machine as a host file, without the SMBIOS table: what is measured of that goes into PCR 1, not asked for.

    Raises StubsimError for a file that cannot be read.
    """
    if isinstance(file.content, StubsimError):
        raise file.content
    host = read_bytes(file.content, file.folder).host._replace(name=None, source=None, structures=None)
    value, _ = to_json(host, keep_ids=True)
    return json.dumps(value)
