"""Where the machines of a fleet come from: files of rows, host files, a database. Each becomes a relation of DuckDB."""

from __future__ import annotations

import codecs
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stubsim.errors import StubsimError, reason
from stubsim.fleet.columns import HOST, NAMES
from stubsim.fleet.host_files import HostFile, host_json, in_folder, in_tar
from stubsim.rows import NamedTuple

if TYPE_CHECKING:
    import duckdb

# What a name may end with -> what the file is; behind it .gz or .zst.
_ENDINGS = {
    ".parquet": "parquet", ".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "ndjson", ".csv": "csv", ".tsv": "csv",
    ".tar": "tar", ".tgz": "tar", ".txz": "tar",
}  # fmt: skip
_PACKED = (".gz", ".zst", ".xz", ".bz2")
# How DuckDB knows a file.
_OWN_NAME = re.compile(r"[^'\" ]*/(inventory|clean)(\.[a-z0-9]+)+")
_FILES_A_BATCH = 256
# Rows of NDJSON that tell which columns there are.
_SAMPLE = 20480
# Of the lines that could not be read; all are counted.
LISTED = 100
_LINE_MAX = 16 << 20


class Refused(NamedTuple):
    """A row that could not be read, by its line, or by the file that it was to be in."""

    line: int | str
    why: str


class Source(NamedTuple):
    """Machines as something that can stand behind FROM, where it is called source.

    ``columns`` are its own; ``mapped`` are the expressions, by the names of a host file's keys, for what is known of a
    machine. ``refused`` counts the rows that are not in it, ``listed`` has the first of them. Where reading fails,
    ``again`` is the source without what could not be read; ``rejects`` is a table that has it.
    """

    relation: str
    columns: tuple[str, ...]
    mapped: dict[str, str]
    refused: int = 0
    listed: tuple[Refused, ...] = ()
    again: Callable[[], Source] | None = None
    rejects: str | None = None


def open_source(
    connection: duckdb.DuckDBPyConnection,
    place: str,
    folder: str,
    *,
    sql: str | None = None,
    mapping: Mapping[str, str] | None = None,
) -> Source:
    """The machines at a path, or those that a query finds in the database of a URI.

    ``folder`` is for what has to be kept meanwhile; ``mapping`` names the columns of keys. Raises StubsimError for what
    cannot be read, and where columns are missing.
    """
    if sql is not None:
        found = _database(connection, place, sql)
    elif os.path.isdir(place):
        found = _files(connection, in_folder(place))
    else:
        kind, path = _file(place, folder)
        if kind == "tar":
            found = _files(connection, in_tar(path, place))
        else:
            _refuse_utf16(kind, path, place)
            found = {"parquet": _parquet, "ndjson": _ndjson, "csv": _csv}[kind](connection, path, place, folder)
    return found._replace(mapped=_mapped(found.columns, mapping or {}, place))


