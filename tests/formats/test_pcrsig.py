"""`.pcrsig`: what systemd-measure writes comes back, what systemd would not look at is no reason to give up."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.errors import StubsimError
from stubsim.formats import pcrsig
from stubsim.formats.pcrsig import Bank, Entry
from tests.swtpm import software_tpm

ENTRY = Entry((11,), bytes(32), b"\x01" * 32, b"\x02" * 256)
ROW: dict[str, Any] = {"pcrs": [11], "pkfp": "00" * 32, "pol": "01" * 32, "sig": "AgIC"}


def parsed(value: object) -> tuple[Bank, ...]:
    return pcrsig.parse(json.dumps(value).encode())


def entry(**changes: object) -> Entry:
    ((_, (one,), fault),) = parsed({"sha256": [ROW | changes]})
    assert fault is None
    return one


def test_built_and_parsed():
    banks = (Bank("sha1", (ENTRY,)), Bank("sha256", (ENTRY._replace(ref="initrd"), ENTRY._replace(pcrs=(7, 11)))))
    assert pcrsig.parse(pcrsig.build(banks)) == banks


def test_blanks_behind_it_are_no_matter():
    """`ukify --policy-digest` leaves room for signatures."""
    assert pcrsig.parse(pcrsig.build([Bank("sha256", (ENTRY,))]) + b" " * 1024)[0].entries == (ENTRY,)


@pytest.mark.parametrize(
    ("bank", "value", "policy"),
    [
        # systemd-measure 262.1, of 5000 zeros as kernel at enter-initrd: calculate, and policy-digest.
        (
            "sha256",
            "57f960d4a6388f214805bed79a63097a80aa38c8fc61a3194b396e44c816b0a9",
            "34138857df4c25a380230c91915ff81e94f59103ffbad11ae48da206db949583",
        ),
        # A machine's PCR 11 of a real boot of stub 262.1 at enter-initrd, and what its UKI's .pcrsig is for.
        (
            "sha256",
            "16235a8255e0efc0eae9d9c67ed14e23c5944f82fe61cabba720662498096250",
            "33595c4285515b1bc22e3c4c1510d7820dd2aa7990c13a137a9053b0befc8206",
        ),
    ],
)
def test_policy(bank: str, value: str, policy: str):
    assert pcrsig.policy_pcr(bank, {11: bytes.fromhex(value)}).hex() == policy


@pytest.mark.oracle
@pytest.mark.parametrize("pcrs", [(11,), (0, 7, 8, 23)], ids=str)
@pytest.mark.parametrize("bank", ["sha1", "sha256", "sha384"])
def test_tpm2_policypcr(
    tmp_path: Path, oracle: Callable[[str], str], tpm: dict[str, str], bank: str, pcrs: tuple[int, ...]
):
    values = {pcr: bytes([pcr + 1]) * hashlib.new(bank).digest_size for pcr in pcrs}
    (tmp_path / "pcrs").write_bytes(b"".join(values[pcr] for pcr in pcrs))
    for command in (
        ["tpm2_startauthsession", "-S", "session"],
        ["tpm2_policypcr", "-S", "session", "-l", f"{bank}:{','.join(map(str, pcrs))}", "-f", "pcrs", "-L", "policy"],
        ["tpm2_flushcontext", "session"],
    ):
        subprocess.run([oracle(command[0]), *command[1:]], cwd=tmp_path, env=tpm, check=True, capture_output=True)
    assert (tmp_path / "policy").read_bytes() == pcrsig.policy_pcr(bank, values)


@pytest.fixture(scope="module")
def tpm(tmp_path_factory: pytest.TempPathFactory, oracle: Callable[[str], str]) -> Iterator[dict[str, str]]:
    with software_tpm(tmp_path_factory.mktemp("tpm"), oracle) as environment:
        yield environment


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "Expecting value"),
        (b"{}\0", "Extra data"),
        (b"\xff{}", "not UTF-8"),
        (b"[]", "not a JSON object"),
        (b'{"sha256": [}', "Expecting value"),
        (b'{"sha256": [], "sha256": []}', "twice"),
        (b'{"x": ' + b"[" * 100_000, "too deep"),
        (b'{"x": NaN}', "NaN"),
        (b'{"sha256": [' + b"1," * pcrsig.ENTRIES_MAX + b"1]}", "signatures"),
        (b" " * (pcrsig.SIZE_MAX + 1), "larger than"),
    ],
    ids=lambda value: str(value[:20]),
)
def test_no_signatures_at_all(data: bytes, message: str):
    with pytest.raises(StubsimError, match=message) as caught:
        pcrsig.parse(data)
    assert caught.value.section == ".pcrsig"


@pytest.mark.parametrize("rows", [5, None, {}, "x"], ids=str)
def test_a_bank_that_is_no_array(rows: object):
    first, second = parsed({"sha1": rows, "sha256": [ROW]})
    assert (first.entries, first.fault) == ((), "its value is not an array")
    assert len(second.entries) == 1


@pytest.mark.parametrize(
    "row", [None, [], "x", {"pcrs": 11}, {"pcrs": ["11"]}, {"pcrs": [24]}, {"pcrs": [-1]}, {"pcrs": [True]}], ids=str
)
def test_what_ends_every_search(row: object):
    (bank,) = parsed({"sha256": [ROW, row, ROW]})
    assert len(bank.entries) == 1
    assert str(bank.fault).startswith("entry 1: ")


@pytest.mark.parametrize("key", ["pcrs", "pkfp", "pol", "sig"])
def test_what_an_entry_lacks(key: str):
    (bank,) = parsed({"sha256": [{name: value for name, value in ROW.items() if name != key}]})
    assert getattr(bank.entries[0], key) is None
    assert bank.entries[0].malformed is None


@pytest.mark.parametrize(
    ("key", "value"),
    [("pkfp", "0"), ("pol", "zz"), ("pol", 5), ("sig", "é"), ("sig", "A"), ("ref", []), ("pkfp", "00 00")],
    ids=str,
)
def test_what_is_malformed(key: str, value: object):
    one = entry(**{key: value})
    assert (one.malformed, getattr(one, key), one.pcrs) == (key, None, (11,))


def test_what_is_signed():
    # "tbs" of `systemd-measure policy-digest --policyref=initrd`, 262.1.
    hashed = "09e6c018d2c8c4903308613dd1b72484d57eadf12ec50ddc8f52e5accce470f2"
    assert entry().signed == b"\x01" * 32
    assert entry(ref="initrd").signed == b"\x01" * 32 + bytes.fromhex(hashed)


TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 30)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["00", "AA=="]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["sha256", *ROW, "ref"]), inner, max_size=6)
    ),
    max_leaves=12,
)


@given(st.binary(max_size=64) | TREES.map(lambda tree: json.dumps(tree).encode()))
def test_any_bytes(data: bytes):
    try:
        banks = pcrsig.parse(data)
    except StubsimError:
        return
    again = pcrsig.parse(pcrsig.build(banks))
    assert [bank.name for bank in again] == [bank.name for bank in banks]
    assert all(isinstance(one.signed, bytes) for bank in banks for one in bank.entries)
