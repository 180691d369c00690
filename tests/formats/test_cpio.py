"""The stub's cpio archives: byte for byte those it was recorded to make, and readable by GNU cpio."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stubsim.errors import StubsimError
from stubsim.formats import cpio

NAMES = st.text("abcXYZ019._-~ ", min_size=1, max_size=40).filter(lambda name: name not in (".", ".."))
FILES = st.lists(st.tuples(NAMES, st.binary(max_size=50)), max_size=5)

# The last 396 bytes of the initrd in recording initrd-two-files of systemd-stub 262.1.
RECORDED_OS_RELEASE = (
    b"070701000000010000416d0000000000000000000000010000000000000000000000000000000000000000000000000000000700000000"
    b".extra\x00\x00\x00\x00"
    b"07070100000002000081240000000000000000000000010000000000000016000000000000000000000000000000000000001200000000"
    b".extra/os-release\x00"
    b"ID=probe\nVERSION_ID=1\n\x00\x00"
    b"07070100000000000000000000000000000000000000010000000000000000000000000000000000000000000000000000000B00000000"
    b"TRAILER!!!\x00\x00\x00\x00"
)


def packed(*args: Any) -> bytes:
    return b"".join(cpio.pack(*args))


def credentials(*files: tuple[str, bytes]) -> bytes:
    return packed(".extra/credentials", files, 0o500, 0o400)


def recorded_initrds(shared: Path) -> Iterator[tuple[str, bytes, list[dict[str, Any]]]]:
    for path in sorted(shared.glob("golden/*@*/expect.json")):
        initrd = json.loads(path.read_text())["initrd"]
        if initrd and initrd.get("hex"):
            yield path.parent.name, bytes.fromhex(initrd["hex"]), initrd["members"]


def cpio_stretches(data: bytes, members: list[dict[str, Any]]) -> Iterator[tuple[int, bytes, list[dict[str, Any]]]]:
    """Offset, bytes and members of what lies between the recorded pieces that are no cpio at all."""
    pieces = [{"offset": 0, "raw": 0}, *(m for m in members if "raw" in m), {"offset": len(data), "raw": 0}]
    for piece, following in pairwise(pieces):
        start, end = piece["offset"] + piece["raw"], following["offset"]
        yield start, data[start:end], [m for m in members if "raw" not in m and start <= m["offset"] < end]


def archives(data: bytes) -> Iterator[tuple[bytes, list[cpio.Member]]]:
    """Each archive of a run of archives."""
    start = 0
    current: list[cpio.Member] = []
    for member in cpio.parse(data):
        current.append(member)
        if member.is_trailer:
            end = member.offset + 124
            yield data[start:end], current
            start, current = end, []


def test_recorded_os_release_archive() -> None:
    assert packed(".extra", [("os-release", b"ID=probe\nVERSION_ID=1\n")], 0o555, 0o444) == RECORDED_OS_RELEASE


def test_recorded_members_are_listed(shared: Path) -> None:
    listed = 0
    for name, data, recorded in recorded_initrds(shared):
        for start, stretch, expected in cpio_stretches(data, recorded):
            members = cpio.parse(stretch)
            listed += len(members)
            assert [
                {
                    "offset": start + m.offset,
                    "name": m.name,
                    "ino": m.ino,
                    "mode": oct(m.mode),
                    "uid": m.uid,
                    "gid": m.gid,
                    "nlink": m.nlink,
                    "mtime": m.mtime,
                    "size": len(m.data),
                    "dev": [m.devmajor, m.devminor],
                    "rdev": [m.rdevmajor, m.rdevminor],
                    "namesize": len(m.name) + 1,
                    "check": m.check,
                    "data_sha256": hashlib.sha256(m.data).hexdigest() if m.data else None,
                }
                for m in members
            ] == expected, name
    assert listed > 1000


def test_recorded_archives_are_rebuilt(shared: Path) -> None:
    rebuilt = set()
    for name, data, recorded in recorded_initrds(shared):
        for _, stretch, _ in cpio_stretches(data, recorded):
            for archive, members in archives(stretch):
                if members[0].name != ".extra":
                    continue
                folders = [m for m in members if stat.S_ISDIR(m.mode)]
                target, files = folders[-1].name, [m for m in members if stat.S_ISREG(m.mode)]
                again = packed(
                    target,
                    [(m.name.removeprefix(f"{target}/"), m.data) for m in files],
                    folders[-1].mode & 0o777,
                    files[0].mode & 0o777,
                )
                assert again == archive, name
                rebuilt.add(target)
    assert {".extra", ".extra/credentials", ".extra/global_credentials", ".extra/sysext", ".extra/confext"} <= rebuilt


def test_files_are_passed_by_reference() -> None:
    data = memoryview(bytes(5000))
    parts = cpio.pack(".extra/sysext", [("a.raw", data), ("empty.raw", b""), ("b.raw", data)], 0o555, 0o444)
    assert [part is data for part in parts] == [False, True, False, True, False]


@pytest.mark.parametrize("size", range(9))
def test_everything_is_aligned(size: int) -> None:
    archive = credentials(("x" * size + ".cred", bytes(size)))
    assert len(archive) % 4 == 0
    assert all(member.offset % 4 == 0 for member in cpio.parse(archive))


def test_too_large_for_the_format() -> None:
    class Large(bytes):
        def __len__(self) -> int:
            return 1 << 32

    with pytest.raises(StubsimError, match="4 GiB"):
        cpio.pack(".extra/sysext", [("a.raw", Large())], 0o555, 0o444)


@given(FILES)
def test_round_trip(files: list[tuple[str, bytes]]) -> None:
    members = cpio.parse(credentials(*files))
    assert [(m.ino, m.name, oct(m.mode)) for m in members[:2]] == [
        (1, ".extra", "0o40555"),
        (2, ".extra/credentials", "0o40500"),
    ]
    assert [(m.name, bytes(m.data)) for m in members[2:-1]] == [(f".extra/credentials/{n}", d) for n, d in files]
    assert [m.ino for m in members] == [*range(1, len(files) + 3), 0]
    assert members[-1].is_trailer


@given(st.lists(FILES, min_size=1, max_size=4), st.lists(st.integers(0, 2000), min_size=4, max_size=4))
def test_archives_in_a_row(archives: list[list[tuple[str, bytes]]], gaps: list[int]) -> None:
    data, expected = b"", []
    for files, gap in zip(archives, gaps, strict=False):
        data += bytes(gap * 4)
        expected += [len(data) + m.offset for m in cpio.parse(credentials(*files))]
        data += credentials(*files)
    assert [m.offset for m in cpio.parse(data + bytes(510))] == expected


@pytest.mark.parametrize("data", [b"", b"\0", bytes(10_000)])
def test_nothing_but_zeros(data: bytes) -> None:
    assert cpio.parse(data) == ()


def test_names_that_are_no_utf8_come_back() -> None:
    name = b"caf\xe9.cred".decode("utf-8", "surrogateescape")
    assert cpio.parse(credentials((name, b"")))[2].name == f".extra/credentials/{name}"


GOOD = credentials(("a.cred", b"secret"))
FILE_AT = cpio.parse(GOOD)[2].offset


def broken(offset: int, new: bytes) -> bytes:
    return GOOD[:offset] + new + GOOD[offset + len(new) :]


@pytest.mark.parametrize(
    ("data", "offset", "expected"),
    [
        pytest.param(b"\x28\xb5\x2f\xfd rest", 0, "070701", id="compressed"),
        pytest.param(GOOD + b"more", len(GOOD), "070701", id="something-behind"),
        pytest.param(broken(FILE_AT, b"070707"), FILE_AT, "070701", id="old-format"),
        pytest.param(GOOD + b"\0\0" + GOOD, len(GOOD) + 2, "multiple of 4", id="not-aligned"),
        pytest.param(GOOD[: FILE_AT + 50], FILE_AT, "110 bytes", id="header-cut"),
        pytest.param(broken(FILE_AT + 6, b"+0000003"), FILE_AT + 6, "hex", id="not-hex"),
        pytest.param(broken(FILE_AT + 6, b"0x000003"), FILE_AT + 6, "hex", id="hex-prefix"),
        pytest.param(broken(FILE_AT + 94, b"ffffffff"), FILE_AT + 110, "4294967295 bytes", id="name-cut"),
        pytest.param(broken(FILE_AT + 94, b"00000000"), FILE_AT + 110, "one NUL", id="name-empty"),
        pytest.param(broken(FILE_AT + 94, b"00000003"), FILE_AT + 110, "one NUL", id="name-without-nul"),
        pytest.param(broken(FILE_AT + 112, b"\0"), FILE_AT + 110, "one NUL", id="nul-in-name"),
        pytest.param(broken(FILE_AT + 54, b"fffffff0"), FILE_AT + 136, "4294967280 bytes", id="data-cut"),
        pytest.param(GOOD[:-124], len(GOOD) - 124, "TRAILER!!!", id="no-trailer"),
    ],
)
def test_what_is_wrong_is_named(data: bytes, offset: int, expected: str) -> None:
    with pytest.raises(StubsimError) as caught:
        cpio.parse(data)
    assert caught.value.offset == offset
    assert expected in (caught.value.expected or "")


def check_total(data: bytes) -> None:
    """Either members that lie within the data, or an error that says where and what was expected."""
    failure = None
    members: tuple[cpio.Member, ...] = ()
    try:
        members = cpio.parse(data)
    except StubsimError as error:
        failure = error
    assert sum(len(member.data) for member in members) <= len(data)
    if failure:
        assert failure.offset is not None
        assert 0 <= failure.offset <= len(data)
        assert failure.expected


@given(st.binary(max_size=400))
@example(b"f" * 104)
def test_arbitrary_bytes(data: bytes) -> None:
    check_total(data)
    check_total(b"070701" + data)


@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=12), st.integers(0, len(GOOD)))
def test_damaged_archives(at: int, new: bytes, end: int) -> None:
    for data in (broken(at, new), GOOD[:end], GOOD[:at] + GOOD[end:]):
        check_total(data)


def test_gnu_cpio_lists_and_unpacks(oracle: Callable[[str], str], tmp_path: Path) -> None:
    tool = oracle("cpio")
    files = [("a.cred", b"secret"), ("with blank.cred", b""), ("long" * 50 + ".cred", bytes(range(256)) * 33)]
    archive = credentials(*files)

    listing = subprocess.run([tool, "-itv"], input=archive, capture_output=True, check=True, env={"LC_ALL": "C"})
    lines = listing.stdout.decode().splitlines()
    assert [line.split()[0] for line in lines] == ["dr-xr-xr-x", "dr-x------"] + ["-r--------"] * 3
    assert lines[3].endswith(" .extra/credentials/with blank.cred")
    # "Substituting" or "garbage" would be said here; the number of blocks is all that may be.
    assert listing.stderr.split() == [str((len(archive) + 511) // 512).encode(), b"blocks"]

    subprocess.run([tool, "-i", "-m"], input=archive, capture_output=True, check=True, cwd=tmp_path)
    folder = tmp_path / ".extra/credentials"
    assert stat.S_IMODE((tmp_path / ".extra").stat().st_mode) == 0o555
    assert stat.S_IMODE(folder.stat().st_mode) == 0o500
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == dict(files)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o400}
    for path in (tmp_path / ".extra", folder):
        path.chmod(0o700)


def test_archives_of_gnu_cpio_are_read(oracle: Callable[[str], str], tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/file").write_bytes(b"content")
    os.symlink("sub/file", tmp_path / "link")
    names = b"sub\nsub/file\nlink\n"
    for form in ("newc", "crc"):
        made = subprocess.run(
            [oracle("cpio"), "-o", "-H", form], input=names, capture_output=True, check=True, cwd=tmp_path
        )
        members = cpio.parse(made.stdout)
        assert [m.name for m in members] == ["sub", "sub/file", "link", cpio.TRAILER]
        assert [bytes(m.data) for m in members] == [b"", b"content", b"sub/file", b""]
        assert members[1].mode == (tmp_path / "sub/file").stat().st_mode
        assert members[1].check == (sum(b"content") if form == "crc" else 0)
