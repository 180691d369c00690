"""Addons from the partition; recordings addon-*, extra-*, sb-addons."""

from __future__ import annotations

from pathlib import Path

import pytest

from stubsim.chid import PRIORITY
from stubsim.formats import hwids
from stubsim.formats.pe import SectionSpec
from stubsim.hosts import Host
from stubsim.stub.addons import Addons, extra_folder, folder_files, load_all_addons
from stubsim.trace import Log
from tests.stub.harness import (
    CHIDS,
    FIELDS,
    KERNEL,
    Row,
    Run,
    devicetree,
    make_pe,
    make_uki,
    run,
    table,
    with_directories,
)  # fmt: skip

OWN = "EFI/Linux/lab.efi.extra.d"
GLOBAL = "loader/addons"
THIS = CHIDS[PRIORITY[3]]


def put(esp: Path, path: str, *sections: Row, **headers: int) -> None:
    file = esp / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(make_pe(*sections, **headers))


def load(one: Run) -> Addons:
    return load_all_addons(one.context, one.sections())


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("\\EFI\\Linux\\lab.efi", "\\EFI\\Linux\\lab.efi.extra.d"),
        ("\\lab.efi", "\\lab.efi.extra.d"),
        # extra-bootcount, extra-subdir: the counter goes, here only.
        ("\\lab+3.efi", "\\lab.efi.extra.d"),
        ("\\lab+3-1.efi", "\\lab.efi.extra.d"),
        ("\\lab+3", "\\lab.extra.d"),
        ("\\lab+3.x+4.efi", "\\lab.x+4.efi.extra.d"),
        # The first plus sign of the whole path decides (util.c of the public source).
        ("\\a+1-b+3-0.efi", "\\a+1-b+3-0.efi.extra.d"),
        ("\\a+b\\lab+3.efi", "\\a+b\\lab+3.efi.extra.d"),
        ("\\lab+18446744073709551616.efi", "\\lab+18446744073709551616.efi.extra.d"),
        ("\\lab+.efi", "\\lab+.efi.extra.d"),
        ("\\lab+3-.efi", "\\lab+3-.efi.extra.d"),
        ("\\lab+-1.efi", "\\lab+-1.efi.extra.d"),
        ("\\lab+x.efi", "\\lab+x.efi.extra.d"),
        ("\\a+3\\lab.efi", "\\a+3\\lab.efi.extra.d"),
        (None, None),
    ],
)
def test_the_ukis_own_folder(path: str | None, folder: str | None):
    assert extra_folder(run(path=path).context) == folder


@pytest.mark.parametrize(
    ("stub", "name"), [("252", "lab+3"), ("254.5", "lab+3"), ("254.6", "lab"), ("254.26", "lab"), ("255.0", "lab")]
)
def test_older_stubs_leave_the_boot_counter(stub: str, name: str):
    """252.39's and 254.26's own code in emulation; the border is of the tags (util.c)."""
    assert extra_folder(run(path="\\lab+3.efi", stub=stub).context) == f"\\{name}.efi.extra.d"


@pytest.mark.parametrize(
    ("stub", "texts"),
    [
        ("254", ["a.addon.efi is a UKI, not an addon, ignoring: Invalid parameter",
                 "Unable to locate embedded .cmdline section in b.addon.efi, ignoring: Not found"]),
        ("256", ["a.addon.efi is a UKI, not an addon, ignoring: Invalid parameter",
                 "Unable to locate embedded .cmdline/.dtb sections in b.addon.efi, ignoring: Not found"]),
    ],
)  # fmt: skip
def test_how_older_stubs_refuse_addons(tmp_path: Path, stub: str, texts: list[str]):
    """254.26's own code in emulation; 256 by its source."""
    put(tmp_path, f"{OWN}/a.addon.efi", (".cmdline", b"x"), (".linux", KERNEL))
    put(tmp_path, f"{OWN}/b.addon.efi", (".osrel", b"y"))
    one = run(esp=tmp_path, stub=stub)
    load(one)
    assert one.log() == texts


@pytest.mark.parametrize(("stub", "taken"), [("257.2", False), ("257.3", True)])
def test_an_addon_of_more_than_96_sections(tmp_path: Path, stub: str, taken: bool):
    put(tmp_path, f"{OWN}/a.addon.efi", (".cmdline", b"x"), *((f".s{number}", b"y") for number in range(96)))
    one = run(esp=tmp_path, stub=stub)
    assert load(one).cmdlines == (("x",) if taken else ("",))
    kinds = ".cmdline/.dtb/.dtbauto/.initrd/.ucode"
    text = f"Unable to locate embedded {kinds} sections in a.addon.efi, ignoring: Load error"
    assert one.log() == ([] if taken else [text])


