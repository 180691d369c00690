"""What systemd-boot hands to the image of an entry: load options and an initrd (image_start, initrd_prepare)."""

from __future__ import annotations

from collections.abc import Sequence

from stubsim.extent import Bytes
from stubsim.formats.efi_string import decode_utf8
from stubsim.loader.entry import LINUX, Entry
from stubsim.loader.releases import LoaderModel
from stubsim.uefi.esp import Esp

_SMBIOS_EXTRA = b"io.systemd.boot.kernel-cmdline-extra="


def load_options(entry: Entry, model: LoaderModel, oem_strings: Sequence[bytes] = ()) -> str | None:
    """The text it passes on and measures into PCR 12; None: neither.

    An image's own command line is not passed on. ``oem_strings`` are those of SMBIOS that it may read (none in a
    confidential guest); they reach kernels of Type #1 entries alone.
    """
    text = None if entry.options_implied else entry.options
    if entry.kind == LINUX and entry.initrds:
        text = " ".join([*(f"initrd={path}" for path in entry.initrds), *([] if text is None else [text])])
    if entry.kind == LINUX and model.appends_smbios_extra:
        extra = next((row for row in oem_strings if row.startswith(_SMBIOS_EXTRA)), None)
        if extra is not None:
            more = decode_utf8(extra.removeprefix(_SMBIOS_EXTRA))
            text = f"{text} {more}" if text else more
    if entry.profile:
        text = f"@{entry.profile} {text}" if text else f"@{entry.profile}"
    return text


def initrd(entry: Entry, esp: Esp, model: LoaderModel) -> list[Bytes] | str | None:
    """The pieces of the initrd that it registers for the kernel; the first path that does not exist; None: no initrd.

    Empty files are skipped. The last file is not padded (systemd issue 35439).
    """
    if entry.kind != LINUX or not entry.initrds:
        return None
    pieces: list[Bytes] = []
    for number, path in enumerate(entry.initrds, 1):
        data = esp.read(path)
        if data is None:
            return path
        if len(data):
            pieces.append(data)
            if model.pads_initrds and number < len(entry.initrds):
                pieces.append(bytes(-len(data) % 4))
    return [piece for piece in pieces if len(piece)]
