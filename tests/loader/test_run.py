"""systemd-boot in front of the stub, by the rules of boot.c; recorded: golden-linux sd*, initrdaddon262, osvm262."""

from __future__ import annotations

import hashlib
from pathlib import Path
from uuid import UUID

import pytest

from stubsim.errors import StubsimError
from stubsim.formats import pe, smbios
from stubsim.formats.efi_string import from_utf16, utf16z
from stubsim.hosts import Host
from stubsim.hosts.host import Variable
from stubsim.loader.menu import text_of
from stubsim.loader.releases import model_of
from stubsim.result import Boot
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.trace import EspWritten, ImageLoaded, Measured, Unknown, VariableSet
from stubsim.uefi.variables import GLOBAL, LOADER
from stubsim.uki import load
from stubsim.views.entries import entries_json
from stubsim.views.json import boot_json
from tests.stub.harness import make_pe, make_uki

PARTITION = UUID("c0ffee00-1111-4222-8333-444455556666")
HOST = Host(esp_partition_uuid=PARTITION)


def esp_of(folder: Path, version: str = "257.13", name: str = "lab.efi") -> Path:
    """A partition with systemd-boot as what the firmware starts, a UKI, and loader.conf."""
    esp = folder / "esp"
    for part in ("EFI/BOOT", "EFI/Linux", "loader/entries"):
        (esp / part).mkdir(parents=True)
    magic = f"#### LoaderInfo: systemd-boot {version} ####\0".encode()
    (esp / "EFI/BOOT/BOOTX64.EFI").write_bytes(make_pe((".sdmagic", magic)))
    profiles = ((".profile", b"ID=a"), (".profile", b"ID=b"))
    uki = make_uki((".osrel", b"ID=lab\nVERSION_ID=1\n"), (".cmdline", b"own"), *profiles)
    (esp / "EFI/Linux" / name).write_bytes(bytes(uki.image.data))
    (esp / "loader/loader.conf").write_bytes(b"timeout 0\n")
    return esp


def run(esp: Path, host: Host = HOST, name: str = "lab.efi", **how: object) -> Boot:
    return boot(load(str(esp / "EFI/Linux" / name)), host, Start(esp=str(esp), **how))  # type: ignore[arg-type]


def events(result: Boot, by: str) -> list[tuple[int, str, str]]:
    rows = [row for row in result.trace if isinstance(row, Measured) and row.by == by]
    return [(row.pcr, row.description, row.digests["sha256"].hex()) for row in rows]


def texts(result: Boot) -> dict[str, str]:
    return {row.name: from_utf16(row.data) for row in result.variables if row.guid == LOADER}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_by_what_the_partition_shows(tmp_path: Path):
    result = run(esp_of(tmp_path))
    assert events(result, "loader") == [(5, "loader.conf", sha256(b"timeout 0\n"))]
    seen = texts(result)
    assert seen["LoaderInfo"] == "systemd-boot 257.13"
    assert seen["LoaderImageIdentifier"] == "\\EFI\\BOOT\\BOOTX64.EFI"
    assert seen["StubImageIdentifier"] == "\\EFI\\Linux\\lab.efi"
    assert seen["LoaderEntrySelected"] == "lab.efi"
    assert result.load_options == utf16z("own")
    assert any(line.startswith("systemd-boot 257.13") for line in result.assumed)


def test_a_uki_on_xbootldr_is_from_that_partition(tmp_path: Path):
    """Its GUID is the stub's, the ESP's is the loader's; untold, that is said (booted: systemd-boot 262.1)."""
    esp, other = esp_of(tmp_path), tmp_path / "xbootldr"
    (other / "EFI").mkdir(parents=True)
    (esp / "EFI/Linux").rename(other / "EFI/Linux")
    uki = load(str(other / "EFI/Linux/lab.efi"))
    start = Start(esp=str(esp), xbootldr=str(other), entry="default")
    seen = texts(boot(uki, HOST._replace(xbootldr_partition_uuid=UUID(int=0xB)), start))
    assert seen["StubDevicePartUUID"] == "00000000-0000-0000-0000-00000000000B"
    assert seen["LoaderDevicePartUUID"] == str(PARTITION).upper()
    unknown = [row for row in boot(uki, HOST, start).trace if isinstance(row, Unknown)]
    assert ("StubDevicePartUUID", ("variables",)) in [(row.what, row.affects) for row in unknown]


def test_none_in_front(tmp_path: Path):
    result = run(esp_of(tmp_path), loader="none")
    assert events(result, "loader") == []
    assert "LoaderInfo" not in texts(result)


