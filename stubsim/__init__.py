"""systemd-stub's boot logic as an offline simulator.

The public API is `boot`, `Uki`, `Host`, `Boot` and `StubsimError`, imported on first use.
"""

from __future__ import annotations

import sys
from types import ModuleType

from stubsim.version import __version__

# Type checkers take the name for True; importing it from typing would double the start-up of `stubsim --version`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stubsim.boot import Boot, boot
    from stubsim.errors import StubsimError
    from stubsim.hosts import Host
    from stubsim.uki import Uki

__all__ = ["Boot", "Host", "StubsimError", "Uki", "__version__", "boot"]

_HOMES = {"Boot": "boot", "Uki": "uki", "Host": "hosts", "StubsimError": "errors"}


class _Package(ModuleType):
    """`stubsim.boot` is the function, although the import system would put the module of that name there."""

    @property
    def boot(self) -> Any:
        import importlib

        return importlib.import_module("stubsim.boot").boot

    @boot.setter
    def boot(self, module: ModuleType) -> None:
        """Leave the name to the function; the module stays importable."""

    def __getattr__(self, name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        return getattr(importlib.import_module(f"stubsim.{_HOMES[name]}"), name)


sys.modules[__name__].__class__ = _Package
