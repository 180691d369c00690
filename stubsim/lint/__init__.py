"""What is wrong with a hwids set before a machine finds out: rules over descriptions, sections and UKIs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stubsim.hosts import Host
from stubsim.lint.findings import SEVERITIES, Finding, Rule, finding
from stubsim.lint.places import Place
from stubsim.lint.rules import RULES
from stubsim.lint.subjects import read

__all__ = ["RULES", "SEVERITIES", "Finding", "Place", "Rule", "lint", "selected"]


def selected(select: Sequence[str] = (), ignore: Sequence[str] = ()) -> tuple[Rule, ...]:
    """The rules whose code begins like one of ``select`` (none: all), without those that begin like ``ignore``."""
    return tuple(
        rule
        for rule in RULES
        if (not select or rule.code.startswith(tuple(select))) and not rule.code.startswith(tuple(ignore))
    )


def lint(
    paths: Iterable[str], hosts: Sequence[tuple[str, Host]] = (), rules: Sequence[Rule] = RULES
) -> tuple[Finding, ...]:
    """Every finding of some rules, table by table and within one in the order of the rules.

    ``hosts`` are machines by the name they are called by; what is known of them makes some rules see more. Raises
    StubsimError for a path that cannot be read.
    """
    return tuple(finding(rule, hit) for subject in read(paths, hosts) for rule in rules for hit in rule.check(subject))
