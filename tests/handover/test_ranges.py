"""No range that is handed over overlaps another, the BIOS region, or what the firmware holds: over random machines."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stubsim.formats import capsule, efifw, hwids, pe
from stubsim.formats.pe import SectionSpec
from stubsim.formats.vmfwupdate import FUKI_BLOB
from stubsim.hosts.host import Capsules
from stubsim.result import Boot
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.trace import FwCfgWritten, Staged
from stubsim.uefi.memory_layout import layout
from stubsim.uki import Uki
from tests.handover.harness import KIB64, MIB, host
from tests.handover.test_capsule import CLASS
from tests.handover.test_fuki_2024 import kernel as bzimage
from tests.stub.harness import CHIDS, OTHER, make_uki, table

GIB4 = 1 << 32
MACHINES = {name: number for number, name in pe.MACHINES.items()}
SIZES = st.one_of(st.integers(0, 20_000), st.sampled_from([4095, 4096, 4097, KIB64, MIB]))
# Where something changes: the least that boots, the hole below 4 GiB, and RAM above it.
MEMORY = st.one_of(
    st.integers(80, 400).map(lambda size: size * MIB),
    st.sampled_from([size * MIB for size in (512, 2048, 2815, 2816, 3072, 4096, 8192, 1 << 20)]),
)


def image(
    dialect: str, architecture: str, *, firmware: int, extra: int, initrd: int | None, cmdline: int | None, roomy: bool
) -> Uki:
    machine = MACHINES[architecture]
    if dialect == "fuki-2024":
        linux = bzimage(flags=0x0B if extra % 2 else 0x09)
        size = 0x3000 if roomy else None
    else:
        linux = pe.build([SectionSpec(".text", bytes(512 + extra // 512 * 512))], machine=machine)
        size = None
    payload = bytes(firmware) if dialect != "capsule" else capsule.build(CLASS, bytes(firmware))
    blob = efifw.build("fw", payload, target_chid=OTHER if dialect == "capsule" else None)
    rows = [
        SectionSpec(".linux", linux, virtual_size=size),
        SectionSpec(".hwids", table((hwids.UEFI_FW, CHIDS[3], "fw"))),
        SectionSpec(".efifw", blob),
    ]
    rows += [] if initrd is None else [SectionSpec(".initrd", b"i" * initrd)]
    rows += [] if cmdline is None else [SectionSpec(".cmdline", b"c" * cmdline)]
    return make_uki(*rows, linux=None, machine=machine)


def ranges(result: Boot) -> list[tuple[int, int, str]]:
    """All that was staged; what is used in place, or shared where it lies, is no range of its own."""
    rows = [row for row in result.trace if isinstance(row, Staged)]
    outer = next(row for row in rows if row.name == "uki")
    found = {
        (row.gpa, row.gpa + max(row.size, 1), row.name)
        for row in rows
        if row is outer or not outer.gpa <= row.gpa < outer.gpa + outer.size
    }
    return sorted(found)


@pytest.mark.parametrize(
    ("dialect", "architecture", "confidential"),
    [
        ("qemu-v5", "x64", None),
        ("qemu-v5", "x64", "sev-snp"),
        ("spec", "x64", None),
        ("spec", "x64", "tdx"),
        ("spec", "aa64", None),
        ("fuki-2024", "x64", None),
        ("fuki-2024", "x64", "sev-snp"),
        ("capsule", "x64", None),
        ("capsule", "aa64", None),
    ],
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(
    firmware=st.integers(1, 16).map(lambda blocks: blocks * KIB64),
    extra=SIZES,
    initrd=st.none() | SIZES,
    cmdline=st.none() | st.integers(0, 9000),
    memory=MEMORY,
    resize=st.booleans(),
    roomy=st.booleans(),
)
def test_nothing_that_is_staged_overlaps(
    *,
    dialect: str,
    architecture: str,
    confidential: str | None,
    firmware: int,
    extra: int,
    initrd: int | None,
    cmdline: int | None,
    memory: int,
    resize: bool,
    roomy: bool,
):
    device = {"dialect": dialect} if dialect != "capsule" else {"dialect": None}
    options = {"device_cap": 1} if dialect == "spec" and resize else {}
    machine = host(**device, **options, memory=memory, confidential=confidential)
    machine = machine._replace(firmware=machine.firmware._replace(capsules=Capsules(64 * MIB)))
    uki = image(dialect, architecture, firmware=firmware, extra=extra, initrd=initrd, cmdline=cmdline, roomy=roomy)
    result = boot(uki, machine, Start(handover=dialect, follow=True))
    status = result.outcome.status
    assert status == "firmware-update" or result.outcome.efi_status == "EFI_OUT_OF_RESOURCES"
    if result.outcome.efi_status is not None:
        assert memory < 400 * MIB
        return
    described = layout(memory, architecture)
    found = ranges(result)
    assert {"firmware", "capsule"} & {name for _, _, name in found}
    for (_, end, low), (start, _, high) in pairwise(found):
        assert end <= start, f"{low} overlaps {high}"
    for start, end, name in found:
        assert any(low <= start and end <= top for low, top in described.ram), f"{name} is not in RAM"
        assert not any(start < row.end and row.start < end for row in described.held), f"{name} overlaps the firmware"
        if architecture == "x64":
            assert end <= GIB4 - 16 * MIB or start >= GIB4, f"{name} overlaps the BIOS region"
    # The second boot finds it all, and stages nothing over it.
    if dialect != "capsule":
        assert result.next is not None
        assert result.next.outcome.status == "kernel-started", result.next.outcome
        kept = [(row.gpa, row.gpa + row.size) for row in result.left]
        for row in result.next.trace:
            if isinstance(row, Staged):
                assert not any(row.gpa < end and start < row.gpa + row.size for start, end in kept), row


def test_the_prototypes_entries_are_those_ranges():
    result = boot(
        image("fuki-2024", "x64", firmware=KIB64, extra=1, initrd=5, cmdline=5, roomy=False), host("fuki-2024")
    )
    data = next(row.data for row in result.trace if isinstance(row, FwCfgWritten) and row.file == FUKI_BLOB)
    assert len(data) == 4 * 24
