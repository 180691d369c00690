from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim import uki as ukis
from stubsim.errors import StubsimError
from stubsim.formats import pe
from stubsim.formats.efi_program import StubId
from stubsim.formats.efi_string import utf16
from stubsim.hosts import Host
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.stub.models import NEWEST, Choice, choose
from stubsim.stub.programs import is_simulated, program
from stubsim.stub.recognise import STUBBLE_14, model_for, not_a_uki
from stubsim.trace import Measured, Unknown
from stubsim.uki import Uki
from tests.stub.harness import KERNEL, Row, make_pe

LINUX = (".linux", KERNEL)
GENERIC = b"sbat,1,SBAT Version,sbat,1,x\nuki,1,UKI,uki,1,https://uapi-group.org/\n"
SHIM = b"sbat,1,SBAT Version,sbat,1,x\nshim,4,UEFI shim,shim,1,x\nshim.debian,1,Debian,shim,16.1,x\n"
# As lanzaboote's tool lays them out (rust/tool/shared/src/pe.rs).
THIN: tuple[Row, ...] = (
    (".osrel", b"ID=nixos"), (".cmdline", b"init=/nix/store/x"), (".initrd", b"\\EFI\\nixos\\initrd.efi"),
    (".linux", b"\\EFI\\nixos\\kernel.efi"), (".initrdh", bytes(32)), (".linuxh", bytes(32)),
)  # fmt: skip


def made(*sections: Row) -> Uki:
    return Uki(pe.open_bytes(make_pe((".text", b"code"), *sections), "x.efi"))


def magic(name: str) -> Row:
    return ".sdmagic", f"#### LoaderInfo: {name} ####".encode()


# The stub of an image.


@pytest.mark.parametrize(
    ("sections", "stub"),
    [
        ([LINUX, (".rodata", b"\x07" + utf16("debug\0stubble.dtb_override=\0"))], StubId("stubble", "")),
        ([LINUX, (".rodata", utf16("stubble.dtb_override=")), (".sbat", GENERIC)], StubId("stubble", "")),
        ([LINUX, magic("systemd-stub 9"), (".rodata", utf16("stubble.dtb_override="))], StubId("systemd-stub", "9")),
        ([(".rodata", utf16("stubble.dtb_override="))], StubId("stubble", "")),
        ([LINUX, (".text2", utf16("stubble.dtb_override="))], None),
        # Up to 255: one component for all of systemd.
        (
            [LINUX, (".sbat", b"systemd,1,The systemd Developers,systemd,249,x\n")],
            StubId("systemd-stub", "249", series_only=True),
        ),
        (
            [LINUX, (".sbat", b"systemd,1,x,systemd,252,x\nsystemd.debian,1,Debian,systemd,252.39-1,x\n")],
            StubId("systemd-stub", "252.39-1"),
        ),
        ([(".sbat", b"systemd,1,The systemd Developers,systemd,249,x\n")], None),
        (list(THIN), StubId("lanzaboote", "")),
        ([(".cmdline", b"x"), (".kernelp", b"\\x"), (".kernelh", bytes(32))], StubId("lanzaboote", "")),
        ([LINUX, (".rdata", b"...lanzastub 1.0.0src/main.rs")], StubId("lanzaboote", "1.0.0")),
        ([LINUX, (".sbat", GENERIC + b"zim,1,Z,zim,3,x\nzim.fedora,1,F,zim,3-1.fc43,x\n")], StubId("zim", "3-1.fc43")),
        ([LINUX, (".sbat", GENERIC)], None),
        ([LINUX, (".sbat", b"kernel-uki-virt,1,Red Hat,kernel,6.12,x\nlinux.fedora,1,F,linux,6.12,x\n")], None),
        ([(".sbat", SHIM)], None),
    ],
)  # fmt: skip
def test_which_stub(sections: list[Row], stub: StubId | None):
    assert made(*sections).stub == stub


