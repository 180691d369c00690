"""What a boot costs: the bytes that a file has, not those that its headers claim.

Every image here is a few kilobytes and says that it is megabytes, or gigabytes. Counted is what is allocated (by
tracemalloc) and what is hashed, so nothing depends on the machine's speed.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from stubsim import digests
from stubsim.cli import main
from stubsim.formats import efifw, fdt, hwids, pe
from stubsim.formats.pe import SectionSpec
from stubsim.hosts import Host, fixture, recognise
from stubsim.result import Boot
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.stub.models import NEWEST
from stubsim.uki import Uki
from tests.samples import CHID, KERNEL, MACHINE, written

MB, GB = 1 << 20, 1 << 30
# More than any copy of it could hide in.
CLAIMED = 64 * MB
ALLOCATED_MAX = 12 * MB
HOST = fixture.from_json({"smbios": {"manufacturer": "Example"}, "memory": "64G"})
NAMES = tuple(name for name in NEWEST.sections if name not in (".dtbauto", ".efifw"))


class Cost:
    """Bytes at the most that were allocated at a time, and each range that was hashed."""

    def __init__(self) -> None:
        self.allocated = 0
        self.hashed: list[int] = []


@pytest.fixture
def cost(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cost]:
    found = Cost()
    update = digests._update

    def counted(state: Any, data: Any) -> None:
        found.hashed.append(len(data))
        update(state, data)

    # What is imported on the way is no cost of the image's, nor is the buffer that a host is read into.
    booted(uki())
    monkeypatch.setattr(recognise, "MAXIMUM_SIZE", MB)
    monkeypatch.setattr(digests, "_update", counted)
    tracemalloc.start()
    yield found
    found.allocated = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.allocated < ALLOCATED_MAX


def uki(*sections: SectionSpec, linux: SectionSpec | None = None) -> bytes:
    base = [SectionSpec(".sdmagic", b"#### LoaderInfo: systemd-stub 262.1-1 ####\0"), SectionSpec(".osrel", b"ID=x\n")]
    return pe.build([*base, linux or SectionSpec(".linux", KERNEL), *sections])


def claiming(name: str, size: int, data: bytes = b"ID=claimed\n") -> SectionSpec:
    return SectionSpec(name, KERNEL if name == ".linux" else data, virtual_size=size)


def booted(data: bytes, host: Host = HOST, **options: Any) -> Boot:
    return boot(Uki(pe.open_bytes(data, "uki.efi")), host, Start(**options))


def zeros_after(data: bytes, size: int) -> bytes:
    state = hashlib.sha256(data)
    for _ in range((size - len(data)) // MB):
        state.update(bytes(MB))
    state.update(bytes((size - len(data)) % MB))
    return state.digest()


def measured(result: Boot, name: str) -> bytes:
    """The digest of a section's data: the second event of its name."""
    return [event.digests["sha256"] for event in result.trace if getattr(event, "description", None) == name][1]


@pytest.mark.parametrize("name", NAMES)
def test_a_section_of_the_base(name: str, cost: Cost):
    sections = [claiming(name, CLAIMED)] if name != ".osrel" else []
    data = uki(*sections) if name != ".linux" else uki(linux=claiming(name, CLAIMED))
    if name == ".osrel":
        data = pe.build([claiming(name, CLAIMED), SectionSpec(".linux", KERNEL)])
    result = booted(data)
    assert result.outcome.status == "kernel-started"
    if name != ".pcrsig":
        assert measured(result, name) == zeros_after(KERNEL if name == ".linux" else b"ID=claimed\n", CLAIMED)
    assert sum(cost.hashed) < CLAIMED + 2 * MB


@pytest.mark.parametrize("name", [name for name in NAMES if name != ".profile"])
def test_a_section_of_a_profile(name: str, cost: Cost):
    """The base's own, as large, is overridden and not hashed."""
    base = [] if name in (".osrel", ".linux") else [claiming(name, CLAIMED)]
    data = uki(*base, SectionSpec(".profile", b"ID=one\n"), claiming(name, CLAIMED + 1))
    result = booted(data)
    assert result.outcome.status == "kernel-started"
    assert sum(cost.hashed) < CLAIMED + 2 * MB


