"""The machine's EFI variables: those the host had before, and what the stub sets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from uuid import UUID

from stubsim.rows import NamedTuple

if TYPE_CHECKING:
    from collections import Counter

# The vendor GUID of the Boot Loader Interface (systemd.io/BOOT_LOADER_INTERFACE).
LOADER = UUID("4a67b082-0a4c-41cf-b6c7-440b29bb8c4f")

# EFI_GLOBAL_VARIABLE (UEFI 2.10, 3.3).
GLOBAL = UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")

# The vendor GUID of shim's variables (shim, include/guid.h).
SHIM_LOCK = UUID("605dab50-e046-4300-abb6-3dd810dd8b23")

# UEFI 2.10, 8.2.1.
NON_VOLATILE, BOOT_SERVICE, RUNTIME = 1, 2, 4


class Variable(NamedTuple):
    """``data`` are the raw bytes; ``set_by_stub`` whether the stub's writing is what they come from."""

    name: str
    guid: UUID
    attributes: int
    data: bytes
    set_by_stub: bool


class Variables:
    """Names compare case-sensitively, as UEFI's do. Initial variables are rows of name, GUID, attributes, data."""

    def __init__(self, initial: Iterable[tuple[str, UUID, int, bytes]] = ()) -> None:
        self._variables = {(name, guid): Variable(name, guid, attr, data, False) for name, guid, attr, data in initial}

    def get(self, name: str, guid: UUID = LOADER) -> Variable | None:
        """The variable as boot services see it, None where there is none."""
        return self._variables.get((name, guid))

    def set(self, name: str, data: bytes, attributes: int, guid: UUID = LOADER) -> bool:
        """SetVariable() (UEFI 2.10, 8.2.3): whether the firmware took it.

        A variable that exists with other attributes is refused and keeps its old value (systemd-stub 262.1, observed
        in recording prior-vars). No data or no access attributes delete it, which fails where there is none.
        """
        key = name, guid
        old = self._variables.get(key)
        if old and attributes not in (old.attributes, 0):
            return False
        if data and attributes & BOOT_SERVICE:
            self._variables[key] = Variable(name, guid, attributes, bytes(data), True)
            return True
        return self._variables.pop(key, None) is not None

    def items(self) -> tuple[Variable, ...]:
        """All variables: the initial ones in their order, then the new ones in the order of their first setting."""
        return tuple(self._variables.values())


class WatchedVariables(Variables):
    """EFI variables that count how often one is looked for."""

    def __init__(self, initial: Iterable[tuple[str, UUID, int, bytes]], reads: Counter[str]) -> None:
        super().__init__(initial)
        self._reads = reads

    def get(self, name: str, guid: UUID = LOADER) -> Variable | None:
        self._reads["variables"] += 1
        return super().get(name, guid)
