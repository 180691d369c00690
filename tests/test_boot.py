"""A whole boot: from the UKI to the hand-over, to the kernel, or to where it ends."""

from __future__ import annotations

from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from stubsim.chid import PRIORITY
from stubsim.errors import StubsimError
from stubsim.formats import hwids, pe
from stubsim.formats.efi_string import utf16z
from stubsim.formats.pe import SectionSpec
from stubsim.hosts import Host
from stubsim.hosts.host import FwCfg, Variable, VmFwUpdate
from stubsim.result import Boot
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.trace import EspWritten, FwCfgWritten, Log, Measured, Staged, Unknown, VariableSet
from stubsim.uefi.variables import LOADER
from stubsim.uki import Uki
from stubsim.views.inspect import inspect_json
from tests.stub.harness import CHIDS, FIELDS, KERNEL, OTHER, devicetree, firmware, make_uki, setup_header, table

KIB64 = 64 << 10
FIRMWARE = b"OVMF".ljust(KIB64, b"\xff")
DEVICE = VmFwUpdate("qemu-v5", 0x88, 4 << 20)
HOST = Host(fields=FIELDS, fw_cfg=FwCfg(True, DEVICE))


def with_firmware(payload: bytes = FIRMWARE, chid: UUID | None = CHIDS[PRIORITY[3]]) -> Uki:
    return make_uki(
        (".cmdline", b"quiet"),
        (".initrd", b"initrd"),
        (".hwids", table((hwids.UEFI_FW, chid, "fw"))),
        (".efifw", firmware("fw", payload)),
    )


def of(result: Boot, kind: type) -> list[Any]:
    return [event for event in result.trace if isinstance(event, kind)]


def warnings(result: Boot) -> list[str]:
    return [event.message for event in result.trace if isinstance(event, Log) and event.level == "warning"]


def device(**fields: object) -> Host:
    return HOST._replace(fw_cfg=FwCfg(True, DEVICE._replace(**fields)))


# The hand-over by qemu-v5


def test_firmware_update():
    result = boot(with_firmware(), HOST)
    assert (result.outcome.status, result.dialect) == ("firmware-update", "qemu-v5")
    assert result.proposal is not None
    assert "no released stub" in result.proposal
    staged = {event.name: event for event in result.trace if isinstance(event, Staged)}
    assert {"firmware", "kernel", "initrd", "cmdline"} <= staged.keys()
    writes = [event for event in result.trace if isinstance(event, FwCfgWritten)]
    assert [write.file for write in writes] == ["etc/vmfwupdate/opaque-blob", "etc/vmfwupdate/fw-blob"]
    blob = writes[1].data
    assert int.from_bytes(blob[:8], "little") == KIB64
    assert int.from_bytes(blob[8:], "little") == staged["firmware"].gpa
    # The opaque page is what the second boot finds everything by.
    for content in (FIRMWARE, KERNEL, b"initrd", utf16z("quiet")):
        assert sha256(content).digest() in writes[0].data
    # The kernel was not started.
    assert result.load_options is None


def test_the_payload_is_one_range_for_all_who_hash_it():
    """Digests know a range by its view: another one of the same bytes would be hashed again."""
    result = boot(with_firmware(), HOST)
    assert result.sections is not None
    first, again = result.sections.efifw(), result.sections.efifw()
    assert first is not None
    assert again is not None
    assert first.payload is again.payload


def test_ranges_do_not_overlap():
    rows = [event for event in boot(with_firmware(), HOST).trace if isinstance(event, Staged)]
    ranges = sorted((row.gpa, row.gpa + row.size) for row in rows)
    assert all(low[1] <= high[0] for low, high in pairwise(ranges))


def test_a_confidential_guest_shares_what_it_hands_over():
    result = boot(with_firmware(), HOST._replace(confidential="sev-snp"))
    staged = {event.name: event for event in result.trace if isinstance(event, Staged)}
    assert all(staged[name].shared for name in ("firmware", "kernel", "initrd", "cmdline"))


def test_an_initrd_that_cannot_be_told_has_no_known_digest():
    """A boot secret drawn at this boot is in the initrd, so in the digest of the opaque page, too."""
    assert not [row for row in of(boot(with_firmware(), HOST), Unknown) if "fw_cfg" in row.affects]
    told = of(boot(with_firmware(), HOST._replace(rng=True, esp_partition_uuid=UUID(int=1))), Unknown)
    assert [row.what for row in told if "fw_cfg" in row.affects] == ["the initrd's digest in the opaque page"]


