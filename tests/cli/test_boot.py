"""`stubsim boot`: every option has its effect, every recording gives valid JSON, and no input gives a traceback."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from stubsim import schemas
from stubsim.formats import hwids, pe, qtest
from stubsim.formats.efi_string import utf16z
from stubsim.formats.pe import SectionSpec
from tests.conftest import recordings
from tests.explain.test_snp import IMAGE as SNP_IMAGE
from tests.samples import (
    COMPATIBLE,
    FIRMWARE,
    FIRMWARE_UKI,
    FULL_UKI,
    INITRD,
    KERNEL,
    MACHINE,
    Result,
    devicetree,
    execute,
    firmware,
    invoke,
    table,
    uki,
    written,
)
from tests.strategies import mutated
from tests.stub.harness import setup_header

RECORDINGS = recordings()
BOOT = Draft202012Validator(schemas.load("boot"))
ERROR = Draft202012Validator(schemas.load("error"))
# Firmware comes in multiples of 64 KiB, or the hypervisor aborts.
BIOS = b"BIOS" * 0x4000
DEVICE = {
    "smbios": MACHINE,
    "memory": "64M",
    "fw_cfg": {"vmfwupdate": {"dialect": "qemu-v5", "bios_size": len(BIOS)}},
}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return written(tmp_path, "uki.efi", FULL_UKI)


@pytest.fixture
def device(tmp_path: Path) -> Path:
    return written(tmp_path, "device.json", DEVICE)


@pytest.fixture
def updating(tmp_path: Path) -> Path:
    return written(tmp_path, "updating.efi", uki(table((hwids.UEFI_FW, "fw")), firmware(payload=BIOS)))


def booted(*arguments: str | Path, status: int = 0) -> Any:
    result = invoke("boot", *arguments, "--format", "json")
    assert result.status == status, result.err
    boot = result.json
    BOOT.validate(boot)
    return boot


def addon(cmdline: bytes) -> bytes:
    return pe.build([SectionSpec(".cmdline", cmdline)])


def test_the_choice(image: Path, host: Path):
    boot = booted(image, "--smbios", host)
    assert boot["model"]["id"] == "262.1"
    assert boot["selection"]["efifw"]["section"] == 8
    assert boot["selection"]["dtbauto"] == {"section": 6, "compatible": COMPATIBLE}
    assert boot["cmdline"] == "quiet"
    nobody = booted(image, "--smbios", written(host.parent, "other.json", {"manufacturer": "Nobody"}))
    assert nobody["selection"]["efifw"] is nobody["selection"]["dtbauto"] is None


def test_esp_and_path(tmp_path: Path, image: Path, host: Path):
    esp = tmp_path / "esp"
    for folder, text in (
        ("loader/addons", b"global"),
        ("EFI/Linux/uki.efi.extra.d", b"own"),
        ("a/b.efi.extra.d", b"b"),
    ):
        (esp / folder).mkdir(parents=True)
        written(esp / folder, "x.addon.efi", addon(text))
    assert booted(image, "--smbios", host)["cmdline"] == "quiet"
    # Not on the partition: the usual place and the file's own name.
    assert booted(image, "--smbios", host, "--esp", esp)["cmdline"] == "quiet global own"
    assert booted(image, "--smbios", host, "--esp", esp, "--path", r"\a\b.efi")["cmdline"] == "quiet global b"
    assert booted(image, "--smbios", host, "--esp", esp, "--path", r"\A\B.EFI")["cmdline"] == "quiet global b"
    # Found by its content.
    written(esp / "a", "b.efi", FULL_UKI)
    assert booted(image, "--smbios", host, "--esp", esp)["cmdline"] == "quiet global b"


@pytest.mark.parametrize("command", [["boot"], ["why"], ["measure"], ["diff", "--stub", "257", "--stub", "262"]])
def test_a_missing_esp_is_an_error(tmp_path: Path, image: Path, host: Path, command: list[str]):
    result = invoke(*command, image, "--smbios", host, "--esp", tmp_path / "no")
    assert (result.status, result.out) == (2, "")
    assert result.lines == [
        f"stubsim: error: {tmp_path / 'no'}: no such folder (expected the tree of the partition (--esp))"
    ]


def test_what_is_assumed_of_the_path(tmp_path: Path, image: Path, host: Path):
    esp = tmp_path / "esp"
    (esp / "EFI" / "Linux").mkdir(parents=True)
    (esp / "EFI" / "BOOT").mkdir(parents=True)

    def told(*arguments: str | Path) -> list[str]:
        assumed = booted(*arguments, "--smbios", host, "--esp", esp)["assumed"]
        return [text for text in assumed if "--path" in text]

    assert told(image) == [r"the UKI is not in --esp: it is taken to lie at \EFI\Linux\uki.efi (--path)"]
    one = written(esp / "EFI" / "Linux", "one.efi", FULL_UKI)
    assert told(image) == []
    two = written(esp / "EFI" / "BOOT", "BOOTX64.EFI", FULL_UKI)
    assert told(image) == [
        r"the UKI is in --esp 2 times, \EFI\BOOT\BOOTX64.EFI, \EFI\Linux\one.efi: \EFI\BOOT\BOOTX64.EFI, which the "
        "firmware starts, is taken (--path)"
    ]
    assert told(one) == told(two) == []
    assert told(image, "--path", r"\EFI\Linux\one.efi") == []
    assert told(image, "--path", r"EFI/Linux\ONE.efi") == [
        r"--path EFI/Linux\ONE.efi: has no leading backslash: \EFI\Linux\ONE.efi is used"
    ]
    assert told(image, "--path", r"\x.efi") == [
        r"--path: \x.efi is not in --esp, which is taken to be the rest of the partition"
    ]


def test_load_options(tmp_path: Path, image: Path, host: Path):
    raw = written(tmp_path, "options", utf16z("from a file"))
    for arguments, cmdline in (
        (["--load-options", raw], "from a file"),
        (["--load-options", os.devnull], "quiet"),
        (["--cmdline", "typed"], "typed"),
        (["--cmdline", ""], "quiet"),
        (["--shell", r"fs0:\uki.efi one  two"], "one two"),
        (["--shell", "uki.efi"], "quiet"),
        (["--cmdline=@1"], "rescue"),
        (["--cmdline=@1 more"], "more"),
        (["--shell", "uki.efi @1 more"], "more"),
    ):
        boot = booted(image, "--smbios", host, *arguments)
        assert boot["cmdline"] == cmdline, arguments
        assert boot["load_options"] == utf16z(cmdline).hex()


def test_from_memory(tmp_path: Path, image: Path, host: Path):
    known = {"LoaderImageIdentifier", "StubImageIdentifier"}

    def names(boot: Any) -> set[str]:
        return {variable["name"] for variable in boot["variables"]}

    with_path, without = booted(image, "--smbios", host), booted(image, "--smbios", host, "--from-memory")
    assert names(with_path) & known
    assert not names(without) & known
    assert without["outcome"]["status"] == "kernel-started"


def test_profile(image: Path, host: Path):
    for number, own, cmdline in (("0", "main", "quiet"), ("1", "rescue", "rescue")):
        boot = booted(image, "--smbios", host, "--profile", number)
        assert (boot["profile"]["index"], boot["profile"]["id"], boot["cmdline"]) == (int(number), own, cmdline)
    assert booted(image, "--smbios", host, "--profile", "1", "--cmdline", "x")["cmdline"] == "x"
    assert booted(image, "--smbios", host, "--profile", "1", "--shell", "a.efi x")["cmdline"] == "x"
    assert booted(image, "--smbios", host, "--profile", "rescue") == booted(image, "--smbios", host, "--profile", "1")
    failed = booted(image, "--smbios", host, "--profile", "2", status=1)
    assert failed["outcome"]["efi_status"] == "EFI_NOT_FOUND"
    unknown = execute("boot", image, "--smbios", host, "--profile", "reskue")
    assert unknown.status == 2
    assert f"{image}: no profile has the id 'reskue' (expected main, rescue)" in unknown.err


def test_a_failing_boot_says_because_in_every_view(image: Path, host: Path):
    because = "profile 3 is asked for, and the UKI has profiles 0 to 1"
    call = (image, "--smbios", host, "--profile", "3")
    assert booted(*call, status=1)["outcome"]["because"] == because
    result = execute("boot", *call)
    assert f"because     {because}" in result.out
    assert result.err.rstrip().endswith(f"Unable to locate embedded per-profile PE sections: Not found: {because}")
    for command in ("boot", "why"):
        assert because in execute(command, *call, "--format", "html").out
    assert f"because     {because}" in execute("why", *call).out
    assert because in " ".join(execute("diff", *call, "--profile", "0").out.split())
    assert because in execute("measure", *call).err


def test_stub(image: Path, host: Path):
    chosen = {}
    for name in ("256", "257", "257.0", "258", "260.2", "260", "262", "next", "fuki", "257.13"):
        boot = booted(image, "--smbios", host, "--stub", name)
        assert name in boot["model"]["reason"]
        selection = boot["selection"]
        chosen[name] = (boot["model"]["id"], bool(selection["efifw"]), bool(selection["dtbauto"]))
    assert chosen == {
        "256": ("256.17", False, False),
        # Any firmware entry makes it refuse the table.
        "257": ("257.13", False, False),
        "257.0": ("257.0", False, False),
        "257.13": ("257.13", False, False),
        "258": ("258.10", False, True),
        "260.2": ("260.2", False, True),
        "260": ("260.4", True, True),
        "262": ("262.1", True, True),
        "next": ("next", True, True),
        "fuki": ("fuki", False, False),
    }


@pytest.mark.parametrize(
    ("stub", "model", "assumed"),
    [
        ("systemd-stub 262.1-1", "262.1", False),
        ("systemd-stub 257~rc1", "257.0", True),
        ("systemd-stub 259.3-1.fc43", "259.3", False),
        ("systemd-stub 258", "258.0", False),
        ("systemd-stub 259.99", "259.8", True),
        ("systemd-stub 250", "252.0", True),
        ("systemd-stub 263~devel", "262.1", True),
        ("systemd-stub 9999", "262.1", True),
        ("systemd-stub git", "262.1", True),
        ("stubble 14-1", "stubble-14", False),
        ("stubble 5", "stubble-14", True),
        ("", "262.1", True),
    ],
)
def test_the_model_of_a_stub(tmp_path: Path, host: Path, stub: str, model: str, assumed: bool):
    image = written(tmp_path, "uki.efi", uki(stub=stub))
    boot = booted(image, "--smbios", host)
    assert boot["model"]["id"] == model
    assert boot["model"]["reason"].endswith("assumed") == assumed
    inspected = invoke("inspect", image, "--format", "json")
    assert inspected.json["model"] == boot["model"]
    assert ("unknown stub" in inspected.err) == assumed


def test_handover(updating: Path, device: Path, host: Path):
    boot = booted(updating, "--smbios", device)
    assert boot["outcome"]["status"] == "firmware-update"
    assert boot["fw_cfg"]["dialect"] == "qemu-v5"
    assert [write["file"].rpartition("/")[2] for write in boot["fw_cfg"]["writes"]] == ["opaque-blob", "fw-blob"]
    none = booted(updating, "--smbios", device, "--handover", "none")
    assert none["outcome"]["status"] == "kernel-started"
    assert none["fw_cfg"]["dialect"] is None
    assert none["fw_cfg"]["writes"] == []
    # A machine without the device cannot be asked.
    asked = booted(updating, "--smbios", host, "--handover", "qemu-v5")
    assert asked["outcome"]["status"] == "kernel-started"
    assert asked["fw_cfg"]["writes"] == []


def test_a_firmware_that_the_hypervisor_cannot_take(tmp_path: Path, device: Path):
    image = written(tmp_path, "uki.efi", uki(table((hwids.UEFI_FW, "fw")), firmware(payload=b"not 64 KiB")))
    result = invoke("boot", image, "--smbios", device, "--format", "json")
    assert result.status == 1
    assert result.json["outcome"]["status"] == "hypervisor-abort"
    assert result.lines[-1].startswith(f"stubsim: error: {image}: ")


def test_snp_is_in_json_and_text(tmp_path: Path):
    image = written(tmp_path, "uki.efi", uki(table((hwids.UEFI_FW, "fw")), firmware(payload=SNP_IMAGE)))
    host = written(tmp_path, "host.json", {"smbios": MACHINE})
    options = ("--smbios", host, "--snp", "vcpus=4,type=EPYC-v4")
    found = booted(image, *options)["snp"]
    kept = {key: found[key] for key in ("fwid", "vcpus", "vcpu_type", "guest_features", "vmm_type")}
    assert kept == {"fwid": "fw", "vcpus": 4, "vcpu_type": "EPYC-v4", "guest_features": "0x1", "vmm_type": "QEMU"}
    text = "".join(invoke("boot", image, *options).out.split())
    for words in ("SEV-SNP launch measurement of the chosen firmware", found["measurement"], *found["excluded"]):
        assert "".join(words.split()) in text
    assert "snp" not in booted(image, "--smbios", host)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vcpus=4,type=EPIC", "unknown type 'EPIC' in --snp (expected EPYC, "),
        ("vcpus=4,type=EPYC", "firmware fw: no SEV-SNP launch measurement: the payload is unknown, 65536 bytes"),
    ],
)
def test_snp_that_cannot_be(tmp_path: Path, text: str, message: str):
    image = written(tmp_path, "uki.efi", FIRMWARE_UKI)
    host = written(tmp_path, "host.json", {"smbios": MACHINE})
    result = invoke("boot", image, "--smbios", host, "--snp", text, "--format", "json")
    assert result.status == 2
    assert message in result.lines[0]
    ERROR.validate(result.json)
    assert len(result.lines) == 1
    assert invoke("boot", image, "--smbios", host, "--snp", text, "--format", "eventlog").status == 2


def test_follow(updating: Path, device: Path):
    boot = booted(updating, "--smbios", device, "--follow")
    second = boot["next"]
    BOOT.validate(second)
    assert (second["outcome"]["status"], second["next"]) == ("kernel-started", None)
    assert [row["file"] for row in second["fw_cfg"]["writes"]] == ["etc/vmfwupdate/fw-blob"]
    assert booted(updating, "--smbios", device)["next"] is None
    text = " ".join(invoke("boot", updating, "--smbios", device, "--follow").out.split())
    assert "the kernel starts from memory" in text


def test_follow_without_an_update(image: Path, updating: Path, device: Path, host: Path):
    """There is nothing to follow, and nothing wrong with that."""
    for arguments in ((image, "--smbios", host), (updating, "--smbios", device, "--handover", "none")):
        assert booted(*arguments, "--follow")["next"] is None


def test_a_boot_loop_fails(tmp_path: Path):
    """The prototype's hypervisor resets for a firmware that its BIOS region cannot hold, too, and copies nothing."""
    sections = (table((hwids.UEFI_FW, "fw")), firmware(payload=BIOS * 2))
    path = written(tmp_path, "uki.efi", uki(*sections, linux=setup_header()))
    device = {"dialect": "fuki-2024", "bios_size": len(BIOS)}
    host = written(tmp_path, "host.json", {"smbios": MACHINE, "fw_cfg": {"vmfwupdate": device}})
    result = invoke("boot", path, "--smbios", host, "--follow", "--format", "json")
    BOOT.validate(result.json)
    assert (result.status, result.json["outcome"]["status"], result.json["next"]) == (1, "boot-loop", None)
    assert "boot loop" in result.lines[-1]


