"""Memory at its peak: what the stub allocates on the way, most of all for archives."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.formats import cpio
from stubsim.hosts import Host
from stubsim.machine.ram import PAGE
from stubsim.stub.addons import load_all_addons
from stubsim.stub.extras import generate_embedded_initrds
from stubsim.stub.measure import Measured
from stubsim.stub.pool import Packed, allocate, free, pack_cpio
from stubsim.stub.run import prepare
from stubsim.stub.sidecars import generate_sidecar_initrds
from stubsim.uefi.loaded_image import ProgramFailed
from stubsim.uefi.memory import Memory, OutOfResources
from stubsim.uefi.memory_layout import FREE
from tests.stub.harness import Run, devicetree, make_pe, make_uki, run

MIB = 1 << 20
HALTED = "systemd-boot: Assertion 'BS->AllocatePool(EfiLoaderData, size, &p) == EFI_SUCCESS' failed"


def free_pages(one: Run) -> int:
    return sum(row.pages for row in one.context.memory.map() if row.type == FREE)


def sparse(path: Path, size: int) -> None:
    """A file that takes no disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.truncate(path, size)


def sidecars(one: Run) -> None:
    generate_sidecar_initrds(one.context, {flag: Measured() for flag in ("parameters", "sysext", "confext")})


def refused(one: Run) -> ProgramFailed:
    with pytest.raises(ProgramFailed) as failure:
        sidecars(one)
    return failure.value


@pytest.mark.parametrize("stub", ["257", "262"])
def test_a_large_extension_takes_twice_its_size(tmp_path: Path, stub: str):
    """600 MiB of .raw halt 257.13 with 1 GiB of RAM and not with 2 GiB (seen); nothing is hashed before."""
    sparse(tmp_path / "EFI/Linux/lab.efi.extra.d/large.raw", 600 * MIB)
    small = run(host=Host(memory=1024 * MIB), stub=stub, esp=tmp_path)
    failure = refused(small)
    assert failure.message == HALTED
    assert small.log() == [HALTED]
    assert failure.because is not None
    assert small.measured(13) == []


def test_the_peak_is_while_one_archive_becomes_the_next():
    """Two files of 100 MiB: the second beside the archive of the first and the one that has both."""
    files = [Packed(name, 100 * MIB, True) for name in ("a.raw", "b.raw")]
    size = 200 * MIB + 1000
    for memory, enough in ((380, False), (400, False), (500, True)):
        one = run(host=Host(memory=memory * MIB))
        if enough:
            assert pack_cpio(one.context, ".extra/sysext", files, size) is not None
        else:
            with pytest.raises(ProgramFailed, match="AllocatePool"):
                pack_cpio(one.context, ".extra/sysext", files, size)


def test_archives_are_freed_before_the_kernel_is_loaded(tmp_path: Path):
    sparse(tmp_path / "EFI/Linux/lab.efi.extra.d/a.raw", 8 * MIB)
    uki = make_uki((".initrd", bytes(16)))
    one, plain = run(uki, esp=tmp_path), run(uki)
    kept = prepare(one.context, [])
    prepare(plain.context, [])
    assert kept.initrd_pages is not None
    # The combined initrd, which without the archive is small enough for the pool.
    assert free_pages(plain) - free_pages(one) == -(-kept.initrd_pages.size // 4096)


def test_a_section_is_not_read_again():
    """Its archive takes it once, twice for the trailer."""
    one = run(make_uki((".pcrsig", bytes(MIB))))
    before = free_pages(one)
    pages: list[int | None] = []
    (archive,) = generate_embedded_initrds(one.context, one.sections(), pages).values()
    assert before - free_pages(one) == -(-(sum(map(len, archive)) + 40) // 4096)
    free(one.context, *pages)
    assert free_pages(one) == before


def test_an_addon_leaves_its_copy(tmp_path: Path):
    folder = tmp_path / "EFI/Linux/lab.efi.extra.d"
    folder.mkdir(parents=True)
    (folder / "a.addon.efi").write_bytes(make_pe((".initrd", bytes(5 * 4096))))
    one = run(esp=tmp_path)
    before = free_pages(one)
    load_all_addons(one.context, one.sections())
    assert before - free_pages(one) == 6


def test_an_addon_without_room_is_passed_over(tmp_path: Path):
    folder = tmp_path / "EFI/Linux/lab.efi.extra.d"
    folder.mkdir(parents=True)
    (folder / "a.addon.efi").write_bytes(make_pe((".cmdline", b"x"), size_of_image=1 << 30))
    one = run(host=Host(memory=64 * MIB), esp=tmp_path)
    assert load_all_addons(one.context, one.sections()).cmdlines == ("",)
    assert one.log() == [
        "Failed to read 'a.addon.efi' from '\\EFI\\Linux\\lab.efi.extra.d\\a.addon.efi', ignoring: Out of resources"
    ]


def test_small_things_share_pages():
    one = run()
    before = free_pages(one)
    assert allocate(one.context, 4096 - 40, "x") is None
    assert free_pages(one) == before
    assert allocate(one.context, 4096 - 39, "x") is not None
    assert before - free_pages(one) == 2


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 20000), st.booleans()), max_size=5))
def test_what_is_left_is_the_archive(rows: list[tuple[int, int, bool]]):
    files = [Packed("x" * length, size, is_read) for length, size, is_read in rows]
    size = sum(map(len, cpio.pack(".extra", [(file.name, bytes(file.size)) for file in files], 0o555, 0o444)))
    one, plain = run(), run()
    pages = pack_cpio(one.context, ".extra", files, size)
    assert (pages is None) == (allocate(plain.context, size, "x") is None)
    assert free_pages(one) == free_pages(plain)