@pytest.mark.parametrize("more", [(), (LINUX,), (LINUX, (".sbat", GENERIC))])
def test_a_stub_of_arm_up_to_252(more: tuple[Row, ...]):
    """It has .text and .data alone, and its version is in what it writes into StubInfo (Debian's 252.39 for arm64)."""
    text = b"\0\1" + utf16("other systemd-stub \0systemd-stub 252.39-1~deb12u2\0")
    image = Uki(pe.open_bytes(make_pe((".text", text), (".data", b"x"), *more, machine=0xAA64), "x.efi"))
    assert image.stub == StubId("systemd-stub", "252.39-1~deb12u2")
    assert model_for(image)[0].id == "252.39"


def test_a_mark_of_a_stub_is_not_sought_without_bound():
    image = made(LINUX, (".rodata", bytes(1 << 20) + utf16("stubble.dtb_override=")))
    assert image.stub is None


# The model.


@pytest.mark.parametrize("version", ["14", "14-1", "14.1-0ubuntu1"])
def test_stubble_as_recorded(version: str):
    assert model_for(made(LINUX, magic(f"stubble {version}"))) == Choice(STUBBLE_14, f"stubble {version} in the UKI")


@pytest.mark.parametrize("version", ["5", "13", "15~rc1", "257", "0.1-1ubuntu1", "devel"])
def test_stubble_of_a_version_that_was_not_recorded(version: str):
    """The version is the other project's own: 5 is not a release of systemd older than 257."""
    model, reason = model_for(made(LINUX, magic(f"stubble {version}")))
    assert model == STUBBLE_14._replace(recorded=None, open_questions=model.open_questions)
    assert model.open_questions
    assert reason == f"stubble {version} was never recorded: 14 is assumed"


def test_stubble_without_a_version():
    model, reason = model_for(made(LINUX, (".rodata", utf16("stubble.dtb_override="))))
    assert model == STUBBLE_14._replace(recorded=None)
    assert reason.endswith("14 is assumed")


def test_the_newest_stubble_by_its_name():
    for name in ("stubble", "stubble-14"):
        assert model_for(made(LINUX, magic("systemd-stub 262.1")), name) == Choice(STUBBLE_14, f"--stub {name}")
    with pytest.raises(StubsimError, match="unknown stub"):
        model_for(made(LINUX), "stubble-13")


def test_systemd_stub_is_the_models_own_business():
    assert model_for(made(LINUX, magic("systemd-stub 257.13-1"))).model == choose(None, "257.13").model
    assert model_for(made(LINUX), "262").model == NEWEST


# What is not simulated.

FOREIGN: dict[str, tuple[tuple[Row, ...], str, str]] = {
    "lanzaboote": (THIN, "another stub's format: lanzaboote", "lanzaboote"),
    "a name in .sdmagic": ((LINUX, magic("other-stub 257")), "another stub's format: other-stub", "other-stub 257"),
    "a name in .sbat": (
        (LINUX, (".sbat", GENERIC + b"zimstub,1,Zim,zimstub,3,x\n")),
        "another stub's format: zimstub",
        "zimstub 3",
    ),
    "systemd-boot": (
        (magic("systemd-boot 257.13"), (".osrel", b"ID=x")),
        "the file is a boot loader (systemd-boot 257.13), not a UKI",
        "the UKI that it starts",
    ),
    "systemd-boot by .sbat": (
        ((".sbat", b"systemd,1,x,systemd,249,x\n"),),
        "the file is a boot loader (systemd-boot 249), not a UKI",
        "the UKI that it starts",
    ),
    "shim": (((".sbat", SHIM),), "the file is a boot loader (shim 16.1), not a UKI", "the UKI that it starts"),
    "a program": (
        ((".sbat", b"sbat,1,x,sbat,1,x\nipxe,1,x,ipxe,1.21,x\n"),),
        "the file is an EFI program (ipxe 1.21), not a UKI",
        "the UKI that it starts",
    ),
    "an addon": ((magic("systemd-addon 257"), (".cmdline", b"x")), "the file is an addon, not a UKI", "--esp"),
    "an addon by .sbat": (
        ((".cmdline", b"x"), (".sbat", b"uki-addon,1,UKI Addon,addon,1,x\n")),
        "the file is an addon, not a UKI",
        "--esp",
    ),
    "an addon without a name": (((".cmdline", b"x"),), "the file is an addon, not a UKI: it has no .linux", "--esp"),
}


