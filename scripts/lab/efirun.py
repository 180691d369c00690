"""Boot a case by the stub's own code, in a small UEFI in a Linux process (efirun/).

    python -m scripts.lab.efirun FOLDER...      # a case folder each: uki.efi, host.json, boot.json, esp/

What is printed has the shape of a recording's expect.json. The kernel is never run: it is started when the stub jumps
into it, and what the stub left for it is read then. docs/lab.md says what this UEFI has and what it has not.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from scripts.lab.stubs import LAB
from stubsim import uki
from stubsim.errors import StubsimError
from stubsim.formats import smbios
from stubsim.hosts import fixture
from stubsim.machine.tpm import BANK_BITS
from stubsim.stub.arguments import split_shell_line
from stubsim.uefi.variables import LOADER

Json = dict[str, Any]

SOURCES = Path(__file__).resolve().parent / "efirun"
# Compiler and, where the machine is another one, the program that runs what it makes.
COMPILERS = {"x64": ("x86_64-linux-gnu-gcc", ()), "aa64": ("aarch64-linux-gnu-gcc", ("qemu-aarch64",))}
FLAGS = (
    "-std=gnu17",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-cast-function-type",
    "-fno-strict-aliasing",
    "-static",
)
# What the UEFI shell takes away around a line (EDK II, TrimSpaces).
BLANKS = " \t"
# Seconds for one boot, which has a limit of its own on the time of the processor.
TIME = 120

EVENTS = {0xD: "EV_IPL", 6: "EV_EVENT_TAG"}
STATUS = {
    1: "EFI_LOAD_ERROR", 2: "EFI_INVALID_PARAMETER", 3: "EFI_UNSUPPORTED", 5: "EFI_BUFFER_TOO_SMALL",
    9: "EFI_OUT_OF_RESOURCES", 14: "EFI_NOT_FOUND", 15: "EFI_ACCESS_DENIED", 20: "EFI_ALREADY_STARTED",
    26: "EFI_SECURITY_VIOLATION",
}  # fmt: skip
_ERROR = 1 << 63
# "../src/boot/pe.c:314@pe_use_this_firmware: ", which releases before 257 do not write.
PLACE = re.compile(r"^(?:[\w./-]+\.c:\d+@(\w+): )")


class TooSlowError(StubsimError):
    """The machine was too busy to boot it in time: that says nothing of the stub."""


class Case(NamedTuple):
    """A boot to be done: `uki`, `esp` and `xbootldr` are paths, `host` is a host file's JSON."""

    uki: Path
    esp: Path | None
    host: Json
    path: str | None = None
    load_options: bytes | None = None
    shell: str | None = None
    from_memory: bool = False
    xbootldr: Path | None = None


@cache
def program(machine: str) -> list[str]:
    """The command that runs a stub of the machine, built when it is not there or its sources have changed."""
    compiler, runner = COMPILERS[machine]
    files = sorted(SOURCES.glob("*.[ch]"))
    state = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    built = LAB / "build" / f"efirun-{machine}-{state}"
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=built.parent) as folder:
            made = Path(folder) / "efirun"
            sources = [str(file) for file in files if file.suffix == ".c"]
            try:
                done = subprocess.run(
                    [compiler, *FLAGS, "-o", str(made), *sources], capture_output=True, text=True, check=False
                )
            except FileNotFoundError as error:
                raise StubsimError(f"{compiler} is not there", hint="scripts/lab/setup.sh") from error
            if done.returncode:
                raise StubsimError(f"efirun does not compile: {done.stderr.strip().splitlines()[0]}")
            os.replace(made, built)
    return [*runner, str(built)]


def load(folder: Path) -> Case:
    """The case in a folder; its boot.json holds the options of `stubsim boot`, as a recording's does."""
    boot = json.loads((folder / "boot.json").read_text())
    host = json.loads((folder / "host.json").read_text())
    options = iter(boot["args"])
    case = Case(folder / boot.get("uki", "uki.efi"), None, host)
    for option in options:
        if option == "--from-memory":
            case = case._replace(from_memory=True)
            continue
        value = next(options)
        if option == "--esp":
            case = case._replace(esp=folder / value)
        elif option == "--xbootldr":
            case = case._replace(xbootldr=folder / value)
        elif option == "--path":
            case = case._replace(path=value.replace("/", "\\"))
        elif option == "--load-options":
            case = case._replace(load_options=(folder / value).read_bytes())
        elif option == "--cmdline":
            case = case._replace(load_options=value.encode("utf-16-le") + b"\0\0")
        elif option == "--shell":
            case = case._replace(shell=value)
        elif option not in ("--handover", "--stub", "--db", "--loader"):
            raise StubsimError(f"efirun does not know the option {option}", path=str(folder))
    return case


