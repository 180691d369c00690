"""The lab of whole boots, as far as it goes without a virtual machine: what goes into one, and what comes out."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import tarfile
from pathlib import Path

import pytest

from scripts.lab import images
from scripts.lab_linux import compare, machine, packages, peers, record, scenarios, ukify, verify
from stubsim.errors import StubsimError
from stubsim.formats import cpio, eventlog, pe
from stubsim.formats.pe import SectionSpec

MAGIC = b"#### LoaderInfo: systemd-%s 262.1 ####"
LOG = [
    eventlog.Event(4, 0x80000007, {"sha256": hashlib.sha256(b"a").digest()}, b"a"),
    eventlog.Event(11, 13, {"sha256": hashlib.sha256(b"b").digest()}, ".linux\0".encode("utf-16-le")),
]


def program(kind: bytes) -> bytes:
    code = SectionSpec(".text", b"code" * 128, characteristics=0x6000_0020)
    magic = [SectionSpec(".sdmagic", MAGIC % kind)] if kind else []
    return pe.build([code, *magic], entry_point=0x1000)


@pytest.fixture(autouse=True)
def debian(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory):
    """Packages that nobody has to fetch."""
    folder = tmp_path_factory.mktemp("debian")
    contents = {"kernel": program(b""), "stub": program(b"stub"), "loader": program(b"boot"), "shim": b"MZ shim"}
    for name, data in contents.items():
        (folder / name).write_bytes(data)
        monkeypatch.setattr(packages, name, lambda suite, name=name: folder / name)
    (folder / "busybox").write_bytes(b"busybox")
    monkeypatch.setattr(packages, "busybox", lambda: folder / "busybox")
    monkeypatch.setattr(packages, "modules", lambda suite: {"efivarfs.ko": b"module"})
    monkeypatch.setattr(scenarios, "signed", lambda image, key: image + key.encode())
    monkeypatch.setattr(ukify, "build", lambda suite, stub, sections: images.uki(stub.read_bytes(), list(sections)))


@pytest.mark.parametrize("name", scenarios.names())
def test_a_scenario_is_a_boot(name: str):
    scenario = scenarios.read(name)
    files, direct = scenario.partitions(), scenario.direct()
    assert scenario.shows
    assert any(path.lower().endswith(".efi") for tree in files.values() for path in tree) or "kernel" in direct
    if scenario.after is not None:
        assert scenario.after in scenarios.names()
    # Where to look for the UKI, as `stubsim boot` is told.
    uki = scenario.content.get("uki", "kernel" if direct else "esp/EFI/Linux/lab.efi")
    tree, _, path = uki.partition("/")
    data = direct["kernel"] if direct else files[tree][path]
    assert isinstance(data, bytes)
    assert b"systemd-stub 262.1" in data


def test_what_a_scenario_changes():
    files = scenarios.read("secure-boot").partitions()["esp"]
    assert files["EFI/BOOT/BOOTX64.EFI"] == program(b"boot") + b"db"
    assert files["loader/loader.conf"] == b"timeout 0\n"
    assert files["EFI/Linux/lab.efi.extra.d/good.addon.efi"].endswith(b"db")
    assert not files["EFI/Linux/lab.efi.extra.d/unsigned.addon.efi"].endswith(b"db")
    assert [*scenarios.read("update-b").partitions()["esp"]] == ["EFI/Linux/lab.efi"]


def test_a_wrong_key_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scenarios, "FOLDER", tmp_path)
    (tmp_path / "a.toml").write_text('shows = "x"\nkernels = "sid"\n')
    with pytest.raises(StubsimError, match="kernels"):
        scenarios.read("a")
    with pytest.raises(StubsimError, match="no such scenario"):
        scenarios.read("b")


def test_the_guest_is_one_archive_after_the_other():
    import gzip

    names = {member.name for member in cpio.parse(gzip.decompress(scenarios.initrd("sid")))}
    assert {"./init", "bin/busybox", "modules/efivarfs.ko"} <= names


def test_the_guest_is_told_what_to_extend():
    import gzip

    (phases,) = (member for member in cpio.parse(gzip.decompress(scenarios.initrd("sid"))) if member.name == "./phases")
    rows = [line.split() for line in bytes(phases.data).decode().splitlines()]
    assert [row[0] for row in rows[::4]] == ["none", "enter-initrd", "leave-initrd", "sysinit", "ready"]
    assert ["sysinit", "sha256", "000b", hashlib.sha256(b"sysinit").hexdigest()] in rows


def test_profiles_of_ukify():
    """The base with its first profile is the UKI, each further one is built by itself and joined."""
    names = [".linux", ".profile", ".cmdline", ".profile", ".cmdline", ".profile"]
    groups = ukify.groups([SectionSpec(name) for name in names])
    assert [[row.name for row in group] for group in groups] == [names[:3], names[3:5], names[5:]]


def test_policies_that_the_guest_tells():
    told = {"policies/none.sha256": b"aa\n", "policies/ready.sha384": b"bb\n", "pcrs/sha256/4": b"cc"}
    assert record.policies(told) == {"sha256": {"none": "aa"}, "sha384": {"ready": "bb"}}


def archive(files: dict[str, bytes]) -> bytes:
    """What the guest writes to the serial port, among the words of others."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size, member.mode = len(content), 0o400
            tar.addfile(member, io.BytesIO(content))
    return b"BdsDxe: starting\r\nBEGIN SEEN\r\n" + base64.encodebytes(data.getvalue()) + b"END SEEN\r\nreboot"


