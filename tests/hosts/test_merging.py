"""Two sources for one machine."""

from __future__ import annotations

import json
from uuid import UUID

import pytest

from stubsim import hosts
from stubsim.hosts import Console, Host
from stubsim.hosts.merging import merge
from tests.hosts.test_raw import TABLE


def host(**value: object) -> Host:
    return hosts.from_json(value)


def test_the_second_fills_what_the_first_does_not_know():
    first = host(smbios={"manufacturer": "M"}, unknown=["smbios.family", "tpm", "console", "memory", "edid"])
    second = host(
        smbios={"manufacturer": "M", "family": "F"},
        tpm={"banks": ["sha384"]},
        console={"graphics": False},
        memory="4G",
        unknown=["edid", "rng"],
    )
    merged, conflicts = merge(first, second)
    assert conflicts == ()
    assert (merged.fields.family, merged.tpm, merged.memory) == (b"F", ("sha384",), 4 << 30)
    assert merged.console == Console(graphics=False)
    # The first knows of no generator, and neither knows the panel.
    assert merged.unknown == {"edid"}


def test_a_contradiction_is_named_and_the_first_counts():
    merged, conflicts = merge(
        host(smbios={"manufacturer": "A"}, memory="1G"), host(smbios={"manufacturer": "B"}, memory="3G")
    )
    assert (merged.fields.manufacturer, merged.memory) == (b"A", 1 << 30)
    assert [row.key for row in conflicts] == ["memory", "smbios.manufacturer"]


def test_a_whole_table_is_taken_where_nothing_speaks_against_it():
    table = hosts.recognise.read_bytes(TABLE).host
    merged, conflicts = merge(host(unknown=["smbios"]), table)
    assert (merged.structures, merged.fields) == (table.structures, table.fields)
    assert not [row for row in conflicts if row.key.startswith("smbios")]
    merged, conflicts = merge(host(smbios={"manufacturer": "another"}), table)
    assert merged.structures is None
    assert conflicts


def test_what_two_sources_say_is_told_as_it_stands_in_a_host_file():
    device = {"dma": True, "vmfwupdate": {"dialect": "qemu-v5", "cap": 136, "bios_size": 65536, "disabled": False}}
    variables = [{"name": "A", "guid": str(UUID(int=1)), "attributes": 7, "data": ""}]
    ours, theirs = host(fw_cfg=device), host(fw_cfg={"dma": False}, variables=variables, tpm={"banks": ["sha1"]})
    rows = {row.key: (row.first, row.second) for row in merge(ours, theirs).conflicts}
    first, second = (json.loads(text) for text in rows["fw_cfg"])
    assert (first | device, first["dma"], second["vmfwupdate"]) == (first, True, None)
    assert rows["variables"] == ("none", "1 of them")
    assert rows["tpm"] == ("'sha256'", "'sha1'")


@pytest.mark.parametrize("given", [host(), host(memory="3G", unknown=["rng"]), hosts.recognise.read_bytes(TABLE).host])
def test_with_itself_nothing_changes(given: Host):
    assert merge(given, given) == (given, ())
