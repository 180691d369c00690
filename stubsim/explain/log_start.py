"""What an event log tells of how the UKI was started: by the firmware itself, or by which file of the partition."""

from __future__ import annotations

from stubsim.errors import StubsimError
from stubsim.explain.log_facts import Application, facts
from stubsim.formats import eventlog
from stubsim.machine.tpm import BANKS
from stubsim.start import Start
from stubsim.uefi.esp import Esp
from stubsim.uki import Uki


def with_loader(start: Start, log: eventlog.Log, uki: Uki) -> Start:
    """What the options leave open of what stands before the UKI; the first image of PCR 4 is what the firmware starts.

    It is the UKI itself, whatever lies in the boot loader's place, or else the file of --esp that it is.
    """
    if start.esp is None or start.shell is not None or start.loader or start.boot_file or start.entry:
        return start
    first = next(iter(facts(log).applications), None)
    if first is None:
        return start
    if _is(uki, first):
        return start._replace(loader="none")
    image = None if first.path is None else Esp(start.esp).program(first.path)
    return start if image is None or not _is(image, first) else start._replace(boot_file=first.path)


def _is(image: Uki, application: Application) -> bool:
    """By its digest in a bank that both can make."""
    bank = next((name for name in application.digests if name in BANKS), None)
    try:
        return bank is not None and image.authenticode(bank) == application.digests[bank]
    except StubsimError:
        return False
