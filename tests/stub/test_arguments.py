"""Load options and the profile number in front of them; recordings loadopt-*, profile-*, shell-*."""

from __future__ import annotations

import pytest

from stubsim.stub.arguments import end_of_program, mangled, process_arguments, split_shell_line
from stubsim.systemd.strings import mangle
from tests.stub.harness import run

BOTH = pytest.mark.parametrize("stub", ["257", "262"])


@BOTH
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("quiet", (0, "quiet")),
        ("  quiet  splash ", (0, "quiet  splash")),
        ("@1", (1, "")),
        ("@1 quiet", (1, "quiet")),
        ("@01", (1, "")),
        ("@0 quiet", (0, "quiet")),
        # Exactly one blank goes with the number, the general trimming takes the others.
        ("@1  quiet", (1, "quiet")),
        ("@1 ", (1, "")),
        # Profile-at-max: UINT_MAX is taken, the next number is text.
        ("@4294967295", (4294967295, "")),
        ("@4294967296", (0, "@4294967296")),
        ("@18446744073709551616 x", (0, "@18446744073709551616 x")),
        ("@" + "9" * 5000, (0, "@" + "9" * 5000)),
        ("@0x1", (0, "@0x1")),
        ("@1x", (0, "@1x")),
        ("@", (0, "@")),
        ("@+1", (0, "@+1")),
        (" @1", (0, "@1")),
        # A digit of another script is no digit.
        ("@\u0661", (0, "@\u0661")),
    ],
)
def test_profile_number(stub: str, text: str, expected: tuple[int, str]):
    assert process_arguments(run(stub=stub, load_options=text).context) == expected


@pytest.mark.parametrize(("stub", "expected"), [("257", (0, "@1 foo")), ("262", (0, None))])
def test_control_characters(stub: str, expected: tuple[int, str | None]):
    """262 drops the whole of the options, 257 makes blanks of the characters; profile-at1-tab, loadopt-tab."""
    assert process_arguments(run(stub=stub, load_options="@1\tfoo").context) == expected


def test_delete_is_no_control_character():
    assert process_arguments(run(load_options="a\x7fb").context) == (0, "a b")


def test_control_characters_behind_the_first_nul_do_not_count():
    assert process_arguments(run(load_options="quiet\0\t\0").context) == (0, "quiet")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (None, None),
        (b"", None),
        (b"q", None),
        (b"q\0", "q"),
        (b"q\0x", "q"),
        (b"q\0u\0", "qu"),
        (b"\0\0", None),
    ],
)
@BOTH
def test_raw_options(stub: str, data: bytes | None, expected: str | None):
    """Fewer than two bytes are none, an odd last byte does not count, the NUL may be missing; loadopt-nonul, -odd."""
    assert process_arguments(run(stub=stub, load_options=data).context) == (0, expected)


@pytest.mark.parametrize("stub", ["252", "254", "257", "258", "261", "262"])
def test_options_that_begin_with_a_control_character_are_dropped(stub: str):
    assert process_arguments(run(stub=stub, load_options="\tab").context) == (0, None)
    inside = process_arguments(run(stub=stub, load_options="a\tb").context)
    assert inside == (0, None if stub in ("261", "262") else "a b")


def test_leading_blanks_stay_up_to_254():
    """loadopt-trim@254.26; from the source of 255."""
    assert process_arguments(run(stub="254", load_options="  a\x7f ").context) == (0, "  a\x7f")
    assert process_arguments(run(stub="255", load_options="  a\x7f ").context) == (0, "a")


def test_stubs_without_profiles_take_the_prefix_as_text():
    assert process_arguments(run(stub="256", load_options="@1 quiet").context) == (0, "@1 quiet")


@pytest.mark.parametrize(
    ("shell", "expected"),
    [
        (("lab.efi",), (0, None)),
        (("lab.efi", "a", "b c"), (0, "a b c")),
        (("lab.efi", "@1", "a"), (1, "a")),
        (("lab.efi", "@1"), (1, None)),
        (("lab.efi", "@1x", "a"), (0, "@1x a")),
        (("lab.efi", "a", "@1"), (0, "a @1")),
        ((), (0, None)),
    ],
)
def test_shell_arguments(shell: tuple[str, ...], expected: tuple[int, str | None]):
    """Joined with single blanks; shell-args, shell-at1-args. Load options beside them are not looked at."""
    assert process_arguments(run(shell=shell, load_options="other").context) == expected


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        ("lab.efi quiet", ("lab.efi", "quiet")),
        ('lab.efi  "a b"  c', ("lab.efi", "a b", "c")),
        ('lab.efi x"y z"', ("lab.efi", "xy z")),
        ("lab.efi a^ b", ("lab.efi", "a b")),
        ('lab.efi ""', ("lab.efi", "")),
        ("", ()),
    ],
)
def test_shell_line(line: str, arguments: tuple[str, ...]):
    assert split_shell_line(line) == arguments
    assert split_shell_line(line[: end_of_program(line)]) == arguments[:1]


def test_the_program_ends_behind_its_quotes():
    assert end_of_program('"a b".efi  x') == len('"a b".efi')
    assert end_of_program("a^ b.efi") == len("a^ b.efi")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("\t a\nb\x7f", "a b"), ("a  b", "a  b"), ("\x01\x20", ""), ("\u00a0x\u2003", "\u00a0x\u2003"), ("", "")],
)
def test_mangle(text: str, expected: str):
    """0x01 to 0x20 and 0x7f are blanks, trimmed at the ends alone; blanks of other scripts stay; cmdline-control."""
    assert mangle(text) == expected


@pytest.mark.parametrize(("stub", "expected"), [("252.5", "  a  "), ("252.6", "  a"), ("253.0", "  a"), ("255.0", "a")])
def test_blanks_at_the_ends(stub: str, expected: str):
    """systemd 252.6 and 255: util.c, mangle_stub_cmdline."""
    assert mangled(run(stub=stub).context, "  a\n ") == expected


@pytest.mark.parametrize(("stub", "unknown"), [("254", False), ("255.0", True), ("256.17", True), ("257.0", False)])
def test_a_line_of_blanks_only(stub: str, unknown: bool):
    """255 and 256 look for the first letter behind the NUL, too (256 in emulation; d30b89c of 257)."""
    one = run(stub=stub)
    assert mangled(one.context, " \t ").strip() == ""
    assert one.unknown() == ["what a command line of blanks only becomes"] * unknown
