"""Why the log of a made-up machine differs, for each rule of the table of causes."""

from __future__ import annotations

from typing import Any

import pytest

from stubsim.explain.diff_log import compare
from stubsim.explain.log_items import is_image
from stubsim.formats import hwids
from stubsim.formats.efi_string import utf16z
from stubsim.formats.pe import SectionSpec
from stubsim.start import Start
from tests.explain.logs import (
    EXTRA,
    MACHINE,
    OPTIONS,
    PCR_SMBIOS,
    TYPE11,
    Write,
    addon,
    causes,
    changed,
    log_of,
    smbios_host,
)
from tests.samples import FIRMWARE_UKI, devicetree, firmware, table
from tests.samples import MACHINE as FIELDS
from tests.samples import uki as sample

TWO_EFIFW = table((hwids.UEFI_FW, "fw")), firmware("other", b"another firmware"), firmware()
OTHER_CHOICE = table((hwids.UEFI_FW, "other")), *TWO_EFIFW[1:]
NO_HWIDS = sample(firmware())
OTHER_HOST = {"smbios": {"manufacturer": "Other"}}
SB = {"secure_boot": True}
SIGNED = sample(certificates=bytes(16))
OEM_STRING = "io.systemd.stub.kernel-cmdline-extra=from-smbios"
OEM = {"smbios": FIELDS | {"oem_strings": [OEM_STRING]}}
CMDLINE_ADDON = addon(SectionSpec(".cmdline", b"from-addon"))
UCODE_ADDON = addon(SectionSpec(".ucode", b"microcode"))
INITRD_ADDON = addon(SectionSpec(".initrd", b"initrd"))

