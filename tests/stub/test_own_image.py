"""What the firmware makes of the image in memory, where that decides what the stub finds."""

from __future__ import annotations

import struct

from stubsim.formats import pe
from stubsim.formats.pe import SectionSpec
from stubsim.hosts import Host
from stubsim.result import Boot
from stubsim.simulation import boot
from stubsim.trace import Unknown
from stubsim.uki import Uki
from stubsim.views.inspect import inspect_json
from tests.samples import uki

HOST = Host(tpm=("sha256",))


def opened(*more: SectionSpec, **options: object) -> Uki:
    return Uki(pe.open_bytes(uki(*more, **options), "lab.efi"))


def unknown(result: Boot) -> list[str]:
    return [event.what for event in result.trace if isinstance(event, Unknown) and "outcome" in event.affects]


def test_zeros_over_the_headers():
    """A section without data passes the firmware's checks wherever it lies."""
    image = opened(SectionSpec(".zero", virtual_address=0, virtual_size=0x400))
    result = boot(image, HOST)
    assert unknown(result) == ["the image in memory"]
    assert result.pcrs["sha256"].keys() >= {11}
    assert 11 not in result.known_pcrs["sha256"]
    assert any(
        "the image in memory is not known: section 5 (.zero)" in text for text in inspect_json(image)["warnings"]
    )


def test_data_behind_the_end():
    """A section that is empty in memory is copied whole, and nothing checks that there is room."""
    for size, expected in ((4096, []), (4097, ["the image in memory"])):
        result = boot(opened(SectionSpec(".last", b"x" * size, virtual_size=0)), HOST)
        assert unknown(result) == expected
        assert (11 in result.known_pcrs["sha256"]) is not bool(expected)
    result = boot(opened(SectionSpec(".last", b"x" * 4097, virtual_size=1)), HOST)
    assert unknown(result) == []


def test_zeros_behind_the_section_table_harm_nothing():
    image = opened(SectionSpec(".zero", virtual_address=0x3F0, virtual_size=8))
    assert image.image.size_of_headers == 0x400
    result = boot(image, HOST)
    assert unknown(result) == []
    assert 11 in result.known_pcrs["sha256"]


def relocations(page: int) -> SectionSpec:
    return SectionSpec(".reloc", struct.pack("<IIH", page, 10, 10 << 12), virtual_address=0x9000)


def test_base_relocations_in_a_section_that_is_measured():
    plain = opened()
    at = {section.name: section.virtual_address for section in plain.image.sections}
    for name in (".cmdline", ".linux"):
        image = opened(relocations(at[name]), base_relocations=(0x9000, 10))
        result = boot(image, HOST)
        assert unknown(result) == [f"section {'2' if name == '.cmdline' else '4'} ({name}) in memory"]
        assert 11 not in result.known_pcrs["sha256"]
    elsewhere = opened(relocations(at[".sdmagic"]), base_relocations=(0x9000, 10))
    result = boot(elsewhere, HOST)
    assert unknown(result) == []
    assert 11 in result.known_pcrs["sha256"]