def run(case: Case, image: uki.Uki) -> Json:
    """Boot it: what the stub did, in the shape of expect.json. TooSlowError: it did not get so far."""
    lines = "\n".join(configuration(case)).encode()
    try:
        done = subprocess.run(program(image.machine), input=lines, capture_output=True, check=False, timeout=TIME)
    except subprocess.TimeoutExpired as error:
        raise TooSlowError(f"no end of the boot in {TIME} seconds") from error
    seen = json.loads(done.stdout) if done.stdout.endswith(b"}\n") else {"outcome": f"exit {done.returncode}"}
    return expectation(seen, image, case.host)


def configuration(case: Case) -> Iterator[str]:
    """The machine as efirun reads it: a key and its values a line, bytes in hex."""
    host = case.host
    yield f"uki {case.uki}"
    if not case.from_memory:
        if case.esp is not None:
            yield f"esp {case.esp}"
        yield f"path {_utf16(case.path or '').hex()}"
        if host.get("esp_partition_uuid") is not None:
            yield f"partition {UUID(host['esp_partition_uuid']).bytes_le.hex()}"
        if case.xbootldr is not None:
            yield f"xbootldr {case.xbootldr}"
            yield f"xbootldr-partition {UUID(host['xbootldr_partition_uuid']).bytes_le.hex()}"
    if case.shell is not None:
        words = split_shell_line(case.shell)
        yield f"arguments {len(words)} {' '.join(_utf16(word).hex() for word in words)}"
        yield f"load-options {_utf16(case.shell.strip(BLANKS)).hex()}0000"
    elif case.load_options is not None:
        yield f"load-options {case.load_options.hex()}"
    yield from _tables(host)
    yield from _devices(host)
    for row in host.get("variables", ()):
        name, data = _utf16(row["name"]).hex(), _bytes(row["data"]).hex()
        yield f"variable {row['attributes']} {UUID(row['guid']).bytes_le.hex()} {name} {data}"


def _tables(host: Json) -> Iterator[str]:
    table = host.get("smbios_table")
    if table is not None:
        yield f"smbios {_bytes(table['base64']).hex()}"
        if table.get("entry_point"):
            yield f"smbios-entry {_bytes(table['entry_point']).hex()}"
    else:
        read = fixture.from_json({"schema": fixture.SCHEMA, "smbios": host.get("smbios", {})})
        yield f"smbios {smbios.from_fields(read.fields, read.oem_strings).hex()}"
    for key, name in (("edid", "edid"), ("devicetree", "devicetree"), ("previous_initrd", "initrd")):
        if host.get(key) is not None:
            yield f"{name} {_bytes(host[key]).hex()}"
    firmware = host.get("firmware", {})
    yield f"vendor {_utf16(firmware.get('vendor', 'EDK II')).hex()}"
    yield f"revision {firmware.get('revision', 0x10000)}"
    yield f"uefi-revision {firmware.get('uefi_revision', 0x20046)}"


def _devices(host: Json) -> Iterator[str]:
    tpm = host.get("tpm", {})
    if tpm is not None:
        yield f"banks {sum(BANK_BITS[bank] for bank in tpm.get('banks', ['sha256']))}"
    yield f"cpu {host.get('confidential') or ('kvm' if host.get('hypervisor', True) else 'none')}"
    if host.get("secure_boot"):
        yield "secure-boot"
    if host.get("rng"):
        yield "rng"
    if host.get("keyboard_layout") is not None:
        yield f"keyboard {_utf16(host['keyboard_layout']).hex()}"
    console = host.get("console", {})
    if console.get("graphics", True):
        yield "graphics"
    yield f"virtio {console.get('virtio', 0)}"
    for port in console.get("serial", ()):
        yield f"serial {port}"
    yield from _fixup(host.get("devicetree_fixup"))


def _fixup(fixup: Json | None) -> Iterator[str]:
    if fixup is None:
        return
    yield "fixup"
    if "error" in fixup:
        code = next(code for code, name in STATUS.items() if name == fixup["error"])
        yield f"fixup error {_ERROR | code}"
    if "needs" in fixup:
        yield f"fixup needs {fixup['needs']}"
    if fixup.get("first_call_only"):
        yield "fixup first-call-only"
    for patch in fixup.get("patches", ()):
        yield f"fixup patch {patch['offset']} {_bytes(patch['data']).hex()}"
    if "append" in fixup:
        yield f"fixup append {_bytes(fixup['append']).hex()}"
    if "fill_buffer" in fixup:
        yield f"fixup fill {fixup['fill_buffer']}"


