"""The EFI programs on a partition: which are UKIs, and what the others are."""

from __future__ import annotations

import os

from stubsim import uki
from stubsim.errors import StubsimError
from stubsim.formats import efi_program
from stubsim.rows import NamedTuple
from stubsim.stub.recognise import not_a_uki
from stubsim.systemd.key_value import key_values
from stubsim.uefi.esp import Esp
from stubsim.uki import Uki

_NAMES = ("PRETTY_NAME", "IMAGE_ID", "NAME", "ID")
_VERSIONS = ("IMAGE_VERSION", "VERSION", "VERSION_ID", "BUILD_ID")


class Found(NamedTuple):
    """A file that ends in .efi or begins like a program; ``why`` it is no UKI, None: it is one.

    The path is below the folder; no image: the file cannot be read as one.
    """

    path: str
    size: int
    image: Uki | None
    os: str | None
    why: str | None


class Partition(NamedTuple):
    """In the order of their paths; ``others`` counts the files that are no programs."""

    programs: tuple[Found, ...]
    others: int


def read(folder: str) -> Partition:
    """Every program below a folder. StubsimError: not a folder; a file that cannot be read is a row that says so."""
    paths = Esp(folder).paths()
    found = [_found(folder, path) for path in paths if _is_program(path)]
    return Partition(tuple(found), len(paths) - len(found))


def _is_program(path: str) -> bool:
    """By its name or its first bytes: a kernel of a loader entry has any name."""
    if path.lower().endswith(".efi"):
        return True
    try:
        with open(path, "rb") as file:
            return file.read(2) == b"MZ"
    except OSError:
        return False


def _found(folder: str, path: str) -> Found:
    name, size = os.path.relpath(path, folder), os.stat(path).st_size
    try:
        image = uki.load(path)
        return Found(name, size, image, _os(image), _why(image))
    except StubsimError as error:
        # The path stands in front already.
        error.path = None
        return Found(name, size, None, None, str(error))


def _why(image: Uki) -> str | None:
    program = not_a_uki(image)
    if program is not None:
        return program.what
    return None if efi_program.has_kernel(image.image) else "no .linux, not a UKI"


def _os(image: Uki) -> str | None:
    """The system of the base's .osrel, named as systemd-boot does, and its version where the name has none."""
    section = next((section for section in image.base if section.name == ".osrel"), None)
    if section is None:
        return None
    try:
        text = image.text(section)
    except StubsimError:
        return None
    fields = {key.decode("utf-8", "replace"): bytes(value) for key, value in key_values(text, b"=")}
    name = next((key for key in _NAMES if key in fields), None)
    if name is None:
        return None
    version = None if name == "PRETTY_NAME" else next((key for key in _VERSIONS if key in fields), None)
    return " ".join(fields[key].decode("utf-8", "replace") for key in (name, version) if key is not None)
