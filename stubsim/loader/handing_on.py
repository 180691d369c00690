"""What systemd-boot hands to the image of an entry: load options and an initrd (image_start, initrd_prepare)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from stubsim.extent import Bytes
from stubsim.formats import cpio
from stubsim.formats.efi_string import decode_utf8
from stubsim.loader.entry import LINUX, UKI, UKI_URL, Entry
from stubsim.loader.releases import LoaderModel
from stubsim.rows import NamedTuple
from stubsim.systemd.measure import PCR_KERNEL_CONFIG, PCR_SYSTEM_EXTENSIONS
from stubsim.systemd.strings import NULL, lower
from stubsim.uefi.esp import Esp, same_name

SMBIOS_EXTRA = b"io.systemd.boot.kernel-cmdline-extra="
_EXTRA_MAX = 1536 << 20
_NAME_MAX = 255


class Extra(NamedTuple):
    """One kind of file that the key `extra` takes, by its name's end, and the archive made of them (load_extras)."""

    suffix: str
    target: str
    dir_mode: int
    file_mode: int
    pcr: int
    description: str


# fmt: off
EXTRAS = (
    Extra(".cred", ".extra/credentials", 0o500, 0o400, PCR_KERNEL_CONFIG, "Entry credentials initrd"),
    Extra(".sysext.raw", ".extra/sysext", 0o555, 0o444, PCR_SYSTEM_EXTENSIONS, "Entry system extension initrd"),
    Extra(".confext.raw", ".extra/confext", 0o555, 0o444, PCR_KERNEL_CONFIG, "Entry configuration extension initrd"),
)
# fmt: on


def load_options(entry: Entry, model: LoaderModel, esp: Esp, oem_strings: Sequence[bytes] = ()) -> str | None:
    """The text it passes on and measures into PCR 12; None: neither.

    ``esp`` is the entry's partition. ``oem_strings`` are those of SMBIOS that it may read (none in a confidential
    guest); they reach kernels of Type #1 entries alone.
    """
    text = None if entry.options_implied and not model.passes_implied_options else entry.options
    if entry.kind == LINUX and (named := _named_initrds(entry, model, esp)):
        text = " ".join([*(f"initrd={path}" for path in named), *([] if text is None else [text])])
    if entry.kind == LINUX and model.appends_smbios_extra:
        extra = next((row for row in oem_strings if row.startswith(SMBIOS_EXTRA)), None)
        if extra is not None:
            given = extra.removeprefix(SMBIOS_EXTRA)
            more = None if model.empty_is_missing and not given else decode_utf8(given)
            if text or model.prints_missing_options:
                text = " ".join(NULL if part is None else part for part in (text, more))
            else:
                text = more
    if entry.profile:
        text = f"@{entry.profile} {text}" if text else f"@{entry.profile}"
    return text


def _named_initrds(entry: Entry, model: LoaderModel, esp: Esp) -> list[str]:
    return [path for path in entry.initrds if model.names_empty_initrds or len(esp.read(path) or b"")]


def initrd(entry: Entry, esp: Esp, model: LoaderModel) -> list[Bytes] | str | None:
    """The pieces of the initrd that it registers for the kernel; the first path that does not exist; None: no initrd.

    Empty files are skipped, and so are folders, which have no size (systemd-boot's code in emulation).
    """
    if entry.kind != LINUX or not entry.initrds:
        return None
    pieces: list[Bytes] = []
    for number, path in enumerate(entry.initrds, 1):
        data = esp.read(path)
        if data is None and esp.folder(path) is None:
            return path
        if data is not None and len(data):
            pieces.append(data)
            if model.pads_initrds and (model.pads_last_initrd or number < len(entry.initrds)):
                pieces.append(bytes(-len(data) % 4))
    return [piece for piece in pieces if len(piece)]


def extras(entry: Entry, esp: Esp) -> list[tuple[Extra, list[Bytes]]]:
    """An archive of each kind of extra file that there is, in the order in which they are measured and joined.

    Each file has the folders above it in front of it once more, and all archives number their members in one row.
    """
    if entry.kind not in (UKI, UKI_URL):
        return []
    made: dict[Extra, list[Bytes]] = {}
    numbers = count(1)
    for path in entry.extras:
        name, kind = _on_disk(path, esp), _kind(path)
        data = esp.read(path)
        if kind is None or name is None or data is None or _refused(name, data):
            continue
        parts = made.setdefault(kind, [])
        parts += cpio.folders(kind.target, kind.dir_mode, numbers)
        parts += cpio.file(f"{kind.target}/{name}", data, kind.file_mode, next(numbers))
    return [(kind, [*made[kind], cpio.END]) for kind in EXTRAS if kind in made]


def ignored_extras(entry: Entry, esp: Esp) -> list[tuple[str, str]]:
    """Each file that the entry names in vain, and why."""
    found = []
    for path in entry.extras if entry.kind in (UKI, UKI_URL) else ():
        data, name = esp.read(path), _on_disk(path, esp)
        if data is None or name is None:
            found.append((path, "there is no such file"))
        elif _kind(path) is None:
            found.append((path, f"no credential and no extension ({', '.join(kind.suffix for kind in EXTRAS)})"))
        elif why := _refused(name, data):
            found.append((path, why))
    return found


def _refused(name: str, data: Bytes) -> str | None:
    if not len(data):
        return "it is empty"
    if len(data) > _EXTRA_MAX:
        return f"it has more than {_EXTRA_MAX} bytes"
    if not name.isascii():
        return "its name is not ASCII"
    return "its name is too long" if len(name) > _NAME_MAX else None


def _kind(path: str) -> Extra | None:
    return next((kind for kind in EXTRAS if lower(path).endswith(kind.suffix)), None)


def _on_disk(path: str, esp: Esp) -> str | None:
    """The file's name as the partition has it, whatever case the entry wrote."""
    folder, _, name = path.rpartition("\\")
    return next((file for file in esp.folder(folder) or () if same_name(file, name)), None)
