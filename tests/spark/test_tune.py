"""A search on a small planted release: what it reads, what it leaves, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from recpipe import settings as all_settings
from recpipe.errors import FitError, UsageError
from recpipe.runtime.progress import Progress
from recpipe.settings import Settings
from recpipe.stages.context import Context
from recpipe.stages.ingest import ingest
from recpipe.stages.tune import PAGE, PROFILE, TRIALS, new_run, tune, tuning_run
from recpipe.storage import Folder
from recpipe.tuning.median_rule import FIRST_EPOCHS
from recpipe.tuning.request import Request
from tests import release
from tests.caching import cached
from tests.roots import snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from recpipe.tuning.tuned import Tuned

SMALL: dict[str, Any] = {
    "block_als_implicit": {"rank": 8, "iterations": 3, "blocks": 2},
    "sgd": {"rank": 8, "epochs": 12, "blocks": 1},
}


@dataclass
class Root:
    """A root with tables and the run `one`, which is split and nothing else."""

    spark: SparkSession
    place: Path

    def context(self, tree: dict[str, Any] | None = None) -> Context:
        sections = {name: {**SMALL.get(name, {}), **own} for name, own in (tree or {}).items()}
        settings = Settings.model_validate({**SMALL, **sections})
        root = Folder(self.spark, self.place)
        return Context(root, settings, date(2026, 1, 2), Progress(interactive=False))

    def tune(self, model: str, trials: int = 2, *, tree: Any = None, **rest: Any) -> Tuned:
        context = self.context(tree)
        run = tuning_run(context, None)
        assert run is not None
        return tune(context, run, Request(model, trials, **rest))

    def found(self, model: str) -> Path:
        return self.place / "tuning" / model


@pytest.fixture(scope="module")
def made(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tune")
    root = Root(spark, place / "root")
    ingest(root.context(), str(release.write(place / "source")))
    new_run(root.context(), "one")
    return place / "root"


@pytest.fixture
def root(spark: SparkSession, made: Path, tmp_path: Path) -> Root:
    shutil.copytree(made, tmp_path / "root")
    return Root(spark, tmp_path / "root")


def test_a_search_never_reads_a_row_of_test_and_leaves_the_run_as_it_was(root: Root) -> None:
    """Neither the test part is there, nor the ratings that it came from."""
    shutil.rmtree(root.place / "runs" / "one" / "split" / "test")
    shutil.rmtree(root.place / "tables" / "ratings")
    before, held = snapshot(root.place), cached(root.spark)

    tuned = root.tune("block_als_implicit", 2)

    assert [trial.state for trial in tuned.trials] == ["complete"] * 2
    after = snapshot(root.place)
    assert {name: after[name] for name in before} == before
    assert {name for name in after if name not in before} == {
        f"tuning/block_als_implicit/{name}" for name in (PAGE, PROFILE, TRIALS, "study.log")
    }
    assert cached(root.spark) <= held


def test_the_value_of_the_current_settings_is_that_of_evaluate(root: Root) -> None:
    from recpipe.stages.evaluate import evaluate
    from recpipe.stages.start import resumed
    from recpipe.stages.train import train

    tuned = root.tune("block_als_implicit", 1)
    by_rmse = root.tune("sgd", 1, tree={"evaluate": {"metric": "rmse"}})

    context = root.context({"train": {"models": ["block_als_implicit", "sgd"]}})
    run = context.runs.get("one")
    with resumed(context, run, "train") as own:
        train(own, run)
    evaluate(context, run)
    found = {
        (row["model"], row["metric"], row["k"]): row
        for row in run.folder.read_json("metrics.json")["rows"]
        if row["split"] == "validation"
    }
    row = found["block_als_implicit", "ndcg", 10]
    assert tuned.value == row["value"]
    assert (tuned.ci_low, tuned.ci_high, tuned.users) == (
        row["ci_low"], row["ci_high"], row["users"],
    )  # fmt: skip
    row = found["sgd", "rmse", None]
    assert by_rmse.value == row["value"]
    assert (by_rmse.ci_low, by_rmse.ci_high) == (row["ci_low"], row["ci_high"])
    assert tuned.difference is None
    assert "No trial is better" in tuned.against_current


def test_what_is_found_is_a_profile_the_trials_and_a_page(root: Root) -> None:
    tuned = root.tune("sgd", 10, tree={"evaluate": {"metric": "rmse"}, "sgd": {"patience": 4}})
    place = root.found("sgd")

    profile = all_settings.load(place / PROFILE, environment={})
    assert profile.section("sgd").model_dump().items() >= dict(tuned.best.settings).items()
    assert profile.section("sgd").model_dump()["patience"] == 4
    assert profile.model_dump(exclude={"sgd"}) == Settings().model_dump(exclude={"sgd"})

    document = json.loads((place / TRIALS).read_text())
    assert [trial["number"] for trial in document["trials"]] == list(range(10))
    assert document["best"]["settings"] == dict(tuned.best.settings)
    assert document["best"]["ci_low"] < document["best"]["value"] < document["best"]["ci_high"]
    values = [trial["value"] for trial in document["trials"] if trial["value"] is not None]
    assert document["best"]["value"] == min(values) == tuned.value
    assert document["trials"][0]["current"]
    if tuned.difference is not None:
        gain = document["trials"][0]["value"] - tuned.value
        assert document["difference"]["value"] == pytest.approx(gain, abs=2e-6)

    page = (place / PAGE).read_text()
    assert "<script" not in page
    assert not re.search(r'(src|href)="(?!#)', page.replace("xlink:href", "href"))
    assert page.count("<svg") == len(tuned.space.ranges) + (3 if document["importances"] else 2)
    assert "mathdefault" not in page
    assert tuned.headline in page
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(set(ids)) == len(ids)
    for setting in tuned.space.ranges:
        assert setting in page


def test_a_search_goes_on_where_it_was(root: Root) -> None:
    first = root.tune("block_als_implicit", 2)
    again = root.tune("block_als_implicit", 1)
    assert [trial.number for trial in again.trials] == [0, 1, 2]
    assert again.trials[:2] == first.trials
    anew = root.tune("block_als_implicit", 3, restart=True)
    assert [dict(t.settings) for t in anew.trials] == [dict(t.settings) for t in again.trials]
    assert [trial.value for trial in anew.trials] == [trial.value for trial in again.trials]
    assert (anew.best.number, anew.ci_low, anew.difference) == (
        again.best.number, again.ci_low, again.difference,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("tree", "differs"),
    [
        ({"evaluate": {"metric": "recall@10"}}, "evaluate.metric"),
        ({"evaluate": {"relevance_threshold": 3.0}}, "evaluate.relevance_threshold"),
        ({"ease": {"preference_from": 3.0}}, r"\[ease\]"),
    ],
)
def test_a_search_does_not_go_on_with_what_its_trials_do_not_compare_with(
    root: Root, tree: dict[str, Any], differs: str
) -> None:
    root.tune("ease", 1)
    with pytest.raises(UsageError, match=rf"on run one, differs in {differs}, .*--restart"):
        root.tune("ease", 1, tree=tree)
    assert len(root.tune("ease", 1, tree=tree, restart=True).trials) == 1


def test_a_bad_trial_of_sgd_is_given_up_and_kept_as_such(root: Root) -> None:
    by_rmse: dict[str, dict[str, Any]] = {
        "evaluate": {"metric": "rmse"},
        "sgd": {"epochs": 30, "patience": 0},
    }
    tuned = root.tune("sgd", 9, tree=by_rmse)
    pruned = [trial for trial in tuned.trials if trial.state == "pruned"]
    assert pruned
    for trial in pruned:
        assert trial.number >= 4
        assert trial.value is None
        assert FIRST_EPOCHS <= len(trial.curve) < 30
        assert min(trial.curve) > tuned.value
    assert "pruned after epoch" in (root.found("sgd") / PAGE).read_text()
    # The current settings are to be compared with, and run to their end, however bad.
    bad = {**by_rmse["sgd"], "learning_rate": 1e-4}
    again = root.tune("sgd", 1, tree={**by_rmse, "sgd": bad})
    assert again.current_trial == again.trials[-1]
    assert len(again.trials[-1].curve) == 30
    assert again.difference is not None
    assert again.difference.excludes_zero
    # Validation has chosen the best, so it does not speak for it: neither in words nor by colour.
    ends = f"{again.difference.ci_low:.4f} to {again.difference.ci_high:.4f}"
    assert again.against_current == (
        f"On validation {again.difference.value:.4f} below the current settings ({ends}; the"
        " interval does not account for choosing the best of 10 trials, so confirm on test)."
    )
    page = (root.found("sgd") / PAGE).read_text()
    assert again.against_current in page
    assert 'class="verdict open"' in page


def test_by_a_metric_of_lists_no_trial_is_given_up(root: Root) -> None:
    tuned = root.tune("sgd", 6)
    assert all(trial.state == "complete" for trial in tuned.trials)


def test_a_trial_that_diverges_is_marked_and_the_search_goes_on(root: Root) -> None:
    tuned = root.tune("sgd", 3, tree={"sgd": {"learning_rate": 1e4}})
    assert [trial.state for trial in tuned.trials] == ["failed", "complete", "complete"]
    assert "FitError: sgd diverged in epoch 1" in tuned.trials[0].reason
    assert tuned.best.number in {1, 2}
    assert "sgd diverged" in (root.found("sgd") / PAGE).read_text()


def test_where_no_trial_has_a_value_the_first_reason_is_said(root: Root) -> None:
    with pytest.raises(FitError, match=r"none of 1 trials of sgd .*trial 0: FitError: .*diverged"):
        root.tune("sgd", 1, tree={"sgd": {"learning_rate": 1e4}})
    assert (root.found("sgd") / "study.log").exists()
    assert not (root.found("sgd") / PROFILE).exists()


def test_trials_run_side_by_side_in_one_session(root: Root) -> None:
    alone = root.tune("block_als_implicit", 1)
    tuned = root.tune("block_als_implicit", 3, parallel=2, restart=True)
    assert [trial.number for trial in tuned.trials] == list(range(3))
    assert all(trial.state == "complete" for trial in tuned.trials)
    assert [trial.value for trial in tuned.trials if trial.current] == [alone.value]


def test_what_cannot_be_right_in_any_trial_is_refused_at_once(root: Root) -> None:
    with pytest.raises(UsageError, match="ease predicts no ratings, so it has no rmse"):
        root.tune("ease", tree={"evaluate": {"metric": "rmse"}})
    with pytest.raises(UsageError, match="nobody has a relevant item in validation"):
        root.tune("ease", tree={"evaluate": {"relevance_threshold": 6.0}})
    with pytest.raises(UsageError, match="other settings of `split`"):
        root.tune("ease", tree={"split": {"last_n": 7}})
    run = root.context().runs.get("one")
    run.manifest["input"]["rating_scale"] = None
    with pytest.raises(UsageError, match="the feedback is implicit, and sgd predicts ratings"):
        tune(root.context(), run, Request("sgd", 1))
    assert not (root.place / "tuning").exists()


def test_the_newest_unfinished_run_with_a_split_is_taken_or_the_one_that_is_named(
    root: Root,
) -> None:
    context = root.context()
    new_run(context, "two")
    from recpipe.stages.start import start

    start(context, "unsplit")
    found = tuning_run(context, None)
    assert found is not None
    assert found.id == "two"
    found.record(status="finished")
    other, named = tuning_run(context, None), tuning_run(context, "two")
    assert other is not None and other.id == "one"  # noqa: PT018
    assert named is not None and named.id == "two"  # noqa: PT018
    with pytest.raises(UsageError, match="unsplit has no split"):
        tuning_run(context, "unsplit")
    with pytest.raises(UsageError, match="no run 'three'"):
        tuning_run(context, "three")


def test_with_folds_a_value_is_the_mean_over_them(spark: SparkSession, tmp_path: Path) -> None:
    root = Root(spark, tmp_path / "root")
    folds = {"split": {"strategy": "k_fold", "folds": 2}}
    ingest(root.context(folds), str(release.write(tmp_path / "source", users=40)))
    new_run(root.context(folds), "one")
    tuned = root.tune("block_als_implicit", 2, tree=folds)
    assert all(trial.state == "complete" for trial in tuned.trials)
    assert tuned.ci_low is None
