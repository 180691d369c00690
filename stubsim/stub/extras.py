"""Archives made of the UKI's own sections, and of the boot secret; not measured (generate_embedded_initrds)."""

from __future__ import annotations

from collections.abc import Sequence

from stubsim.extent import Bytes
from stubsim.formats import cpio
from stubsim.stub.context import Context
from stubsim.stub.pool import Packed, Pages, pack_cpio
from stubsim.stub.sections import Sections

Parts = Sequence[Bytes]

# Section -> file below .extra; in the order of the initrds.
_FILES = {
    ".pcrsig": "tpm2-pcr-signature.json",
    ".pcrpkey": "tpm2-pcr-public-key.pem",
    ".osrel": "os-release",
    ".profile": "profile",
}


def generate_embedded_initrds(
    context: Context, sections: Sections, pages: list[Pages] | None = None
) -> dict[str, Parts]:
    """An archive of each section that is there; what they lie in is added to the pages. Raises ProgramFailed."""
    pages = [] if pages is None else pages
    archives: dict[str, Parts] = {}
    for section, name in _FILES.items():
        packed = section in (".pcrsig", ".pcrpkey") or context.model.packs_os_release
        data = sections.data(section) if packed and section in context.model.sections else None
        if data is not None:
            archive = archives[section[1:]] = cpio.pack(".extra", [(name, data)], 0o555, 0o444)
            pages.append(pack_cpio(context, ".extra", [Packed(name, len(data), False)], sum(map(len, archive))))
    return archives


def generate_boot_secret_initrd(secret: bytes) -> Parts:
    return cpio.pack(".extra", [("boot-secret", secret)], 0o555, 0o400)
