"""What can be said of GUIDs that no stub finds on a machine."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim import chid
from stubsim.explain.near_misses import near_misses
from stubsim.formats import edid, smbios
from stubsim.hosts import Host
from stubsim.stub.models import NEWEST, choose, released

FIELDS = smbios.Fields(
    b"Maker", b"Model 9", b"0C85 ", b"Family", b"Board Maker", None, b"Bios", b"1.0", bios_major=1, bios_minor=11,
    enclosure_type=10,
)  # fmt: skip
HOST = Host(fields=FIELDS)


def guid(*texts: str) -> UUID:
    """Not by the project's own function: the name-based UUID of RFC 9562, 5.5, over UTF-16LE."""
    digest = bytearray(hashlib.sha1(chid.NAMESPACE.bytes + "&".join(texts).encode("utf-16-le")).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return UUID(bytes=bytes(digest))


@pytest.mark.parametrize(
    ("texts", "how"),
    [
        (("Maker",), "this machine's CHID of type 14, which no stub looks up"),
        (("Maker", "a"), "this machine's CHID of type 12, which no stub looks up"),
        (
            ("Maker", "0C85 "),
            "this machine's CHID of type 7 as systemd-analyze chid computes it: product SKU '0C85 ' where a stub "
            "hashes 'C85'",
        ),
        (
            ("Maker", "0C85 ", "Board Maker", ""),
            "this machine's CHID of type 6 of strings that were not stripped: product SKU '0C85 ' where a stub hashes "
            "'C85'",
        ),
        (
            ("Maker", "C85", "Board Maker", "Not Specified"),
            "this machine's CHID of type 6 with dmidecode's words for a missing string: baseboard product "
            "'Not Specified' where a stub hashes ''",
        ),
        (
            ("MAKER", "FAMILY"),
            "this machine's CHID of type 11 in upper case: manufacturer 'MAKER' where a stub hashes 'Maker', family "
            "'FAMILY' where a stub hashes 'Family'",
        ),
        (
            ("Maker", "family"),
            "this machine's CHID of type 11 in lower case: family 'family' where a stub hashes 'Family'",
        ),
        (
            ("Maker", "Family", "Model 9", ""),
            "this machine's CHID of type 4 with a field empty: product SKU '' where a stub hashes 'C85'",
        ),
        (
            ("Maker", "Model 9", "C85", "Board Maker", ""),
            "this machine's CHID of type 3 with a field left out: family 'Family' is not in it",
        ),
        (
            ("Maker", "Bios"),
            "this machine's id of manufacturer, BIOS vendor, which fwupd has and no stub looks up",
        ),
    ],
)  # fmt: skip
def test_each_way(texts: tuple[str, ...], how: str):
    assert near_misses(HOST, NEWEST)[guid(*texts)] == how


def test_byte_order():
    own = guid("Maker", "Model 9")
    swapped = UUID(bytes=own.bytes_le)
    assert near_misses(HOST, NEWEST)[swapped] == (
        f"this machine's CHID of type 9, {own}, with its first three groups byte-swapped"
    )


def test_a_panel_id_is_looked_up_by_some_stubs():
    host = HOST._replace(edid=edid.build("AUO12ab"))
    wanted = guid("Maker", "Family", "Model 9", "AUO12ab")
    assert wanted not in near_misses(host, NEWEST)
    text = near_misses(host, choose(None, "257").model)[wanted]
    assert text == "this machine's CHID of type 15, which stub 257.13 does not look up (those that do: 258 to 262)"
    upper = guid("Maker", "Family", "Model 9", "AUO12AB")
    assert "in upper case: EDID panel 'AUO12AB'" in near_misses(host, NEWEST)[upper]


def test_nothing_is_said_of_what_is_not_known():
    found = near_misses(HOST._replace(unknown=frozenset({"smbios.product_sku"})), NEWEST)
    assert guid("Maker", "0C85 ") not in found
    assert guid("Maker") in found
    for unknown in ("smbios", "smbios_table"):
        assert near_misses(HOST._replace(unknown=frozenset({unknown})), NEWEST) == {}


STRINGS = st.none() | st.text("aB0 \t", max_size=3).map(str.encode) | st.binary(max_size=3)
HOSTS = st.builds(
    lambda texts, panel: Host(fields=smbios.Fields(*texts), edid=panel),
    st.tuples(*[STRINGS] * 8),
    st.none() | st.just(edid.build("ABC12ef")),
)


@given(HOSTS, st.sampled_from(list(released())))
def test_what_a_stub_looks_up_is_no_near_miss(host: Host, model: Any):
    """Whatever the strings are; and what is called another CHID of this machine is one."""
    found = near_misses(host, model)
    panel = None if host.edid is None else edid.panel_id(host.edid)
    own = chid.chids(host.fields, panel)
    assert not {own[type_] for type_ in model.chid_priority} & set(found)
    for guid_, how in found.items():
        named = re.fullmatch(r"this machine's CHID of type (\d+), which .*", how)
        if named:
            assert own[int(named[1])] == guid_


def _host(text: str) -> Host:
    """The first machine in the text of `fwupdtool hwids`."""
    names = {
        "Manufacturer": "manufacturer", "Family": "family", "ProductName": "product_name", "ProductSku": "product_sku",
        "BaseboardManufacturer": "baseboard_manufacturer", "BaseboardProduct": "baseboard_product",
        "BiosVendor": "bios_vendor", "BiosVersion": "bios_version",
    }  # fmt: skip
    numbers = {
        "BiosMajorRelease": ("bios_major", 10),
        "BiosMinorRelease": ("bios_minor", 10),
        "EnclosureKind": ("enclosure_type", 16),
    }
    fields: dict[str, Any] = {}
    for line in text.splitlines():
        key, _, value = line.partition(": ")
        if key in names:
            fields.setdefault(names[key], value.encode())
        elif key in numbers:
            name, base = numbers[key]
            fields.setdefault(name, int(value, base))
    return Host(fields=smbios.Fields(**fields))


def test_the_shipped_ids_on_their_own_machines(shared: Path):
    """Of systemd's table each id that a stub does not find on the machine it was made from is explained."""
    looked_at = 0
    for path in sorted((shared / "data/hwids/fwupd").glob("*.txt")):
        entry = shared / "data/hwids/json" / f"{path.stem}.json"
        # One file tells of two machines.
        if not entry.exists() or path.stem == "x1e80100-microsoft-denali":
            continue
        host = _host(path.read_text())
        own = {value for type_, value in chid.chids(host.fields, None).items() if type_ in chid.PRIORITY}
        near = near_misses(host, NEWEST)
        for text in json.loads(entry.read_text())["hwids"]:
            assert UUID(text) in own or UUID(text) in near, (path.stem, text)
            looked_at += 1
    assert looked_at > 400
    dell = _host((shared / "data/hwids/fwupd/x1e80100-dell-latitude-7455.txt").read_text())
    assert near_misses(dell, NEWEST)[UUID("93055898-8c85-50e7-adde-8115f194579a")] == (
        "this machine's CHID of type 7 as systemd-analyze chid computes it: "
        "product SKU '0C85' where a stub hashes 'C85'"
    )
