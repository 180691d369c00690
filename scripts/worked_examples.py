"""Fill in docs/handover.md and docs/handover/: ``worked_examples.py [--check]``, after ``make fixtures``.

What stands there between ``<!-- made: NAME -->`` and ``<!-- end -->`` comes from running stubsim on the fixtures, the
pictures too; the rest is written by hand. ``--check`` writes nothing and tells which files would change (exit
status 1).
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from stubsim import handover, hosts, uki
from stubsim.extent import Bytes, Extent
from stubsim.formats import capsule, efifw, vmfwupdate
from stubsim.machine.fwcfg import PORTS
from stubsim.machine.hypervisor import RESET_PORT, VirtualMachine, virtual_machine
from stubsim.result import Boot
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.trace import Access, FwCfgWritten, Staged, Unknown
from stubsim.views.memory_map import memory_svg
from stubsim.views.qtest import script
from stubsim.views.units import gpa_range

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 110
GIB4 = 1 << 32
OVERVIEW = "docs/handover.md"
_MADE = re.compile(r"(<!-- made: (.*?) -->\n).*?(<!-- end -->)", re.DOTALL)


class Run(NamedTuple):
    """A call of `stubsim boot` on files of build/fixtures and fixtures/hosts."""

    uki: str
    host: str
    stub: str | None = None
    follow: bool = False

    def words(self) -> list[str]:
        stub = [] if self.stub is None else ["--stub", self.stub]
        return ["boot", self.uki_path, "--smbios", self.host_path, *stub, *(["--follow"] if self.follow else [])]

    @property
    def uki_path(self) -> str:
        return f"build/fixtures/{self.uki}.efi"

    @property
    def host_path(self) -> str:
        return f"fixtures/hosts/{self.host}.json"

    def boot(self) -> Boot:
        start = Start(stub=self.stub, follow=self.follow)
        return boot(uki.load(self.uki_path), hosts.load(self.host_path), start)


class Example(NamedTuple):
    """A page: the run it is about, one in which nothing comes of it, and where needed one on the updated machine."""

    run: Run
    refused: Run
    updated: Run | None = None


EXAMPLES = {
    "qemu-v5": Example(
        Run("demo", "example-qemu-vmfwupdate", follow=True), Run("large-firmware", "example-qemu-vmfwupdate")
    ),
    "spec": Example(Run("demo", "example-qemu-spec", follow=True), Run("large-firmware", "example-qemu-spec")),
    "fuki-2024": Example(Run("fuki", "example-qemu-fuki", stub="fuki", follow=True), Run("demo", "example-qemu-fuki")),
    "capsule": Example(
        Run("capsule", "example-capsule", stub="next"),
        Run("capsule", "redhat-kvm-rhel9", stub="next"),
        Run("capsule", "example-capsule-updated", stub="next"),
    ),
}


def files(docs: Path = ROOT) -> dict[str, str]:
    """The files as they should be, by their names below ``docs``; commands run in the current folder."""
    made = {OVERVIEW: _filled((docs / OVERVIEW).read_text(encoding="utf-8"), _overview)}
    for name, example in EXAMPLES.items():
        page = _Page(name, example)
        path = f"docs/handover/{name}.md"
        made[path] = _filled((docs / path).read_text(encoding="utf-8"), page.block)
        made[f"docs/handover/{name}.svg"] = page.picture()
    return made


def _filled(text: str, block: Callable[[str], str]) -> str:
    return _MADE.sub(lambda found: f"{found[1]}{block(found[2])}\n{found[3]}", text)


def _overview(name: str) -> str:
    """A part of the overview: "files DIALECT", "decisions DIALECT" or "about DIALECT"."""
    kind, _, dialect = name.partition(" ")
    about = handover.dialect(dialect).about
    if kind == "decisions":
        return "\n".join(f"- {text}" for text in about.decisions)
    assert kind == "about"
    return f"- **Source:** {about.source}\n- **Revision:** {about.revision}\n- **Status:** {about.status}"


class _Page:
    """The blocks of one page."""

    def __init__(self, name: str, example: Example) -> None:
        self.name = name
        self.example = example
        self.result = example.run.boot()
        # Without the second boot the memory is as the hypervisor finds it.
        self.first = example.run._replace(follow=False).boot()

    def block(self, name: str) -> str:
        made = getattr(self, name)()
        return made if isinstance(made, str) else "\n".join(made)

    def picture(self) -> str:
        """Where everything lies when the guest resets."""
        rows = [_named(row) for row in self.first.trace if isinstance(row, Staged)]
        device = None if self.first.host.fw_cfg is None else self.first.host.fw_cfg.vmfwupdate
        region = None if device is None else (GIB4 - device.bios_size, GIB4)
        title = f"{self.name}: guest memory at the reset"
        return memory_svg(rows, ram=self.first.memory.ram, bios_region=region, title=title)

    def input(self) -> Iterator[str]:
        host, blob = self.result.host, self._firmware()
        rows = [
            ("UKI", f"`{self.example.run.uki_path}`, {self.result.uki.size} bytes, stub {_stub(self.result)}"),
            ("machine", f"`{self.example.run.host_path}`, {host.memory >> 20} MiB of memory"),
            ("firmware", f"{len(blob)} bytes, SHA-256 `{_sha256(blob)}`"),
        ]
        device = None if host.fw_cfg is None else host.fw_cfg.vmfwupdate
        if device is not None:
            region = (
                f"a BIOS region of {device.bios_size} bytes ({gpa_range(GIB4 - device.bios_size, device.bios_size)})"
            )
            rows.append(("update device", f"dialect {device.dialect}, cap `{device.cap:#x}`, {region}"))
        if host.firmware.capsules is not None:
            takes = host.firmware.capsules
            text = f"at most {takes.maximum_size} bytes, then a {takes.reset} reset"
            rows.append(("capsules", text))
        return _table(("", ""), rows)

    def command(self) -> str:
        return _console(self.example.run)

    def refused(self) -> str:
        return _console(self.example.refused)

    def updated(self) -> str:
        assert self.example.updated is not None
        return _console(self.example.updated)

    def accesses(self) -> str:
        """How many there are, in words."""
        rows = [row for row in self.first.trace if isinstance(row, Access) and row.space == "port"]
        read = sum(not row.write for row in rows)
        selected, transfers, resets = (
            sum(row.write and row.address == port for row in rows)
            for port in (PORTS.selector, PORTS.dma + 4, RESET_PORT)
        )
        reset = "one write to port 0xcf9" if resets else "no write to port 0xcf9"
        return f"{selected} selections, {read} bytes read by port, {transfers} DMA transfers, {reset}."

    def last_write(self) -> Iterator[str]:
        """The last write to a file and what follows, as lines for a real QEMU."""
        lines = script(self.first).splitlines()
        begin = max(number for number, line in enumerate(lines) if line.startswith("outw 0x510"))
        yield from ("```", *lines[begin - 1 :], "```")

    def writes(self) -> Iterator[str]:
        return _writes(self.first)

    def left(self) -> Iterator[str]:
        """What lies in memory for the boot after the update."""
        rows = [(row.kind, f"`{row.gpa:#010x}`", str(row.size), f"`{row.sha256.hex()}`") for row in self.first.left]
        return _table(("kind", "gpa", "bytes", "SHA-256"), rows)

    def entries(self) -> Iterator[str]:
        """The entries of the prototype's blob."""
        (data,) = (row.data for row in _written(self.first) if row.file == vmfwupdate.FUKI_BLOB)
        rows = [
            (
                f"{row.type} ({vmfwupdate.FUKI_TYPES[row.type]})",
                f"{row.map} ({'shared' if row.map else 'private'})",
                str(row.size),
                f"`{row.gpa:#010x}`",
                f"`{row.target:#x}`",
                f"`{vmfwupdate.FUKI_ENTRY.pack(*row).hex(' ', 4)}`",
            )
            for row in vmfwupdate.unpack_fuki(data)
        ]
        return _table(("type", "map", "size", "gpa", "target", "24 bytes"), rows)

    def staged(self) -> Iterator[str]:
        """What UpdateCapsule() is given."""
        rows = []
        for row in self.first.trace:
            if isinstance(row, Staged) and row.name.startswith("capsule"):
                data = self.first.memory.read(row.gpa, row.size)
                shown = f"`{data.hex(' ', 8)}`" if row.size <= 32 else f"SHA-256 `{_sha256(data)[:16]}...`"
                rows.append((row.name, f"`{row.gpa:#010x}`", str(row.size), row.type, shown))
        return _table(("what", "gpa", "bytes", "type", "content"), rows)

    def capsule(self) -> Iterator[str]:
        """The capsule's header."""
        header = capsule.parse(self._firmware())
        flags = " ".join(name.upper().replace(" ", "_") for bit, name in capsule.FLAGS.items() if header.flags & bit)
        rows = [
            ("CapsuleGuid", f"`{header.guid}`"),
            ("HeaderSize", str(header.header_size)),
            ("Flags", f"`{header.flags:#010x}` ({flags})"),
            ("CapsuleImageSize", str(header.image_size)),
        ]
        return _table(("field", "value"), rows)

    def chids(self) -> Iterator[str]:
        """The ids that hold the BIOS version, before and after."""
        assert self.example.updated is not None
        after = self.example.updated.boot().chids
        target = self._blob().target_chid
        rows = []
        for number in (0, 1, 2, 3):
            own = [
                f"`{ids[number]}`" + (" (target)" if ids[number] == target else "") for ids in (self.first.chids, after)
            ]
            rows.append((str(number), *own))
        return _table(("CHID type", self.example.run.host, self.example.updated.host), rows)

    def bios(self) -> Iterator[str]:
        """The BIOS region before and after the reset, by leading the device once more through what the guest did."""
        size = len(self._firmware())
        machine = virtual_machine(self.first.host, self.first.memory)
        region = machine.bios
        assert region is not None
        before = hashlib.shake_128(b"the provider's firmware").digest(region.size)
        region.replace_end([memoryview(before)])
        before_it = "the document does not say" if self.name == "spec" else "kept"
        ranges = [(region.start, region.size - size, before_it), (GIB4 - size, size, "the new firmware")]
        ranges.append((0xE0000, 0x20000, "the last 128 KiB of the region again"))
        old = [_sha256(machine.space.read(gpa, count)[0]) for gpa, count, _ in ranges]
        _replay(self.first, machine)
        new = [_sha256(machine.space.read(gpa, count)[0]) for gpa, count, _ in ranges]
        rows = [
            (f"`{gpa_range(gpa, count)}`", str(count), f"`{one[:16]}...`", f"`{two[:16]}...`", what)
            for (gpa, count, what), one, two in zip(ranges, old, new, strict=True)
        ]
        yield from _table(("gpa", "bytes", "SHA-256 before", "SHA-256 after", ""), rows)
        reset = machine.last_reset
        assert reset is not None
        yield ""
        yield f"The device copied {reset.size} bytes from gpa `{reset.gpa:#x}`."
        if machine.warnings:
            yield ""
            yield "What it tells the host, and the guest never sees:"
            yield ""
            yield from (f"    {text}" for text in machine.warnings)

    def next(self) -> Iterator[str]:
        """What the second boot finds and writes."""
        after = self.result.next
        assert after is not None
        assert after.firmware is not None
        rows = [
            ("outcome", f"`{after.outcome.status}`"),
            ("firmware", f"the last {len(after.firmware)} bytes of the region, SHA-256 `{_sha256(after.firmware)}`"),
            ("command line", f"`{after.prepared and after.prepared.cmdline}`"),
        ]
        initrd = None if after.prepared is None else after.prepared.initrd
        if initrd is not None:
            rows.append(
                ("initrd", f"{initrd.size} bytes, SHA-256 `{after.digests.sha256_of_parts(initrd.parts).hex()}`")
            )
        rows += [(f"unknown: {row.what}", row.why) for row in after.trace if isinstance(row, Unknown)]
        yield from _table(("", ""), rows)
        if _written(after):
            yield ""
            yield from _writes(after)

    def _blob(self) -> efifw.Efifw:
        assert self.first.sections is not None
        blob = self.first.sections.efifw()
        assert blob is not None
        return blob

    def _firmware(self) -> Extent:
        assert self.first.sections is not None
        own = self.first.sections.data(".fmwimg") if self.first.model.firmware_section else None
        return self._blob().payload if own is None else own


