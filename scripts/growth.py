"""How the time of each parser and pipeline grows with its input: `scripts/bench.py --growth`.

Each input is made at three sizes, n, 4n and 16n; what is told is the exponent between the last two, which is 1 where
time grows as the input does and 2 where it grows as its square. CPU time, with garbage collected before and kept from
running, the best of several rounds; n is raised until 4n takes long enough to be measured. Inputs are the worst that
are known, not the usual ones.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from math import log
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from stubsim.errors import StubsimError
from stubsim.explain import diff as differences
from stubsim.formats import (
    capsule,
    cpio,
    efifw,
    eventlog,
    fdt,
    firmware_volume,
    hwids,
    hwids_json,
    igvm,
    ovmf,
    pe,
    smbios,
)
from stubsim.formats.eventlog import Event
from stubsim.formats.pe import SectionSpec
from stubsim.hosts import Host, fixture, recognise
from stubsim.result import Boot
from stubsim.simulation import boot
from stubsim.start import DEFAULT_START, Start
from stubsim.stub.arguments import split_shell_line
from stubsim.testing import cases, telling
from stubsim.uki import Uki

BOUND = 1.2
ROUNDS = 3
# Seconds that the middle size has to take, and the most that one run of the largest may.
MEASURABLE, LONGEST = 0.01, 20.0
MACHINE = {"smbios": {"manufacturer": "Example", "product_name": "Product", "family": "Family"}}
KERNEL = pe.build([SectionSpec(".text", bytes(512))], entry_point=0x1000)

Work = Callable[[], object]


class Growing(NamedTuple):
    """Something to do with an input of any size; ``start`` is the smallest, in the input's own units, ``most`` n.

    ``make`` makes the input, which takes no part in the time.
    """

    name: str
    start: int
    make: Callable[[int], Work]
    most: int = 1 << 30


class Growth(NamedTuple):
    """What was measured: seconds of CPU at n, 4n and 16n."""

    name: str
    n: int
    seconds: tuple[float, float, float]

    @property
    def exponent(self) -> float:
        return log(self.seconds[2] / self.seconds[1], 4)


def measured(row: Growing) -> Growth:
    """The times at the first n at which they can be told from noise."""
    n = row.start
    while n < min(row.most, row.start << 12) and _best(row.make(4 * n)) < MEASURABLE:
        n *= 4
    found = _at(row, n)
    # Caches, and whoever else uses the machine, make a step look steeper than it is; what grows faster still does so.
    while found.exponent > BOUND and 4 * n <= row.most and found.seconds[2] < LONGEST / 8:
        n *= 4
        found = _at(row, n)
    return found


def _at(row: Growing, n: int) -> Growth:
    first, second, third = (_best(row.make(size)) for size in (n, 4 * n, 16 * n))
    return Growth(row.name, n, (first, second, third))


def _best(work: Work) -> float:
    seconds = []
    for _ in range(ROUNDS):
        gc.collect()
        gc.disable()
        start = time.process_time()
        with contextlib.suppress(StubsimError):
            work()
        seconds.append(time.process_time() - start)
        gc.enable()
        if seconds[0] > LONGEST / ROUNDS:
            break
    return max(min(seconds), 1e-6)


def _host(data: bytes) -> Work:
    return lambda: recognise.read_bytes(data)


def _case(text: str) -> Work:
    head = 'uki = "u"\nhost = "h"\n'
    return lambda: cases.parse((head + text).encode(), "a.boot.toml")


def _image(*more: SectionSpec, count: int = 0, name: str = ".dtbauto") -> Uki:
    given = [SectionSpec(name, b"x") for _ in range(count)]
    base = [SectionSpec(".osrel", b"ID=x\n"), SectionSpec(".cmdline", b"quiet"), SectionSpec(".linux", KERNEL)]
    return Uki(pe.open_bytes(pe.build([*base, *more, *given], file_alignment=1, section_alignment=16), "uki.efi"))


_HOST = fixture.from_json(MACHINE)


def _boot(image: Uki, host: Host = _HOST, start: Start = DEFAULT_START) -> Boot:
    return boot(Uki(image.image), host, start)


def _esp(n: int, folder: str, name: str, content: Callable[[int], bytes]) -> Start:
    root = Path(tempfile.mkdtemp(dir=_FOLDER.name))
    place = root.joinpath(*folder.split("/"))
    place.mkdir(parents=True)
    for number in range(n):
        place.joinpath(name.format(number)).write_bytes(content(number))
    return Start(esp=str(root), path="\\EFI\\Linux\\uki.efi")


_FOLDER = tempfile.TemporaryDirectory(prefix="stubsim-growth-")


def _addons(n: int) -> Work:
    image, start = (
        _image(),
        _esp(
            n, "loader/addons", "{:06}.addon.efi", lambda number: pe.build([SectionSpec(".cmdline", b"a=%d" % number)])
        ),
    )
    return lambda: _boot(image, _HOST, start)


def _credentials(n: int) -> Work:
    image, start = _image(), _esp(n, "loader/credentials", "{:06}.cred", lambda number: b"%d" % number)
    return lambda: _boot(image, _HOST, start)


def _table(n: int) -> bytes:
    rows = ((hwids.UEFI_FW, UUID(int=number + 1), "name", f"fw{number}") for number in range(n))
    return hwids.build(rows)


def _forget_tables() -> None:
    for known in (hwids._walk, hwids._whole, hwids._first, hwids._leads):
        known.cache_clear()


def _read_anew(table: bytes) -> None:
    """Read a table that was not read before: the last ones are kept."""
    _forget_tables()
    hwids.parse(table)
    hwids.first(table, hwids.UEFI_FW, [UUID(int=1 << 127)])


def _overlapping(n: int) -> bytes:
    """Entries whose strings all end at the same NUL."""
    row = struct.Struct("<I16sII")
    rows = b"".join(row.pack(0x2000001C, bytes(16), 28 * (n + 1) + at, 28 * (n + 1) + at) for at in range(n))
    return rows + bytes(28) + b"x" * n + b"\0"


def _events(n: int) -> bytes:
    rows = [Event(11, 0xD, {"sha256": bytes(32)}, b".\0") for _ in range(n)]
    return eventlog.build(rows, ("sha256",))


def _view(command: str) -> Callable[[int], Work]:
    """A whole command on a UKI of n sections over each other."""

    def make(n: int) -> Work:
        from stubsim.cli import main

        folder = Path(tempfile.mkdtemp(dir=_FOLDER.name))
        (folder / "host.json").write_text(json.dumps(MACHINE), "utf-8")
        (folder / "uki.efi").write_bytes(bytes(_image(count=n).image.data))
        words = [command, str(folder / "uki.efi")]
        if command != "inspect":
            words += ["--smbios", str(folder / "host.json")]

        def work() -> None:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                main([*words, "-o", str(folder / "out")])

        return work

    return make


def _diff(n: int) -> Work:
    image = _image()
    text = " ".join(["a", "b", "c"][number * number % 3] for number in range(n))
    other = " ".join(["a", "b", "c"][number // 2 % 3] for number in range(n))
    first, second = (Start(load_options=line.encode("utf-16-le") + b"\0\0") for line in (text, other))
    boots = _boot(image, _HOST, first), _boot(image, _HOST, second)
    return lambda: differences.diff(boots, (first, second))


def _words(n: int) -> Work:
    row: dict[str, Any] = {
        "key": "cmdline",
        "expected": "a b " * n,
        "got": "b a a " * n,
        "unknown": None,
        "because": [],
    }
    return lambda: telling.rows(row)


def _fdt(n: int) -> bytes:
    return fdt.build(["board"], [("p", b"x")] * n, compatible_first=False)


def _libvirt(n: int) -> bytes:
    entries = "".join(f"<entry name='e{number}'>x</entry>" for number in range(n))
    return f"<domain type='kvm'><sysinfo type='smbios'><system>{entries}</system></sysinfo></domain>".encode()


def _structures(n: int) -> bytes:
    return b"".join(struct.pack("<BBH", 11, 5, number & 0xFFFF) + b"\x01a\0\0" for number in range(n))


def _dmidecode(n: int) -> bytes:
    row = b"Handle 0x%04X, DMI type 1, 27 bytes\nSystem Information\n\tManufacturer: Example\n\n"
    return b"".join(row % (number & 0xFFFF) for number in range(n))


def _json(key: str, values: list[object]) -> bytes:
    return json.dumps({**MACHINE, key: values}).encode()


ROWS = (
    # What a host is recognised by.
    Growing("host: blanks", 4096, lambda n: _host(b" " * n + b"x")),
    Growing("host: blanks behind a word", 4096, lambda n: _host(b"x" + b" " * n)),
    Growing("host: tabs in lines", 4096, lambda n: _host(b"x\n" + b"\t" * n + b"\n")),
    Growing("host: empty lines", 4096, lambda n: _host(b"x" + b"\n" * n + b"x")),
    Growing("host: slashes", 4096, lambda n: _host(b"-smbios " + b"/" * n)),
    Growing("host: program names", 1024, lambda n: _host(b" qemu-system-" * n)),
    Growing("dmidecode", 256, lambda n: _host(_dmidecode(n))),
    Growing("dmidecode: handles cut short", 1024, lambda n: _host(b"# dmidecode\n" + b"Handle 0x" * n)),
    Growing("dmidecode: blanks in an attribute", 1024, lambda n: _host(_dmidecode(1) + b"\t" * n + b"x")),
    Growing("dmidecode: dots", 1024, lambda n: _host(_dmidecode(1)[:-2] + b"a." * n + b"\n\n")),
    Growing(
        "dmidecode -u: rows",
        256,
        lambda n: _host(
            b"# dmidecode\nHandle 0x0001, DMI type 1, 4 bytes\n\tHeader and Data:\n\t\t01 04 01 00\n\tStrings:\n"
            + b"\t\t41 41 41 41\n" * n
        ),
    ),
    Growing("fwupd", 256, lambda n: _host(b"Computer Information\n" + b"Manufacturer: x\n" * n)),
    Growing("fwupd: titles", 256, lambda n: _host(b"Computer Information\n" * n)),
    Growing("libvirt", 256, lambda n: _host(_libvirt(n))),
    Growing("QEMU: options", 256, lambda n: _host(b"qemu-system-x86_64 " + b"-device x " * n)),
    Growing("QEMU: a long word", 4096, lambda n: _host(b"qemu-system-x86_64 -name " + b"x" * n)),
    Growing("QEMU: quotes", 1024, lambda n: _host(b"qemu-system-x86_64 -name " + b'"x"' * n)),
    Growing("QEMU: dots behind the program", 4096, lambda n: _host(b"qemu-kvm " + b"." * n + b" x")),
    Growing("QEMU: lines", 256, lambda n: _host(b"qemu 'x\n" * n + b"qemu-system-x86_64 -name x\n")),
    Growing("QEMU: keys of one option", 256, lambda n: _host(b"qemu-kvm -smbios type=4" + b",k=v" * n)),
    Growing(
        "QEMU: different keys of one option",
        256,
        lambda n: _host(b"qemu-kvm -smbios type=4" + b"".join(b",k%d=v" % number for number in range(n))),
    ),
    Growing("QEMU: -smbios options", 64, lambda n: _host(b"qemu-kvm" + b" -smbios type=11,value=x" * n)),
    Growing("SMBIOS table", 256, lambda n: _host(_structures(n) + b"\x7f\x04\0\0\0\0")),
    # Files of our own.
    Growing("JSON: serial ports", 64, lambda n: _host(json.dumps({"console": {"serial": [*range(n)]}}).encode()), 4096),
    Growing("JSON: a key twice", 1024, lambda n: _host(
        b"{" + b",".join(b'"k%d":1' % number for number in (*range(n), n - 1)) + b"}")),
    Growing("JSON: unknown keys", 1024, lambda n: _host(
        b"{" + b",".join(b'"k%d":1' % number for number in range(n)) + b"}")),
    Growing("JSON: variables", 64, lambda n: _host(_json("variables", [
        {"name": f"v{number}", "guid": str(UUID(int=1)), "data": ""} for number in range(n)]))),
    Growing("JSON: strings", 256, lambda n: _host(json.dumps({"smbios": {"oem_strings": ["x"] * n}}).encode())),
    Growing("case: a dotted key", 1024, lambda n: _case(".".join("a" * n) + " = 1\n")),
    Growing("case: dotted keys", 64, lambda n: _case("".join(".".join("a" * 32) + f".k{i} = 1\n" for i in range(n)))),
    Growing("case: quotes", 1024, lambda n: _case("x = " + '"' * n)),
    Growing("case: quotes in threes", 1024, lambda n: _case('x = """' + '""\\' * n)),
    Growing("case: cases", 16, lambda n: _case("expect = {outcome = 'failed'}\n" + "".join(
        f"[[case]]\nname = '{number}'\n" for number in range(n)))),
    Growing("case: words that differ", 256, _words),
    Growing("shell line", 4096, lambda n: lambda: split_shell_line("x" * n)),
    Growing("shell line: quotes", 4096, lambda n: lambda: split_shell_line('""^x' * n)),
    # Formats.
    Growing("event log", 256, lambda n: partial(eventlog.parse, _events(n))),
    Growing("event log: zeros", 256, lambda n: partial(eventlog.parse, _events(0) + bytes(16 * n) + b"x")),
    Growing("hwids", 64, lambda n: partial(_read_anew, _table(n))),
    Growing("hwids: strings in strings", 64, lambda n: partial(_read_anew, _overlapping(n))),
    Growing("hwids descriptions", 64, lambda n: partial(hwids_json.parse, json.dumps(
        [{"type": "devicetree", "name": "x", "compatible": "y", "hwids": [str(UUID(int=i))]} for i in range(n)]
    ).encode(), "x.json"), 4096),
    Growing("cpio", 64, lambda n: partial(cpio.parse, b"".join(
        map(bytes, cpio.pack("a", [(str(i), b"x") for i in range(n)], 0o755, 0o644))))),
    Growing("devicetree", 64, lambda n: partial(fdt.root_compatible, _fdt(n))),
    Growing("efifw: an id without an end", 4096, lambda n: partial(
        efifw.parse, struct.pack("<IIII", efifw.MAGIC, 16, n, 0) + b"x" * n)),
    Growing("SMBIOS", 64, lambda n: partial(smbios.parse, _structures(n))),
    Growing("firmware volumes", 1024, lambda n: partial(firmware_volume.cores, b"_FVH" * n)),
    Growing("OVMF table", 1024, lambda n: partial(ovmf.parse, b"\x03\0" * n)),
    Growing("IGVM", 1024, lambda n: partial(igvm.parse, igvm.MAGIC + bytes(n))),
    Growing("capsule", 1024, lambda n: partial(capsule.parse, bytes(n))),
    Growing("PE: sections", 64, lambda n: partial(pe.open_bytes, bytes(_image(count=n).image.data), "uki.efi")),
    # Pipelines.
    Growing("boot: sections", 64, lambda n: _on(_image(count=n))),
    Growing("boot: profiles", 64, lambda n: _on(_image(count=n, name=".profile"))),
    Growing("boot: firmwares", 64, lambda n: _on(_image(SectionSpec(".hwids", _table(4)), count=n, name=".efifw"))),
    Growing("boot: unknown keys, and entries", 4096, lambda n: _unknowing(_image(SectionSpec(".hwids", _table(n))))),
    Growing("boot: a long command line", 1024, lambda n: _on(_image(SectionSpec(".profile", b""), SectionSpec(
        ".cmdline", b"a " * n)))),
    Growing("boot: addons", 16, _addons),
    Growing("boot: credentials", 16, _credentials),
    Growing("diff: words", 256, _diff),
    Growing("inspect", 64, _view("inspect")),
    Growing("boot, as text", 64, _view("boot")),
    Growing("why", 64, _view("why")),
    Growing("measure", 64, _view("measure")),
)  # fmt: skip


def _unknowing(image: Uki) -> Work:
    keys = ["edid", "secure_boot", "tpm", "rng", "console", "firmware"]
    host = fixture.from_json({**MACHINE, "unknown": keys})

    def work() -> object:
        _forget_tables()
        return boot(image, host, DEFAULT_START)

    return work


def _on(image: Uki) -> Work:
    return lambda: _boot(image)


def measure(only: str = "") -> Iterator[Growth]:
    for row in ROWS:
        if only in row.name:
            yield measured(row)


def report(only: str = "") -> int:
    """Print a line for each; 1 where an exponent is above the bound."""
    over = 0
    print(f"{'what':<38}{'n':>9}{'n':>10}{'4n':>10}{'16n':>10}{'exponent':>10}")
    for row in measure(only):
        times = "".join(f"{seconds * 1000:>8.1f}ms" for seconds in row.seconds)
        bad = row.exponent > BOUND
        over += bad
        print(f"{row.name:<38}{row.n:>9}{times}{row.exponent:>10.2f}{'  over' if bad else ''}", flush=True)
    print(f"{over} above {BOUND}" if over else f"none above {BOUND}")
    return int(bool(over))


if __name__ == "__main__":
    sys.exit(report(*sys.argv[1:2]))
