"""Start-up, speed and memory of the installed ``stubsim``, as ratios to commands timed in the same run.

With --growth: how the time of each parser and pipeline grows with its input (scripts/growth.py). With --fleet: a fleet
of a million machines beside DuckDB alone (scripts/fleet_bench.py).

Machines differ and drift, so nothing is compared with a number of seconds: the commands take turns, each counts with
its best round, and what is bounded is the ratio. Exit status: 0 within the bounds, 1 over one, 2 not measurable.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple, NoReturn

from stubsim.formats import pe, pe_memory

ROOT = Path(__file__).resolve().parent.parent
KB, MB = 1000, 1000 * 1000
SMALL, BIG = 200 * KB, 100 * MB
DATA_ALLOWANCE = 40 * MB
DATA_STEP = 256 * 1024
CASES = 1000
MACHINES = 300

MAP_AND_HASH = """
import hashlib, mmap, sys
with open(sys.argv[1], "rb") as file:
    hashlib.sha256(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)).hexdigest()
"""


class Cost(NamedTuple):
    """Seconds: by the clock, and user plus system time of the child."""

    wall: float
    cpu: float


class Row(NamedTuple):
    what: str
    against: str
    ratio: float
    bound: float


def give_up(reason: str) -> NoReturn:
    print(f"bench: {reason}", file=sys.stderr)
    sys.exit(2)


def run(command: list[str]) -> Cost:
    """One run with its output and its warnings thrown away; a status other than 0 ends the bench."""
    devnull = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
    start = time.perf_counter()
    child = os.posix_spawn(command[0], command, os.environ, file_actions=devnull)
    _, status, usage = os.wait4(child, 0)
    wall = time.perf_counter() - start
    if status:
        give_up(f"exit status {os.waitstatus_to_exitcode(status)} from: {' '.join(command)}")
    return Cost(wall, usage.ru_utime + usage.ru_stime)


def best_of(commands: dict[str, list[str]], rounds: int) -> dict[str, Cost]:
    """Each command's best wall time and best CPU time over rounds in which all of them take turns."""
    for command in commands.values():  # the first run fills the page cache and writes the byte code
        run(command)
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            costs[name].append(run(command))
    return {name: Cost(min(c.wall for c in seen), min(c.cpu for c in seen)) for name, seen in costs.items()}


def resized(image: pe.Image, size: int) -> bytes:
    """The same UKI with an initrd of noise that brings the file to about this size."""
    sections = [(section, pe_memory.section_data(image, section)) for section in image.sections]
    initrd = [number for number, (section, _) in enumerate(sections) if section.name == ".initrd"]
    if not initrd:
        give_up("the UKI has no .initrd to enlarge")
    rest = sum(len(data) for number, (_, data) in enumerate(sections) if number != initrd[0])
    noise = hashlib.shake_128(b"stubsim bench").digest(max(size - rest, 4096))
    return pe.build(
        [
            pe.SectionSpec(section.name, noise if number == initrd[0] else bytes(data))
            for number, (section, data) in enumerate(sections)
        ],
        machine=image.machine,
    )


def suite(folder: str, uki: str, host: str, boot: list[str]) -> str:
    """A case file of CASES cases, each with a machine of its own, that expects what ``boot`` gives on them."""
    machine = json.loads(Path(host).read_bytes())
    # The raw table would have to agree.
    machine.pop("smbios_table", None)
    found = json.loads(subprocess.run(boot, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True).stdout)
    expect = f"""
outcome = "{found["outcome"]["status"]}"
selection.efifw = "none"
cmdline = "{found["cmdline"]}"
pcrs.sha256.11 = "{found["pcrs"]["sha256"]["11"]}"
"""
    text = f'uki = "{uki}"\n'
    for number in range(CASES):
        machine["smbios"]["product_name"] = f"Machine {number}"
        Path(folder, f"{number}.json").write_text(json.dumps(machine), "utf-8")
        text += f'\n[[case]]\nname = "{number}"\nhost = "{number}.json"\n\n[case.expect]{expect}'
    path = os.path.join(folder, "bench.boot.toml")
    Path(path).write_text(text, "utf-8")
    return path


def machines(folder: str, host: str) -> str:
    """A folder of MACHINES host files, each a machine of its own."""
    machine = json.loads(Path(host).read_bytes())
    machine.pop("smbios_table", None)
    path = Path(folder, "machines")
    path.mkdir()
    for number in range(MACHINES):
        machine["name"] = machine["smbios"]["product_name"] = f"Machine {number}"
        Path(path, f"{number}.json").write_text(json.dumps(machine), "utf-8")
    return str(path)


def captured(folder: str, host: str) -> str:
    """The host as somebody has it who has only looked at the machine: six of its keys are unknown."""
    machine = json.loads(Path(host).read_bytes())
    machine["unknown"] = ["edid", "secure_boot", "tpm", "rng", "console", "firmware"]
    path = os.path.join(folder, "captured.json")
    Path(path).write_text(json.dumps(machine), "utf-8")
    return path


def runs_within(command: list[str], limit: int, expected: bytes) -> bool:
    """Whether the command gives the same answer when its data (heap and private writable maps) may not exceed limit."""

    def limit_data() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=limit_data,
        timeout=120,
        check=False,
    )
    return done.returncode == 0 and done.stdout == expected


def least_data(command: list[str]) -> int:
    """The smallest data limit, in bytes and up to DATA_STEP too large, under which the command does its work."""
    expected = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True).stdout
    low, high = 0, 8 * MB // DATA_STEP
    while not runs_within(command, high * DATA_STEP, expected):
        low, high = high, high * 2
        if high * DATA_STEP > 4000 * MB:
            give_up(f"no data limit is enough for: {' '.join(command)}")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if runs_within(command, middle * DATA_STEP, expected) else (middle, high)
    return high * DATA_STEP


