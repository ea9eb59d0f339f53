"""The steps of a recommender with Spark's own parts: CSV, folder of the result, rank, iterations.

As the guides of MLlib and the recipes of Microsoft's recommenders have them: StringIndexer, a split
by time within each user, ALS with its defaults, RegressionEvaluator, and lists from all pairs less
the seen ones by an anti join, ranked by a window, evaluated by RankingEvaluator.
"""

import sys
from pathlib import Path

from pyspark.ml import Pipeline
from pyspark.ml.evaluation import RankingEvaluator, RegressionEvaluator
from pyspark.ml.feature import StringIndexer
from pyspark.ml.recommendation import ALS, ALSModel
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

source, target, rank, iterations = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:])
spark = (
    SparkSession.builder.master("local[*]")
    .config("spark.driver.memory", "6g")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.sql.shuffle.partitions", "8")
    .config("spark.ui.enabled", "false")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")

schema = "userId string, movieId string, rating float, timestamp long"
raw = spark.read.csv(source, header=True, schema=schema)
pipeline = Pipeline(
    stages=[
        StringIndexer(inputCol="userId", outputCol="user"),
        StringIndexer(inputCol="movieId", outputCol="item"),
    ]
)
indexed = pipeline.fit(raw).transform(raw)
numbers = [F.col(name).cast("int") for name in ("user", "item")]
indexed.select("userId", "movieId", *numbers, "rating", "timestamp").write.parquet(
    str(target / "ratings")
)
ratings = spark.read.parquet(str(target / "ratings"))
by_time = Window.partitionBy("user").orderBy("timestamp", "item")
part = F.percent_rank().over(by_time)
split = ratings.withColumn("part", part)
train = split.where("part < 0.8").drop("part").cache()
test = split.where("part >= 0.8").drop("part").cache()

als = ALS(
    userCol="user", itemCol="item", ratingCol="rating", rank=rank, maxIter=iterations,
    coldStartStrategy="drop", seed=1,
)  # fmt: skip
model = als.fit(train)
rmse = RegressionEvaluator(labelCol="rating", predictionCol="prediction")
print("rmse", rmse.evaluate(model.transform(test)))


def top_ten(model: ALSModel, seen: DataFrame) -> DataFrame:
    users, items = ratings.select("user").distinct(), ratings.select("item").distinct()
    scored = model.transform(users.crossJoin(items))
    unseen = scored.join(seen.select("user", "item"), ["user", "item"], "left_anti")
    best = Window.partitionBy("user").orderBy(F.desc("prediction"))
    return unseen.withColumn("rank", F.row_number().over(best)).where("rank <= 10")


lists = top_ten(model, train).groupBy("user").agg(
    F.transform(F.array_sort(F.collect_list(F.struct("rank", "item"))),
                lambda place: place["item"].cast("double")).alias("prediction")
)  # fmt: skip
relevant = test.groupBy("user").agg(F.collect_list(F.col("item").cast("double")).alias("label"))
evaluated = lists.join(relevant, "user").cache()
for metric in ("precisionAtK", "recallAtK", "ndcgAtK"):
    evaluator = RankingEvaluator(k=10, metricName=metric)
    print(metric, evaluator.evaluate(evaluated))

published = (
    top_ten(model, ratings)
    .join(ratings.select("user", "userId").distinct(), "user")
    .join(ratings.select("item", "movieId").distinct(), "item")
    .select(F.col("userId").alias("user_id"), F.col("movieId").alias("item_id"), "rank",
            F.col("prediction").alias("score"))
)  # fmt: skip
published.write.parquet(str(target / "top_n"))
spark.stop()
