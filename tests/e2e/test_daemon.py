"""Python workers of a session that recpipe starts share what they import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

ASKS = """
import json, os, sys
from recpipe.session import spark_session
from recpipe.settings import load


def told(batches):
    import sys
    import pyarrow as pa

    loaded = [name for name in ("numba", "pandas", "recpipe.kernels.latest") if name in sys.modules]
    for batch in batches:
        yield pa.RecordBatch.from_pylist([{"loaded": ",".join(loaded), "rows": batch.num_rows}])


with spark_session(load(environment={}), name="test", input_bytes=1) as spark:
    rows = spark.range(0, 100, 1, 2).mapInArrow(told, "loaded string, rows long").collect()
    module = spark.conf.get("spark.python.daemon.module", "pyspark.daemon")
print(json.dumps([module, sorted({row.loaded for row in rows}), sum(row.rows for row in rows)]))
"""


def asked(**variables: str) -> list[object]:
    done = subprocess.run(
        [sys.executable, "-c", ASKS],
        env=os.environ | variables, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer: list[object] = json.loads(done.stdout)
    return answer


def test_a_worker_finds_its_modules_loaded() -> None:
    from recpipe.kernels import latest

    assert latest.ascending.stats.cache_path
    assert asked() == ["recpipe.daemon", ["numba,pandas,recpipe.kernels.latest"], 100]


def test_another_python_for_the_workers_is_asked_for_nothing_of_ours(tmp_path: Path) -> None:
    link = tmp_path / "python"
    link.symlink_to(sys.executable)
    module, _, rows = asked(PYSPARK_PYTHON=str(link), PYTHONPATH=os.pathsep.join(sys.path))
    assert (module, rows) == ("pyspark.daemon", 100)
