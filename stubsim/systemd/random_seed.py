"""The random seed on the partition, which loader and stub refresh (src/boot/random-seed.c)."""

from __future__ import annotations

from collections.abc import Callable

from stubsim.hosts import Host
from stubsim.systemd.variables import ATTRIBUTES
from stubsim.uefi.esp import Esp
from stubsim.uefi.services import Services

SIZE = 32
SEED = "\\loader\\random-seed"
_SEED_MAX = 32 * 1024


def refresh_random_seed(
    services: Services,
    host: Host,
    esp: Esp,
    log: Callable[[str, str], None],
    *,
    creates: bool,
    creates_folder: bool,
    reports_missing: bool = True,
    reports_no_partition: bool = True,
    done: bool = False,
    by_partition: bool = True,
) -> bool:
    """Rewrite the seed file where the machine has entropy of its own; True when a seed is handed to the system.

    Without ``creates`` it only rewrites a file that is there, with it it makes one where there is a generator
    (recorded: seed, seed-rng-token, rng), and with ``creates_folder`` the folder, too. ``reports_missing``: of the
    file. ``done``: a boot loader says it has done this; it needs the same, and leaves its seed for the boot secret.
    With ``by_partition`` the file's partition is found by the hard drive node of the image's device path, so on a disk
    without partitions there is no seed (booted systemd-stub 257.13, 262.1); a loader reads where it was started from.
    """
    if by_partition and host.esp_partition_uuid is None:
        if reports_no_partition and not done:
            log("debug", "No hard drive device path node found.")
        return False
    if not (host.rng or _has_token(services, host)):
        return False
    existing = esp.read(SEED)
    size = 0 if existing is None else len(existing)
    if existing is None and not (host.rng and creates and (creates_folder or esp.folder("\\loader") is not None)):
        if reports_missing and not done:
            log("error" if host.rng and creates else "debug", "Failed to open random seed file: Not found")
        return False
    if done:
        return True
    if size > _SEED_MAX:
        log("error", "Random seed file is too large.")
        return False
    # Where a file can be created, one that is too short is taken as just created.
    if size < SIZE and not creates:
        log("error", "Random seed file is too short.")
        return False
    services.write(SEED, max(SIZE, size))
    return True


def renew_by_variable(services: Services, host: Host, esp: Esp, mode: str) -> None:
    """What systemd-boot 252 does: a seed of the file and the system token for userspace, in LoaderRandomSeed.

    ``mode`` is that of loader.conf: "off", "with-system-token" or "always".
    """
    token = services.variables.get("LoaderSystemToken")
    if host.secure_boot or mode == "off" or (mode != "always" and (token is None or not token.data)):
        return
    existing = esp.read(SEED)
    if existing is not None and SIZE <= len(existing) <= _SEED_MAX:
        services.write(SEED, len(existing))
        services.set_variable("LoaderRandomSeed", None, ATTRIBUTES, len(existing))


def _has_token(services: Services, host: Host) -> bool:
    """Whether the system token stands in for a generator: not under Secure Boot (systemd-stub, random-seed.c)."""
    token = services.variables.get("LoaderSystemToken")
    return token is not None and len(token.data) >= SIZE and not host.secure_boot
