"""What is wrong with a hwids set before a machine finds out: rules over descriptions, sections and UKIs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stubsim.hosts import Host
from stubsim.lint.findings import SEVERITIES, Finding, Place, Rule, finding
from stubsim.lint.rules import RULES
from stubsim.lint.subjects import read

__all__ = ["RULES", "SEVERITIES", "Finding", "Place", "Rule", "lint"]


def lint(paths: Iterable[str], hosts: Sequence[tuple[str, Host]] = ()) -> tuple[Finding, ...]:
    """Every finding, table by table and within one in the order of the rules.

    ``hosts`` are machines by the name they are called by; what is known of them makes some rules see more. Raises
    StubsimError for a path that cannot be read.
    """
    return tuple(finding(rule, hit) for subject in read(paths, hosts) for rule in RULES for hit in rule.check(subject))