def quoted(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def _mapped(columns: Sequence[str], mapping: Mapping[str, str], place: str) -> dict[str, str]:
    if not columns:
        raise StubsimError("is empty", path=place, expected="rows with columns")
    there = f"one of its columns: {', '.join(columns)}"
    for key, column in mapping.items():
        if key not in NAMES:
            raise StubsimError(f"--map {key}={column}: a host file has no {key}", expected=", ".join(NAMES))
        if column not in columns:
            raise StubsimError(f"no column {column}", path=place, expected=there)
    named = {key: mapping.get(key, key) for key in NAMES if mapping.get(key, key) in columns}
    if HOST not in named and "manufacturer" not in named:
        hint = "name the column that has it: --map manufacturer=COLUMN"
        raise StubsimError(
            "no column manufacturer, which every hardware id is made of", path=place, expected=there, hint=hint
        )
    return {key: f"CAST(source.{quoted(column)} AS VARCHAR)" for key, column in named.items()}


# --- files of rows ---------------------------------------------------------------------------------------------------


def _file(place: str, folder: str) -> tuple[str, str]:
    """What a file is, and its path under a name that is no pattern to DuckDB; standard input is kept in a file."""
    if place == "-" or not os.path.isfile(place):
        place = _kept(place, folder)
    stem, ending = os.path.splitext(place.lower())
    packed = ending if ending in _PACKED else ""
    kind = _ENDINGS.get(os.path.splitext(stem)[1] if packed else ending) or _by_content(place)
    link = os.path.join(folder, f"inventory.{kind}{packed}")
    os.symlink(os.path.abspath(place), link)
    return kind, link


def _refuse_utf16(kind: str, path: str, place: str) -> None:
    """What `>` of Windows PowerShell writes; Python unpacks no .zst."""
    import lzma
    import zlib

    if kind == "parquet" or path.endswith(".zst"):
        return
    try:
        with _opened(path) as file:
            start = file.read(2)
    except (OSError, EOFError, lzma.LZMAError, zlib.error):
        # What reads the rows says why.
        return
    if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise StubsimError("is UTF-16", path=place, expected="UTF-8 (in PowerShell: Out-File -Encoding utf8)")


def _kept(place: str, folder: str) -> str:
    import sys

    kept = os.path.join(folder, "stream")
    try:
        source = sys.stdin.buffer if place == "-" else open(place, "rb")  # noqa: SIM115
        with source, open(kept, "wb") as file:
            shutil.copyfileobj(source, file)
    except OSError as error:
        expected = "an inventory of machines: Parquet, NDJSON, CSV, a folder or tar of host files"
        raise StubsimError(reason(error), path=place, expected=expected) from error
    return kept


def _by_content(path: str) -> str:
    import tarfile

    try:
        with open(path, "rb") as file:
            start = file.read(4096)
        if start.startswith(b"PAR1"):
            return "parquet"
        if tarfile.is_tarfile(path):
            return "tar"
    except OSError as error:
        raise StubsimError(reason(error), path=path) from error
    return "ndjson" if start.lstrip().startswith(b"{") else "csv"


def _parquet(connection: duckdb.DuckDBPyConnection, path: str, place: str, folder: str) -> Source:
    relation = f"read_parquet({text(path)})"
    return Source(relation, tuple(_described(connection, relation, place)), {})


def _ndjson(connection: duckdb.DuckDBPyConnection, path: str, place: str, folder: str) -> Source:
    """All columns as texts, so that a later line cannot contradict an earlier one.

    DuckDB does not tell the lines that it cannot read. So they are looked for where it comes to one.
    """

    def columns_of(path: str) -> tuple[str, ...]:
        options = f"ignore_errors = true, sample_size = {_SAMPLE}"
        found = _described(connection, f"read_ndjson({text(path)}, {options})", place)
        # Where not all are objects there is one column with them.
        return () if found == {"json": "JSON"} else tuple(found)

    def relation(path: str, columns: Sequence[str]) -> str:
        described = ", ".join(f"{text(name)}: 'VARCHAR'" for name in columns)
        return f"read_ndjson({text(path)}, columns = {{{described}}})"

    def cleaned() -> Source:
        clean = os.path.join(folder, "clean.ndjson")
        refused, listed = _clean(path, clean, place)
        columns = columns_of(clean)
        if not columns:
            raise StubsimError("no line of it is a JSON object", path=place, expected="an object a line (NDJSON)")
        return Source(relation(clean, columns), columns, {}, refused, listed)

    # Python unpacks no .zst.
    again = None if path.endswith(".zst") else cleaned
    try:
        columns = columns_of(path)
    except StubsimError:
        if again is None:
            raise
        columns = ()
    if columns or again is None:
        return Source(relation(path, columns), columns, {}, again=again)
    return cleaned()


def _clean(path: str, clean: str, place: str) -> tuple[int, tuple[Refused, ...]]:
    """Copy the lines that are JSON objects; how many are not, and the first of those."""
    refused, listed = 0, []
    try:
        with _opened(path) as lines, open(clean, "wb") as file:
            for number, line in enumerate(iter(lambda: lines.readline(_LINE_MAX), b""), 1):
                whole = len(line) < _LINE_MAX or line.endswith(b"\n")
                why = _why_no_object(line) if whole else f"longer than {_LINE_MAX >> 20} MiB"
                if not whole:
                    _to_its_end(lines)
                if why is None:
                    file.write(line if line.endswith(b"\n") else line + b"\n")
                elif line.strip():
                    refused += 1
                    listed += [Refused(number, why)] if refused <= LISTED else []
    except (OSError, EOFError) as error:
        raise StubsimError(str(error), path=place) from error
    return refused, tuple(listed)


def _to_its_end(lines: Any) -> None:
    """Read on to where the line ends."""
    while (more := lines.readline(_LINE_MAX)) and not more.endswith(b"\n"):
        pass


def _opened(path: str) -> Any:
    import bz2
    import gzip
    import lzma

    opened: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}
    return opened.get(os.path.splitext(path)[1], open)(path, "rb")


def _why_no_object(line: bytes) -> str | None:
    def refuse(text: str) -> None:
        raise ValueError(f"{text} is not JSON")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            raise ValueError("a key is there twice")
        return value

    try:
        value = json.loads(line, parse_constant=refuse, object_pairs_hook=once)
        if not isinstance(value, dict):
            return "not a JSON object"
        # DuckDB takes no lone surrogate.
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeError:
        return "not UTF-8"
    except json.JSONDecodeError as error:
        return f"not JSON: {error.msg} at column {error.colno}"
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    return None