@pytest.mark.parametrize(("payload", "size"), [(b"x" * 1000, 4 << 20), (FIRMWARE * 2, KIB64)])
def test_hypervisor_abort(payload: bytes, size: int):
    """Not a multiple of 64 KiB, or larger than the region: QEMU ends at the reset."""
    result = boot(with_firmware(payload), device(bios_size=size))
    assert result.outcome.status == "hypervisor-abort"


@pytest.mark.parametrize(
    "host",
    [
        device(disabled=True),
        HOST._replace(fw_cfg=FwCfg(False, DEVICE)),
        HOST._replace(fw_cfg=FwCfg(True, None)),
        HOST._replace(fw_cfg=None),
    ],
)
def test_unavailable(host: Host):
    """The kernel is started then, with a warning that says why."""
    result = boot(with_firmware(), host, Start(handover="qemu-v5"))
    assert result.outcome.status == "kernel-started"
    assert any("firmware not handed over" in text for text in warnings(result))
    assert not of(result, FwCfgWritten)
    assert result.load_options == utf16z("quiet")


def test_an_empty_firmware_is_not_handed_over():
    result = boot(with_firmware(b""), HOST)
    assert result.outcome.status == "kernel-started"
    assert not of(result, FwCfgWritten)


@pytest.mark.parametrize(
    ("uki", "host", "start"),
    [
        (with_firmware(), HOST, Start(handover="none")),
        (with_firmware(), HOST._replace(fw_cfg=None), Start()),
        (with_firmware(chid=OTHER), HOST, Start()),
        (make_uki((".cmdline", b"quiet")), HOST, Start()),
        (with_firmware(), HOST, Start(stub="257")),
    ],
)
def test_nothing_to_hand_over(uki: Uki, host: Host, start: Start):
    result = boot(uki, host, start)
    assert result.outcome.status == "kernel-started"
    assert not of(result, FwCfgWritten)
    assert result.proposal is None
    assert warnings(result) == []


def test_the_machine_runs_it_already():
    host = HOST._replace(firmware=HOST.firmware._replace(sha256=sha256(FIRMWARE).hexdigest()))
    result = boot(with_firmware(), host)
    assert result.outcome.status == "kernel-started"
    assert not of(result, FwCfgWritten)
    other = HOST._replace(firmware=HOST.firmware._replace(sha256=sha256(b"").hexdigest()))
    assert boot(with_firmware(), other).outcome.status == "firmware-update"


def test_an_unknown_dialect():
    with pytest.raises(StubsimError, match="unknown hand-over"):
        boot(with_firmware(), HOST, Start(handover="qemu-v9"))


# The boot after the update


FOLLOWED = Start(follow=True)


@pytest.mark.parametrize("dialect", ["qemu-v5", "spec"])
@pytest.mark.parametrize("confidential", [None, "sev-snp", "tdx"])
def test_followed_to_the_kernel(dialect: str, confidential: str | None):
    host = device(dialect=dialect, cap=0x88 if dialect == "qemu-v5" else 0)._replace(confidential=confidential)
    result = boot(with_firmware(), host, FOLLOWED)
    second = result.next
    assert second is not None
    assert (second.outcome.status, second.dialect, second.next) == ("kernel-started", dialect, None)
    assert second.firmware is not None
    assert bytes(second.firmware) == FIRMWARE
    assert second.prepared is not None
    assert second.prepared.cmdline == "quiet"
    assert second.prepared.initrd is not None
    assert b"".join(map(bytes, second.prepared.initrd.parts)) == b"initrd"
    assert second.load_options == utf16z("quiet")
    # What the first boot measured and set is gone with it; what the new firmware does is not known.
    assert result.pcrs != second.pcrs
    assert not of(second, Measured)
    assert any("measurements" in row.affects for row in of(second, Unknown))
    settled = [(row.file, row.data) for row in of(second, FwCfgWritten)]
    if dialect == "qemu-v5":
        assert settled == [("etc/vmfwupdate/fw-blob", KIB64.to_bytes(8, "little") + bytes(8))]
    else:
        assert settled == [("vmfwupdate/opaque", bytes(4096))]
    staged = {row.name: row for row in of(result, Staged)}
    shared = confidential is not None
    assert {staged[row.kind].shared for row in result.left} == {shared}