@pytest.mark.parametrize("how", [{"entry": "lab.efi@b"}, {"profile": "b"}, {"profile": 1}])
def test_a_profile_is_asked_for_by_load_options(tmp_path: Path, how: dict[str, object]):
    """Measured by the loader, and the profile's number by the stub (recorded: sdprofid257, sdprofid262)."""
    result = run(esp_of(tmp_path), **how)
    assert events(result, "loader")[1:] == [(12, "@1", sha256(utf16z("@1")))]
    assert [row for row in events(result, "stub") if row[0] == 12] == [(12, "1", sha256(utf16z("1")))]
    assert texts(result)["LoaderEntrySelected"] == "lab.efi@b"


def test_given_load_options_are_what_it_passes_on(tmp_path: Path):
    result = run(esp_of(tmp_path), load_options=utf16z("edited"))
    both = [(12, "edited", sha256(utf16z("edited")))]
    assert events(result, "loader")[1:] == both
    assert [row for row in events(result, "stub") if row[0] == 12] == both


def test_boot_counting(tmp_path: Path):
    """Renamed before it is started, so the stub has the new name (recorded: initrdaddon262)."""
    result = run(esp_of(tmp_path, name="lab+3.efi"), name="lab+3.efi")
    seen = texts(result)
    assert seen["LoaderBootCountPath"] == seen["StubImageIdentifier"] == "\\EFI\\Linux\\lab+2-1.efi"
    assert seen["LoaderEntrySelected"] == "lab.efi"


def test_the_rename_of_boot_counting_is_a_change_of_the_partition(tmp_path: Path):
    esp = esp_of(tmp_path, name="lab+0-3.efi")
    size = (esp / "EFI/Linux/lab+0-3.efi").stat().st_size
    result = run(esp, name="lab+0-3.efi")
    assert result.events(EspWritten) == [
        EspWritten("\\EFI\\Linux\\lab+0-4.efi", size, "\\EFI\\Linux\\lab+0-3.efi"),
    ]
    assert boot_json(result)["esp_changes"] == [
        {"path": "\\EFI\\Linux\\lab+0-4.efi", "size": size, "renamed_from": "\\EFI\\Linux\\lab+0-3.efi"}
    ]


@pytest.mark.parametrize(("version", "id"), [("252.39", "lab+3.efi"), ("257.13", "lab.efi"), ("262.1", "lab.efi")])
def test_ids_lose_the_counter_since_257(tmp_path: Path, version: str, id: str):
    """boot_entry_parse_tries; PR 38897 of systemd."""
    result = run(esp_of(tmp_path, version, name="lab+3.efi"), name="lab+3.efi")
    assert texts(result)["LoaderEntrySelected"] == id


def test_the_log_has_the_image_before_the_load_options(tmp_path: Path):
    """boot.c, image_start; in all logs of golden-linux that have both."""
    result = run(esp_of(tmp_path), entry="lab.efi@b")
    rows = [
        row for row in result.trace if isinstance(row, ImageLoaded) or (isinstance(row, Measured) and row.pcr == 12)
    ]
    seen = [row.path if isinstance(row, ImageLoaded) else row.by for row in rows]
    assert seen[:4] == ["\\EFI\\BOOT\\BOOTX64.EFI", "\\EFI\\Linux\\lab.efi", "loader", "stub"]
    assert [row.by for row in rows if isinstance(row, ImageLoaded)][:2] == ["firmware", "loader"]


def variables(*rows: tuple[str, str]) -> Host:
    return HOST._replace(variables=tuple(Variable(name, LOADER, 7, utf16z(text)) for name, text in rows))


@pytest.mark.parametrize(
    ("conf", "rows", "last"),
    [
        (b"", [], None),
        (b"", [("LoaderEntryLastBooted", "old")], None),
        (b"default @saved\n", [], "lab.efi"),
        (b"default @saved\n", [("LoaderEntryDefault", "l*")], None),
        (b"", [("LoaderEntryDefault", "@SAVED")], "lab.efi"),
        (b"default @saved\n", [("LoaderEntryOneShot", "LAB.efi"), ("LoaderEntryLastBooted", "old")], "old"),
    ],
)
def test_the_entry_booted_last(tmp_path: Path, conf: bytes, rows: list[tuple[str, str]], last: str | None):
    """save_selected_entry: kept for @saved alone, and not after a boot that was asked for once."""
    esp = esp_of(tmp_path)
    (esp / "loader/loader.conf").write_bytes(conf)
    seen = texts(run(esp, variables(*rows), entry="default" if rows else None))
    assert seen.get("LoaderEntryLastBooted") == last
    assert "LoaderEntryOneShot" not in seen


