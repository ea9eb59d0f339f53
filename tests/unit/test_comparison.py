"""Two runs beside each other: what differs, by how much, and why it cannot be told."""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from recpipe.errors import UsageError
from recpipe.evaluation.paired import UserSums, digest, joined, paired, value_sums
from recpipe.publish import arrow_root
from recpipe.report import Comparison, RunRecord, render_comparison
from recpipe.report.compare import grounds, headline, side_by_side
from recpipe.stages.comparison import compare_runs

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

USERS = 40


def values_of(seed: int, lift: float = 0.0) -> list[float]:
    return [float(v) for v in np.random.default_rng(seed).beta(1, 4, USERS) + lift]


def write_run(root: Path, name: str, values: list[float], **changed: Any) -> None:
    """A run as far as a comparison reads it."""
    folder = root / "runs" / name
    users = np.arange(USERS, dtype=np.int32)
    items = changed.get("items", users % 7)
    manifest = {
        "run_id": name,
        "status": "finished",
        "started_at": name,
        "seed": 42,
        "code_version": "0.1.0+abc",
        "settings": {
            "sgd": {"rank": changed.get("rank", 8)},
            "split": {"folds": 5},
            "evaluate": {
                "relevance_threshold": changed.get("threshold", "auto"),
                "exclude": changed.get("exclude", "train+validation"),
            },
        },
        "input": {
            "format": "MovieLens",
            "fingerprint": "f" * 64,
            "ratings": {"kept": 1000},
            "rating_scale": {"min": 1, "max": 5, "step": 1},
        },
        "split": {
            "strategy": "global_time",
            "folds": changed.get("folds", [None]),
            "parts": [{"parts": {"test": {"rows": changed.get("rows", USERS)}}}],
        },
        "metrics": "metrics.json",
        "chosen": {"model": changed.get("model", "sgd"), "metric": "ndcg@10"},
        "timings": {"train": 12.0},
    }
    for section in changed.get("forgotten", ()):
        del manifest[section]
    row = {
        "model": "sgd", "metric": "ndcg", "k": 10, "value": float(np.mean(values)),
        "ci_low": 0.1, "ci_high": 0.3, "users": USERS, "rows": 90, "split": "test", "fold": None,
    }  # fmt: skip
    for table in ("split/test", "user_metrics/test"):
        (folder / table).mkdir(parents=True)
        if table != changed.get("unfinished"):
            (folder / table / "_SUCCESS").touch()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "metrics.json").write_text(json.dumps({"rows": [row]}))
    ratings = np.asarray(changed.get("ratings", [4.0] * USERS), np.float32)
    held_out = {"user": users, "item": np.asarray(items, np.int32), "rating": ratings}
    pq.write_table(pa.table(held_out), folder / "split/test/part-0.parquet")
    relevant = np.full(USERS, 1, np.int32)
    relevant[: changed.get("more_relevant", 0)] += 1
    metrics = {"model": ["sgd"] * USERS, "user": users[::-1] + changed.get("later_users", 0),
               "relevant": relevant, "ndcg@10": values[::-1]}  # fmt: skip
    # Of another model as well, whose values are of no use.
    useless = metrics | {"model": ["other"] * USERS, "ndcg@10": [9.0] * USERS}
    both = pa.concat_tables([pa.table(metrics), pa.table(useless)])
    pq.write_table(both, folder / "user_metrics/test/part-0.parquet")


def compared(root: Path) -> Comparison:
    folder = arrow_root(str(root))
    assert folder is not None
    return compare_runs(folder, "old", "new")


def test_runs_with_the_same_held_out_ratings_are_compared_over_the_same_users(
    tmp_path: Path,
) -> None:
    old = values_of(1)
    write_run(tmp_path, "old", old)
    write_run(tmp_path, "new", [value + 0.05 for value in old], rank=16)
    found = compared(tmp_path)
    assert found.difference is not None
    assert found.difference["value"] == pytest.approx(0.05)
    assert found.difference["shown"]
    assert headline(found) == "new (sgd) is better than old (sgd) by NDCG@10 on test."
    said = " ".join(grounds(found))
    assert "The difference is +0.0500 (0.0500 to 0.0500), p 0.000" in said
    html = render_comparison(found)
    assert "over the same 40 users and held-out ratings." in html
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))
    assert "sgd.rank 8 16" in text
    assert "split.folds" not in text
    assert "Both ran the same code" in text


def test_a_difference_of_chance_is_not_shown(tmp_path: Path) -> None:
    write_run(tmp_path, "old", values_of(1))
    write_run(tmp_path, "new", values_of(2))
    found = compared(tmp_path)
    assert found.difference is not None
    assert not found.difference["shown"]
    assert headline(found).startswith("No difference is shown between new (sgd) and old (sgd)")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"items": np.arange(USERS) % 7 + (np.arange(USERS) < 3)},
         "their test parts hold other pairs of users and items (40 and 40) (compare runs of"),
        ({"rows": 1234, "unfinished": "split/test"},
         "their test parts have 40 and 1,234 rows (compare runs of the same tables"),
        ({"folds": [0, 1]}, "run new has 2 folds (compare runs that have one test part)"),
        ({"model": "ease"}, "user_metrics has no values of ease (run `recpipe evaluate --run-id"),
        ({"unfinished": "split/test"}, "/runs/new/split/test is no complete table (restore it"),
        ({"unfinished": "user_metrics/test"},
         "/runs/new/user_metrics/test is no complete table (restore it"),
        ({"ratings": [3.5] * 3 + [4.0] * 37},
         "other pairs are relevant: 40 in old (4 and more) and 37 in new (4 and more)"),
        ({"threshold": 4.5},
         "other pairs are relevant: 40 in old (4 and more) and 0 in new (4.5 and more)"),
        ({"exclude": "train"}, "evaluate.exclude is train+validation in old and train in new"),
        ({"more_relevant": 2}, "the number of relevant items differs for some users"),
        ({"later_users": 1}, "the evaluated users differ"),
    ],
)  # fmt: skip
def test_where_it_cannot_be_told_the_page_says_why(
    changed: dict[str, Any], why: str, tmp_path: Path
) -> None:
    write_run(tmp_path, "old", values_of(1))
    write_run(tmp_path, "new", values_of(1), **changed)
    found = compared(tmp_path)
    assert found.difference is None
    assert why in found.why_not
    assert html.escape(found.why_not) in render_comparison(found)


