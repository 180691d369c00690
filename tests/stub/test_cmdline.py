"""Which command line is used, what is appended, what of it is measured; recordings cmdline-*, loadopt-*, sb-*."""

from __future__ import annotations

import pytest

from stubsim.formats import smbios
from stubsim.hosts import Host
from stubsim.stub.cmdline import append_addons, append_smbios, settle_command_line
from stubsim.stub.measure import Measured
from stubsim.trace import Unknown
from stubsim.uefi.loaded_image import ProgramFailed
from tests.stub.harness import make_uki, run

EXTRA = b"io.systemd.stub.kernel-cmdline-extra="


def settled(given: str | None, *sections: tuple[str, bytes], host: Host | None = None) -> tuple[str | None, list[str]]:
    one = run(make_uki(*sections), host)
    line = settle_command_line(one.context, given, one.sections(), Measured())
    return line, one.descriptions(12)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a b", "a b"),
        (b" \ta\n", "a"),
        # cmdline-blank: a blank one hands over "", none hands over nothing.
        (b" \n", ""),
        (b"a\0b", "a"),
        # cmdline-latin1: a broken sequence vanishes with all the bytes its first one announced.
        (b"x=\xe4\xf6 y=\xff z", "x=y= z"),
        # cmdline-utf8: overlong forms count, above U+FFFF and surrogates vanish.
        (b"a\xc0\xafb", "a/b"),
        ("a\U0001f600b\uffff".encode(), "ab\uffff"),
        (b"a\xed\xa0\x80b", "ab"),
    ],
)
def test_own_line(data: bytes, expected: str):
    """PCR 11 has it already, so nothing goes into PCR 12."""
    assert settled(None, (".cmdline", data)) == (expected, [])
    assert settled("", (".cmdline", data)) == (expected, [])


def test_no_line():
    assert settled(None) == (None, [])
    assert settled("") == (None, [])


def test_given_line_wins_and_is_measured():
    assert settled("given", (".cmdline", b"own")) == ("given", ["given"])
    assert settled("given") == ("given", ["given"])


def test_given_line_is_measured_with_its_nul():
    one = run()
    settle_command_line(one.context, "ab", one.sections(), Measured())
    (event,) = one.measured(12)
    assert event.type == "EV_IPL"
    assert event.data == "ab\0".encode("utf-16-le")
    assert event.digests == one.context.digests.of(event.data)


SECURE = Host(secure_boot=True)
CONFIDENTIAL = Host(confidential="tdx")
BOTH = Host(secure_boot=True, confidential="sev-snp")


@pytest.mark.parametrize("own", [b"own", b" "])
def test_secure_boot_keeps_the_own_line(own: bytes):
    """Be it blank; sb-loadopt."""
    assert settled("given", (".cmdline", own), host=SECURE) == (own.decode().strip(), [])


def test_secure_boot_takes_load_options_where_there_is_no_own_line():
    """sb-loadopt-nocmdline; an empty section is no section."""
    assert settled("given", host=SECURE) == ("given", ["given"])
    assert settled("given", (".cmdline", b""), host=SECURE) == ("given", ["given"])


def test_confidential_guest_drops_load_options_under_secure_boot():
    """Public source of systemd-stub, never recorded: the host could give any line otherwise."""
    assert settled("given", host=BOTH) == (None, [])
    assert settled("given", (".cmdline", b"own"), host=BOTH) == ("own", [])
    assert settled("given", (".cmdline", b"own"), host=CONFIDENTIAL) == ("given", ["given"])


def extended(line: str | None, *texts: bytes, host: Host | None = None) -> tuple[str | None, list[str]]:
    one = run(host=(host or Host())._replace(oem_strings=texts))
    return append_smbios(one.context, line, Measured()), one.descriptions(12)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ((EXTRA + b" quiet ",), ("own quiet", ["quiet"])),
        # smbios11-two: the first one counts, even where it is blank.
        ((b"other", EXTRA + b"a", EXTRA + b"b"), ("own a", ["a"])),
        ((EXTRA + b" ", EXTRA + b"b"), ("own", [])),
        ((EXTRA,), ("own", [])),
        ((EXTRA + "ä".encode(),), ("own ä", ["ä"])),
        ((b"x" + EXTRA + b"a",), ("own", [])),
        ((), ("own", [])),
    ],
)
def test_smbios_extra(texts: tuple[bytes, ...], expected: tuple[str, list[str]]):
    assert extended("own", *texts) == expected


