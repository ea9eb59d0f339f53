"""The ring between two executors, one of which is killed in the middle of a fit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.java import QUICK
from tests.rings import in_a_ring
from tests.spark.test_sgd_exchange import carried, in_process, packed, parts, plan_of

if TYPE_CHECKING:
    from tests.standalone import Standalone

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
REPOSITORY = Path(__file__).parents[2]
CHECKPOINT = "sgd-epoch-01500"


def test_an_executor_killed_in_the_second_leg_changes_no_bit(
    standalone_cluster: Standalone, tmp_path: Path
) -> None:
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        [sys.executable, __file__, standalone_cluster.master, str(tmp_path)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as driver:  # fmt: skip
        killed = kill_an_executor(standalone_cluster, tmp_path, driver)
        said, _ = driver.communicate(timeout=240)

    assert killed, said
    assert driver.returncode == 0, said
    assert json.loads(said.splitlines()[-1]) == {
        "same": True,
        "obstacle": "",
        "dynamic": "spark.dynamicAllocation.enabled is on, and with it Spark runs no barrier stage",
    }


def kill_an_executor(cluster: Standalone, folder: Path, driver: subprocess.Popen[str]) -> list[int]:
    """SIGKILL for the executor whose worker is in a ring, after the checkpoint."""
    while driver.poll() is None:
        time.sleep(0.01)
        if not (folder / CHECKPOINT / "_SUCCESS").exists():
            continue
        for executor in executors(cluster):
            executor.kill()
            return [executor.pid]
    return []


def executors(cluster: Standalone) -> list[psutil.Process]:
    """Those whose Python worker has met its neighbours."""
    found = []
    for process in psutil.process_iter(["name", "cmdline"]):
        try:
            if "CoarseGrainedExecutorBackend" not in " ".join(process.info["cmdline"] or []):
                continue
            if not any(Path(process.cwd()).is_relative_to(work) for work in cluster.work):
                continue
            if any(map(in_a_ring, process.children(recursive=True))):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def main(master: str, folder: str) -> None:
    """A fit in two segments against the same in this process; what stands in the ring's way."""
    from pyspark.sql import SparkSession

    from recpipe.distributed.stage import obstacle, slots
    from recpipe.models.sgd.ring import RingExchange
    from recpipe.storage import Folder

    builder = (
        SparkSession.builder.master(master)
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.executor.extraJavaOptions", QUICK)
        .config("spark.executorEnv.PYTHONPATH", str(REPOSITORY))
        .config("spark.executor.memory", "1g")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.default.parallelism", "2")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
    )
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    while slots(spark) < 2:
        time.sleep(0.1)
    cells = packed(*parts(spark), blocks=2)
    plan = plan_of(cells, epochs=3000, checkpoint_interval=1500)
    exchange = RingExchange(min_seconds=0.0)
    ours = carried(cells, plan, Folder(spark, folder), exchange)
    answers = {"same": ours == in_process(cells, plan), "obstacle": obstacle(spark, tasks=2)}
    spark.stop()
    dynamic = {"enabled": "true", "shuffleTracking.enabled": "true"}
    for key, value in dynamic.items():
        builder = builder.config(f"spark.dynamicAllocation.{key}", value)
    spark = builder.getOrCreate()
    answers["dynamic"] = obstacle(spark, tasks=2)
    spark.stop()
    print(json.dumps(answers))  # noqa: T201 - how it answers


if __name__ == "__main__":
    main(*sys.argv[1:])