def _csv(connection: duckdb.DuckDBPyConnection, path: str, place: str, folder: str) -> Source:
    """The first line names the columns. An empty field is null; a quoted empty one is a text of no characters."""
    import csv

    try:
        header = _first_line(connection, path, place).decode("utf-8-sig")
        delimiter = max(",;\t|", key=header.count)
        columns = tuple(next(csv.reader([header], delimiter=delimiter), []))
    except (OSError, EOFError, UnicodeError, csv.Error) as error:
        why = f"the first line cannot be read: {first_line(error)}"
        raise StubsimError(why, path=place, expected="CSV in UTF-8") from error
    # To DuckDB names are the same in upper and lower case.
    if len({name.lower() for name in columns}) < len(columns) or not all(columns):
        raise StubsimError(
            "the first line does not name the columns", path=place, expected="a name for each, none of them twice"
        )
    described = ", ".join(f"{text(name)}: 'VARCHAR'" for name in columns)
    relation = (
        f"read_csv({text(path)}, auto_detect = false, header = true, columns = {{{described}}}, "
        f"delim = {text(delimiter)}, quote = '\"', escape = '\"', allow_quoted_nulls = false, store_rejects = true, "
        "rejects_limit = 0)"
    )
    return Source(relation, columns, {}, rejects="reject_errors")


def _first_line(connection: duckdb.DuckDBPyConnection, path: str, place: str) -> bytes:
    """Of a file that may be packed; Python unpacks no .zst."""
    if path.endswith(".zst"):
        options = "columns = {'line': 'VARCHAR'}, auto_detect = false, header = false, delim = '\x01', quote = ''"
        query = f"SELECT line FROM read_csv({text(path)}, {options}, escape = '') LIMIT 1"
        try:
            row = connection.execute(query).fetchone()
        except _errors() as error:
            raise unreadable(error, place) from error
        return b"" if row is None or row[0] is None else str(row[0]).encode()
    with _opened(path) as file:
        line: bytes = file.readline(_LINE_MAX)
        return line


# --- host files ------------------------------------------------------------------------------------------------------


def _files(connection: duckdb.DuckDBPyConnection, files: Iterator[HostFile]) -> Source:
    """A table of the machines in files: the name of each, and its host file in JSON."""
    import pyarrow as pa

    schema = pa.schema([("file", pa.string()), (HOST, pa.string())])
    refused, listed = 0, []
    connection.execute(f"CREATE TABLE machines (file VARCHAR, {HOST} VARCHAR)")
    rows: list[dict[str, str]] = []

    def flush() -> None:
        batch = pa.Table.from_pylist(rows, schema)
        connection.register("some_machines", batch)
        connection.execute("INSERT INTO machines SELECT * FROM some_machines")
        connection.unregister("some_machines")
        rows.clear()

    for file in files:
        try:
            rows.append({"file": file.name, HOST: host_json(file)})
        except StubsimError as error:
            refused += 1
            listed += [Refused(file.name, str(error))] if refused <= LISTED else []
        if len(rows) == _FILES_A_BATCH:
            flush()
    flush()
    return Source("machines", ("file", HOST), {}, refused, tuple(listed))


# --- databases -------------------------------------------------------------------------------------------------------


def _database(connection: duckdb.DuckDBPyConnection, uri: str, sql: str) -> Source:
    """What a query finds, by Arrow's own drivers; kept in a table, as it may be asked once."""
    scheme = uri.partition(":")[0].lower()
    module = {"postgresql": "postgresql", "postgres": "postgresql", "sqlite": "sqlite", "file": "sqlite"}.get(scheme)
    if module is None:
        expected = "postgresql://USER@HOST/DATABASE or sqlite:PATH"
        raise StubsimError(f"unknown kind of database {scheme!r}", expected=expected)
    try:
        from importlib import import_module

        dbapi = import_module(f"adbc_driver_{module}.dbapi")
    except ImportError as error:
        name = f"adbc-driver-{module}"
        raise StubsimError(f"{name} is not installed", hint=f"pip install {name} adbc-driver-manager") from error
    if module == "sqlite":
        uri = uri.partition(":")[2].removeprefix("//")
        if not os.path.isfile(uri):
            raise StubsimError("no such database", path=uri)
    try:
        with dbapi.connect(uri) as database, database.cursor() as cursor:
            cursor.execute(sql)
            reader = cursor.fetch_record_batch()
            connection.register("rows_of_query", reader)
            connection.execute("CREATE TABLE machines AS SELECT * FROM rows_of_query")
            connection.unregister("rows_of_query")
    except (dbapi.Error, OSError, *_errors()) as error:
        raise StubsimError(f"the query fails: {first_line(error)}", expected="a query that finds machines") from error
    columns = tuple(_described(connection, "machines", uri))
    return Source("machines", columns, {})


# --- DuckDB ----------------------------------------------------------------------------------------------------------


def _described(connection: duckdb.DuckDBPyConnection, relation: str, place: str) -> dict[str, str]:
    try:
        rows = connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
    except _errors() as error:
        raise unreadable(error, place) from error
    return {row[0]: row[1] for row in rows}


def unreadable(error: Exception, place: str) -> StubsimError:
    """What DuckDB says of a file that it cannot read, which it knows by another name."""
    why = _OWN_NAME.sub(lambda _: os.path.basename(place), first_line(error))
    return StubsimError(f"cannot be read as an inventory: {why}", path=place)


def first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]


def _errors() -> tuple[type[Exception], ...]:
    import duckdb

    return (duckdb.Error,)


def text(content: str) -> str:
    """A text as SQL has it."""
    return "'" + content.replace("'", "''") + "'"