@pytest.mark.parametrize(("release", "text"), [("258.7", "3"), ("258.8", "31"), ("259.5", "3"), ("260.2", "31")])
def test_a_variable_without_a_nul(release: str, text: str):
    """efivar_get_str16 of 258.7 puts the NUL in place of the last character."""

    def read(data: bytes) -> str | None:
        host = HOST._replace(variables=(Variable("LoaderConfigTimeout", LOADER, 7, data),))
        return text_of(host, "LoaderConfigTimeout", model_of(release))

    assert read("31".encode("utf-16-le")) == text
    assert read(utf16z("31")) == "31"
    assert read(utf16z("31")[:-1]) is None
    assert read(b"") == ""
    assert text_of(HOST, "LoaderConfigTimeout", model_of(release)) is None


@pytest.mark.parametrize(
    ("conf", "rows", "shown"),
    [
        (b"", [], False),
        (b"timeout 5\n", [], True),
        (b"timeout 0\n", [], False),
        (b"timeout menu-force\n", [], True),
        (b"timeout 5\n", [("LoaderConfigTimeout", "menu-hidden")], False),
        (b"", [("LoaderConfigTimeout", "3")], True),
        (b"", [("LoaderConfigTimeoutOneShot", "0")], True),
        (b"timeout 5\n", [("LoaderConfigTimeout", "menu-disabled")], False),
        # No number, and one that is too large; of a variable it is the largest.
        (b"timeout 5s\n", [], False),
        (b"timeout 4294967296\n", [], False),
        (b"", [("LoaderConfigTimeout", "4294967296")], True),
        (b"", [("LoaderConfigTimeout", "5s")], False),
    ],
)
def test_a_menu_has_its_time(tmp_path: Path, conf: bytes, rows: list[tuple[str, str]], shown: bool):
    esp = esp_of(tmp_path)
    (esp / "loader/loader.conf").write_bytes(conf)
    seen = texts(run(esp, variables(*rows)))
    assert ("LoaderTimeMenuUSec" in seen) == shown
    assert "LoaderConfigTimeoutOneShot" not in seen


@pytest.mark.parametrize(("version", "shown"), [("254.27", True), ("255.0", False)])
def test_menu_disabled_is_known_from_255_on(tmp_path: Path, version: str, shown: bool):
    esp = esp_of(tmp_path, version)
    (esp / "loader/loader.conf").write_bytes(b"timeout 5\n")
    seen = texts(run(esp, variables(("LoaderConfigTimeout", "menu-disabled"))))
    assert ("LoaderTimeMenuUSec" in seen) == shown


@pytest.mark.parametrize(
    ("version", "given", "variable", "shown"),
    [
        ("259.8", b"9", "0", False),
        ("260.0", b"9", "0", True),
        ("260.0", b"menu-hidden", "9", False),
        ("262.1", b"menu-disabled", "9", False),
        ("262.1", b"9 s", "0", False),
    ],
)
def test_a_timeout_from_smbios(tmp_path: Path, version: str, given: bytes, variable: str, shown: bool):
    """boot.c, config_timeout_load_from_smbios: it comes last, and not in a confidential guest."""
    esp = esp_of(tmp_path, version)
    host = variables(("LoaderConfigTimeout", variable))._replace(oem_strings=(b"io.systemd.boot.timeout=" + given,))
    assert ("LoaderTimeMenuUSec" in texts(run(esp, host))) == shown
    assert ("LoaderTimeMenuUSec" in texts(run(esp, host._replace(confidential="tdx")))) == (variable != "0")


