"""Why a section is chosen, in a sentence: what is said is so, and what is not known is not said."""

from __future__ import annotations

from uuid import UUID

from stubsim.explain.selection import reasons
from stubsim.hosts import Host
from stubsim.simulation import boot
from tests.stub.harness import CHIDS, FIELDS, OTHER, devicetree, make_uki, table

TREE = (".dtbauto", devicetree("a,a"))


def test_the_entry_and_its_type():
    uki = make_uki((".hwids", table((1, CHIDS[9], "a,a"))), TREE)
    (reason,) = reasons(boot(uki, Host(fields=FIELDS)))
    assert f"the devicetree entry 0 of .hwids, which matches by CHID type 9 ({CHIDS[9]})" in reason


def test_a_wildcard_is_no_hash_of_strings():
    uki = make_uki((".hwids", table((1, UUID(int=0), "a,a"))), TREE)
    (reason,) = reasons(boot(uki, Host(fields=FIELDS)))
    assert "is a wildcard: its CHID is all zeros" in reason


def test_another_entry_may_lead_to_the_same_section():
    uki = make_uki((".hwids", table((1, CHIDS[9], "a,a"), (1, OTHER, "a,a"))), TREE)
    (reason,) = reasons(boot(uki, Host(fields=FIELDS, unknown=frozenset({"edid"}))))
    assert reason.endswith("is the first for 'a,a', and whatever entry matches leads to it")
