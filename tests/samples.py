"""Small UKIs and hosts built with the project's own writers, and the command line called in process or as a program."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from scripts import build_fixtures
from stubsim import chid
from stubsim.cli import main
from stubsim.formats import efifw, fdt, hwids, pe, smbios
from stubsim.formats.pe import SectionSpec

ROOT = Path(__file__).resolve().parent.parent

MACHINE = {
    "manufacturer": "Example",
    "product_name": "Product",
    "product_sku": "SKU",
    "family": "Family",
    "baseboard_manufacturer": "Board",
    "baseboard_product": "One",
}
CHIDS = chid.chids(smbios.Fields(**{key: text.encode() for key, text in MACHINE.items()}), None)
CHID = CHIDS[3]
assert CHID is not None

# Of a size that QEMU takes, so that nothing is warned of.
FIRMWARE = b"a firmware image".ljust(65536, b"\0")
KERNEL = pe.build([SectionSpec(".text", b"\xf4" * 512)])
INITRD = b"070701 is not looked at"
COMPATIBLE = "example,board"


def linux(release: str) -> bytes:
    """A kernel that says which Linux it is, in its setup header (Documentation/arch/x86/boot.rst)."""
    image = bytearray(pe.build([SectionSpec(".text", bytes(4096))]))
    image[0x1FE:0x200], image[0x202:0x206] = b"\x55\xaa", b"HdrS"
    image[0x20E:0x210] = (0x600).to_bytes(2, "little")
    image[0x800 : 0x800 + len(release)] = release.encode()
    return bytes(image)


def uki(*more: SectionSpec, stub: str = "systemd-stub 262.1-1", linux: bytes | None = KERNEL, **options: Any) -> bytes:
    """A UKI with the stub's mark, an .osrel, a .cmdline, an .initrd, the kernel, and then ``more``."""
    sections = [
        SectionSpec(".sdmagic", f"#### LoaderInfo: {stub} ####\0".encode()),
        SectionSpec(".osrel", b"ID=example\nVERSION_ID=1\n"),
        SectionSpec(".cmdline", b"quiet"),
        SectionSpec(".initrd", INITRD),
    ]
    if linux is not None:
        sections.append(SectionSpec(".linux", linux))
    return pe.build([*sections, *more], **options)


def table(*entries: tuple[int, str], chids: Sequence[Any] = (CHID,)) -> SectionSpec:
    """An .hwids whose entries (type, string) match MACHINE."""
    return SectionSpec(
        ".hwids", hwids.build([(kind, own, "Device", string) for kind, string in entries for own in chids])
    )


def firmware(fwid: str = "fw", payload: bytes = FIRMWARE) -> SectionSpec:
    return SectionSpec(".efifw", efifw.build(fwid, payload))


def devicetree(compatible: str = COMPATIBLE) -> SectionSpec:
    return SectionSpec(".dtbauto", fdt.build([compatible]))


FIRMWARE_UKI = uki(table((hwids.UEFI_FW, "fw")), firmware())
FULL_UKI = uki(
    table((hwids.DEVICETREE, COMPATIBLE), (hwids.UEFI_FW, "fw")),
    devicetree(),
    firmware("other"),
    firmware(),
    SectionSpec(".profile", b"ID=main\nTITLE=Main\n"),
    SectionSpec(".profile", b"ID=rescue\n"),
    SectionSpec(".cmdline", b"rescue"),
)


class Result(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.err.splitlines()

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def invoke(*arguments: str | Path) -> Result:
    """`stubsim` in this process."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(argument) for argument in arguments])
    out.flush()
    return Result(status, out.buffer.getvalue().decode(), err.getvalue())  # type: ignore[attr-defined]


def execute(*arguments: str | Path, **options: Any) -> Result:
    """`python -m stubsim` as a program of its own."""
    command = [sys.executable, "-m", "stubsim", *map(str, arguments)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 60, **options}
    done = subprocess.run(command, check=False, cwd=ROOT, **options)
    return Result(done.returncode, (done.stdout or b"").decode(), done.stderr.decode())


def written(folder: Path, name: str, content: bytes | object) -> Path:
    """A file with these bytes, or with this value as JSON."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def fixtures_in(folder: Path) -> Path:
    """The folder, in which commands on build/fixtures and fixtures/hosts work as in the repository."""
    build_fixtures.build(folder / "build" / "fixtures")
    (folder / "fixtures").symlink_to(ROOT / "fixtures")
    return folder
