"""A predicted log as keylime takes it: a TPM policy, and a measured boot reference state.

- the TPM policy is `keylime_tenant --tpm_policy` (keylime/tpm/tpm_util.py, readPolicy);
- the reference state is `--mb-policy`. Of the firmware it has the keys that keylime's own `keylime-policy create
  measured-boot` writes (keylime/policy/create_mb_policy.py). The `kernels` of its `example` policy are shim, GRUB, a
  kernel and what GRUB measures into PCR 8 and 9, and any event beside those is refused: no boot of a UKI has that form.
  In their place ``boots`` has the events register by register, for examples/keylime_policy.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stubsim.errors import StubsimError
from stubsim.explain.predicted_log import LogEvent, WholeLog
from stubsim.formats import signature_list
from stubsim.uefi.baseline import Known, variable

Json = dict[str, Any]
Values = Mapping[str, Mapping[int, bytes]]

# IMA's, keylime's own, and what can be changed at will.
_NOT_FOR_KEYLIME = (10, 16)
# systemd-pcrextend goes on with it, into a log of its own that no agent sends: keylime could not replay it.
_PCR_OF_THE_SYSTEM = 11
_BEYOND_REPLAY = (
    f"PCR {_PCR_OF_THE_SYSTEM} is left out: the system extends it further, in a log that keylime does not read"
)
# keylime takes an event for right when one of its digests is.
_BANKS = ("sha256", "sha384", "sha512", "sha1")
_CONFIG = "EV_EFI_VARIABLE_DRIVER_CONFIG"
_BLOBS = ("EV_EFI_PLATFORM_FIRMWARE_BLOB", "EV_EFI_PLATFORM_FIRMWARE_BLOB2")


def tpm_policy(wanted: Values) -> Json:
    """Register -> values that are accepted, in whatever bank."""
    found: dict[str, list[str]] = {}
    for rows in wanted.values():
        for pcr, value in rows.items():
            if pcr not in _NOT_FOR_KEYLIME:
                found.setdefault(str(pcr), []).append(value.hex())
    return found


def reference_state(log: WholeLog, wanted: Values, name: str | None, said: Iterable[str]) -> Json:
    """The events of the wanted registers, which are all known, and what they say of the firmware."""
    bank = next(bank for bank in _BANKS if bank in log.banks)
    pcrs = {pcr for rows in wanted.values() for pcr in rows} - {_PCR_OF_THE_SYSTEM, *_NOT_FOR_KEYLIME}
    events = [event for event in log.events if event.pcr in pcrs]
    registers: dict[str, list[Json]] = {str(pcr): [] for pcr in sorted(pcrs)}
    for event in events:
        registers[str(event.pcr)].append(
            {"EventType": event.type, "description": event.description} | _digest(event, bank)
        )
    state = {**_code(events, bank), **_secure_boot(events), **_mok(events, bank)}
    boot = {"name": name, "registers": registers}
    return {**state, "boots": [boot], "conditions": [*said, _BEYOND_REPLAY]}


def _code(events: list[LogEvent], bank: str) -> Json:
    version = [_digest(event, bank) for event in events if event.type == "EV_S_CRTM_VERSION"]
    if not version:
        return {}
    blobs = [_digest(event, bank) for event in events if event.type in _BLOBS]
    return {"scrtm_and_bios": [{"scrtm": version[0], "platform_firmware": blobs}]}


def _secure_boot(events: list[LogEvent]) -> Json:
    """Whether images are checked, and the keys: from the data of the events, which are what was hashed."""
    known = [variable(event.data) for event in events if event.type == _CONFIG]
    found: Json = {}
    for each in known:
        if each is not None and each.name == "SecureBoot":
            found["has_secureboot"] = each.data == b"\1"
        elif each is not None:
            found[each.name.lower()] = _signatures(each)
    return found | {"vendor_db": []} if found else {}


def _signatures(known: Known) -> list[Json]:
    try:
        entries = signature_list.parse(known.data)
    except StubsimError as error:
        raise error.within(section=known.name) from None
    return [{"SignatureOwner": str(entry.owner), "SignatureData": f"0x{entry.data.hex()}"} for entry in entries]


def _mok(events: list[LogEvent], bank: str) -> Json:
    rows = [event for event in events if (event.pcr, event.type) == (14, "EV_IPL")]
    return {
        key: [_digest(event, bank) for event in rows if event.description == name]
        for key, name in (("mokdig", "MokList"), ("mokxdig", "MokListX"))
    }


def _digest(event: LogEvent, bank: str) -> Json:
    assert event.digests is not None
    return {bank: f"0x{event.digests[bank].hex()}"}