def test_only_what_was_updated_is_followed():
    for host, start in ((HOST, Start()), (HOST, Start(handover="none", follow=True)), (device(bios_size=0), FOLLOWED)):
        assert boot(with_firmware(), host, start).next is None


def test_following_changes_nothing_of_the_first_boot():
    plain, followed = boot(with_firmware(), HOST), boot(with_firmware(), HOST, FOLLOWED)
    assert plain.trace == followed.trace
    assert (plain.outcome, plain.variables, plain.pcrs) == (followed.outcome, followed.variables, followed.pcrs)


def test_a_devicetree_goes_along():
    tree = devicetree("example,board")
    uki = make_uki(
        (".dtb", tree), (".hwids", table((hwids.UEFI_FW, CHIDS[PRIORITY[3]], "fw"))),
        (".efifw", firmware("fw", FIRMWARE)),
    )  # fmt: skip
    result = boot(uki, HOST, FOLLOWED)
    assert [row.kind for row in result.left] == ["firmware", "kernel", "devicetree"]
    assert result.next is not None
    assert result.next.outcome.status == "kernel-started"
    assert result.next.prepared is not None
    found = result.next.prepared.devicetree
    assert found is not None
    assert found.data is not None
    assert bytes(found.data) == tree


def test_variables_that_do_not_last_are_gone():
    lasting = Variable("Lasting", LOADER, 7, b"x")
    fleeting = Variable("Fleeting", LOADER, 6, b"x")
    result = boot(with_firmware(), HOST._replace(variables=(lasting, fleeting)), FOLLOWED)
    assert result.next is not None
    assert [row.name for row in result.next.variables if row.name in ("Lasting", "Fleeting")] == ["Lasting"]


@pytest.mark.parametrize(
    ("host", "architecture"), [(HOST._replace(firmware=HOST.firmware._replace(pflash=True)), 0x8664), (HOST, 0xAA64)]
)
def test_a_hypervisor_that_does_not_start_with_the_device(host: Host, architecture: int):
    """pflash firmware, or no PC."""
    result = boot(make_uki(machine=architecture), host, FOLLOWED)
    assert result.outcome.status == "hypervisor-abort"
    assert (result.outcome.message or "").startswith("the hypervisor does not start: ")
    assert result.trace == ()
    assert result.next is None


def test_an_image_for_another_machine_is_refused_by_the_firmware_not_by_the_hypervisor():
    result = boot(make_uki(machine=0xAA64), HOST._replace(architecture="x64"))
    assert (result.outcome.status, result.outcome.efi_status) == ("failed", "EFI_UNSUPPORTED")


def test_the_prototypes_own_section():
    """.fmwimg, one and always used: no selection, and no test for a firmware that runs already."""
    kernel = setup_header()
    uki = make_uki((".fmwimg", FIRMWARE), (".cmdline", b"quiet"), linux=kernel)
    running = HOST.firmware._replace(sha256=sha256(FIRMWARE).hexdigest())
    host = device(dialect="fuki-2024", cap=0x89)._replace(firmware=running)
    result = boot(uki, host, Start(stub="fuki", follow=True))
    assert (result.outcome.status, result.dialect) == ("firmware-update", "fuki-2024")
    assert result.next is not None
    assert result.next.outcome.status == "kernel-started"
    bare = boot(uki, HOST._replace(fw_cfg=None), Start(stub="fuki"))
    assert bare.outcome[:3] == ("failed", "the stub stops for ever: no fw_cfg device", None)
    # Without the section it starts the kernel.
    assert boot(make_uki(linux=kernel), host, Start(stub="fuki")).outcome.status == "kernel-started"
    assert boot(uki, host, Start(stub="fuki", handover="none")).outcome.status == "kernel-started"


def test_a_firmware_that_loops():
    result = boot(
        make_uki((".fmwimg", FIRMWARE * 2), linux=setup_header()),
        device(dialect="fuki-2024", bios_size=KIB64),
        Start(stub="fuki"),
    )
    assert result.outcome.status == "boot-loop"


# Where it ends early


