"""Ranking metrics by Microsoft's recommenders on Spark, from Parquet. Each line is one round."""

import json
import os
import sys
import time
from pathlib import Path

os.environ["PYSPARK_PYTHON"] = sys.executable

from pyspark.sql import SparkSession
from recommenders.evaluation.spark_evaluation import SparkRankingEvaluation

folder, ks = Path(sys.argv[1]), [int(k) for k in sys.argv[2:]]
spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.driver.memory", "6g")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.sql.shuffle.partitions", "4")
    .config("spark.ui.enabled", "false")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")


def values() -> dict[str, float]:
    lists = spark.read.parquet(str(folder / "lists.parquet"))
    held_out = spark.read.parquet(str(folder / "held_out.parquet"))
    found = {}
    for k in ks:
        judged = SparkRankingEvaluation(
            held_out, lists, k=k, col_user="user", col_item="item", col_rating="rating",
            col_prediction="score", relevancy_method="top_k",
        )  # fmt: skip
        found[f"precision@{k}"] = judged.precision_at_k()
        found[f"recall@{k}"] = judged.recall_at_k()
        found[f"ndcg@{k}"] = judged.ndcg_at_k()
    return found


for line in sys.stdin:
    begin = time.perf_counter()
    judged_by_name = values()
    answer: dict[str, object] = {"seconds": time.perf_counter() - begin}
    if line.strip() == "values":
        answer["values"] = judged_by_name
    print(json.dumps(answer), flush=True)
