"""Capsules as systemd pull request 43235 describes them, and the rules of UEFI 2.10 for UpdateCapsule()."""

from __future__ import annotations

import struct
from typing import Any
from uuid import UUID

import pytest

from stubsim.chid import PRIORITY
from stubsim.formats import capsule, efifw, hwids
from stubsim.formats.capsule import INITIATE_RESET, PERSIST_ACROSS_RESET, POPULATE_SYSTEM_TABLE
from stubsim.hosts import Host
from stubsim.hosts.host import Capsules
from stubsim.result import Boot
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.trace import Log, Staged, Unknown
from stubsim.uefi.memory import OutOfResources
from stubsim.uki import Uki
from tests.handover.harness import Case, case, host
from tests.stub.harness import CHIDS, KERNEL, OTHER, make_uki, table

CLASS = UUID("0a0b0c0d-0000-4000-8000-00000000cafe")
BODY = b"the firmware's own format".ljust(5000, b".")


def machine(maximum: int = 1 << 20, reset: str = "warm") -> Host:
    given = host(None)
    return given._replace(firmware=given.firmware._replace(capsules=Capsules(maximum, reset)))


def apply(payload: bytes, given: Host | None = None, target: UUID | None = OTHER) -> tuple[Case, Any]:
    found = case(machine() if given is None else given, payload=payload, target=target, stub="next")
    return found, found.hand_over("capsule")


def blocks(given: Case) -> list[tuple[int, int]]:
    row = given.staged()["capsule block list"]
    data = given.leaving.context.memory.read(row.gpa, row.size)
    return [*struct.iter_unpack("<QQ", data)]


@pytest.mark.parametrize("reset", ["warm", "cold", "shutdown"])
def test_a_capsule_is_applied(reset: str):
    payload = capsule.build(CLASS, BODY)
    given, outcome = apply(payload, machine(reset=reset))
    message = f"UpdateCapsule() takes {CLASS}; a {reset} reset follows"
    assert outcome == ("firmware-update", message, None, ())
    copy = given.staged()["capsule"]
    assert (copy.type, copy.size) == ("EfiRuntimeServicesData", len(payload))
    assert given.leaving.context.memory.read(copy.gpa, copy.size) == payload
    # One block, and the entry that ends the list.
    assert blocks(given) == [(len(payload), copy.gpa), (0, 0)]
    assert given.staged()["capsule block list"].type == "EfiRuntimeServicesData"
    assert given.written() == {}


def test_with_initiate_reset_the_firmware_does_it():
    _, outcome = apply(capsule.build(CLASS, BODY, flags=PERSIST_ACROSS_RESET | INITIATE_RESET))
    assert outcome.message == f"UpdateCapsule() takes {CLASS}; the firmware resets itself"


def test_without_persist_there_is_no_list_of_blocks():
    given, outcome = apply(capsule.build(CLASS, BODY, flags=0))
    assert outcome.status == "firmware-update"
    assert "capsule block list" not in given.staged()


def test_a_larger_header_and_flags_of_the_guids_own():
    _, outcome = apply(capsule.build(CLASS, BODY, flags=PERSIST_ACROSS_RESET | 0xFFFF, header_size=80))
    assert outcome.status == "firmware-update"


GOOD = capsule.build(CLASS, BODY)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (capsule.build(CLASS, BODY, flags=POPULATE_SYSTEM_TABLE), "its flags need PERSIST_ACROSS_RESET"),
        (capsule.build(CLASS, BODY, flags=INITIATE_RESET), "its flags need PERSIST_ACROSS_RESET"),
        (GOOD + b"x", f"CapsuleImageSize is {len(GOOD)}, the payload has {len(GOOD) + 1} bytes"),
        (GOOD[:-1], f"a capsule of {len(GOOD)} bytes"),
        (GOOD[:16] + b"\x1b\0\0\0" + GOOD[20:], "a capsule header of 27 bytes"),
        (GOOD[:16] + b"\xff\xff\0\0" + GOOD[20:], "a capsule header of 65535 bytes"),
        (GOOD[:27], "cut short"),
        (b"", "cut short"),
    ],
)
def test_what_is_refused(payload: bytes, reason: str):
    given, outcome = apply(payload)
    assert (outcome.status, outcome.efi_status) == ("failed", "EFI_INVALID_PARAMETER")
    assert reason in outcome.message
    assert "capsule" not in given.staged()