def test_an_addon_that_is_copied_over_its_end(tmp_path: Path):
    """Nothing checks the data of a section that is empty in memory (BasePeCoffLib)."""
    for size in (4096, 4097):
        put(tmp_path, f"{GLOBAL}/a.addon.efi", (".cmdline", b"a"), SectionSpec(".x", b"x" * size, virtual_size=0))
        one = run(esp=tmp_path)
        load(one)
        assert one.unknown() == ["the memory behind a.addon.efi"] * (size > 4096)


def test_which_files_count(tmp_path: Path):
    """sidecars-names, sidecars-sort: by UTF-16 code unit; suffixes without case; no hidden, foreign or long ones."""
    names = ["10", "9", "A0", "C", "Z", "_x", "a-", "a", "a1", "b", "~t"]
    for name in [*reversed(names), ".hidden", "uml\u00e4ut"]:
        (tmp_path / f"{name}.cred").write_bytes(b"")
    (tmp_path / "c.CRED").write_bytes(b"")
    (tmp_path / "folder.cred").mkdir()
    (tmp_path / "other.txt").write_bytes(b"")
    found = folder_files(run(esp=tmp_path).context, "\\", ".cred")
    assert found == [f"{name}.cred" for name in names[:-1]] + ["c.CRED", "~t.cred"]
    assert folder_files(run(esp=tmp_path).context, "\\", ".cred", "1.cred") == [
        f"{name}.cred" for name in names[:-1] if name != "a1"
    ] + ["c.CRED", "~t.cred"]


def test_without_folder_there_are_no_names(tmp_path: Path):
    assert folder_files(run(esp=tmp_path).context, "\\loader\\addons", ".addon.efi") is None
    assert folder_files(run(from_memory=True).context, "\\loader\\addons", ".addon.efi") is None


@pytest.mark.parametrize("stub", ["257", "262"])
def test_global_ones_first(tmp_path: Path, stub: str):
    """addon-order-mixed: each folder sorted by itself."""
    put(tmp_path, f"{OWN}/a.addon.efi", (".cmdline", b" local "), (".initrd", b"li"), (".ucode", b"lu"))
    put(tmp_path, f"{GLOBAL}/z.ADDON.EFI", (".cmdline", b"global2"), (".dtb", b"dt"))
    put(tmp_path, f"{GLOBAL}/b.addon.efi", (".cmdline", b"global1"), (".ucode", b"gu"))
    addons = load(run(esp=tmp_path, stub=stub))
    assert addons.cmdlines == ("global1 global2 local",)
    assert [(addon.filename, bytes(addon.data)) for addon in addons.ucodes] == [
        ("b.addon.efi", b"gu"), ("a.addon.efi", b"lu"),
    ]  # fmt: skip
    assert [bytes(addon.data) for addon in addons.initrds] == [b"li"]
    assert [addon.filename for addon in addons.devicetrees] == ["z.ADDON.EFI"]


def test_from_memory_there_are_none(tmp_path: Path):
    """launch-mem."""
    put(tmp_path, f"{GLOBAL}/a.addon.efi", (".cmdline", b"x"))
    assert load(run(esp=tmp_path, from_memory=True)) == Addons(("",), [], [], [])


@pytest.mark.parametrize(
    ("texts", "expected"),
    [([b"a", b" ", b"b"], "a  b"), ([b" ", b" "], ""), ([b" ", b"b"], "b"), ([b"a\0x", b"b"], "a b")],
)
def test_blank_lines_leave_their_separator(tmp_path: Path, texts: list[bytes], expected: str):
    """addon-cmdline-blank, addon-cmdline-blankonly."""
    for number, text in enumerate(texts):
        put(tmp_path, f"{OWN}/{number}.addon.efi", (".cmdline", text))
    assert load(run(esp=tmp_path)).cmdlines == (expected,)