def test_an_unknown_handover(updating: Path, device: Path):
    result = invoke("boot", updating, "--smbios", device, "--handover", "nonsense", "--format", "json")
    assert (result.status, len(result.lines)) == (2, 1)
    assert "nonsense" in result.err
    assert all(name in result.err for name in ("qemu-v5", "spec", "fuki-2024", "capsule", "none"))
    ERROR.validate(result.json)


def test_qtest(tmp_path: Path, updating: Path, device: Path):
    """The script goes to the terminal or to a file, the same lines, each a command."""
    result = invoke("boot", updating, "--smbios", device, "--format", "qtest")
    assert result.status == 0
    for line in result.out.splitlines():
        qtest.parse(line)
    assert result.out.endswith("outb 0xcf9 0x6\n")
    path = tmp_path / "script"
    assert invoke("boot", updating, "--smbios", device, "--format", "qtest", "-o", path).out == ""
    assert path.read_text() == result.out
    assert invoke("boot", updating, "--smbios", device, "--format", "qtest", "--handover", "none").out == ""


def test_a_proposal_is_never_passed_off_as_a_release(updating: Path, device: Path):
    text = invoke("boot", updating, "--smbios", device).out
    assert "no released stub" in " ".join(text.split())


def test_extract(tmp_path: Path, image: Path, host: Path):
    folder = tmp_path / "new" / "folder"
    boot = booted(image, "--smbios", host, "--extract", folder)
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert found["firmware"] == FIRMWARE
    assert found["kernel"] == KERNEL
    assert found["cmdline"] == b"quiet"
    assert found["devicetree"] == devicetree().data
    assert found["initrd"].startswith(INITRD)
    assert hashlib.sha256(found["initrd"]).hexdigest() == boot["initrd"]["sha256"]
    assert len(found["initrd"]) == boot["initrd"]["size"]
    assert set(found) == {"firmware", "kernel", "cmdline", "devicetree", "initrd"}


