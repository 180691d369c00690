"""The arguments the stub was started with: profile number and command line (systemd-stub: process_arguments)."""

from __future__ import annotations

from stubsim.formats.efi_string import from_utf16
from stubsim.stub.context import Context

UINT_MAX = 0xFFFFFFFF
_UINT64_MAX = 0xFFFFFFFFFFFFFFFF
_DIGITS = "0123456789"


def process_arguments(context: Context) -> tuple[int, str | None]:
    """The profile asked for (0 when none) and the command line given, None when there is none."""
    if context.image.shell is not None:
        return _from_shell(context, context.image.shell)
    options = context.image.load_options
    if options is None or len(options) < 2:
        return 0, None
    text = from_utf16(options)
    if context.model.drops_control_characters and any(unit <= "\x1f" for unit in text):
        return 0, None
    profile = 0
    if context.model.takes_profiles:
        profile, text = _profile_prefix(text)
    return profile, mangle(text)


def mangle(text: str) -> str:
    """Control characters and DEL become blanks, blanks at both ends go, inner runs stay (mangle_stub_cmdline)."""
    return "".join(" " if unit <= " " or unit == "\x7f" else unit for unit in text).strip(" ")


def split_shell_line(line: str) -> tuple[str, ...]:
    """A line of the UEFI shell as its arguments: blanks separate, quotes join, ^ escapes (UEFI Shell 2.2, 3.4)."""
    arguments: list[str] = []
    word: list[str] | None = None
    quoted = escaped = False
    for character in line:
        if escaped:
            word = [*(word or []), character]
            escaped = False
        elif character == "^":
            escaped = True
        elif character == '"':
            quoted = not quoted
            word = word or []
        elif character in " \t" and not quoted:
            if word is not None:
                arguments.append("".join(word))
            word = None
        else:
            word = [*(word or []), character]
    if word is not None:
        arguments.append("".join(word))
    return tuple(arguments)


def _from_shell(context: Context, shell: tuple[str, ...]) -> tuple[int, str | None]:
    arguments = list(shell[1:])
    profile = 0
    if arguments and context.model.takes_profiles:
        number, tail = _number(arguments[0])
        if number is not None and not tail:
            profile = number
            del arguments[0]
    # Joined as they are: no mangling on this path, says the source of every release.
    return profile, " ".join(arguments) if arguments else None


def _profile_prefix(text: str) -> tuple[int, str]:
    """``@N`` at the very start, then the end or exactly one blank, which goes with it."""
    number, tail = _number(text)
    if number is None or tail[:1] not in ("", " "):
        return 0, text
    return number, tail[1:]


def _number(text: str) -> tuple[int | None, str]:
    number, tail = parse_number(text[1:]) if text.startswith("@") else (None, text)
    return (None, text) if number is None or number > UINT_MAX else (number, tail)


def parse_number(text: str) -> tuple[int | None, str]:
    """The decimal digits at the start, None without any or above 64 bits, and what follows (parse_number16)."""
    tail = text.lstrip(_DIGITS)
    digits = text[: len(text) - len(tail)]
    significant = digits.lstrip("0")
    # int() gives up on thousands of digits.
    if not digits or len(significant) > 20 or int(significant or "0") > _UINT64_MAX:
        return None, text
    return int(significant or "0"), tail
