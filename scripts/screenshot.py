"""Take the README's picture of `stubsim boot` from a real run: docs/boot.svg."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 100
UKI = "build/fixtures/demo.efi"
HOST = "fixtures/hosts/google-compute-engine.json"


def main() -> int:
    uki, host = (sys.argv[1:] + [UKI, HOST][len(sys.argv) - 1 :])[:2]
    if not (ROOT / uki).is_file():
        print(f"screenshot: {uki}: no such file; make fixtures builds the demo UKI", file=sys.stderr)
        return 2
    words = ["boot", uki, "--smbios", host]
    title = " ".join(["stubsim", *words])
    docs = ROOT / "docs"
    docs.mkdir(exist_ok=True)
    (docs / "boot.svg").write_text(picture(on_terminal(words), title), encoding="utf-8")
    return 0


def picture(output: str, title: str) -> str:
    """The terminal's text as SVG; the same bytes for the same text, and nothing to fetch for whoever looks at it."""
    console = Console(file=StringIO(), record=True, width=WIDTH, force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(output))
    svg = console.export_svg(title=title, unique_id="stubsim")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def on_terminal(words: list[str]) -> str:
    """What the command prints on a terminal, colours and all."""
    master, slave = pty.openpty()
    with subprocess.Popen(command(words), stdout=slave, env=environment(), cwd=ROOT) as process:
        os.close(slave)
        chunks = []
        try:
            while chunk := os.read(master, 65536):
                chunks.append(chunk)
        except OSError:
            pass  # Linux: all ends of the slave side are closed
        os.close(master)
    check(process.returncode)
    return b"".join(chunks).decode().replace("\r\n", "\n")


def command(words: list[str]) -> list[str]:
    return [sys.executable, "-m", "stubsim", *words]


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    return kept | {"COLUMNS": str(WIDTH), "TERM": "xterm"}


def check(status: int) -> None:
    if status not in (0, 1):
        raise SystemExit(f"screenshot: stubsim boot ended with status {status}")


if __name__ == "__main__":
    raise SystemExit(main())
