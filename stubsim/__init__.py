"""systemd-stub's boot logic as an offline simulator.

A boot is a function of a UKI, a host and how the UKI was started:

    boot = stubsim.boot(stubsim.uki.load("uki.efi"), stubsim.hosts.load("host.json"), stubsim.Start(stub="257"))

`boot`, `Boot`, `Host`, `Start`, `StubsimError` and `Uki`, and the modules `stubsim.hosts` and `stubsim.uki`, are the
public API, imported on first use; `stubsim.testing` is for tests. What may change in it is in CONTRIBUTING.md.
"""

from __future__ import annotations

from stubsim.version import __version__

# Type checkers take the name for True; importing it from typing would double the start-up of `stubsim --version`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stubsim import hosts, uki
    from stubsim.errors import StubsimError
    from stubsim.hosts import Host
    from stubsim.result import Boot
    from stubsim.simulation import boot
    from stubsim.start import Start
    from stubsim.uki import Uki

__all__ = ["Boot", "Host", "Start", "StubsimError", "Uki", "__version__", "boot", "hosts", "uki"]

_HOMES = {
    "Boot": "result", "Host": "hosts", "Start": "start", "StubsimError": "errors", "Uki": "uki", "boot": "simulation",
}  # fmt: skip
_MODULES = ("hosts", "uki")


def __getattr__(name: str) -> Any:
    if name not in _HOMES and name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"stubsim.{name}")
    return getattr(import_module(f"stubsim.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