def test_out_of_resources_for_the_hand_over():
    host = HOST._replace(memory=64 << 20)
    result = boot(with_firmware(bytes(40 << 20)), host)
    assert (result.outcome.status, result.outcome.efi_status) == ("failed", "EFI_OUT_OF_RESOURCES")
    assert not of(result, FwCfgWritten)


def test_an_image_larger_than_the_memory():
    result = boot(make_uki(size_of_image=1 << 30), Host(memory=64 << 20))
    assert (result.outcome.status, result.outcome.efi_status) == ("failed", "EFI_OUT_OF_RESOURCES")
    assert result.sections is None


def test_wrong_architecture():
    result = boot(make_uki(), Host(architecture="aa64"))
    assert (result.outcome.status, result.outcome.efi_status) == ("failed", "EFI_UNSUPPORTED")
    assert result.sections is None
    assert of(result, Staged) == []
    assert boot(make_uki(), Host(architecture="x64")).outcome.status == "kernel-started"


def test_unsigned_under_secure_boot():
    """sb-unsigned: the firmware does not even start it."""
    result = boot(make_uki(), Host(secure_boot=True))
    assert (result.outcome.status, result.outcome.efi_status) == ("failed", "EFI_ACCESS_DENIED")
    assert any("--db" in text for text in result.assumed)
    trusted = boot(make_uki(certificates=bytes(64)), Host(secure_boot=True), Start(trusted=lambda _: True))  # type: ignore[arg-type]
    assert trusted.outcome.status == "kernel-started"
    assert not any("--db" in text for text in trusted.assumed)


def test_a_refused_kernel_leaves_what_was_prepared():
    result = boot(make_uki((".cmdline", b"x"), linux=b"no kernel"), Host())
    assert result.outcome[:3] == ("failed", "Bad kernel image: Load error", "EFI_LOAD_ERROR")
    assert result.prepared is not None
    assert result.prepared.cmdline == "x"
    assert result.load_options is None
    assert [event.message for event in result.trace if isinstance(event, Log)] == ["Bad kernel image: Load error"]


AARCH64 = pe.build([SectionSpec(".text", bytes(512))], machine=0xAA64)
BECAUSE = {
    "no profiles": (make_uki(), Host(), Start(profile=3), "profile 3 is asked for, and the UKI has no profiles"),
    "one profile": (
        make_uki((".profile", b"ID=a")),
        Host(),
        Start(profile=1),
        "profile 1 is asked for, and the UKI has profile 0 only",
    ),
    "no kernel": (make_uki(linux=None), Host(), Start(), "the image has no section of that name"),
    "empty kernel": (make_uki(linux=b""), Host(), Start(), "section 1 (.linux) has VirtualSize 0"),
    "a profile's kernel": (
        make_uki((".profile", b"ID=a"), (".profile", b"ID=b"), (".linux", KERNEL), linux=None),
        Host(),
        Start(),
        "only profile 1 of the UKI has a .linux",
    ),
    "no PE": (make_uki(linux=b"\x1f\x8b\x08\0" * 9), Host(), Start(), "not a PE image: it starts with 1f 8b 08 00"),
    "no headers": (make_uki(linux=b"MZ" * 99), Host(), Start(), "its PE headers are missing, damaged or cut short"),
    "other machine": (make_uki(linux=AARCH64), Host(), Start(), ".linux is for aa64, and the stub for x64"),
    "other machine, 257": (make_uki(linux=AARCH64), Host(), Start(stub="257"), ".linux is for aa64"),
    "no subsystem": (
        make_uki(linux=pe.build([SectionSpec(".text", bytes(512))], subsystem=3)),
        Host(),
        Start(stub="257"),
        "the PE subsystem 3",
    ),
    "old kernel": (
        make_uki(linux=pe.build([SectionSpec(".text", bytes(4096))], major_image_version=0)),
        Host(),
        Start(),
        ".linux has MajorImageVersion 0",
    ),
    "unsigned": (make_uki(), Host(secure_boot=True), Start(), "no signature (no certificate table)"),
    "untrusted": (
        make_uki(certificates=bytes(64)),  # type: ignore[arg-type]
        Host(secure_boot=True),
        Start(trusted=lambda _: False),
        "no signature of the image leads to a certificate of --db",
    ),
    "does not fit": (
        make_uki(SectionSpec(".bss", virtual_size=3 << 30)),
        Host(),
        Start(),
        "the image takes 3072.0 MiB of memory in one piece, and the machine has 2047.6 MiB",
    ),
    # Where a machine of 2 GiB has no RAM.
    "a fixed place": (
        make_uki(image_base=0x140000000, characteristics=0x22 | pe.RELOCS_STRIPPED),
        Host(),
        Start(),
        "the image is marked as having no relocations, so the firmware loads it at 0x140000000 only, and there is no "
        "free memory",
    ),
}


