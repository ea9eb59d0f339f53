"""Kernels: compiled code from arrays to arrays, which knows nothing of Spark."""

from recpipe.kernels import cache, garbage
from recpipe.runtime import spark_home

# Before the first kernel, for each of them looks for its compiled form as it is defined.
cache.install()

if spark_home.in_python_worker():
    garbage.freeze_survivors()
