"""shim in front of systemd-boot and of the UKI itself, by the rules of its own source, with identities made up here."""

from __future__ import annotations

import hashlib
import struct
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.errors import StubsimError
from stubsim.explain.measure import measure_hosts
from stubsim.formats import authenticode, pe, signature_list
from stubsim.formats.pe import SectionSpec
from stubsim.hosts import Host
from stubsim.hosts.host import Variable
from stubsim.result import Boot
from stubsim.shim.image import find_shim
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.trace import ImageLoaded, Measured, Unknown
from stubsim.uefi.esp import Esp
from stubsim.uefi.image_verification import Databases
from stubsim.uefi.measured.row import variable_data
from stubsim.uefi.measured.secure_boot_policy import IMAGE_SECURITY
from stubsim.uefi.variables import SHIM_LOCK
from stubsim.uki import load
from tests.strategies import mutated
from tests.stub.harness import KERNEL

pytest.importorskip("cryptography")

from tests.stub.signing import Identity, certificate_table, identity, indirect_data, pkcs7

FIRMWARE, VENDOR, MOK = identity("firmware"), identity("vendor"), identity("mok")
AUTOMATIC, LATEST = b"sbat,1,2025021800\nshim,4\ngrub,5\n", b"sbat,1,2025051000\nshim,4\ngrub,6\n"
OWNER = UUID(int=5)
STRINGS = b"\0\0\0\0.sbatlevel\0.vendor_cert\0"
SYSTEMD_BOOT = (".sdmagic", b"#### LoaderInfo: systemd-boot 262.1 ####\0"), (".sbat", b"sbat,1,x\nsystemd,1,x\n")
UKI = (
    (".sdmagic", b"#### LoaderInfo: systemd-stub 262.1 ####\0"),
    (".osrel", b"ID=lab\n"),
    (".cmdline", b"own"),
    (".linux", KERNEL),
    (".sbat", b"sbat,1,x\nsystemd-stub,1,x\n"),
)


def signed(*sections: tuple[str, bytes], by: Identity | None = None, strings: bytes = b"") -> bytes:
    """An image, with a string table where there is one, signed."""
    rows = [SectionSpec(*row) for row in (*sections, *([(".strings", strings)] if strings else []))]

    def built(certificates: bytes = b"") -> bytes:
        data = bytearray(pe.build(rows, certificates=certificates))
        if strings:
            data[0x40 + 12 : 0x40 + 16] = struct.pack("<I", data.index(strings))
        return bytes(data)

    if by is None:
        return built()
    digest = authenticode.digest(built())
    return built(certificate_table(pkcs7(indirect_data(digest), by)))


def shim(
    *,
    trusted: bytes = VENDOR.der,
    revoked: bytes = b"",
    levels: tuple[bytes, bytes] = (AUTOMATIC, LATEST),
    version: bytes = b"16.1",
) -> bytes:
    level = struct.pack("<III", 0, 8, 8 + len(levels[0]) + 1) + levels[0] + b"\0" + levels[1] + b"\0"
    sizes = struct.pack("<IIII", len(trusted), len(revoked), 16, 16 + len(trusted))
    sbat = b"sbat,1,SBAT Version\nshim,4,UEFI shim\n"
    ident = b"UEFI SHIM\n$Version: " + version + b" $\n"
    named = [(".sbat", sbat), (".data", ident), ("/4", level), ("/15", sizes + trusted + revoked)]
    return signed(*named, by=FIRMWARE, strings=STRINGS)


def variable(name: str, data: bytes, guid: UUID = SHIM_LOCK, attributes: int = 3) -> Variable:
    return Variable(name, guid, attributes, data)


def certificates(*who: Identity) -> bytes:
    return b"".join(signature_list.build(signature_list.X509, OWNER, one.der) for one in who)


DB = variable("db", certificates(FIRMWARE), IMAGE_SECURITY, 39)
MOK_LIST = variable("MokList", certificates(MOK))


