"""Lists by MLlib on factors from Parquet. Arguments: folder, n, how, options of the JVM.

Each line of standard input is a command: `go` or `lists`.

`all` is recommendForAllUsers, which leaves nothing out. `unseen` is the recipe of Microsoft's
recommenders (its Spark ALS notebook): every user with every item, scored by the model's transform,
without the seen pairs by an anti join, ranked by a window.

A process of its own, so that Java BLAS can be forced: a native one that is installed for our fits
must not change what MLlib does by itself.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ["PYSPARK_PYTHON"] = sys.executable

from pyspark.ml.recommendation import ALSModel
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

folder, n, how, java = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.driver.memory", "6g")
    .config("spark.driver.extraJavaOptions", java)
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.sql.shuffle.partitions", "4")
    .config("spark.ui.enabled", "false")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")
jvm: Any = spark.sparkContext._jvm
frames = [
    spark.read.parquet(str(folder / f"{name}.parquet")).select(
        F.col(name).alias("id"), F.col("factors").alias("features")
    )
    for name in ("user", "item")
]
rank = len(frames[0].first().features)  # type: ignore[union-attr]
made = jvm.org.apache.spark.ml.recommendation.ALSModel("side", rank, *[f._jdf for f in frames])
model = ALSModel(made.setUserCol("user").setItemCol("item").setColdStartStrategy("nan"))
seen = spark.read.parquet(str(folder / "seen.parquet"))


def lists(users: int | None = None) -> DataFrame:
    """The lists of all users, or of the first so many."""
    if how == "all":
        return model.recommendForAllUsers(n)
    asked = frames[0].select(F.col("id").alias("user"))
    if users is not None:
        asked = asked.where(F.col("user") < users)
    pairs = asked.crossJoin(frames[1].select(F.col("id").alias("item")))
    unseen = model.transform(pairs).join(seen, ["user", "item"], "left_anti")
    place = F.row_number().over(Window.partitionBy("user").orderBy(F.desc("prediction")))
    return unseen.withColumn("rank", place).where(F.col("rank") <= n)


for line in sys.stdin:
    if line.strip() == "lists":
        first: list[list[int]] = [[] for _ in range(20)]
        for row in lists(20).orderBy("user", "rank").collect():
            first[row.user].append(row.item)
        print(json.dumps({"items": first}), flush=True)
        continue
    begin = time.perf_counter()
    lists().write.format("noop").mode("overwrite").save()
    print(json.dumps({"seconds": time.perf_counter() - begin}), flush=True)
