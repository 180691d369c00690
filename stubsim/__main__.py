"""`python -m stubsim`."""

from __future__ import annotations

import sys

from stubsim.cli import main

if __name__ == "__main__":
    sys.exit(main())
