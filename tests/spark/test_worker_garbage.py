from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession


def test_workers_leave_out_what_survived_a_look_through_their_objects(spark: SparkSession) -> None:
    def frozen(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import gc
        import os

        import recpipe.kernels.topn  # noqa: F401

        for _ in batches:
            row = {"worker": os.getpid(), "frozen": gc.get_freeze_count()}
            yield pa.RecordBatch.from_pylist([row])

    found: dict[int, list[int]] = {}
    # Spark collects after each task; the next of the same worker tells.
    for _ in range(4):
        for row in spark.range(1).mapInArrow(frozen, "worker long, frozen long").collect():
            found.setdefault(row.worker, []).append(row.frozen)
    assert any(counts[-1] > 10_000 for counts in found.values())


def test_short_collections_freeze_nothing_and_garbage_still_goes() -> None:
    code = """
        import gc, weakref
        from recpipe.kernels import garbage

        class Cycle:
            def __init__(self, size):
                self.self, self.rest = self, [[] for _ in range(size)]

        garbage.freeze_survivors()
        garbage.freeze_survivors()
        assert len(gc.callbacks) == 1
        assert gc.get_freeze_count() == 0
        stays = Cycle(300_000)
        garbage._LONG = 0.0
        gc.collect()
        assert gc.get_freeze_count() > 300_000
        garbage._LONG = 1e9
        before, goes = gc.get_freeze_count(), Cycle(3)
        gone = weakref.ref(goes)
        del goes
        gc.collect()
        assert gone() is None
        assert gc.get_freeze_count() == before
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
