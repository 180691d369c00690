"""An initrd an earlier boot stage has registered (systemd-stub: acquire_previous_initrd)."""

from __future__ import annotations

from stubsim.stub.context import Context


def acquire_previous_initrd(context: Context) -> bytes | None:
    if not context.model.takes_previous_initrd:
        return None
    previous = context.host.previous_initrd
    if previous is None:
        context.log("debug", "No previous initrd registered.")
    else:
        context.log("debug", f"Successfully loaded previously registered initrd ({len(previous)} bytes).")
    return previous
