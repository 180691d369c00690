"""Archives of QEMU's fw_cfg files, made by Python's tarfile and spoilt by hand."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.errors import StubsimError
from stubsim.formats import fw_cfg_files
from tests.strategies import mutated

FILES = {"bootorder": b"/pci@i0cf8/scsi@1/disk@0,0\0", "etc/table-loader": bytes(4096), "etc/empty": b""}


def archive(files: dict[str, bytes], kind: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_files_are_read_by_their_names(kind: int):
    assert fw_cfg_files.parse(archive(FILES, kind)) == FILES


def test_the_folder_of_a_guest_has_each_file_in_a_folder_of_its_name():
    names = {f"./{name}/raw": data for name, data in FILES.items()}
    assert fw_cfg_files.parse(archive(names)) == FILES


def test_links_and_folders_are_no_files():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind in (("etc", tarfile.DIRTYPE), ("link", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        tar.addfile(tarfile.TarInfo("bootorder"))
    assert fw_cfg_files.parse(out.getvalue()) == {"bootorder": b""}


@pytest.mark.parametrize("data", [b"", bytes(10240), b"no tar" * 1000, archive(FILES)[:700]])
def test_what_is_no_archive_is_an_error(data: bytes):
    with pytest.raises(StubsimError, match="not a tar archive of fw_cfg files"):
        fw_cfg_files.parse(data)


def test_too_many_and_too_large_files_are_refused_before_they_are_read():
    with pytest.raises(StubsimError, match="too much"):
        fw_cfg_files.parse(archive({f"f{number}": b"" for number in range(1100)}))
    head = bytearray(archive({"big": b"x"}, tarfile.USTAR_FORMAT))
    head[124:136] = b"77777777777\0"
    head[148:156] = b"        "
    head[148:156] = b"%06o\0 " % sum(head[:512])
    with pytest.raises(StubsimError, match="too much"):
        fw_cfg_files.parse(bytes(head))


@given(mutated(archive(FILES, tarfile.USTAR_FORMAT)[:3072], places=[0, 124, 148, 156, 512, 1024]))
def test_any_archive_is_read_or_refused(data: bytes):
    try:
        found = fw_cfg_files.parse(data)
    except StubsimError:
        return
    assert sum(map(len, found.values())) <= len(data)


@given(st.binary(max_size=600))
def test_any_bytes_are_read_or_refused(data: bytes):
    try:
        fw_cfg_files.parse(data)
    except StubsimError:
        return