def fill_below_4g(one: Run) -> None:
    size = 4 << 30
    while size >= PAGE:
        try:
            one.context.memory.allocate(size, "EfiLoaderData", below=4 << 30)
        except OutOfResources:
            size //= 2


@pytest.mark.parametrize(
    ("stub", "machine", "below", "high"),
    [
        ("257.4", "x64", True, False),
        ("257.5", "x64", True, True),
        ("254.19", "aa64", True, False),
        ("254.20", "aa64", False, True),
    ],
)
def test_where_joined_initrds_go(stub: str, machine: str, below: bool, high: bool):
    """systemd pull requests 35149, 36715 (util.h, xmalloc_initrd_pages): below 4 GiB, or halted (log.c)."""
    for full in (False, True):
        one = run(make_uki((".initrd", b"i" * 5000), (".pcrsig", b"{}")), stub=stub)
        memory = Memory(Host(memory=8 << 30).memory, machine)
        one = one._replace(
            context=one.context._replace(machine=machine, services=one.context.services._replace(memory=memory))
        )
        if full:
            fill_below_4g(one)
        if full and not high:
            with pytest.raises(ProgramFailed, match="AllocatePages"):
                prepare(one.context, [])
            continue
        pages = prepare(one.context, []).initrd_pages
        assert pages is not None
        assert (pages.gpa < 4 << 30) == (below and not full)


@pytest.mark.parametrize(("stub", "unknown"), [("257.10", True), ("257.11", False), ("258.0", True), ("256", False)])
def test_without_any_initrd(stub: str, unknown: bool):
    """systemd 258.4: stub.c, run; address 0 was read."""
    one = run(stub=stub)
    assert prepare(one.context, []).initrd is None
    assert ("what this stub takes for an initrd where it has none" in one.unknown()) == unknown
    filled = run(make_uki((".initrd", b"i")), stub=stub)
    prepare(filled.context, [])
    assert filled.unknown() == []


@pytest.mark.parametrize(("stub", "size"), [("256", 8), ("257", 5)])
def test_microcode_alone(stub: str, size: int):
    """256's own code in emulation pads it."""
    initrd = prepare(run(make_uki((".ucode", b"micro")), stub=stub).context, []).initrd
    assert initrd is not None
    assert initrd.size == size


@pytest.mark.parametrize(
    ("stub", "last", "counted"), [("256", True, True), ("257", False, False), ("260", False, True)]
)
def test_devicetree_of_an_addon_among_the_measurements(tmp_path: Path, stub: str, last: bool, counted: bool):
    """256's own code in emulation installs it behind credentials, and counts its event; 257 and 260 before."""
    for folder, name, data in (
        ("addons", "a.addon.efi", make_pe((".dtb", devicetree("lab,a")))),
        ("credentials", "b.cred", b"x"),
    ):
        path = tmp_path / "loader" / folder / name
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    own = tmp_path / "EFI/Linux/lab.efi.extra.d/c.cred"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"y")
    one = run(stub=stub, esp=tmp_path)
    prepare(one.context, [])
    texts = ["Credentials initrd", "Global credentials initrd"]
    assert one.descriptions(12) == ([*texts, "a.addon.efi"] if last else ["a.addon.efi", *texts])
    assert ("StubPcrKernelParameters" in one.variables()) == counted
