"""How a chosen firmware leaves the guest: a module a dialect, each with its DIALECT, imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from stubsim.errors import StubsimError

if TYPE_CHECKING:
    from stubsim.handover.leaving import Dialect

DIALECTS = {"qemu-v5": "qemu_v5", "spec": "spec", "fuki-2024": "fuki_2024", "capsule": "capsule"}


def dialect(name: str) -> Dialect:
    """The dialect of that name; raises StubsimError for a name without one."""
    if name not in DIALECTS:
        known = ", ".join((*DIALECTS, "none"))
        raise StubsimError(f"unknown hand-over {name!r}", expected=f"one of {known}")
    found: Dialect = import_module(f"{__name__}.{DIALECTS[name]}").DIALECT
    return found