@pytest.mark.parametrize("name", [".cmdline", ".uname", ".dtb", ".initrd", ".ucode", ".linux", ".hwids", ".sbat"])
def test_a_section_of_an_addon(name: str, tmp_path: Path, cost: Cost):
    folder = tmp_path / "loader" / "addons"
    folder.mkdir(parents=True)
    addon = pe.build([claiming(name, CLAIMED), *([] if name == ".cmdline" else [SectionSpec(".cmdline", b"more")])])
    (folder / "a.addon.efi").write_bytes(addon)
    result = booted(uki(), esp=str(tmp_path))
    assert result.outcome.status == "kernel-started"
    assert sum(cost.hashed) < CLAIMED + 2 * MB


@pytest.mark.parametrize("name", [*NAMES, ".dtbauto", ".efifw", ".other"])
def test_nothing_is_hashed_of_an_image_that_does_not_fit(name: str, cost: Cost):
    data = pe.build([SectionSpec(".osrel", b"ID=x"), SectionSpec(".linux", KERNEL), claiming(name, 3 * GB, bytes(9))])
    result = booted(data, HOST._replace(memory=2 * GB))
    assert result.outcome.message == "The image does not fit into the memory."
    assert cost.hashed == []


def test_a_kernel_with_a_huge_section_inside(cost: Cost):
    kernel = pe.build(
        [SectionSpec(".text", bytes(512)), SectionSpec(".bss", b"x", virtual_size=2 * GB)], entry_point=0x1000
    )
    for stub in ("257", "262"):
        result = booted(uki(linux=SectionSpec(".linux", kernel)), stub=stub)
        assert result.outcome.status == "kernel-started"
    assert sum(cost.hashed) < MB


def test_many_devicetrees_and_firmwares(cost: Cost):
    table = hwids.build([(hwids.DEVICETREE, CHID, "n", "last"), (hwids.UEFI_FW, CHID, "n", "last")])
    blobs = [claiming(".dtbauto", GB, fdt.build([f"board{number}"])) for number in range(60)]
    blobs += [claiming(".efifw", GB, efifw.build(f"fw{number}", b"payload")) for number in range(60)]
    blobs += [
        claiming(".dtbauto", CLAIMED, fdt.build(["last"])), claiming(".efifw", CLAIMED, efifw.build("last", b"x")),
    ]  # fmt: skip
    # Each begins behind the one before it and lies over the rest of that.
    blobs = [blob._replace(virtual_address=MB + 4096 * number) for number, blob in enumerate(blobs)]
    data = uki(SectionSpec(".hwids", table), *blobs)
    result = booted(data, fixture.from_json({"smbios": MACHINE, "memory": "64G"}))
    assert result.sections is not None
    chosen = [result.sections.section(name) for name in (".dtbauto", ".efifw")]
    assert [section and section.virtual_size for section in chosen] == [CLAIMED, CLAIMED]
    assert sum(cost.hashed) < 2 * CLAIMED + 2 * MB


