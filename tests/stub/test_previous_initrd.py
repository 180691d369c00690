"""An initrd of an earlier boot stage; recordings launch-prev-initrd*."""

from __future__ import annotations

import pytest

from stubsim.hosts import Host
from stubsim.stub.previous_initrd import acquire_previous_initrd
from tests.stub.harness import run


@pytest.mark.parametrize(
    ("previous", "message"),
    [
        (None, "No previous initrd registered."),
        (b"x" * 17, "Successfully loaded previously registered initrd (17 bytes)."),
    ],
)
def test_262_takes_it(previous: bytes | None, message: str):
    one = run(host=Host(previous_initrd=previous), debug=True)
    assert acquire_previous_initrd(one.context) == previous
    assert one.log() == [message]


def test_257_does_not_know_of_it():
    one = run(host=Host(previous_initrd=b"x"), stub="257", debug=True)
    assert acquire_previous_initrd(one.context) is None
    assert one.trace == []


def test_it_is_not_measured():
    one = run(host=Host(previous_initrd=b"x"))
    acquire_previous_initrd(one.context)
    assert one.trace == []