def measure(uki: str, host: str, updating: str, rounds: int) -> list[Row]:
    python = sys.executable
    stubsim = str(Path(python).with_name("stubsim"))
    if not os.path.exists(stubsim):
        give_up(f"no {stubsim}; run make bench")
    image = pe.open_image(uki)
    with tempfile.TemporaryDirectory(prefix="stubsim-bench-") as folder:
        small, big = (os.path.join(folder, name) for name in ("small.efi", "big.efi"))
        Path(small).write_bytes(resized(image, SMALL))
        Path(big).write_bytes(resized(image, BIG))
        boots = {name: [stubsim, "boot", name, "--smbios", host, "--format", "json"] for name in (small, big)}
        update = [stubsim, "boot", big, "--smbios", updating, "--format", "json"]
        if b'"firmware-update"' not in subprocess.run(update, stdout=subprocess.PIPE, check=True).stdout:
            give_up(f"{updating} takes no firmware of {uki}")
        commands = {
            "pass": [python, "-c", "pass"],
            "version": [stubsim, "--version"],
            "small": boots[small],
            "big": boots[big],
            "captured": [stubsim, "boot", small, "--smbios", captured(folder, host), "--format", "json"],
            "update": update,
            "follow": [*update, "--follow"],
            "hash": [python, "-c", MAP_AND_HASH, big],
        }
        print(f"{uki} on {host}, best of {rounds} rounds in turn")
        print(f"small: {os.path.getsize(small) / KB:.0f} KB, big: {os.path.getsize(big) / MB:.0f} MB")
        cost = best_of(commands, rounds)
        for name, seen in cost.items():
            print(f"  {name:<8} wall {seen.wall * 1000:8.1f} ms   cpu {seen.cpu * 1000:8.1f} ms")
        checks = {"small": boots[small], "check": [stubsim, "check", suite(folder, small, host, boots[small])]}
        check = best_of(checks, max(rounds // 3, 1))
        for name, seen in check.items():
            print(f"  {name:<8} wall {seen.wall * 1000:8.1f} ms   cpu {seen.cpu * 1000:8.1f} ms   ({CASES} cases)")
        fleet = machines(folder, host)
        measured = {
            "one": [stubsim, "measure", big, "--smbios", os.path.join(fleet, "0.json")],
            "many": [stubsim, "measure", big, "--hosts", fleet],
        }
        many = best_of(measured, max(rounds // 3, 1))
        for name, seen in many.items():
            print(f"  {name:<8} wall {seen.wall * 1000:8.1f} ms   cpu {seen.cpu * 1000:8.1f} ms   (measure)")
        data = {name: least_data(boots[name]) for name in (small, big)}
        print(f"  least data limit: small {data[small] / MB:.1f} MB, big {data[big] / MB:.1f} MB")
    nothing, bare = "python3 -c pass", "python3 mmap + sha256"
    return [
        Row("stubsim --version, wall", nothing, cost["version"].wall / cost["pass"].wall, 2.5),
        Row("boot of the small UKI, wall", nothing, cost["small"].wall / cost["pass"].wall, 8),
        Row("big boot beyond the small, wall", bare, (cost["big"].wall - cost["small"].wall) / cost["hash"].wall, 2),
        Row("big boot, CPU", bare, cost["big"].cpu / cost["hash"].cpu, 3.2),
        Row(f"check of {CASES} cases, wall", "boot of the small UKI", check["check"].wall / check["small"].wall, 20),
        Row(f"measure on {MACHINES} machines, wall", "measure on one", many["many"].wall / many["one"].wall, 3),
        Row("big boot beyond the small, data", "40 MB", (data[big] - data[small]) / DATA_ALLOWANCE, 1),
        Row("boot with six unknown keys, wall", "one with none", cost["captured"].wall / cost["small"].wall, 2),
        Row("big boot --follow, wall", "the same without", cost["follow"].wall / cost["update"].wall, 2),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure stubsim against a bare python3.")
    parser.add_argument("--uki", default=str(ROOT / "build/fixtures/demo.efi"), help="the UKI whose .initrd is resized")
    parser.add_argument("--host", default=str(ROOT / "fixtures/hosts/lab-q35.json"))
    parser.add_argument(
        "--updating",
        default=str(ROOT / "fixtures/hosts/example-qemu-vmfwupdate.json"),
        help="a host that takes a firmware of the UKI",
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--growth",
        nargs="?",
        const="",
        metavar="NAME",
        help="measure instead how the time of each parser and pipeline grows (of those with NAME in their name)",
    )
    parser.add_argument("--fleet", action="store_true", help="measure instead a fleet of a million and of ten")
    options = parser.parse_args()
    if options.fleet:
        sys.path.insert(0, str(ROOT))
        from scripts.fleet_bench import report as fleet_report

        return fleet_report(max(options.rounds // 5, 1))
    if options.growth is not None:
        # Run as a file, this one has no package beside it.
        sys.path.insert(0, str(ROOT))
        from scripts.growth import report

        return report(options.growth)
    # An installed package has its byte code; a checkout must be let write it.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if not os.path.exists(options.uki):
        give_up("no demo UKI; run make fixtures, or give --uki")
    rows = measure(options.uki, options.host, options.updating, options.rounds)
    print(f"\n{'what':<34}{'against':<24}{'ratio':>7}{'bound':>7}")
    for row in rows:
        verdict = "ok" if row.ratio <= row.bound else "over"
        print(f"{row.what:<34}{row.against:<24}{row.ratio:>7.2f}{row.bound:>7g}  {verdict}")
    return int(any(row.ratio > row.bound for row in rows))


if __name__ == "__main__":
    sys.exit(main())
