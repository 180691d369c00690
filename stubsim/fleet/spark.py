"""The fleet on Apache Spark: `evaluate_batch` on each partition, by `mapInArrow` (pyspark 4, the extra ``spark``)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from stubsim.start import DEFAULT_START, Start

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame


def evaluate(
    machines: DataFrame,
    uki_path: str,
    start: Start = DEFAULT_START,
    *,
    bank: str = "sha256",
    given: Mapping[str, object] | None = None,
) -> DataFrame:
    """The machines with the columns of `result_schema` behind their own.

    The UKI is a file of the driver and goes to the workers with the job. Columns are as `evaluate_batch` takes them.
    Where many machines are alike, ask distinct ones and join.
    """
    from pyspark.sql.pandas.types import from_arrow_schema
    from pyspark.sql.types import StructType

    from stubsim.fleet.evaluate import result_schema

    machines.sparkSession.sparkContext.addFile(os.path.abspath(uki_path))
    name, known = os.path.basename(uki_path), dict(given or {})

    def answered(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa
        from pyspark import SparkFiles

        from stubsim import uki
        from stubsim.fleet import Plan, evaluate_batch

        plan = Plan(uki.load(SparkFiles.get(name)), start, bank=bank, given=known)
        for batch in batches:
            answers = evaluate_batch(batch, plan)
            yield pa.RecordBatch.from_arrays(
                [*batch.columns, *answers.columns], names=[*batch.schema.names, *answers.schema.names]
            )

    schema = StructType([*machines.schema.fields, *from_arrow_schema(result_schema()).fields])
    return machines.mapInArrow(answered, schema)
