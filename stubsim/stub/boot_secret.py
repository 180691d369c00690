"""Random seed and boot secret (systemd-stub: random-seed.c, boot-secret.c)."""

from __future__ import annotations

import hashlib
import struct

from stubsim.stub.context import Context
from stubsim.stub.initrd import Combined
from stubsim.stub.sections import Sections
from stubsim.systemd import random_seed
from stubsim.systemd.key_value import ends_at_separator, key_values
from stubsim.systemd.random_seed import SIZE
from stubsim.systemd.variables import NON_VOLATILE_BOOT_ONLY
from stubsim.trace import EspWritten

# What makes a register another one at each boot.
DRAWN = "drawn at random at this boot"

_LABEL = b"systemd-stub derive secret label v1"
_MIXIN = "\\loader\\boot-secret-mixin"
# EFI_LOADER_FEATURE_RANDOM_SEED of the boot loader interface.
_LOADER_HANDLES_SEED = 1 << 6


def refresh_random_seed(context: Context) -> bool:
    """True when a seed is handed to the system; a boot loader that says it has done this keeps the stub from it.

    Recorded: launch-loaderfeatures. Raises ProgramFailed without a device up to 254.
    """
    esp, model = context.image.esp, context.model
    done = bool(_loader_features(context) & _LOADER_HANDLES_SEED)
    if esp is None and model.halts_without_device and not done:
        raise context.halt("device", "the image was started from memory, and this stub asks where it came from")
    if esp is None or not model.refreshes_random_seed:
        return False
    return random_seed.refresh_random_seed(
        context.services,
        context.host,
        esp,
        context.log,
        creates=model.creates_random_seed,
        creates_folder=model.creates_loader_folder,
        reports_missing=model.reports_missing_seed,
        reports_no_partition=model.searches_el_torito,
        done=done,
    )


def prepare_boot_secret(context: Context, sections: Sections, seeded: bool) -> bytes | None:
    """The 32 bytes for the kernel; None when the stub makes none, b"" when it makes one that cannot be told.

    It needs a seed at this very boot, a variable of the right size and attributes or none yet, and a mixin file of at
    least 32 bytes or none yet (recorded: bootsecret-*).
    """
    if not context.model.makes_boot_secret or context.image.esp is None:
        return None
    if not seeded:
        context.log("debug", "No random seed available, not creating a boot secret.")
        return None
    variable = context.variables.get("LoaderBootSecret")
    secret = None
    if variable is None:
        context.log("debug", "Failed to read LoaderBootSecret EFI variable: Not found")
        context.services.set_variable("LoaderBootSecret", None, NON_VOLATILE_BOOT_ONLY, SIZE)
    elif len(variable.data) != SIZE or variable.attributes & 0x7 != NON_VOLATILE_BOOT_ONLY:
        what = "size" if len(variable.data) != SIZE else "attributes"
        context.log("debug", f"Unexpected {what} of BootSecret EFI variable, ignoring.")
        return None
    else:
        secret = variable.data
    mixin = context.image.esp.read(_MIXIN)
    if not mixin:
        context.emit(EspWritten(_MIXIN, SIZE))
    elif len(mixin) < SIZE:
        context.log("debug", f"Boot secret mixin file '{_MIXIN}' is too short {len(mixin)} < {SIZE}")
        return None
    why = "the stub draws LoaderBootSecret or the mixin at random at this boot"
    if secret is not None and mixin:
        identity = os_id(sections.text(".osrel") or b"", oversteps=context.model.oversteps_empty_values)
        if identity is not None:
            return derive(secret, bytes(mixin[:SIZE]), identity)
        why = ".osrel ends with a key that has no value, and the stub takes what lies behind it in memory"
    if context.host.boot_secret is not None:
        return context.host.boot_secret
    context.unknown("the boot secret", why, "initrd", "variables")
    return b""


def derive(secret: bytes, mixin: bytes, identity: bytes) -> bytes:
    """What the stub hands over, from variable, mixin and OS (confirmed on the recordings)."""
    return hashlib.sha256(_LABEL + secret + mixin + struct.pack("<Q", len(identity)) + identity).digest()


def os_id(osrel: bytes, *, oversteps: bool) -> bytes | None:
    """The first IMAGE_ID, else the last ID, else "linux" (pick_id); None: it lies in memory behind the text."""
    rows = list(key_values(osrel, b"=", oversteps=oversteps))
    images = (row for row in rows if row[0] == b"IMAGE_ID")
    named = next(images, None) or next((row for row in reversed(rows) if row[0] == b"ID"), None)
    if named is None:
        return b"linux"
    return None if oversteps and named is rows[-1] and ends_at_separator(osrel) else bytes(named[1])


def _loader_features(context: Context) -> int:
    variable = context.variables.get("LoaderFeatures")
    return int.from_bytes(variable.data, "little") if variable is not None and len(variable.data) == 8 else 0


def why_random(initrd: Combined) -> str | None:
    """Which bytes of an initrd nobody can know before the boot, and what would tell them; None where all are known."""
    row = next((row for row in initrd.initrds if not row.known), None)
    if row is None:
        return None
    first = row.offset + len(row.parts[0])
    which = f"its boot secret, bytes {first} to {first + SIZE - 1} of {initrd.size}, is {DRAWN}"
    where = "on every machine with a random number generator in its firmware (rng) and a partition to keep a mixin on"
    known = (
        "predictable with boot_secret in the host file, which such a machine has in /.extra/boot-secret of its initrd"
    )
    return f"{which}, as {where}; {known}"
