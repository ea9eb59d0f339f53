"""`recpipe recommend --for FILE` as people start it: lists for people who are new."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from recpipe.cli.stages import COMMANDS
from tests.roots import DATE, manifest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.commands import WarmJvm

RATED = {
    "änn": {10: 5.0, 20: 4.5, 30: 1.0, 600: 3.0},
    "bob": {40: 2.0, 99_999: 5.0},
    "nobody": {77_777: 5.0, 88_888: 1.0},
}
"""Items are 10, 20, ..., 600: the others are in no run."""
COLUMNS = 'ingest.columns={user="listener", item="track", rating="stars"}'
REGULARIZATION = 0.12


@pytest.fixture(scope="module")
def root(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root without the ratings that its models were fitted on."""
    root = tmp_path_factory.mktemp("new") / "root"
    shutil.copytree(finished, root)
    shutil.rmtree(root / "tables" / "ratings")
    shutil.rmtree(root / "runs" / "one" / "split")
    return root


def model_table(root: Path, name: str) -> pd.DataFrame:
    path = root / manifest(root, "one")["final"]["als_explicit"]["path"] / name
    return pd.read_parquet(path)


def expected_lists(root: Path, n: int) -> dict[str, list[tuple[int, float]]]:
    """(item_id, score) by rank: the rows that ALS would solve, in float64."""
    held = model_table(root, "item_factors")
    version = manifest(root, "one")["tables"]["items"]
    items = pd.read_parquet(root / "tables" / "items" / f"{version:06d}")
    held = held.merge(items, on="item").set_index("item_id").sort_values("item")
    y = pd.DataFrame(np.stack(list(held.factors)).astype(float), index=held.index)
    users = np.stack(list(model_table(root, "user_factors").factors)).astype(float)
    found = {}
    for person, rated in RATED.items():
        known = {item: stars for item, stars in rated.items() if item in y.index}
        own, stars = y.loc[list(known)].to_numpy(), np.array(list(known.values()))
        matrix = own.T @ own + REGULARIZATION * len(known) * np.eye(y.shape[1])
        vector = np.linalg.solve(matrix, own.T @ stars) if known else users.mean(axis=0)
        scores = pd.Series(y.to_numpy() @ vector, index=y.index).drop(index=list(known))
        best = scores.sort_values(ascending=False, kind="stable").head(n)
        found[person] = [(int(item), float(best[item])) for item in best.index]
    return found


def test_new_people_get_the_lists_of_their_ratings_from_what_a_run_has_fitted(
    submitted: WarmJvm, root: Path, tmp_path: Path
) -> None:
    source = tmp_path / "new people.jsonl"
    lines = [
        json.dumps({"stars": stars, "track": item, "listener": person})
        for person, rated in RATED.items()
        for item, stars in rated.items()
    ]
    source.write_text("\n".join(lines) + "\n")
    before = manifest(root, "one")

    given = ("recommend", "--for", source, "--root", root, *DATE, "--n", "7", "--set", COLUMNS)
    said = submitted.succeed(*given).out

    assert "lists of 3 people by als_explicit of run one" in said
    assert "3 of 8 ratings are of items that the run does not know" in said
    assert "1 of 3 people rated nothing that the run knows" in said
    table = pd.read_parquet(root / "runs" / "one" / "recommendations-for" / "new_people")
    assert list(table) == ["user_id", "rank", "item_id", "score", "source", "run_date"]
    assert set(table.source) == {"als_explicit"}
    assert {str(day) for day in table.run_date} == {DATE[1]}
    for person, places in expected_lists(root, 7).items():
        mine = table[table.user_id == person].sort_values("rank")
        assert list(mine["rank"]) == list(range(1, 8))
        assert not set(mine.item_id) & set(RATED[person])
        assert list(mine.item_id) == [item for item, _ in places]
        np.testing.assert_allclose(mine.score, [score for _, score in places], atol=1e-4)
    # The run itself is as it was.
    assert manifest(root, "one") == before
    assert not list(root.glob("**/.scratch"))


def test_what_is_no_file_of_ratings_is_refused_and_nothing_is_written(
    submitted: WarmJvm, root: Path, tmp_path: Path
) -> None:
    out, given = tmp_path / "lists", ("recommend", "--root", root, *DATE)
    files = {
        "without-a-rating": "userId,movieId,timestamp\n1,10,1500000000\n",
        "empty": "userId,movieId,rating,timestamp\n",
        "of-other-ids": "userId,movieId,rating\n1,tt0111161,5\n",
    }
    complaints = {
        "without-a-rating": "no column of ratings, but the feedback is explicit (name it by",
        "empty": "no ratings",
        "of-other-ids": "item_id is not an integer throughout, but all items that are known",
    }
    for name, text in files.items():
        source = tmp_path / f"{name}.csv"
        source.write_text(text)
        ended = submitted.recpipe(*given, "--for", source, "--out", out)
        assert ended.code == 3, ended.err
        assert f"{name}.csv: {complaints[name]}" in ended.complaint
        # What was read, and not where it was kept for a while.
        assert ".scratch" not in ended.complaint
        assert not out.exists()
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    ended = submitted.recpipe(*given, "--for", source, "--out", out)
    assert ended.code == 2, ended.err
    assert "lists is there, and is no table" in ended.complaint
    assert (out / "thesis.txt").exists()
    changed = submitted.recpipe(*given, "--for", source, "--set", "als_explicit.rank=5")
    assert changed.code == 2, changed.err
    assert "`train` was run with other settings of `als_explicit`" in changed.complaint


@pytest.mark.parametrize("option", [("--n", "3"), ("--out", "x")])
def test_options_of_new_people_go_with_their_file(option: tuple[str, str]) -> None:
    command = next(each for each in COMMANDS if each.name == "recommend")
    ended = CliRunner().invoke(command, ["--root", "x", *option])
    assert ended.exit_code == 2
    assert f"{option[0]} goes with --for" in ended.output