def test_without_an_entry_to_take_a_menu_is_shown_unless_it_is_disabled(tmp_path: Path):
    """config_select_default_entry: of a timeout of 0 it makes 10."""
    esp = esp_of(tmp_path, "262.1")
    # Without .osrel it is an entry by the file alone, and of that the profile is not taken by itself.
    (esp / "EFI/Linux/lab.efi").write_bytes(bytes(make_uki().image.data))
    (esp / "loader/entries/a.conf").write_bytes(b"title A\nuki /EFI/Linux/lab.efi\nprofile 1\n")
    for conf, shown in ((b"timeout 0\n", True), (b"timeout menu-disabled\n", False)):
        (esp / "loader/loader.conf").write_bytes(conf)
        assert ("LoaderTimeMenuUSec" in texts(run(esp, entry="default"))) == shown


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("252.39", "Error loading \\EFI\\Linux\\lab.efi: Access Denied"),
        ("257.13", "Error loading \\EFI\\Linux\\lab.efi: Access denied"),
        ("262.1", "Error loading EFI binary \\EFI\\Linux\\lab.efi: Access denied"),
    ],
)
def test_an_image_without_signature_in_the_loaders_words(tmp_path: Path, version: str, message: str):
    esp = esp_of(tmp_path, version)
    magic = f"#### LoaderInfo: systemd-boot {version} ####\0".encode()
    (esp / "EFI/BOOT/BOOTX64.EFI").write_bytes(make_pe((".sdmagic", magic), certificates=b"signed!!"))
    outcome = run(esp, HOST._replace(secure_boot=True)).outcome
    assert (outcome.status, outcome.message, outcome.efi_status) == ("failed", message, "EFI_ACCESS_DENIED")
    assert outcome.because is not None


def test_what_a_loader_has_set_before_it_fails(tmp_path: Path):
    esp = esp_of(tmp_path)
    type1(esp, "linux /EFI/Linux/lab.efi\ninitrd /i\n")
    old = Variable("LoaderEntrySelected", LOADER, 6, utf16z("before"))
    result = run(esp, HOST._replace(variables=(old,)), entry="a.conf")
    assert result.outcome.message == "Error preparing initrd: Not found"
    assert texts(result)["LoaderInfo"] == "systemd-boot 257.13"
    assert texts(result)["LoaderEntrySelected"] == "a.conf"
    assert "LoaderTimeExecUSec" not in texts(result)
    assert "StubInfo" not in texts(result)


def test_drivers_are_loaded_and_measured(tmp_path: Path):
    """drivers.c: each file that ends on the architecture and .efi."""
    esp = esp_of(tmp_path)
    folder = esp / "EFI/systemd/drivers"
    folder.mkdir(parents=True)
    for name in ("a_x64.efi", "b_aa64.efi", ".c_x64.efi"):
        (folder / name).write_bytes(make_pe((".text", b"x"), subsystem=pe.BOOT_SERVICE_DRIVER))
    paths = [(row.path, row.subsystem) for row in run(esp).events(ImageLoaded)]
    assert paths[1] == ("\\EFI\\systemd\\drivers\\a_x64.efi", pe.BOOT_SERVICE_DRIVER)
    assert paths[2][0] == "\\EFI\\Linux\\lab.efi"


def test_keys_of_the_partition_are_entries_in_setup_mode(tmp_path: Path):
    esp = esp_of(tmp_path)

    def doubted(mode: bytes | None) -> bool:
        rows = () if mode is None else (Variable("SetupMode", GLOBAL, 6, mode),)
        found = run(esp, HOST._replace(variables=rows)).events(Unknown)
        return any(row.what == "LoaderEntries" for row in found)

    assert not doubted(None)
    (esp / "loader/keys/mine").mkdir(parents=True)
    assert [doubted(None), doubted(b"\1"), doubted(b"\0")] == [True, True, False]


def test_a_written_entry(tmp_path: Path):
    esp = esp_of(tmp_path)
    (esp / "loader/entries/x.conf").write_bytes(b"linux /EFI/Linux/lab.efi\noptions a=1\noptions b=2\ninitrd /i\n")
    (esp / "i").write_bytes(b"initrd")
    result = run(esp, entry="x.conf")
    line = "initrd=\\i a=1 b=2"
    assert events(result, "loader")[1:] == [(12, line, sha256(utf16z(line)))]
    (esp / "i").unlink()
    assert run(esp, entry="x.conf").outcome.efi_status == "EFI_NOT_FOUND"


def test_smbios_is_measured_once(tmp_path: Path):
    """By the loader, from its release 261 on."""
    assert texts(run(esp_of(tmp_path, "262.1")))["LoaderPcrSMBIOS"] == "1"


def test_the_random_seed_is_the_loaders(tmp_path: Path):
    esp = esp_of(tmp_path)
    (esp / "loader/random-seed").write_bytes(bytes(32))
    written = [row for row in run(esp, HOST._replace(rng=True)).trace if isinstance(row, EspWritten)]
    # Then the stub can make a boot secret.
    assert [row.path for row in written] == ["\\loader\\random-seed", "\\loader\\boot-secret-mixin"]


