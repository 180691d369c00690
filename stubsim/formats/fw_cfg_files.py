"""QEMU's fw_cfg files in a tar archive, each under its fw_cfg name, such as ``etc/acpi/tables``.

That is what `tar -C /sys/firmware/qemu_fw_cfg/by_name` makes of a guest's, where a file is a folder with ``raw`` in it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from stubsim.errors import StubsimError

_MEMBERS_MAX = 1024
# Linux's etc/acpi/tables has 128 KiB, a vTPM's log 64; an -initrd is in no file.
_SIZE_MAX = 64 << 20
_RAW = "/raw"


def parse(archive: bytes) -> dict[str, bytes]:
    """Name -> content of the regular files. Raises StubsimError for what is no tar archive, or too large."""
    import io
    import tarfile

    found: dict[str, bytes] = {}
    total = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
            for number, member in enumerate(tar):
                total += max(member.size, 0)
                if number >= _MEMBERS_MAX or total > _SIZE_MAX:
                    expected = f"at most {_MEMBERS_MAX} files of {_SIZE_MAX >> 20} MiB together"
                    raise StubsimError("too much for an archive of fw_cfg files", expected=expected)
                content = tar.extractfile(member) if member.isreg() else None
                if content is not None:
                    found[_name_of(member.name)] = content.read()
    except StubsimError:
        raise
    except Exception as error:  # tarfile lets through what int(), decoders and struct raise
        raise _no_archive(str(error)) from error
    if not found:
        raise _no_archive("there is no file in it")
    return found


def _no_archive(why: str) -> StubsimError:
    return StubsimError(
        f"not a tar archive of fw_cfg files: {why}", offset=0, expected="files such as etc/table-loader in it"
    )


def named(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The same of files that lie at these paths."""
    return {_name_of(path): content for path, content in files.items()}


def _name_of(path: str) -> str:
    """The fw_cfg name of a file that lies at this path."""
    name = posixpath.normpath(path.lstrip("/"))
    return name.removesuffix(_RAW)