# Predicted, logged (keywords of the fixture `booted`), and for each difference its kind and what its cause has to say.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], list[tuple[str, str]]]] = {
    "efifw not selected": (
        {"image": FIRMWARE_UKI, "host": OTHER_HOST},
        {"image": FIRMWARE_UKI},
        [("extra", "an .efifw was measured that this host does not select; it is section 6 ('fw')")] * 2,
    ),
    "efifw not measured": (
        {"image": FIRMWARE_UKI},
        {"image": FIRMWARE_UKI, "host": OTHER_HOST},
        [
            (
                "missing",
                "this host selects section 6 ('fw'), but no .efifw was measured on the machine; only stubs 260.3,",
            )
        ]
        * 2,
    ),
    "efifw of a stub that has none": (
        {"image": FIRMWARE_UKI, "stub": "257"},
        {"image": FIRMWARE_UKI},
        [("extra", "an .efifw was measured, which stub 257.13 does not know; it is section 6 ('fw')")] * 2,
    ),
    "another efifw": (
        {"image": sample(*TWO_EFIFW)},
        {"image": sample(*OTHER_CHOICE)},
        [
            ("differs", "`.hwids` differs"),
            ("differs", "another .efifw was measured: section 6 ('other'); this host selects section 7 ('fw')"),
        ],
    ),
    "efifw of another UKI": (
        {"image": NO_HWIDS},
        {"image": FIRMWARE_UKI},
        [
            ("extra", "`.hwids` was measured: the UKI that was booted has this section, this one has not"),
            ("extra", "`.hwids` was measured"),
        ]
        + [("extra", "an .efifw was measured that this host does not select; it is section 5 ('fw')")] * 2,
    ),
    "dtbauto not selected": (
        {"image": sample(table((1, "example,board")), devicetree()), "host": OTHER_HOST},
        {"image": sample(table((1, "example,board")), devicetree())},
        [("extra", "a .dtbauto was measured that this host does not select; it is section 6 ('example,board')")] * 2,
    ),
    "dtbauto not measured": (
        {"image": sample(table((1, "example,board")), devicetree())},
        {"image": sample(table((1, "example,board")), devicetree()), "host": OTHER_HOST},
        [("missing", "this host selects section 6 ('example,board'), but no .dtbauto was measured on the machine")] * 2,
    ),
    "section only here": (
        {"image": sample(SectionSpec(".uname", b"6.1"), SectionSpec(".pcrpkey", b"key"))},
        {"image": sample(SectionSpec(".uname", b"6.1"))},
        [("missing", "`.pcrpkey` was not measured: the UKI that was booted has no such section")] * 2,
    ),
    "section only there": (
        {"image": sample()},
        {"image": sample(SectionSpec(".ucode", b"x"))},
        [("extra", "`.ucode` was measured: the UKI that was booted has this section, this one has not")] * 2,
    ),
    "newer stub": (
        {"image": sample(table((1, "x"))), "stub": "256"},
        {"image": sample(table((1, "x")))},
        [("extra", "`.hwids` was measured, which stub 256.17 does not do: the stub that ran is newer (--stub)")] * 2,
    ),
    "older stub": (
        {"image": sample(table((1, "x")))},
        {"image": sample(table((1, "x"))), "stub": "256"},
        [("missing", "`.hwids` was not measured: the UKI that was booted has no such section, or its stub is too old")]
        * 2,
    ),
    "profile 1 was booted": (
        {},
        {"profile": 1},
        [
            ("extra", "the machine booted profile '1', the prediction is for profile 0 (--profile)"),
            ("differs", "`.cmdline` differs: the one measured is section 11 of this UKI, of profile 1"),
            ("differs", "`.profile` differs: the one measured is section 10 of this UKI, of profile 1"),
        ],
    ),
    "profile 0 was booted": (
        {"profile": 1},
        {},
        [
            ("missing", "the machine booted profile 0, the prediction is for profile 1"),
            ("differs", "`.cmdline` differs: the one measured is section 2 of this UKI, of no profile"),
            ("differs", "`.profile` differs: the one measured is section 9 of this UKI, of profile 0"),
        ],
    ),
    "load options not given": (
        {"image": sample()},
        {"image": sample(), **OPTIONS},
        [("extra", "the log has load options that were not given: 'debug'")],
    ),
    "load options differ": (
        {"image": sample(), "load_options": utf16z("single")},
        {"image": sample(), **OPTIONS},
        [("differs", "the load options differ: the log has 'debug', the prediction is 'single'")],
    ),
    "load options of the shell": (
        {"image": sample(), "shell": "uki.efi  one  two"},
        {"image": sample()},
        [("missing", "the log lacks the load options that were given, 'one two': Secure Boot drops them")],
    ),
    "load options dropped on the machine": (
        {"image": SIGNED, **OPTIONS},
        {"image": SIGNED, "host": MACHINE | SB, **OPTIONS},
        [("missing", "the log lacks the load options that were given, 'debug': Secure Boot drops them")],
    ),
    "load options dropped here": (
        {"image": SIGNED, "host": MACHINE | SB, **OPTIONS},
        {"image": SIGNED, **OPTIONS},
        [("extra", "the log has the load options, 'debug', which are dropped in the prediction (Secure Boot is on)")],
    ),
    "control characters": (
        {"image": sample(), "load_options": utf16z("a\tb")},
        {"image": sample(), "load_options": utf16z("a\tb"), "stub": "257"},
        [("extra", "the log has the load options, 'a b', which are dropped in the prediction (stub 262.1)")],
    ),
    "addon arguments not predicted": (
        {"image": sample(), **OPTIONS},
        {"image": sample(), **OPTIONS, "files": {f"{EXTRA}a.addon.efi": CMDLINE_ADDON}},
        [("extra", "arguments of addons or SMBIOS type 11 that are not predicted: 'from-addon'; no --esp was given")],
    ),
    "addon arguments missing": (
        {"image": sample(), "files": {f"{EXTRA}a.addon.efi": CMDLINE_ADDON}},
        {"image": sample()},
        [("missing", "the log lacks the addons' arguments, 'from-addon'")],
    ),
    "SMBIOS arguments missing": (
        {"image": sample(), "host": OEM},
        {"image": sample()},
        [("missing", "the log lacks the arguments of the host's SMBIOS type 11, 'from-smbios'")],
    ),
    "SMBIOS arguments differ": (
        {"image": sample(), "host": OEM},
        {"image": sample(), "host": {"smbios": FIELDS | {"oem_strings": [f"{OEM_STRING}-2"]}}},
        [("differs", "the SMBIOS arguments differ: the log has 'from-smbios-2', the prediction is 'from-smbios'")],
    ),
    "credentials differ": (
        {"image": sample(), "files": {f"{EXTRA}a.cred": b"1"}},
        {"image": sample(), "files": {f"{EXTRA}a.cred": b"2"}},
        [("differs", "'Credentials initrd' differs: other files, names or contents (*.cred in")],
    ),
    "global credentials missing": (
        {"image": sample(), "files": {"loader/credentials/a.cred": b"1"}},
        {"image": sample()},
        [
            (
                "missing",
                "'Global credentials initrd' is not in the log: the machine had no *.cred in \\loader\\credentials",
            )
        ],
    ),
    "system extension not predicted": (
        {"image": sample()},
        {"image": sample(), "files": {f"{EXTRA}a.raw": b"1"}},
        [("extra", "'System extension initrd' is in the log, but the prediction has no *.raw in the folder")],
    ),
    "configuration extension missing": (
        {"image": sample(), "files": {f"{EXTRA}a.confext.raw": b"1"}},
        {"image": sample(), "files": {}},
        [("missing", "'Configuration extension initrd' is not in the log")],
    ),
    "global extensions": (
        {"image": sample(), "stub": "257", "files": {"loader/extensions/a.raw": b"1"}},
        {"image": sample(), "files": {"loader/extensions/a.raw": b"1"}},
        [("extra", "'Global system extension initrd' is in the log: the stub that ran is one of 258 to 262")],
    ),
    "initrd addon differs": (
        {"image": sample(), "files": {f"{EXTRA}a.addon.efi": INITRD_ADDON}},
        {"image": sample(), "files": {f"{EXTRA}a.addon.efi": addon(SectionSpec(".initrd", b"other"))}},
        [("differs", "the initrd addon 'a.addon.efi' differs: it has other contents on the machine")],
    ),
    "devicetree addon missing": (
        {"image": sample(), "files": {"loader/addons/a.addon.efi": addon(SectionSpec(".dtb", b"tree"))}},
        {"image": sample(), "files": {}},
        [("missing", "the devicetree addon 'a.addon.efi' is not in the log")],
    ),
    "microcode addon missing": (
        {"image": sample(), "files": {f"{EXTRA}a.addon.efi": UCODE_ADDON}},
        {"image": sample()},
        [("missing", "the microcode addon 'a.addon.efi' is not in the log: the machine does not have it, or refused")],
    ),
    "microcode addon not predicted": (
        {"image": sample()},
        {"image": sample(), "files": {f"{EXTRA}a.addon.efi": UCODE_ADDON}},
        [("extra", "the microcode addon 'a.addon.efi' was measured, but is not predicted; no --esp was given")],
    ),
    "SMBIOS measured by a newer stub": (
        {"image": sample(), "host": smbios_host(), "stub": "257"},
        {"image": sample(), "host": smbios_host()},
        [("extra", "SMBIOS measured by the stub, as 261 to 262 do; the prediction is for stub 257.13")] * 2,
    ),
    "SMBIOS not measured": (
        {"image": sample(), "host": smbios_host()},
        {"image": sample(), "host": smbios_host(), "stub": "257"},
        [("missing", "SMBIOS was not measured: the stub that ran is not one of 261 to 262, or LoaderPcrSMBIOS was")]
        * 2,
    ),
    "SMBIOS measured though a boot loader had": (
        {"image": sample(), "host": smbios_host(variables=[PCR_SMBIOS])},
        {"image": sample(), "host": smbios_host()},
        [("extra", "SMBIOS measured by the stub: LoaderPcrSMBIOS, which the host file has, was not set")] * 2,
    ),
    "SMBIOS differs": (
        {"image": sample(), "host": smbios_host()},
        {"image": sample(), "host": smbios_host(serial=b"2")},
        [("differs", "SMBIOS type2: the base board differs from the host file's table")],
    ),
    "SMBIOS has more": (
        {"image": sample(), "host": smbios_host()},
        {"image": sample(), "host": smbios_host(TYPE11)},
        [("extra", "SMBIOS type11: the machine has more structures of this type than the host file's table")],
    ),
    "SMBIOS has fewer": (
        {"image": sample(), "host": smbios_host(TYPE11)},
        {"image": sample(), "host": smbios_host()},
        [("missing", "SMBIOS type11: the machine has fewer structures of this type than the host file's table")],
    ),
}


