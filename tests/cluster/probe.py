"""A job that asks the executors where they import from; submitted as those in jobs/ are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pyspark.sql import SparkSession

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd


def _imports(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    import importlib
    import sys
    from pathlib import Path

    import numba
    import pandas as pd

    for _ in batches:
        pass
    modules = ("numba", "numpy", "pandas", "pyarrow", "recpipe")
    places = {name: importlib.import_module(name).__file__ for name in modules}
    compiled = numba.njit(lambda x: 2 * x)
    kernel = importlib.import_module("recpipe.kernels.latest").ascending.stats
    yield pd.DataFrame(
        {
            "folder": [str(Path.cwd())],
            "python": [sys.executable],
            "places": [json.dumps(places)],
            "twice": [compiled(21)],
            "kernels": [kernel.cache_path],
            "was_compiled": [len(kernel.cache_hits) == 1],
        }
    )


def main() -> None:
    spark = SparkSession.builder.getOrCreate()
    schema = (
        "folder string, python string, places string, twice int, kernels string,"
        " was_compiled boolean"
    )
    rows = spark.range(0, 8, 1, 4).mapInPandas(_imports, schema).collect()
    print("PROBE", json.dumps([row.asDict() for row in rows]))  # noqa: T201 - its result
    spark.stop()


if __name__ == "__main__":
    main()
