"""The facts of some recordings, kept in fixtures/golden, compared as the recordings themselves are; and that they are
enough: a model that has one change too many or too few is found out.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from scripts.carry_over import carry_over
from scripts.lab.images import CERTIFICATE
from stubsim.formats import pe
from stubsim.stub import rhel
from stubsim.stub.models import DESCRIPTIVE, Choice, StubModel
from stubsim.stub.recognise import model_for
from stubsim.stub.releases import CHANGES, changes, fields
from stubsim.systemd.release import Change, Release, parse
from stubsim.uki import load
from tests.conformance.comparisons import COMPARISONS, Json, Recording, booted
from tests.conftest import ROOT

GOLDEN = ROOT / "fixtures" / "golden"
CASES = sorted(path.stem for path in GOLDEN.glob("*.json"))


class Shown(NamedTuple):
    """With this row of the table turned over, on where it does not hold or off, the comparison of the case fails."""

    row: str
    case: str
    comparison: str


SHOWN = [
    Shown("trailing-blanks", "cmdline-whitespace@252.39", "command_line"),
    Shown("features-253", "cmdline-whitespace@252.39", "variables"),
    Shown("status-texts", "aa64-dtfixup-addon-mode2@257.13", "messages"),
    Shown("no-fixup", "aa64-launch-nosmbios-empty@262.1", "messages"),
    Shown("random-seed", "ovmf2026-keyboard@262.1", "initrd"),
    Shown("nothing-measured", "cmdline-whitespace@252.39", "variables"),
    Shown("nothing-measured", "ovmf2026-keyboard@262.1", "variables"),
    Shown("features-254", "cmdline-whitespace@252.39", "variables"),
    Shown("features-254", "addon-cmdline@254.26", "variables"),
    Shown("uname-and-sbat", "cmdline-whitespace@252.39", "measurements"),
    Shown("uname-and-sbat", "addon-cmdline@254.26", "measurements"),
    Shown("addons", "addon-cmdline@254.26", "command_line"),
    Shown("smbios-arguments", "smbios11-nobase@254.26", "command_line"),
    Shown("features-255", "cmdline-whitespace@252.39", "variables"),
    Shown("leading-blanks", "cmdline-whitespace@252.39", "command_line"),
    Shown("any-devicetree", "chid-nullguid@262.1", "devicetree"),
    Shown("devicetree-addons", "addon-cmdline@254.26", "measurements"),
    Shown("devicetree-addons", "aa64-dtfixup-addon-mode2@257.13", "messages"),
    Shown("features-256", "cmdline-whitespace@252.39", "variables"),
    Shown("ucode", "cmdline-whitespace@252.39", "measurements"),
    Shown("confexts", "cmdline-whitespace@252.39", "variables"),
    Shown("confexts", "sidecars-all@257.13", "initrd"),
    Shown("profiles", "addon-cmdline@254.26", "variables"),
    Shown("profiles", "ovmf2026-keyboard@262.1", "variables"),
    Shown("sections-by-name", "launch-fwdtb-plain@254.26", "devicetree"),
    Shown("sections-by-name", "efifw-match@257.13", "messages"),
    Shown("hwids", "efifw-match@257.13", "messages"),
    Shown("initrd-addons", "addon-cmdline@254.26", "measurements"),
    Shown("os-release", "cmdline-whitespace@252.39", "initrd"),
    Shown("os-release", "ovmf2026-keyboard@262.1", "initrd"),
    Shown("stub-image", "cmdline-whitespace@252.39", "variables"),
    Shown("stub-image", "ovmf2026-keyboard@262.1", "variables"),
    Shown("smbios-trimmed", "smbios11-nobase@254.26", "command_line"),
    Shown("miss-without-status", "efifw-dtb-nomatch@258", "messages"),
    Shown("miss-without-status", "chid-nomatch@257.13", "messages"),
    Shown("features-258", "cmdline-whitespace@252.39", "variables"),
    Shown("features-258", "efifw-dtb-nomatch@258", "variables"),
    Shown("firmware-section", "efifw-match@257.13", "messages"),
    Shown("firmware-section", "efifw-dtb-nomatch@258", "messages"),
    Shown("panel-chids", "chid-nullguid@257.13", "selection"),
    Shown("panel-chids", "chid-nullguid@262.1", "selection"),
    Shown("own-kernel-loader", "kernel-reloc@257.13", "messages"),
    Shown("own-kernel-loader", "kernel-reloc@262.1", "messages"),
    Shown("global-extensions", "sidecars-all@257.13", "initrd"),
    Shown("global-extensions", "sidecars-all@262.1", "initrd"),
    Shown("tpm-banks", "cmdline-whitespace@252.39", "variables"),
    Shown("tpm-banks", "ovmf2026-keyboard@262.1", "variables"),
    Shown("tagged-events", "ovmf2026-keyboard@262.1", "variables"),
    Shown("log-level", "launch-prev-initrd-debug@262.1", "messages"),
    Shown("control-characters", "loadopt-tab@259.8", "command_line"),
    Shown("kernel-image-base", "ovmf2026-keyboard@262.1", "command_line"),
    Shown("silent-miss", "efifw-dtb-nomatch@258", "messages"),
    Shown("silent-miss", "chid-nomatch@262.1", "messages"),
    Shown("kernel-alignment", "aa64-kernel-align-odd@262.1", "messages"),
    Shown("firmware-selection", "efifw-match@257.13", "messages"),
    Shown("firmware-selection", "hwids-off-nonmatch-compat@262.1", "messages"),
    Shown("hwids-offsets", "hwids-off-nonmatch-compat@257.13", "selection"),
    Shown("hwids-offsets", "hwids-off-nonmatch-compat@262.1", "selection"),
    Shown("features-261", "cmdline-whitespace@252.39", "variables"),
    Shown("features-261", "ovmf2026-keyboard@262.1", "variables"),
    Shown("console", "hwids-off-nonmatch-compat@262.1", "command_line"),
    Shown("boot-secret", "launch-prev-initrd-debug@262.1", "messages"),
    Shown("previous-initrd", "launch-prev-initrd-debug@262.1", "initrd"),
    Shown("smbios", "cmdline-whitespace@252.39", "measurements"),
    Shown("smbios", "ovmf2026-keyboard@262.1", "variables"),
    Shown("keyboard-layout", "ovmf2026-keyboard@262.1", "variables"),
    Shown("all-consoles", "console-vga-serial@261", "command_line"),
    Shown("all-consoles", "hwids-off-nonmatch-compat@262.1", "command_line"),
    Shown("loader-folder", "rng@261", "initrd"),
    Shown("loader-folder", "ovmf2026-keyboard@262.1", "initrd"),
    # Booted by the lab's efirun.
    Shown("whole-lines", "lab-loadopt-blank@254.26", "pcrs"),
    Shown("many-sections", "lab-addon-many-sections@262.1", "command_line"),
    Shown("features-253", "lab-basic@252-76.el9", "variables"),
    Shown("assertions", "lab-launch-mem@254.26", "messages"),
    Shown("overlaps", "lab-pe-overlap@254.26", "messages"),
    Shown("lower-case", "lab-basic@253.0", "variables"),
    Shown("upper-case", "lab-basic@253.0", "variables"),
    Shown("upper-case", "lab-basic@255.0", "variables"),
    Shown("halt-unmeasured", "lab-all-sections@253.0", "messages"),
    Shown("unmeasured-archives", "lab-all-sections@253.0", "messages"),
    Shown("unmeasured-archives", "sidecars-all@257.13", "command_line"),
    Shown("event-assertion", "lab-smbios11-empty@254.27", "messages"),
    Shown("smbios-without-strings", "lab-smbios11-behind@254.27", "command_line"),
    Shown("confidential-options", "lab-conf-loadopt@262.1", "measurements"),
    Shown("boot-counter", "lab-extra-bootcount@262.1", "initrd"),
    Shown("features-255", "lab-basic@255.0", "variables"),
    Shown("leading-blanks", "lab-shell-quoted-tab@256.0", "command_line"),
    Shown("no-device", "lab-launch-mem@262.1", "variables"),
    Shown("addon-uname", "lab-addon-uname@262.1", "command_line"),
    Shown("features-256", "lab-basic@256.0", "variables"),
    Shown("ucode", "lab-ucode-only@256.0", "initrd"),
    Shown("confidential-guests", "lab-conf-loadopt@262.1", "rtmrs"),
    Shown("seed-after-sections", "lab-linux-missing@262.1", "esp_changes"),
    Shown("uki-as-addon", "lab-addon-uki@262.1", "messages"),
    Shown("initrd-addons", "lab-addon-nothing@257.13", "messages"),
    Shown("smbios-trimmed", "lab-smbios11-trim@262.1", "command_line"),
    Shown("blank-options", "lab-loadopt-blank@262.1", "command_line"),
    Shown("shell-line", "lab-shell-quoted-tab@262.1", "command_line"),
    Shown("blank-lines", "lab-loadopt-blank@262.1", "pcrs"),
    Shown("lone-microcode", "lab-ucode-only@262.1", "initrd"),
    Shown("ignored-devicetree", "lab-dtfixup-error@262.1", "messages"),
    Shown("uncounted-tagged-events", "lab-addon-initrd@257.13", "variables"),
    Shown("devicetree-first", "lab-addon-dtb-creds@262.1", "measurements"),
    Shown("kernel-headers", "lab-kernel-entry-outside@262.1", "command_line"),
    Shown("silent-addon", "lab-addon-nothing@262.1", "messages"),
    Shown("kernel-raw-data", "lab-kernel-rawlarger@262.1", "command_line"),
    Shown("kernel-end", "lab-kernel-cut@262.1", "command_line"),
    Shown("addon-files", "lab-addon-empty-file@262.1", "messages"),
    Shown("tagged-events-confidential", "lab-tdx-smbios@262.1", "variables"),
    Shown("el-torito", "lab-no-partition@262.1", "messages"),
    Shown("missing-seed", "lab-seed-missing@262.1", "messages"),
    Shown("smbios-length", "lab-smbios-short@262.1", "variables"),
    Shown("smbios-confidential", "lab-tdx-smbios@262.1", "variables"),
]

# The same on Arm.
SHOWN_ON_ARM = [
    Shown("whole-lines", "lab-aa64-shell-quoted-tab@262.1", "pcrs"),
    Shown("many-sections", "lab-aa64-addon-many-sections@262.1", "command_line"),
    Shown("status-texts", "lab-aa64-kernel-entry-outside@262.1", "messages"),
    Shown("random-seed", "lab-aa64-seed-missing@262.1", "messages"),
    Shown("nothing-measured", "lab-aa64-basic@262.1", "variables"),
    Shown("no-fixup", "lab-aa64-addon-dtb-creds@262.1", "messages"),
    Shown("unmeasured-archives", "lab-aa64-all-sections@262.1", "command_line"),
    Shown("upper-case", "lab-aa64-basic@262.1", "variables"),
    Shown("addons", "lab-aa64-addon-uki@262.1", "messages"),
    Shown("smbios-arguments", "lab-aa64-smbios11-trim@262.1", "command_line"),
    Shown("smbios-without-strings", "lab-aa64-smbios11-behind@262.1", "command_line"),
    Shown("boot-counter", "lab-aa64-extra-bootcount@262.1", "initrd"),
    Shown("leading-blanks", "lab-aa64-cmdline-whitespace@262.1", "command_line"),
    Shown("no-device", "lab-aa64-launch-mem@262.1", "variables"),
    Shown("any-devicetree", "lab-aa64-addon-dtb-creds@262.1", "devicetree"),
    Shown("devicetree-addons", "lab-aa64-addon-nothing@257.13", "messages"),
    Shown("addon-uname", "lab-aa64-addon-uname@262.1", "command_line"),
    Shown("confexts", "lab-aa64-sidecars-all@262.1", "variables"),
    Shown("profiles", "lab-aa64-basic@262.1", "variables"),
    Shown("sections-by-name", "lab-aa64-linux-missing@262.1", "messages"),
    Shown("seed-after-sections", "lab-aa64-linux-missing@262.1", "esp_changes"),
    Shown("uki-as-addon", "lab-aa64-addon-uki@262.1", "messages"),
    Shown("hwids", "lab-aa64-chid-nomatch@257.13", "messages"),
    Shown("initrd-addons", "lab-aa64-addon-nothing@257.13", "messages"),
    Shown("os-release", "lab-aa64-basic@262.1", "initrd"),
    Shown("stub-image", "lab-aa64-basic@262.1", "variables"),
    Shown("smbios-trimmed", "lab-aa64-smbios11-trim@262.1", "command_line"),
    Shown("blank-options", "lab-aa64-loadopt-blank@262.1", "command_line"),
    Shown("shell-line", "lab-aa64-shell-quoted-tab@262.1", "command_line"),
    Shown("blank-lines", "lab-aa64-loadopt-blank@262.1", "pcrs"),
    Shown("lone-microcode", "lab-aa64-ucode-only@262.1", "initrd"),
    Shown("ignored-devicetree", "lab-aa64-dtfixup-error@262.1", "messages"),
    Shown("uncounted-tagged-events", "lab-aa64-addon-initrd@257.13", "variables"),
    Shown("devicetree-first", "lab-aa64-addon-dtb-creds@262.1", "measurements"),
    Shown("miss-without-status", "lab-aa64-chid-nomatch@257.13", "messages"),
    Shown("firmware-section", "lab-aa64-efifw-both@262.1", "devicetree"),
    Shown("panel-chids", "lab-aa64-chid-nullguid@262.1", "devicetree"),
    Shown("own-kernel-loader", "lab-aa64-kernel-entry-outside@262.1", "command_line"),
    Shown("global-extensions", "lab-aa64-sidecars-all@262.1", "initrd"),
    Shown("tpm-banks", "lab-aa64-basic@262.1", "variables"),
    Shown("tagged-events", "lab-aa64-basic@262.1", "variables"),
    Shown("kernel-headers", "lab-aa64-kernel-entry-outside@262.1", "command_line"),
    Shown("control-characters", "lab-aa64-loadopt-tab@262.1", "command_line"),
    Shown("silent-addon", "lab-aa64-addon-nothing@262.1", "messages"),
    Shown("kernel-image-base", "lab-aa64-basic@262.1", "command_line"),
    Shown("kernel-raw-data", "lab-aa64-kernel-rawlarger@262.1", "command_line"),
    Shown("silent-miss", "lab-aa64-chid-nomatch@262.1", "messages"),
    Shown("kernel-alignment", "lab-aa64-kernel-align-odd@262.1", "messages"),
    Shown("kernel-end", "lab-aa64-kernel-cut@262.1", "command_line"),
    Shown("log-level", "lab-aa64-seed-missing@262.1", "messages"),
    Shown("firmware-selection", "lab-aa64-efifw-both@262.1", "selection"),
    Shown("hwids-offsets", "lab-aa64-hwids-off-nonmatch-compat@262.1", "devicetree"),
    Shown("addon-files", "lab-aa64-addon-empty-file@262.1", "messages"),
    Shown("features-261", "lab-aa64-basic@262.1", "variables"),
    Shown("console", "lab-aa64-seed-missing@262.1", "messages"),
    Shown("boot-secret", "lab-aa64-seed-missing@262.1", "messages"),
    Shown("previous-initrd", "lab-aa64-seed-missing@262.1", "messages"),
    Shown("smbios", "lab-aa64-basic@262.1", "variables"),
    Shown("keyboard-layout", "lab-aa64-seed-missing@262.1", "messages"),
    Shown("el-torito", "lab-aa64-no-partition@262.1", "messages"),
    Shown("missing-seed", "lab-aa64-seed-missing@262.1", "messages"),
    Shown("all-consoles", "lab-aa64-seed-missing@262.1", "messages"),
    Shown("loader-folder", "lab-aa64-rng@262.1", "variables"),
    Shown("smbios-length", "lab-aa64-smbios-short@262.1", "variables"),
]

# Row -> why no case of a release that has it shows it.
NOT_SHOWN = {
    "arm-initrd": "where something lies is compared elsewhere",
    "high-initrd": "no case here needs so much memory",
    "image-pcr-last": "seen where a boot ends between measuring and exporting only, which no case of 257 or later does",
    "initrd-from-zero": "what comes of it is unknown, and later rows take it back",
    "no-initrd": "a boot without any initrd is the same but for what is unknown",
    "empty-values": "no case has an ID= without a value; tests/stub/test_boot_secret.py",
    "empty-values-mended": "the same",
    "memory-attributes": "without it the line is unknown, and nothing else changes",
}
# Row -> why no case on Arm shows it besides: of stubs before 257 on Arm there is 252.39 alone, whose fixture would have
# no name, since the name is in its code (efi_program.py).
_OLD = "no stub of the release, or of one before the next row, on Arm"
NOT_SHOWN_ON_ARM = {
    **NOT_SHOWN,
    **dict.fromkeys(("trailing-blanks", "features-253", "assertions", "overlaps", "features-254"), _OLD),
    **dict.fromkeys(("uname-and-sbat", "features-255", "features-256", "ucode", "features-258"), _OLD),
    **dict.fromkeys(("event-assertion", "lower-case", "halt-unmeasured"), _OLD),
    **dict.fromkeys(
        ("confidential-options", "confidential-guests", "tagged-events-confidential", "smbios-confidential"),
        "there are no confidential guests on Arm",
    ),
}


@cache
def case_of(name: str) -> Json:
    case: Json = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    return case


def recording_of(name: str) -> Recording:
    case = case_of(name)
    return Recording(name, case["host"], case["args"], case["expected"])


def version_of(name: str) -> str:
    return name.rpartition("@")[2].removesuffix("-aa64")


def is_systemds(name: str) -> bool:
    return not version_of(name).startswith("stubble")


def rows_of(name: str) -> tuple[Change, ...]:
    """The rows that hold for the stub of a case."""
    found = rhel.find(version_of(name))
    if found is not None:
        return found.build.rows()
    version = parse(version_of(name))
    assert version is not None
    return changes(version.release or Release(version.major, 0))


def is_arm(name: str) -> bool:
    return case_of(name)["host"].get("architecture") == "aa64"


def holds(row: Change, name: str) -> bool:
    return is_systemds(name) and row in rows_of(name)


def content(row: Json) -> bytes:
    if "file" in row:
        return (GOLDEN / row["file"]).read_bytes()
    return bytes(row["text"], "ascii") if "text" in row else base64.b64decode(row["base64"])


def image(sections: list[Json], case: Json) -> bytes:
    """The PE file of a recipe, for its machine; a filler has its size in memory and no bytes in the file."""
    return pe.build(
        [
            pe.SectionSpec(
                row["name"],
                b"" if "filler" in row else content(row),
                virtual_size=row["virtual_size"],
                virtual_address=row.get("virtual_address"),
            )
            for row in sections
        ],
        machine=0xAA64 if case["host"].get("architecture") == "aa64" else 0x8664,
        certificates=CERTIFICATE if "signed" in case else b"",
    )


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Build a case's files once."""

    @cache
    def build(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        case = case_of(name)
        (folder / "esp").mkdir()
        (folder / "uki.efi").write_bytes(image(case["uki"], case))
        (folder / "host.json").write_text(json.dumps(case["host"]), encoding="utf-8")
        for row in case["files"]:
            path = folder / row["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image(row["sections"], case) if "sections" in row else content(row))
        return folder

    return build


@pytest.fixture(scope="module")
def simulated(folder_of: Callable[[str], Path]) -> Callable[[str], Json]:
    return cache(lambda name: booted(folder_of(name), case_of(name)["args"]))


@pytest.mark.parametrize("comparison", COMPARISONS)
@pytest.mark.parametrize("name", CASES)
def test_case(name: str, comparison: str, simulated: Callable[[str], Json]):
    pair = COMPARISONS[comparison](recording_of(name), simulated(name))
    if pair is None:
        pytest.skip("the recording holds nothing of it")
    ours, theirs = pair
    assert ours == theirs


def test_there_are_few_cases():
    """Of the recordings a few dozen; of the lab one for each row that those do not show."""
    assert sum(name.startswith("lab-") for name in CASES) <= len({shown.case for shown in (*SHOWN, *SHOWN_ON_ARM)})
    recorded = {name.partition("@")[0] for name in CASES if is_systemds(name) and not name.startswith("lab-")}
    assert 8 <= sum(not name.startswith("aa64-") for name in recorded) <= 20
    assert 5 <= sum(name.startswith("aa64-") for name in recorded) <= 12
    assert 5 <= sum(not is_systemds(name) for name in CASES) <= 24


# Is every row of the table of changes seen in them?


def failing(
    name: str, row: Change, folder_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> dict[str, tuple[object, object]]:
    """The comparisons that fail when the case is booted by a stub for which the row holds, or does not, wrongly."""
    held = rows_of(name)
    rows = [each for each in CHANGES if (each in held) != (each is row)]
    found = rhel.find(version_of(name))
    own = {} if found is None else found.build.sets
    right = model_for(load(str(folder_of(name) / "uki.efi"))).model
    wrong = right._replace(**fields(rows) | own)
    monkeypatch.setattr("stubsim.simulation.model_for", lambda *_: Choice(wrong, "for this test"))
    boot = booted(folder_of(name), case_of(name)["args"])
    pairs = {comparison: compare(recording_of(name), boot) for comparison, compare in COMPARISONS.items()}
    return {comparison: pair for comparison, pair in pairs.items() if pair is not None and pair[0] != pair[1]}


ROWS = {row.name: row for row in CHANGES}


@pytest.mark.parametrize("shown", [*SHOWN, *SHOWN_ON_ARM], ids=lambda shown: f"{shown.row}-{shown.case}")
def test_row_is_shown(shown: Shown, folder_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch):
    assert shown.comparison in failing(shown.case, ROWS[shown.row], folder_of, monkeypatch)


@pytest.mark.parametrize("row", NOT_SHOWN)
def test_row_is_not_shown(row: str, folder_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch):
    """Keeps the list of exceptions honest: what a case does show has to stand in SHOWN."""
    for name in CASES:
        if holds(ROWS[row], name):
            assert not failing(name, ROWS[row], folder_of, monkeypatch), name


def test_every_row_is_accounted_for():
    """Each is shown by a release that has it, or stands in NOT_SHOWN with the reason."""
    on_arm = [*SHOWN_ON_ARM, *(shown for shown in SHOWN if is_arm(shown.case))]
    for rows, without in ((SHOWN, NOT_SHOWN), (on_arm, NOT_SHOWN_ON_ARM)):
        holding = {shown.row for shown in rows if holds(ROWS[shown.row], shown.case)}
        assert not holding & without.keys()
        assert holding | without.keys() == ROWS.keys()


def test_every_field_is_set_by_a_row():
    """What a stub does is told by the table alone; the rest are proposals, in no recorded stub."""
    proposed = {"applies_capsules", "firmware_section"}
    set_by_rows = {field for row in (*CHANGES, *rhel.BUILDS) for field in row.sets}
    assert set_by_rows | proposed == set(StubModel._fields) - set(DESCRIPTIVE)


# What may lie in fixtures/golden.


# .dyn* and .rela are of stubs up to 254, linked as ELF.
CODE = (".text", ".rodata", ".data", ".reloc", ".dynamic", ".dynsym", ".rela")


def test_no_code_of_a_stub_is_carried_over():
    """Its code and data have a size only; what is there in full is the lab's own or a line of text."""
    sections = [row for name in CASES for row in case_of(name)["uki"]]
    sections += [row for name in CASES for file in case_of(name)["files"] for row in file.get("sections", [])]
    for row in sections:
        # An addon's .other is the lab's, and only that it is there counts.
        code = row["name"] in (*CODE, ".other")
        assert ("filler" in row) == code, row["name"]
        if code:
            assert row.keys() - {"virtual_address"} == {"name", "virtual_size", "filler"}
        elif row["name"] in (".sdmagic", ".sbat"):
            assert len(content(row).rstrip(b"\0")) < 512
            assert content(row).isascii()
        elif row["name"] == ".linux":
            # The probe of the recordings or the lab, as it is or with other headers, or what the lab cut off of it.
            assert row["virtual_size"] in (6144, 7168, 7680, 5632, 320)
            assert row["virtual_size"] == 320 or re.fullmatch(r"linux-[0-9a-f]{8}\.bin", row["file"])


def test_fixtures_are_small():
    sizes = {path.name: path.stat().st_size for path in GOLDEN.iterdir()}
    assert sum(sizes.values()) < 1000 * 1000
    assert max(sizes.values()) < 1 << 16


def test_fixtures_are_what_the_script_makes(shared: Path):
    made = carry_over(shared)
    kept = {path.name: path.read_bytes() for path in GOLDEN.iterdir() if not path.name.startswith("lab-")}
    of_the_lab = kept.keys() - made.keys()
    assert all(name.startswith("linux-") for name in of_the_lab)
    assert {name: data for name, data in kept.items() if name not in of_the_lab} == made


def test_fixtures_name_no_file_outside():
    for name in CASES:
        for row in case_of(name)["files"]:
            assert not os.path.isabs(row["path"])
            assert ".." not in row["path"].split("/")