@pytest.mark.parametrize("name", BECAUSE)
def test_a_failing_boot_says_because(name: str):
    uki, host, start, because = BECAUSE[name]
    result = boot(uki, host, start)
    assert result.outcome.status == "failed"
    assert because in (result.outcome.because or "")
    # Whoever looks at the UKI beforehand hears of what depends on neither machine nor options.
    if start == Start() and not host.secure_boot:
        assert any(because in text or _BEFOREHAND.get(name, because) in text for text in inspect_json(uki)["warnings"])


# Where inspect has words of its own.
_BEFOREHAND = {
    "no kernel": "no .linux: not a UKI",
    "empty kernel": "counts as missing",
    "a profile's kernel": "profile 0 has no .linux: it does not boot",
    "does not fit": "do not fit into 2 GiB of memory",
}


def test_a_missing_profile_leaves_no_measurement():
    result = boot(make_uki(), Host(), Start(profile=3))
    assert (result.outcome.status, result.outcome.efi_status) == ("failed", "EFI_NOT_FOUND")
    assert result.pcrs["sha256"] == {pcr: bytes(32) for pcr in (11, 12, 13)}


# How it was started


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (Start(profile=1), "one"),
        (Start(profile=1, load_options=utf16z("given")), "given"),
        (Start(profile=1, shell="lab.efi given"), "given"),
        (Start(profile=1, shell="lab.efi"), "one"),
        (Start(profile=0), "base"),
        (Start(), "base"),
        (Start(load_options=utf16z("@1")), "one"),
        (Start(profile=4294967295), "base"),
    ],
)
def test_profile(start: Start, expected: str):
    uki = make_uki((".cmdline", b"base"), (".profile", b"a"), (".profile", b"b"), (".cmdline", b"one"))
    result = boot(uki, Host(), start)
    assert result.load_options == utf16z(expected)


@pytest.mark.parametrize(
    ("start", "line"),
    [
        (Start(shell='  "lab.efi" \t'), '"lab.efi"'),
        (Start(shell='"lab.efi" ', profile=0), '"lab.efi" @0'),
    ],
)
def test_the_shell_hands_over_its_line(start: Start, line: str):
    """262.1 in QEMU: without a command line the kernel finds the line as it was typed, but for the blanks around it."""
    assert boot(make_uki(), Host(), start).load_options == utf16z(line)


@pytest.mark.parametrize("rng", [True, False])
def test_what_is_written_takes_for_granted_that_it_can_be(rng: bool, tmp_path: Path):
    """No host file says that a file system is read-only, as a CD's is."""
    host = Host(rng=rng, esp_partition_uuid=OTHER)
    result = boot(make_uki(), host, Start(esp=str(tmp_path), path="\\a.efi"))
    assert any("read-only" in text for text in result.assumed) is rng
    assert any(isinstance(event, EspWritten) for event in result.trace) is rng


def test_from_memory():
    """launch-mem."""
    result = boot(make_uki(), Host(esp_partition_uuid=OTHER), Start(from_memory=True))
    names = {variable.name for variable in result.variables}
    assert not [name for name in names if name.endswith(("DevicePartUUID", "ImageIdentifier"))]
    assert "StubInfo" in names
    assert result.assumed == ()


@pytest.mark.parametrize(
    "start",
    [Start(from_memory=True, esp="."), Start(from_memory=True, path="\\x"), Start(shell="x", load_options=b"")],
)
def test_options_that_contradict_each_other(start: Start):
    with pytest.raises(StubsimError):
        boot(make_uki(), Host(), start)


# What is not known


# What depends on it: test_doubt.


@pytest.mark.parametrize("key", ["tpm", "edid", "memory", "smbios.enclosure_type"])
def test_an_unknown_key_is_told_once(key: str):
    result = boot(make_uki(), Host(unknown=frozenset((key,))))
    (row,) = (event for event in result.trace if isinstance(event, Unknown) and event.what == key)
    assert row.why == "not known of this machine"


