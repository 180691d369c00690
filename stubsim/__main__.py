"""The program: `stubsim`, or `python -m stubsim`."""

from __future__ import annotations

import gc
import sys

from stubsim.cli import main as run


def main() -> int:
    """Run the command of `sys.argv` and return the exit status."""
    # What is loaded stays; to look through it for garbage, again and again, takes a twentieth of a small boot.
    gc.set_threshold(100_000)
    return run()


if __name__ == "__main__":
    sys.exit(main())