def test_what_the_guest_tells():
    files = machine.told(archive({"cmdline": b"quiet\n", "extra/a.cred": b"secret"}))
    assert files == {"cmdline": b"quiet\n", "extra/a.cred": b"secret", "mode/extra/a.cred": b"400 0 0 6"}
    assert machine.told(b"BEGIN SEEN cut off") == {}


def test_the_log_is_found_in_memory():
    """The longest of its copies; the area behind the last event is empty, and other words are no log."""
    short, long = eventlog.build(LOG[:1], ["sha256"]), eventlog.build(LOG, ["sha256"])
    area = b"\xff" * 0x10000
    memory = b"Spec ID Event03\0 in a program" + bytes(99) + short + area + bytes(7) + long + area
    assert machine.log_in(memory) == long
    assert machine.log_in(bytes(999)) == b""


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A record of the scenario base on which both sides agree."""
    scenario = scenarios.read("base")
    for path, data in scenario.partitions()["esp"].items():
        file = tmp_path / "esp" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    table = base64.b64encode(bytes.fromhex("011b0000" + "00" * 25 + "7f0401000000")).decode()
    host = {"schema": "stubsim/host/1", "secure_boot": False, "memory": "1G", "smbios_table": {"base64": table}}
    boot = {"uki": "esp/EFI/Linux/lab.efi", "args": ["--esp", "esp", "--entry", "default"]}
    (tmp_path / "host.json").write_text(json.dumps(host))
    (tmp_path / "boot.json").write_text(json.dumps(boot))
    simulated, log, policies, _ = compare.simulated(tmp_path)
    tags = {row["description"]: row["tag"] for row in simulated["measurements"]}
    expected = {
        "cmdline": simulated["cmdline"], "initrd": {key: simulated["initrd"][key] for key in ("size", "sha256")},
        "pcrs": {"sha256": {str(pcr): log["pcrs"]["sha256"].get(str(pcr)) for pcr in range(16)}},
        "variables": {
            row["name"]: {"attributes": row["attributes"], "data": row["data"]}
            for row in simulated["variables"] if row["attributes"] & 4
        },
        "events": [row | {"tag": tags.get(row["description"])} for row in log["events"]],
        "esp_changes": {}, "renamed": {}, "policies": policies,
    }  # fmt: skip
    (tmp_path / "expect.json").write_text(json.dumps(expected))
    return tmp_path


def test_a_record_holds_or_differs(kept: Path, capsys: pytest.CaptureFixture[str]):
    assert verify.told(kept)
    assert not (kept / "differs.json").exists()
    expected = json.loads((kept / "expect.json").read_text())
    event = next(row for row in expected["events"] if row["pcr"] == 11)
    event["digests"]["sha256"] = "00" * 32
    expected["variables"]["LoaderInfo"]["data"] = "00"
    expected["esp_changes"]["loader/random-seed"] = 32
    (kept / "expect.json").write_text(json.dumps(expected))
    assert not verify.told(kept)
    assert "differs: measurements, esp_changes, variables, log" in capsys.readouterr().out
    rows = json.loads((kept / "differs.json").read_text())
    assert rows["esp_changes"] == {"stubsim": {"loader/random-seed": None}, "machine": {"loader/random-seed": 32}}
    assert [*rows["variables"]["machine"]] == ["LoaderInfo"]


def test_a_prediction_is_compared_as_a_whole(kept: Path, capsys: pytest.CaptureFixture[str]):
    said = compare.simulated(kept)
    assert verify.told(kept, said)
    said.policies["sha256"]["ready"] = "00" * 32
    assert not verify.told(kept, said)
    verdicts = [line.split("  ")[-1].partition(";")[0].strip() for line in capsys.readouterr().out.splitlines()]
    assert verdicts == ["predicted: holds", "predicted: differs: policies"]
    assert [*json.loads((kept / "predicted-differs.json").read_text())] == ["policies"]


def test_policies_of_the_guest_are_compared(kept: Path):
    expected = json.loads((kept / "expect.json").read_text())
    assert [*expected["policies"]["sha256"]] == ["none", "enter-initrd", "leave-initrd", "sysinit", "ready"]
    expected["policies"]["sha256"]["sysinit"] = "00" * 32
    (kept / "expect.json").write_text(json.dumps(expected))
    assert [*compare.compared(kept).differ] == ["policies"]


def test_a_boot_that_the_simulator_refuses_differs(kept: Path):
    boot = json.loads((kept / "boot.json").read_text())
    (kept / "boot.json").write_text(json.dumps(boot | {"args": ["--esp", "esp", "--entry", "nothing"]}))
    assert [*compare.compared(kept).differ] == ["refused"]


def test_what_the_simulator_does_not_know_is_no_difference_and_said(kept: Path, capsys: pytest.CaptureFixture[str]):
    host = json.loads((kept / "host.json").read_text())
    del host["smbios_table"]
    (kept / "host.json").write_text(json.dumps(host))
    expected = json.loads((kept / "expect.json").read_text())
    (kept / "expect.json").write_text(json.dumps(expected | {"events": expected["events"][:-1]}))
    assert not verify.told(kept)
    assert re.search(r"differs: log; not known: measurements, \d+ of \d+ events of the log\n", capsys.readouterr().out)


def test_files_that_a_boot_makes_and_renames(tmp_path: Path):
    for name, data in {
        "esp/a+3.efi": b"uki",
        "esp/seed": b"1",
        "esp-after/a+2-1.efi": b"uki",
        "esp-after/seed": b"22",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    assert record.changes(tmp_path) == {"esp_changes": {"seed": 2}, "renamed": {"a+3.efi": "a+2-1.efi"}}


def tool(name: str, *arguments: str, suite: str = "sid") -> str:
    """The peers, as far as they are asked: what they write is of the files that they are given."""
    given = {part.partition("=")[0]: part.partition("=")[2] for part in arguments if "=" in part}
    if name == "measure":
        sections = [(option, Path(path).read_bytes()) for option, path in given.items() if path.startswith("/")]
        digests = [part for option, data in sections for part in (f".{option[2:]}\0".encode(), data)]
        value = peers.extended(hashlib.sha256(part).hexdigest() for part in digests)
        return json.dumps({"sha256": [{"pcr": 11, "hash": value}]})
    command, path = arguments[:2]
    pcr = 9 if "kernel" in command else 4
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    if path.endswith("cmdline"):
        # As the tool does: UTF-16 with a NUL, the load options of a kernel.
        digest = hashlib.sha256((Path(path).read_text() + "\0").encode("utf-16-le")).hexdigest()
    records = [{"pcr": pcr, "digests": [{"hashAlg": "sha256", "digest": digest}]}]
    Path(given["--pcrlock"]).write_text(json.dumps({"records": records}))
    return ""


def test_who_is_right(kept: Path, monkeypatch: pytest.MonkeyPatch):
    """Each peer by register: what it gives beside what the machine had; where it says nothing, or refuses."""
    boot = json.loads((kept / "boot.json").read_text()) | {"systemd_boot": "sid"}
    (kept / "boot.json").write_text(json.dumps(boot))
    monkeypatch.setattr(peers, "tool", tool)
    found = peers.verdicts(peers.read(kept))
    # The kernel inside is no Linux, so that stubsim has no PCR 9.
    assert found["stubsim"] == {"4": "right", "9": "-", "11": "right", "12": "right", "13": "right"}
    assert found["measure 257"] == found["measure 262"]
    assert found["measure 262"] == {"4": "-", "9": "-", "11": "right", "12": "-", "13": "-"}
    # Here it takes a file's digest for an image's, and knows neither console= nor /.extra.
    assert found["pcrlock"] == {"4": "wrong", "9": "wrong", "11": "wrong", "12": "-", "13": "-"}

    def refuses(name: str, *arguments: str, suite: str = "sid") -> str:
        raise StubsimError("Bad message")

    monkeypatch.setattr(peers, "tool", refuses)
    assert set(peers.verdicts(peers.read(kept))["measure 257"].values()) == {"refuses"}
    (row,) = peers.table([peers.read(kept)])
    assert row[:3] == [f"`{kept.name}`", "right", "refuses"]
