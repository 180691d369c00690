"""The command line: one module a command, each loaded only when it is the one that was asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from stubsim.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status: 0 done, 1 the boot fails or a check finds something, 2 bad
    input, 70 a fault of stubsim itself."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    if argv[:1] == ["--version"]:
        # Before anything is loaded; where standard output takes nothing, `run` tells.
        try:
            print(f"stubsim {__version__}", flush=True)
        except OSError:
            pass
        else:
            return 0
    from stubsim.cli.run import run

    return run(argv)