def _replay(result: Boot, machine: VirtualMachine) -> None:
    """Do to a machine what the guest did to its own."""
    for row in result.trace:
        if isinstance(row, Access) and row.write:
            if row.space == "port":
                machine.port_write(row.address, len(row.data), int.from_bytes(row.data, "little"))
            else:
                machine.write(row.address, row.data)


def _written(result: Boot) -> list[FwCfgWritten]:
    return [row for row in result.trace if isinstance(row, FwCfgWritten)]


def _writes(result: Boot) -> Iterator[str]:
    rows = [
        (
            str(number),
            f"`{row.file}`",
            f"`{row.selector:#06x}`",
            str(row.offset),
            str(len(row.data)),
            _content(row.data),
        )
        for number, row in enumerate(_written(result), 1)
    ]
    return _table(("", "file", "selector", "offset", "bytes", "content"), rows)


def _content(data: bytes) -> str:
    if len(data) <= 16:
        return f"`{data.hex(' ', 8)}`"
    return f"SHA-256 `{_sha256(data)[:16]}...`" if any(data) else "zeros"


def _named(row: Staged) -> Staged:
    """Buffers are named after the file without its folder."""
    folder, _, name = row.name.rpartition("/")
    return row._replace(name=f"{name} buffer") if folder else row


