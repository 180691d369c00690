"""The unmeasured archives made of the UKI's own sections; recordings all-sections, rng."""

from __future__ import annotations

import pytest

from stubsim.formats import cpio
from stubsim.stub.extras import generate_boot_secret_initrd, generate_embedded_initrds, halt_at_unmeasured_archives
from stubsim.stub.measure import Measured
from stubsim.uefi.loaded_image import ProgramFailed
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


@pytest.mark.parametrize("section", [".pcrsig", ".pcrpkey"])
def test_253_halts_at_an_archive_that_is_not_measured(section: str):
    """253's own code in emulation."""
    uki = make_uki((section, b"x"))
    for stub in ("252.39", "253.1", "254.0"):
        one = run(uki, stub=stub)
        halt_at_unmeasured_archives(one.context, one.sections(), *[Measured()] * 4)
    one = run(uki, stub="253.0")
    with pytest.raises(ProgramFailed) as failure:
        halt_at_unmeasured_archives(one.context, one.sections(), *[Measured()] * 4)
    assert failure.value.message == "systemd-boot assertion 'description' failed"
    one = run(make_uki(), stub="253.0")
    halt_at_unmeasured_archives(one.context, one.sections(), *[Measured()] * 4)
