"""Digests of byte ranges, each view and each large range hashed once per bank, the large ones side by side.

hashlib releases the interpreter lock while it hashes, so a thread for each large range uses the machine's cores.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from stubsim.extent import Bytes, Extent, blocks
from stubsim.rows import NamedTuple

if TYPE_CHECKING:
    from hashlib import _Hash as Hash
    from threading import Thread

    States = dict[tuple[object, str], "_State"]
    Joined = dict[object, tuple[tuple[Bytes, ...], bytes]]

# Below this size (bytes) a thread costs more than it saves.
_LARGE = 4 << 20
# Shorter bytes are known by what they are.
_PAGE = 4096
# Zeros that no file has and that are hashed for a reader only: a file can claim gigabytes of them.
_ZEROS_MAX = 64 << 20


class Shared:
    """The states of the ranges of one file, for everybody who has it open."""

    def __init__(self, file: Extent) -> None:
        self.origin = file.origin
        self.states: States = {}
        self.joined: Joined = {}

    def wait(self) -> None:
        """Until nothing is being hashed in the background any more."""
        for state in self.states.values():
            if state.thread is not None:
                state.thread.join()


class _State(NamedTuple):
    """What was or is being hashed, which has to stay there; a failure of the thread is for whoever asks."""

    data: Bytes
    hash: Hash
    thread: Thread | None
    failures: list[Exception]

    def finished(self) -> Hash:
        if self.thread is not None:
            self.thread.join()
        if self.failures:
            raise self.failures[0]
        return self.hash


class Digests:
    """Digests by range, each hashed once; a view is known by its object, which is kept alive for that.

    Views are of files, and so of bytes that stay as they are. Small `bytes` come and go, and are hashed each time.
    What is known of the ranges of one file, ``shared``, outlives this object: it is for everybody who has the file
    open. Whatever asks for a digest raises StubsimError where the file has become shorter.
    """

    def __init__(self, banks: Sequence[str] = ("sha256",), shared: Shared | None = None) -> None:
        self._banks = tuple(banks)
        self._states: States = {}
        self._joined: Joined = {} if shared is None else shared.joined
        self._shared = shared

    def standing_in(self, banks: Sequence[str]) -> Digests:
        """Those of a boot that is only compared with this one's: the same, and zeros in further banks.

        So nothing is hashed for it that its like has not hashed.
        """
        return _StandIn(self, banks)

    def start(self, data: Bytes, banks: Iterable[str] | None = None) -> None:
        """Begin to hash a large range in the background; whoever asks for its digest waits for it."""
        if len(data) >= _LARGE:
            for bank in self._banks if banks is None else banks:
                self._begin(data, bank)

    def of(self, data: Bytes, banks: Iterable[str] | None = None) -> dict[str, bytes]:
        """The digests of a range in each bank, by default in the banks this object was made for."""
        return {bank: self._hash(data, bank).digest() for bank in (self._banks if banks is None else banks)}

    def of_parts(self, parts: Sequence[Bytes], banks: Iterable[str] | None = None) -> dict[str, bytes]:
        """The same of the concatenation; the first part, where known already, is not hashed again."""
        return {bank: self._of_parts(parts, bank) for bank in (self._banks if banks is None else banks)}

    def sha256(self, data: Bytes) -> bytes:
        return self._hash(data, "sha256").digest()

    def sha256_of_parts(self, parts: Sequence[Bytes]) -> bytes:
        return self._of_parts(parts, "sha256")

    def sha256_for_reader(self, parts: Sequence[Bytes]) -> bytes | None:
        """The digest of the concatenation where it is known already, or takes no hashing of zeros without end.

        What the stub measures is hashed whatever it takes; what is only shown is not worth a minute.
        """
        known = (*map(_key, parts), "sha256") in self._joined or self._is_begun(parts, "sha256")
        zeros = sum(part.zeros for part in parts if isinstance(part, Extent))
        return None if zeros > _ZEROS_MAX and not known else self._of_parts(parts, "sha256")

    def _is_begun(self, parts: Sequence[Bytes], bank: str) -> bool:
        """Whether all the zeros are in the first part, and that is hashed anyhow."""
        if any(isinstance(part, Extent) and part.zeros for part in parts[1:]):
            return False
        shared = {} if self._shared is None else self._shared.states
        return any((_key(parts[0]), bank) in states for states in (self._states, shared)) if parts else True

    def _of_parts(self, parts: Sequence[Bytes], bank: str) -> bytes:
        """The digest of the concatenation, for large ones known once it was asked for."""
        key = (*map(_key, parts), bank)
        if key in self._joined:
            return self._joined[key][1]
        state = self._hash(parts[0], bank).copy() if parts else hashlib.new(bank, usedforsecurity=False)
        for part in parts[1:]:
            _update(state, part)
        if sum(map(len, parts)) >= _LARGE:
            self._joined[key] = (tuple(parts), state.digest())
        return state.digest()

    def _hash(self, data: Bytes, bank: str) -> Hash:
        if len(data) < _LARGE and isinstance(data, bytes):
            return hashlib.new(bank, data, usedforsecurity=False)
        return self._begin(data, bank).finished()

    def _begin(self, data: Bytes, bank: str) -> _State:
        key, states = (_key(data), bank), self._states
        if self._shared is not None and isinstance(data, Extent) and data.origin is self._shared.origin:
            states = self._shared.states
        if key not in states:
            states[key] = _hashing(hashlib.new(bank, usedforsecurity=False), data)
        return states[key]


class _StandIn(Digests):
    def __init__(self, known: Digests, banks: Sequence[str]) -> None:
        super().__init__(banks, known._shared)
        self._known = known
        self._states, self._joined = known._states, known._joined

    def start(self, data: Bytes, banks: Iterable[str] | None = None) -> None:
        """Nothing is hashed that may not be asked for."""

    def of(self, data: Bytes, banks: Iterable[str] | None = None) -> dict[str, bytes]:
        wanted = self._banks if banks is None else tuple(banks)
        return self._filled(self._known.of(data, self._real(wanted)), wanted)

    def of_parts(self, parts: Sequence[Bytes], banks: Iterable[str] | None = None) -> dict[str, bytes]:
        wanted = self._banks if banks is None else tuple(banks)
        return self._filled(self._known.of_parts(parts, self._real(wanted)), wanted)

    def _real(self, banks: Iterable[str]) -> list[str]:
        return [bank for bank in banks if bank in self._known._banks]

    @staticmethod
    def _filled(digests: dict[str, bytes], banks: Iterable[str]) -> dict[str, bytes]:
        return {bank: digests.get(bank) or bytes(hashlib.new(bank).digest_size) for bank in banks}


def _key(data: Bytes) -> object:
    if isinstance(data, Extent):
        return data.key
    return data if isinstance(data, bytes) and len(data) < _PAGE else id(data)


def _hashing(state: Hash, data: Bytes) -> _State:
    """Hash a small range now, a large one in a thread that has been started."""
    if len(data) < _LARGE:
        _update(state, data)
        return _State(data, state, None, [])
    from threading import Thread, stack_size

    # The default stack of 8 MiB would count against a data limit; hashing needs next to none.
    stack_size(256 << 10)
    failures: list[Exception] = []
    thread = Thread(target=_in_thread, args=(state, data, failures))
    try:
        thread.start()
    except RuntimeError:
        # No room for its stack: then here.
        _update(state, data)
        return _State(data, state, None, [])
    return _State(data, state, thread, failures)


def _in_thread(state: Hash, data: Bytes, failures: list[Exception]) -> None:
    try:
        _update(state, data)
    except Exception as error:  # for the thread that asks for the digest
        failures.append(error)


def _update(state: Hash, data: Bytes) -> None:
    """In blocks, so that an interrupt is answered while a large range is being hashed."""
    for block in blocks(data):
        state.update(block)