def test_larger_than_the_firmwares_maximum():
    _, outcome = apply(GOOD, machine(len(GOOD)))
    assert outcome.status == "firmware-update"
    given, outcome = apply(GOOD, machine(len(GOOD) - 1))
    assert (outcome.status, outcome.efi_status) == ("failed", "EFI_UNSUPPORTED")
    assert f"larger than the firmware's maximum, {len(GOOD) - 1}" in outcome.message
    assert "capsule" not in given.staged()


def test_a_firmware_that_takes_none():
    _, outcome = apply(GOOD, host(None))
    assert outcome == ("failed", "the firmware takes no capsules", "EFI_UNSUPPORTED", ())


def test_without_a_target_chid_it_is_none():
    _, outcome = apply(GOOD, target=None)
    assert outcome.status == "unavailable"
    assert "no target CHID" in outcome.message


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 14])
def test_a_machine_with_the_chid_boots_on(kind: int):
    given, outcome = apply(b"not even looked at", target=CHIDS[kind])
    assert CHIDS[kind] is not None
    assert outcome == ("unavailable", None, None, ())
    assert [row.message for row in given.trace if isinstance(row, Log)][-1].startswith("The machine has the target")


# A whole boot


def image(payload: bytes = GOOD, target: UUID | None = OTHER) -> Uki:
    rows = table((hwids.UEFI_FW, CHIDS[PRIORITY[3]], "fw"))
    blob = efifw.build("fw", payload, target_chid=target)
    return make_uki((".cmdline", b"quiet"), (".hwids", rows), (".efifw", blob), linux=KERNEL)


def booted(target: UUID | None = OTHER, *, stub: str = "next", host: Host | None = None, **options: Any) -> Boot:
    return boot(image(target=target), machine() if host is None else host, Start(stub=stub, **options))


def test_the_next_stub_does_it_by_itself():
    result = booted()
    assert (result.outcome.status, result.dialect) == ("firmware-update", "capsule")
    assert result.next is None
    assert booted(stub="262").outcome.status == "kernel-started"
    assert booted(stub="262", handover="capsule").outcome.status == "firmware-update"
    assert booted(handover="none").outcome.status == "kernel-started"


def test_it_needs_no_hypervisor():
    assert booted(host=machine()._replace(hypervisor=False, fw_cfg=None)).outcome.status == "firmware-update"


def test_a_stub_of_proposals_goes_on_without_target_chid():
    result = booted(None)
    assert (result.outcome.status, result.dialect) == ("kernel-started", None)


def test_the_machine_that_was_updated_starts_the_kernel():
    result = booted(CHIDS[0])
    assert result.outcome.status == "kernel-started"
    assert not [row for row in result.trace if isinstance(row, Staged) and row.name == "capsule"]


def test_what_the_boot_after_it_is_like_cannot_be_told():
    """The new firmware may give the machine the target CHID, or the stub applies the capsule over and over."""
    result = booted(follow=True)
    assert (result.outcome.status, result.next) == ("firmware-update", None)
    (told,) = [row for row in result.trace if isinstance(row, Unknown) and "next" in row.affects]
    assert "a boot loop" in told.why


def test_no_memory_for_the_copy():
    with pytest.raises(OutOfResources):
        apply(capsule.build(CLASS, bytes(60 << 20)), machine(1 << 40)._replace(memory=128 << 20))
