"""shim from its start to that of its second stage (shim.c, mok.c, sbat.c, verify.c; 15.8 to 16.1 do the same here).

It measures its lists and settings, and each entry that vouched for an image, by its own rules and once.
"""

from __future__ import annotations

from collections.abc import Sequence

from stubsim.errors import StubsimError
from stubsim.formats import signature_list
from stubsim.hosts import Host
from stubsim.rows import NamedTuple
from stubsim.shim.checks import Checks
from stubsim.shim.image import WITH_A_LOADER, Shim, release_of
from stubsim.trace import Unknown
from stubsim.uefi.esp import Esp
from stubsim.uefi.secure_boot import Trusted, is_allowed
from stubsim.uefi.services import Services
from stubsim.uefi.variables import BOOT_SERVICE, NON_VOLATILE, RUNTIME, SHIM_LOCK
from stubsim.uki import Uki

PCR_SECURE_BOOT, PCR_SHIM = 7, 14
# What SbatLevel is where Secure Boot is off, and how long its date is (sbat.h).
_ORIGINAL = b"sbat,1,2021030218\n"
_DATE = 10
_LATEST, _AUTOMATIC, _RESET = 1, 2, 3
# A bit of MokPolicy (mok.h).
_REQUIRES_NX = 1
# Where there is nothing to mirror there is an entry all the same.
_NOTHING = signature_list.build(signature_list.SHA256, SHIM_LOCK, bytes(32))
# Requests of MokManager, which shim starts then.
_REQUESTS = (
    "MokNew", "MokSB", "MokPW", "MokAuth", "MokDel", "MokDB", "MokXNew", "MokXDel", "MokXAuth", "MokDelAuth",
    "MokListTrustedNew",
)  # fmt: skip
# Beside shim, from 15.8 on under Secure Boot.
_CERTIFICATE, _REVOCATIONS = "shim_certificate", ("revocations_sbat.efi", "revocations_sku.efi")
_ATTRIBUTES = NON_VOLATILE | BOOT_SERVICE
_UNKNOWN_STORE = "the host file's variables are not all there are, and shim measures some that no system sees (--vars)"


class _State(NamedTuple):
    """One of shim's variables (mok.c, mok_state_variable_data); ``inverse``: an absent one counts as 1."""

    name: str
    keys: bool = False
    inverse: bool = False
    measured: bool = False
    logged: bool = True


_STATES = (
    _State("MokList", keys=True),
    _State("MokListX", keys=True),
    _State("MokSBState", measured=True),
    _State("SbatLevel", measured=True, logged=False),
    _State("MokListTrusted", inverse=True),
    _State("MokPolicy"),
)


def unbundled(shim: Shim, esp: Esp) -> tuple[str, ...]:
    """The files beside shim from which it takes more certificates and revocations (shim.c, load_unbundled_trust)."""
    names = esp.folder(shim.path[: shim.path.rindex("\\")] or "\\") or []
    return tuple(name for name in names if name.lower().startswith(_CERTIFICATE) or name.lower() in _REVOCATIONS)


def run(
    services: Services, shim: Shim, host: Host, files: Sequence[str] = (), *, whole_store: bool = False
) -> Services:
    """All that shim measures before its second stage; the services as it leaves them, with its own checks in them.

    What it takes from ``files`` beside it is not simulated, so that its registers are unknown then; and so they are
    where its own variables are not known. ``whole_store``: the host's variables are all there are.

    Raises StubsimError for a state in which it starts another program.
    """
    request = next((name for name in _REQUESTS if services.variables.get(name, SHIM_LOCK) is not None), None)
    if request is not None:
        raise StubsimError(
            f"shim starts MokManager, as {request} asks for", path=shim.path, expected="no such variable"
        )
    if not whole_store and _are_a_part(host):
        _doubt(services, _UNKNOWN_STORE, ending=host.secure_boot)
        return services._replace(trusted=lambda image: True)
    for name in files:
        _doubt(services, f"what shim takes from {name} beside it is not simulated", ending=True)
    _set_sbat_level(services, shim, secure_boot=host.secure_boot)
    checks = Checks(services, shim, ignores_db=_is_set(services, "MokDBState", shim))
    for state in _STATES:
        data = _content(services, state, shim)
        if data and state.measured:
            checks.measure(state.name, SHIM_LOCK, data)
        if data and state.logged:
            text = state.name.encode() + b"\0"
            services.measure(PCR_SHIM, "EV_IPL", state.name, services.digests.of(data), text)
        if state.keys:
            checks.mirrored[state.name] = data
    if _is_set(services, "MokPolicy", shim, _REQUIRES_NX):
        why = "MokPolicy asks for images that are NX_COMPAT and have no section to be written and executed"
        services.emit(Unknown("what shim starts", f"{why}, which is not simulated", ("outcome",)))
    if host.secure_boot and _is_set(services, "MokSBState", shim):
        return services._replace(trusted=_unverified(services, shim))
    return services._replace(trusted=checks.trusts)


