"""The manual page, stubsim(1), from the parsers of the command line.

argparse-manpage 4.8 was tried: it loses lines that begin with an apostrophe, a control character of roff, breaks the
synopses in the wrong places, and prints the options that commands share with each of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator

from stubsim.cli import parsers
from stubsim.cli.commands import COMMANDS, DESCRIPTION
from stubsim.version import __version__

ABOUT = """\
Which firmware and which devicetree a Unified Kernel Image (UKI) chooses on a machine, with which command line and
initrd its kernel starts and what is measured: systemd-stub decides that at boot, from SMBIOS strings and rules that
differ between releases. stubsim runs the same logic offline: a UKI and a description of a machine go in, the whole
boot comes out. Nothing is booted and no code of the UKI is run. What is not proven by recorded boots, and what is
unknown, is said.
"""
EXIT = {
    "0": "fine: the kernel starts, the firmware update is handed over, nothing differs, nothing is found",
    "1": "the boot fails, or something is found: a difference, a failed expectation, a finding of lint",
    "2": "an input cannot be read, or the call is wrong: one line on standard error names the file and the place",
    "70": "a fault of stubsim itself, or not enough memory: one line says how to report it",
}
ENVIRONMENT = {
    "COLUMNS": "the width of the text, also of what is piped or written to a file. Without it text is folded at the "
    "width of the terminal, and not at all where there is none",
    "NO_COLOR": "set to anything but nothing: no colours. --color comes first",
    "FORCE_COLOR": "set to anything but nothing: colours on standard output also where it is not a terminal. NO_COLOR "
    "comes first",
    "TERM": "dumb: no colours, and no progress",
}
EXAMPLES = {
    "What happens on this machine": "stubsim boot uki.efi --smbios live",
    "Why a devicetree is chosen, or not": "stubsim why uki.efi --smbios dmidecode.txt",
    "What another release of the stub would do": "stubsim diff uki.efi --smbios host.json --stub 260 --stub 262",
    "The values of PCR 11 to seal against": "stubsim measure uki.efi --smbios a.json --smbios b.json --policy",
    "Whether a set of hardware ids is right": "stubsim hwids lint boot/hwids --hosts machines",
}
SEE_ALSO = ("systemd-stub(7)", "ukify(1)", "systemd-measure(1)", "systemd-analyze(1)", "fwupdtool(1)", "dmidecode(8)")
# In every command, told once.
_COMMON = ("--help", "--output", "--color", "--debug")


def manual() -> str:
    """The page in roff, with the macros of man(7)."""
    commands = _commands(parsers.every())
    lines = [
        f'.TH STUBSIM 1 "" "stubsim {__version__}" "User Commands"',
        # The names of options are not to be hyphenated.
        ".nh",
        *(".SH NAME", f"stubsim \\- {_text(DESCRIPTION[0].lower() + DESCRIPTION[1:].rstrip('.'))}"),
        *(".SH SYNOPSIS", ".B stubsim", r"\fICOMMAND\fR [\fIOPTION\fR...]"),
        *(".SH DESCRIPTION", _text(ABOUT.strip())),
        ".SH COMMANDS",
    ]
    shared: dict[str, list[argparse.Action]] = {}
    for name, parser in commands.items():
        lines += [" ".join([".SS stubsim", _text(name), *_wanted(parser)])]
        lines += [_text(_sentence(parser.description or ""))]
        for title, actions in _groups(parser):
            if title not in ("positional arguments", "options", "a first suite"):
                shared[title] = actions
                lines += [".PP", f"Also takes the options of {_text(title.upper())}."]
            else:
                lines += _entries(actions)
        if parser.epilog:
            lines += [".PP", _text(parser.epilog)]
    for title, actions in shared.items():
        lines += [f".SH {_text(title.upper())}", *_entries(actions)]
    lines += [".SH COMMON OPTIONS", *_entries(_common(commands))]
    lines += [".SH EXIT STATUS", *(line for pair in EXIT.items() for line in (".TP", rf"\fB{pair[0]}\fR", pair[1]))]
    lines += [".SH ENVIRONMENT"]
    lines += [line for name, text in ENVIRONMENT.items() for line in (".TP", rf"\fB{name}\fR", _text(f"{text}."))]
    lines += [".SH EXAMPLES"]
    for text, command in EXAMPLES.items():
        lines += [f"{_text(text)}:", ".PP", ".RS", ".nf", rf"$ \fB{_text(command)}\fR", ".fi", ".RE", ".PP"]
    del lines[-1]
    lines += [".SH SEE ALSO", _text(", ".join(SEE_ALSO))]
    return "\n".join(lines) + "\n"


def _commands(root: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Each command, or where it has actions of its own each action, by its name."""
    found: dict[str, argparse.ArgumentParser] = {}
    for name, parser in _children(root).items():
        below = _children(parser)
        found |= {f"{name} {action}": one for action, one in below.items()} or {name: parser}
    return found


def _children(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _groups(parser: argparse.ArgumentParser) -> Iterator[tuple[str, list[argparse.Action]]]:
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if not _is_common(action)]
        if actions:
            yield group.title or "", actions


def _is_common(action: argparse.Action) -> bool:
    return any(option in _COMMON for option in action.option_strings)


def _common(commands: dict[str, argparse.ArgumentParser]) -> list[argparse.Action]:
    parser = commands[next(iter(COMMANDS))]
    return [action for action in parser._actions if _is_common(action)]


def _entries(actions: Iterable[argparse.Action]) -> Iterator[str]:
    for action in actions:
        if action.help == argparse.SUPPRESS:
            continue
        value = _value(action)
        names = [rf"\fB{_text(option)}\fR" for option in action.option_strings]
        heads = [f"{name} {value}".rstrip() for name in names] or [value]
        yield from (".TP", ", ".join(heads))
        yield _text(action.help or "how the result is written") if action.option_strings or action.help else ""


def _wanted(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The arguments, and the options that cannot be left out."""
    for action in parser._actions:
        if action.option_strings and action.required:
            yield rf"{_text(action.option_strings[0])} {_value(action)}"
        elif not action.option_strings:
            yield _value(action)


def _value(action: argparse.Action) -> str:
    """What stands behind an option, or in the place of an argument: names in italics, words to choose from in bold."""
    if action.nargs == 0:
        return ""
    if action.choices is not None and action.metavar is None:
        return "{" + ", ".join(rf"\fB{_text(str(choice))}\fR" for choice in action.choices) + "}"
    one = rf"\fI{_text(str(action.metavar or action.dest.upper()))}\fR"
    return {"?": f"[{one}]", "*": f"[{one}...]", "+": f"{one}..."}.get(str(action.nargs), one)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _text(text: str) -> str:
    """Text without the meaning that roff gives to characters, on lines that are no requests."""
    plain = text.replace("\\", r"\e").replace("-", r"\-").replace("`", r"\(ga").replace("'", r"\(aq")
    return "\n".join(rf"\&{line}" if line.startswith(".") else line for line in plain.replace("%%", "%").split("\n"))
