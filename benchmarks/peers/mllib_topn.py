"""MLlib's recommendForAllUsers on factors from Parquet: folder, n. Each line is one round.

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
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

folder, n = Path(sys.argv[1]), int(sys.argv[2])
java = " ".join(
    f"-Ddev.ludovic.netlib.{library}.allowNative=false" for library in ("blas", "lapack", "arpack")
)
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
model = ALSModel(made.setUserCol("user").setItemCol("item"))
for _ in sys.stdin:
    begin = time.perf_counter()
    model.recommendForAllUsers(n).write.format("noop").mode("overwrite").save()
    print(json.dumps({"seconds": time.perf_counter() - begin}), flush=True)
