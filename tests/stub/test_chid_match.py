"""The look-up in `.hwids`; recordings chid-*, hwids-*, launch-edid-*."""

from __future__ import annotations

import struct
from itertools import pairwise
from uuid import UUID

import pytest

from stubsim import chid
from stubsim.chid import PRIORITY
from stubsim.formats import edid, hwids
from stubsim.hosts import Host
from stubsim.stub.chid_match import chid_match
from stubsim.trace import Unknown
from tests.stub.harness import CHIDS, FIELDS, OTHER, run, table

DT, FW = hwids.DEVICETREE, hwids.UEFI_FW
PANEL = "AUO1234"
WITH_PANEL = chid.chids(FIELDS, PANEL)
HOST = Host(fields=FIELDS)


def matched(data: bytes, kind: int = DT, *, host: Host = HOST, stub: str = "262") -> bytes | str | None:
    """The string that won, or the status."""
    match, status = chid_match(run(host=host, stub=stub).context, memoryview(data), kind)
    return status if match is None else match.string


def patched(data: bytes, offset: int, value: int) -> bytes:
    result = bytearray(data)
    struct.pack_into("<I", result, offset, value)
    return bytes(result)


@pytest.mark.parametrize(("higher", "lower"), list(pairwise(PRIORITY)))
def test_priority(higher: int, lower: int):
    """By CHID type, whatever the order in the table; chid-priority-*, fwsel-prio-*."""
    host = HOST._replace(edid=edid.build(PANEL))
    data = table((DT, WITH_PANEL[lower], "low"), (DT, WITH_PANEL[higher], "high"))
    assert matched(data, host=host) == b"high"


@pytest.mark.parametrize("kind", [0, 1, 2, 12, 13, 14])
def test_types_that_never_match(kind: int):
    assert matched(table((DT, CHIDS[kind], "x"))) == "EFI_NOT_FOUND"


def test_table_order_within_a_type():
    """chid-dup."""
    assert matched(table((DT, CHIDS[5], "a"), (DT, CHIDS[5], "b"))) == b"a"


def test_257_knows_no_panels():
    host = HOST._replace(edid=edid.build(PANEL))
    data = table((DT, WITH_PANEL[17], "panel"), (DT, WITH_PANEL[11], "family"))
    assert matched(data, host=host) == b"panel"
    assert matched(data, host=host, stub="257") == b"family"


@pytest.mark.parametrize(
    ("panel", "stub", "expected"),
    [
        (None, "262", b"null"),
        (b"broken", "262", b"null"),
        (edid.build(PANEL), "262", b"real"),
        (None, "257", b"real"),
    ],
)
def test_an_all_zero_id_matches_first_without_panel(panel: bytes | None, stub: str, expected: bytes):
    """chid-nullguid, launch-edid-bad, launch-edid-nullguid."""
    data = table((DT, CHIDS[3], "real"), (DT, None, "null"))
    assert matched(data, host=HOST._replace(edid=panel), stub=stub) == expected


def test_only_entries_of_the_wanted_kind():
    data = table((FW, CHIDS[3], "fw"), (DT, CHIDS[9], "dt"))
    assert matched(data) == b"dt"
    assert matched(data, FW) == b"fw"


def test_a_match_without_string_ends_the_search():
    """hwids-nocompat."""
    data = patched(table((DT, CHIDS[3], "a"), (DT, CHIDS[9], "b")), 24, 0)
    match, status = chid_match(run(host=HOST).context, memoryview(data), DT)
    assert match is not None
    assert (match.string, match.chid_type, status) == (None, 3, None)


@pytest.mark.parametrize("kind", [0, 3, 15])
@pytest.mark.parametrize("stub", ["257", "262"])
def test_an_unknown_kind_refuses_the_table(kind: int, stub: str):
    """Also behind the match: hwids-badtype-after."""
    data = patched(table((DT, CHIDS[3], "a"), (DT, OTHER, "b")), 28, kind << 28 | 28)
    assert matched(data, stub=stub) == "EFI_UNSUPPORTED"


