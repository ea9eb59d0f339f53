"""What a finished run leaves, and that every way to it leaves the same."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

from tests.e2e.commands import MODEL, succeed
from tests.roots import DATE, current, manifest, metrics, published

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.commands import WarmJvm

USERS, ITEMS, N = 80, 60, 10


def ratings(source: Path) -> pd.DataFrame:
    return pd.read_csv(source / "ratings.csv")


def test_the_published_table_keeps_the_contract(finished: Path, source: Path) -> None:
    table = published(finished)
    rated = set(ratings(source)[["userId", "movieId"]].itertuples(index=False, name=None))
    assert list(table.columns) == ["user_id", "rank", "item_id", "score", "source", "run_date"]
    assert set(table.user_id) == {user for user, _ in rated}
    assert table["rank"].tolist() == list(range(1, N + 1)) * USERS
    assert not table.duplicated(["user_id", "item_id"]).any()
    assert not rated & set(table[["user_id", "item_id"]].itertuples(index=False, name=None))
    assert set(table.item_id) <= {item for _, item in rated}
    assert table.notna().all(axis=None)
    assert (table.groupby(["user_id", "source"], sort=False)["score"].diff().fillna(0) <= 0).all()
    assert_frame_equal(table, table.sort_values(["user_id", "rank"], ignore_index=True))
    assert set(table.run_date.astype(str)) == {"2026-01-02"}


def test_the_published_table_has_the_types_of_the_contract(finished: Path) -> None:
    file = next((finished / current(finished)["path"]).glob("part-*.parquet"))
    assert pq.read_schema(file).types == [
        pa.int64(), pa.int32(), pa.int64(), pa.float32(), pa.string(), pa.date32(),
    ]  # fmt: skip
    codecs = {pq.read_metadata(file).row_group(0).column(i).compression for i in range(6)}
    assert codecs == {"ZSTD"}


def test_pandas_duckdb_and_polars_read_the_same_rows(finished: Path) -> None:
    folder = finished / current(finished)["path"]
    expected = published(finished)
    by_pandas = pd.read_parquet(folder)
    by_duckdb = duckdb.read_parquet(f"{folder}/part-*.parquet").df()
    by_polars = pl.read_parquet(f"{folder}/part-*.parquet", glob=True)
    assert len(by_pandas) == len(by_duckdb) == len(by_polars) == len(expected) == USERS * N
    for found in (by_pandas, by_duckdb, by_polars.to_pandas()):
        for column in ("user_id", "rank", "item_id", "score"):
            assert found[column].tolist() == expected[column].tolist()


def test_the_pointer_and_the_manifest_agree_with_the_files(finished: Path) -> None:
    pointer, told = current(finished), manifest(finished, "one")
    assert pointer["schema_version"] == 1
    assert (pointer["run_id"], pointer["rows"], pointer["users"]) == ("one", USERS * N, USERS)
    assert pointer["previous"] is None
    assert told["status"] == "finished"
    assert sum(file["rows"] for file in told["output"]["files"]) == USERS * N
    assert {finished / file["path"] for file in told["output"]["files"]} == set(
        (finished / pointer["path"]).glob("part-*.parquet")
    )
    assert {"settings", "settings_hash", "input", "tables", "split", "seed", "code_version",
            "versions", "timings", "gates", "fallbacks"} <= told.keys()  # fmt: skip
    assert json.loads((finished / "runs" / "one" / "settings.json").read_text()) == told["settings"]


def test_metrics_have_the_columns_and_definitions_of_the_contract(finished: Path) -> None:
    metrics = json.loads((finished / "runs" / "one" / "metrics.json").read_text())
    rows = pd.DataFrame(metrics["rows"])
    assert set(rows.columns) == {
        "model", "metric", "k", "value", "ci_low", "ci_high", "users", "rows", "split", "fold",
    }  # fmt: skip
    assert set(rows.metric) <= metrics["definitions"].keys()
    assert set(rows.model) == {"als_explicit"}
    assert {"validation", "test", "test_common"} <= set(rows.split)
    assert rows.value.notna().all()


def test_nothing_intermediate_is_left(finished: Path) -> None:
    names = {path.name for path in finished.rglob("*")}
    assert not {name for name in names if name.startswith((".scratch", "_temporary"))}
    assert sorted(path.name for path in finished.iterdir()) == ["published", "runs", "tables"]


def test_the_report_is_one_file_that_names_the_model(finished: Path) -> None:
    page = (finished / "runs" / "one" / "report.html").read_text()
    assert "als_explicit" in page
    assert 'src="http' not in page


def test_a_second_run_by_folds_on_the_tables_there_publishes_a_model_of_all_ratings(
    submitted: WarmJvm, finished: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    shutil.copytree(finished, root)
    ended = submitted.succeed(
        "run", "--root", root, "--run-id", "two", *DATE, "--log-format", "json",
        "--set", "split.strategy=k_fold", "--set", "split.folds=2",
        "--models", "popularity,sgd", "--set", "sgd.rank=4", "--set", "sgd.epochs=2",
    )  # fmt: skip
    for line in ended.err.splitlines():
        json.loads(line)
    run = root / "runs" / "two"
    rows = json.loads((run / "metrics.json").read_text())["rows"]
    assert {row["fold"] for row in rows} == {0, 1}
    for name in ("popularity", "sgd"):
        assert (run / "models" / name / "fold=1" / "model.json").exists()
        assert (run / "evaluation" / name / "fold=1").exists()
    assert (run / "split" / "fold=0" / "train").exists()
    chosen = manifest(root, "two")["chosen"]["model"]
    assert (run / "final" / chosen / "model.json").exists()
    assert len(published(root)) == USERS * N
    assert current(root)["run_id"] == "two"
    assert current(root)["previous"] == "one"
    # The newest published run is the one that is shown, and the earlier is still there.
    assert "two" in submitted.succeed("show", "4", "--root", root).out
    assert "one" in submitted.succeed("show", "4", "--root", root, "--run-id", "one").out


def test_show_prints_history_and_list_with_titles(finished: Path, source: Path) -> None:
    shown = succeed("show", "4", "--root", finished).out
    table = published(finished)
    for item in table[table.user_id == 4].item_id:
        assert f"{item} (" in shown
    assert any(f"{item} (" in shown for item in ratings(source).query("userId == 4").movieId)


def test_a_delta_run_publishes_what_a_parquet_run_does(
    submitted: WarmJvm, finished: Path, source: Path, tmp_path: Path
) -> None:
    root = tmp_path / "röot"
    submitted.succeed(
        "run", "--input", source, "--root", root, "--run-id", "one", "--format", "delta",
        *DATE, *MODEL,
    )  # fmt: skip
    assert (root / "tables" / "ratings" / "_delta_log").is_dir()
    assert_frame_equal(published(root), published(finished), check_exact=False, atol=1e-3)
    # A folder of Delta tables is known as one: nobody need say so again.
    assert "Film" in submitted.succeed("show", "4", "--root", root).out


@pytest.mark.movielens
@pytest.mark.usefixtures("movielens")
def test_the_real_release_is_published_for_all_of_its_users(local_root: Path) -> None:
    table = published(local_root)
    assert table.groupby("user_id").size().tolist() == [N] * 610
    assert set(table.source) == {"sgd"}


def test_models_are_evaluated_and_shown_beside_each_other(local_root: Path) -> None:
    page = (local_root / "runs" / "one" / "report.html").read_text()
    rows = json.loads((local_root / "runs" / "one" / "metrics.json").read_text())["rows"]
    assert all(row["value"] is not None for row in rows)
    for model in ("popularity", "als_explicit", "sgd"):
        assert ("ndcg", 10, "test") in metrics(local_root, model)
        assert model in page
