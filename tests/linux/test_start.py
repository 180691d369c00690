"""PCR 9 and RTMR 2; recorded: every Linux in the recordings has these two events of its kernel."""

from __future__ import annotations

import hashlib

import pytest

from stubsim.digests import Digests
from stubsim.formats.efi_string import utf16z
from stubsim.linux.identify import Linux
from stubsim.linux.start import Initrd, measure
from stubsim.machine.tpm import Tpm
from stubsim.trace import Event, Measured, Unknown
from stubsim.uefi.memory import Memory
from stubsim.uefi.services import Services
from stubsim.uefi.variables import Variables

LINUX = Linux("bzImage", "6.12.1", (6, 12))
OPTIONS = utf16z("quiet")
INITRD = Initrd((b"one", b"two"))


def run(linux: Linux | None, initrd: Initrd | None = INITRD, tpm: Tpm | None = None) -> tuple[Tpm, list[Event]]:
    tpm, events = tpm or Tpm(("sha256",)), []
    services = Services(
        "kernel", Memory(1 << 30), tpm, Variables(), Digests(tpm.algorithms or ("sha256",)), None, events.append
    )
    measure(services, linux, OPTIONS, initrd)
    return tpm, events


def extended(name: str, *contents: bytes) -> bytes:
    value = bytes(hashlib.new(name).digest_size)
    for content in contents:
        value = hashlib.new(name, value + hashlib.new(name, content).digest()).digest()
    return value


def test_load_options_then_the_initrd():
    tpm, events = run(LINUX)
    assert [(row.by, row.pcr, row.type, row.tag) for row in events if isinstance(row, Measured)] == [
        ("kernel", 9, "EV_EVENT_TAG", 0x8F3B22ED),
        ("kernel", 9, "EV_EVENT_TAG", 0x8F3B22EC),
    ]
    assert tpm.pcrs()["sha256"][9] == extended("sha256", OPTIONS, b"onetwo")


def test_a_kernel_that_measures_nothing_leaves_zeros():
    tpm, events = run(Linux("bzImage", "5.15.0", (5, 15)))
    assert events == []
    assert tpm.pcrs()["sha256"][9] == bytes(32)


@pytest.mark.parametrize(
    ("linux", "initrd", "why"),
    [
        (Linux("zboot", None, None), INITRD, "nothing tells the release"),
        (Linux("bzImage", "5.14.0-427.13.1.el9_4.x86_64", (5, 14)), INITRD, "may have changes of later releases"),
        (LINUX, Initrd((b"x",), "its boot-secret is drawn at random"), "its boot-secret is drawn at random"),
    ],
)
def test_not_known(linux: Linux, initrd: Initrd, why: str):
    (row,) = (row for row in run(linux, initrd)[1] if isinstance(row, Unknown))
    assert (row.what, row.pcrs) == ("PCR 9", (9,))
    assert why in row.why


def test_a_kernel_of_rhel_of_which_all_is_known():
    tpm, events = run(Linux("bzImage", "6.12.0-55.9.1.el10_0.x86_64", (6, 12)))
    assert not [row for row in events if isinstance(row, Unknown)]
    assert tpm.pcrs()["sha256"][9] == extended("sha256", OPTIONS, b"onetwo")


def test_no_linux():
    """Nothing but the kernel extends PCR 9, so nothing is said of it."""
    tpm, events = run(None)
    assert events == []
    assert 9 not in tpm.pcrs()["sha256"]


def test_a_tdx_guest():
    """Into the register of the stub's own, which is doubted with a kernel that is no Linux, and given as it was."""
    tpm, _ = run(LINUX, tpm=Tpm(None, "tdx"))
    assert tpm.rtmrs()[2] == extended("sha384", OPTIONS, b"onetwo")
    tpm, events = run(Linux("bzImage", "6.8", (6, 8)), tpm=Tpm(None, "tdx"))
    assert (tpm.rtmrs()[2], events) == (bytes(48), [])
    (row,) = run(None, tpm=Tpm(None, "tdx"))[1]
    assert isinstance(row, Unknown)
    assert "rtmrs" in row.affects
    assert row.pcrs == ()
    # With a TPM beside it a kernel uses that.
    tpm, _ = run(LINUX, tpm=Tpm(("sha256",), "tdx"))
    assert tpm.rtmrs()[2] == bytes(48)


def test_no_tpm():
    assert run(LINUX, tpm=Tpm(None))[1] == []