def partition(folder: Path, second: bytes, uki: bytes = signed(*UKI, by=MOK), **parts: bytes) -> Path:
    for path, data in {
        "EFI/BOOT/BOOTX64.EFI": shim(),
        "EFI/BOOT/grubx64.efi": second,
        "EFI/Linux/lab.efi": uki,
        **parts,
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def run(
    folder: Path, *variables: Variable, secure: bool = True, path: str = "EFI/Linux/lab.efi", **how: object
) -> Boot:
    db = signature_list.parse(certificates(FIRMWARE))
    how = {"whole_store": True, **how}
    start = Start(esp=str(folder), trusted=Databases(db, ()).trusts, **how)  # type: ignore[arg-type]
    return boot(load(str(folder / path)), Host(secure_boot=secure, variables=variables), start)


def told(result: Boot) -> list[str]:
    """The images, and what shim measures: register and name."""
    rows = []
    for event in result.trace:
        if isinstance(event, ImageLoaded):
            rows.append(f"{event.by} {event.path}")
        elif isinstance(event, Measured) and event.by == "shim":
            rows.append(f"{event.pcr} {event.description}")
    return rows


def digest(result: Boot, name: str) -> str:
    return next(
        event.digests["sha256"].hex()
        for event in result.trace
        if isinstance(event, Measured) and (event.by, event.description) == ("shim", name)
    )


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


VENDOR_LIST = signature_list.build(signature_list.X509, SHIM_LOCK, VENDOR.der)
NOTHING = signature_list.build(signature_list.SHA256, SHIM_LOCK, bytes(32))


def test_shim_systemd_boot_uki(tmp_path: Path):
    """In this order: recorded with 16.1."""
    result = run(partition(tmp_path, signed(*SYSTEMD_BOOT, by=MOK)), DB, MOK_LIST)
    assert result.outcome.status == "kernel-started", result.outcome
    assert told(result) == [
        "firmware \\EFI\\BOOT\\BOOTX64.EFI",
        "14 MokList",
        "14 MokListX",
        "7 SbatLevel",
        "14 MokListTrusted",
        "7 MokListRT",
        "shim \\EFI\\BOOT\\grubx64.efi",
        "loader \\EFI\\Linux\\lab.efi",
    ]
    assert digest(result, "MokList") == sha256(VENDOR_LIST + MOK_LIST.data)
    assert digest(result, "MokListX") == sha256(NOTHING)
    assert digest(result, "SbatLevel") == sha256(variable_data("SbatLevel", SHIM_LOCK, AUTOMATIC))
    assert digest(result, "MokListTrusted") == sha256(b"\1")
    entry = OWNER.bytes_le + MOK.der
    assert digest(result, "MokListRT") == sha256(variable_data("MokListRT", SHIM_LOCK, entry))
    assert 7 not in result.pcrs["sha256"]
    assert 14 in result.pcrs["sha256"]


def test_shim_starts_the_uki_itself(tmp_path: Path):
    folder = partition(tmp_path, signed(*UKI, by=VENDOR))
    result = run(folder, DB, path="EFI/BOOT/grubx64.efi", loader="none")
    assert told(result)[-2:] == ["7 MokListRT", "shim \\EFI\\BOOT\\grubx64.efi"]
    assert digest(result, "MokList") == sha256(VENDOR_LIST)
    assert digest(result, "MokListRT") == sha256(variable_data("MokListRT", SHIM_LOCK, SHIM_LOCK.bytes_le + VENDOR.der))


def test_an_image_that_db_vouches_for_is_measured_by_shim_too(tmp_path: Path):
    folder = partition(tmp_path, signed(*SYSTEMD_BOOT, by=FIRMWARE), signed(*UKI, by=FIRMWARE))
    result = run(folder, DB)
    assert [row for row in told(result) if row.startswith("7 ")] == ["7 SbatLevel", "7 db"]


def test_without_secure_boot_nothing_is_checked_and_sbat_is_reset(tmp_path: Path):
    result = run(partition(tmp_path, signed(*SYSTEMD_BOOT), signed(*UKI)), secure=False)
    assert told(result)[1:5] == ["14 MokList", "14 MokListX", "7 SbatLevel", "14 MokListTrusted"]
    assert digest(result, "SbatLevel") == sha256(variable_data("SbatLevel", SHIM_LOCK, b"sbat,1,2021030218\n"))


@pytest.mark.parametrize(
    ("there", "policy", "expected"),
    [
        (b"sbat,1,2025021800\nother,9\n", b"", b"sbat,1,2025021800\nother,9\n"),
        (b"sbat,1,2026010100\n", b"", b"sbat,1,2026010100\n"),
        (b"sbat,1,2023012900\nshim,2\n", b"", AUTOMATIC),
        (b"garbage that is long enough", b"", AUTOMATIC),
        (b"sbat,2,2023012900\n", b"", b"sbat,2,2023012900\n"),
        (b"", b"\1", LATEST),
        (b"", b"\2", AUTOMATIC),
        (b"", b"\3", AUTOMATIC),
    ],
)
def test_which_sbat_level_there_is(tmp_path: Path, there: bytes, policy: bytes, expected: bytes):
    rows = [variable("SbatLevel", there)] if there else []
    rows += [variable("SbatPolicy", policy)] if policy else []
    result = run(partition(tmp_path, signed(*SYSTEMD_BOOT, by=MOK)), DB, MOK_LIST, *rows)
    assert digest(result, "SbatLevel") == sha256(variable_data("SbatLevel", SHIM_LOCK, expected))


def test_settings_of_shim(tmp_path: Path):
    folder = partition(tmp_path, signed(*SYSTEMD_BOOT, by=MOK))
    settings = [variable("MokSBState", b"\1"), variable("MokListTrusted", b"\1"), variable("MokPolicy", b"\2")]
    result = run(folder, DB, MOK_LIST, variable("MokListX", certificates(FIRMWARE)), *settings)
    assert told(result)[1:7] == [
        "14 MokList", "14 MokListX", "7 MokSBState", "14 MokSBState", "7 SbatLevel", "14 MokPolicy"
    ]  # fmt: skip
    assert digest(result, "MokListX") == sha256(certificates(FIRMWARE))


def authorities(result: Boot) -> list[str]:
    """What vouched for images, as shim measures it; SbatLevel and MokSBState are settings."""
    return [row for row in told(result) if row.startswith("7 ") and row not in ("7 SbatLevel", "7 MokSBState")]


@pytest.mark.parametrize("version", [b"15.8", b"16.1"])
def test_without_validation_the_second_stage_is_started(tmp_path: Path, version: bytes):
    """mokutil --disable-validation; seen with 16.1: then the firmware refuses the UKI that systemd-boot 262.1 loads."""
    off = variable("MokSBState", b"\1")
    part = {"EFI/BOOT/BOOTX64.EFI": shim(version=version)}
    folder = partition(tmp_path, signed(SYSTEMD_BOOT[0]), signed(*UKI), **part)
    assert run(folder, DB, MOK_LIST).outcome.message == "The shim refuses an image without a trusted signature."
    result = run(folder, DB, MOK_LIST, off)
    assert (result.outcome.status, authorities(result)) == ("kernel-started" if version == b"15.8" else "failed", [])
    assert (result.outcome.message or "").endswith("lab.efi: Access denied" if version == b"16.1" else "")
    unknown = [row.what for row in result.events(Unknown)]
    assert ("what is started behind shim" in unknown, "PCR 7" in unknown) == (version == b"16.1", version == b"16.1")
    both = partition(tmp_path / "signed", signed(*SYSTEMD_BOOT, by=MOK), **part)
    assert authorities(run(both, DB, MOK_LIST)) == ["7 MokListRT"]
    assert authorities(run(both, DB, MOK_LIST, off)) == []
    vouched = partition(tmp_path / "db", signed(*SYSTEMD_BOOT), signed(*UKI, by=FIRMWARE), **part)
    assert run(vouched, DB, MOK_LIST, off).outcome.status == "kernel-started"
    for state in (b"\0", b"\1\0", b""):
        assert run(folder, DB, MOK_LIST, variable("MokSBState", state)).outcome.status == "failed"
    assert run(folder, DB, MOK_LIST, variable("MokSBState", b"\1", attributes=7)).outcome.status == "failed"


def test_the_firmwares_list_may_count_for_nothing(tmp_path: Path):
    """mokutil --ignore-db."""
    folder = partition(tmp_path, signed(*SYSTEMD_BOOT, by=FIRMWARE), signed(*UKI, by=FIRMWARE))
    assert authorities(run(folder, DB, MOK_LIST)) == ["7 db"]
    assert run(folder, DB, MOK_LIST, variable("MokDBState", b"\1")).outcome.status == "failed"
    own = partition(tmp_path / "own", signed(*SYSTEMD_BOOT, by=MOK))
    assert authorities(run(own, DB, MOK_LIST, variable("MokDBState", b"\1"))) == ["7 MokListRT"]


def test_a_policy_that_is_not_simulated_is_told(tmp_path: Path):
    folder = partition(tmp_path, signed(*SYSTEMD_BOOT, by=MOK))
    for policy, said in ((b"\1", True), (b"\2", False), (b"\1\0", False)):
        result = run(folder, DB, MOK_LIST, variable("MokPolicy", policy))
        assert any(row.what == "what shim starts" for row in result.events(Unknown)) is said


def test_a_variable_that_the_system_could_have_written_does_not_count(tmp_path: Path):
    folder = partition(tmp_path, signed(*SYSTEMD_BOOT, by=MOK))
    result = run(folder, DB, variable("MokList", certificates(MOK), attributes=7))
    assert result.outcome.status == "failed"
    assert result.outcome.efi_status == "EFI_ACCESS_DENIED"


@pytest.mark.parametrize(
    "second",
    [
        signed(*SYSTEMD_BOOT),
        signed(*SYSTEMD_BOOT, by=identity("stranger")),
        signed(SYSTEMD_BOOT[0], by=MOK),
        signed(SYSTEMD_BOOT[0], (".sbat", b"grub,4,old\n"), by=MOK),
    ],
)
def test_what_shim_refuses(tmp_path: Path, second: bytes):
    assert run(partition(tmp_path, second), DB, MOK_LIST).outcome.status == "failed"


def test_what_is_revoked(tmp_path: Path):
    second = signed(*SYSTEMD_BOOT, by=MOK)
    assert (
        run(partition(tmp_path, second), DB, MOK_LIST, variable("MokListX", certificates(MOK))).outcome.status
        == "failed"
    )
    dbx = variable(
        "dbx", signature_list.build(signature_list.SHA256, OWNER, authenticode.digest(second)), IMAGE_SECURITY
    )
    assert run(tmp_path, DB, MOK_LIST, dbx).outcome.status == "failed"


def test_where_the_store_is_not_known_neither_is_what_shim_measures(tmp_path: Path):
    folder = partition(tmp_path, signed(*SYSTEMD_BOOT, by=FIRMWARE), signed(*UKI, by=FIRMWARE))
    host = Host(secure_boot=True, unknown=frozenset({"variables"}))
    trusted = Databases(signature_list.parse(certificates(FIRMWARE)), ()).trusts
    result = boot(load(str(folder / "EFI/Linux/lab.efi")), host, Start(esp=str(folder), trusted=trusted))
    assert not [row for row in told(result) if row[0] in "17"]
    assert 14 not in result.known_pcrs["sha256"]


def test_what_a_system_sees_of_the_variables_tells_nothing_of_shims_own(tmp_path: Path):
    """MokList is for boot services alone: a capture cannot have it."""
    folder = partition(tmp_path, signed(*SYSTEMD_BOOT, by=MOK))
    seen = run(folder, DB, variable("MokListRT", certificates(MOK), attributes=6), whole_store=False)
    assert {event.what for event in seen.events(Unknown)} >= {"PCR 7", "PCR 14", "what shim trusts"}
    assert (seen.outcome.status, 14 in seen.known_pcrs["sha256"]) == ("kernel-started", False)
    assert 14 in run(folder, DB, MOK_LIST, whole_store=False).known_pcrs["sha256"]
    unsigned = partition(tmp_path / "off", signed(*SYSTEMD_BOOT), signed(*UKI))
    off = run(unsigned, variable("MokListRT", certificates(MOK), attributes=6), secure=False, whole_store=False)
    assert not [event for event in off.events(Unknown) if "outcome" in event.affects]
    assert 14 not in off.known_pcrs["sha256"]


def test_mok_manager_and_the_fallback_are_not_simulated(tmp_path: Path):
    folder = partition(tmp_path, signed(*SYSTEMD_BOOT, by=MOK))
    with pytest.raises(StubsimError, match="MokManager, as MokNew"):
        run(folder, DB, MOK_LIST, variable("MokNew", b"x"))
    (folder / "EFI/BOOT/fbx64.efi").write_bytes(b"fallback")
    with pytest.raises(StubsimError, match="fallback"):
        run(folder, DB, MOK_LIST)


def test_a_shim_that_is_not_started_is_not_looked_at(tmp_path: Path):
    """Its fallback program lies beside it on the partition of most systems, for when the boot options are lost."""
    loader = {"EFI/BOOT/fbx64.efi": b"fallback", "EFI/systemd/systemd-bootx64.efi": signed(*SYSTEMD_BOOT)}
    folder = partition(tmp_path, signed(*SYSTEMD_BOOT), **loader)
    result = run(folder, secure=False, boot_file="\\EFI\\systemd\\systemd-bootx64.efi")
    assert told(result) == ["firmware \\EFI\\systemd\\systemd-bootx64.efi", "loader \\EFI\\Linux\\lab.efi"]
    assert told(run(folder, secure=False, loader="none")) == ["firmware \\EFI\\Linux\\lab.efi"]


@pytest.mark.parametrize("name", ["shim_certificate_0.efi", "SHIM_CERTIFICATE.EFI", "revocations_sbat.efi"])
def test_files_beside_shim_leave_its_registers_open(tmp_path: Path, name: str):
    """It takes certificates and revocations from them (shim.c, load_unbundled_trust), but not without Secure Boot."""
    folder = partition(tmp_path, signed(*SYSTEMD_BOOT, by=MOK))
    (folder / "EFI/BOOT" / name).write_bytes(b"any")
    result = run(folder, DB, MOK_LIST)
    assert {event.what for event in result.events(Unknown)} >= {"PCR 7", "PCR 14", "what shim trusts"}
    assert 14 not in result.known_pcrs["sha256"]
    (folder / "EFI/BOOT" / name).rename(folder / "EFI" / name)
    assert 14 in run(folder, DB, MOK_LIST).known_pcrs["sha256"]
    (folder / "EFI" / name).rename(folder / "EFI/BOOT" / name)
    unsigned = partition(tmp_path / "off", signed(*SYSTEMD_BOOT), signed(*UKI))
    (unsigned / "EFI/BOOT" / name).write_bytes(b"any")
    assert 14 in run(unsigned, secure=False).known_pcrs["sha256"]


def test_which_image_is_shim(tmp_path: Path):
    esp = Esp(str(partition(tmp_path, signed(*SYSTEMD_BOOT, by=MOK))))
    found = find_shim(esp, "x64", None)
    assert found is not None
    assert (found.trusted, found.revoked, found.level_latest) == (VENDOR_LIST, b"", LATEST)
    for path in ("\\EFI\\BOOT\\grubx64.efi", "\\efi\\boot\\GRUBX64.EFI", "\\efi\\boot\\bootx64.efi"):
        assert find_shim(esp, "x64", path) is not None
    assert find_shim(esp, "x64", "\\EFI\\Linux\\lab.efi") is None
    assert find_shim(esp, "riscv64", None) is None


def test_shim_in_the_root_of_the_partition(tmp_path: Path):
    (tmp_path / "shimx64.efi").write_bytes(shim())
    found = find_shim(Esp(str(tmp_path)), "x64", "shimx64.efi")
    assert found is not None
    assert found.second_stage == "grubx64.efi"


@pytest.mark.parametrize("trusted", [b"\x30\x82\0\1", certificates(VENDOR)])
def test_a_vendors_list_is_taken_as_it_is(tmp_path: Path, trusted: bytes):
    (tmp_path / "EFI/BOOT").mkdir(parents=True)
    (tmp_path / "EFI/BOOT/BOOTX64.EFI").write_bytes(shim(trusted=trusted, revoked=b"list"))
    found = find_shim(Esp(str(tmp_path)), "x64", None)
    assert found is not None
    assert (found.trusted, found.revoked) == (trusted, b"list")


@given(
    mutated(signed(*SYSTEMD_BOOT, by=MOK)),
    st.sampled_from(["MokList", "MokListX", "SbatLevel", "SbatPolicy", "MokSBState"]),
    st.binary(max_size=80) | mutated(MOK_LIST.data) | mutated(AUTOMATIC),
)
def test_any_second_stage_and_any_variable_end_in_a_boot_or_a_message(
    tmp_path_factory: pytest.TempPathFactory, second: bytes, name: str, data: bytes
):
    folder = partition(tmp_path_factory.mktemp("shim"), second)
    with suppress(StubsimError):
        run(folder, DB, MOK_LIST, variable(name, data))


def test_load_options_of_shim_name_the_uki(tmp_path: Path):
    """As the boot entries of virt-firmware's kernel-bootcfg do; shim looks for grubx64.efi otherwise."""
    folder = partition(tmp_path, b"another program", **{"EFI/fedora/shimx64.efi": shim()})
    (folder / "EFI/BOOT/BOOTX64.EFI").unlink()
    boot_file = "\\EFI\\fedora\\shimx64.efi"
    result = run(folder, DB, MOK_LIST, boot_file=boot_file)
    assert told(result)[0] == f"firmware {boot_file}"
    assert told(result)[-1] == "shim \\EFI\\Linux\\lab.efi"
    assert authorities(result) == ["7 MokListRT"]
    assert f"{boot_file} is shim, and is started with load options that name the UKI" in result.assumed
    assert any("what shim allocates" in row.why and row.affects == ("memory",) for row in result.events(Unknown))
    start = result.start
    measured = measure_hosts(result.uki, [("machine", result.host)], start)
    assert (
        measured.assumed[0] == "PCR 4: the firmware starts shim from a boot option, and has started nothing before it"
    )
    assert run(folder, DB, boot_file=boot_file).outcome.status == "failed"
    # What shim cannot be told: outside of \EFI it looks in its own folder.
    (folder / "lab.efi").write_bytes((folder / "EFI/Linux/lab.efi").read_bytes())
    assert not any(
        "load options that name" in row for row in run(folder, DB, path="lab.efi", boot_file=boot_file).assumed
    )


def test_the_boot_file_is_shim_and_its_second_stage_the_uki(tmp_path: Path):
    folder = partition(tmp_path, signed(*UKI, by=MOK))
    result = run(folder, DB, MOK_LIST, path="EFI/BOOT/grubx64.efi", boot_file="\\EFI\\BOOT\\BOOTX64.EFI")
    assert told(result)[-1] == "shim \\EFI\\BOOT\\grubx64.efi"
    assert not any("start the UKI itself" in row or "load options" in row for row in result.assumed)


@pytest.mark.parametrize(
    ("version", "options", "stage"),
    [
        (b"16.0", "uki.efi,more", "uki.efi"),
        (b"16.1", "\ufeff\\lab\\uki.efi", "uki.efi"),
        (b"16.1", "\\EFI\\Linux\\lab.efi,", "\\EFI\\Linux\\lab.efi"),
        (b"16.1", ",uki.efi", "grubx64.efi"),
        (b"16.1", "", "grubx64.efi"),
        (b"15.8", "uki.efi", "grubx64.efi"),
    ],
)
def test_a_file_names_the_second_stage_from_16_on(tmp_path: Path, version: bytes, options: str, stage: str):
    parts = {"EFI/BOOT/BOOTX64.EFI": shim(version=version), "EFI/BOOT/options.csv": options.encode("utf-16-le")}
    folder = partition(tmp_path, b"", **parts)
    found = find_shim(Esp(str(folder)), "x64", None)
    assert found is not None
    assert found.second_stage == (stage if stage.startswith("\\") else f"\\EFI\\BOOT\\{stage}")


def test_the_uki_in_the_place_that_a_file_names(tmp_path: Path):
    options = "\\EFI\\Linux\\lab.efi,".encode("utf-16-le")
    folder = partition(tmp_path, b"", **{"EFI/BOOT/options.csv": options})
    result = run(folder, DB, MOK_LIST)
    assert told(result)[0] == "firmware \\EFI\\BOOT\\BOOTX64.EFI"
    assert told(result)[-1] == "shim \\EFI\\Linux\\lab.efi"