def test_the_hosts_variables_of_the_loader_are_compared(tmp_path: Path):
    def variable(name: str, text: str) -> Variable:
        return Variable(name, LOADER, 6, utf16z(text))

    esp = esp_of(tmp_path)
    rows = (variable("LoaderEntrySelected", "other"), variable("LoaderEntryDefault", "lab.efi@a*"))
    host = HOST._replace(variables=rows)
    said = [line for line in run(esp, host).assumed if "of the host file is not what" in line]
    assert said == ["LoaderEntrySelected of the host file is not what this systemd-boot writes"]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"entry": "lab.efi@c"}, "no entry matches"),
        ({"entry": "x", "shell": "x.efi"}, "--shell excludes"),
        ({"loader": "none", "entry": "x"}, "--entry asks for a boot loader"),
        ({"loader": "qemu-kernel"}, "on no partition"),
        ({"boot_file": "\\nothing.efi"}, "no such file"),
    ],
)
def test_what_is_refused(tmp_path: Path, how: dict[str, object], message: str):
    with pytest.raises(StubsimError, match=message):
        run(esp_of(tmp_path), **how)


def test_a_loader_that_is_not_there(tmp_path: Path):
    """It has measured the load options before the stub did, so a value without it is nobody's."""
    esp = esp_of(tmp_path)
    (esp / "EFI/BOOT/BOOTX64.EFI").unlink()
    host = HOST._replace(variables=(Variable("LoaderInfo", LOADER, 6, utf16z("systemd-boot 257.13")),))
    assert 12 not in run(esp, host, load_options=utf16z("quiet")).known_pcrs["sha256"]
    assert 12 in run(esp, host).known_pcrs["sha256"]
    assert 12 in run(esp, host, load_options=utf16z("quiet"), loader="none").known_pcrs["sha256"]


@pytest.mark.parametrize(
    ("version", "passed"), [("252.39", b"own"), ("254.27", b"own"), ("255", None), ("257.13", None)]
)
def test_up_to_254_a_ukis_own_command_line_is_passed_on(tmp_path: Path, version: str, passed: bytes | None):
    """And measured by the loader; the stub then measures what it got (source: image_start of the tags)."""
    result = run(esp_of(tmp_path, version))
    rows = [row for row in events(result, "loader") if row[0] == 12]
    assert rows == ([] if passed is None else [(12, "own", sha256(utf16z("own")))])
    assert ((5, "loader.conf", sha256(b"timeout 0\n")) in events(result, "loader")) == (version >= "255")


def test_extra_files_are_measured_and_handed_to_a_stub_that_takes_them(tmp_path: Path):
    esp = esp_of(tmp_path, "261", name="lab.efi")
    (esp / "EFI/Linux/lab.efi").rename(esp / "lab.efi")
    (esp / "a.cred").write_bytes(b"secret")
    entry = "uki /lab.efi\nextra /a.cred\nextra /a.addon.efi\noptions x"
    (esp / "loader/entries/lab.conf").write_text(entry)
    result = boot(load(str(esp / "lab.efi")), HOST, Start(esp=str(esp), entry="lab.conf"))
    rows = [row for row in events(result, "loader") if row[0] == 12]
    assert [text for _, text, _ in rows] == ["Entry credentials initrd", "x"]
    assert result.prepared is not None
    assert result.prepared.initrd is not None
    parts = [bytes(part) for row in result.prepared.initrd.initrds for part in row.parts]
    assert b".extra/credentials/a.cred\0" in b"".join(parts)
    assert not any("extra" in row.what for row in result.trace if isinstance(row, Unknown))


@pytest.mark.parametrize(("version", "renamed"), [("252.13", False), ("252.14", True), ("254", False), ("254.1", True)])
def test_old_releases_count_boots_on_their_own_partition(tmp_path: Path, version: str, renamed: bool):
    esp, other = esp_of(tmp_path, version, "lab+3.efi"), tmp_path / "xbootldr"
    (other / "EFI").mkdir(parents=True)
    (esp / "EFI/Linux").rename(other / "EFI/Linux")
    start = Start(esp=str(esp), xbootldr=str(other), entry="default")
    result = boot(load(str(other / "EFI/Linux/lab+3.efi")), HOST, start)
    assert ("LoaderBootCountPath" in texts(result)) == renamed
    assert bool(result.events(EspWritten)) == renamed


