"""Whether there is an answer at all: what another stub does is not simulated."""

from __future__ import annotations

from stubsim.cli import output
from stubsim.result import Boot


def all_simulated(*boots: Boot) -> bool:
    """True, or False with a line on standard error for each image that is not, once."""
    refused = {result.uki.path: result.outcome.told for result in boots if result.outcome.status == "not-simulated"}
    for path, text in refused.items():
        output.tell("error", f"{path}: not simulated: {text}")
    return not refused
