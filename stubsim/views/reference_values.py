"""A predicted log in the forms of those who verify: each value with the condition under which it is right.

- pcrlock: components for systemd-pcrlock (systemd.pcrlock(5)), a file each;
- rvps: a message of trustee's Reference Value Provider Service of type "sample" (rvps/src/extractors/sample), with the
  names that its attestation policy asks for;
- pcr-policy: what tpm2_createpolicy and systemd-cryptenroll take, and the policy's digest;
- keylime's two forms are in views/keylime.py.

A register of which an event is not known has no value, and is left out only where that was asked for.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stubsim.errors import StubsimError
from stubsim.explain.measure import PHASES, at_phase
from stubsim.explain.predicted_log import LogEvent, WholeLog
from stubsim.formats.eventlog import ALGORITHMS
from stubsim.hosts import Host
from stubsim.systemd.measure import PCR_KERNEL_IMAGE
from stubsim.views.launch import launch_json, launch_rows

if TYPE_CHECKING:
    from stubsim.explain.snp import Launch

Json = dict[str, Any]
Values = dict[str, dict[int, bytes]]

_NAME_MAX = 64
_TRUSTEES_BANK = "sha256"
# What can be computed of a TDX guest.
_ASKED_FOR = {1: "RTMR 1", 2: "RTMR 2"}
# TPM 2.0 Library, Part 2: TPM_CC_PolicyPCR; and the bytes of a selection of 24 registers.
_POLICY_PCR, _SELECTION = 0x17F, 3
_APPLICATION = "EV_EFI_BOOT_SERVICES_APPLICATION"
# By systemd's own names where it has one for the part, so that variants stand beside its own (systemd-pcrlock(8),
# /usr/lib/pcrlock.d); within each register they ascend with the log.
_COMPONENTS = (
    "240-secureboot-policy", "250-firmware-code-early", "250-firmware-config-early", "350-action-efi-application",
    "400-secureboot-separator", "500-separator", "550-firmware-config-late", "600-gpt", "620-secureboot-authority",
    "625-shim", "630-boot-loader-code", "640-boot-loader", "650-uki", "700-action-efi-exit-boot-services",
    "710-kernel-cmdline", "720-kernel-initrd",
)  # fmt: skip
_UKI, _VARIANT = "650-uki", "generated"


def values(log: WholeLog, pcrs: Sequence[int] | None, *, allow_unknown: bool, phase: str = "") -> Values:
    """The values of these registers, by default of all that the boot extends, at a phase path of systemd's.

    Raises StubsimError for one that is not known, unless that is allowed.
    """
    lost = log.unknown_pcrs
    wanted = sorted({event.pcr for event in log.events} if pcrs is None else set(pcrs))
    missing = [pcr for pcr in wanted if pcr in lost]
    if missing and not allow_unknown:
        raise StubsimError(
            f"PCR {missing[0]} is not known: {lost[missing[0]]}",
            hint="--pcr names others, --allow-unknown leaves out what is not known",
        )
    known = {
        bank: {pcr: found.get(pcr, bytes(len(next(iter(found.values()))))) for pcr in wanted if pcr not in lost}
        for bank, found in log.pcrs.items()
    }
    for bank, rows in known.items():
        if PCR_KERNEL_IMAGE in rows:
            rows[PCR_KERNEL_IMAGE] = at_phase(bank, rows[PCR_KERNEL_IMAGE], phase)
    return known


def registers(log: WholeLog, *, allow_unknown: bool) -> dict[int, bytes]:
    """The registers of a TDX guest that a policy can ask for; StubsimError for one that is not known, likewise."""
    found = log.rtmrs
    for row in log.lost:
        if row.register in _ASKED_FOR.values() and not allow_unknown:
            hint = "--allow-unknown leaves out what is not known"
            raise StubsimError(f"{row.register} is not known: {row.why}", hint=hint)
    return {index: found[index] for index in _ASKED_FOR if index in found}


def conditions(log: WholeLog, wanted: Values) -> list[str]:
    """When the values hold, and which were left out."""
    known = {pcr for found in wanted.values() for pcr in found}
    left_out = [f"{row.register} is left out: {row.why}" for row in log.lost if row.pcr not in known]
    return [*log.assumed, *left_out]


def conditions_at(log: WholeLog, wanted: Values, phase: str) -> list[str]:
    """The same for values of a register, of which the system extends one further while it runs."""
    if not any(PCR_KERNEL_IMAGE in rows for rows in wanted.values()):
        return conditions(log, wanted)
    at = (
        f"is that of the phase {phase}"
        if phase
        else f"is as the kernel starts, before any phase (--phase {PHASES[-1]})"
    )
    return [*conditions(log, wanted), f"PCR {PCR_KERNEL_IMAGE} {at}"]


def rvps(log: WholeLog, wanted: Values, host: Host, launch: Launch | None = None, phase: str = "") -> Json:
    """The message for PCRs, by trustee's names for those of a virtual TPM, and for a launch measurement.

    Its verifiers read the SHA-256 bank alone (deps/verifier, tpm and az_snp_vtpm); StubsimError for a TPM without it.
    """
    if _TRUSTEES_BANK not in wanted:
        message = f"trustee reads the {_TRUSTEES_BANK} bank of a TPM, and this one has {', '.join(wanted)}"
        raise StubsimError(message, expected=f"a host file whose TPM has {_TRUSTEES_BANK}")
    kind = {"sev-snp": "snp", "tdx": "tdx"}.get(host.confidential or "", "tpm")
    names = {f"{kind}_pcr{pcr:02}": value for pcr, value in wanted[_TRUSTEES_BANK].items()}
    said = conditions_at(log, wanted, phase)
    if launch is not None:
        names["snp_launch_measurement"] = launch.measurement
        machine = dict(launch_rows(launch_json(launch)))["for"]
        said.append(f"snp_launch_measurement is for {machine}")
        said += [f"not in snp_launch_measurement: {what}" for what in launch.excluded]
    return _message(names, said)


def rvps_of_registers(log: WholeLog, wanted: dict[int, bytes]) -> Json:
    """The message for a TDX guest's own registers."""
    return _message({f"rtmr_{index}": value for index, value in wanted.items()}, conditions(log, {}))


