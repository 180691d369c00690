"""Boots in tests that are written in Python."""

from __future__ import annotations

from typing import Any

from stubsim.printable import clean_lines
from stubsim.result import Boot
from stubsim.testing.expectations import read_expectations
from stubsim.testing.observed import differences
from stubsim.testing.telling import difference_json, summary, text


def assert_boot(boot: Boot, **expect: Any) -> None:
    """Fail the test unless the boot is as expected: the keys and values of a case file's `expect` table.

    AssertionError with every difference and its reason; StubsimError for an expectation that there is none of.
    """
    __tracebackhide__ = True
    found = differences(boot, read_expectations(expect, "expect"))
    if found:
        rows = [difference_json(row) for row in found]
        raise AssertionError(clean_lines(f"{summary(rows)}\n{text(rows)}"))
