"""The Authenticode digest of a PE image: what the firmware measures into PCR 4 and what a signature signs.

Windows Authenticode Portable Executable Signature Format, "Calculating the PE Image Hash": everything but the
checksum, the certificate table and its data directory entry, the sections by their place in the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from stubsim.errors import StubsimError
from stubsim.extent import Bytes
from stubsim.formats import pe

_CHECKSUM = 64


def digest(image: pe.Image | Bytes, algorithm: str = "sha256") -> bytes:
    """The PE hash by a hashlib algorithm; StubsimError where the bytes are no PE image that can be hashed."""
    if not isinstance(image, pe.Image):
        image = pe.open_bytes(image, "PE image")
    # Sections that lie one over the other would be hashed again and again.
    if sum(section.raw_size for section in image.sections) > len(image.data):
        raise StubsimError("the sections overlap in the file", path=image.path)
    state = hashlib.new(algorithm, usedforsecurity=False)
    for start, end in _ranges(image):
        for block in image.data[start:end].blocks():
            state.update(block)
    return state.digest()


def _ranges(image: pe.Image) -> Iterator[tuple[int, int]]:
    """Start and end of the hashed ranges, in the order of hashing."""
    optional = int.from_bytes(bytes(image.data[0x3C:0x40]), "little") + pe.COFF.size
    directories = optional + pe.DIRECTORIES[image.optional_magic]
    entry = directories + pe.CERTIFICATE_TABLE * 8
    count = int.from_bytes(bytes(image.data[directories - 4 : directories]), "little")
    table, table_size = image.certificate_table
    if image.size_of_headers < directories:
        raise StubsimError(
            f"the headers are said to end at {image.size_of_headers:#x} (SizeOfHeaders), inside themselves",
            path=image.path,
            offset=optional + 60,
            expected=f"{directories:#x} or more",
        )
    yield 0, optional + _CHECKSUM
    if count > pe.CERTIFICATE_TABLE:
        yield optional + _CHECKSUM + 4, entry
        yield entry + 8, image.size_of_headers
    else:
        yield optional + _CHECKSUM + 4, image.size_of_headers
    hashed = image.size_of_headers
    for section in sorted((s for s in image.sections if s.raw_size), key=lambda s: s.raw_offset):
        yield section.raw_offset, section.raw_offset + section.raw_size
        hashed += section.raw_size
    # What is left over is hashed too, but for the certificates, which are the end of the file.
    end = len(image.data) - table_size
    if end < hashed and table_size:
        raise StubsimError(
            f"the certificate table of {table_size} bytes at {table:#x} overlaps the sections",
            path=image.path,
            offset=entry,
            expected=f"a table at {hashed:#x} or behind",
        )
    if end > hashed:
        yield hashed, end
