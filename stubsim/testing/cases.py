"""Case files, `*.boot.toml`: a UKI, the machines it is booted on, how it is started, and what is expected of the boot.

A file is one case, or has several in `[[case]]` tables; what stands above those holds for all of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from stubsim import stream
from stubsim.errors import StubsimError, reason
from stubsim.hosts.fixture import MEMORY_SIZES, memory_size
from stubsim.hosts.reading import Layout, Object, every_mistake, nearest, read_object
from stubsim.named_files import NamedFiles
from stubsim.rows import NamedTuple
from stubsim.systemd.strings import UINT_MAX
from stubsim.testing.expectations import EXPECTATIONS, read_expectations
from stubsim.uefi.esp import walk

SCHEMA = "stubsim/case/1"
SUFFIX = ".boot.toml"
# A thousand cases take half a megabyte.
MAXIMUM_SIZE = 16 << 20

OPTIONS = (
    "esp", "path", "load_options", "cmdline", "shell", "from_memory", "profile", "memory", "stub", "handover", "follow",
    "db",
)  # fmt: skip
# The ways to give the load options; only one can be meant.
_WAYS = ("load_options", "cmdline", "shell")
_OF_CASE = ("name", "uki", "host", "accept_unknown", "options", "expect")
_KEYS = {"": ("$schema", "schema", *_OF_CASE, "case"), "options": OPTIONS}
_LAYOUT = Layout(_KEYS, tuple(f"{place}.{key}" if place else key for place, keys in _KEYS.items() for key in keys))
# Machines of one pattern.
_HOSTS_MAX = 1 << 16
_GLOB = re.compile(r"[*?\[]")
# tomllib takes the square of a dotted key; none of ours has more than four parts. Strings and comments are none.
_DOTS_MAX = 32
# No possessive groups: those of Python up to 3.11.4, Debian 12's among them, match too little (gh-106052).
_NO_KEY = re.compile(
    r'''"""[^"\\]*+(?:(?:\\.|"(?!""))[^"\\]*+)*"""|'{3}[^']*+(?:'(?!'')[^']*+)*'{3}'''
    r"""|"[^"\\\n]*+(?:\\.[^"\\\n]*+)*"|'[^'\n]*+'|#[^\n]*+""",
    re.DOTALL,
)
_RUN = re.compile(r"[^=,{}\[\]\n]+")
_WHERE = re.compile(r"(.*) \(at (.*)\)", re.DOTALL)


class Machine(NamedTuple):
    """A host file, and how the case file calls it."""

    label: str
    path: str


class Case(NamedTuple):
    """One UKI started in one way, on one machine or several, and what is expected of it on each.

    ``place`` is "case[N]" in a file with several cases, else "". ``options`` and ``expect`` are as in the file, with
    paths that can be opened; ``accept_unknown`` names expectations that the boot may call unknown.
    """

    file: str
    place: str
    name: str
    uki: str
    hosts: tuple[Machine, ...]
    options: dict[str, Any]
    expect: dict[str, Any]
    accept_unknown: tuple[str, ...] = ()


def find(paths: Iterable[str]) -> tuple[str, ...]:
    """The case files among the paths and, in the order of their names, in the folders among them; each once.

    Hidden folders are left out. Raises StubsimError for a folder without one.
    """
    found: dict[str, None] = {}
    for path in paths:
        if not os.path.isdir(path):
            found.setdefault(path)
            continue
        inside = []
        for folder, folders, names in os.walk(path, onerror=_raise):
            folders[:] = [name for name in folders if not name.startswith(".")]
            inside += [os.path.join(folder, name) for name in names if name.endswith(SUFFIX)]
        if not inside:
            raise StubsimError("no case file in it", path=path, expected=f"files named *{SUFFIX}")
        found.update(dict.fromkeys(sorted(inside)))
    return tuple(found)


def load(path: str, *, allow_outside: bool = False) -> tuple[Case, ...]:
    """The cases of a file; StubsimError for all that it cannot be, and for a pattern that no host file matches.

    Also for an esp, load options, a certificate or a pattern that lies neither below its folder nor below the current
    one, unless that is allowed.
    """
    try:
        data = stream.read(path, MAXIMUM_SIZE + 1)
    except (OSError, ValueError) as error:
        raise StubsimError(f"cannot be read: {reason(error)}", path=path, expected="a case file") from error
    return parse(data, path, allow_outside=allow_outside)