@pytest.mark.parametrize("stub", ["254", "256"])
def test_an_empty_extra_halts_up_to_256(stub: str):
    """254.26's own code in emulation; bytes of which no text can be made are not nothing."""
    one = run(host=Host(oem_strings=(EXTRA,)), stub=stub)
    with pytest.raises(ProgramFailed) as failure:
        append_smbios(one.context, "own", Measured())
    assert failure.value.message == "systemd-boot: Assertion 'description || pcrindex == UINT32_MAX' failed"
    assert (failure.value.status, one.measured(12)) == (None, [])
    one = run(host=Host(oem_strings=(EXTRA + b"\xff",)), stub=stub)
    assert append_smbios(one.context, "own", Measured()) == "own "
    assert one.descriptions(12) == [""]


def behind(*structures: bytes) -> Host:
    """A machine whose SMBIOS type 11 comes behind these."""
    found = smbios.parse(smbios.build([*structures, smbios.build_structure(11, b"\1", [EXTRA + b"a b"])]))
    return Host(structures=found, oem_strings=smbios.oem_strings(found))


WITHOUT_STRINGS = smbios.build_structure(32, bytes(7))


@pytest.mark.parametrize(("old", "new"), [("254.14", "254.15"), ("255.8", "255.9"), ("256.1", "256.2")])
def test_an_smbios_structure_without_strings_hides_type_11(old: str, new: str):
    """vmm.c, get_smbios_table: only one of the two NULs is passed."""
    for stub, line in ((old, "own"), (new, "own a b")):
        one = run(host=behind(WITHOUT_STRINGS), stub=stub)
        assert append_smbios(one.context, "own", Measured()) == line
        assert not one.unknown()
    one = run(host=behind(smbios.build_structure(1, b"\1" * 23, [b"x"])), stub=old)
    assert append_smbios(one.context, "own", Measured()) == "own a b"


def test_without_a_table_nobody_knows_what_stands_before_type_11():
    one = run(host=Host(oem_strings=(EXTRA + b"a",)), stub="255.8")
    assert append_smbios(one.context, "own", Measured()) == "own a"
    (unknown,) = (event for event in one.trace if isinstance(event, Unknown))
    assert (unknown.pcrs, "cmdline" in unknown.affects) == ((9, 12), True)
    one = run(host=Host(oem_strings=(b"other",)), stub="255.8")
    assert append_smbios(one.context, "own", Measured()) == "own"
    assert not one.unknown()


def test_252_takes_load_options_in_a_confidential_guest():
    """252.39's own code in emulation, under Secure Boot without a .cmdline."""
    for stub, expected in (("252", "given"), ("254", None)):
        one = run(host=CONFIDENTIAL._replace(secure_boot=True), stub=stub)
        assert settle_command_line(one.context, "given", one.sections(), Measured()) == expected


def test_smbios_extra_under_secure_boot_but_not_in_a_confidential_guest():
    """sb-smbios; the other is from the public source, since the host writes the SMBIOS table."""
    assert extended("own", EXTRA + b"a", host=SECURE) == ("own a", ["a"])
    assert extended("own", EXTRA + b"a", host=CONFIDENTIAL) == ("own", [])


@pytest.mark.parametrize("line", [None, ""])
def test_nothing_before_leaves_no_blank(line: str | None):
    assert extended(line, EXTRA + b"a") == ("a", ["a"])
    assert append_addons(run().context, line, "a", Measured()) == "a"


def test_addon_lines_are_measured_together():
    """addon-cmdline-blank: a blank addon leaves its two blanks behind, only blank ones leave nothing."""
    one = run()
    assert append_addons(one.context, "own", ("a  b",), Measured()) == "own a  b"
    assert append_addons(one.context, "own", (" ",), Measured()) == "own"
    assert one.descriptions(12) == ["a  b"]


def test_without_tpm_nothing_is_measured():
    one = run(host=Host(tpm=None))
    assert append_addons(one.context, None, ("a",), Measured()) == "a"
    assert one.trace == []