def _message(names: dict[str, bytes], said: list[str]) -> Json:
    """The payload is JSON in base64, name -> values."""
    import base64
    import json

    accepted = {name: [value.hex()] for name, value in names.items()}
    payload = base64.b64encode(json.dumps(accepted, sort_keys=True).encode()).decode()
    return {"version": "0.1.0", "type": "sample", "payload": payload, "conditions": said}


def pcr_policy(log: WholeLog, wanted: Values, phase: str = "") -> Json:
    """By bank: the words for either program, the bytes of tpm2_createpolicy's file, the policy's SHA-256 digest."""
    banks = {
        bank: {
            "pcrs": [*rows],
            "systemd-cryptenroll": "--tpm2-pcrs=" + "+".join(f"{pcr}:{bank}={rows[pcr].hex()}" for pcr in rows),
            "tpm2_createpolicy": f"--policy-pcr --pcr-list={bank}:{','.join(map(str, rows))}",
            "pcr_file": b"".join(rows.values()).hex(),
            "policy": policy_digest(bank, rows).hex(),
        }
        for bank, rows in wanted.items()
        if rows
    }
    return {"banks": banks, "conditions": conditions_at(log, wanted, phase)}


def policy_digest(bank: str, rows: dict[int, bytes]) -> bytes:
    """TPM2_PolicyPCR over an empty policy (TPM 2.0 Library, Part 3, 23.7)."""
    selected = sum(1 << pcr for pcr in rows).to_bytes(_SELECTION, "little")
    selection = struct.pack(">IHB", 1, ALGORITHMS[bank][0], _SELECTION) + selected
    over = hashlib.sha256(b"".join(rows.values())).digest()
    return hashlib.sha256(bytes(32) + struct.pack(">I", _POLICY_PCR) + selection + over).digest()


def pcrlock(log: WholeLog, wanted: Values, name: str | None) -> dict[str, Json]:
    """Path below the folder of components -> the file; a variant by the machine's name where it has one."""
    variant = re.sub(r"[^A-Za-z0-9._-]+", "-", name or "").strip("-.")[:_NAME_MAX]
    pcrs = {pcr for rows in wanted.values() for pcr in rows}
    components: dict[str, list[LogEvent]] = {}
    uki = _start_of_uki(log.events)
    separated = False
    for index, event in enumerate(log.events):
        component = _component(event, behind_separators=separated)
        separated |= (event.pcr, event.type) == (1, "EV_SEPARATOR")
        if event.type == _APPLICATION and index >= uki:
            component = _UKI
        if event.pcr in pcrs and event.digests is not None:
            components.setdefault(component, []).append(event)
    files: dict[str, Json] = {}
    for component in _COMPONENTS:
        if component in components:
            records = [_record(event) for event in components[component]]
            path = f"{component}.pcrlock.d/{variant or _VARIANT}.pcrlock"
            files[path] = {"records": records, "conditions": conditions(log, wanted)}
    return files


def _start_of_uki(events: Sequence[LogEvent]) -> int:
    """Where the image is loaded whose stub then measures; the images behind it are the stub's."""
    by_stub = (
        index for index, event in enumerate(events) if event.by in ("stub", "kernel") and event.digests is not None
    )
    stub = next(by_stub, len(events))
    return max((index for index, event in enumerate(events[:stub]) if event.type == _APPLICATION), default=stub)


def _record(event: LogEvent) -> Json:
    digests = event.digests or {}
    return {
        "pcr": event.pcr,
        "digests": [{"hashAlg": bank, "digest": digest.hex()} for bank, digest in digests.items()],
    }


def _component(event: LogEvent, *, behind_separators: bool) -> str:
    """The part of the boot that an event belongs to; within each register their numbers ascend with the log."""
    kind = event.type or ""
    if event.by == "kernel":
        return "720-kernel-initrd" if "initrd" in event.description else "710-kernel-cmdline"
    if event.by != "firmware":
        return {"shim": "625-shim", "loader": "640-boot-loader"}.get(event.by, _UKI)
    if kind == "EV_SEPARATOR":
        return "400-secureboot-separator" if event.pcr == 7 else "500-separator"
    if kind == "EV_EFI_ACTION":
        return "350-action-efi-application" if event.pcr == 4 else "700-action-efi-exit-boot-services"
    if kind == "EV_EFI_HANDOFF_TABLES" and behind_separators:
        return "550-firmware-config-late"
    return {
        "EV_EFI_VARIABLE_DRIVER_CONFIG": "240-secureboot-policy",
        "EV_EFI_VARIABLE_AUTHORITY": "620-secureboot-authority",
        "EV_EFI_GPT_EVENT": "600-gpt",
        _APPLICATION: "630-boot-loader-code",
    }.get(kind, f"250-firmware-{'code' if event.pcr in (0, 2) else 'config'}-early")