def expectation(seen: Json, image: uki.Uki, host: Json) -> Json:
    started = seen["outcome"] == "kernel-started"
    rows = seen.get("measurements", ())
    banks = [] if host.get("tpm", {}) is None else host.get("tpm", {}).get("banks", ["sha256"])
    measurements = [_measurement(row, banks) for row in rows if row["by"] == "tcg2"]
    options = seen.get("load_options")
    tree = _unhex(seen.get("devicetree"))
    return {
        "schema": "stubsim/recording/1",
        "recorded_by": "efirun",
        "outcome": _outcome(seen),
        "efi_status": _status(seen) if seen["outcome"] in ("returned", "not-loaded") else None,
        "messages": _messages(_unhex(seen.get("console")) or b""),
        # stubble measures no section.
        "selection": _selection(image, rows) if started and any(_is_kernels(row) for row in rows) else None,
        "started_path": None if "started_path" not in seen else text(bytes.fromhex(seen["started_path"])),
        "cmdline": None if options is None else text(bytes.fromhex(options)),
        "load_options": options,
        "setup_cmdline": seen.get("setup_cmdline"),
        "initrd": sized(_unhex(seen.get("initrd"))),
        "initrd_hex": seen.get("initrd"),
        "devicetree": {"window": seen["devicetree_window"]} if "devicetree_window" in seen else sized(tree),
        "variables": {
            text(bytes.fromhex(row["name"])): {"attributes": row["attributes"], "hex": row["data"]}
            for row in seen.get("variables", ())
            if bytes.fromhex(row["guid"]) == LOADER.bytes_le
        },
        "measurements": measurements,
        "pcrs": _pcrs(measurements, banks),
        "rtmrs": _rtmrs(rows),
        "esp_changes": {path: {"size": len(row["data"]) // 2} for path, row in seen.get("esp_changes", {}).items()},
    }


def _outcome(seen: Json) -> str:
    """A stub that returns, or halts in an assertion, has failed; crashed, hung and the like say so."""
    return {"returned": "failed", "not-loaded": "failed", "halted": "failed"}.get(seen["outcome"], str(seen["outcome"]))


def _status(seen: Json) -> str:
    code = seen["status"] & ~_ERROR
    return STATUS.get(code, f"{code}")


def _is_kernels(row: Json) -> bool:
    """Whether it is the name of the kernel's section that was measured."""
    return bytes.fromhex(row["data"]) == b".linux\0"


def _selection(image: uki.Uki, rows: list[Json]) -> Json:
    """What was measured under the sections' names, by content; each of the two may stand in the file many times."""
    chosen: Json = {"efifw": None, "dtbauto": None}
    for before, row in pairwise(row for row in rows if row["by"] == rows[0]["by"]):
        name = bytes.fromhex(before["data"]).rstrip(b"\0").decode("latin-1")
        if name[1:] in chosen and before["event"] == row["event"]:
            data = bytes.fromhex(row["data"])
            sections = (section for section in image.image.sections if section.name == name)
            chosen[name[1:]] = [next(section.index for section in sections if bytes(image.data(section)) == data)]
    return chosen


def _measurement(row: Json, banks: list[str]) -> Json:
    data = bytes.fromhex(row["data"])
    digests = {bank: hashlib.new(bank, data).hexdigest() for bank in banks}
    return measured(row["index"], row["type"], bytes.fromhex(row["event"]), digests)


def measured(pcr: int, type_: int, event: bytes, digests: dict[str, str]) -> Json:
    """A row of "measurements": a tagged event's tag apart from its text."""
    kind, tag = EVENTS.get(type_, f"{type_:#x}"), None
    if kind == "EV_EVENT_TAG" and len(event) >= 8:
        tag, size = struct.unpack_from("<II", event)
        event = event[8 : 8 + size]
    written = None if tag is None else f"{tag:#010x}"
    return {"pcr": pcr, "type": kind, "tag": written, "description": text(event), "digests": digests}


def _pcrs(measurements: list[Json], banks: list[str]) -> dict[str, Json]:
    values: dict[str, Json] = {}
    for bank in banks:
        size = hashlib.new(bank).digest_size
        registers = {pcr: bytes(size) for pcr in (11, 12, 13)}
        for row in measurements:
            old = registers.get(row["pcr"], bytes(size))
            registers[row["pcr"]] = hashlib.new(bank, old + bytes.fromhex(row["digests"][bank])).digest()
        values[bank] = {str(pcr): registers[pcr].hex() for pcr in (11, 12, 13)}
    return values


def _rtmrs(rows: list[Json]) -> dict[str, str]:
    """RTMR 0 to 2; the protocol counts the build-time register as 0."""
    registers = {index: bytes(48) for index in range(3)}
    for row in rows:
        if row["by"] == "cc" and row["index"] - 1 in registers:
            digest = hashlib.sha384(bytes.fromhex(row["data"])).digest()
            registers[row["index"] - 1] = hashlib.sha384(registers[row["index"] - 1] + digest).digest()
    return {str(index): value.hex() for index, value in registers.items()}


def _messages(console: bytes) -> list[str]:
    return [line for line in console.decode("utf-16-le", "replace").replace("\r", "").split("\n") if line]


def sized(data: bytes | None) -> Json | None:
    return None if data is None else {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _unhex(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


def text(data: bytes) -> str:
    return data[: len(data) & ~1].decode("utf-16-le", "surrogatepass").partition("\0")[0]


def _utf16(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass")


def _bytes(text: str) -> bytes:
    from base64 import b64decode

    return b64decode(text)


def main() -> int:
    for name in sys.argv[1:]:
        try:
            case = load(Path(name))
            print(json.dumps(run(case, uki.load(str(case.uki))), indent=1))
        except StubsimError as error:
            print(f"efirun: {error}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
