"""What is left of a run when a stage of it runs again, is cut short or refuses."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from recpipe.errors import LeakError, UsageError
from recpipe.runtime.progress import Progress
from recpipe.runtime.signals import Stopped
from recpipe.settings import Settings
from recpipe.stages.context import Context, folds_of, folds_without_test, stage
from recpipe.stages.evaluate import evaluate
from recpipe.stages.ingest import ingest
from recpipe.stages.report import report
from recpipe.stages.split import split
from recpipe.stages.start import resumed, start
from recpipe.stages.table import STAGES, stages_before
from recpipe.stages.train import train
from recpipe.stages.tune import tuning_run
from recpipe.storage import Folder
from tests import release

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from recpipe.storage import Run


def context_of(root: Folder, tree: dict[str, Any] | None = None) -> Context:
    settings = Settings.model_validate(
        {"train": {"models": ["popularity", "biases"]}, **(tree or {})}
    )
    return Context(root, settings, date(2026, 1, 2), Progress(interactive=False))


@pytest.fixture
def root(spark: SparkSession, tmp_path: Path) -> Folder:
    """A root with tables."""
    root = Folder(spark, tmp_path / "root")
    ingest(context_of(root), str(release.write(tmp_path / "source", users=40)))
    return root


def test_a_page_after_a_new_fit_has_nothing_of_the_old_models(root: Folder) -> None:
    context = context_of(root)
    run = start(context, "one")
    for each in (split, train, evaluate):
        each(context, run)
    assert "NDCG@10" in page(context, run)
    before = set(run.folder.list())
    assert {"metrics.json", "subgroups.json", "evaluation", "user_metrics"} <= before

    again = context_of(root, {"train": {"models": ["popularity"]}})
    with resumed(again, run, "train") as own:
        train(own, run)

    assert set(run.folder.list()) == {
        "manifest.json", "settings.json", "data.json", "split", "models"
    }  # fmt: skip
    assert (run.folder / "models").list() == ["popularity"]
    assert "NDCG@10" not in page(context, run)


def page(context: Context, run: Run) -> str:
    report(context, run)
    return run.folder.read_text("report.html")


def test_a_run_of_a_version_with_fewer_settings_goes_on(root: Folder) -> None:
    context = context_of(root)
    run = start(context, "one")
    kept = {name: value for name, value in run.manifest["settings"].items() if name != "ease"}
    run.record(settings=kept)

    with resumed(context, run, "evaluate") as own, stage(own, run, "evaluate"):
        pass

    assert run.manifest["settings"] == context.settings.model_dump(mode="json")
    run.record(settings=kept)
    other = context_of(root, {"ease": {"regularization": 7.0}})
    with (
        pytest.raises(UsageError, match="other settings of `ease`"),
        resumed(other, run, "evaluate"),
    ):
        raise AssertionError("it goes on")


def test_a_stage_that_is_refused_leaves_no_settings_and_nothing_made_by_them(
    root: Folder,
) -> None:
    context = context_of(root)
    run = start(context, "one")
    split(context, run)
    before = run.manifest
    # Popularity is fitted before the settings of sgd are refused.
    refused = {
        "train": {"models": ["popularity", "sgd"]},
        "sgd": {"open_bounds": True, "epochs": 1},
    }
    run.record(input={**run.manifest["input"], "rating_scale": {"min": 1, "max": 5, "step": None}})
    with (
        pytest.raises(UsageError, match=r"sgd\.open_bounds"),
        resumed(context_of(root, refused), run, "train") as own,
    ):
        train(own, run)

    for name in ("settings", "settings_hash"):
        assert run.manifest[name] == before[name]
    assert run.folder.read_json("settings.json") == before["settings"]
    assert "models" not in run.manifest
    assert not run.folder.exists("models")
    assert run.manifest["status"] == "failed"
    with resumed(context, run, "train") as own:
        train(own, run)
    assert list(run.manifest["models"]) == ["popularity", "biases"]


def test_a_run_has_other_settings_only_once_what_was_made_by_its_own_is_gone(root: Folder) -> None:
    context = context_of(root)
    run = start(context, "one")
    for each in (split, train, evaluate):
        each(context, run)
    before = run.folder.read_json("manifest.json")
    told = run.folder.read_json("settings.json")
    other = context_of(root, {"evaluate": {"ks": [3, 10]}})

    def stopped() -> NoReturn:
        # Who is killed here, and cannot put anything back, has changed nothing either.
        assert run.folder.read_json("manifest.json") == before
        raise Stopped("SIGTERM")

    with pytest.raises(Stopped), resumed(other, run, "evaluate"):
        stopped()

    assert run.folder.read_json("manifest.json") == before
    assert run.folder.read_json("settings.json") == told
    with resumed(other, run, "evaluate") as own, stage(own, run, "evaluate"):
        now = run.folder.read_json("manifest.json")
        assert now["settings"]["evaluate"]["ks"] == [3, 10]
        assert now["settings_hash"] != before["settings_hash"]
        assert run.folder.read_json("settings.json") == now["settings"]
        assert "metrics" not in now


@pytest.mark.parametrize("name", [each.name for each in STAGES if each.writes])
def test_what_rests_on_a_stage_is_gone_before_it_begins_and_the_rest_stays(
    name: str, spark: SparkSession, tmp_path: Path
) -> None:
    context = context_of(Folder(spark, tmp_path))
    written: dict[str, Any] = {section: {} for each in STAGES for section in each.writes}
    run = context.runs.start("one", written)
    for file in ("settings.json", *(file for each in STAGES for file in each.files)):
        run.folder.write_text(file, "as it was")
    earlier = stages_before(name)

    with stage(context, run, name):
        manifest = run.folder.read_json("manifest.json")
        assert {s for s in written if s in manifest} == {s for e in earlier for s in e.writes}
        kept = {
            "manifest.json",
            "settings.json",
            *(file for each in earlier for file in each.files),
        }
        assert set(run.folder.list()) == kept


@pytest.mark.parametrize(
    ("error", "status"),
    [(LeakError("train knows test"), "refused"), (Stopped("SIGTERM"), "failed")],
)
def test_a_split_that_was_not_checked_to_its_end_is_none(
    root: Folder, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: str
) -> None:
    def ended(*_arguments: Any) -> NoReturn:
        raise error

    context = context_of(root)
    run = start(context, "one")
    monkeypatch.setattr("recpipe.split.check_no_leak", ended)
    with pytest.raises(type(error)):
        split(context, run)
    monkeypatch.undo()

    assert run.manifest["status"] == status
    assert tuning_run(context, None) is None
    with pytest.raises(UsageError, match="one has no split"):
        folds_without_test(run)
    with pytest.raises(UsageError, match="one has no split"):
        folds_of(context, run)
    with pytest.raises(UsageError, match="one has no split"):
        train(context, run)
    with pytest.raises(UsageError, match="one has no split"):
        tuning_run(context, "one")


def test_a_run_that_was_refused_is_not_taken_for_a_search_by_itself(root: Folder) -> None:
    context = context_of(root)
    run = start(context, "one")
    split(context, run)
    found = tuning_run(context, None)
    assert found is not None
    run.record(status="refused")
    assert tuning_run(context, None) is None
    named = tuning_run(context, "one")
    assert named is not None
