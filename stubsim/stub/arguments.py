"""The arguments the stub was started with: profile number and command line (systemd-stub: process_arguments)."""

from __future__ import annotations

from stubsim.formats.efi_string import from_utf16
from stubsim.stub.context import Context
from stubsim.systemd.measure import PCR_KERNEL_CONFIG, PCR_OF_LINUX
from stubsim.systemd.strings import UINT_MAX, mangle, parse_number
from stubsim.trace import Unknown


def process_arguments(context: Context) -> tuple[int, str | None]:
    """The profile asked for (0 when none) and the command line given, None when there is none."""
    if context.image.shell is not None:
        return _from_shell(context, context.image.shell)
    options = context.image.load_options
    if options is None or len(options) < 2:
        if options and not context.model.ends_command_lines:
            what = "whether load options of one byte are a command line"
            why = "this stub takes what lies in memory behind it for the other half of the first character"
            affects = ("outcome", "cmdline", "load_options", "measurements", "pcrs", "rtmrs", "variables")
            context.emit(Unknown(what, why, affects, (PCR_OF_LINUX, PCR_KERNEL_CONFIG)))
        return 0, None
    text = from_utf16(options)
    # Some firmware fills in garbage (systemd-stub, process_arguments); recorded on 257.13: loadopt-first-control.
    looked_at = text if context.model.drops_control_characters else text[:1]
    if not text or any(unit <= "\x1f" for unit in looked_at):
        return 0, None
    profile = 0
    if context.model.takes_profiles:
        profile, text = _profile_prefix(text)
    return profile, mangled(context, text)


def mangled(context: Context, text: str) -> str:
    """Control characters and DEL become blanks, and those at both ends go; up to 254 DEL and leading blanks stay."""
    if context.model.trims_leading_blanks:
        line = mangle(text)
        if not line and context.model.reads_on_behind_blanks:
            what = "what a command line of blanks only becomes"
            why = "this stub also looks for its first letter in the memory behind it"
            affects = ("outcome", "cmdline", "load_options", "measurements", "pcrs", "rtmrs")
            context.emit(Unknown(what, why, affects, (PCR_OF_LINUX, PCR_KERNEL_CONFIG)))
        return line
    text = "".join(" " if unit <= "\x1f" else unit for unit in text)
    return text.rstrip(" ") if context.model.trims_trailing_blanks else text


def firmware_load_options(context: Context) -> bytes | None:
    """What the stub was started with, as it is: of the UEFI shell the whole line, None where there is nothing."""
    return context.image.load_options or None


def split_shell_line(line: str) -> tuple[str, ...]:
    """A line of the UEFI shell as its arguments: blanks separate, quotes join, ^ escapes (UEFI Shell 2.2, 3.4)."""
    arguments: list[str] = []
    word: list[str] | None = None
    quoted = escaped = False
    for character in line:
        if escaped:
            word = [] if word is None else word
            word.append(character)
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
            word = [] if word is None else word
            word.append(character)
    if word is not None:
        arguments.append("".join(word))
    return tuple(arguments)


def end_of_program(line: str) -> int:
    """Where the first word of a line of the shell ends."""
    ends = (at for at, character in enumerate(line) if character in " \t")
    return next((at for at in ends if len(split_shell_line(f"{line[:at]} x")) > 1), len(line))


def _from_shell(context: Context, shell: tuple[str, ...]) -> tuple[int, str | None]:
    arguments = list(shell[1:])
    profile = 0
    if arguments and context.model.takes_profiles:
        number, tail = _number(arguments[0])
        if number is not None and not tail:
            profile = number
            del arguments[0]
    line = " ".join(arguments) if arguments else None
    return profile, mangled(context, line) if line is not None and context.model.mangles_shell_line else line


def _profile_prefix(text: str) -> tuple[int, str]:
    """``@N`` at the very start, then the end or exactly one blank, which goes with it."""
    number, tail = _number(text)
    if number is None or tail[:1] not in ("", " "):
        return 0, text
    return number, tail[1:]


def _number(text: str) -> tuple[int | None, str]:
    number, tail = parse_number(text[1:]) if text.startswith("@") else (None, text)
    return (None, text) if number is None or number > UINT_MAX else (number, tail)
