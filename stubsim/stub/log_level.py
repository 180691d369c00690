"""The log level that the host asks for by SMBIOS type 11 (systemd-stub 262: stub.c, run; log.c, log_set_max_level)."""

from __future__ import annotations

from stubsim.hosts import Host
from stubsim.stub.context import Context
from stubsim.stub.models import StubModel

_GIVEN = b"io.systemd.boot.loglevel="
# All that a host may write; what lies between two levels of the stub's messages is the lower one.
_LEVELS = {
    "emerg": "crit", "alert": "crit", "crit": "crit", "err": "error", "warning": "warning", "notice": "info",
    "info": "info", "debug": "debug",
}  # fmt: skip


def log_level(host: Host, model: StubModel) -> str:
    """The level up to which the stub prints; the default lets info through."""
    return _LEVELS.get(_given(host, model) or "info", "info")


def report_log_level(context: Context) -> None:
    """What the stub says first: that the level is none it knows."""
    name = _given(context.host, context.model)
    if name is not None and name not in _LEVELS:
        context.log("warning", f"Failed to parse log level '{name}', ignoring.")


def _given(host: Host, model: StubModel) -> str | None:
    """Nobody asks the host of a confidential guest."""
    if not model.takes_log_level or host.confidential is not None:
        return None
    text = next((text for text in host.oem_strings if text.startswith(_GIVEN)), None)
    return None if text is None else text[len(_GIVEN) :].decode("ascii", "replace")
