"""Digests of byte ranges, each view and each large range hashed once per bank, the large ones side by side.

hashlib releases the interpreter lock while it hashes, so a thread for each large range uses the machine's cores.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash as Hash
    from threading import Thread

    States = dict[tuple[int, str], tuple["Bytes", Hash, Thread | None]]

Bytes = bytes | memoryview

# Below this size (bytes) a thread costs more than it saves.
_LARGE = 4 << 20
# Bytes hashed in one go, so that an interrupt is answered while a large range is being hashed.
_CHUNK = 16 << 20


class Shared:
    """The states of the views of one file, which have to be the same objects for everybody."""

    def __init__(self, file: memoryview) -> None:
        self.file = file
        self.states: States = {}

    def wait(self) -> None:
        """Until nothing is being hashed in the background any more."""
        for _, _, thread in self.states.values():
            if thread is not None:
                thread.join()


class Digests:
    """Digests by range; views and large ranges are known by their object, which is kept alive for that.

    Views are of files, and so of bytes that stay as they are. Small `bytes` come and go, and are hashed each time.
    What is known of the views of one file, ``shared``, outlives this object: it is for everybody who has the file open.
    """

    def __init__(self, banks: Sequence[str] = ("sha256",), shared: Shared | None = None) -> None:
        self._banks = tuple(banks)
        self._states: States = {}
        self._shared = shared

    def start(self, data: Bytes, banks: Iterable[str] | None = None) -> None:
        """Begin to hash a large range in the background; whoever asks for its digest waits for it."""
        if len(data) >= _LARGE:
            for bank in self._banks if banks is None else banks:
                self._begin(data, bank)

    def of(self, data: Bytes, banks: Iterable[str] | None = None) -> dict[str, bytes]:
        """The digests of a range in each bank, by default in the banks this object was made for."""
        return {bank: self._hash(data, bank).digest() for bank in (self._banks if banks is None else banks)}

    def sha256(self, data: Bytes) -> bytes:
        return self._hash(data, "sha256").digest()

    def sha256_of_parts(self, parts: Sequence[Bytes]) -> bytes:
        """The digest of the concatenation; the first part, where known already, is not hashed again."""
        state = self._hash(parts[0], "sha256").copy() if parts else hashlib.sha256()
        for part in parts[1:]:
            _update(state, part)
        return state.digest()

    def _hash(self, data: Bytes, bank: str) -> Hash:
        if len(data) < _LARGE and isinstance(data, bytes):
            return hashlib.new(bank, data, usedforsecurity=False)
        state, thread = self._begin(data, bank)
        if thread is not None:
            thread.join()
        return state

    def _begin(self, data: Bytes, bank: str) -> tuple[Hash, Thread | None]:
        key, states = (id(data), bank), self._states
        if self._shared is not None and isinstance(data, memoryview) and data.obj is self._shared.file.obj:
            states = self._shared.states
        if key not in states:
            state = hashlib.new(bank, usedforsecurity=False)
            states[key] = data, state, _hashing(state, data)
        _, state, thread = states[key]
        return state, thread


def _hashing(state: Hash, data: Bytes) -> Thread | None:
    """Hash a small range now, a large one in a thread that has been started."""
    if len(data) < _LARGE:
        state.update(data)
        return None
    from threading import Thread, stack_size

    # The default stack of 8 MiB would count against a data limit; hashing needs next to none.
    stack_size(256 << 10)
    thread = Thread(target=_update, args=(state, data))
    thread.start()
    return thread


def _update(state: Hash, data: Bytes) -> None:
    view = memoryview(data)
    for start in range(0, len(view), _CHUNK):
        state.update(view[start : start + _CHUNK])
