"""What reading some bytes comes to."""

from __future__ import annotations

from collections.abc import Callable

from stubsim.errors import StubsimError
from stubsim.hosts import Reading
from stubsim.hosts.recognise import read_bytes


def is_host_or_error(data: bytes, read: Callable[[bytes], Reading] = read_bytes) -> bool:
    """True for a reading and for the one error there is, in a line that can be shown; any other passes through."""
    try:
        return isinstance(read(data), Reading)
    except StubsimError as error:
        return str(error).isprintable()
