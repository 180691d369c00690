"""What keys are called in text for people: no key of the JSON stands there."""

from __future__ import annotations

import re

import pytest

from stubsim import chid
from stubsim.cli import main
from stubsim.hosts import Host
from stubsim.result import facts
from stubsim.simulation import boot
from stubsim.wording import plain
from tests.stub.harness import make_uki


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("product_sku", "product SKU"),
        ("smbios.baseboard_product", "baseboard product"),
        ("bios_major", "BIOS major release"),
        ("edid_panel", "EDID panel"),
        ("memory", "memory"),
        ("pcrs", "PCR values"),
        ("kernel-started", "the kernel starts"),
    ],
)
def test_in_words(key: str, words: str):
    assert plain(key) == words


def test_every_field_and_every_part_of_a_boot_has_words():
    fields = {field for parts in chid.PARTS.values() for field in parts}
    words = {key: plain(key) for key in {*fields, *Host._fields, *facts(boot(make_uki(), Host()))}}
    # fw_cfg is QEMU's own word.
    assert {key for key, text in words.items() if "_" in text.replace("fw_cfg", "")} == set()


def test_chids_names_fields_in_words(capsys: pytest.CaptureFixture[str]):
    assert main(["chids", "--smbios", "fixtures/hosts/google-compute-engine.json"]) == 0
    text = capsys.readouterr().out
    assert 'manufacturer "Google", family "", product name "Google Compute Engine"' in " ".join(text.split())
    assert re.findall(r"\b[a-z]+_[a-z]+\b", text) == []
