"""What Linux measures before it leaves boot services: load options and initrd (libstub, efi_measure_tagged_event)."""

from __future__ import annotations

import struct

from stubsim.formats.efi_string import from_utf16
from stubsim.linux.releases import LinuxModel
from stubsim.rows import NamedTuple

# UAPI specification "TPM PCR measurements of Linux userspace boot components".
PCR_KERNEL_INITRD = 9
LOAD_OPTIONS_TAG, INITRD_TAG = 0x8F3B22ED, 0x8F3B22EC
_TEXTS = {LOAD_OPTIONS_TAG: "LOADED_IMAGE::LoadOptions", INITRD_TAG: "Linux initrd"}
_NO_INITRD = "noinitrd"


class Measurement(NamedTuple):
    """One EV_EVENT_TAG event; its ``data`` are u32 tag, u32 size and the text with its NUL, in ASCII."""

    tag: int
    description: str
    data: bytes


def measurement(tag: int) -> Measurement:
    text = _TEXTS[tag].encode("ascii") + b"\0"
    return Measurement(tag, _TEXTS[tag], struct.pack("<II", tag, len(text)) + text)


def measurements(
    model: LinuxModel, load_options: bytes | None, *, initrd: bool, protocol: str
) -> tuple[Measurement, ...]:
    """What is measured, in order: load options of any size but 0, as they are, then the initrd, if it is loaded.

    ``protocol`` is what there is to measure by: "tcg2", which a kernel prefers, "cc" or "none". The word ``noinitrd``
    on the command line keeps the kernel from loading an initrd.
    """
    if protocol == "none" or (protocol == "cc" and not model.measures_by_cc):
        return ()
    tags = []
    if model.measures_load_options and load_options:
        tags.append(LOAD_OPTIONS_TAG)
    if model.measures_initrd and initrd and not refuses_initrd(load_options):
        tags.append(INITRD_TAG)
    return tuple(measurement(tag) for tag in tags)


def refuses_initrd(load_options: bytes | None) -> bool:
    """Whether the command line has the word noinitrd, before a ``--`` (libstub, efi_parse_options)."""
    for word in from_utf16(load_options or b"").split():
        if word == "--":
            return False
        if word.partition("=")[0].strip('"') == _NO_INITRD:
            return True
    return False
