"""PCR 7: the variables of Secure Boot, and which entry of db vouched for an image.

MdeModulePkg and SecurityPkg, Tcg2Dxe (MeasureAllSecureVariables) and DxeImageVerificationLib; recorded with OVMF.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from stubsim.errors import StubsimError
from stubsim.extent import Bytes
from stubsim.formats import signature_list
from stubsim.formats.signature_list import Entry
from stubsim.uefi.image_verification import Databases
from stubsim.uefi.measured.row import Row, plain, unknown, variable_data
from stubsim.uefi.platform import Platform
from stubsim.uefi.variables import GLOBAL

# EFI_IMAGE_SECURITY_DATABASE_GUID, and that of SecureBootEnable.
IMAGE_SECURITY = UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f")
_SECURE_BOOT_ENABLE = UUID("f0a30bc7-af08-4556-99c4-001009c93a44")
_CONFIG = "EV_EFI_VARIABLE_DRIVER_CONFIG"
_KEYS = (("PK", GLOBAL), ("KEK", GLOBAL), ("db", IMAGE_SECURITY), ("dbx", IMAGE_SECURITY))
NO_STORE = "the variable store is not at hand (--vars)"


def secure_boot(platform: Platform) -> bool | str:
    """Whether images are checked, or why that is not known.

    A platform key enrolled, and SecureBootEnable not 0: an absent one counts as on (recorded: a store without it).
    """
    if platform.variables is None:
        found = None if platform.baseline is None else platform.baseline.secure_boot
        return NO_STORE if found is None else found
    if not platform.variable("PK"):
        return False
    build = platform.build
    if build is None:
        return platform.no_build
    if not build.secure_boot:
        # 2022.11's other build has the code without SMM around its store, and was never seen with a key.
        return False if not build.no_secure_boot else f"{build.name} was never recorded with a platform key"
    enable = platform.variable("SecureBootEnable", _SECURE_BOOT_ENABLE)
    return not enable or enable[:1] != b"\0"


def events(platform: Platform) -> Iterator[Row]:
    """SecureBoot as the firmware sets it, and the keys as they are in the store; an absent one has no data."""
    yield _state(platform)
    for name, guid in _KEYS:
        if platform.variables is None:
            yield unknown(7, _CONFIG, name, NO_STORE)
        else:
            yield plain(7, _CONFIG, name, variable_data(name, guid, platform.variable(name, guid) or b""))


def _state(platform: Platform) -> Row:
    is_on = secure_boot(platform)
    if isinstance(is_on, str):
        return unknown(7, _CONFIG, "SecureBoot", is_on)
    if platform.build is None:
        return unknown(7, _CONFIG, "SecureBoot", platform.no_build)
    value = b"\1" if is_on else platform.build.no_secure_boot
    return plain(7, _CONFIG, "SecureBoot", variable_data("SecureBoot", GLOBAL, value))


def authority(entry: Entry) -> Row:
    """The entry of db that vouched for an image, which is measured once a boot."""
    data = variable_data("db", IMAGE_SECURITY, entry.signature_data)
    return plain(7, "EV_EFI_VARIABLE_AUTHORITY", "db", data)


def databases(platform: Platform) -> Databases:
    """What the store trusts and what it does not. Raises StubsimError for lists that cannot be read."""
    rows: list[tuple[signature_list.Entry, ...]] = []
    for name in ("db", "dbx"):
        content: Bytes | None = platform.variable(name, IMAGE_SECURITY)
        try:
            rows.append(signature_list.parse(bytes(content or b"")))
        except StubsimError as error:
            raise error.within(section=name) from None
    return Databases(*rows)
