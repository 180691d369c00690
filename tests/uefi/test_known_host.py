"""What a variable store says of a machine counts, also against its host file."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from stubsim.formats.varstore import StoredVariable
from stubsim.hosts import Host, Variable
from stubsim.uefi.builds import BUILDS
from stubsim.uefi.known_host import known_host
from stubsim.uefi.platform import FirmwareImage, Platform
from stubsim.uefi.variables import GLOBAL

OTHER = UUID(int=1)
SECURE = next(build for build in BUILDS.values() if build.secure_boot)
PK = StoredVariable("PK", GLOBAL, 7, b"a key")


def known(host: Host, **fields: Any) -> Host:
    return known_host(Platform(host, firmware=FirmwareImage(None, None, SECURE), **fields))


def test_secure_boot_is_as_the_store_has_it():
    doubtful = Host(secure_boot=True, unknown=frozenset({"secure_boot", "rng"}))
    assert known(Host(), variables=(PK,)).secure_boot
    found = known(doubtful, variables=())
    assert (found.secure_boot, found.unknown) == (False, {"rng"})


def test_without_a_store_the_host_file_counts():
    host = Host(secure_boot=True, unknown=frozenset({"secure_boot", "variables"}))
    assert known(host) == host


def test_what_the_store_does_not_have_is_the_host_files():
    """Volatile variables are in no store."""
    own = (Variable("PK", GLOBAL, 7, b"old"), Variable("PK", OTHER, 6, b"x"), Variable("LoaderInfo", OTHER, 6, b"y"))
    found = known(Host(variables=own, unknown=frozenset({"variables"})), variables=(PK,))
    assert found.variables == (Variable("PK", GLOBAL, 7, b"a key"), *own[1:])
    assert not found.unknown