def test_as_many_sections_as_the_format_has_room_for(cost: Cost):
    """65535 rows, each over all before it."""
    count = 0xFFFF
    own = [SectionSpec(".osrel", b"ID=x"), SectionSpec(".linux", KERNEL)]
    small = pe.build(own, file_alignment=1)
    image = pe.open_bytes(small, "small.efi")
    table = image.sections[0].header_offset
    headers = table + 40 * count
    rows = []
    for section in image.sections:
        row = bytearray(small[section.header_offset : section.header_offset + 40])
        struct.pack_into("<II", row, 16, section.raw_size, section.raw_offset - image.size_of_headers + headers)
        struct.pack_into("<I", row, 12, 0x400000 + section.virtual_address)
        rows.append(bytes(row))
    rows += [
        struct.pack("<8sIIIIIIHHI", b".dtbauto", MB, 0x600000 + 16 * n, 0, 0, 0, 0, 0, 0, 0) for n in range(count - 2)
    ]
    data = bytearray(small[:table] + b"".join(rows) + small[image.size_of_headers :])
    optional = table - 240
    struct.pack_into("<H", data, optional - 18, count)
    struct.pack_into("<II", data, optional + 56, 0x10000000, headers)
    tracemalloc.stop()
    result = booted(bytes(data))
    tracemalloc.start()
    assert len(result.uki.image.sections) == count
    assert result.outcome.status == "kernel-started"


