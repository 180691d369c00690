"""A SEV-SNP launch measurement as JSON, and as rows of text made from that."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stubsim.explain.snp import Launch

Json = dict[str, Any]
TITLE = "SEV-SNP launch measurement of the machine's firmware"


def launch_json(launch: Launch) -> Json:
    request = launch.request
    return {
        "measurement": launch.measurement.hex(),
        "fwid": launch.fwid,
        "vcpus": request.vcpus,
        "vcpu_type": request.vcpu_type,
        "guest_features": f"{request.guest_features:#x}",
        "vmm_type": request.vmm,
        "kernel_hashes": request.kernel_hashes,
        "tool": launch.tool,
        "included": list(launch.included),
        "excluded": list(launch.excluded),
    }


def launch_rows(report: Json) -> list[tuple[str, str]]:
    kind = "" if report["vcpu_type"] is None else f", type {report['vcpu_type']}"
    count = f"{report['vcpus']} vCPU{'' if report['vcpus'] == 1 else 's'}"
    hashes = ", kernel hashes" if report["kernel_hashes"] else ""
    return [
        ("measurement", report["measurement"]),
        ("for", f"{count}{kind}, guest features {report['guest_features']}{hashes}, by {report['vmm_type']}"),
        *zip_longest(("of",), report["included"], fillvalue=""),
        *zip_longest(("without",), report["excluded"], fillvalue=""),
        ("computed by", report["tool"]),
    ]
