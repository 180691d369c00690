"""What a boot gives as known does not hang on what is unknown: it is the same for all values of the unknown keys.

The values are this test's own, not those the product tries. `make test-heavy` takes every recording and pairs of keys.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from scripts import build_fixtures
from stubsim import chid, hosts, supposed
from stubsim import uki as ukis
from stubsim.cli import parsers
from stubsim.cli import start as start_options
from stubsim.doubt import Trial, doubts
from stubsim.errors import StubsimError
from stubsim.formats import edid, fdt, pe, smbios
from stubsim.formats.efi_string import utf16z
from stubsim.hosts import Capsules, Console, Firmware, FwCfg, Host, Variable, VmFwUpdate
from stubsim.hosts.fixture import _NAMES
from stubsim.hosts.host import DevicetreeFixup, DirectBoot, Patch
from stubsim.simulation import boot
from stubsim.start import DEFAULT_START, Start
from stubsim.supposed import Offers, Supposed, alternatives, offers
from stubsim.trace import Unknown
from stubsim.uefi.variables import LOADER
from stubsim.uki import Uki
from stubsim.views.json import boot_json
from tests.conformance.test_own_golden import CASES, case_of, content, image
from tests.conftest import ROOT, recordings
from tests.stub.harness import devicetree, firmware, make_pe, make_uki, table

Json = dict[str, Any]

KEYS = (
    "outcome", "profile", "chids", "hwids", "sections", "selection", "load_options", "cmdline", "initrd", "devicetree",
    "memory", "fw_cfg", "measurements", "pcrs", "variables", "esp_changes", "log", "rtmrs",
)  # fmt: skip


class Subject(NamedTuple):
    """A UKI, a machine of which all is known, and how it is started there."""

    name: str
    uki: Uki
    host: Host
    start: Start


Values = Callable[[Subject], Iterator[Host]]


def each(field: str, *values: object) -> Values:
    return lambda subject: (subject.host._replace(**{field: value}) for value in values)  # type: ignore[arg-type]


def strings(field: str) -> Values:
    def values(subject: Subject) -> Iterator[Host]:
        for text in (b"Somebody else", b"", None):
            yield subject.host._replace(fields=subject.host.fields._replace(**{field: text}))

    return values


def variable(name: str, data: bytes, attributes: int = 6) -> Variable:
    return Variable(name, LOADER, attributes, data)


def variables(subject: Subject) -> Iterator[Host]:
    secret = variable("LoaderBootSecret", b"\7" * 32, 3)
    for rows in (
        (),
        (variable("LoaderFeatures", (0x40).to_bytes(8, "little")),),
        (variable("LoaderFeatures", (0xBF).to_bytes(8, "little")), secret),
        (variable("LoaderSystemToken", b"\1" * 40, 7), secret),
        (variable("LoaderBootSecret", b"\7" * 32, 7), variable("LoaderSystemToken", b"\1" * 31, 7)),
        (variable("LoaderPcrSMBIOS", utf16z("1")), variable("StubInfo", utf16z("me"), 2)),
        (variable("LoaderImageIdentifier", utf16z("\\shell.efi")), variable("LoaderFirmwareInfo", utf16z("Me 1.00"))),
    ):
        yield subject.host._replace(variables=rows)


def devicetrees(subject: Subject) -> Iterator[Host]:
    own = []
    for section in subject.uki.image.sections:
        if section.name == ".dtbauto":
            try:
                own += fdt.root_compatible(subject.uki.data(section))[:1]
            except StubsimError:
                continue
    for tree in (None, b"no tree", *(fdt.build([name]) for name in ("a,board", *own[:1], *own[-1:]))):
        yield subject.host._replace(devicetree=tree)


def firmwares(subject: Subject) -> Iterator[Host]:
    own = subject.host.firmware
    payloads = []
    for section in subject.uki.image.sections:
        if section.name == ".efifw":
            try:
                payloads.append(subject.uki.efifw(section).payload)
            except StubsimError:
                continue
    from hashlib import sha256

    for other in (
        Firmware("American Megatrends", 0x50013, 0x20032),
        own._replace(uefi_revision=0x2000A),
        own._replace(pflash=not own.pflash),
        own._replace(capsules=Capsules(64 << 20)),
        *(own._replace(sha256=sha256(bytes(payload)).hexdigest()) for payload in payloads[:2]),
    ):
        yield subject.host._replace(firmware=other)


def panels(subject: Subject) -> Iterator[Host]:
    for data in (None, b"short", edid.build("AUO1234"), edid.build("LGD0abc")):
        yield subject.host._replace(edid=data)


def tables(subject: Subject) -> Iterator[Host]:
    own = subject.host
    system = smbios.Structure(1, 7, b"\1\x1b\7\0" + bytes(23), (b"x",), b"\1\x1b\7\0" + bytes(23) + b"x\0\0", 0)
    yield own._replace(structures=None)
    yield own._replace(structures=(), fields=smbios.Fields(), oem_strings=())
    yield own._replace(structures=(system,), fields=smbios.Fields(), oem_strings=())
    yield own._replace(structures=(system,), fields=smbios.Fields(family=b"F"), oem_strings=OEM_STRINGS[1])


OEM_STRINGS = (
    (),
    (b"io.systemd.stub.kernel-cmdline-extra=single", b"else"),
    (b"io.systemd.boot.loglevel=err",),
    (b"io.systemd.boot.loglevel=debug",),
    (b"io.systemd.stub.kernel-cmdline-extra=console=ttyS1",),
)
DEVICES = (
    VmFwUpdate("qemu-v5", 0x88, 4 << 20),
    VmFwUpdate("qemu-v5", 0, 1 << 20),
    VmFwUpdate("spec", 0, 4 << 20),
    VmFwUpdate("fuki-2024", 0x89, 4 << 20, disabled=True),
)

VALUES: dict[str, Values] = {
    "secure_boot": each("secure_boot", False, True),
    "confidential": each("confidential", None, "sev-snp", "tdx"),
    "memory": each("memory", 768 << 20, 3 << 30, 1 << 40),
    "hypervisor": each("hypervisor", False, True),
    "previous_initrd": each("previous_initrd", None, b"x", bytes(5000)),
    "devicetree": devicetrees,
    "devicetree_fixup": each(
        "devicetree_fixup",
        None,
        DevicetreeFixup(error="EFI_DEVICE_ERROR"),
        DevicetreeFixup(patches=(Patch(40, b"x"),)),
        DevicetreeFixup(needs=1 << 16, append=b"more"),
    ),
    "direct_boot": each("direct_boot", None, DirectBoot(), DirectBoot("single")),
    "tpm": each("tpm", None, ("sha256",), ("sha1", "sha384")),
    "rng": each("rng", False, True),
    "variables": variables,
    "boot_secret": each("boot_secret", None, b"\1" * 32),
    "keyboard_layout": each("keyboard_layout", None, "de-DE"),
    "esp_partition_uuid": each("esp_partition_uuid", None, UUID(int=0x1234)),
    "xbootldr_partition_uuid": each("xbootldr_partition_uuid", None, UUID(int=0x1234)),
    "console": each(
        "console", Console(), Console(True, 0, (0x2F8,)), Console(False, 1), Console(True, 2, (0x3F8, 0x2F8))
    ),
    "fw_cfg": each("fw_cfg", None, FwCfg(), FwCfg(False), *(FwCfg(True, device) for device in DEVICES)),
    "firmware": firmwares,
    "architecture": each("architecture", None, "ia32", "aa64"),
    "edid": panels,
    "smbios_table": tables,
    "smbios.oem_strings": each("oem_strings", *OEM_STRINGS),
    **{f"smbios.{field}": strings(field) for field in smbios.Fields._fields if not field.startswith(("bios_m", "enc"))},
}


def told(subject: Subject, host: Host) -> Json:
    told = boot_json(boot(subject.uki, host, subject.start))
    # A sentence for people, which names the entry that is taken to match.
    told["selection"].pop("reasons")
    return told


def known(told: Json) -> set[str]:
    return set(KEYS).difference(*(row["affects"] for row in told["unknown"]))


def wrong(subject: Subject, keys: tuple[str, ...], given: Json, real: Json) -> list[str]:
    """What was given as known and is otherwise; PCRs one by one, as far as the real boot has them."""
    found = [
        f"{subject.name}: {'+'.join(keys)} unknown: {key} is given as {given[key]!r:.99}, and is {real[key]!r:.99}"
        for key in sorted(known(given))
        if given[key] != real[key] and key in known(real)
    ]
    if given["profile"] is not None and real["profile"] is not None:
        found += [
            f"{subject.name}: {'+'.join(keys)} unknown: PCR {pcr} is given"
            for bank, values in given["pcrs"].items()
            for pcr, value in values.items()
            if value != real["pcrs"].get(bank, {}).get(pcr, value)
        ]
    return found


class Tally:
    def __init__(self) -> None:
        self.comparisons = 0
        self.wrong: list[str] = []

    def take(self, subject: Subject, *keys: str) -> None:
        """Every value of these keys, against a boot to which they are unknown, whatever it takes them to be."""
        given = told(subject, subject.host._replace(unknown=frozenset(keys)))
        hosts_ = [subject.host]
        for key in keys:
            hosts_ = [other for host in hosts_ for other in (host, *VALUES[key](subject._replace(host=host)))]
        for host in dict.fromkeys(hosts_):
            real = told(subject, host)
            self.comparisons += len(known(given))
            self.wrong += wrong(subject, keys, given, real)


def of_arguments(name: str, folder: Path, arguments: list[str]) -> Subject:
    """A recorded boot, from the arguments it is simulated with inside its folder."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        options = parsers.one("boot").parse_args(["uki.efi", "--smbios", "host.json", *arguments])
        host = hosts.load("host.json")
        start = start_options.start(options, host)
    finally:
        os.chdir(before)
    if start.esp is not None:
        start = start._replace(esp=str(folder / start.esp))
    # What the recording leaves open is taken to be as the file has it.
    return Subject(name, ukis.load(str(folder / "uki.efi")), host._replace(unknown=frozenset()), start)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> list[Subject]:
    """The project's own recordings."""
    subjects = []
    for name in CASES:
        folder, case = tmp_path_factory.mktemp("case"), case_of(name)
        (folder / "esp").mkdir()
        (folder / "uki.efi").write_bytes(image(case["uki"], case))
        (folder / "host.json").write_text(json.dumps(case["host"]), encoding="utf-8")
        for row in case["files"]:
            path = folder / row["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image(row["sections"], case) if "sections" in row else content(row))
        subjects.append(of_arguments(name, folder, case["args"]))
    return subjects


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[Subject]:
    """Each fixture UKI on each fixture host of its architecture, and by the newest proposal."""
    folder = tmp_path_factory.mktemp("fixtures")
    build_fixtures.build(folder)
    machines = {path.stem: hosts.load(str(path)) for path in sorted((ROOT / "fixtures/hosts").glob("*.json"))}
    subjects = []
    for path in sorted(folder.glob("*.efi")):
        uki = ukis.load(str(path))
        for name, host in machines.items():
            if host.architecture in (None, uki.machine):
                own = host._replace(unknown=frozenset())
                subjects.append(Subject(f"{path.stem} on {name}", uki, own, DEFAULT_START))
    return subjects


def sampled(subjects: list[Subject], count: int, *, seed: int) -> Iterator[tuple[Subject, str]]:
    """Pairs of subject and key, the same ones in each run, every key as often as the others."""
    random = Random(seed)
    for number in range(count):
        yield random.choice(subjects), sorted(VALUES)[number % len(VALUES)]


def test_every_key_that_can_be_unknown_has_values():
    """A key without values would stay doubted as read: there is none."""
    offered = offers(make_uki(), (), boot(make_uki(), Host()).model, None, None)
    for name in _NAMES:
        assert alternatives(Host(), name, offered) is not None, name


def test_what_is_known_is_the_same_for_all_values_of_recordings(recorded: list[Subject]):
    tally = Tally()
    for subject, key in sampled(recorded, 5 * len(VALUES), seed=1):
        tally.take(subject, key)
    assert tally.wrong == []
    assert tally.comparisons > 2000


def test_what_is_known_is_the_same_for_all_values_of_fixtures(built: list[Subject]):
    tally = Tally()
    for subject, key in sampled(built, 3 * len(VALUES), seed=2):
        tally.take(subject, key)
    assert tally.wrong == []
    assert tally.comparisons > 1000


@pytest.mark.parametrize("host", ["example-capsule", "example-capsule-updated"])
def test_what_an_update_device_of_any_proposal_leads_to(built: list[Subject], host: str):
    """A stub of 2024's proposal stops for ever where there is such a device and no fw_cfg to be asked."""
    tally = Tally()
    tally.take(next(subject for subject in built if subject.name == f"capsule on {host}"), "fw_cfg")
    assert tally.wrong == []


# Keys that matter together.
PAIRS = (
    ("secure_boot", "confidential"),
    ("esp_partition_uuid", "rng"),
    ("esp_partition_uuid", "variables"),
    ("rng", "boot_secret"),
    ("smbios.family", "fw_cfg"),
    ("edid", "smbios.product_sku"),
    ("secure_boot", "variables"),
)


@pytest.mark.parametrize("keys", PAIRS, ids="+".join)
def test_what_is_known_is_the_same_for_all_values_of_two_keys(
    keys: tuple[str, ...], recorded: list[Subject], built: list[Subject]
):
    tally = Tally()
    for subject in Random(3).sample([*recorded, *built], 2):
        tally.take(subject, *keys)
    assert tally.wrong == []


# Comparisons to expect of every key on every recording of a kind, about 1,700 each.
RECORDED = {"golden": 400_000, "golden-releases": 250_000, "golden-aa64": 350_000, "golden-stubble": 80_000}


@pytest.mark.heavy
@pytest.mark.parametrize(("kind", "least"), RECORDED.items(), ids=list(RECORDED))
def test_every_key_on_every_recording(kind: str, least: int, shared: Path):
    tally = Tally()
    for folder in recordings(kind):
        arguments = json.loads((folder / "boot.json").read_text())["args"]
        subject = of_arguments(folder.name, folder, arguments)
        for key in VALUES:
            tally.take(subject, key)
    print(tally.comparisons, "comparisons")
    assert tally.wrong == []
    assert tally.comparisons > least


@pytest.mark.heavy
def test_every_key_on_fixtures(recorded: list[Subject], built: list[Subject]):
    tally = Tally()
    for subject in (*recorded, *built):
        for key in VALUES:
            tally.take(subject, key)
    print(tally.comparisons, "comparisons")
    assert tally.wrong == []
    assert tally.comparisons > 150_000


@pytest.mark.heavy
def test_every_pair_of_keys_on_fixtures(recorded: list[Subject], built: list[Subject]):
    tally = Tally()
    random = Random(4)
    for keys in combinations(VALUES, 2):
        for subject in random.sample([*recorded, *built], 4):
            tally.take(subject, *keys)
    print(tally.comparisons, "comparisons")
    assert tally.wrong == []
    assert tally.comparisons > 200_000


@pytest.mark.parametrize("key", ["secure_boot", "console", "previous_initrd", "smbios.oem_strings", "variables"])
def test_a_key_that_is_not_doubted_is_found_out(key: str, built: list[Subject], monkeypatch: pytest.MonkeyPatch):
    """The comparison sees it where the product has no values for a key any more."""
    known_classes = dict(supposed._CLASSES)
    monkeypatch.setattr(supposed, "_CLASSES", {**known_classes, key: lambda host, offered: ()})
    tally = Tally()
    for subject in Random(5).sample(built, 6):
        tally.take(subject._replace(start=Start(stub="257") if key == "previous_initrd" else subject.start), key)
    assert tally.wrong


# Rules one by one.


def doubted(uki: Uki, *keys: str, host: Host | None = None, start: Start = DEFAULT_START) -> Unknown:
    """What is told of the first of the keys."""
    result = boot(uki, (host or Host())._replace(unknown=frozenset(keys)), start)
    return next(row for row in result.trace if isinstance(row, Unknown) and row.what == keys[0])


STUB_257 = Start(stub="257")
PARTITION = UUID("5eed0e5b-1ab0-4000-8000-0000000000e5")
REFUSED = {"outcome", "profile", "sections", "selection", "load_options", "cmdline", "initrd", "variables"}


def signed(uki: Uki) -> bytes:
    """The UKI with a certificate table, which is enough where no certificates are given."""
    image = bytearray(uki.image.data)
    while len(image) % 8:
        image.append(0)
    offset = int.from_bytes(image[0x3C:0x40], "little") + 24 + 112 + 4 * 8
    image[offset : offset + 8] = len(image).to_bytes(4, "little") + (16).to_bytes(4, "little")
    return bytes(image) + bytes((16, 0, 0, 0, 0, 2, 2, 0)) + bytes(8)


def loaded(data: bytes) -> Uki:
    return Uki(pe.open_bytes(data, "uki.efi"))


def test_secure_boot_decides_whether_an_unsigned_image_starts():
    plain = make_uki((".cmdline", b"quiet"), (".initrd", b"x"))
    row = doubted(plain, "secure_boot", host=Host(rng=True, esp_partition_uuid=PARTITION))
    assert {*row.affects} >= REFUSED | {"esp_changes"}
    assert row.why.endswith(
        "and the boot may end otherwise: The firmware refuses an image without a trusted signature."
    )
    # No register has another value where the stub runs at all.
    assert row.pcrs == ()


def test_secure_boot_does_nothing_to_a_signed_image_with_its_own_line():
    uki = loaded(signed(make_uki((".cmdline", b"quiet"))))
    assert doubted(uki, "secure_boot").affects == ()
    given = doubted(uki, "secure_boot", start=Start(load_options=utf16z("other")))
    assert {*given.affects} == {"load_options", "cmdline", "measurements", "pcrs"}
    assert given.pcrs == (12,)


def test_secure_boot_and_confidential_matter_together():
    """A line that is given is dropped under Secure Boot only if the UKI has its own, or in a confidential guest.

    The kernel gets it all the same, but it is not measured.
    """
    uki, start = loaded(signed(make_uki())), Start(load_options=utf16z("given"))
    assert 12 not in doubted(uki, "secure_boot", start=start).pcrs
    assert 12 not in doubted(uki, "confidential", start=start).pcrs
    assert 12 in doubted(uki, "secure_boot", "confidential", start=start).pcrs
    assert 12 in doubted(uki, "confidential", "secure_boot", start=start).pcrs


@pytest.mark.parametrize(("machine", "moves"), [(0xAA64, True), (0x8664, False)])
def test_on_arm_the_build_of_the_firmware_moves_what_is_in_memory(machine: int, moves: bool):
    # Too large for the bin of loader code.
    kernel = make_pe((".text", bytes(512)), machine=machine)
    uki = make_uki((".splash", bytes(1 << 17)), linux=kernel, machine=machine)
    for key in ("firmware", "firmware.vendor", "devicetree"):
        assert ("memory" in doubted(uki, key).affects) == moves, key


def test_257_fails_on_an_earlier_initrd():
    uki = make_uki((".cmdline", b"quiet"), (".initrd", b"x"))
    assert {*doubted(uki, "previous_initrd", start=STUB_257).affects} >= {"outcome", "load_options"}
    assert "outcome" not in doubted(uki, "previous_initrd").affects


def test_a_confidential_guest_measures_without_a_tpm():
    row = doubted(make_uki(), "confidential", host=Host(tpm=None))
    assert {*row.affects} >= {"variables", "measurements", "rtmrs"}


def test_a_variable_may_say_that_the_loader_did_the_seed():
    row = doubted(make_uki(), "variables", host=Host(rng=True, esp_partition_uuid=PARTITION))
    assert {*row.affects} >= {"variables", "esp_changes", "initrd"}


def test_partition_and_variables_matter_together(tmp_path: Path):
    """Without a partition there is no seed file; without a generator it takes a token to rewrite it."""
    (tmp_path / "loader").mkdir()
    (tmp_path / "loader" / "random-seed").write_bytes(bytes(32))
    start = Start(esp=str(tmp_path))
    assert "esp_changes" not in doubted(make_uki(), "variables", start=start).affects
    assert "esp_changes" not in doubted(make_uki(), "esp_partition_uuid", start=start).affects
    assert "esp_changes" in doubted(make_uki(), "variables", "esp_partition_uuid", start=start).affects


def test_another_architecture_refuses_the_image():
    assert {*doubted(make_uki(), "architecture").affects} >= {"outcome", "variables", "measurements"}


MACHINE = smbios.Fields(manufacturer=b"Maker", product_name=b"Box", product_sku=b"SKU", family=b"Boxes")
BY_NAME = chid.chids(MACHINE, None)[9]
FOREIGN = UUID("11111111-2222-5333-8444-555555555555")
assert BY_NAME is not None


def trees(*entries: tuple[int, UUID | None, str], names: tuple[str, ...] = ("a,a", "b,b")) -> Uki:
    return make_uki((".hwids", table(*entries)), *((".dtbauto", devicetree(name)) for name in names))


TREE_DOUBTS = {"hwids", "sections", "selection", "devicetree", "measurements", "pcrs"}


def test_an_unknown_panel_may_be_that_of_any_entry():
    uki = trees((1, BY_NAME, "a,a"), (1, FOREIGN, "b,b"))
    row = doubted(uki, "edid", host=Host(fields=MACHINE))
    assert {*row.affects} >= TREE_DOUBTS | {"chids"}
    assert row.pcrs == (11,)


@pytest.mark.parametrize(
    ("uki", "start"),
    [
        # It looks up no panel.
        (trees((1, BY_NAME, "a,a"), (1, FOREIGN, "b,b")), STUB_257),
        # Every entry leads to the same section: another one may match.
        (trees((1, BY_NAME, "a,a"), (1, FOREIGN, "a,a")), DEFAULT_START),
        (make_uki((".dtbauto", devicetree("a,a"))), DEFAULT_START),
        (make_uki(), DEFAULT_START),
    ],
)
def test_an_unknown_panel_that_changes_nothing(uki: Uki, start: Start):
    row = doubted(uki, "edid", host=Host(fields=MACHINE), start=start)
    assert not {*row.affects} - {"chids", "hwids"}
    assert row.pcrs == ()


def test_no_panel_may_be_what_an_entry_asks_for():
    uki = trees((1, BY_NAME, "a,a"), (1, UUID(int=0), "b,b"))
    assert {*doubted(uki, "edid", host=Host(fields=MACHINE)).affects} >= TREE_DOUBTS
    # Without a panel the first ids are absent whatever the strings are.
    result = boot(uki, Host(fields=MACHINE, unknown=frozenset({"smbios.family"})))
    assert result.sections is not None
    assert result.sections.matches[1] is not None
    assert result.sections.matches[1].string == b"b,b"


def test_a_string_counts_by_the_types_that_hold_it():
    uki = trees((1, BY_NAME, "a,a"), (1, FOREIGN, "b,b"))
    host = Host(fields=MACHINE)
    for key in ("smbios.family", "smbios.product_sku", "smbios.manufacturer", "smbios", "smbios_table"):
        assert {*doubted(uki, key, host=host).affects} >= TREE_DOUBTS | {"chids"}, key
    for key in ("smbios.bios_version", "smbios.enclosure_type"):
        assert doubted(uki, key, host=host).affects == ("chids",)
    # Type 3, by which the machine is found, comes before all that are looked up without the panel.
    found = trees((1, chid.chids(MACHINE, None)[3], "a,a"), (1, FOREIGN, "b,b"))
    assert doubted(found, "smbios.family", host=Host(fields=MACHINE), start=STUB_257).affects != ("chids",)


def test_a_device_matters_where_a_firmware_may_be_chosen():
    """Neither alone: no entry is known to match, and there is no device; both together update the firmware."""
    uki = make_uki((".hwids", table((2, FOREIGN, "fw"))), (".efifw", firmware("fw")))
    host = Host(fields=MACHINE)
    assert "outcome" not in doubted(uki, "edid", host=host).affects
    assert "outcome" not in doubted(uki, "fw_cfg.vmfwupdate", host=host).affects
    assert "outcome" in doubted(uki, "edid", "fw_cfg.vmfwupdate", host=host).affects


def test_memory_that_may_be_too_small():
    uki = make_uki((".initrd", bytes(100)))
    assert doubted(uki, "memory").affects == ("memory",)
    large = loaded(pe.build([pe.SectionSpec(".initrd", b"x", virtual_size=600 << 20)]))
    assert "outcome" in doubted(large, "memory").affects


def test_an_offset_outside_of_the_section_may_end_the_boot():
    """257 follows it (spec of the format: offsets are relative to the section)."""
    data = bytearray(table((1, BY_NAME, "a,a")))
    data[24:28] = b"\xff\xff\xff\xff"
    uki = make_uki((".hwids", bytes(data)), (".dtbauto", devicetree("a,a")))
    found = [row for row in boot(uki, Host(fields=MACHINE), STUB_257).trace if isinstance(row, Unknown)]
    assert any({"outcome", *TREE_DOUBTS} <= {*row.affects} for row in found)
    # An entry of another machine is not followed; one that may be this machine's is.
    foreign = bytearray(table((1, FOREIGN, "a,a")))
    foreign[24:28] = b"\xff\xff\xff\xff"
    uki = make_uki((".hwids", bytes(foreign)), (".dtbauto", devicetree("a,a")))
    assert not [row for row in boot(uki, Host(fields=MACHINE), STUB_257).trace if isinstance(row, Unknown)]
    assert "outcome" in doubted(uki, "smbios.family", host=Host(fields=MACHINE), start=STUB_257).affects


def test_a_devicetree_of_the_firmware():
    assert {*doubted(trees(), "devicetree").affects} >= {"selection", "devicetree", "pcrs"}
    assert doubted(make_uki(), "devicetree").affects == ("devicetree",)


def test_a_fix_up_is_asked_for_where_a_devicetree_is_installed():
    """Which happens only with a devicetree of the firmware's that the UKI has one for."""
    assert "log" in doubted(trees(), "devicetree", "devicetree_fixup").affects
    assert "log" in doubted(trees(), "devicetree_fixup", "devicetree").affects
    assert doubted(trees(), "devicetree_fixup").affects == ()


@pytest.mark.parametrize(("rng", "given"), [(True, False), (False, False)])
def test_a_boot_secret_is_asked_for_where_a_seed_is(rng: bool, given: bool):
    host = Host(rng=rng, esp_partition_uuid=PARTITION)
    assert ("initrd" in doubted(make_uki(), "boot_secret", host=host).affects) is rng


def test_nothing_is_hashed_again():
    """Whatever banks the values bring, the sections are hashed for those of the machine alone."""
    uki = make_uki((".initrd", bytes(4096)))
    host = Host(unknown=frozenset({"tpm", "secure_boot", "memory", "console", "confidential"}))
    boot(uki, host)
    assert {bank for _, bank in uki.digests.states} == {"sha256"}


def test_the_number_of_boots_is_bounded():
    """Six keys, as a captured host has them: a dozen boots; and none at all where all is known."""
    uki = trees((1, BY_NAME, "a,a"), (1, FOREIGN, "b,b"))
    keys = frozenset({"edid", "secure_boot", "tpm", "rng", "console", "firmware"})
    assert len(boot(uki, Host(fields=MACHINE, unknown=keys)).others) <= 12
    assert boot(uki, Host(fields=MACHINE)).others == ()


def test_what_was_not_tried_leaves_every_register_open():
    """A run whose every trial asks for more than the one before: where trials end, nothing is known."""
    reads = Counter({"memory": 1})

    def trial() -> Trial:
        offered = Offers("x64", (), False, (), (), False, None)
        return Trial({"pcrs": 0, "outcome": 0}, {("sha256", 11): bytes(32)}, Counter(reads), offered, "ended")

    def again(row: Supposed) -> Trial:
        reads.update(("memory", "console", "rng", "tpm", "firmware", "secure_boot"))
        return trial()

    host = Host(unknown=frozenset({"memory", "console", "rng", "tpm", "firmware", "secure_boot"}))
    found = doubts(host, trial(), again)
    left_open = [row for row in found.values() if row.affects]
    assert left_open
    assert all(row.affects == ("pcrs", "outcome") and row.pcrs == (11,) for row in left_open)
