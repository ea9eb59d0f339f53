from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from recpipe.errors import InputError, UsageError
from recpipe.storage import Folder, Runs
from recpipe.storage.runs import FINISHED, REFUSED

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession


@pytest.fixture
def runs(spark: SparkSession, tmp_path: Path) -> Runs:
    return Runs(Folder(spark, tmp_path))


@pytest.mark.parametrize(
    "run_id", ["2026-11-21T101500Z", "a", ".hidden", "_", "-x", "A" * 64, "1.2_3-4"]
)
def test_a_run_id_of_the_contract_starts_a_run(runs: Runs, run_id: str) -> None:
    run = runs.start(run_id, {"seed": 1})
    assert runs.get(run_id).manifest == run.manifest
    assert run.manifest["status"] == "running"
    assert run.manifest["seed"] == 1


@pytest.mark.parametrize(
    "run_id", ["", ".", "..", "a b", "a/b", "a:b", "ü", "A" * 65, "a\n", "../x"]
)
def test_any_other_run_id_is_refused_and_nothing_is_made(
    runs: Runs, tmp_path: Path, run_id: str
) -> None:
    with pytest.raises(UsageError, match="no run id"):
        runs.start(run_id, {})
    with pytest.raises(UsageError):
        runs.get(run_id)
    assert list(tmp_path.iterdir()) == []


def test_a_finished_run_is_refused_by_start_and_by_later_stages(runs: Runs) -> None:
    runs.start("a", {}).record(status=FINISHED, metrics={"x": 1})
    with pytest.raises(UsageError, match="run a is finished"):
        runs.start("a", {})
    with pytest.raises(UsageError, match="run a is finished"):
        runs.unfinished("a")
    assert runs.get("a").manifest["metrics"] == {"x": 1}


def test_an_unfinished_run_starts_over_without_what_it_had(runs: Runs) -> None:
    first = runs.start("a", {"seed": 1})
    first.record(status=REFUSED, split={"rows": 3})
    first.folder.write_text("left.txt", "over")
    runs.start("a", {"seed": 2})
    assert "split" not in runs.get("a").manifest
    assert runs.get("a").manifest["seed"] == 2
    assert runs.get("a").folder.list() == ["manifest.json"]


def test_later_stages_take_the_newest_unfinished_run(runs: Runs) -> None:
    # Neither the order of names nor a finished run that is newer decides.
    for run_id in ("c", "a", "b"):
        runs.start(run_id, {})
    runs.start("d", {}).record(status=FINISHED)
    assert [run.id for run in runs.all()] == ["c", "a", "b", "d"]
    assert runs.unfinished(None).id == "b"
    assert runs.newest(None).id == "d"
    assert runs.unfinished("c").id == "c"


def test_without_an_unfinished_run_the_hint_says_how_to_start_one(runs: Runs) -> None:
    runs.start("a", {}).record(status=FINISHED)
    with pytest.raises(UsageError, match="recpipe split"):
        runs.unfinished(None)


def test_an_unknown_run_is_answered_with_the_known_ones(runs: Runs) -> None:
    runs.start("a", {})
    with pytest.raises(UsageError, match=r"no run 'b' \(newest runs: a\)"):
        runs.get("b")


def test_strangers_among_the_runs_are_passed_over(runs: Runs, tmp_path: Path) -> None:
    runs.start("a", {})
    (tmp_path / "runs" / "my notes: run b.txt").write_text("")
    (tmp_path / "runs" / "empty").mkdir()
    (tmp_path / "runs" / "file").write_text("")
    assert [run.id for run in runs.all()] == ["a"]


def test_a_manifest_that_is_cut_off_is_named(runs: Runs, tmp_path: Path) -> None:
    runs.start("a", {})
    (tmp_path / "runs" / "a" / "manifest.json").write_text('{"status": "run')
    with pytest.raises(InputError, match=r"runs/a/manifest\.json is not JSON"):
        runs.unfinished(None)


def test_sections_are_replaced_or_added_to_and_a_bad_one_changes_nothing(runs: Runs) -> None:
    run = runs.start("a", {})
    run.record(split={"train": 1})
    run.add("timings", {"split": 1.5})
    run.add("timings", {"train": 2.5})
    with pytest.raises(ValueError, match="JSON"):
        run.record(split={"train": float("nan")})
    for manifest in (run.manifest, runs.get("a").manifest):
        assert manifest["split"] == {"train": 1}
        assert manifest["timings"] == {"split": 1.5, "train": 2.5}