@pytest.mark.parametrize("command", ["boot", "why", "measure", "diff", "inspect"])
@pytest.mark.parametrize("memory", ["2G", "64G"])
def test_the_commands(command: str, memory: str, tmp_path: Path, cost: Cost, capsys: pytest.CaptureFixture[str]):
    blob = pe.build([SectionSpec(".osrel", b"ID=x"), SectionSpec(".linux", KERNEL), claiming(".cmdline", 3 * GB // 16)])
    path, host = written(tmp_path, "uki.efi", blob), written(tmp_path, "host.json", MACHINE)
    words = [command, str(path)]
    if command != "inspect":
        words += ["--smbios", str(host), "--memory", "128M" if memory == "2G" else memory]
    if command == "diff":
        words += ["--stub", "257", "--stub", "262"]
    status = main([*words, "--format", "json", "-o", os.devnull])
    fails = memory == "2G" and command in ("boot", "measure")
    assert status == int(fails or (command == "diff" and memory != "2G"))
    assert "internal error" not in capsys.readouterr().err
    limit = 3 * GB // 16 if memory == "64G" and command != "inspect" else 0
    assert sum(cost.hashed) <= limit + MB


MANY = [
    SectionSpec(".sdmagic", b"#### LoaderInfo: systemd-stub 262.1-1 ####\0"),
    SectionSpec(".linux", KERNEL),
    *(SectionSpec(".osrel", b"ID=x\n", virtual_size=CLAIMED * 3, virtual_address=0x100000) for _ in range(5)),
]


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("boot", []), ("boot", ["--format", "json"]), ("boot", ["--format", "html"]), ("why", []),
        ("measure", ["--format", "json"]), ("diff", ["--stub", "257", "--stub", "262"]),
        ("diff", ["--stub", "257", "--stub", "262", "--format", "json"]),
    ],
)  # fmt: skip
def test_what_is_measured_is_hashed_once(command: str, options: list[str], tmp_path: Path, cost: Cost):
    """By no stub twice, and nothing of that size for whoever reads the report only: it goes into the initrd as well."""
    path, host = written(tmp_path, "uki.efi", pe.build(MANY)), written(tmp_path, "host.json", MACHINE)
    words = [command, str(path), "--smbios", str(host), "--memory", "64G", *options, "-o", os.devnull]
    assert main(words) == int(command == "diff")
    assert CLAIMED * 3 <= sum(cost.hashed) < CLAIMED * 3 + 2 * MB


def test_what_is_only_shown_is_not_hashed_but_compared(tmp_path: Path, cost: Cost, capsys: pytest.CaptureFixture[str]):
    host = written(tmp_path, "host.json", MACHINE)
    paths = []
    for number in range(2):
        sections = [*MANY[:2], *(row._replace(data=b"ID=%d\n" % number) for row in MANY[2:3])]
        paths.append(str(written(tmp_path, f"{number}.efi", pe.build(sections))))
    assert main(["diff", *paths, "--smbios", str(host), "--memory", "64G", "--format", "json"]) == 1
    (whole, *_) = json.loads(capsys.readouterr().out)["initrd"]
    assert whole["a"]["sha256"] is whole["b"]["sha256"] is None
    assert whole["a"]["stored_sha256"] != whole["b"]["stored_sha256"]
    assert sum(cost.hashed) < 2 * CLAIMED * 3 + 2 * MB


def test_a_section_at_several_places_of_memory_is_hashed_once():
    """As long as its bytes are the same ones of the file."""
    data = bytearray(pe.build([SectionSpec(name, bytes(range(256)) * 64) for name in (".initrd", ".ucode")]))
    image = pe.open_bytes(bytes(data), "uki.efi")
    first, second = image.sections
    struct.pack_into("<I", data, second.header_offset + 20, first.raw_offset)
    both = Uki(pe.open_bytes(bytes(data), "uki.efi"))
    one, other = map(both.data, both.image.sections)
    assert one == other
    assert one.key == other.key
    assert one.key != one[1:].key


def test_a_table_of_many_entries(cost: Cost):
    """All of them are looked at, none is kept."""
    count, last = 60_000, hwids.build([(hwids.UEFI_FW, CHID, "n", "last")])
    row = struct.pack("<I16sII", hwids.UEFI_FW << 28 | hwids.ENTRY_SIZE, b"\1" * 16, 0, 0)
    at = struct.unpack_from("<II", last, 20)
    own = struct.pack(
        "<I16sII", hwids.UEFI_FW << 28 | hwids.ENTRY_SIZE, CHID.bytes_le, *(len(row) * count + n for n in at)
    )
    table = row * count + own + last[len(own) :]
    result = booted(uki(SectionSpec(".hwids", table)), fixture.from_json({"smbios": MACHINE}))
    assert result.sections is not None
    match = result.sections.matches[hwids.UEFI_FW]
    assert match is not None
    assert (match.entry.index, match.string) == (count, b"last")


def test_entries_are_looked_through_once_for_all_that_is_unknown(monkeypatch: pytest.MonkeyPatch):
    """However many boots it takes to find out what hangs on it."""
    count = 5000
    table = hwids.build((hwids.DEVICETREE, UUID(int=number + 1), "n", f"board-{number}") for number in range(count))
    image = Uki(pe.open_bytes(uki(SectionSpec(".hwids", table)), "uki.efi"))
    looked: list[int] = []
    rows, entry = hwids._rows, hwids.Entries._entry

    def counted(raw: bytes, size: int) -> Iterator[tuple[int, bytes, int, int]]:
        for row in rows(raw, size):
            looked.append(1)
            yield row

    monkeypatch.setattr(hwids, "_rows", counted)
    monkeypatch.setattr(hwids.Entries, "_entry", lambda self, index: looked.append(1) or entry(self, index))
    boot(image, fixture.from_json({"smbios": MACHINE}), Start())
    plain = len(looked)
    keys = ["edid", "secure_boot", "tpm", "rng", "console", "firmware"]
    assert boot(image, fixture.from_json({"smbios": MACHINE, "unknown": keys}), Start()).others
    assert plain <= count + 10
    assert len(looked) - plain <= count + 100


def test_a_table_that_claims_to_be_large_is_not_built_for_lint(tmp_path: Path, cost: Cost):
    table = hwids.build([(hwids.DEVICETREE, CHID, "n", "board")])
    path = written(tmp_path, "uki.efi", uki(claiming(".hwids", CLAIMED, table)))
    assert main(["hwids", "lint", str(path), "-o", os.devnull, "--fail-on", "never"]) == 0


@pytest.mark.parametrize("text", ["a=b " * 100_000, "\u20ac " * 200_000])
def test_the_boots_that_are_compared_share_a_long_command_line(text: str):
    lines = []
    for stub in ("257", "262"):
        result = booted(uki(SectionSpec(".cmdline", text.encode())), stub=stub)
        assert result.prepared is not None
        lines.append((result.prepared.cmdline, result.load_options))
    (one, one_in_bytes), (other, other_in_bytes) = lines
    assert one is other
    assert one_in_bytes is other_in_bytes
