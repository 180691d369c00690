"""A UKI as systemd-stub sees it: its sections, its profiles, and which stub is in it."""

from __future__ import annotations

from functools import cached_property

from stubsim.digests import Shared
from stubsim.errors import StubsimError
from stubsim.extent import Bytes, Extent
from stubsim.formats import efi_program, efifw, pe, pe_memory
from stubsim.rows import NamedTuple

# Readers and ukify agree on this many profiles; the text of further ones is not read.
PROFILES_MAX = 256
# Bytes of a text that is decoded, such as a command line.
TEXT_MAX = 6 << 20
_NULS = 6


class Profile(NamedTuple):
    """The sections from one ``.profile`` up to the next, that one included."""

    index: int  # type: ignore[assignment]
    id: str | None
    title: str | None
    sections: tuple[pe.Section, ...]


class Uki:
    """A UKI on disk, and what of it lies in memory when the firmware has loaded it."""

    def __init__(self, image: pe.Image) -> None:
        self.path = image.path
        self.image = image
        self.size = len(image.data)
        # As in host files; a number where there is no name for it.
        self.machine = pe.MACHINES.get(image.machine, f"{image.machine:#06x}")
        self._firmwares: dict[int, efifw.Efifw] = {}
        self._inner: dict[int, pe.Image] = {}
        self._authenticode: dict[tuple[object, str], tuple[Bytes, bytes]] = {}
        # Every .profile counts, whatever its size (systemd-stub, pe_section_table_find_profile_start).
        starts = [section.index for section in image.sections if section.name == ".profile"]
        ends = [*starts[1:], len(image.sections)]
        self.base = image.sections[: starts[0]] if starts else image.sections
        self.profiles = tuple(
            self._profile(index, image.sections[start:end])
            for index, (start, end) in enumerate(zip(starts, ends, strict=False))
        )
        self.stub = efi_program.stub(image, self.loaded)
        # What was hashed of it once is known to every boot of it.
        self.digests = Shared(image.data)

    def inner(self, section: pe.Section) -> pe.Image:
        """The image in a section, such as the kernel; StubsimError where there is none."""
        if section.index not in self._inner:
            self._inner[section.index] = pe.open_bytes(self.data(section), f"{self.path}: {section.name}")
        return self._inner[section.index]

    def authenticode(self, algorithm: str, data: Extent | None = None) -> bytes:
        """The Authenticode digest of an image, the file itself by default, made once for each.

        Raises StubsimError as `formats.authenticode.digest` does.
        """
        from stubsim.formats import authenticode

        image = self.image.data if data is None else data
        key = (image.key, algorithm)
        if key not in self._authenticode:
            # With the bytes, since a key stands for them only as long as they are there.
            self._authenticode[key] = image, authenticode.digest(self.image if data is None else data, algorithm)
        return self._authenticode[key][1]

    @cached_property
    def loaded(self) -> Extent:
        """The SizeOfImage bytes in memory: what stub, kernel and TPM see, where sections overlap not the file's."""
        image = self.image
        return pe_memory.loaded(image.data, image.size_of_image, image.size_of_headers, image.sections)

    @cached_property
    def headers(self) -> pe.Headers | None:
        """The file's headers as stubs read them, whatever processor it is for."""
        return pe.read_headers(self.image.data)

    def data(self, section: pe.Section) -> Extent:
        """The section's VirtualSize bytes in memory."""
        return self.loaded[section.virtual_address :][: section.virtual_size]

    def text(self, section: pe.Section) -> bytes:
        """What the section says, as `text_of`; StubsimError where that is too long."""
        try:
            return text_of(self.data(section))
        except StubsimError as error:
            raise error.within(path=self.path, section=section.name) from None

    def efifw(self, section: pe.Section) -> efifw.Efifw:
        """A `.efifw` section's blob, always the same one, so that its payload is hashed once; raises StubsimError."""
        if section.index not in self._firmwares:
            self._firmwares[section.index] = efifw.parse(self.data(section))
        return self._firmwares[section.index]

    def _profile(self, index: int, sections: tuple[pe.Section, ...]) -> Profile:
        if index >= PROFILES_MAX:
            return Profile(index, None, None, sections)
        fields = _os_release(efi_program.text(self.loaded, sections[0]))
        return Profile(index, fields.get("ID"), fields.get("TITLE"), sections)


def text_of(data: Bytes) -> bytes:
    """Bytes of which a text is made, with a NUL or up to their end.

    A NUL inside a broken UTF-8 sequence, of at most 6 bytes, does not end a text (efi_string.decode_utf8), but of six
    of them the last one does. StubsimError: longer than a command line or an os-release can be.
    """
    size = data.stored + _NULS if isinstance(data, Extent) else len(data)
    start = bytes(data[: min(size, TEXT_MAX + _NULS)])
    end = start.find(bytes(_NULS))
    if end < 0 and len(start) < len(data):
        raise StubsimError(f"the text is longer than {TEXT_MAX >> 20} MiB", expected="a NUL before")
    return start if end < 0 else start[: end + _NULS]


def load(path: str) -> Uki:
    """Open a UKI. StubsimError: what pe.open_image raises."""
    return Uki(pe.open_image(path))


def _os_release(text: str) -> dict[str, str]:
    """Key and value of each line, one pair of quotes removed; as in systemd-boot, the last of a key counts."""
    fields = {}
    for line in text.splitlines():
        key, found, value = line.strip().partition("=")
        if not found or key.startswith("#"):
            continue
        if len(value) > 1 and value[0] in "\"'" and value[-1] == value[0]:
            value = value[1:-1]
        fields[key.strip()] = value
    return fields
