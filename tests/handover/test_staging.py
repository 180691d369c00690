"""What the boot after the update needs, put where it can be found."""

from __future__ import annotations

from hashlib import sha256

import pytest

from stubsim.formats.efi_string import utf16z
from stubsim.handover.staging import stage_for_next_boot
from stubsim.stub.devicetree import Devicetree
from stubsim.trace import Staged, Unknown
from stubsim.uefi.memory import OutOfResources
from tests.handover.harness import FIRMWARE, INITRD, KIB64, MIB, Case, case, host, uki
from tests.stub.harness import KERNEL

GIB = 1 << 30


def content(given: Case, gpa: int, size: int) -> bytes:
    return given.leaving.context.memory.read(gpa, size)


def test_each_kind_with_its_digest():
    given = case(host())
    left = stage_for_next_boot(given.leaving)
    expected = {"firmware": FIRMWARE, "kernel": KERNEL, "initrd": INITRD, "cmdline": utf16z("quiet")}
    assert {row.kind: content(given, row.gpa, row.size) for row in left} == expected
    assert {row.kind: row.sha256 for row in left} == {kind: sha256(data).digest() for kind, data in expected.items()}
    assert all(row.gpa % 4096 == 0 for row in left)


def test_the_initrd_stays_where_the_stub_has_it():
    given = case(host())
    pages = given.leaving.prepared.initrd_pages
    assert pages is not None
    before = len(given.trace)
    left = stage_for_next_boot(given.leaving)
    assert left[2].gpa == pages.gpa
    assert [row.name for row in given.trace[before:] if isinstance(row, Staged)] == ["firmware", "kernel", "cmdline"]


def test_an_initrd_without_pages_of_its_own_gets_some():
    """That of an earlier boot stage, which the stub hands through."""
    given = case(host())
    leaving = given.leaving._replace(prepared=given.leaving.prepared._replace(initrd_pages=None))
    left = stage_for_next_boot(leaving)
    assert left[2].gpa == given.staged()["initrd"].gpa
    assert content(given, left[2].gpa, left[2].size) == INITRD


def test_in_a_confidential_guest_everything_is_in_shared_pages():
    given = case(host(confidential="sev-snp"))
    left = stage_for_next_boot(given.leaving)
    memory = given.leaving.context.memory
    assert all(memory.is_shared(row.gpa, row.size) and given.staged()[row.kind].shared for row in left)
    assert content(given, left[2].gpa, left[2].size) == INITRD


@pytest.mark.parametrize("size", [None, 1, len(FIRMWARE), len(FIRMWARE) + 1, 4 * MIB])
def test_zeros_before_a_firmware_that_is_too_short(size: int | None):
    given = case(host())
    row = stage_for_next_boot(given.leaving, firmware_size=size)[0]
    expected = FIRMWARE.rjust(size or 0, b"\0")
    assert (content(given, row.gpa, row.size), row.sha256) == (expected, sha256(expected).digest())


@pytest.mark.parametrize("source", ["section", "firmware"])
def test_a_devicetree_goes_along_unless_it_is_the_firmwares_own(source: str):
    given = case(host())
    tree = Devicetree(source, None, memoryview(b"tree"))
    leaving = given.leaving._replace(prepared=given.leaving.prepared._replace(devicetree=tree))
    left = {row.kind: row for row in stage_for_next_boot(leaving)}
    assert ("devicetree" in left) == (source != "firmware")
    if source != "firmware":
        assert content(given, left["devicetree"].gpa, 4) == b"tree"


@pytest.mark.parametrize("memory", [2 * GIB, 8 * GIB, 64 * GIB])
def test_all_of_it_is_below_4_gib(memory: int):
    """Where a firmware that was just started can reach it."""
    given = case(host(memory=memory))
    assert all(row.gpa + row.size <= 4 * GIB for row in stage_for_next_boot(given.leaving))


def test_memory_that_is_full():
    given = case(host(memory=128 * MIB), uki(), payload=bytes(100 * MIB))
    with pytest.raises(OutOfResources):
        stage_for_next_boot(given.leaving)


def test_an_initrd_that_is_not_known():
    given = case(host())
    prepared = given.leaving.prepared
    assert prepared.initrd is not None
    hidden = prepared.initrd._replace(initrds=tuple(row._replace(known=False) for row in prepared.initrd.initrds))
    stage_for_next_boot(given.leaving._replace(prepared=prepared._replace(initrd=hidden)))
    assert any("digest" in row.what for row in given.trace if isinstance(row, Unknown))


def test_nothing_but_firmware_and_kernel():
    given = case(host(), uki(initrd=None, cmdline=None), payload=bytes(KIB64))
    assert [row.kind for row in stage_for_next_boot(given.leaving)] == ["firmware", "kernel"]
