"""This machine, as Linux shows it in /sys, /proc and /dev."""

from __future__ import annotations

import os

from stubsim.errors import StubsimError
from stubsim.hosts import dmi_id, live_devices, live_variables, raw
from stubsim.hosts.host import Reading
from stubsim.hosts.live_findings import Findings

_TABLES = "sys/firmware/dmi/tables"
_ID = "sys/class/dmi/id"


def read(root: str = "/") -> Reading:
    """The machine whose /sys, /proc and /dev are below `root`. Raises StubsimError where there is no SMBIOS."""
    tables, ids = os.path.join(root, _TABLES), os.path.join(root, _ID)
    try:
        reading = raw.read_folder(tables, "this machine, /sys/firmware/dmi/tables")
        description, notes = "this machine, by its SMBIOS table", reading.notes
    except StubsimError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        if not os.path.isdir(ids):
            raise StubsimError(
                f"this machine's SMBIOS table {error.message}",
                path=error.path,
                expected=f"/{_TABLES} of a Linux with DMI",
                hint="run as root" if isinstance(error.__cause__, PermissionError) else None,
            ) from error
        reading = dmi_id.read_folder(ids)
        description = "this machine, by what /sys/class/dmi/id shows everybody"
        why = "as root the whole table can be read" if isinstance(error.__cause__, PermissionError) else error.message
        notes = (*reading.notes, why)
    found = Findings(reading.host._replace(source=description), root)
    for key in ("console", "firmware"):
        found.split(key)
    live_variables.read(found)
    live_devices.read(found)
    host = found.host._replace(unknown=frozenset(found.unknown))
    return Reading(host, "live", description, (*notes, *found.notes, *found.how_to_find()))
