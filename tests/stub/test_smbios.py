"""SMBIOS in PCR 1; recordings smbiosm-*, smbios11-*, launch-loaderpcrsmbios, sdboot."""

from __future__ import annotations

import hashlib

import pytest

from stubsim.formats import smbios
from stubsim.hosts import Host
from stubsim.hosts.host import Variable
from stubsim.stub.smbios import measure_smbios
from stubsim.trace import Unknown
from stubsim.uefi.loaded_image import ProgramFailed
from stubsim.uefi.variables import LOADER
from tests.stub.harness import run

# Wake-up byte at offset 24 of the structure, which is 20 of what follows its header.
TYPE_1 = bytes((1, 2, 0, 3)) + bytes(range(16)) + b"\x06\x00\x00"
ROWS = [
    smbios.build_structure(11, b"\x01", (b"oem",), 1),
    smbios.build_structure(1, TYPE_1, (b"Maker", b"Model", b"Serial"), 2),
    smbios.build_structure(0, bytes(20), (), 3),
    smbios.build_structure(2, b"\x01\0\0\0", (b"Board",), 4),
    smbios.build_structure(1, bytes(4), (b"short",), 5),
    smbios.build_structure(11, b"\x01", (b"second",), 6),
]
TABLE = smbios.parse(b"".join(ROWS) + b"\x7f\4\0\0\0\0")
HOST = Host(structures=TABLE)


def test_in_table_order_and_whole():
    one = run(host=HOST)
    measure_smbios(one.context)
    tags = {1: 0xD5CB7CBC, 2: 0xE0D47BC8, 11: 0xC0B3BD23}
    wanted = [row for row in TABLE if row.type in tags]
    assert [row.type for row in wanted] == [11, 1, 2, 1, 11]
    for event, row in zip(one.measured(1), wanted, strict=True):
        assert (event.type, event.tag) == ("EV_EVENT_TAG", tags[row.type])
        assert event.description == f"smbios:type{row.type}"
        raw = bytearray(row.raw)
        if len(row.formatted) > 24:
            assert raw[24] == 6
            raw[24] = 0
        assert event.digests["sha256"] == hashlib.sha256(raw).digest()
    marker = one.variables()["LoaderPcrSMBIOS"]
    assert (marker.data, marker.attributes) == ("1\0".encode("utf-16-le"), 6)


@pytest.mark.parametrize(
    ("host", "stub"),
    [
        (HOST, "257"),
        (HOST._replace(tpm=None), "262"),
        # launch-loaderpcrsmbios, sdboot: done before.
        (HOST._replace(variables=(Variable("LoaderPcrSMBIOS", LOADER, 6, b"1\0\0\0"),)), "262"),
    ],
)
def test_not_at_all(host: Host, stub: str):
    one = run(host=host, stub=stub)
    measure_smbios(one.context)
    assert one.trace == []


def test_without_the_raw_table_the_events_are_unknown():
    """Serial numbers and handles are hashed too, and the plain fields do not tell them."""
    one = run(host=Host())
    measure_smbios(one.context)
    assert one.measured(1) == []
    assert one.unknown() == ["the SMBIOS events of PCR 1"]


@pytest.mark.parametrize("before", [[], ROWS[:1]])
def test_what_is_cut_off_is_not_measured(before: list[bytes]):
    """262.1's own code in emulation: a structure whose strings have no end is as good as none."""
    structures, damage = smbios.walk(b"".join([*before, ROWS[1][:-1]]))
    assert structures[-1].type == 1
    one = run(host=Host(structures=structures, damage=str(damage)))
    measure_smbios(one.context)
    assert one.descriptions(1) == ["smbios:type11"] * len(before)
    assert ("LoaderPcrSMBIOS" in one.variables()) == bool(before)
    (unknown,) = [event for event in one.trace if isinstance(event, Unknown)]
    assert unknown.affects == (("measurements",) if before else ("measurements", "variables"))


def test_a_short_type_1_by_release():
    """261 clears byte 24 wherever it lies, here in a string; with less than 27 bytes in all it halts (its own code)."""
    long, short = (smbios.build_structure(1, bytes(4), (text,), 1) for text in (b"x" * 40, b"x" * 16))
    assert len(short) == 26
    for stub, cleared in (("261.0", True), ("261.1", True), ("261.2", False), ("262.0", False)):
        one = run(host=Host(structures=smbios.parse(long)), stub=stub)
        measure_smbios(one.context)
        raw = bytearray(long)
        raw[24] = 0 if cleared else raw[24]
        assert one.measured(1)[0].digests["sha256"] == hashlib.sha256(raw).digest()
        one = run(host=Host(structures=smbios.parse(short)), stub=stub)
        if not cleared:
            measure_smbios(one.context)
            assert one.descriptions(1) == ["smbios:type1"]
            continue
        with pytest.raises(ProgramFailed, match="sizeof") as failure:
            measure_smbios(one.context)
        assert failure.value.status is None
        assert one.log() == ["systemd-boot: Assertion 'size >= sizeof(SmbiosTableType1)' failed"]
        assert "LoaderPcrSMBIOS" not in one.variables()
