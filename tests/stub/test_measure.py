"""What goes into the TPM and how it is logged; every recording with a TPM, tpm-4banks, no-tpm."""

from __future__ import annotations

import hashlib
import struct

import pytest

from stubsim.chid import PRIORITY
from stubsim.formats import hwids
from stubsim.formats.pe import SectionSpec
from stubsim.hosts import Host
from stubsim.stub.measure import Measured, log_event, measure_sections
from stubsim.stub.profile import measure_profile
from tests.stub.harness import CHIDS, FIELDS, OTHER, Row, devicetree, firmware, make_uki, run, table

THIS = CHIDS[PRIORITY[3]]
ORDER = (
    ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat", ".pcrpkey",
    ".profile", ".dtbauto", ".hwids", ".efifw",
)  # fmt: skip


def everything(chid: object = THIS) -> list[Row]:
    """A section of each known name, back to front, with contents of their own."""
    special = {
        ".dtbauto": devicetree("tree"),
        ".efifw": firmware("fw"),
        ".hwids": table((hwids.DEVICETREE, chid, "tree"), (hwids.UEFI_FW, chid, "fw")),  # type: ignore[arg-type]
    }
    names = [name for name in reversed(ORDER) if name not in (".linux", ".profile")]
    rows: list[Row] = [(name, special.get(name, name.encode() + b" content")) for name in names]
    return [*rows, (".pcrsig", b"never measured"), (".profile", b"ID=x")]


def test_order_of_pcr_11():
    """all-sections: name with NUL, then data; both under the section's name; .pcrsig never."""
    one = run(make_uki(*everything()), Host(fields=FIELDS))
    sections, image = one.sections(), Measured()
    measure_sections(one.context, sections, image)
    assert one.descriptions(11) == [name for name in ORDER for _ in range(2)]
    events = one.measured(11)
    for name, first, second in zip(ORDER, events[::2], events[1::2], strict=True):
        data = sections.data(name)
        assert data is not None
        assert first.type == second.type == "EV_IPL"
        assert first.data == second.data == f"{name}\0".encode("utf-16-le")
        assert first.digests["sha256"] == hashlib.sha256(name.encode() + b"\0").digest()
        assert second.digests["sha256"] == hashlib.sha256(bytes(data)).digest()
    assert image.all is True


def test_pcr_11_depends_on_the_machine():
    """efifw-match, efifw-nomatch: what was not selected is not measured."""
    one = run(make_uki(*everything(OTHER)), Host(fields=FIELDS))
    measure_sections(one.context, one.sections(), Measured())
    assert [name for name in ORDER if name not in one.descriptions(11)] == [".dtbauto", ".efifw"]


def test_257_never_measures_firmware():
    one = run(make_uki(*everything()), Host(fields=FIELDS), stub="257")
    measure_sections(one.context, one.sections(), Measured())
    assert ".efifw" not in one.descriptions(11)


def test_dtb_is_measured_though_another_is_installed():
    """dtb-and-dtbauto."""
    one = run(make_uki(*everything()), Host(fields=FIELDS))
    measure_sections(one.context, one.sections(), Measured())
    assert {".dtb", ".dtbauto"} < set(one.descriptions(11))


def test_padding_is_measured():
    """pe-virtual-larger: VirtualSize bytes."""
    one = run(make_uki(SectionSpec(".osrel", b"x", virtual_size=700)))
    measure_sections(one.context, one.sections(), Measured())
    assert one.measured(11)[-1].digests["sha256"] == hashlib.sha256(b"x" + bytes(699)).digest()


@pytest.mark.parametrize("banks", [("sha1",), ("sha256", "sha384"), ("sha1", "sha256", "sha384", "sha512")])
def test_every_bank(banks: tuple[str, ...]):
    """tpm-4banks; the registers are extended as well."""
    one = run(host=Host(tpm=banks))
    assert log_event(one.context, 12, "x", one.context.digests.of(b"data"))
    (event,) = one.measured(12)
    assert event.digests == {bank: hashlib.new(bank, b"data").digest() for bank in banks}
    for bank in banks:
        size = hashlib.new(bank).digest_size
        expected = hashlib.new(bank, bytes(size) + event.digests[bank]).digest()
        assert one.context.tpm.pcrs()[bank][12] == expected


def test_tagged_event():
    one = run()
    log_event(one.context, 12, "ab", one.context.digests.of(b""), 0x13AED6DB)
    (event,) = one.measured(12)
    text = "ab\0".encode("utf-16-le")
    assert (event.type, event.tag) == ("EV_EVENT_TAG", 0x13AED6DB)
    assert event.data == struct.pack("<II", 0x13AED6DB, len(text)) + text


def test_without_tpm():
    """no-tpm: nothing is logged, and nothing counts as measured."""
    one = run(make_uki((".osrel", b"x")), Host(tpm=None))
    image = Measured()
    measure_sections(one.context, one.sections(), image)
    assert one.trace == []
    assert image.all is False


def test_tdx_guest_without_tpm():
    """Its measurement protocol knows EV_IPL alone, and PCR 12 is RTMR 2 (UEFI 2.10, 38.4.1); never recorded."""
    one = run(host=Host(tpm=None, confidential="tdx"))
    digests = one.context.digests.of(b"data")
    assert log_event(one.context, 12, "x", digests, 0x13AED6DB)
    (event,) = one.measured(12)
    assert (event.type, event.tag, event.data) == ("EV_IPL", None, "x\0".encode("utf-16-le"))
    expected = hashlib.sha384(bytes(48) + hashlib.sha384(b"data").digest()).digest()
    assert one.context.tpm.rtmrs() == {0: bytes(48), 1: bytes(48), 2: expected}


@pytest.mark.parametrize(("profile", "texts"), [(0, []), (1, ["1"]), (4294967295, ["4294967295"])])
def test_profile(profile: int, texts: list[str]):
    """profile-at0, profile-at1, profile-at-max: PCR 12, the decimal number in UTF-16 with its NUL."""
    one = run()
    measure_profile(one.context, profile, Measured())
    assert [(event.description, event.tag) for event in one.measured(12)] == [(text, 0x13AED6DB) for text in texts]
    for event in one.measured(12):
        assert event.digests["sha256"] == hashlib.sha256(f"{profile}\0".encode("utf-16-le")).digest()
