"""Kernels: compiled code from arrays to arrays, which knows nothing of Spark."""

import gc

from recpipe import environment
from recpipe.kernels import cache

# Before the first kernel, for each of them looks for its compiled form as it is defined.
cache.install()

if environment.in_python_worker():
    # It looks through all its objects after every task, and Numba's, which stay, are most of them.
    gc.freeze()
