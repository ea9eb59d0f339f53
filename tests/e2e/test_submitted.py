"""What a session has that spark-submit started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyspark

from recpipe.runtime.java import find_java

JOB = """
import json
from pathlib import Path

from recpipe.spark.session import spark_session
from recpipe.settings import load

with spark_session(load(Path("settings.toml"), environment={}).session, name="ours") as spark:
    rows = spark.range(2).mapInArrow(lambda batches: batches, "id long").count()
    conf = dict(spark.sparkContext.getConf().getAll())
    zone = spark.conf.get("spark.sql.session.timeZone")
    print("FOUND", json.dumps({**conf, "rows": rows, "zone": zone}))
"""


def test_a_property_wins_over_ours_and_a_setting_over_both(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(JOB)
    given = {
        "spark.master": "local[1]",
        "spark.app.name": "theirs",
        "spark.driver.host": "127.0.0.1",
        "spark.scheduler.barrier.maxConcurrentTasksCheck.interval": "7s",
        "spark.locality.wait": "1s",
        "spark.ui.enabled": "false",
    }
    (tmp_path / "properties").write_text("".join(f"{k} {v}\n" for k, v in given.items()))
    (tmp_path / "settings.toml").write_text('[session.conf]\n"spark.locality.wait" = "5s"\n')
    submit = Path(pyspark.__path__[0]) / "bin" / "spark-submit"
    repository = Path(__file__).parents[2]
    ended = subprocess.run(
        [submit, "--properties-file", tmp_path / "properties", tmp_path / "job.py"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={
            **os.environ,
            "JAVA_HOME": str(find_java()),
            "PYSPARK_PYTHON": sys.executable,
            "PYTHONPATH": str(repository),
        },
        cwd=tmp_path,
    )
    assert "FOUND " in ended.stdout, ended.stderr
    found = json.loads(ended.stdout.partition("FOUND ")[2].splitlines()[0])
    assert {name: found[name] for name in given} == {**given, "spark.locality.wait": "5s"}
    assert found["zone"] == "UTC"
    assert found["spark.python.unix.domain.socket.enabled"] == "true"
    assert found["rows"] == 2