def test_extract_tells_of_files_that_another_boot_left(tmp_path: Path, host: Path):
    folder = tmp_path / "out"
    folder.mkdir()
    for name in ("devicetree", "notes"):
        (folder / name).write_text("old")
    plain = written(tmp_path, "plain.efi", uki())
    result = invoke("boot", plain, "--smbios", host, "--extract", folder)
    about = [line for line in result.lines if str(folder) in line]
    assert (result.status, len(about)) == (0, 1)
    assert about[0].startswith(f"stubsim: warning: {folder / 'devicetree'}: was there before ")
    assert (folder / "devicetree").read_text() == "old"


def test_extract_of_a_boot_that_fails(tmp_path: Path, host: Path):
    folder = tmp_path / "out"
    booted(written(tmp_path, "uki.efi", uki(linux=None)), "--smbios", host, "--extract", folder, status=1)
    assert list(folder.iterdir()) == []


def test_output(tmp_path: Path, image: Path, host: Path):
    shown = invoke("boot", image, "--smbios", host, "--format", "json").out
    target = tmp_path / "boot.json"
    for _ in range(2):
        result = invoke("boot", image, "--smbios", host, "--format", "json", "-o", target)
        assert (result.status, result.out, result.err) == (0, "", "")
        assert target.read_text() == shown
    assert invoke("boot", image, "--smbios", host, "--format", "json", "-o", "-").out == shown
    # A file that is there keeps its mode.
    target.chmod(0o600)
    assert invoke("boot", image, "--smbios", host, "-o", target).status == 0
    assert target.stat().st_mode & 0o777 == 0o600
    assert invoke("boot", image, "--smbios", host, "-o", "").status == 2
    # A failed boot is a result, and written as well.
    failed = invoke("boot", image, "--smbios", host, "--profile", "9", "--format", "json", "--output", target)
    assert failed.status == 1
    assert json.loads(target.read_text())["outcome"]["status"] == "failed"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["boot.json", "host.json", "uki.efi"]


