"""What is understood of a machine, as JSON (`stubsim/host-show/1`) and as text; the text is made from the JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stubsim.formats import edid
from stubsim.hosts import Reading
from stubsim.printable import clean
from stubsim.stub.models import which
from stubsim.views.terminal import Screen, rendered
from stubsim.wording import plain

if TYPE_CHECKING:
    from rich.console import Console

Json = dict[str, Any]


def host_json(reading: Reading) -> Json:
    """The contract of `stubsim host show --format json`.

    A byte that is no UTF-8 stands as \\\\xNN in a string.
    """
    host = reading.host
    fields = {key: _text(value) if isinstance(value, bytes) else value for key, value in host.fields._asdict().items()}
    table = host.structures
    return {
        "schema": "stubsim/host-show/1",
        "source": {"kind": reading.kind, "description": reading.description},
        "name": host.name,
        "smbios": fields | {"oem_strings": [_text(string) for string in host.oem_strings]},
        "smbios_table": table and {"structures": len(table), "size": sum(len(structure.raw) for structure in table)},
        "edid_panel": None if host.edid is None else edid.panel_id(host.edid),
        "architecture": host.architecture,
        "memory": host.memory,
        "hypervisor": host.hypervisor,
        "confidential": host.confidential,
        "secure_boot": host.secure_boot,
        "tpm": None if host.tpm is None else {"banks": list(host.tpm)},
        "rng": host.rng,
        "console": host.console._asdict() | {"serial": [f"{port:#x}" for port in host.console.serial]},
        "direct_boot": None if host.direct_boot is None else host.direct_boot._asdict(),
        "vmfwupdate": None
        if host.fw_cfg is None or host.fw_cfg.vmfwupdate is None
        else host.fw_cfg.vmfwupdate._asdict(),
        "unknown": [{"key": key} for key in sorted(host.unknown)],
        "notes": list(reading.notes),
    }


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def render_host(report: Json, target: Screen | None = None) -> str:
    """The value of `host_json` as text."""
    return rendered(lambda console: _draw(console, report), target)


def _draw(console: Console, report: Json) -> None:
    name = "" if report["name"] is None else f"{clean(report['name'])}: "
    console.print(f"{name}{clean(report['source']['description'])}", style="bold", overflow="fold")
    unknown = {row["key"] for row in report["unknown"]}
    _block(console, "SMBIOS, as a stub reads it", _smbios(report, unknown), named=True)
    _block(console, "Machine", _machine(report, unknown), named=True)
    _block(console, "Unknown; a boot tells what depends on them", [("-", row["key"]) for row in report["unknown"]])
    _block(console, "Notes", [("-", text) for text in report["notes"]])


def _smbios(report: Json, unknown: set[str]) -> list[tuple[str, str]]:
    rows = []
    for key, value in report["smbios"].items():
        shown = "missing" if value in (None, []) else _quoted(value)
        if key == "enclosure_type" and value is not None:
            shown = f"{value} ({value:#x})"
        doubt = unknown & {"smbios", f"smbios.{key}"}
        if doubt:
            shown = "unknown" if value in (None, []) else f"{shown} (not for certain)"
        rows.append((key, shown))
    table = report["smbios_table"]
    missing = f"missing, so PCR 1 is not known with stubs {which(lambda model: model.measures_smbios)}"
    raw = f"{table['structures']} structures, {table['size']} bytes" if table else missing
    return [*rows, ("raw table", raw)]


def _quoted(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(_quoted(item) for item in value)
    return f'"{value}"' if isinstance(value, str) else str(value)


def _machine(report: Json, unknown: set[str]) -> list[tuple[str, str]]:
    console, device = report["console"], report["vmfwupdate"]
    outputs = [f"serial {port}" for port in console["serial"]] + ["graphics"] * console["graphics"]
    if console["virtio"]:
        outputs.insert(0, f"virtio {console['virtio']}")
    rows = [
        ("edid", report["edid_panel"] or "no panel id"),
        ("architecture", report["architecture"] or "that of the UKI"),
        ("memory", f"{report['memory'] >> 20} MiB"),
        ("hypervisor", "yes" if report["hypervisor"] else "no"),
        ("confidential", report["confidential"] or "no"),
        ("secure_boot", "on" if report["secure_boot"] else "off"),
        ("tpm", "none" if report["tpm"] is None else ", ".join(report["tpm"]["banks"])),
        ("rng", "yes" if report["rng"] else "no"),
        ("console", ", ".join(outputs) or "none"),
        ("direct_boot", _direct(report["direct_boot"])),
        ("vmfwupdate", "none" if device is None else f"{device['dialect']}, capabilities {device['cap']:#x}"),
    ]
    whole = {key for key in unknown if "." not in key}
    part = {key.partition(".")[0] for key in unknown} - whole
    return [
        (key, "unknown" if key in whole else f"{value} (not all of it for certain)" if key in part else value)
        for key, value in rows
    ]


def _direct(row: Json | None) -> str:
    if row is None:
        return "no"
    options = row["load_options"]
    return 'by -kernel, path "kernel", ' + (
        "no load options" if options is None else f"load options {_quoted(options)}"
    )


def _block(console: Console, title: str, rows: list[tuple[str, str]], *, named: bool = False) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for key, value in rows:
        grid.add_row(Text(plain(key) if named else key), Text(clean(value)))
    console.print()
    console.print(title, style="bold")
    console.print(Padding(grid, (0, 0, 0, 2), expand=False))
