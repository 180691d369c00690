"""What `stubsim boot` prints for people: the whole text, where colour appears, and that hostile texts stay texts.

The expected texts are committed; UPDATE_EXPECTED=1 writes them anew, to be read before they are committed.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim import hosts, uki
from stubsim.chid import chids
from stubsim.formats import efifw, fdt, hwids, ovmf, pe
from stubsim.formats.efi_string import utf16z
from stubsim.formats.pe import SectionSpec
from stubsim.formats.smbios import Fields
from stubsim.printable import clean
from stubsim.simulation import boot
from stubsim.start import DEFAULT_START, Start
from stubsim.views.json import boot_json
from stubsim.views.terminal import Screen, render_boot
from tests import samples
from tests.conftest import ROOT, recordings

EXPECTED = Path(__file__).parent / "expected"
NARROW = Screen(80)
SGR = re.compile(r"\x1b\[[0-9;]*m")
PROPOSED = "no released stub performs this hand-over"

FIELDS = {"manufacturer": "Example Vendor", "product_name": "Example VM", "family": "Example", "product_sku": "EX-1"}
DEVICE = {"dma": True, "vmfwupdate": {"dialect": "qemu-v5", "cap": 136, "bios_size": 4194304}}
FIRMWARE = ovmf.build([(ovmf.SEV_HASHES, struct.pack("<II", 0x80F000, 0x400))], 65536)
KERNEL = pe.build([SectionSpec(".text", b"\x90" * 3072, characteristics=0x60000020)])
STUB = b"#### LoaderInfo: systemd-stub 262.1-1 ####\0"


def own_chid(kind: int) -> UUID:
    own = chids(Fields(**{key: text.encode() for key, text in FIELDS.items()}), None)[kind]
    assert own is not None
    return own


def make_uki(
    *extra: SectionSpec,
    firmware: bytes = FIRMWARE,
    cmdline: bytes = b"root=LABEL=root quiet",
    name: str = "Example VM, new firmware",
    fwid: str = "fw-new",
    kernel: bytes = KERNEL,
) -> bytes:
    entries = [
        (hwids.UEFI_FW, UUID(int=1), "Another machine", "fw-other"),
        (hwids.UEFI_FW, own_chid(9), name, fwid),
    ]
    return pe.build(
        [
            SectionSpec(".sdmagic", STUB),
            SectionSpec(".osrel", b"ID=example\n"),
            SectionSpec(".cmdline", cmdline),
            SectionSpec(".hwids", hwids.build(entries)),
            SectionSpec(".initrd", b"initrd" * 500),
            SectionSpec(".efifw", efifw.build("fw-other", FIRMWARE)),
            SectionSpec(".efifw", efifw.build(fwid, firmware)),
            SectionSpec(".linux", kernel),
            *extra,
        ]
    )


def make_host(**keys: Any) -> dict[str, Any]:
    return {"schema": "stubsim/host/1", "name": "example-vm", "smbios": FIELDS, "fw_cfg": DEVICE} | keys


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "uki.efi").write_bytes(make_uki())
    (tmp_path / "host.json").write_text(json.dumps(make_host()))
    (tmp_path / "esp").mkdir()
    return tmp_path


ARGUMENTS = ("boot", "uki.efi", "--smbios", "host.json", "--esp", "esp")


def environment(**variables: str) -> dict[str, str]:
    """Ours, without what says something about the terminal, with what is given."""
    about = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TERM", "COLORTERM", "TTY_COMPATIBLE")
    kept = {name: value for name, value in os.environ.items() if name not in about}
    return kept | {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color"} | variables


def piped(folder: Path, *arguments: str, **variables: str) -> str:
    command = [sys.executable, "-m", "stubsim", *(arguments or ARGUMENTS)]
    done = subprocess.run(
        command, cwd=folder, env=environment(**variables), capture_output=True, timeout=60, check=False
    )
    assert done.returncode in (0, 1), done.stderr.decode()
    return done.stdout.decode()


def on_terminal(folder: Path, *arguments: str, columns: int = 80, **variables: str) -> str:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 25, columns, 0, 0))
    command = [sys.executable, "-m", "stubsim", *(arguments or ARGUMENTS)]
    with subprocess.Popen(
        command, cwd=folder, env=environment(**variables), stdout=slave, stderr=subprocess.DEVNULL
    ) as process:
        os.close(slave)
        data = b""
        try:
            while chunk := os.read(master, 65536):
                data += chunk
        except OSError:
            pass  # Linux: the other side is closed
        os.close(master)
    assert process.returncode in (0, 1)
    return data.decode().replace("\r\n", "\n")


def expected(name: str, text: str) -> str:
    path = EXPECTED / f"{name}.txt"
    if os.environ.get("UPDATE_EXPECTED"):
        path.write_text(text, encoding="utf-8")
    return path.read_text(encoding="utf-8")


def rendered(data: bytes, host: dict[str, Any], start: Start = DEFAULT_START, target: Screen = NARROW) -> str:
    image = uki.Uki(pe.open_bytes(data, "uki.efi"))
    return render_boot(boot(image, hosts.from_json(host, "host.json"), start), target)


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1", "FORCE_COLOR": "1"}], ids=["plain", "no"])
def test_the_whole_text_piped(folder: Path, width: int, variables: dict[str, str]):
    text = piped(folder, COLUMNS=str(width), **variables)
    assert text == expected(f"update-{width}", text)


@pytest.mark.parametrize("width", [80, 140])
def test_the_whole_text_on_a_terminal_without_colour(folder: Path, width: int):
    text = on_terminal(folder, COLUMNS=str(width), NO_COLOR="1")
    assert text == expected(f"update-{width}", text)


@pytest.mark.parametrize("width", [80, 140])
def test_the_whole_text_of_a_boot_without_an_update(folder: Path, width: int):
    """A devicetree for the machine, a command line from the shell, no update device."""
    tree = fdt.build(["example,board", "example,soc"])
    table = hwids.build([(hwids.DEVICETREE, own_chid(7), "Example VM", "example,board")])
    sections = [(".sdmagic", STUB), (".hwids", table), (".dtbauto", tree), (".linux", KERNEL)]
    (folder / "uki.efi").write_bytes(pe.build([SectionSpec(name, data) for name, data in sections]))
    (folder / "host.json").write_text(json.dumps(make_host(fw_cfg=None, unknown=["console"])))
    text = piped(folder, *ARGUMENTS[:4], "--shell", "uki.efi a=1 b", COLUMNS=str(width), NO_COLOR="1")
    assert text == expected(f"kernel-{width}", text)


def test_colour_on_a_terminal_changes_no_text(folder: Path):
    text = on_terminal(folder)
    assert SGR.search(text)
    assert SGR.search(text.splitlines()[0])
    plain = SGR.sub("", text)
    assert [line.rstrip() for line in plain.splitlines()] == piped(folder, COLUMNS="80").splitlines()


def test_who_asks_for_colour_gets_it(folder: Path):
    narrow = {"COLUMNS": "80"}
    plain = piped(folder, **narrow)
    for text in (
        piped(folder, FORCE_COLOR="1", **narrow),
        piped(folder, *ARGUMENTS, "--color", "always", NO_COLOR="1", **narrow),
    ):
        assert SGR.search(text)
        assert [line.rstrip() for line in SGR.sub("", text).splitlines()] == plain.splitlines()
    assert piped(folder, *ARGUMENTS, "--color=never", FORCE_COLOR="1", **narrow) == plain
    assert "\x1b" not in on_terminal(folder, *ARGUMENTS, "--color=never")


def test_what_is_piped_is_not_wrapped(folder: Path):
    """Each line is one of the narrow text with what is folded below it."""
    text = piped(folder)
    assert max(map(len, text.splitlines())) > 140
    assert text.split() == piped(folder, COLUMNS="500").split()
    (assumed,) = [line for line in text.splitlines() if "esp_partition_uuid" in line]
    assert assumed.endswith("random seed")


def test_the_width_is_the_terminals(folder: Path):
    text = SGR.sub("", on_terminal(folder, columns=140))
    assert [line.rstrip() for line in text.splitlines()] == piped(folder, COLUMNS="140").splitlines()


@pytest.mark.parametrize("columns", ["", "0", "-5", "wide", "9" * 30, "²"])
def test_a_senseless_width_is_none(folder: Path, columns: str):
    assert piped(folder, COLUMNS=columns) == piped(folder)


def test_no_colour_on_a_dumb_terminal_or_into_a_file(folder: Path):
    assert "\x1b" not in on_terminal(folder, TERM="dumb")
    assert on_terminal(folder, *ARGUMENTS, "-o", "out.txt", columns=140) == ""
    assert (folder / "out.txt").read_text() == piped(folder)


def test_json_needs_no_rich(folder: Path):
    code = (
        "import sys; from stubsim.cli import main; status = main(sys.argv[1:]); "
        "assert 'rich' not in sys.modules; sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *ARGUMENTS, "--format", "json"],
        cwd=folder, env=environment(), capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["outcome"]["status"] == "firmware-update"


def test_the_numbers_are_those_of_the_json(folder: Path):
    """Every staged range, both writes in order, and each PCR value, taken from the other view."""
    text = piped(folder, COLUMNS="200")
    result = json.loads(piped(folder, *ARGUMENTS, "--format", "json"))
    rows = [line.split()[0] for line in text.partition("\nMemory\n")[2].partition("gpas are")[0].splitlines()[1:-1]]
    ranges = sorted((row["gpa"], row["size"]) for row in result["memory"])
    assert len(ranges) == 8
    assert rows == [f"{gpa:#010x}-{gpa + size - 1:#010x}" for gpa, size in ranges]
    writes = [line.split() for line in text.splitlines() if re.match(r" +\d+ +etc/vmfwupdate/", line)]
    assert [row[1] for row in writes] == ["etc/vmfwupdate/opaque-blob", "etc/vmfwupdate/fw-blob"]
    for row, write in zip(writes, result["fw_cfg"]["writes"], strict=True):
        number = int(write["selector"]) if isinstance(write["selector"], int) else int(write["selector"], 16)
        assert row[1:] == [
            write["file"], f"{number:#06x}", str(write["offset"]), str(len(write["data"]) // 2),
            f"{write['gpa']:#010x}",
        ]  # fmt: skip
    size, gpa = struct.unpack("<QQ", bytes.fromhex(result["fw_cfg"]["writes"][1]["data"]))
    assert (size, gpa) == (65536, next(row["gpa"] for row in result["memory"] if row["name"] == "firmware"))
    assert f"bios_paddr  {gpa:#010x}\n" in text
    assert "bios_size   65536 (64.0 KiB)\n" in text
    assert result["pcrs"]["sha256"]["11"] in text


@pytest.mark.parametrize(
    ("host", "start"),
    [
        (make_host(), Start()),
        (make_host(fw_cfg=None), Start(handover="qemu-v5")),
        (make_host(fw_cfg={"dma": False, "vmfwupdate": DEVICE["vmfwupdate"]}), Start()),
        (make_host(fw_cfg={"dma": True, "vmfwupdate": {"dialect": "qemu-v5", "cap": 136, "bios_size": 4096}}), Start()),
        (make_host(firmware={"sha256": sha256(FIRMWARE).hexdigest()}), Start()),
    ],
    ids=["update", "no-device", "no-dma", "too-large", "runs-already"],
)
def test_a_hand_over_that_was_possible_is_called_a_proposal(host: dict[str, Any], start: Start):
    text = " ".join(rendered(make_uki(), host, start).split())
    assert PROPOSED in text
    assert text.count("qemu-v5 is a proposed protocol") == 1


def test_a_hypervisor_that_does_not_start_hands_nothing_over():
    text = rendered(make_uki(), make_host(firmware={"pflash": True}))
    assert text.startswith("nothing boots: the hypervisor does not start: the vmfwupdate device needs")
    assert "handed over" not in text.splitlines()[0]


def test_without_a_hand_over_none_is_spoken_of():
    text = rendered(make_uki(), make_host(), Start(handover="none"))
    assert "proposed" not in text
    assert "fw_cfg" not in text
    first = text.split("\n\n")[0].replace("\n", " ")
    assert first == "the kernel starts; firmware fw-new (64.0 KiB, OVMF) is chosen, but not handed over"
    assert "not handed over: no released stub does that\n" in text


@pytest.mark.parametrize(
    ("data", "host", "line"),
    [
        (
            make_uki(firmware=b"only some bytes"),
            make_host(),
            "the firmware update fails: fw-new (15 bytes, unknown kind) is handed over by qemu-v5, a proposed "
            "protocol, but the hypervisor aborts at the reset: firmware of 15 bytes is not a multiple of 64 KiB",
        ),
        (
            make_uki(),
            make_host(firmware={"sha256": sha256(FIRMWARE).hexdigest()}),
            "the kernel starts; firmware fw-new (64.0 KiB, OVMF) is what the machine runs already",
        ),
        (
            make_uki(),
            make_host(smbios={"manufacturer": "Somebody else"}),
            "the kernel starts; no firmware is chosen",
        ),
        (
            make_uki(),
            make_host(smbios={"manufacturer": "Somebody else"}, unknown=["smbios.family"]),
            "the kernel starts; no firmware is chosen (see Unknown)",
        ),
        (
            make_uki(kernel=b"no kernel"),
            make_host(fw_cfg=None),
            "the boot fails: Bad kernel image: Load error (EFI_LOAD_ERROR)",
        ),
        (
            pe.build([SectionSpec(".sdmagic", STUB)]),
            make_host(),
            "the boot fails: Image lacks .linux section. (EFI_NOT_FOUND)",
        ),
        (
            make_uki(),
            make_host(architecture="aa64"),
            "the boot fails: The image is for x64, the machine is aa64. (EFI_UNSUPPORTED)",
        ),
    ],
    ids=["abort", "runs-already", "no-match", "uncertain", "bad-kernel", "no-linux", "other-machine"],
)
def test_the_outcome_in_one_line(data: bytes, host: dict[str, Any], line: str):
    assert rendered(data, host, target=Screen(300)).splitlines()[0] == line


def test_models_say_what_they_rest_on():
    def model(start: Start, host: dict[str, Any] | None = None) -> str:
        text = rendered(make_uki(), host or make_host(), start, Screen(300))
        return (
            next(line for line in text.splitlines() if line.startswith("stub model")).removeprefix("stub model").strip()
        )

    assert model(Start()) == "262.1: systemd-stub 262.1-1 in the UKI; stub 262.1 is verified by recorded boots"
    assert model(Start(stub="259.3")) == "259.3: --stub 259.3; unverified: from public source, not recorded"
    assert model(Start(stub="next")) == "next: --stub next; unverified: from a proposal, not recorded"
    assert model(Start(), make_host(confidential="sev-snp")).endswith(
        "unverified: not recorded in a confidential guest"
    )


HOSTILE = (
    "[red]x[/red] [link=http://a]y\x1b[31m\x1b]0;title\x07\x9b31m\r\n\t\x00\u202eevil\u2028\ud800\U000e0041 :smile:"
)


@pytest.mark.parametrize("target", [Screen(80), Screen(140, True)], ids=["plain", "colour"])
@pytest.mark.parametrize("stub", ["257", "262"])
def test_hostile_texts_stay_texts(target: Screen, stub: str):
    """257 takes a command line with control characters; 262 drops it, but chooses firmware."""
    # What the formats can hold: no lone surrogates in host files and UTF-8, no NUL in strings that end with one.
    text = HOSTILE.replace("\ud800", "")
    word = text.replace("\0", "").replace("\n", "")
    profile = SectionSpec(".profile", f"ID={word}\nTITLE={word}\n".encode())
    image = uki.Uki(pe.open_bytes(make_uki(profile, name=word, fwid=word), HOSTILE))
    host = hosts.from_json(make_host(name=text, smbios=FIELDS | {"product_sku": word}), "host.json")
    start = Start(path="\\" + HOSTILE, load_options=utf16z(HOSTILE.replace("\0", "")), profile=0, stub=stub)
    result = boot(image, host, start)
    assert result.prepared is not None
    text = render_boot(result, target)
    plain = SGR.sub("", text)
    assert (text != plain) == target.colour
    assert all(line.isprintable() for line in plain.split("\n"))
    joined = "".join(plain.split())
    assert ("commandline[red]x" if stub == "257" else ".efifw[red]x") in joined
    assert ":smile:" in joined
    assert r"\x1b[31m\x1b]0;title\x07\x9b31m\x0d\x0a\x09\x00\u202eevil\u2028\ud800\U000e0041:smile:" in joined
    # Every style that is switched on is ours: nothing but colours, bold, dim and italic.
    assert set(SGR.findall(text)) <= {
        f"\x1b[{code}m" for code in ("0", "1", "2", "3", "31", "33", "36", "1;32", "1;31")
    }


def test_a_path_of_bytes_that_are_no_text(folder: Path):
    name = b"\xff\x1b[31m.efi"
    os.rename(folder / "uki.efi", os.path.join(os.fsencode(folder), name))
    command = [sys.executable, "-m", "stubsim", "boot", name, "--smbios", "host.json"]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert rb"\udcff\x1b[31m.efi" in done.stdout
    assert b"\x1b" not in done.stdout


@given(st.text(st.characters(codec=None)))
def test_clean_text_is_printable(text: str):
    assert clean(text).isprintable()
    if text.isprintable():
        assert clean(text) == text


def test_long_texts_are_cut_and_cost_little():
    data = make_uki(cmdline=b"a" * 4_000_000 + b" " + b"b " * 1_000_000)
    began = time.process_time()
    text = rendered(data, make_host())
    assert time.process_time() - began < 10
    assert len(text) < 20_000
    assert max(map(len, text.splitlines())) <= 80
    assert "characters,allofthemwith--formatjson)" in "".join(text.split())


def test_many_rows_are_cut():
    bad = [SectionSpec(".efifw", b"no blob", virtual_address=0x1000000) for _ in range(90)]
    sections = [SectionSpec(".sdmagic", STUB), SectionSpec(".linux", KERNEL)]
    table = hwids.build([(hwids.UEFI_FW, own_chid(9), "n", "fw-new")])
    data = pe.build([*sections, SectionSpec(".hwids", table), *bad])
    text = rendered(data, make_host())
    # The stub names each bad blob twice.
    assert "and 116 more, all of them with --format json" in text
    assert text.count("Found bad efifw blob") == 64


def test_memory_of_confidential_guests_says_what_is_shared():
    host = make_host(confidential="sev-snp")
    text = rendered(make_uki(), host, target=Screen(140))
    rows = [line.split() for line in text.splitlines() if re.match(r"  0x\w+-0x", line)]
    assert {row[-1]: row[4] for row in rows if row[-1] in ("UKI", "boot")} == {"UKI": "private", "boot": "shared"}


def test_a_tdx_guest_has_registers():
    """With a TPM beside them or without; SHA-384 of what PCR 11 got is in RTMR 2."""
    for tpm in (None, {"banks": ["sha384"]}):
        host = make_host(confidential="tdx", tpm=tpm)
        image = uki.Uki(pe.open_bytes(make_uki(), "uki.efi"))
        value = boot(image, hosts.from_json(host, "host.json"), DEFAULT_START).rtmrs[2].hex()
        assert f"  2  sha384  {value}\n" in rendered(make_uki(), host, target=Screen(140))
    assert "RTMR" not in rendered(make_uki(), make_host())


@pytest.mark.parametrize("folder", recordings(), ids=lambda path: path.name)
def test_every_recording_can_be_shown(folder: Path, monkeypatch: pytest.MonkeyPatch):
    from stubsim.cli.run import run

    monkeypatch.chdir(folder)
    arguments = json.loads(Path("boot.json").read_text(encoding="utf-8"))["args"]
    shown = show(run, ["boot", "uki.efi", "--smbios", "host.json", *arguments], monkeypatch)
    for target in (Screen(80), Screen(140)):
        text = render_boot(shown, target)
        lines = text.splitlines()
        assert all(line.isprintable() and len(line) <= target.width for line in lines)
        json_view = boot_json(shown)
        assert lines[0].startswith(
            {"kernel-started": "the kernel starts", "failed": "the boot fails"}[json_view["outcome"]["status"]]
        )
        joined = "".join(text.split())
        for choice, key in (("efifw", "fwid"), ("dtbauto", "compatible")):
            chosen = json_view["selection"][choice]
            if chosen is not None:
                assert "".join(f".{choice}{clean(chosen[key])}:section{chosen['section']},".split()) in joined


def show(run: Any, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The boot that the command would print."""
    import stubsim.cli.boot as command

    seen: list[Any] = []
    monkeypatch.setattr(command, "_rendered", lambda result, *_: seen.append(result) or "")
    run(arguments)
    (result,) = seen
    return result


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        (samples.linux("6.12.1-x"), "Linux 6.12.1-x (bzImage), which measures load options and initrd"),
        (samples.linux("5.17.0"), "Linux 5.17.0 (bzImage), which measures initrd"),
        (samples.linux("5.10.0"), "Linux 5.10.0 (bzImage), which measures nothing"),
        (
            samples.linux("5.14.0-427.el9"),
            "Linux 5.14.0-427.el9 (bzImage), which may have changes of later releases; what it measures is not known",
        ),
        (samples.linux("mine"), "a Linux (bzImage) that does not tell its release; what it measures is not known"),
        (samples.KERNEL, "not a known Linux; what it measures is not known"),
    ],
)
def test_the_kernel(kernel: bytes, words: str):
    image = uki.Uki(pe.open_bytes(samples.uki(linux=kernel), "x.efi"))
    assert f"kernel        {words}\n" in render_boot(boot(image, hosts.from_json({})), Screen(140))
