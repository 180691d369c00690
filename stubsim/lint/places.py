"""Where a finding stands."""

from __future__ import annotations

from stubsim.rows import NamedTuple


class Place(NamedTuple):
    """Where something stands: in a description by line (from 1) and JSON path, in a table by entry and offset.

    ``offset`` is in bytes from the start of the section, or of the file where ``section`` is None; ``file_offset``
    always from the start of the file, None where the bytes are not in it. ``section`` is a PE section's number.
    """

    path: str
    line: int | None = None
    json_path: str | None = None
    section: int | None = None
    section_name: str | None = None
    profile: int | None = None
    entry: int | None = None
    offset: int | None = None
    file_offset: int | None = None
