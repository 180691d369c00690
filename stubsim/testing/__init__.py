"""Regression tests for UKIs: case files (`*.boot.toml`), and helpers for tests written in Python.

Public are `assert_boot`, `differences` and `load_cases`; with pytest the fixture `stubsim_boot` comes along.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stubsim.testing.cases import Case
    from stubsim.testing.cases import load as load_cases
    from stubsim.testing.observed import differences
    from stubsim.testing.python import assert_boot

__all__ = ["Case", "assert_boot", "differences", "load_cases"]

# The pytest plugin is loaded in every run, also in those that never boot anything.
_HOMES = {
    "Case": ("cases", "Case"),
    "assert_boot": ("python", "assert_boot"),
    "differences": ("observed", "differences"),
    "load_cases": ("cases", "load"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    module, own = _HOMES[name]
    return getattr(importlib.import_module(f"{__name__}.{module}"), own)
