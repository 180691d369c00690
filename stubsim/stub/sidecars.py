"""Credentials and extension images beside the UKI, packed and measured (systemd-stub: generate_sidecar_initrds)."""

from __future__ import annotations

from collections.abc import Sequence

from stubsim.errors import StubsimError
from stubsim.extent import Bytes
from stubsim.formats import cpio
from stubsim.rows import NamedTuple
from stubsim.stub.addons import extra_folder, folder_files
from stubsim.stub.context import Context
from stubsim.stub.measure import Measured, log_event
from stubsim.stub.pool import Packed, Pages, pack_cpio
from stubsim.systemd.measure import PCR_KERNEL_CONFIG, PCR_SYSTEM_EXTENSIONS

Parts = Sequence[Bytes]


class Sidecar(NamedTuple):
    """One row: which files, from where (None: the UKI's own folder), into what, and who is told."""

    kind: str
    folder: str | None
    suffix: str
    excluded: str | None
    target: str
    dir_mode: int
    file_mode: int
    pcr: int
    flag: str
    description: str
    global_extension: bool = False


_CREDENTIALS, _EXTENSIONS = "\\loader\\credentials", "\\loader\\extensions"
_CONFIG, _SYSTEM = PCR_KERNEL_CONFIG, PCR_SYSTEM_EXTENSIONS

# fmt: off
TABLE = (
    Sidecar("credentials", None, ".cred", None, ".extra/credentials", 0o500, 0o400, _CONFIG, "parameters",
            "Credentials initrd"),
    Sidecar("global-credentials", _CREDENTIALS, ".cred", None, ".extra/global_credentials", 0o500, 0o400, _CONFIG,
            "parameters", "Global credentials initrd"),
    Sidecar("sysext", None, ".raw", ".confext.raw", ".extra/sysext", 0o555, 0o444, _SYSTEM, "sysext",
            "System extension initrd"),
    Sidecar("global-sysext", _EXTENSIONS, ".raw", ".confext.raw", ".extra/global_sysext", 0o555, 0o444, _SYSTEM,
            "sysext", "Global system extension initrd", global_extension=True),
    Sidecar("confext", None, ".confext.raw", None, ".extra/confext", 0o555, 0o444, _CONFIG, "confext",
            "Configuration extension initrd"),
    Sidecar("global-confext", _EXTENSIONS, ".confext.raw", None, ".extra/global_confext", 0o555, 0o444, _CONFIG,
            "confext", "Global configuration extension initrd", global_extension=True),
)
# fmt: on


def generate_sidecar_initrds(
    context: Context, measured: dict[str, Measured], pages: list[Pages] | None = None
) -> dict[str, Parts]:
    """One archive a row that has files, each measured whole, by kind; what they lie in is added to the pages.

    A row without files counts as not measured and so clears its flag (recorded; see `measure.Measured`). Raises
    ProgramFailed where there is no memory.
    """
    pages = [] if pages is None else pages
    archives: dict[str, Parts] = {}
    for row in TABLE:
        if row.global_extension and not context.model.packs_global_extensions:
            continue
        if not context.model.packs_confexts_apart:
            if row.flag == "confext":
                continue
            row = row._replace(excluded=None)  # noqa: PLW2901
        archive = _pack(context, row, pages)
        logged = context.model.counts_nothing_as_measured
        if archive:
            archives[row.kind] = archive
            logged = log_event(context, row.pcr, row.description, context.digests.of_parts(archive))
        measured[row.flag].combine(logged)
    return archives


def _pack(context: Context, row: Sidecar, pages: list[Pages]) -> Parts:
    folder = extra_folder(context) if row.folder is None else row.folder
    names = None if folder is None else folder_files(context, folder, row.suffix, row.excluded)
    if not names:
        return ()
    assert context.image.esp is not None
    files = []
    for name in names:
        content = context.image.esp.read(f"{folder}\\{name}")
        if content is None:
            raise StubsimError(f"{folder}\\{name} vanished while it was read")
        files.append((name, content))
    archive = cpio.pack(row.target, files, row.dir_mode, row.file_mode)
    packed = [Packed(name, len(content), True) for name, content in files]
    pages.append(pack_cpio(context, row.target, packed, sum(map(len, archive))))
    return archive