@pytest.mark.parametrize("version", ["262~rc2", "270", "x"])
def test_a_release_that_is_not_known_leaves_open_what_it_does(tmp_path: Path, version: str):
    unknown = [row for row in run(esp_of(tmp_path, version)).trace if isinstance(row, Unknown)]
    assert [row.what.partition(" does")[0] for row in unknown if "pcrs" in row.affects] == [
        f"what systemd-boot {version}"
    ]


@pytest.mark.parametrize(("version", "status"), [("261", "failed"), ("261.2", "kernel-started")])
def test_261_halts_at_a_short_smbios_type_1(tmp_path: Path, version: str, status: str):
    host = HOST._replace(structures=smbios.parse(smbios.build_structure(1, bytes(4), (b"x" * 16,), 1)))
    result = run(esp_of(tmp_path, version), host)
    assert (result.outcome.status, result.outcome.efi_status) == (status, None)


def test_a_timeout_for_one_boot_that_is_none_stays(tmp_path: Path):
    """And leads to no menu (systemd-boot's own code of 252.39, 254.26, 257.13 and 262.1)."""
    variable = Variable("LoaderConfigTimeoutOneShot", LOADER, 7, utf16z("soon"))
    seen = texts(run(esp_of(tmp_path), HOST._replace(variables=(variable,))))
    assert seen["LoaderConfigTimeoutOneShot"] == "soon"
    assert "LoaderTimeMenuUSec" not in seen


@pytest.mark.parametrize(
    ("version", "tree", "said"),
    [
        ("254.26", b"\xd0\x0d\xfe\xed" + bytes(60), "Error loading \\x.dtb: Unsupported"),
        ("255", b"\xd0\x0d\xfe\xed" + bytes(60), None),
        ("257.13", b"", "Error loading \\x.dtb: Invalid parameter"),
    ],
)
def test_a_devicetree_that_is_not_installed(tmp_path: Path, version: str, tree: bytes, said: str | None):
    """Then the entry is not started; up to 254 so it is where the firmware has none (252.39's and 254.26's code)."""
    esp = esp_of(tmp_path, version)
    (esp / "x.dtb").write_bytes(tree)
    (esp / "loader/entries/x.conf").write_bytes(b"linux /EFI/Linux/lab.efi\ndevicetree /x.dtb\n")
    outcome = run(esp, entry="x").outcome
    assert (outcome.status, outcome.message) == (("failed", said) if said else ("kernel-started", None))


@pytest.mark.parametrize(("version", "line"), [("256.1", "(null)"), ("256.2", "(null) a")])
def test_type_11_behind_a_structure_without_strings(tmp_path: Path, version: str, line: str):
    """The same search as the stub's; without a table it is not known."""
    esp = esp_of(tmp_path, version)
    (esp / "loader/entries/a.conf").write_bytes(b"title A\nlinux /EFI/Linux/lab.efi\noptions (null)\n")
    extra = b"io.systemd.boot.kernel-cmdline-extra=a"
    rows = [smbios.build_structure(32, bytes(7)), smbios.build_structure(11, b"\1", [extra])]
    table = HOST._replace(structures=smbios.parse(smbios.build(rows)), oem_strings=(extra,))
    result = run(esp, table, entry="a.conf")
    assert [text for pcr, text, _ in events(result, "loader") if pcr == 12] == [line]
    result = run(esp, HOST._replace(oem_strings=(extra,)), entry="a.conf")
    what = {event.what for event in result.trace if isinstance(event, Unknown)}
    assert ("whether systemd-boot finds the line from SMBIOS" in what) == (version == "256.1")


TOKEN = Host(variables=(Variable("LoaderSystemToken", LOADER, 7, b"t"),))
EARLIER = HOST._replace(previous_initrd=b"earlier")


def type1(esp: Path, text: str, **files: bytes) -> None:
    (esp / "loader/entries/a.conf").write_text(f"title A\n{text}")
    for name, data in files.items():
        (esp / name).write_bytes(data)


@pytest.mark.parametrize(("version", "message"), [("260.4", "Error preparing initrd"), ("261.0", "Error loading \\d")])
def test_which_error_comes_first(tmp_path: Path, version: str, message: str):
    """call_image_start: from 261 on the devicetree is installed before the initrd is read."""
    esp = esp_of(tmp_path, version)
    type1(esp, "linux /EFI/Linux/lab.efi\ninitrd /i\ndevicetree /d\n")
    outcome = run(esp, entry="a.conf").outcome
    assert outcome.message == f"{message}: Not found"