def parse(data: bytes, path: str, *, allow_outside: bool = False) -> tuple[Case, ...]:
    """The cases in the bytes of a case file; its folder is what relative paths start from."""
    if len(data) > MAXIMUM_SIZE:
        raise StubsimError("too large", path=path, expected=f"a case file of at most {MAXIMUM_SIZE >> 20} MiB")
    try:
        files = NamedFiles(os.path.dirname(path), allow_outside)
        return every_mistake(_decoded(data), lambda value: _cases(value, path, files))
    except StubsimError as error:
        error.within(path=path)
        raise


def _raise(error: OSError) -> None:
    raise StubsimError(f"cannot be read: {reason(error)}", path=error.filename) from error


def _decoded(data: bytes) -> dict[str, Any]:
    import tomllib

    try:
        text = data.decode("utf-8-sig")
        deep = next((run for run in _RUN.finditer(_NO_KEY.sub('""', text)) if run[0].count(".") > _DOTS_MAX), None)
        if deep is not None:
            raise StubsimError("a key of too many parts", expected=f"at most {_DOTS_MAX} dots in one")
        return tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise StubsimError("not UTF-8", offset=error.start, expected="TOML in UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        told = _WHERE.fullmatch(str(error))
        raise StubsimError(f"{told[2]}: {told[1]}" if told else str(error), expected="TOML") from error
    except RecursionError as error:
        raise StubsimError("nested too deeply", expected="TOML") from error
    except ValueError as error:  # Python reads no integer of more than 4300 digits
        raise StubsimError("a number is too long", expected="TOML") from error


def _cases(value: dict[str, Any], path: str, files: NamedFiles) -> tuple[Case, ...]:
    top = read_object(value, _LAYOUT)
    if top.string("schema", SCHEMA) != SCHEMA:
        top.fail("schema", f'"{SCHEMA}"')
    if "case" not in value:
        return _with_trees((_case(top, top, path, files),), files)
    if "name" in value:
        top.fail("name", "no name above [[case]], since each case has its own")
    # What is wrong above the cases is wrong by itself, be it overridden in each of them.
    _tables(top)
    cases: dict[str, Case] = {}
    for place, item in top.items("case"):
        own = read_object(_table(item, place), _LAYOUT, place, _OF_CASE)
        case = _case(top, own, path, files)
        if case.name in cases:
            own.fail("name", "each name once")
        cases[case.name] = case
    if not value["case"]:
        top.fail("case", "at least one case")
    return _with_trees(tuple(cases.values()), files)


def _with_trees(cases: tuple[Case, ...], files: NamedFiles) -> tuple[Case, ...]:
    """The same cases, once no link in an esp of theirs is found to lead out of where files may lie."""
    places = {
        case.options["esp"]: f"{case.place}.options.esp".removeprefix(".") for case in cases if "esp" in case.options
    }
    for esp, place in places.items():
        for folder, folders, names in () if files.allow_outside else walk(esp):
            for path in (os.path.join(folder, name) for name in (*folders, *names)):
                if os.path.islink(path):
                    files.check(path, place)
    return cases


def _case(top: Object, own: Object, path: str, files: NamedFiles) -> Case:
    """A case with what it takes over from the top of the file."""
    given = own if own is top else own._replace(value={**top.value, **own.value})
    options, expect = _tables(top)
    if own is not top:
        more, expected = _tables(own)
        options, expect = _overridden(options, more), merged(expect, expected)
    name = os.path.basename(path).removesuffix(SUFFIX) if own.place == "" else None
    if "name" in own.value or name is None:
        name = own.text("name") or own.fail("name", "the name of the case")
    uki = given.text("uki") or given.fail("uki", "the path of a UKI")
    hosts = _hosts(given, files)
    if not expect:
        own.fail("expect", f"some of {', '.join(EXPECTATIONS)}")
    return Case(
        file=path,
        place=own.place,
        name=name,
        uki=_path(given, "uki", uki, files),
        hosts=hosts,
        options=_resolved(options, own.at("options"), files),
        expect=expect,
        accept_unknown=tuple(_accepted(given)),
    )


def _overridden(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """The options of a case: another way to give the load options takes the place of the one from the top."""
    given = any(key in above for key in _WAYS)
    return {**{key: value for key, value in below.items() if not (given and key in _WAYS)}, **above}


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Two tables of expectations as one; the one above counts where both have a value."""
    both = {**below, **above}
    for key in below.keys() & above.keys():
        if isinstance(below[key], dict) and isinstance(above[key], dict):
            both[key] = merged(below[key], above[key])
    return both


def _tables(table: Object) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options and the expectations that stand in one table of the file, each checked."""
    options = read_options(_table(table.get("options", {}), table.at("options")), table.at("options"))
    place = table.at("expect")
    return options, read_expectations(_table(table.get("expect", {}), place), place)


def read_options(value: dict[str, Any], place: str = "options") -> dict[str, Any]:
    """The same table, once it is found to be one of options; raises StubsimError in the name of the key."""
    options = read_object(value, _LAYOUT, place, OPTIONS)
    for key in ("from_memory", "follow"):
        options.boolean(key, False)
    for key in ("esp", "path", "load_options", "cmdline", "shell", "stub", "handover"):
        if "\0" in options.string(key, ""):
            options.fail(key, "a string without NUL")
    if not isinstance(options.value.get("profile", ""), str):
        options.integer("profile", None, UINT_MAX)
    if "memory" in options.value and memory_size(options.value["memory"]) is None:
        options.fail("memory", MEMORY_SIZES)
    for key, certificate in options.items("db"):
        if not isinstance(certificate, str) or "\0" in certificate:
            options.fail(key, "the path of a certificate")
    ways = [key for key in _WAYS if key in value]
    if len(ways) > 1:
        raise StubsimError(f"{place}: {' and '.join(ways)}", expected="one of them")
    return value


def _table(value: object, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise StubsimError(f"{place}: no table", expected="a table")
    return value


def _hosts(given: Object, files: NamedFiles) -> tuple[Machine, ...]:
    """Every machine, in the order of the file and, for a pattern, of the names it matches."""
    named = given.get("host", None)
    patterns = [("host", named)] if isinstance(named, str) else given.items("host")
    if not patterns:
        given.fail("host", "a host file, a pattern or a list of them")
    found: dict[Machine, None] = {}
    for key, value in patterns:
        if not isinstance(value, str) or not value:
            given.fail(key, "a host file or a pattern")
        path = _path(given, key, value, files)
        if _is_pattern(path, value):
            # A single host may lie anywhere; to look for them costs, and shows what is there.
            files.check(files.path(os.path.dirname(_GLOB.split(value, maxsplit=1)[0])), given.at(key))
        matches = machines(path, value)
        for machine in matches if _is_pattern(path, value) else ():
            files.check(machine.path, given.at(key))
        found.update(dict.fromkeys(matches) or given.fail(key, "a pattern that a file matches"))
    return tuple(found)


def machines(path: str, label: str) -> Sequence[Machine]:
    """The host file of that path or, where there is none, the files that match it as a pattern; with labels alike."""
    from glob import iglob

    if not _is_pattern(path, label):
        return [Machine(label, path)]
    before = len(path) - len(label) if path.endswith(label) else 0
    matches = sorted(islice((match for match in iglob(path, recursive=True) if os.path.isfile(match)), _HOSTS_MAX + 1))
    if len(matches) > _HOSTS_MAX:
        raise StubsimError(f"{label!r} matches more than {_HOSTS_MAX} files", expected="a pattern of host files")
    return [Machine(match[before:], match) for match in matches]


def _is_pattern(path: str, label: str) -> bool:
    return not os.path.lexists(path) and _GLOB.search(label) is not None


def _accepted(given: Object) -> Iterable[str]:
    for key, value in given.items("accept_unknown"):
        if not isinstance(value, str) or value not in EXPECTATIONS:
            hint = nearest([value], EXPECTATIONS, EXPECTATIONS)
            given.fail(key, "the name of an expectation", hint)
        yield value


def _resolved(options: dict[str, Any], place: str, files: NamedFiles) -> dict[str, Any]:
    found: dict[str, Any] = {key: files.path(options[key]) for key in ("esp", "load_options") if key in options}
    for key, path in found.items():
        files.check(path, f"{place}.{key}")
    if "db" in options:
        found["db"] = [files.path(path) for path in options["db"] if isinstance(path, str)]
        for path in found["db"]:
            files.check(path, f"{place}.db")
    return {**options, **found}


def _path(given: Object, key: str, value: str, files: NamedFiles) -> str:
    if "\0" in value:
        given.fail(key, "a path without NUL")
    return files.path(value)