def _unverified(services: Services, shim: Shim) -> Trusted:
    """What lets images through after `mokutil --disable-validation` (shim.c, secure_mode).

    The second stage is started whatever it is. From 16.0 on shim has no hook in the firmware then, which verifies by
    itself what systemd 258 and later load; before, systemd asks shim, which agrees to anything. Seen with 16.1 and
    262.1: an unsigned UKI is refused, and of a signed one the stub cannot load the kernel.
    """
    if 0 < release_of(shim.image) < WITH_A_LOADER:
        return lambda image: True
    why = "its validation is switched off, and who is asked then, shim or firmware, differs between releases of systemd"
    services.emit(Unknown("what is started behind shim", why, ("outcome",)))
    services.emit(Unknown(f"PCR {PCR_SECURE_BOOT}", why, ("measurements", "pcrs"), (PCR_SECURE_BOOT,)))
    asked: list[Uki] = []

    def trusts(image: Uki) -> bool:
        asked.append(image)
        return len(asked) == 1 or is_allowed(image, secure_boot=True, trusted=services.trusted)

    return trusts


def _is_set(services: Services, name: str, shim: Shim, bits: int = 0xFF) -> bool:
    """Whether a setting of one byte has one of the bits (mok.c, maybe_mirror_one_mok_variable)."""
    data = _content(services, _State(name), shim)
    return len(data) == 1 and bool(data[0] & bits)


def _are_a_part(host: Host) -> bool:
    """Whether shim's lists, which are for boot services alone, may be there and not among the host's variables."""
    variables = host.variables
    return "variables" in host.unknown or (bool(variables) and all(row.attributes & RUNTIME for row in variables))


def _doubt(services: Services, why: str, *, ending: bool) -> None:
    if ending:
        services.emit(Unknown("what shim trusts", why, ("outcome",)))
    for pcr in (PCR_SECURE_BOOT, PCR_SHIM):
        services.emit(Unknown(f"PCR {pcr}", why, ("measurements", "pcrs"), (pcr,)))


def _content(services: Services, state: _State, shim: Shim) -> bytes:
    """What is mirrored for the system: the vendor's lists first, then the variable's data."""
    variable = services.variables.get(state.name, SHIM_LOCK)
    good = variable is not None and variable.attributes & _ATTRIBUTES and not variable.attributes & RUNTIME
    own = variable.data if variable is not None and good else b""
    if state.inverse:
        return b"" if variable is not None else b"\1"
    if not state.keys:
        return own
    vendor = shim.trusted if state.name == "MokList" else shim.revoked
    return vendor + own or _NOTHING


def _set_sbat_level(services: Services, shim: Shim, *, secure_boot: bool) -> None:
    """Write the level that this shim carries, unless the one that is there is as new (set_sbat_uefi_variable)."""
    policy = services.variables.get("SbatPolicy", SHIM_LOCK)
    kind = _AUTOMATIC if policy is None or not policy.data else policy.data[0]
    wanted = shim.level_latest if kind == _LATEST else shim.level_automatic
    reset = not secure_boot and (policy is None or kind not in (_LATEST, _AUTOMATIC))
    if reset:
        wanted = _ORIGINAL
    there = services.variables.get("SbatLevel", SHIM_LOCK)
    if there is not None:
        if not reset and there.attributes == _ATTRIBUTES and _is_as_new(there.data, wanted):
            return
        services.variables.set("SbatLevel", b"", there.attributes, SHIM_LOCK)
    services.variables.set("SbatLevel", wanted, _ATTRIBUTES, SHIM_LOCK)


def _is_as_new(there: bytes, wanted: bytes) -> bool:
    """By the version, a number of so many digits, and then by the date; texts compare as C's strncmp() does."""
    if len(there) < len(_ORIGINAL) or not there.startswith(b"sbat,"):
        return False
    (version, date), (new_version, new_date) = (_fields(text) for text in (there, wanted))
    if len(version) > len(new_version) or (len(version) == len(new_version) and version > new_version):
        return True
    return date[:_DATE] >= new_date[:_DATE]


def _fields(level: bytes) -> tuple[bytes, bytes]:
    fields = [*level.partition(b"\n")[0].split(b","), b"", b"", b""]
    return fields[1], fields[2]
