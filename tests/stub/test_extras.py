"""The unmeasured archives made of the UKI's own sections; recordings all-sections, rng."""

from __future__ import annotations

import pytest

from stubsim.formats import cpio
from stubsim.stub.extras import generate_boot_secret_initrd, generate_embedded_initrds
from tests.stub.harness import joined, make_uki, run

SECTIONS = {
    ".pcrsig": "tpm2-pcr-signature.json",
    ".pcrpkey": "tpm2-pcr-public-key.pem",
    ".osrel": "os-release",
    ".profile": "profile",
}


@pytest.mark.parametrize("stub", ["257", "262"])
def test_each_section(stub: str):
    one = run(make_uki(*((name, name.encode()) for name in SECTIONS)), stub=stub)
    archives = generate_embedded_initrds(one.context, one.sections())
    assert list(archives) == ["pcrsig", "pcrpkey", "osrel", "profile"]
    for name, file in SECTIONS.items():
        members = cpio.parse(joined(archives[name[1:]]))
        assert [(member.name, member.mode) for member in members[:-1]] == [
            (".extra", 0o040555),
            (f".extra/{file}", 0o100444),
        ]
        assert bytes(members[1].data) == name.encode()
    assert one.trace == []


def test_none():
    one = run()
    assert generate_embedded_initrds(one.context, one.sections()) == {}


def test_boot_secret():
    members = cpio.parse(joined(generate_boot_secret_initrd(b"s" * 32)))
    assert [(member.name, member.mode, bytes(member.data)) for member in members[:-1]] == [
        (".extra", 0o040555, b""),
        (".extra/boot-secret", 0o100400, b"s" * 32),
    ]