def test_the_order_of_the_options_does_not_matter(image: Path, host: Path):
    one = invoke("boot", "--format", "json", "--smbios", host, "--profile", "1", image)
    other = invoke("boot", image, "--profile", "1", "--smbios", host, "--format", "json")
    assert one == other


def test_as_a_program(image: Path, host: Path):
    result = execute("boot", image, "--smbios", host, "--format", "json")
    assert (result.status, result.err) == (0, "")
    assert result == invoke("boot", image, "--smbios", host, "--format", "json")
    text = execute("boot", image, "--smbios", host)
    assert (text.status, text.err) == (0, "")
    assert COMPATIBLE in text.out


def test_an_addon_is_no_uki(tmp_path: Path, host: Path):
    image = written(tmp_path, "x.addon.efi", addon(b"quiet"))
    outcome = booted(image, "--smbios", host, status=1)["outcome"]
    assert (outcome["status"], outcome["message"]) == (
        "not-simulated",
        "the file is an addon, not a UKI: it has no .linux",
    )
    assert invoke("boot", image, "--smbios", host).out.startswith("not simulated: the file is an addon, not a UKI")
    assert invoke("why", image, "--smbios", host).out.startswith("not simulated: the file is an addon, not a UKI")
    measured = invoke("measure", image, "--format", "json")
    assert measured.status == 1
    assert "the file is an addon" in measured.err
    assert not any(measured.json.get(bank) for bank in ("sha1", "sha256", "sha384", "sha512"))


