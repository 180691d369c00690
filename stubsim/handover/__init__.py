"""How a chosen firmware leaves the guest: a module a dialect, imported when it is asked for.

A dialect has ABOUT and hand_over(); those whose second boot finds something of the first also read_left() and settle().
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from stubsim.errors import StubsimError

DIALECTS = {"qemu-v5": "qemu_v5", "spec": "spec", "fuki-2024": "fuki_2024", "capsule": "capsule"}


def dialect(name: str) -> Any:
    """The module that hands over by that dialect; raises StubsimError for a name without one."""
    if name not in DIALECTS:
        known = ", ".join((*DIALECTS, "none"))
        raise StubsimError(f"no hand-over is called {name!r}", expected=f"one of {known}")
    return import_module(f"{__name__}.{DIALECTS[name]}")
