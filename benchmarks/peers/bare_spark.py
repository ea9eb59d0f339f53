"""What any program of Spark pays before it does anything: CSV, folder of the Parquet."""

import sys

from pyspark.sql import SparkSession

source, target = sys.argv[1:]
spark = (
    SparkSession.builder.master("local[*]")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.ui.enabled", "false")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")
schema = "userId long, movieId long, rating float, timestamp long"
spark.read.csv(source, header=True, schema=schema).write.parquet(target)
spark.stop()