@pytest.mark.parametrize(
    ("section", "words"),
    [
        (".linux", "`.linux` differs: another kernel was booted"),
        (".osrel", "`.osrel` differs: the UKI that was booted has other contents in this section"),
        (".hwids", "`.hwids` differs: the UKI that was booted has other contents in this section, and may select"),
        (".efifw", "`.efifw` differs: section 8 ('fw') has other contents in the UKI that was booted"),
        (".dtbauto", "`.dtbauto` differs: section 6 ('example,board') has other contents"),
    ],
)
def test_contents_of_a_section_differ(booted: Write, section: str, words: str):
    result = booted()
    found = compare(result, changed(log_of(result), section))
    assert [row.kind for row in found.differences] == ["differs"]
    assert words in causes(found)[0]


@pytest.mark.parametrize("name", CASES)
def test_causes(booted: Write, name: str):
    ours, theirs, expected = CASES[name]
    predicted, logged = booted(**ours), booted(**theirs)
    start = {key: value for key, value in ours.items() if key not in ("image", "host", "files")}
    if "files" in ours:
        start["esp"] = "esp"
    found = compare(predicted, log_of(logged), Start(**start))
    # The images that follow from it (PCR 4): test_diff_log_root.py.
    rows = [row for row in found.differences if row.item is not None and not is_image(row.item)]
    assert [row.kind for row in rows] == [kind for kind, _ in expected]
    for row, (_, words) in zip(rows, expected, strict=True):
        assert words in row.cause
    # The other way round something differs as well, and each machine equals its own log.
    assert compare(logged, log_of(predicted)).differences
    assert not compare(logged, log_of(logged)).differences
