"""A distributed batch recommender on Apache Spark, from raw ratings to published top-N tables."""

__version__ = "0.1.0"
