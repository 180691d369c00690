"""Order and combination of the initrds; recordings initrd-*, sidecars-all, addon-order-mixed."""

from __future__ import annotations

import pytest

from stubsim.hosts import Host
from stubsim.stub.addons import Addons
from stubsim.stub.initrd import Combined, combine_initrds
from stubsim.stub.measure import Measured
from stubsim.stub.sections import NamedAddon
from tests.stub.harness import Run, joined, run

NONE = Addons((), [], [], [])
# Every kind with one byte that says which it is.
ALL = (
    "ucode", "previous", "initrd", "credentials", "global-credentials", "sysext", "global-sysext", "confext",
    "global-confext", "pcrsig", "pcrpkey", "osrel", "profile", "boot-secret",
)  # fmt: skip


def combine(one: Run, own: dict[str, list[bytes]], addons: Addons = NONE) -> Combined | None:
    return combine_initrds(one.context, own, addons, Measured(), frozenset())  # type: ignore[arg-type]


def addon(name: str) -> NamedAddon:
    return NamedAddon(name, memoryview(name.encode()))


def test_order():
    addons = NONE._replace(ucodes=[addon("u1"), addon("u2")], initrds=[addon("i1"), addon("i2")])
    one = run()
    combined = combine(one, {kind: [kind.encode()] for kind in reversed(ALL)}, addons)
    assert combined is not None
    assert [row.name for row in combined.initrds] == ["u2", "u1", *ALL, "i1", "i2"]
    data = joined(combined.parts)
    assert len(data) == combined.size
    for row in combined.initrds:
        assert row.offset % 4 == 0
        assert data[row.offset : row.offset + row.size] == row.name.encode()
    # Microcode in reverse, the others as they come; each under its file name.
    assert [(event.description, event.tag) for event in one.measured(12)] == [
        ("u2", 0xDAC08E1A), ("u1", 0xDAC08E1A), ("i1", 0x49DFFE0F), ("i2", 0x49DFFE0F),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        # initrd-only-odd: a single one is handed over as it is.
        ([b"x" * 13], b"x" * 13),
        ([b"x" * 13, b"y"], b"x" * 13 + bytes(3) + b"y" + bytes(3)),
        ([b"x" * 4, b"y" * 8], b"x" * 4 + b"y" * 8),
    ],
)
def test_padding(contents: list[bytes], expected: bytes):
    combined = combine(run(), {kind: [data] for kind, data in zip(("ucode", "initrd"), contents, strict=False)})
    assert combined is not None
    assert joined(combined.parts) == expected


def test_none():
    assert combine(run(), {}) is None
    assert combine(run(), {"credentials": []}) is None


@pytest.mark.parametrize(("stub", "by_stub"), [("257", False), ("262", True)])
def test_an_earlier_one_alone(stub: str, by_stub: bool):
    """launch-prev-initrd-only: 17 bytes without padding, also where 257 does not know of it."""
    one = run(host=Host(previous_initrd=b"x" * 17), stub=stub)
    combined = combine(one, {"previous": [b"x" * 17]} if stub == "262" else {})
    assert combined is not None
    assert joined(combined.parts) == b"x" * 17
    assert combined.by_stub is by_stub


def test_content_that_cannot_be_told():
    combined = combine_initrds(
        run().context, {"osrel": [b"x"], "boot-secret": [bytes(32)]}, NONE, Measured(), frozenset({"boot-secret"})
    )
    assert combined is not None
    assert not combined.known
    assert [row.known for row in combined.initrds] == [True, False]