@pytest.mark.parametrize(
    ("version", "status", "message"),
    [
        ("252.39", "failed", "Error registering initrd: Already started"),
        ("260.4", "failed", "Error registering initrd: Already started"),
        ("261.0", "kernel-started", None),
    ],
)
def test_an_initrd_where_an_earlier_stage_has_left_one(tmp_path: Path, version: str, status: str, message: str | None):
    esp = esp_of(tmp_path, version)
    type1(esp, "linux /EFI/Linux/lab.efi\ninitrd /i\n", i=b"entry")
    outcome = run(esp, EARLIER, entry="a.conf").outcome
    assert (outcome.status, outcome.message) == (status, message)


def test_extra_files_go_behind_the_initrd_of_an_earlier_stage(tmp_path: Path):
    """load_extras; each is padded to 4 bytes (combine_initrds)."""
    esp = esp_of(tmp_path, "262.1")
    type1(esp, "uki /EFI/Linux/lab.efi\nextra /x.cred\n", **{"x.cred": b"x"})
    alone, both = (boot_json(run(esp, host, entry="a.conf"))["initrd"] for host in (HOST, EARLIER))
    assert both["size"] == alone["size"] + len(b"earlier\0")


@pytest.mark.parametrize(("version", "halts"), [("256.6", False), ("256.7", True), ("258.2", True), ("258.3", False)])
def test_initrds_that_are_all_empty(tmp_path: Path, version: str, halts: bool):
    """initrd_prepare: no pages are asked for, which EDK2 refuses (Page.c)."""
    esp = esp_of(tmp_path, version)
    type1(esp, "linux /EFI/Linux/lab.efi\ninitrd /i\n", i=b"")
    assert run(esp, EARLIER, entry="a.conf").outcome.status == ("failed" if halts else "kernel-started")


@pytest.mark.parametrize("version", ["252.39", "257.13", "262.1"])
def test_a_counter_whose_next_name_is_taken(tmp_path: Path, version: str):
    """FAT refuses to rename it, and it is started by the name that it has (systemd-boot's own code in emulation)."""
    esp = esp_of(tmp_path, version, "lab+1-2.efi")
    (esp / "EFI/Linux/lab+0-3.efi").write_bytes((esp / "EFI/Linux/lab+1-2.efi").read_bytes())
    result = run(esp, name="lab+1-2.efi", entry="lab+1-2.efi" if version == "252.39" else None)
    assert texts(result)["StubImageIdentifier" if version != "252.39" else "LoaderEntrySelected"].endswith(
        "lab+1-2.efi"
    )
    assert "LoaderBootCountPath" not in texts(result)
    assert not [row for row in result.trace if isinstance(row, EspWritten)]


@pytest.mark.parametrize(("other", "said"), [("lab+3.efi", True), ("lab2.efi", False)])
def test_of_two_equal_entries_the_folder_decides(tmp_path: Path, other: str, said: bool):
    """One without a counter is neither before nor behind one with it (boot.c, boot_entry_compare)."""
    esp = esp_of(tmp_path, "262.1")
    (esp / "EFI/Linux" / other).write_bytes((esp / "EFI/Linux/lab.efi").read_bytes())
    result = run(esp, entry="lab.efi", name=other if said else "lab.efi")
    lines = [line for line in result.assumed if "comes first in its folder" in line]
    assert len(lines) == said


@pytest.mark.parametrize(
    ("version", "conf", "host", "renewed"),
    [
        ("252.39", "", TOKEN, True),
        ("252.39", "", Host(rng=True), False),
        ("252.39", "random-seed-mode always", Host(), True),
        ("252.39", "random-seed-mode yes", Host(), True),
        ("252.39", "random-seed-mode off", TOKEN, False),
        ("252.39", "random-seed-mode with-token", TOKEN, True),
        ("252.39", "random-seed-mode always", TOKEN._replace(secure_boot=True), False),
        # The partition's GUID needs not be known.
        ("253.0", "random-seed-mode off", Host(rng=True, secure_boot=True), True),
    ],
)
def test_random_seed_of_252(tmp_path: Path, version: str, conf: str, host: Host, renewed: bool):
    """random-seed.c, process_random_seed: none under Secure Boot, and none without the token unless told so."""
    esp = esp_of(tmp_path, version)
    magic = f"#### LoaderInfo: systemd-boot {version} ####\0".encode()
    (esp / "EFI/BOOT/BOOTX64.EFI").write_bytes(make_pe((".sdmagic", magic), certificates=b"signed!!"))
    (esp / "loader/loader.conf").write_text(conf)
    (esp / "loader/random-seed").write_bytes(bytes(512))
    result = run(esp, host)
    written = [event for event in result.trace if isinstance(event, EspWritten) and event.path.endswith("random-seed")]
    left = any(isinstance(event, VariableSet) and event.name == "LoaderRandomSeed" for event in result.trace)
    assert (bool(written), left) == (renewed, renewed and version != "253.0")


