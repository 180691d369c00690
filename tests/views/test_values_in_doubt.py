"""Nothing is written for a verifier that would be otherwise if an unknown key, or a file not at hand, were known.

The values of keys are those of tests/test_doubt.py; `make test-heavy` takes every recorded machine.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest

from stubsim import uki as ukis
from stubsim.cli import machine, parsers
from stubsim.cli.firmware_files import machine_of
from stubsim.cli.start import start as start_of
from stubsim.errors import StubsimError
from stubsim.explain.log_writer import Writer
from stubsim.explain.predicted_log import WholeLog
from stubsim.explain.whole_log import whole_log
from stubsim.formats import eventlog
from stubsim.hosts import Host
from stubsim.result import Boot
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.trace import Unknown
from stubsim.uefi.builds import BUILDS
from stubsim.uefi.known_host import known_host
from stubsim.uefi.measured.secure_boot_policy import databases, secure_boot
from stubsim.uefi.platform import Platform
from stubsim.uki import Uki
from stubsim.views import keylime, reference_values
from stubsim.views.log import event_log
from tests import samples
from tests.cli.test_log import CODE
from tests.conformance.test_log import CASES, restore
from tests.conftest import ROOT
from tests.formats.test_fw_cfg_files import archive
from tests.formats.test_gpt import FIRST, disk, entry
from tests.formats.test_varstore import store, variable
from tests.test_doubt import VALUES, Subject

Written = dict[tuple[Any, ...], Any]
# What may not be at hand; without a file its field of the platform is None.
# Events whose data are no part of a digest, and have in them where disk and tables are.
NOT_HASHED = ("EV_EFI_BOOT_SERVICES_APPLICATION", "EV_EFI_HANDOFF_TABLES")
FILES = ("firmware", "variables", "disk", "fw_cfg", "esp")


class Machine(NamedTuple):
    """A UKI, and a machine of which all is known and at hand."""

    name: str
    uki: Uki
    platform: Platform
    start: Start

    def subject(self, host: Host) -> Subject:
        return Subject(self.name, self.uki, host, self.start)

    def booted(self, host: Host, *without: str) -> tuple[Boot, WholeLog]:
        """As the command does it, whose files are read once."""
        platform = self.platform._replace(host=host, **dict.fromkeys(without))
        known = known_host(platform)
        platform = platform._replace(host=known)
        start = self.start._replace(whole_store=platform.variables is not None)
        if secure_boot(platform) is True:
            start = start._replace(trusted=databases(platform).trusts)
        result = boot(self.uki, known, start)
        return result, whole_log(result, platform, start)


def written(log: WholeLog, host: Host) -> Written:
    """All that any of the writers gives where what is not known may be left out, piece by piece."""
    found: Written = {("rtmr", index): value for index, value in log.rtmrs.items()}
    if not log.is_cc:
        values = reference_values.values(log, range(16), allow_unknown=True)
        found |= {("value", bank, pcr): value for bank, rows in values.items() for pcr, value in rows.items()}
        for path, content in reference_values.pcrlock(log, values, "one").items():
            for record in content["records"]:
                found.setdefault(("pcrlock", path, record["pcr"]), []).append(record["digests"])
        state = keylime.reference_state(log, values, "one", ())
        found |= {("registers", pcr): rows for pcr, rows in state["boots"][0]["registers"].items()}
        found |= {("state", key): value for key, value in state.items() if key not in ("boots", "conditions")}
        if "sha256" in values:
            payload = reference_values.rvps(log, values, host)["payload"]
            assert len(payload) > 2
    for event in eventlog.parse(event_log(log, allow_unknown=True)):
        kind = eventlog.type_name(event.type)
        found.setdefault(("log", event.pcr), []).append(
            (kind, event.digests, None if kind in NOT_HASHED else event.data)
        )
    return found


def may_end_otherwise(result: Boot) -> bool:
    """Of a boot whose end is not known the values are said to be those of this end."""
    return any("outcome" in event.affects for event in result.events(Unknown))


class Tally:
    def __init__(self) -> None:
        self.comparisons = 0
        self.wrong: list[str] = []

    def take(self, subject: Machine, key: str | None, *without: str) -> None:
        """The machine with this key unknown and without these files, against all that it may be."""
        if key == "variables" and "variables" not in without:
            # Those of the store count.
            return
        host = subject.platform.host
        given = host if key is None else host._replace(unknown=frozenset({key}))
        hosts = [host] if key is None else [host, *VALUES[key](subject.subject(host))]
        try:
            result, log = subject.booted(given, *without)
            ours = written(log, given)
        except StubsimError:
            return
        for other in dict.fromkeys(hosts):
            try:
                real, real_log = subject.booted(other)
                theirs = written(real_log, other)
            except StubsimError:
                continue
            if real.outcome.status != result.outcome.status:
                assert may_end_otherwise(result), f"{subject.name}: {key}"
                continue
            if real_log.banks != log.banks:
                continue
            self.comparisons += len(ours.keys() & theirs.keys())
            missing = "".join(f", no {name}" for name in without)
            self.wrong += [
                f"{subject.name}: {key} unknown{missing}: {piece} is {ours[piece]!r:.200}, not {theirs[piece]!r:.200}"
                for piece in ours.keys() & theirs.keys()
                if ours[piece] != theirs[piece]
            ]


def affected(result: Boot) -> set[str]:
    return {key for event in result.events(Unknown) for key in event.affects}


def recorded(folder: Path, name: str) -> Machine:
    case = json.loads((folder / name / "boot.json").read_text())
    options = {
        "--firmware": folder / "firmware" / f"{case['firmware']['sha256'][:16]}.fd.xz",
        "--vars": folder / name / "vars-before.fd.xz",
        "--gpt": folder / name / "disk.gpt.xz",
        "--fw-cfg": folder / name / "fw_cfg.tar.xz",
        "--esp": folder / name / "esp",
    }
    uki, host = (str(folder / name / path) for path in (case["uki"], "host.json"))
    words = [str(word) for option in options.items() for word in option]
    return of_arguments(name, [uki, "--smbios", host, *words])


def of_arguments(name: str, words: list[str]) -> Machine:
    arguments: argparse.Namespace = parsers.one("log").parse_args(words)
    host = machine.load(arguments.smbios)._replace(unknown=frozenset())
    platform, _, start = machine_of(arguments, host, start_of(arguments))
    return Machine(name, ukis.load(arguments.uki), platform._replace(host=host), start)


@pytest.fixture(scope="module")
def restored(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return restore(shared, tmp_path_factory.mktemp("log"))


def ways(seed: int | None = None) -> Iterator[tuple[str | None, tuple[str, ...]]]:
    """Each key with all files, each file missing with all keys known, and pairs of both; with a seed some of them."""
    found = [(key, ()) for key in VALUES]
    found += [(None, (file,)) for file in FILES]
    found += [(key, (file,)) for key in VALUES for file in FILES]
    yield from found if seed is None else Random(seed).sample(found, 24)


def made_up(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Machine:
    """A machine of the project's own, its made-up firmware taken for a build that measures SMBIOS and ACPI tables."""
    build = next(row for row in BUILDS.values() if "2026.08" in row.name)._replace(exit_fails_first=False)
    monkeypatch.setattr("stubsim.uefi.platform.build_of", lambda pei, dxe: build)
    esp = folder / "esp/EFI/Linux"
    esp.mkdir(parents=True)
    (esp / "lab.efi").write_bytes(samples.uki(linux=samples.linux("6.12.117-lab")))
    host = json.loads((ROOT / "fixtures/hosts/lab-q35.json").read_text()) | changes
    files = {
        "--smbios": json.dumps(host).encode(),
        "--firmware": CODE,
        "--vars": store(variable("Timeout", b"\0\0")),
        "--gpt": disk(entry(FIRST, 2048, 4095, "ESP")),
        "--fw-cfg": archive({"bootorder": b"/pci@i0cf8/scsi@1/disk@0,0\0", "etc/table-loader": b"script"}),
    }
    words = [
        word for name, data in files.items() for word in (name, str(samples.written(folder, name.strip("-"), data)))
    ]
    return of_arguments("made-up", [str(esp / "lab.efi"), *words, "--esp", str(folder / "esp")])