def _stub(result: Boot) -> str:
    assert result.uki.stub is not None
    return f"{result.uki.stub.name} {result.uki.stub.version}"


def _console(run: Run) -> str:
    """The command, its first lines, those of the second boot, and its complaints, as a terminal shows them."""
    words = run.words()
    done = subprocess.run(
        [sys.executable, "-m", "stubsim", *words],
        capture_output=True,
        check=False,
        text=True,
        env={**os.environ, "COLUMNS": str(WIDTH), "PYTHONPATH": str(ROOT)},
    )
    paragraphs = done.stdout.rstrip("\n").split("\n\n")
    lines = [paragraphs[0], "[...]"]
    for paragraph in paragraphs:
        if paragraph.startswith("The boot after the update"):
            lines += [paragraph, "[...]"]
    shown = [f"$ stubsim {' '.join(words)}", *lines, *done.stderr.splitlines(), "$ echo $?", str(done.returncode)]
    return "\n".join(("```console", *shown, "```"))


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    heading = tuple(columns)
    for cells in (heading, ("---",) * len(heading), *rows):
        yield f"| {' | '.join(cells)} |".replace("|  ", "| ")


def _sha256(data: Bytes) -> str:
    return hashlib.sha256(bytes(data)).hexdigest()


def main(arguments: list[str]) -> int:
    os.chdir(ROOT)
    check = arguments == ["--check"]
    stale = 0
    for name, text in files().items():
        path = Path(name)
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        if check:
            print(f"{name} is not what stubsim does")
        else:
            path.write_text(text, encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
