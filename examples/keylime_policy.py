"""A measured boot policy for keylime that reads what `stubsim log --format keylime-refstate` writes.

On the verifier, where Python finds this file (verifier.conf):

    measured_boot_imports = ["keylime_policy"]
    measured_boot_policy_name = uki

and for each agent `keylime_tenant ... --mb-policy refstate.json`. A log is accepted when one of the reference state's
boots has the same events in each of its registers, by type and digest; registers that a boot does not name are free.
To allow several UKIs or machines, put the "boots" of their files into one list.

Digests alone are compared: a quote vouches for them, while nothing in keylime holds an event's text against its digest.
"""

from __future__ import annotations

from keylime.mba.elchecking import policies, tests


class Register(tests.Test):
    """The events of one register are these, in this order."""

    def __init__(self, pcr: int, rows: list[dict[str, str]]) -> None:
        self.pcr = pcr
        self.rows = tests.TupleTest(*(event(row) for row in rows))

    def why_not(self, globs: tests.Globals, subject: tests.Data) -> str:
        if not isinstance(subject, list):
            return "is not a list"
        # The first event of a log says how it is written, and extends nothing.
        own = [row for row in subject if row.get("PCRIndex") == self.pcr and row.get("EventType") != "EV_NO_ACTION"]
        reason = self.rows.why_not(globs, own)
        return reason and f"in PCR {self.pcr} {reason}"


def event(row: dict[str, str]) -> tests.Test:
    digests = {bank: value.removeprefix("0x") for bank, value in row.items() if value.startswith("0x")}
    kind = tests.FieldTest("EventType", tests.StringEqual(row["EventType"]))
    return tests.And(kind, tests.DigestTest(digests))


class Uki(policies.Policy):
    """Whether a log is one of the predicted boots."""

    def get_relevant_pcrs(self) -> frozenset[int]:
        # Without PCR 11 and 15, which the system extends in a log that keylime does not read.
        return frozenset({*range(10), 12, 13, 14})

    def refstate_to_test(self, refstate: policies.RefState) -> tests.Test:
        boots = refstate.get("boots")
        if not isinstance(boots, list) or not boots:
            raise ValueError(f"refstate['boots'] is {boots!r} instead of a list of boots")
        relevant = self.get_relevant_pcrs()
        wanted = [{int(pcr): rows for pcr, rows in boot["registers"].items()} for boot in boots]
        if any(not rows.keys() or rows.keys() - relevant for rows in wanted):
            raise ValueError(f"a boot has to name registers, and none but {sorted(relevant)}")
        either = [tests.And(*(Register(pcr, rows) for pcr, rows in boot.items())) for boot in wanted]
        return tests.FieldTest("events", tests.Or(*either), show_name=False)


policies.register("uki", Uki())
