"""A published split from the command line: recpipe run with --train and --test."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow.parquet as pq

from tests.roots import DATE, manifest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.commands import WarmJvm

MODEL = ("--models", "popularity", "--set", "publish.model=popularity")


def test_a_published_split_is_run_and_later_splits_follow_its_parts(
    submitted: WarmJvm, source: Path, tmp_path: Path
) -> None:
    table = pd.read_csv(source / "ratings.csv")
    held_out = table.groupby("userId").tail(2)
    for name, rows in (("u1.base", table.drop(held_out.index)), ("u1.test", held_out)):
        rows.to_csv(tmp_path / name, sep="\t", header=False, index=False)
    root = tmp_path / "root"
    parts = ("--train", tmp_path / "u1.base", "--test", tmp_path / "u1.test")
    ended = submitted.succeed("run", *parts, "--root", root, "--run-id", "one", *DATE, *MODEL)
    assert "split: given, for the ratings came in parts" in ended.err
    submitted.succeed("split", "--root", root, "--run-id", "two", *DATE)
    for run_id in ("one", "two"):
        assert manifest(root, run_id)["split"]["strategy"] == "given"
        test = pq.read_table(root / "runs" / run_id / "split" / "test").to_pandas()
        assert set(zip(test.user_id, test.item_id, strict=True)) == set(
            zip(held_out.userId, held_out.movieId, strict=True)
        )
    # No instant at which test begins: nobody is cold from one on.
    described = json.loads(submitted.succeed("describe", "--root", root, "--json").out)
    assert described["cold"] is None
    # The tables have all of the ratings, and may be split anew by another rule.
    submitted.succeed(
        "split", "--root", root, *DATE, "--run-id", "three", "--set", "split.strategy=random"
    )
    assert manifest(root, "three")["split"]["parts"][0]["rows_in"] == len(table)
