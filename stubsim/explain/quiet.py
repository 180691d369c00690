"""A stub's steps asked once more after a boot, with nobody listening."""

from __future__ import annotations

from stubsim.boot import Boot, Start, loaded_image
from stubsim.machine.memory import Memory
from stubsim.machine.tpm import Tpm
from stubsim.machine.variables import Variables
from stubsim.stub.context import Context


def quiet_context(boot: Boot, start: Start) -> Context:
    """The context of a boot with a fresh TPM; its events and messages go nowhere."""
    return Context(
        uki=boot.uki,
        image=loaded_image(boot.uki, start),
        host=boot.host,
        model=boot.model,
        machine=boot.uki.machine,
        memory=Memory(boot.host.memory, boot.uki.machine),
        tpm=Tpm(boot.host.tpm),
        variables=Variables(boot.host.variables),
        digests=boot.digests,
        trusted=start.trusted,
        log_level="error",
        emit=lambda event: None,
    )
