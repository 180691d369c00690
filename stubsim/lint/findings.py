"""What a rule says of a place in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from stubsim.lint.places import Place
from stubsim.lint.subjects import Subject
from stubsim.rows import NamedTuple

# Worst first.
SEVERITIES = ("error", "warning", "note")


class Hit(NamedTuple):
    """One case of a rule; ``severity`` and ``fix`` where they are not the rule's own."""

    message: str
    place: Place
    related: tuple[Place, ...] = ()
    severity: str | None = None
    fix: str | None = None


class Rule(NamedTuple):
    """A rule: what it is called for ever, how bad a case usually is, why it matters and what to do."""

    code: str
    name: str
    severity: str
    summary: str
    explanation: str
    fix: str
    check: Callable[[Subject], Iterable[Hit]]


class Finding(NamedTuple):
    rule: Rule
    severity: str
    message: str
    fix: str
    place: Place
    related: tuple[Place, ...]


def finding(rule: Rule, hit: Hit) -> Finding:
    return Finding(
        rule,
        hit.severity or rule.severity,
        " ".join(hit.message.split()),
        hit.fix or rule.fix,
        hit.place,
        hit.related,
    )
