"""The process from which Spark forks Python workers, with what they all import imported once.

Each worker of PySpark's own daemon imports pandas, Arrow, Numba and the kernels for itself, which
takes a second of a core; on small data most of a run is that. Spark starts this in its place where
recpipe starts Spark on one machine (`spark.python.daemon.module`).
"""

from __future__ import annotations

import importlib
import importlib.util

_SHARED = (
    "pyspark.worker",
    "pandas",
    "pyarrow.compute",
    "pyspark.sql.pandas.serializers",
    "pyspark.sql.functions",
    "recpipe.models.topn",
    "recpipe.movielens.parsing",
)


def main() -> None:
    """Import, then serve as PySpark's own daemon does, until Spark closes standard input."""
    from pyspark import daemon

    for name in _SHARED:
        # Worth a try: a worker that needs what cannot be imported will say so.
        if importlib.util.find_spec(name):
            importlib.import_module(name)
    from recpipe.kernels import cache

    # Others are compiled by the worker that needs them, beside others rather than before.
    for name in cache.compiled():
        importlib.import_module(name)
    daemon.manager()


if __name__ == "__main__":
    main()