def test_memory_overrides_the_host_file(tmp_path: Path, image: Path):
    """As does the size in the file itself; and then it is not unknown."""

    def memory(size: str, *options: str, **more: Any) -> list[dict[str, Any]]:
        host = written(tmp_path, f"{size}.json", {"smbios": MACHINE, "memory": size, **more})
        boot = booted(image, "--smbios", host, *options)
        assert "memory" not in [row["what"] for row in boot["unknown"]]
        rows: list[dict[str, Any]] = boot["memory"]
        return rows

    sizes = {size: memory(size) for size in ("96M", "512M", "2G", "8G", "1T")}
    for size, rows in sizes.items():
        assert memory("640M", "--memory", size.lower(), unknown=["memory"]) == rows
    assert sizes["2G"] == sizes["8G"] == sizes["1T"]  # of which 2 GiB lie below 4 GiB
    assert sizes["2G"][0]["gpa"] - sizes["512M"][0]["gpa"] == (2048 - 512) << 20


def test_help_names_every_option():
    text = execute("boot", "--help").out
    for option in (
        "--smbios", "--esp", "--path", "--load-options", "--cmdline", "--shell", "--from-memory", "--profile", "--stub",
        "--memory", "--handover", "--follow", "--format", "--output", "--extract", "--debug",
    ):  # fmt: skip
        assert option in text


