"""EFI_DT_FIXUP_PROTOCOL as a host file describes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.formats import fdt
from stubsim.formats.uefi_status import TEXTS
from stubsim.hosts.host import DevicetreeFixup, Patch
from stubsim.machine.ram import PAGE
from stubsim.uefi.devicetree_fixup import FixupProtocol

TREE = fdt.build(["tree"])
SIZE = len(TREE)


def fix_up(described: DevicetreeFixup, tree: bytes = TREE, size: int = PAGE) -> tuple[str | None, bytes, int]:
    status, changed, wanted = FixupProtocol(described).fix_up(tree, size)
    return status, bytes(changed), wanted


def test_a_failure_changes_nothing():
    assert fix_up(DevicetreeFixup(error="EFI_NOT_READY")) == ("EFI_NOT_READY", TREE, PAGE)


def test_what_is_not_known_changes_nothing_here():
    assert fix_up(DevicetreeFixup()) == (None, TREE, PAGE)


def test_what_is_put_behind_counts_in_the_header():
    status, changed, _ = fix_up(DevicetreeFixup(append=b"tail"))
    assert status is None
    assert fdt.total_size(changed) == SIZE + 4
    assert changed[8:] == TREE[8:] + b"tail"


def test_bytes_behind_the_tree_are_none_of_it():
    _, changed, _ = fix_up(DevicetreeFixup(append=b"tail"), TREE + b"rest")
    assert changed[8:] == TREE[8:] + b"tail"


def test_the_whole_buffer():
    _, changed, _ = fix_up(DevicetreeFixup(fill_buffer=0x5A, append=b"tail"))
    assert fdt.total_size(changed) == len(changed) == PAGE
    assert changed[8:] == (TREE[8:] + b"tail").ljust(PAGE - 8, b"Z")


def test_patches_come_last():
    size = (SIZE + 2).to_bytes(4, "big")
    _, changed, _ = fix_up(DevicetreeFixup(append=b"tail", patches=(Patch(4, size),)))
    assert fdt.total_size(changed) == SIZE + 2


@pytest.mark.parametrize(
    ("described", "needed"),
    [
        (DevicetreeFixup(needs=PAGE + 1), PAGE + 1),
        (DevicetreeFixup(append=bytes(PAGE)), SIZE + PAGE),
        (DevicetreeFixup(patches=(Patch(PAGE - 1, b"ab"),)), PAGE + 1),
    ],
)
def test_too_small(described: DevicetreeFixup, needed: int):
    assert fix_up(described) == ("EFI_BUFFER_TOO_SMALL", TREE, needed)
    assert fix_up(described, size=needed)[0] is None


FIXUPS = st.builds(
    DevicetreeFixup,
    st.none() | st.sampled_from(sorted(TEXTS)),
    st.integers(0, 3 * PAGE),
    st.booleans(),
    st.none() | st.lists(st.builds(Patch, st.integers(0, 2 * PAGE), st.binary(max_size=8)), max_size=3).map(tuple),
    st.none() | st.binary(max_size=8),
    st.none() | st.integers(0, 255),
)


@given(FIXUPS, st.binary(max_size=64) | st.just(TREE), st.integers(1, 4))
def test_it_never_leaves_its_buffer(described: DevicetreeFixup, tree: bytes, pages: int):
    """And a buffer of the size that it asks for is large enough."""
    protocol = FixupProtocol(described)
    status, changed, wanted = protocol.fix_up(tree, pages * PAGE)
    if status == "EFI_BUFFER_TOO_SMALL" and described.error is None:
        assert wanted > pages * PAGE
        status, changed, wanted = protocol.fix_up(tree, wanted)
        assert status is None
    assert status == described.error
    assert len(changed) <= max(wanted, len(tree))
