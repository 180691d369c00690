"""What shim lets through, and how it measures what vouched for it (verify.c; pe.c for .sbat)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from stubsim.errors import StubsimError
from stubsim.formats import signature_list
from stubsim.formats.signature_list import Entry
from stubsim.shim.image import Shim
from stubsim.uefi.image_verification import has_digest, signatures, vouches
from stubsim.uefi.measured.row import variable_data
from stubsim.uefi.measured.secure_boot_policy import IMAGE_SECURITY
from stubsim.uefi.services import Services
from stubsim.uefi.variables import SHIM_LOCK
from stubsim.uki import Uki

if TYPE_CHECKING:
    from stubsim.formats.signature import Signature

_PCR = 7
_AUTHORITY = "EV_EFI_VARIABLE_AUTHORITY"
_SHA256 = "sha256"


class Checks:
    """``mirrored`` are MokList and MokListX as shim has them; ``ignores_db``: db does not count."""

    def __init__(self, services: Services, shim: Shim, *, ignores_db: bool = False) -> None:
        self._services = services
        self._shim = shim
        self._ignores_db = ignores_db
        self._measured: set[tuple[str, UUID, bytes]] = set()
        self.mirrored: dict[str, bytes] = {}

    def measure(self, name: str, guid: UUID, data: bytes) -> None:
        """As the firmware measures its own, but only what shim has not measured before (tpm.c)."""
        if (name, guid, data) not in self._measured:
            self._measured.add((name, guid, data))
            content = variable_data(name, guid, data)
            self._services.measure(_PCR, _AUTHORITY, name, self._services.digests.of(content), content)

    def trusts(self, image: Uki) -> bool:
        """Whether shim lets the image through; measures what vouches for it."""
        forbidden = [*self._entries("dbx", IMAGE_SECURITY), *self._mirrored("MokListX")]
        if has_digest(forbidden, image, _SHA256) is not None or self._is_revoked(image):
            return False
        allowed = [("MokListRT", SHIM_LOCK, self._mirrored("MokList"))]
        if not self._ignores_db:
            allowed.insert(0, ("db", IMAGE_SECURITY, self._entries("db", IMAGE_SECURITY)))
        for name, guid, entries in allowed:
            found = has_digest(entries, image, _SHA256)
            if found is not None:
                self.measure(name, guid, found.signature_data)
                return True
        return self._is_signed(image, forbidden, allowed)

    def _is_signed(self, image: Uki, forbidden: list[Entry], allowed: list[tuple[str, UUID, list[Entry]]]) -> bool:
        for signature in signatures(image):
            if any(vouches(entry, signature) for entry in forbidden):
                return False
            for name, guid, entries in allowed:
                found = _first(entries, signature)
                if found is not None:
                    self.measure(name, guid, found.signature_data)
                    return True
        return False

    def _is_revoked(self, image: Uki) -> bool:
        """Whether a component of the image is older than SbatLevel allows (sbat.c, verify_sbat)."""
        level = self._services.variables.get("SbatLevel", SHIM_LOCK)
        least = _generations(b"" if level is None else level.data)
        section = next((row for row in image.image.sections if row.name == ".sbat"), None)
        if section is None:
            return True
        own = _generations(bytes(image.data(section).held()).rstrip(b"\0"))
        return any(generation < least.get(name, 0) for name, generation in own.items())

    def _entries(self, name: str, guid: UUID) -> list[Entry]:
        variable = self._services.variables.get(name, guid)
        return _parsed(name, b"" if variable is None else variable.data)

    def _mirrored(self, name: str) -> list[Entry]:
        return _parsed(name, self.mirrored.get(name, b""))


def _parsed(name: str, data: bytes) -> list[Entry]:
    try:
        return list(signature_list.parse(data))
    except StubsimError as error:
        raise error.within(section=name) from None


def _first(entries: list[Entry], signature: Signature) -> Entry | None:
    return next((entry for entry in entries if vouches(entry, signature)), None)


def _generations(text: bytes) -> dict[bytes, int]:
    """Component -> generation of each line."""
    rows = (line.split(b",") for line in text.split(b"\n"))
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit() and len(row[1]) < 10}