def test_memory_that_the_user_gives_is_known():
    result = boot(make_uki(), Host(unknown=frozenset(("memory",))), Start(memory=1 << 30))
    assert result == boot(make_uki(), Host(), Start(memory=1 << 30))._replace(
        uki=result.uki, host=result.host, digests=result.digests, memory=result.memory, prepared=result.prepared,
        sections=result.sections, image=result.image,
    )  # fmt: skip


def test_a_second_boot_of_a_uki_is_as_the_first_and_hashes_nothing_of_it_again():
    own, host = make_uki(), Host(tpm=("sha1", "sha256"))
    first = boot(own, host)
    known = dict(own.digests.states)
    second = boot(own, host)
    assert second.pcrs == first.pcrs
    assert second.trace == first.trace
    assert own.digests.states == known
    assert second.start == first.start


def test_releases_that_were_never_recorded_say_so():
    result = boot(make_uki(), Host(), Start(stub="260.1"))
    assert result.model.verified(result.uki.machine) == ()
    early = boot(make_uki(), Host(), Start(stub="262~rc1"))
    assert any("262~rc1 has" in event.what for event in early.trace if isinstance(event, Unknown))


def test_two_boots_are_the_same():
    """A pure function: nothing of the first boot is left in the second."""
    uki = make_uki((".cmdline", b"x"), (".dtb", devicetree("a")))
    host = Host(variables=(Variable("LoaderEntrySelected", LOADER, 6, b"x\0\0\0"),))
    assert boot(uki, host).trace == boot(uki, host).trace


LEVEL = b"io.systemd.boot.loglevel="
NO_SECRET = ("debug", "No random seed available, not creating a boot secret.")
NO_LEVEL = ("warning", "Failed to parse log level 'error', ignoring.")
BAD_KERNEL = ("error", "Bad kernel image: Load error")


@pytest.mark.parametrize(
    ("strings", "messages"),
    [
        # launch-prev-initrd-debug.
        ((LEVEL + b"debug",), [NO_SECRET, BAD_KERNEL]),
        ((LEVEL + b"err",), [BAD_KERNEL]),
        # Nothing of the stub is more than an error.
        ((LEVEL + b"crit",), []),
        # The first string counts, even one that cannot be read (systemd-stub, log_set_max_level_from_smbios).
        ((LEVEL + b"error", LEVEL + b"debug"), [NO_LEVEL, BAD_KERNEL]),
    ],
)
def test_log_level(strings: tuple[bytes, ...], messages: list[tuple[str, str]]):
    result = boot(make_uki(linux=b"no kernel"), HOST._replace(oem_strings=strings))
    found = [(event.level, event.message) for event in result.trace if isinstance(event, Log)]
    assert [row for row in found if row in (NO_SECRET, NO_LEVEL, BAD_KERNEL)] == messages
    assert result.outcome.message == BAD_KERNEL[1]


def test_a_stub_that_is_not_started_says_nothing():
    """262.1's own code in emulation: an unsigned UKI under Secure Boot prints nothing, not even of the log level."""
    result = boot(make_uki(), HOST._replace(oem_strings=(LEVEL + b"error",), secure_boot=True))
    assert result.outcome.efi_status == "EFI_ACCESS_DENIED"
    assert not of(result, Log)


def test_what_is_there_when_an_old_stub_gives_up():
    """254.26's own code in emulation: the image's PCR is told at once, the rest never; 257 tells all at the end."""
    host = Host(fields=FIELDS, oem_strings=(b"io.systemd.stub.kernel-cmdline-extra=",), previous_initrd=b"x")
    uki = make_uki((".initrd", b"y"))
    for stub, names in (("254", {"StubPcrKernelImage"}), ("257.13", None)):
        result = boot(uki, host, Start(stub=stub))
        assert result.outcome.status == "failed"
        found = {event.name for event in of(result, VariableSet)}
        assert found == names if names is not None else "StubPcrKernelImage" in found
    halted = boot(uki, host, Start(stub="254", from_memory=True))
    assert (halted.outcome.efi_status, of(halted, Measured), of(halted, VariableSet)) == (None, [], [])
