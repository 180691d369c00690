"""A QEMU command line taken apart: the words as a shell or /proc/PID/cmdline gives them, and the options in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from stubsim.errors import StubsimError
from stubsim.hosts.host import EXPECTED
from stubsim.hosts.reading import shown
from stubsim.rows import NamedTuple

_PROGRAM = re.compile(r"(?:.*/)?(qemu-system-[a-z0-9_]+|qemu-kvm|kvm|qemu)")
# In prose other words follow the program; other programs have --smbios as well, this one too.
_IN_TEXT = re.compile(
    rb"""(?:^|[\s/'"])(?:
    (?:qemu-system-[a-z0-9_]+|qemu-kvm|kvm)['"]?(?:\\?\s)+(?:-|['"]?[$`]|[^\s./]*+[./]\S*+\s++-)
    |--?smbios(?:\\?\s)+['"]?(?:type|file)=)""",
    re.VERBOSE,
)
_CONTROL = re.compile(rb"[\x01-\x08\x0b\x0c\x0e-\x1f]")
# What ends a command for a shell.
_OPERATORS = frozenset({";", "|", "||", "&", "&&", ")", "}"})
_SMBIOS = ("-smbios", "--smbios")
# Options with an argument of any form, which may be empty or begin with a dash.
_TEXTS = ("append", "kernel", "initrd")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_EXPANDED = re.compile(r"\$[A-Za-z_{(0-9@*]|`")

Pairs = tuple[tuple[str, str], ...]


class Option(NamedTuple):
    """One option without its dashes; `text` is its argument, `pairs` are the keys and values of it, in order.

    The key of a first value that stands alone is "".
    """

    name: str
    pairs: Pairs = ()
    text: str = ""

    @property
    def first(self) -> str:
        """The value that stands alone at the front, or an empty text."""
        return self.pairs[0][1] if self.pairs and self.pairs[0][0] == "" else ""

    def get(self, key: str) -> str | None:
        """The last value of a key, which is the one that counts."""
        return next((value for name, value in reversed(self.pairs) if name == key), None)


class CommandLine(NamedTuple):
    """The options in order; `program` is None for mere arguments.

    `complete` tells that no option can be missing, `literal` that no shell has anything left to expand, `expands` that
    it may put more options there.
    """

    program: str | None
    options: tuple[Option, ...]
    complete: bool = True
    literal: bool = True
    expands: bool = False

    def of(self, *names: str) -> Iterator[Option]:
        return (option for option in self.options if option.name in names)

    def has(self, name: str) -> bool:
        return any(True for _ in self.of(name))


def is_command_line(data: bytes) -> bool:
    """Whether a QEMU is started in this text, or -smbios is an option in it; or the words of a process."""
    if _CONTROL.search(data) is not None:
        return False
    if b"\0" not in data:
        return _IN_TEXT.search(data) is not None or _is_program(data.strip())
    first = data.partition(b"\0")[0]
    return first.startswith(b"-") or _is_program(first)


def _is_program(word: bytes) -> bool:
    return _PROGRAM.fullmatch(word.decode(errors="replace")) is not None


def parse(data: bytes) -> CommandLine:
    """The command line in a script or a log, the words of /proc/PID/cmdline, or arguments alone.

    Bytes that are not UTF-8 come out as surrogates. Raises StubsimError for a quote without an end, and for what QEMU
    refuses: more than one word that belongs to no option (system/vl.c, qemu_init: each is the disk with index 0).
    """
    text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    literal = "\0" in text
    words = text.rstrip("\0").split("\0") if literal else _words(text)
    start = next((index for index, word in enumerate(words) if _PROGRAM.fullmatch(word)), None)
    program = None
    if start is not None:
        match = _PROGRAM.fullmatch(words[start])
        assert match is not None
        program, words = match[1], words[start + 1 :]
    end = next((index for index, word in enumerate(words) if not literal and _ends(word)), len(words))
    return command_line(program, words[:end], literal=literal)


def command_line(program: str | None, words: list[str], *, literal: bool = True) -> CommandLine:
    """The options in the words behind the program."""
    options: list[Option] = []
    # Disk images, or what only a shell knows.
    loose: list[str] = []
    rest = iter(enumerate(words))
    for index, word in rest:
        if not word.startswith("-") or word == "-":
            if words[max(index - 2, 0)] in _SMBIOS and ("=" in word or "," in word):
                raise StubsimError(
                    f"{shown(word)} belongs to no option",
                    expected="the value of -smbios in one piece",
                    hint="blanks need quotes; /proc/PID/cmdline has the words as they are, ps does not",
                )
            loose.append(word)
            continue
        name = word.removeprefix("-").removeprefix("-")
        argument = words[index + 1] if index + 1 < len(words) else ""
        # Which options take an argument is not for us to know: whatever does not look like an option is one.
        if name in _TEXTS or (argument and (name == "smbios" or not argument.startswith("-"))):
            next(rest, None)
            options.append(Option(name, split(argument), argument))
        else:
            options.append(Option(name))
    _refuse_several(loose, literal=literal)
    expands = not literal and any(_EXPANDED.search(word) for word in (*loose, *(option.name for option in options)))
    complete = program is not None and not expands and all(option.name != "readconfig" for option in options)
    return CommandLine(program, tuple(options), complete, literal, expands)


def _refuse_several(loose: list[str], *, literal: bool) -> None:
    """One disk image is all that may stand without an option; what a shell puts in the place of a word is not known."""
    left = [word for word in loose if literal or not (_EXPANDED.search(word) or _ASSIGNMENT.match(word))]
    if len(left) > 1:
        raise StubsimError(
            f"not a QEMU command line: {shown(left[0])} and {shown(left[1])} belong to no option",
            expected=EXPECTED,
            hint="blanks need quotes; /proc/PID/cmdline has the words as they are, ps does not",
        )


def split(argument: str) -> Pairs:
    """Keys and values: commas part them, a doubled comma is one of the value, a key alone is switched on.

    An argument in JSON, as -device and -object take it, gives its keys.
    """
    if argument.startswith("{"):
        try:
            value = json.loads(argument)
        except (ValueError, RecursionError):
            value = {}
        return tuple(("" if key == "driver" else key, str(item)) for key, item in value.items())
    parts = [part.replace("\0", ",") for part in argument.replace(",,", "\0").split(",")]
    pairs = []
    for index, part in enumerate(parts):
        key, equals, value = part.partition("=")
        pairs.append((key, value) if equals else ("", part) if index == 0 else (part, "on"))
    return tuple(pairs)


def needs_shell(command: CommandLine, value: str) -> bool:
    """Whether a shell would put something else in the value's place."""
    return not command.literal and _EXPANDED.search(value) is not None


def _words(text: str) -> list[str]:
    """The words of the command that starts QEMU; without one those of the lines of options, or all."""
    text = re.sub(r"\\\r?\n", " ", text)
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    arguments: list[str] = []
    for line in lines:
        if re.search(r"qemu|kvm|smbios|^\s*-", line):
            try:
                words = shell_words(line)
            except ValueError:
                continue
            if any(_PROGRAM.fullmatch(word) for word in words) and any(word.startswith("-") for word in words):
                return words
            if words[:1] and (words[0].startswith("-") or any(word in _SMBIOS for word in words)):
                arguments += words
    try:
        return arguments or shell_words("\n".join(lines))
    except ValueError as error:
        raise StubsimError(f"not a QEMU command line: {error}", expected=EXPECTED) from error


# A piece of a word, or what parts words, as shlex.split() of Python has them, which takes the square of a long word.
_PIECE = re.compile(
    r"""(?P<blank>[ \t\r\n]+) | '(?P<single>[^']*)' | "(?P<double>[^"\\]*+(?:\\.[^"\\]*+)*)" | \\(?P<escaped>.)
    | (?P<plain>[^ \t\r\n'"\\]+)""",
    re.DOTALL | re.VERBOSE,
)
_IN_QUOTES = re.compile(r'\\(["\\])')


def shell_words(text: str) -> list[str]:
    """The words that a shell makes of a text, with nothing expanded; ValueError where a quote or escape has no end."""
    words: list[str] = []
    word: list[str] | None = None
    at = 0
    while at < len(text):
        match = _PIECE.match(text, at)
        if match is None:
            raise ValueError("a backslash at its end" if text[at] == "\\" else "a quote that is not closed")
        at, kind, piece = match.end(), match.lastgroup, match[match.lastgroup or 0]
        if kind != "blank":
            word = word or []
            word.append(_IN_QUOTES.sub(r"\1", piece) if kind == "double" else piece)
        elif word is not None:
            words.append("".join(word))
            word = None
    return words if word is None else [*words, "".join(word)]


def _ends(word: str) -> bool:
    return word in _OPERATORS or re.match(r"[0-9]?>|<", word) is not None
