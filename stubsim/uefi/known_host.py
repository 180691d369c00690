"""The host as its own firmware knows it: what variable store or baseline have counts, also against the host file."""

from __future__ import annotations

from stubsim.hosts import Host
from stubsim.hosts.host import Variable
from stubsim.uefi.measured.secure_boot_policy import secure_boot
from stubsim.uefi.platform import Platform


def known_host(platform: Platform) -> Host:
    """The platform's host with the state of Secure Boot, where it is known, and with the variables of the store."""
    host, is_on = platform.host, secure_boot(platform)
    if isinstance(is_on, bool):
        host = host._replace(secure_boot=is_on, unknown=host.unknown - {"secure_boot"})
    return _with_variables(host, platform)


def _with_variables(host: Host, platform: Platform) -> Host:
    """Those of the store, and of the host file what the store does not have: some live for one boot only."""
    if platform.variables is None:
        return host
    stored = [Variable(*row) for row in platform.variables]
    names = {(row.name, row.guid) for row in stored}
    own = (row for row in host.variables if (row.name, row.guid) not in names)
    return host._replace(variables=(*stored, *own), unknown=host.unknown - {"variables"})
