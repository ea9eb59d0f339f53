"""A model that fails to fit: the run goes on with sgd where settings say so, and says it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.roots import DATE, manifest, published

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.commands import WarmJvm

# MLlib itself refuses to fit without storing its blocks: a failure of the fit, not of a setting.
BREAKS_ALS = ("--set", "als.intermediate_storage_level=NONE")
QUICK = ("--set", "sgd.rank=4", "--set", "sgd.epochs=2")


def test_sgd_takes_the_place_of_a_model_that_fails_and_everything_says_so(
    submitted: WarmJvm, source: Path, tmp_path: Path
) -> None:
    ended = submitted.succeed(
        "run", "--input", source, "--root", tmp_path / "root", "--run-id", "f", *DATE, *QUICK,
        "--models", "popularity,als_explicit", "--set", "publish.model=als_explicit", *BREAKS_ALS,
    )  # fmt: skip
    told = manifest(tmp_path / "root", "f")
    (entry,) = told["fallbacks"]
    assert (entry["failed"], entry["used"]) == ("als_explicit", "sgd")
    assert "NONE" in entry["error"] or "persist" in entry["error"]
    assert list(told["models"]) == ["popularity", "sgd"]
    assert told["chosen"]["model"] == "sgd"
    assert "als_explicit could not be fitted" in ended.err
    assert set(published(tmp_path / "root").source) >= {"sgd"}
    assert set(published(tmp_path / "root").source) <= {"sgd", "popularity"}
    assert "als_explicit" in (tmp_path / "root" / "runs" / "f" / "report.html").read_text()


def test_where_sgd_fails_as_well_the_run_ends_with_its_error(
    submitted: WarmJvm, source: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    ended = submitted.recpipe(
        "run", "--input", source, "--root", root, "--run-id", "f", *DATE, *BREAKS_ALS,
        "--models", "popularity,als_explicit", "--set", "publish.model=als_explicit",
        "--set", "sgd.learning_rate=1e30",
    )  # fmt: skip
    assert ended.code == 1
    assert "sgd" in ended.complaint
    told = manifest(root, "f")
    assert (told["status"], told["stage"]) == ("failed", "train")
    assert not (root / "published").exists()


def test_a_failing_model_that_is_not_named_ends_the_run_and_publishes_nothing(
    submitted: WarmJvm, source: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    ended = submitted.recpipe(
        "run", "--input", source, "--root", root, "--run-id", "f", *DATE, *BREAKS_ALS,
        "--models", "als_explicit", "--set", "train.fallback_for=[]",
    )  # fmt: skip
    assert ended.code == 1
    assert "als_explicit" in ended.complaint or "storage" in ended.complaint.lower()
    # Without the only model there is nothing to go on with, and nobody says so.
    assert "going on" not in ended.err
    assert manifest(root, "f")["status"] == "failed"
    assert not (root / "published").exists()


FITS = """
import json, sys
from recpipe.models import registry
from recpipe.spark.session import spark_session
from recpipe.feedback import Scale
from recpipe.models.data import TrainingData
from recpipe.settings import load
from recpipe.storage import Folder

settings = load(environment={}, overrides=sys.argv[2:])
with spark_session(settings.session, name="test", input_bytes=1) as spark:
    train = spark.range(60).selectExpr(
        "cast(id % 12 as int) user", "cast(id % 5 as int) item", "cast(id % 4 + 1 as float) rating"
    )
    data = TrainingData(ratings=train, scale=Scale(min=1, max=5, step=1))
    for name in ("block_als", "sgd"):
        model = registry.build(name, dict(settings))
        fitted = model.fit(data, scratch=Folder(spark, sys.argv[1]), seed=1)
        print(json.dumps([name, fitted.users, fitted.info()["exchange"]]))
"""


def test_where_tasks_do_not_reach_each_other_factors_go_through_spark(tmp_path: Path) -> None:
    """What a firewall between executors does: `auto` says what it tried, and goes on."""
    # Every kernel refuses a connection to it, at once.
    nobody = "224.0.0.1"
    overrides = (
        f"session.conf.spark.driver.host={nobody}",
        "session.conf.spark.driver.bindAddress=127.0.0.1", "session.master=local[2]",
        # As the JVM of the other tests: to compile plans takes longer than to interpret them.
        "session.conf.spark.sql.codegen.factoryMode=NO_CODEGEN",
        "block_als.blocks=2", "block_als.rank=2", "block_als.iterations=1",
        "sgd.blocks=2", "sgd.rank=2", "sgd.epochs=1",
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", FITS, str(tmp_path), *overrides],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    fitted = [json.loads(line) for line in done.stdout.splitlines()]
    assert fitted == [["block_als", 12, "broadcast"], ["sgd", 12, "spark"]]
    for name in ("block_als", "sgd"):
        (said,) = [line for line in done.stderr.splitlines() if f"{name} ring: task " in line]
        assert nobody in said
        assert "going on with the exchange spark" in said