@pytest.mark.parametrize("key", ["linux", "efi", "devicetree", "initrd"])
@pytest.mark.parametrize(("version", "halts"), [("252.2", False), ("252.3", True), ("257.13", True), ("258", False)])
def test_an_empty_path_in_any_entry(tmp_path: Path, version: str, key: str, halts: bool):
    """boot_entry_add_type1, convert_efi_path: an assertion, before the list (the code of 252.39, 254.26, 257.13)."""
    esp = esp_of(tmp_path, version)
    type1(esp, f'title x\n{key} ""\n')
    result = run(esp)
    listed = entries_json(str(esp), None, None, HOST)["entries"]
    if halts:
        assert (result.outcome.status, result.outcome.efi_status) == ("failed", None)
        assert result.outcome.because == f"\\loader\\entries\\a.conf has an empty path ({key})"
        assert listed == []
    else:
        assert result.outcome.status == "kernel-started"
        assert "lab.efi" in [row["id"] for row in listed]


def test_an_empty_path_behind_another_architecture_is_not_read(tmp_path: Path):
    esp = esp_of(tmp_path, "257.13")
    type1(esp, 'architecture aa64\nlinux ""\n')
    assert run(esp).outcome.status == "kernel-started"


@pytest.mark.parametrize(("version", "renewed"), [("257.13", True), ("258", False), ("262.1", False)])
def test_the_random_seed_of_an_entry_of_its_own(tmp_path: Path, version: str, renewed: bool):
    """LOADER_TYPE_PROCESS_RANDOM_SEED; run: 252.39, 254.26, 257.13, 262.1 with a shell on the partition."""
    esp = esp_of(tmp_path, version)
    (esp / "shellx64.efi").write_bytes((esp / "EFI/Linux/lab.efi").read_bytes())
    (esp / "loader/random-seed").write_bytes(bytes(32))
    start = Start(esp=str(esp), entry="auto-efi-shell")
    result = boot(load(str(esp / "shellx64.efi")), HOST._replace(rng=True), start)
    written = [row.path for row in result.trace if isinstance(row, EspWritten)]
    assert result.outcome.status == "kernel-started"
    assert ("\\loader\\random-seed" in written) is renewed


@pytest.mark.parametrize("version", ["263", "257.99", "262~rc1", "of nobody"])
def test_a_release_that_is_not_known_gives_no_values(tmp_path: Path, version: str):
    """But for the stub's own register: it reads the UKI."""
    host = HOST._replace(tpm=("sha256",))
    assert run(esp_of(tmp_path / "known"), host).known_pcrs["sha256"].keys() >= {11, 12, 13}
    result = run(esp_of(tmp_path / "other", version), host)
    assert result.known_pcrs["sha256"].keys() == {11}
    assert boot_json(result)["pcrs"]["sha256"].keys() == {"11"}


@pytest.mark.parametrize(("version", "osrel", "open_ended"), [
    ("260.3", b"NAME=lab\nID=", True), ("261.1", b"NAME=lab\nID=", True),
    ("260.3", b"NAME=lab\nID=\n", False), ("260.3", b"NAME=lab\nLOGO=", False), ("260.3", b"NAME=lab\nID=\0\0", False),
    ("260.4", b"NAME=lab\nID=", False), ("257.13", b"NAME=lab\nID=", False),
])  # fmt: skip
def test_a_last_value_behind_the_section(tmp_path: Path, version: str, osrel: bytes, open_ended: bool):
    """line_get_key_value() of 260 to 260.3, 261 and 261.1 takes an empty value from one byte further on."""
    esp = esp_of(tmp_path, version)
    uki = make_uki((".osrel", osrel), (".cmdline", b"own"))
    (esp / "EFI/Linux/lab.efi").write_bytes(bytes(uki.image.data))
    result = run(esp)
    told = [row for row in result.events(Unknown) if "in .osrel of \\EFI\\Linux\\lab.efi is what lies" in row.why]
    assert [row.affects for row in told] == ([("variables",)] if open_ended else [])
    listed = entries_json(str(esp), None, None, HOST)["unknown"]
    assert any("in .osrel of" in row for row in listed) is open_ended
