"""What is left out of the lists that are evaluated, and what is kept of each user."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest

from recpipe.errors import UsageError
from recpipe.evaluation.simulation import ClickModel
from recpipe.runtime.progress import Progress
from recpipe.settings import Settings
from recpipe.stages.context import Context
from recpipe.stages.pipeline import run_pipeline
from recpipe.stages.simulate import shown_places, simulate, visitors_of
from recpipe.storage import Folder, Run

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

T = 1_400_000_000


def test_what_a_user_sees_after_his_held_out_rating_stays_a_candidate(
    spark: SparkSession, tmp_path: Path
) -> None:
    """Film 9 is the most popular that users 0 to 2 have not rated; 0 and 1 have seen it."""
    rows = [(user, film, 3.0 + film % 3, T + 10 * film) for user in range(12) for film in range(5)]
    rows += [(user, 9, 4.0, T) for user in range(6, 12)]
    seen = [(0, 9, "", T + 1000), (1, 9, "", T + 5)]
    lines = [",".join(map(str, row)) for row in (*rows, *seen)]
    source = tmp_path / "ratings.csv"
    source.write_text("\n".join(["userId,movieId,rating,timestamp", *lines]) + "\n")
    settings = Settings.model_validate({
        "train": {"models": ["popularity"]}, "split": {"strategy": "leave_one_out"},
    })  # fmt: skip
    root = Folder(spark, tmp_path / "root")
    context = Context(root, settings, date(2020, 1, 1), Progress(interactive=False))
    run = run_pipeline(context, "one", source=str(source))
    ids: dict[str, dict[int, int]] = {
        name: dict(context.tables.read(f"{name}s").select(name, f"{name}_id").collect())
        for name in ("user", "item")
    }
    lists = (run.folder / "evaluation").read_table("popularity").collect()
    found = {(ids["user"][row.user], ids["item"][row.item]) for row in lists}
    assert (2, 9) in found
    assert (0, 9) in found
    assert (1, 9) not in found


def check_subgroups(run: Run) -> None:
    """Their values are means of what is kept of each user."""
    weak = run.folder.read_json("subgroups.json")["rows"]
    told = {(row["split"], row["by"]) for row in weak}
    assert told == {
        ("validation", "activity"), ("validation", "age"), ("test", "activity"), ("test", "age"),
        ("test", "popularity"), ("test", "genre"),
    }  # fmt: skip
    assert weak == sorted(
        weak, key=lambda row: (row["split"] == "test", row["by"], row["group"], row["metric"])
    )
    rated = (run.folder / "split").read_table("train").groupBy("user").count().toPandas()
    kept = (run.folder / "user_metrics").read_table("test").toPandas()
    kept = kept[kept["user"].isin(rated[rated["count"] < 10]["user"])]
    few = [row for row in weak if (row["split"], row["group"]) == ("test", "fewer than 10")]
    assert {row["metric"] for row in few} >= {"ndcg@10", "novelty@10", "genre_diversity@10"}
    for row in few:
        mine = kept[kept["model"] == row["model"]][row["metric"]].dropna()
        assert (row["count"], row["value"]) == pytest.approx((len(mine), mine.mean()))


def test_the_values_of_each_user_are_kept_and_their_means_are_the_metrics(
    spark: SparkSession, tmp_path: Path
) -> None:
    """Two tastes; half of the films of each are rated by everybody of that taste."""
    lines = ["userId,movieId,rating,timestamp"]
    for user in range(30):
        films = [film for film in range(user % 2, 30, 2) if (user + film) % 4]
        lines += [f"{user},{film},{3 + (film + user) % 3},{T + 100 * film}" for film in films]
    (tmp_path / "ratings.csv").write_text("\n".join(lines) + "\n")
    movies = ["movieId,title,genres", *(f"{film},Film {film},Kind{film % 3}" for film in range(30))]
    (tmp_path / "movies.csv").write_text("\n".join(movies) + "\n")
    settings = Settings.model_validate({
        "train": {"models": ["popularity", "block_als_implicit"]}, "evaluate": {"ks": [3, 10]},
        "block_als_implicit": {"rank": 4},
    })  # fmt: skip
    root = Folder(spark, tmp_path / "root")
    context = Context(root, settings, date(2020, 1, 1), Progress(interactive=False))

    run = run_pipeline(context, "one", source=str(tmp_path))

    document = run.folder.read_json("metrics.json")
    for part in ("validation", "test"):
        kept = (run.folder / "user_metrics").read_table(part).toPandas()
        for row in document["rows"]:
            name = f"{row['metric']}@{row['k']}"
            if row["split"] == part and name in kept.columns:
                mine = kept[kept["model"] == row["model"]][name].dropna()
                assert len(mine) == row["users"]
                assert abs(mine.mean() - row["value"]) < 1e-9
                assert row["ci_low"] <= row["value"] + 1e-9
                assert row["value"] <= row["ci_high"] + 1e-9
    found = {row["metric"] for row in document["rows"]}
    assert {"genre_diversity", "factor_diversity", "coverage", "rbp", "novelty"} <= found
    # Films come one after the other, so that those held out are not in train: none is a candidate.
    assert "auc" not in found
    (pair,) = (pair for pair in document["differences"] if pair["split"] == "validation")
    assert {pair["model"], pair["other"]} == {"popularity", "block_als_implicit"}
    chosen = run.manifest["chosen"]
    assert chosen["verdict"].startswith(f"{chosen['model']}: NDCG@10 0.")
    assert run.manifest["split"]["validation"] == "user_time"
    assert run.manifest["split"]["cutoffs"].keys() == {"test_from"}

    check_subgroups(run)
    both = ("popularity", "block_als_implicit")
    clicks = ClickModel()
    replayed = simulate(context, run, both, lift=0.1, clicks=clicks)
    assert replayed["simulation"] is True
    assert replayed["assumptions"] == clicks.assumptions
    assert 0 < replayed["rates"][0] < 1
    assert 0 <= replayed["power"] <= 1
    kept = (run.folder / "simulation").read_json("popularity-block_als_implicit.json")
    assert kept == replayed
    run.forget("metrics")
    with pytest.raises(UsageError, match="has not been evaluated"):
        simulate(context, run, both, lift=0.1, clicks=clicks)
    with pytest.raises(UsageError, match="no model 'nmf'"):
        simulate(context, run, ("nmf", "popularity"), lift=0.1, clicks=clicks)
    with pytest.raises(UsageError, match="against itself"):
        simulate(context, run, ("popularity", "popularity"), lift=0.1, clicks=clicks)


def test_of_many_users_only_the_lists_of_those_who_visit_are_collected(
    spark: SparkSession,
) -> None:
    relevant = spark.createDataFrame([(u, u) for u in range(10)], "user int, item int")
    lists = spark.createDataFrame(
        [(u, item, rank) for u in range(10) for rank, item in ((1, -1), (2, u))],
        "user int, item int, rank int",
    )
    visitors = visitors_of(relevant, at_most=4)
    assert sorted(row.user for row in visitors.collect()) == [0, 3, 6, 9]
    places = sorted(map(tuple, shown_places(lists, relevant, visitors).fillna(False).collect()))
    assert places == [
        (0, 1, False), (0, 2, True), (3, 1, False), (3, 2, True),
        (6, 1, False), (6, 2, True), (9, 1, False), (9, 2, True),
    ]  # fmt: skip