def test_an_older_run_without_values_of_each_user_is_compared_by_its_numbers(
    tmp_path: Path,
) -> None:
    for name in ("old", "new"):
        write_run(tmp_path, name, values_of(1))
    place = tmp_path / "runs/old/user_metrics/test/part-0.parquet"
    pq.write_table(pq.read_table(place).drop_columns(["ndcg@10"]), place)
    found = compared(tmp_path)
    assert "/runs/old/user_metrics/test has no column ndcg@10 (" in found.why_not
    table = side_by_side(found)
    assert table is not None
    assert [(name, [c.text for c in cells]) for name, cells in table.rows] == [
        ("NDCG@10", [f"{np.mean(values_of(1)):.4f} (0.1000 to 0.3000)"] * 2)
    ]


def test_metrics_of_models_that_train_has_since_replaced_are_not_shown(tmp_path: Path) -> None:
    write_run(tmp_path, "old", values_of(1))
    write_run(tmp_path, "new", values_of(1), forgotten=["metrics", "chosen"])
    found = compared(tmp_path)
    assert found.why_not.startswith("run new has not been evaluated (run `recpipe evaluate")
    assert found.other.metrics == {}
    assert found.one.metrics != {}


def test_a_run_is_not_compared_with_itself(tmp_path: Path) -> None:
    write_run(tmp_path, "old", values_of(1))
    folder = arrow_root(str(tmp_path))
    assert folder is not None
    assert compare_runs(folder, "old", "old").why_not == "both ids name the same run"


def test_a_run_that_is_not_there_is_named(tmp_path: Path) -> None:
    write_run(tmp_path, "old", values_of(1))
    with pytest.raises(UsageError, match="no run 'new'"):
        compared(tmp_path)


def test_runs_that_have_not_come_far_have_a_page_too() -> None:
    nothing = RunRecord({"run_id": "<a>", "status": "failed"}, {})
    html = render_comparison(Comparison(nothing, nothing, None, "both ids name the same run"))
    assert "&lt;a&gt;" in html
    assert "<a>" not in html
    assert "Run &lt;a&gt; is failed." in html


def test_thresholds_that_call_the_same_pairs_relevant_are_no_hindrance(tmp_path: Path) -> None:
    write_run(tmp_path, "old", values_of(1))
    write_run(tmp_path, "new", values_of(1), threshold=3.5)
    assert compared(tmp_path).difference is not None


def sums(name: str, users: NDArray[np.int32], values: NDArray[np.float64]) -> UserSums:
    """Of users to whom one item is relevant, in batches of 3,000."""
    table = pa.table({"user": users, "relevant": np.ones_like(users), "value": values})
    (batch,) = value_sums(table.to_batches(max_chunksize=3000))
    return UserSums.of(name, batch.to_pylist())


def test_a_paired_difference_is_that_of_the_field() -> None:
    users = np.arange(USERS, dtype=np.int32)
    one, other = np.array(values_of(3)), np.array(values_of(4))
    found = paired(
        sums("a", users, one), sums("b", users, other), metric="ndcg@10", split="test", seed=1
    )
    assert found is not None
    assert found.value == pytest.approx(float((one - other).mean()))
    assert found.ci_low is not None
    assert found.ci_low < found.value
    expected = stats.permutation_test(
        (one, other), lambda a, b: (a - b).mean(), permutation_type="samples",
        n_resamples=4000, random_state=2,
    )  # fmt: skip
    assert found.p == pytest.approx(expected.pvalue, abs=0.03)


def test_of_many_users_groups_are_kept_and_users_without_a_value_do_not_count() -> None:
    users = np.random.default_rng(1).permutation(10_000).astype(np.int32)
    values = np.where(users % 2, np.nan, users / 10_000)
    found = sums("a", users, values)
    assert not found.sums.each
    assert found.users == 10_000
    assert found.sums.sums.shape == (2, 1024)
    assert found.sums.sums.sum(axis=-1) == pytest.approx([np.nansum(values), 5000])
    again = sums("b", np.sort(users), values[np.argsort(users)])
    assert again.of_users == found.of_users


def test_other_users_are_not_paired() -> None:
    one, other = (
        sums(name, np.array(users, np.int32), np.zeros(2))
        for name, users in (("a", [1, 2]), ("b", [1, 3]))
    )
    with pytest.raises(ValueError, match="other users"):
        paired(one, other, metric="ndcg@10", split="test", seed=1)


def test_a_digest_is_that_of_a_set_whatever_its_parts_and_their_order() -> None:
    numbers = np.random.default_rng(1).integers(0, 1 << 62, 1000)
    parts = np.array_split(numbers[::-1], 7)
    assert joined(digest(part) for part in parts) == joined([digest(numbers)])
    assert digest(numbers) != digest(np.append(numbers[1:], 5))
