"""Our factorisations as `pyspark.ml` estimators: for programs that are written against Spark.

`from recpipe.ml import ALS` in place of `from pyspark.ml.recommendation import ALS` is the whole
change; parameters, columns, persistence, `Pipeline` and `CrossValidator` stay what they are.
"""

from recpipe.ml.estimators import ALS, SGD
from recpipe.ml.model import ALSModel

__all__ = ["ALS", "SGD", "ALSModel"]