@pytest.mark.parametrize(
    ("kinds", "bad_offset", "status"),
    [
        ((DT, 3), 0, "EFI_INVALID_PARAMETER"),
        ((3, DT), 1, "EFI_UNSUPPORTED"),
        ((DT, 3), 1, "EFI_UNSUPPORTED"),
    ],
)
def test_the_first_bad_entry_says_what_is_wrong(kinds: tuple[int, int], bad_offset: int, status: str):
    """And its kind comes before its offsets: booted systemd-stub 262.1 in QEMU."""
    data = table((DT, CHIDS[3], "a"), (DT, OTHER, "b"))
    for index, kind in enumerate(kinds):
        data = patched(data, 28 * index, kind << 28 | 28)
    assert matched(patched(data, 28 * bad_offset + 24, 8192)) == status


def test_nothing_behind_the_end_is_looked_at():
    """hwids-afterEOL."""
    data = patched(table((DT, OTHER, "x"), (DT, CHIDS[3], "a")), 0, 0)
    assert matched(data) == "EFI_NOT_FOUND"
    assert matched(patched(data, 28, 5 << 28)) == "EFI_NOT_FOUND"


def test_the_descriptors_size():
    """hwids-badsize, hwids-size27: 262 ignores it, 257 wants exactly 0x1000001c."""
    data = patched(table((DT, CHIDS[3], "a")), 0, DT << 28 | 27)
    assert matched(data) == b"a"
    assert matched(data, stub="257") == "EFI_UNSUPPORTED"


@pytest.mark.parametrize(("size", "counts"), [(28, False), (29, True), (56, True)])
def test_an_entry_counts_if_something_follows(size: int, counts: bool):
    """hwids-noeol-exact, hwids-noeol-strings29: (n + 1) * 28 < size, strictly."""
    row = struct.pack("<I16sII", DT << 28 | 28, (CHIDS[3] or UUID(int=0)).bytes_le, 0, 0)
    match, _ = chid_match(run(host=HOST).context, memoryview((row + bytes(28))[:size]), DT)
    assert (match is not None) is counts


@pytest.mark.parametrize("field", [20, 24])
@pytest.mark.parametrize("entry", [0, 1])
def test_offsets_are_checked_by_262_alone(field: int, entry: int):
    """hwids-off-*, hwids-unterminated*: in all entries, name and string alike."""
    data = table((DT, CHIDS[3], "a"), (DT, OTHER, "b"))
    for broken in (patched(data, 28 * entry + field, len(data)), patched(data + b"x", 28 * entry + field, len(data))):
        assert matched(broken) == "EFI_INVALID_PARAMETER"
        assert matched(broken, FW) == "EFI_INVALID_PARAMETER"
        # 257 reads what lies behind the section: no match that can be told.
        expected = None if (entry, field) == (0, 24) else b"a"
        assert matched(broken, stub="257") == expected


@pytest.mark.parametrize(("behind", "pcrs"), [(0, {4, 9, 11, 12, 13}), (1 << 20, {4, 9, 11, 12, 13}), (-1, set())])
def test_257_says_that_it_reads_behind_the_section(behind: int, pcrs: set[int]):
    """hwids-unterminated: no match where it starts in the section. Elsewhere any section may be chosen and measured, as
    257.13's own code does in emulation with an offset of 0x100000.
    """
    data = table((DT, CHIDS[3], "a"))[:-1] + b"x"
    one = run(host=HOST, stub="257")
    chid_match(one.context, memoryview(patched(data, 24, len(data) + behind)), DT)
    (event,) = (event for event in one.trace if isinstance(event, Unknown))
    assert {"outcome", "selection", "pcrs"} <= {*event.affects}
    assert {*event.pcrs} == pcrs


def test_offsets_into_the_table_are_fine():
    """hwids-off-intable."""
    data = patched(table((DT, CHIDS[3], "a")), 24, 3)
    assert matched(data) == data[3:].partition(b"\0")[0]