@pytest.mark.parametrize(("sections", "message", "because"), FOREIGN.values(), ids=FOREIGN)
def test_nothing_is_said_of_what_it_does(sections: tuple[Row, ...], message: str, because: str):
    result = boot(made(*sections), Host(), Start(load_options=b"x\0y\0\0\0"))
    assert result.outcome[:3] == ("not-simulated", message, None)
    assert because in (result.outcome.because or "")
    assert (result.sections, result.prepared, result.load_options, result.variables) == (None, None, None, ())
    assert (result.pcrs, result.rtmrs) == ({}, {})
    assert not [event for event in result.trace if isinstance(event, Measured)]
    doubted = {key for event in result.trace if isinstance(event, Unknown) for key in event.affects}
    assert {"selection", "cmdline", "initrd", "pcrs", "variables", "devicetree", "measurements"} <= doubted
    assert (is_simulated(result.model), program(result.model)) == (False, None)
    # Asked for, it is simulated as what it is not.
    asked = boot(made(*sections), Host(), Start(stub="262"))
    assert asked.outcome.status in ("failed", "kernel-started")
    assert asked.model == NEWEST


def test_a_bare_stub_runs_and_finds_no_kernel():
    result = boot(made(magic("systemd-stub 262.1-1")), Host())
    assert result.outcome[:2] == ("failed", "Image lacks .linux section.")
    # Nothing tells what this is.
    assert not_a_uki(made()) is None


def head(size: int = 0x400) -> bytearray:
    return bytearray(make_pe((".text", bytes(size))))


def kernels() -> dict[str, tuple[bytes, str]]:
    x86, arm, zboot = head(), head(), head()
    struct.pack_into("<H", x86, 0x1FE, 0xAA55)
    x86[0x202:0x206] = b"HdrS"
    arm[56:60] = b"ARM\x64"
    zboot[4:8] = b"zimg"
    return {
        "bzImage": (bytes(x86), "a Linux kernel (bzImage), not a UKI"),
        "arm64": (bytes(arm), "a Linux kernel (arm64 Image), not a UKI"),
        "zboot": (bytes(zboot), "a Linux kernel (zboot), not a UKI"),
    }


@pytest.mark.parametrize(("data", "what"), kernels().values(), ids=kernels())
def test_a_kernel(data: bytes, what: str):
    result = boot(Uki(pe.open_bytes(data, "vmlinuz")), Host())
    assert result.outcome[:2] == ("not-simulated", f"the file is {what}")
    assert ".linux" in (result.outcome.because or "")


def test_recorded_addons_and_ukis(shared: Path):
    addons = sorted((shared / "golden").glob("*/esp/loader/addons/*.addon.efi"))
    for path in addons:
        program = not_a_uki(ukis.load(str(path)))
        assert program is not None
        assert program.what == "an addon, not a UKI"
    assert addons
    assert not_a_uki(ukis.load(str(shared / "golden/basic@262.1/uki.efi"))) is None
    old = ukis.load(str(shared / "cases/people/stub-named-in-sbat-only/uki-249.efi"))
    assert old.stub == StubId("systemd-stub", "249.7-2")


@given(st.binary(max_size=200), st.binary(max_size=200), st.binary(max_size=100), st.booleans())
def test_any_text_gets_a_model(sbat: bytes, code: bytes, named: bytes, kernel: bool):
    linux = [LINUX] if kernel else []
    image = made(*linux, (".sbat", b"sbat,1,a,b,c\n" + sbat), (".rodata", b"lanzastub " + code), (".sdmagic", named))
    model, reason = model_for(image)
    assert reason
    assert is_simulated(model) == bool(model.sections)
