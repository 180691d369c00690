"""The JSON Schemas (draft 2020-12) of every JSON stubsim reads or writes: a file each, beside this one."""

from __future__ import annotations

from typing import Any

NAMES = (
    "boot",
    "case",
    "check",
    "chids",
    "dialects",
    "diff",
    "diff-log",
    "entries",
    "error",
    "fleet",
    "fleet-diff",
    "host",
    "host-show",
    "hwids",
    "hwids-audit",
    "hwids-lint",
    "inspect",
    "inspect-folder",
    "log",
    "measure",
    "stubs",
    "vectors",
    "verify-pcrsig",
    "which",
    "why",
)


def load(name: str) -> dict[str, Any]:
    """The schema of that name, one of NAMES, as a fresh value; KeyError for any other."""
    if name not in NAMES:
        raise KeyError(name)
    import json
    from importlib.resources import files

    schema: dict[str, Any] = json.loads(files(__name__).joinpath(f"{name}.json").read_text("utf-8"))
    return schema
