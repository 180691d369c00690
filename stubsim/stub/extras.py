"""Archives made of the UKI's own sections, and of the boot secret; not measured (generate_embedded_initrds)."""

from __future__ import annotations

from collections.abc import Sequence

from stubsim.extent import Bytes
from stubsim.formats import cpio
from stubsim.stub.context import Context
from stubsim.stub.measure import Measured
from stubsim.stub.pool import Packed, Pages, pack_cpio
from stubsim.stub.sections import Sections
from stubsim.stub.variables import export_pcr_variables

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


def halt_at_unmeasured_archives(context: Context, sections: Sections, *measured: Measured) -> None:
    """253 asks for the description of an event that it does not make; raises ProgramFailed.

    It comes to this before it installs a devicetree, and behind the StubPcr* variables.
    """
    section = next((name for name in (".pcrsig", ".pcrpkey") if sections.data(name) is not None), None)
    if section is not None and context.model.halts_at_unmeasured_archives:
        export_pcr_variables(context, *measured)
        raise context.halt(context.model.event_assertion, f"of {section} it makes an archive that is not measured")


def generate_boot_secret_initrd(secret: bytes) -> Parts:
    return cpio.pack(".extra", [("boot-secret", secret)], 0o555, 0o400)
