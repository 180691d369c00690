"""Which dialect is spoken, with which payload, and what is said when there is nothing to do."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from stubsim.formats import efifw, hwids
from stubsim.handover.run import choose_dialect, firmware, hand_over
from stubsim.trace import Log
from stubsim.uefi.loaded_image import ProgramFailed
from stubsim.uki import Uki
from tests.handover.harness import FIRMWARE, MIB, Case, case, host, uki
from tests.stub.harness import CHIDS, OTHER, make_uki, table

OWN = b"the prototype's section"


def chosen(given: Case, wanted: str | None = None) -> str | None:
    return choose_dialect(given.leaving.context, given.leaving.prepared, wanted)


def with_target() -> Uki:
    rows = table((hwids.UEFI_FW, CHIDS[3], "fw"))
    return make_uki((".hwids", rows), (".efifw", efifw.build("fw", FIRMWARE, target_chid=OTHER)))


@pytest.mark.parametrize("dialect", ["qemu-v5", "spec", "fuki-2024", None])
def test_the_machines_device_decides(dialect: str | None):
    assert chosen(case(host(dialect))) == dialect
    assert chosen(case(host(dialect)._replace(fw_cfg=None))) is None


@pytest.mark.parametrize("wanted", ["qemu-v5", "spec", "fuki-2024", "capsule"])
def test_what_is_asked_for_goes_first(wanted: str):
    assert chosen(case(host("spec"), with_target(), stub="next"), wanted) == wanted
    assert chosen(case(host("spec")), "none") is None


@pytest.mark.parametrize(("stub", "image", "expected"), [
    ("next", with_target(), "capsule"),
    ("next", uki(), "qemu-v5"),
    ("262", with_target(), "qemu-v5"),
    ("fuki", make_uki((".fmwimg", OWN)), "fuki-2024"),
    ("262", make_uki((".fmwimg", OWN)), "qemu-v5"),
])  # fmt: skip
def test_what_the_stub_does_by_itself(stub: str, image: Uki, expected: str):
    assert chosen(case(host("qemu-v5"), image, stub=stub)) == expected


def payload(given: Case, dialect: str) -> bytes | None:
    found = firmware(given.leaving.context, given.leaving.prepared, dialect)
    return None if found is None else bytes(found[0])


def test_the_payload():
    own = case(host(), make_uki((".fmwimg", OWN)), stub="fuki")
    assert payload(own, "fuki-2024") == OWN
    assert payload(own, "qemu-v5") is None
    assert payload(case(host()), "fuki-2024") == FIRMWARE
    assert payload(case(host(), make_uki()), "qemu-v5") is None


def run(given: Case, dialect: str) -> Any:
    leaving = given.leaving
    found = (leaving.firmware, leaving.blob)
    return hand_over(leaving.context, leaving.prepared, dialect, leaving.image_gpa, found)


@pytest.mark.parametrize("dialect", ["qemu-v5", "spec"])
def test_no_virtual_machine(dialect: str):
    given = case(host(dialect, hypervisor=False))
    assert run(given, dialect).outcome.status == "unavailable"
    assert given.warnings() == ["firmware not handed over: the machine is not a virtual machine"]


@pytest.mark.parametrize("dialect", ["qemu-v5", "spec"])
def test_a_firmware_that_runs_already(dialect: str):
    given = case(host(dialect))
    running = given.leaving.context.host.firmware._replace(sha256=sha256(FIRMWARE).hexdigest())
    context = given.leaving.context._replace(host=given.leaving.context.host._replace(firmware=running))
    given = given._replace(leaving=given.leaving._replace(context=context))
    assert run(given, dialect).outcome.status == "unavailable"
    assert given.warnings() == []
    told = [row.message for row in given.trace if isinstance(row, Log) and row.level == "info"]
    assert told == ["The machine already runs the selected firmware; nothing is handed over."]


def test_the_hosts_warnings_are_told():
    given = case(host())
    assert run(given, "qemu-v5").outcome.status == "firmware-update"
    assert given.warnings() == ["hypervisor: vmfwupdate: VMFWUPDATE_CAP_BIOS_RESIZE not enabled"]


def test_why_nothing_was_handed_over_is_told():
    given = case(host(dma=False))
    outcome = run(given, "qemu-v5").outcome
    assert outcome.status == "unavailable"
    assert given.warnings() == [outcome.message]


def test_memory_that_is_full_ends_the_boot():
    given = case(host(memory=128 * MIB), uki(), payload=bytes(100 * MIB))
    with pytest.raises(ProgramFailed, match="No memory for the hand-over") as failure:
        run(given, "qemu-v5")
    assert failure.value.status == "EFI_OUT_OF_RESOURCES"
