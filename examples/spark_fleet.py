"""What a UKI does on each machine of an inventory, on Apache Spark, be it a laptop or a cluster.

    spark-submit examples/spark_fleet.py uki.efi machines.parquet result.parquet edid=null secure_boot=false

The inventory is Parquet, or JSON lines by its name. The workers need stubsim and pyarrow (an environment by
--archives, or installed there).
"""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession

from stubsim.fleet.columns import given_values
from stubsim.fleet.spark import evaluate


def main(uki: str, inventory: str, result: str, *given: str) -> None:
    spark = SparkSession.builder.appName("stubsim fleet").getOrCreate()
    read = spark.read.json if inventory.endswith((".json", ".ndjson", ".jsonl")) else spark.read.parquet
    answers = evaluate(read(inventory), uki, given=given_values(given))
    answers.write.mode("errorifexists").parquet(result)
    answers.groupBy("stubsim_outcome", "stubsim_efifw", "stubsim_dtbauto").count().orderBy("count").show(truncate=False)
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
