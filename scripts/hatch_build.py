"""Puts the completions of the shells and the manual page into the wheel; none of them is a file of the repository."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ShareHook(BuildHookInterface[Any]):
    """Makes the files when a wheel is built, and removes them when it is."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        sys.path.insert(0, self.root)
        from scripts.completions import PLACES, completion
        from scripts.manual import manual

        contents = {place: completion(shell) for shell, place in PLACES.items()}
        contents["share/man/man1/stubsim.1"] = manual()
        self._folder = TemporaryDirectory()
        for place, content in contents.items():
            path = Path(self._folder.name, place)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
            path.chmod(0o644)
            build_data["shared_data"][str(path)] = place

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        self._folder.cleanup()