@pytest.mark.skipif(not RECORDINGS, reason="no recordings (STUBSIM_SHARED)")
def test_the_json_of_every_recorded_boot_is_valid(monkeypatch: pytest.MonkeyPatch):
    statuses = set()
    for folder in RECORDINGS:
        monkeypatch.chdir(folder)
        arguments = json.loads((folder / "boot.json").read_text())["args"]
        result = invoke("boot", "uki.efi", "--smbios", "host.json", "--format", "json", *arguments)
        BOOT.validate(result.json)
        assert result.status in (0, 1)
        for line in result.lines:
            level, _, text = line.removeprefix("stubsim: ").partition(": ")
            assert level in ("warning", "error")
            assert text.startswith("uki.efi: "), line
        assert len(set(result.lines)) == len(result.lines)
        statuses.add(result.status)
    assert statuses == {0, 1}


# What is left of a UKI that somebody has edited: the headers, the tables and blobs are where it hurts.
SMALL_UKI = uki(
    table((hwids.DEVICETREE, COMPATIBLE), (hwids.UEFI_FW, "fw")),
    devicetree(),
    firmware(),
    SectionSpec(".profile", b"ID=one\n"),
    SectionSpec(".cmdline", b"one"),
)
IMAGE = pe.open_bytes(SMALL_UKI, "")
SPOTS = [
    *range(0x3C, IMAGE.sections[-1].header_offset + 40),
    *(at for section in IMAGE.sections for at in range(section.raw_offset, section.raw_offset + 96, 4)),
]
KERNEL_AT = next(section.raw_offset for section in IMAGE.sections if section.name == ".linux")
SPOTS += range(KERNEL_AT + 0x3C, KERNEL_AT + 0x200)


def survives(result: Result) -> None:
    assert result.status in (0, 1, 2), result.err
    assert "Traceback" not in result.err
    assert all(line.startswith(("stubsim: warning: ", "stubsim: error: ")) for line in result.lines)
    if result.status == 2:
        ERROR.validate(result.json)
        assert len(result.lines) == 1


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=mutated(SMALL_UKI, places=SPOTS),
    options=st.sampled_from([[], ["--profile", "0"], ["--stub", "257"], ["--stub", "260"], ["--from-memory"]]),
)
def test_a_mutated_uki_boots_or_does_not(tmp_path: Path, data: bytes, options: list[str]):
    image, host = written(tmp_path, "mutated.efi", data), written(tmp_path, "device.json", DEVICE)
    result = invoke("boot", image, "--smbios", host, "--format", "json", *options)
    survives(result)
    if result.status != 2:
        BOOT.validate(result.json)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=mutated(FIRMWARE_UKI, places=SPOTS))
def test_the_text_of_a_mutated_uki(tmp_path: Path, data: bytes):
    image, host = written(tmp_path, "mutated.efi", data), written(tmp_path, "device.json", DEVICE)
    result = invoke("boot", image, "--smbios", host)
    assert result.status in (0, 1, 2)
    assert (result.out == "") == (result.status == 2)
    assert "\x1b" not in result.out