def test_with_all_at_hand_every_register_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    subject = made_up(tmp_path, monkeypatch)
    assert {row.how for row in subject.booted(subject.platform.host)[1].events} == {"computed"}


@pytest.mark.parametrize("changes", [{}, {"confidential": "tdx", "tpm": None}], ids=["tpm", "tdx"])
def test_no_writer_gives_what_hangs_on_something_unknown_of_a_made_up_machine(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tally, subject = Tally(), made_up(tmp_path, monkeypatch, **changes)
    for key, without in ways(seed=1):
        tally.take(subject, key, *without)
    assert tally.wrong == []
    assert tally.comparisons > 200


@pytest.mark.parametrize(("key", "pcr"), [("smbios_table", 1), ("smbios.oem_strings", 12)])
def test_a_register_that_an_unknown_key_extends_has_no_value(
    key: str, pcr: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Also where the boot as it is taken to be extends it with nothing."""
    subject = made_up(tmp_path, monkeypatch)
    given = subject.platform.host._replace(unknown=frozenset({key}))
    log = subject.booted(given)[1]
    assert log.unknown_pcrs[pcr] in (
        f"{key} of the machine is not known",
        "the raw SMBIOS table (smbios_table) is not known",
    )
    assert pcr not in log.pcrs["sha256"]
    assert 4 in log.pcrs["sha256"]


def test_the_comparison_finds_a_value_that_should_not_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    subject = made_up(tmp_path, monkeypatch)
    monkeypatch.setattr(Writer, "_doubted", lambda self: {})
    tally = Tally()
    tally.take(subject, "smbios.oem_strings")
    assert any("('value', 'sha256', 12)" in text for text in tally.wrong)


@pytest.mark.heavy
@pytest.mark.parametrize("name", CASES)
def test_no_writer_gives_what_hangs_on_something_unknown(name: str, restored: Path):
    tally, subject = Tally(), recorded(restored, name)
    for key, without in ways():
        tally.take(subject, key, *without)
    print(tally.comparisons, "comparisons")
    assert tally.wrong == []
    assert tally.comparisons > 10_000
