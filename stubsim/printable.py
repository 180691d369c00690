"""What an input says, on its way out: it moves no cursor, reverses no text and gives a build no commands.

Everything that shows a text of an input goes through here: the views, error lines, the pytest plugin.
"""

from __future__ import annotations

import re

# A hostile image has as many and as long texts as it likes; the JSON has them all.
_LONGEST_TEXT = 4096
# GitHub's runner takes a line that begins so, blanks aside, and one with the older form anywhere in it, for a command
# to itself (actions/runner, src/Runner.Common/ActionCommand.cs: TryParseV2, TryParse).
_COMMAND = r"(?m)^((?:[^\S\n]|\x1b\[[0-9;]*m)*):(?=:)"
_OLD_COMMAND = "##["


def clean(text: str) -> str:
    """One text, safe by itself: what is not printable is written as an escape, commands are broken, the rest is cut."""
    if len(text) > _LONGEST_TEXT:
        text = f"{text[:_LONGEST_TEXT]}... ({len(text)} characters, all of them with --format json)"
    if not text.isprintable():
        text = "".join(character if character.isprintable() else _escaped(ord(character)) for character in text)
    return without_commands(text)


def clean_lines(text: str) -> str:
    """The same for each line of a text of several."""
    return "\n".join(map(clean, text.split("\n")))


def without_commands(text: str, colon: str = r"\x3a", number_sign: str = r"\x23") -> str:
    """Lines that are clean, none of them a command, however they were wrapped; the escapes are those of their form."""
    if "::" in text:
        text = re.sub(_COMMAND, lambda found: found[1] + colon, text)
    # Before the last of the signs, so that what comes out has none either.
    return text.replace(_OLD_COMMAND, f"#{number_sign}[") if _OLD_COMMAND in text else text


def _escaped(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
