"""Credentials and extensions beside the UKI; recordings creds-*, sysext-*, confext-*, sidecars-*."""

from __future__ import annotations

from pathlib import Path

import pytest

from stubsim.formats import cpio
from stubsim.stub.measure import Measured
from stubsim.stub.sidecars import generate_sidecar_initrds
from tests.stub.harness import Run, joined, run

OWN = "EFI/Linux/lab.efi.extra.d"
# File -> kind, folder in the archive, its mode, the file's mode, PCR, description.
FILES = {
    f"{OWN}/a.cred": ("credentials", ".extra/credentials", 0o500, 0o400, 12, "Credentials initrd"),
    "loader/credentials/a.cred": (
        "global-credentials", ".extra/global_credentials", 0o500, 0o400, 12, "Global credentials initrd",
    ),
    f"{OWN}/a.raw": ("sysext", ".extra/sysext", 0o555, 0o444, 13, "System extension initrd"),
    "loader/extensions/a.raw": (
        "global-sysext", ".extra/global_sysext", 0o555, 0o444, 13, "Global system extension initrd",
    ),
    f"{OWN}/a.confext.raw": ("confext", ".extra/confext", 0o555, 0o444, 12, "Configuration extension initrd"),
    "loader/extensions/a.confext.raw": (
        "global-confext", ".extra/global_confext", 0o555, 0o444, 12, "Global configuration extension initrd",
    ),
}  # fmt: skip
OF_262 = {"global-sysext", "global-confext"}


def put(esp: Path, *files: str) -> None:
    for name in files:
        path = esp / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content of " + name.encode())


def generate(one: Run) -> tuple[dict[str, bytes], dict[str, bool | None]]:
    measured = {flag: Measured() for flag in ("parameters", "sysext", "confext")}
    archives = generate_sidecar_initrds(one.context, measured)
    return {kind: joined(parts) for kind, parts in archives.items()}, {flag: row.all for flag, row in measured.items()}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("stub", ["257", "262"])
def test_one_file(tmp_path: Path, file: str, stub: str):
    put(tmp_path, file)
    one = run(esp=tmp_path, stub=stub)
    archives, _ = generate(one)
    kind, folder, folder_mode, file_mode, pcr, description = FILES[file]
    if stub == "257" and kind in OF_262:
        assert archives == {}
        assert one.trace == []
        return
    assert list(archives) == [kind]
    members = cpio.parse(archives[kind])
    assert [(member.name, member.mode) for member in members[:-1]] == [
        (".extra", 0o040555),
        (folder, 0o040000 | folder_mode),
        (f"{folder}/{file.rpartition('/')[2]}", 0o100000 | file_mode),
    ]
    assert bytes(members[2].data) == b"content of " + file.encode()
    (event,) = one.measured(pcr)
    assert (event.type, event.description) == ("EV_IPL", description)
    assert event.digests == one.context.digests.of(archives[kind])


def test_order_of_measurement(tmp_path: Path):
    """sidecars-all."""
    put(tmp_path, *FILES)
    one = run(esp=tmp_path)
    archives, flags = generate(one)
    assert list(archives) == [row[0] for row in FILES.values()]
    assert one.descriptions(12) == [row[5] for row in FILES.values() if row[4] == 12]
    assert one.descriptions(13) == [row[5] for row in FILES.values() if row[4] == 13]
    assert flags == {"parameters": True, "sysext": True, "confext": True}


@pytest.mark.parametrize(
    ("files", "stub", "flags"),
    [
        # A missing folder counts as not measured and clears the flag for good (StubPcrKernelParameters).
        ([], "262", (False, False, False)),
        ([], "257", (False, False, False)),
        (["a.cred"], "262", (False, False, False)),
        (["a.raw"], "262", (False, False, False)),
        # sysext-local: 257 knows the local one alone.
        (["a.raw"], "257", (False, True, False)),
        (["a.confext.raw"], "257", (False, False, True)),
    ],
)
def test_flags(tmp_path: Path, files: list[str], stub: str, flags: tuple[bool, bool, bool]):
    put(tmp_path, *(f"{OWN}/{name}" for name in files))
    assert tuple(generate(run(esp=tmp_path, stub=stub))[1].values()) == flags


def test_an_empty_file_is_kept(tmp_path: Path):
    """creds-local."""
    put(tmp_path, f"{OWN}/a.cred")
    (tmp_path / OWN / "b.cred").write_bytes(b"")
    members = cpio.parse(generate(run(esp=tmp_path))[0]["credentials"])
    assert [(member.name, len(member.data)) for member in members[2:-1]] == [
        (".extra/credentials/a.cred", len(f"content of {OWN}/a.cred")),
        (".extra/credentials/b.cred", 0),
    ]


def test_names_keep_their_case(tmp_path: Path):
    put(tmp_path, f"{OWN}/B.CRED", f"{OWN}/a.Raw", f"{OWN}/c.ConfExt.RAW")
    archives, _ = generate(run(esp=tmp_path))
    assert [cpio.parse(archives[kind])[2].name for kind in ("credentials", "sysext", "confext")] == [
        ".extra/credentials/B.CRED", ".extra/sysext/a.Raw", ".extra/confext/c.ConfExt.RAW",
    ]  # fmt: skip


def test_folder_names_on_fat_have_no_case(tmp_path: Path):
    put(tmp_path, "efi/LINUX/Lab.EFI.extra.D/a.cred", "Loader/CREDENTIALS/b.cred")
    assert list(generate(run(esp=tmp_path))[0]) == ["credentials", "global-credentials"]


def test_from_memory_there_are_none(tmp_path: Path):
    """launch-mem."""
    put(tmp_path, *FILES)
    archives, flags = generate(run(esp=tmp_path, from_memory=True))
    assert archives == {}
    assert not any(flags.values())
