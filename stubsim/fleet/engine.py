"""What `stubsim fleet` runs on: DuckDB finds the distinct machines of a source, counts them and joins answers back."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stubsim.errors import StubsimError
from stubsim.fleet.columns import HOST, STRINGS
from stubsim.fleet.crew import Crew
from stubsim.fleet.evaluate import PREFIX, answer_table, coded_columns, result_schema
from stubsim.fleet.plan import Plan
from stubsim.fleet.sources import LISTED, Refused, Source, first_line, open_source, quoted, text, unreadable
from stubsim.rows import NamedTuple

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

# Of DuckDB; what does not fit goes to disk.
_MEMORY = "384MB"
_ROWS_A_BATCH = 1 << 14

Tick = Callable[[str], None]


class Group(NamedTuple):
    """Machines with the same answers: the number of `Plan.answers` for each plan, how many, and one of them.

    ``example`` has what is known of the machine that there are most of, and their number.
    """

    kinds: tuple[int, ...]
    machines: int
    example: dict[str, Any]


class Survey(NamedTuple):
    """A fleet under one or more plans: how many machines, distinct ones, and rows that describe none."""

    machines: int
    distinct: int
    refused: int
    listed: tuple[Refused, ...]
    groups: tuple[Group, ...]


@contextmanager
def fleet_of(place: str, *, sql: str | None = None, mapping: Mapping[str, str] | None = None) -> Iterator[Fleet]:
    """The machines of a source while they are asked; see `sources.open_source`. What is kept of them goes with it."""
    try:
        import duckdb
        import pyarrow as _  # noqa: F401
    except ImportError as error:
        raise StubsimError(f"{error.name} is not installed", hint=f"pip install {error.name}") from error
    with tempfile.TemporaryDirectory(prefix="stubsim-fleet-") as folder:
        settings = {
            "memory_limit": _MEMORY,
            "temp_directory": folder,
            # Nothing is fetched from anywhere.
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
        with duckdb.connect(":memory:", config=settings) as connection:
            connection.execute("SET enable_progress_bar = false")
            # Rows stay in the order of the source where that is what streams through a join.
            connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
            yield Fleet(connection, open_source(connection, place, folder, sql=sql, mapping=mapping), place)


class Fleet:
    """The distinct machines of a source, in a table, and how many there are of each."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, source: Source, place: str) -> None:
        self._connection = connection
        self._source = source
        self._place = place
        self._names: list[str] = []

    @property
    def columns(self) -> tuple[str, ...]:
        """What is told of the machines, by the names of a host file's keys."""
        return tuple(self._source.mapped)

    @property
    def source_columns(self) -> tuple[str, ...]:
        return self._source.columns

    def unheard(self, plans: Sequence[Plan]) -> list[str]:
        """The strings of a machine that would decide for one of the plans, and that no column has."""
        whole = HOST in self.columns
        return [
            name for name in STRINGS if not whole and name not in self.columns and any(p.needs(name) for p in plans)
        ]

    def survey(self, crew: Crew, tick: Tick = lambda text: None) -> Survey:
        """What each plan of a crew makes of the machines.

        Raises StubsimError for a source that cannot be read to its end, and as `stubsim.boot` does.
        """
        plans = crew.plans
        distinct = self.distinct([name for name in self.columns if any(plan.needs(name) for plan in plans)], tick)
        self._classify(crew, distinct, tick)
        machine = "".join(f", {name} := {name}" for name in self._names)
        kinds = ", ".join(f"kind{number}" for number in range(len(plans)))
        rows = self._rows(
            f"SELECT {kinds}, sum(machines), max(struct_pack(machines := machines{machine})) "
            "FROM identities JOIN kinds ON identities.rowid = kinds.id GROUP BY ALL ORDER BY ALL"
        )
        groups = [Group(row[:-2], int(row[-2]), row[-1]) for row in rows]
        good = [group for group in groups if not self._errors_of(plans, group)]
        bad = [group for group in groups if self._errors_of(plans, group)]
        refused, listed = self.refused()
        refused += sum(group.machines for group in bad)
        listed += tuple(self._bad_rows(plans, bad))
        return Survey(sum(group.machines for group in good), distinct, refused, listed[:LISTED], tuple(good))

    def distinct(self, names: Sequence[str], tick: Tick = lambda text: None) -> int:
        """Find the machines that differ in these columns, and tell how many; StubsimError for a source that breaks."""
        self._names = [*names]
        tick("reading")
        try:
            self._distinct()
        except _errors() as error:
            if self._source.again is None:
                raise unreadable(error, self._place) from error
            tick("reading once more, line by line")
            mapped = self._source.mapped
            self._source = self._source.again()._replace(mapped=mapped)
            try:
                self._distinct()
            except _errors() as second:
                raise unreadable(second, self._place) from second
        [(distinct,)] = self._rows("SELECT count(*) FROM identities")
        return int(distinct)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The distinct machines that were found last, in order, with how many there are of each ("machines")."""
        import pyarrow as pa

        columns = ", ".join((*self._names, "machines"))
        query = self._connection.sql(f"SELECT {columns} FROM identities ORDER BY rowid")
        with pa.RecordBatchReader.from_stream(query) as reader:
            for batch in reader:
                for start in range(0, batch.num_rows, _ROWS_A_BATCH):
                    yield batch.slice(start, _ROWS_A_BATCH)

    def write(self, path: str, plan: Plan) -> None:
        """The source's columns and the answer to the plan of the last survey as Parquet, a row for each that was read.

        Raises StubsimError where the file cannot be written.
        """
        self._answers(plan)
        own = [f"source.{quoted(name)}" for name in self._source.columns if not name.startswith(PREFIX)]
        answers = [f"answers.{name}" for name in result_schema().names]
        same = [f"{self._source.mapped[name]} IS NOT DISTINCT FROM identities.{name}" for name in self._names]
        query = (
            f"SELECT {', '.join((*own, *answers))} FROM {self._source.relation} AS source "
            f"JOIN identities ON {' AND '.join(same) or 'true'} JOIN kinds ON identities.rowid = kinds.id "
            "JOIN answers ON kinds.kind0 = answers.number"
        )
        try:
            self._connection.execute(f"COPY ({query}) TO {text(path)} (FORMAT parquet)")
        except _errors() as error:
            raise StubsimError(f"cannot be written: {first_line(error)}", path=path) from error

    def _distinct(self) -> None:
        """The table of distinct machines; a source without a column that counts has one at most.

        In order, so that those which have much in common are in one batch.
        """
        columns = "".join(f"{self._source.mapped[name]} AS {name}, " for name in self._names)
        self._connection.execute(
            f"CREATE OR REPLACE TABLE identities AS SELECT {columns} count(*) AS machines "
            f"FROM {self._source.relation} AS source GROUP BY ALL HAVING count(*) > 0 ORDER BY ALL"
        )

    def _classify(self, crew: Crew, distinct: int, tick: Tick) -> None:
        """The table of which answer each of them gets."""
        import pyarrow as pa

        numbers = [array("i") for _ in crew.plans]
        for kinds in crew.kinds((coded_columns(batch), batch.num_rows) for batch in self.batches()):
            for place, (plan, own) in enumerate(zip(crew.plans, kinds, strict=True)):
                numbers[place].extend(plan.numbers(own, crew.ask(place)))
            tick(f"{len(numbers[0])} of {distinct} distinct machines")
        ids = array("q", range(distinct))
        table = {"id": _column(ids, pa.int64())}
        table |= {f"kind{number}": _column(own, pa.int32()) for number, own in enumerate(numbers)}
        self._put("kinds", pa.table(table))

    def _answers(self, plan: Plan) -> None:
        """The table of answers; texts are enumerations, which are written as they are and take a byte a row."""
        import pyarrow as pa

        table = answer_table(plan)
        self._put("plain_answers", table.add_column(0, "number", pa.array(range(len(table)), pa.int32())))
        columns = ["number"]
        for field in table.schema:
            if field.type == pa.string():
                self._connection.execute(
                    f"CREATE TYPE {field.name} AS ENUM (SELECT DISTINCT {field.name} FROM plain_answers "
                    f"WHERE {field.name} IS NOT NULL ORDER BY ALL)"
                )
            columns.append(f"{field.name}::{field.name} AS {field.name}" if field.type == pa.string() else field.name)
        self._connection.execute(f"CREATE TABLE answers AS SELECT {', '.join(columns)} FROM plain_answers")

    def _put(self, name: str, table: pa.Table) -> None:
        self._connection.register("arrow", table)
        self._connection.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM arrow")
        self._connection.unregister("arrow")

    def refused(self) -> tuple[int, tuple[Refused, ...]]:
        """Rows that the source does not have because they could not be read."""
        table = self._source.rejects
        if table is None:
            return self._source.refused, self._source.listed
        # Each reading of the file has its own.
        first = f"FROM {table} WHERE scan_id = (SELECT min(scan_id) FROM {table})"
        [(refused,)] = self._rows(f"SELECT count(DISTINCT line) {first}")
        # A quote that nothing ends takes the lines behind it along.
        more = "max(len(rtrim(csv_line, chr(10))) - len(replace(rtrim(csv_line, chr(10)), chr(10), '')))"
        query = f"SELECT line, min(error_message), {more} {first} GROUP BY line ORDER BY line LIMIT {LISTED}"
        return refused, tuple(
            Refused(line, f"{why.removesuffix('.')}; {more + 1} lines are in it" if more else why)
            for line, why, more in self._rows(query)
        )

    def _errors_of(self, plans: Sequence[Plan], group: Group) -> StubsimError | None:
        answers = (plan.answers[number] for plan, number in zip(plans, group.kinds, strict=True))
        return next((answer for answer in answers if isinstance(answer, StubsimError)), None)

    def _bad_rows(self, plans: Sequence[Plan], groups: Sequence[Group]) -> Iterator[Refused]:
        """Rows that describe no machine, by their place in the source."""
        if not groups:
            return
        same = [f"{self._source.mapped[name]} IS NOT DISTINCT FROM identities.{name}" for name in self._names]
        why = {group.kinds[0]: str(self._errors_of(plans, group)) for group in groups}
        rows = self._rows(
            f"SELECT row, kind0 FROM (SELECT row_number() OVER () AS row, * FROM {self._source.relation}) AS source "
            f"JOIN identities ON {' AND '.join(same)} JOIN kinds ON identities.rowid = kinds.id "
            f"WHERE kind0 IN ({', '.join(map(str, why))}) ORDER BY row LIMIT {LISTED}"
        )
        for row, kind in rows:
            yield Refused(f"row {row}", why[kind])

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self._connection.execute(query).fetchall()
        return rows


def _column(numbers: array[int], kind: Any) -> Any:
    import pyarrow as pa

    return pa.Array.from_buffers(kind, len(numbers), [None, pa.py_buffer(numbers)])


def _errors() -> tuple[type[Exception], ...]:
    import duckdb

    return (duckdb.Error,)