@pytest.mark.parametrize(
    ("own", "addon", "applies"),
    [
        (b"6.1.0-lab", b"6.1.0-lab", True),
        # addon-uname: a prefix will do, against the manual.
        (b"6.1.0-lab", b"6.1.0", True),
        (b"6.1.0-lab", b"6.1.0-lab2", False),
        (b"6.1.0-lab", b"5", False),
        (b"6.1.0-lab", None, True),
        # addon-uname-nouki.
        (None, b"5", True),
        # A NUL inside the addon's ends the comparison, and then the UKI's must end there as well.
        (b"6.1.0-lab", b"6.1.0\0", False),
        (b"6.1.0-lab", b"6.1.0-lab\0x", True),
        (b"6.1.0\0-lab", b"6.1.0\0x", True),
        (b"6.1.0\0-lab", b"6.1.0-lab", False),
    ],
)
@pytest.mark.parametrize("stub", ["257", "262"])
def test_uname(tmp_path: Path, own: bytes | None, addon: bytes | None, applies: bool, stub: str):
    rows: list[Row] = [(".cmdline", b"x")] + ([] if addon is None else [(".uname", addon)])
    put(tmp_path, f"{OWN}/a.addon.efi", *rows)
    one = run(make_uki(*([] if own is None else [(".uname", own)])), esp=tmp_path, stub=stub)
    assert load(one).cmdlines == ("x" if applies else "",)
    assert one.log() == ([] if applies else [".uname mismatch between a.addon.efi and UKI, ignoring"])


def test_what_is_no_addon(tmp_path: Path):
    put(tmp_path, f"{OWN}/a.addon.efi", (".cmdline", b"x"), (".linux", KERNEL))
    put(tmp_path, f"{OWN}/b.addon.efi", (".efifw", b"x"), (".osrel", b"y"))
    put(tmp_path, f"{OWN}/c.addon.efi", (".cmdline", b"x"), machine=0xAA64)
    (tmp_path / OWN / "d.addon.efi").write_bytes(b"no PE")
    (tmp_path / OWN / "e.addon.efi").mkdir()
    one = run(esp=tmp_path)
    assert load(one) == Addons(("",), [], [], [])
    folder = "\\EFI\\Linux\\lab.efi.extra.d"
    assert one.log() == [
        "a.addon.efi is a UKI, not an addon, ignoring.",
        f"Failed to read 'c.addon.efi' from '{folder}\\c.addon.efi', ignoring: Unsupported",
        f"Failed to read 'd.addon.efi' from '{folder}\\d.addon.efi', ignoring: Unsupported",
    ]


@pytest.mark.parametrize(
    ("stub", "names"),
    [
        ("254", ".cmdline section"),
        ("256", ".cmdline/.dtb sections"),
        ("257.13", ".cmdline/.dtb/.dtbauto/.initrd/.ucode sections"),
        ("260.2", ".cmdline/.dtb/.dtbauto/.initrd/.ucode sections"),
        ("262.1", ".cmdline/.dtb/.dtbauto/.efifw/.initrd/.ucode sections"),
    ],
)
def test_an_addon_for_ia32(tmp_path: Path, stub: str, names: str):
    """OVMF loads it, and the stub finds it to be of another machine: 262.1 in QEMU, others by their source (stub.c)."""
    put(tmp_path, f"{OWN}/c.addon.efi", (".cmdline", b"x"), machine=0x14C)
    one = run(esp=tmp_path, stub=stub)
    assert not any(load(one).cmdlines)
    assert one.log() == [f"Unable to locate embedded {names} in c.addon.efi, ignoring: Load error"]


@pytest.mark.parametrize(
    ("stub", "status"), [("257.13", "Unsupported"), ("260.4", "Unsupported"), ("262.1", "Load error")]
)
def test_an_empty_addon(tmp_path: Path, stub: str, status: str):
    """257.13 and 262.1 in QEMU: the newer one reads the file itself, and hands no bytes to LoadImage()."""
    (tmp_path / OWN).mkdir(parents=True)
    (tmp_path / OWN / "c.addon.efi").touch()
    one = run(esp=tmp_path, stub=stub)
    assert load(one).cmdlines == ("",)
    path = "\\EFI\\Linux\\lab.efi.extra.d\\c.addon.efi"
    assert one.log() == [f"Failed to read 'c.addon.efi' from '{path}', ignoring: {status}"]


@pytest.mark.parametrize(("subsystem", "loaded"), [(10, True), (11, True), (12, True), (1, False), (3, False)])
def test_only_efi_subsystems_are_loaded(tmp_path: Path, subsystem: int, loaded: bool):
    """Booted systemd-stub 262.1 in QEMU, addons with other values in Subsystem."""
    put(tmp_path, f"{OWN}/c.addon.efi", (".cmdline", b"x"), subsystem=subsystem)
    one = run(esp=tmp_path)
    assert load(one).cmdlines == ("x" if loaded else "",)
    path = "\\EFI\\Linux\\lab.efi.extra.d\\c.addon.efi"
    assert one.log() == ([] if loaded else [f"Failed to read 'c.addon.efi' from '{path}', ignoring: Unsupported"])


