"""A stub's steps asked once more after a boot, with nobody listening."""

from __future__ import annotations

from stubsim.machine.tpm import Tpm
from stubsim.result import Boot
from stubsim.start import Start, loaded_image, start_context
from stubsim.stub.context import Context


def quiet_context(boot: Boot, start: Start) -> Context:
    """The context of a boot with a fresh TPM; its events and messages go nowhere."""
    tpm = Tpm(boot.host.tpm)
    return start_context(
        boot.uki,
        boot.host,
        start,
        boot.model,
        image=boot.image or loaded_image(boot.uki, boot.host, start).image,
        tpm=tpm,
        digests=boot.digests,
        emit=lambda event: None,
    )
