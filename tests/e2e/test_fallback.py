"""A model that fails to fit: the run goes on with sgd where settings say so, and says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.commands import recpipe, succeed
from tests.roots import DATE, manifest, published

if TYPE_CHECKING:
    from pathlib import Path

# MLlib itself refuses to fit without storing its blocks: a failure of the fit, not of a setting.
BREAKS_ALS = ("--set", "als.intermediate_storage_level=NONE")
QUICK = ("--set", "sgd.rank=4", "--set", "sgd.epochs=2")


def test_sgd_takes_the_place_of_a_model_that_fails_and_everything_says_so(
    source: Path, tmp_path: Path
) -> None:
    ended = succeed(
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


def test_a_failing_model_that_is_not_named_ends_the_run_and_publishes_nothing(
    source: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    ended = recpipe(
        "run", "--input", source, "--root", root, "--run-id", "f", *DATE, *BREAKS_ALS,
        "--models", "als_explicit", "--set", "train.fallback_for=[]",
    )  # fmt: skip
    assert ended.code == 1
    assert "als_explicit" in ended.complaint or "storage" in ended.complaint.lower()
    assert manifest(root, "f")["status"] == "failed"
    assert not (root / "published").exists()