def test_nothing_to_apply(tmp_path: Path):
    """addon-efifw; by its public source, and the line numbers of its messages, 257 complains."""
    put(tmp_path, f"{OWN}/a.addon.efi", (".efifw", b"x"), (".osrel", b"y"))
    texts = [
        "Unable to locate embedded .cmdline/.dtb/.dtbauto/.initrd/.ucode sections in a.addon.efi, ignoring: Not found",
        "No applicable .cmdline/.dtb/.dtbauto/.initrd/.ucode sections found in a.addon.efi, ignoring.",
    ]
    for stub, level, text in zip(("257", "262"), ("error", "debug"), texts, strict=True):
        one = run(esp=tmp_path, stub=stub, debug=True)
        assert load(one) == Addons(("",), [], [], [])
        assert one.trace[1:] == [Log(level, text)]


def test_unsigned_ones_under_secure_boot(tmp_path: Path):
    """sb-addons; a certificate table is enough where no --db is given. The signature is looked at first."""
    put(tmp_path, f"{OWN}/a.addon.efi", (".cmdline", b"unsigned"))
    put(tmp_path, f"{OWN}/b.addon.efi", (".cmdline", b"signed"), certificates=bytes(64))  # type: ignore[arg-type]
    put(tmp_path, f"{OWN}/c.addon.efi", (".cmdline", b"x"), machine=0xAA64)
    one = run(host=Host(secure_boot=True), esp=tmp_path)
    assert load(one).cmdlines == ("signed",)
    assert [line.rpartition(": ")[2] for line in one.log()] == ["Access denied", "Access denied"]
    one = run(esp=tmp_path)
    assert load(one).cmdlines == ("unsigned signed",)


def test_a_devicetree_by_hwids_is_preferred(tmp_path: Path):
    """addon-dtbauto, addon-dtbauto-ukihwids: the look-up needs a .hwids inside the addon."""
    tree, plain = devicetree("tree"), devicetree("plain")
    entries = table((hwids.DEVICETREE, THIS, "tree"))
    put(tmp_path, f"{OWN}/a.addon.efi", (".dtb", plain), (".dtbauto", tree), (".hwids", entries))
    put(tmp_path, f"{OWN}/b.addon.efi", (".dtb", plain), (".dtbauto", tree))
    put(tmp_path, f"{OWN}/c.addon.efi", (".dtbauto", tree))
    one = run(make_uki((".hwids", entries)), Host(fields=FIELDS), esp=tmp_path)
    assert [(addon.filename, bytes(addon.data)) for addon in load(one).devicetrees] == [
        ("a.addon.efi", tree),
        ("b.addon.efi", plain),
    ]


def test_the_firmwares_tree_counts_for_addons(tmp_path: Path):
    """addon-dtbauto-fwdtb: the UKI's own is not installed yet."""
    put(tmp_path, f"{OWN}/a.addon.efi", (".dtbauto", devicetree("firmware")))
    put(tmp_path, f"{OWN}/b.addon.efi", (".dtbauto", devicetree("own")))
    uki = make_uki((".dtb", devicetree("own")))
    one = run(uki, Host(devicetree=devicetree("firmware")), esp=tmp_path)
    assert [addon.filename for addon in load(one).devicetrees] == ["a.addon.efi"]


@pytest.mark.parametrize(("stub", "applies"), [("254", False), ("255.4", True), ("255.5", False), ("256.0", False)])
def test_an_addon_for_another_kernel_by_release(tmp_path: Path, stub: str, applies: bool):
    """255's own code in emulation applies it: .uname was read behind the addons (acee605 of 255.5)."""
    put(tmp_path, f"{OWN}/a.addon.efi", (".cmdline", b"x"), (".uname", b"7"))
    one = run(make_uki((".uname", b"6")), esp=tmp_path, stub=stub)
    load(one)
    assert one.log() == ([] if applies else [".uname mismatch between a.addon.efi and UKI, ignoring"])


@pytest.mark.parametrize(("stub", "taken"), [("258.9", True), ("258.10", False), ("259.7", True), ("262.1", False)])
def test_an_addon_without_the_directory_of_base_relocations(tmp_path: Path, stub: str, taken: bool):
    """pe.c, verify_pe; the firmware takes it (EDK II, BasePeCoffLib)."""
    file = tmp_path / GLOBAL / "a.addon.efi"
    file.parent.mkdir(parents=True)
    for count, cmdlines in ((6, ("x",)), (5, ("x",) if taken else ())):
        file.write_bytes(with_directories(make_pe((".cmdline", b"x")), count))
        one = run(esp=tmp_path, stub=stub)
        assert tuple(filter(None, load(one).cmdlines)) == cmdlines
    assert any("Unable to locate embedded" in line for line in one.log()) != taken
