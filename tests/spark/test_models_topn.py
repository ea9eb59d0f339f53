from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recpipe.errors import MissingError
from recpipe.kernels.topn import Panels
from recpipe.models.baselines.random import RandomScorer
from recpipe.models.factors import FactorModel
from recpipe.models.registry import build
from recpipe.ranking.engine import Scoring, top_n
from recpipe.ranking.factor_scorer import FactorScorer
from recpipe.ranking.item_blocks import MIN_ITEMS, ItemBlocks, send_items
from recpipe.ranking.pairs import packed_pairs
from recpipe.ranking.user_batch import UserInputs
from recpipe.storage import Folder, Stored

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, Row, SparkSession

    from recpipe.spark.interactions import Interactions, Mapped

FACTORS = "user int, factors array<float>, bias float"
SEEN = "user int, item int"
List = list[tuple[int, float]]


def sent(spark: SparkSession, scorer: FactorScorer | RandomScorer) -> ItemBlocks:
    return ItemBlocks((spark.sparkContext.broadcast(scorer),), len(scorer.items))


def scored(items: ItemBlocks, known: Interactions, *, rank: int = 0, **rest: Any) -> Scoring:
    """Factors of users, `known`, meet the factors of items."""
    return Scoring(lambda: items, UserInputs(vectors=known, width=rank + 1), **rest)


def shuffled(items: ItemBlocks) -> Scoring:
    """Nothing is known of users."""
    return Scoring(lambda: items, UserInputs(), everyone=True)


def scorer_of(
    items: np.ndarray, factors: np.ndarray, biases: np.ndarray, **rest: Any
) -> FactorScorer:
    numbers = (items.astype(np.int32), factors.astype(np.float32), biases.astype(np.float32))
    return FactorScorer(Panels.of(*numbers), **rest)


def lists(made: Mapped) -> dict[int, List]:
    """(item, score) of every user by rank, once the ranks are seen to be 1, 2, 3 ..."""
    frame = made.frame
    assert frame.dtypes == [("user", "int"), ("item", "int"), ("rank", "int"), ("score", "float")]
    found: dict[int, List] = {}
    for row in sorted(frame.collect(), key=lambda r: (r.user, r["rank"])):
        found.setdefault(row.user, []).append((row.item, row.score))
        assert row["rank"] == len(found[row.user])
    return found


def biased(items: list[int], biases: list[float]) -> FactorScorer:
    """Rank 0: every user sees the biases."""
    return scorer_of(np.array(items), np.empty((len(items), 0)), np.array(biases), mean=0.0)


def everybody(spark: SparkSession, *users: int) -> DataFrame:
    return spark.createDataFrame([(user, [], 0.0) for user in users], FACTORS)


def test_lists_are_those_of_a_full_sort_without_the_seen_items(spark: SparkSession) -> None:
    rng = np.random.default_rng(1)
    users, items, rank = 300, 9000, 3  # more users and items than meet each other at a time
    p, q = (rng.normal(size=(n, rank)).astype(np.float32) for n in (users, items))
    bu, bi = (rng.normal(size=n).astype(np.float32) for n in (users, items))
    ids = np.sort(rng.choice(20_000, items, replace=False)).astype(np.int32)
    blocks = sent(spark, scorer_of(ids, q, bi, mean=3.5))
    pairs = [(u, int(ids[i])) for u in range(0, users, 9) for i in rng.choice(items, 4000, False)]
    rows = [(u, p[u].tolist(), float(bu[u])) for u in range(users)]
    found = lists(
        top_n(
            scored(blocks, spark.createDataFrame(rows, FACTORS), rank=rank),
            None,
            seen=spark.createDataFrame([*pairs, (999, 1), (1, 20_001)], SEEN),
            n=10,
        )
    )
    scores = 3.5 + bu[:, None] + bi[None, :] + p.astype(float) @ q.T
    hidden = set(pairs)
    assert sorted(found) == list(range(users))
    for user in range(users):
        kept = [i for i in np.argsort(-scores[user]) if (user, int(ids[i])) not in hidden][:10]
        assert [item for item, _ in found[user]] == [int(ids[i]) for i in kept]
        assert [s for _, s in found[user]] == pytest.approx(scores[user][kept], abs=1e-5)


def test_ties_are_ordered_by_item_and_short_lists_are_short(spark: SparkSession) -> None:
    blocks = sent(spark, biased([2, 3, 5, 7], [1.0, 4.0, 1.0, 4.0]))
    seen = spark.createDataFrame([(0, 3), (0, 3), (1, 2), (1, 3), (1, 5), (1, 7)], SEEN)
    found = lists(top_n(scored(blocks, everybody(spark, 0, 1, 2)), None, seen=seen, n=3))
    assert found == {
        0: [(7, 4.0), (2, 1.0), (5, 1.0)],
        2: [(3, 4.0), (7, 4.0), (2, 1.0)],
    }


def test_lists_do_not_depend_on_batches_or_partitions(spark: SparkSession) -> None:
    rng = np.random.default_rng(2)
    factors, biases = rng.normal(size=(501, 33)), rng.normal(size=501)
    blocks = sent(spark, scorer_of(np.arange(501), factors, biases, mean=1.0))
    rows = [(u, rng.normal(size=33).tolist(), 0.25) for u in range(300)]
    seen = spark.createDataFrame([(u, u % 501) for u in range(300)], SEEN)

    def run(frame: DataFrame) -> dict[int, List]:
        return lists(top_n(scored(blocks, frame, rank=33), None, seen=seen, n=20))

    whole = run(spark.createDataFrame(rows, FACTORS))
    try:
        spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "7")
        spark.conf.set("spark.sql.shuffle.partitions", "9")
        # To the bit: equality of floats, not closeness.
        assert run(spark.createDataFrame(rows[::-1], FACTORS)) == whole
    finally:
        spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
        spark.conf.set("spark.sql.shuffle.partitions", "2")
    assert run(spark.createDataFrame(rows[123:124], FACTORS)) == {123: whole[123]}


def test_factors_from_files_give_the_lists_of_factors_from_rows(
    spark: SparkSession, tmp_path: Path
) -> None:
    rng = np.random.default_rng(6)
    users, items, rank = 20_000, 40, 64
    values = rng.normal(size=(users, rank)).astype(np.float32)
    offsets = np.arange(users + 1, dtype=np.int32) * rank
    table = pa.table(
        {
            "bias": rng.normal(size=users).astype(np.float32),
            "user": rng.permutation(users).astype(np.int32),
            "factors": pa.ListArray.from_arrays(offsets, values.ravel()),
        }
    )
    folder = Folder(spark, tmp_path)
    (folder / "users").fs.make_dir(folder.path("users"))
    pq.write_table(table, tmp_path / "users" / "part-0.parquet")
    (folder / "users").write_text("_SUCCESS", "")
    people = folder.stored("users")
    assert people.files(["user", "factors", "bias"]) is not None
    blocks = sent(
        spark,
        scorer_of(np.arange(items), rng.normal(size=(items, rank)), np.zeros(items), mean=0.0),
    )
    seen = spark.createDataFrame([(1, 1)], SEEN)
    asked = spark.createDataFrame([(u,) for u in (1, 5, 19_999, 77_777)], "user int")

    def run(people: DataFrame | Stored, asked: DataFrame | None = None, **rest: Any) -> list[Row]:
        found = top_n(scored(blocks, people, rank=rank, **rest), asked, seen=seen, n=2)
        return sorted(found.frame.collect())

    rows = people.frame
    assert run(people) == run(rows)
    some = run(people, asked)
    assert some == run(rows, asked) == [row for row in run(rows) if row.user in {1, 5, 19_999}]
    every = run(people, asked, everyone=True)
    assert [row for row in every if row.user != 77_777] == some
    assert len(every) == len(some) + 2


def test_users_may_come_as_longs(spark: SparkSession) -> None:
    blocks = sent(spark, biased([2, 3], [1.0, 4.0]))
    users, seen = spark.createDataFrame([(5,), (9,)], "user long"), spark.createDataFrame([], SEEN)
    found = lists(top_n(scored(blocks, everybody(spark, 0, 5, 9)), users, seen=seen, n=1))
    assert found == {5: [(3, 4.0)], 9: [(3, 4.0)]}
    random = sent(spark, RandomScorer(items=np.array([1], np.int32), seed=1))
    assert sorted(lists(top_n(shuffled(random), users, seen=seen, n=1))) == [5, 9]


def test_seen_pairs_may_be_packed_once_for_many_models(spark: SparkSession) -> None:
    blocks = sent(spark, biased([2, 3, 5, 7], [1.0, 4.0, 1.0, 4.0]))
    seen = spark.createDataFrame([(0, 3), (0, 3), (1, 2), (9, 7)], SEEN)
    once, in_one = packed_pairs(seen), packed_pairs(seen, users=3)
    assert (once.buckets, in_one.buckets) == (4, 1)
    once.rows.persist()
    found = [
        # Of what is packed, its own number of buckets counts.
        lists(top_n(scored(blocks, everybody(spark, 0, 1, 2), users=99999), None, seen=pairs, n=3))
        for pairs in (seen, once, once, in_one)
    ]
    once.rows.unpersist()
    assert found[0] == found[1] == found[2] == found[3]


def test_scores_behind_a_sigmoid_stay_on_the_scale_and_in_total_order(spark: SparkSession) -> None:
    scorer = biased([0, 1, 2, 3], [40.0, 0.0, 60.0, -1000.0])
    blocks = sent(spark, replace(scorer, scale=(1.0, 5.0), sigmoid=True))
    seen = spark.createDataFrame([], SEEN)
    # 40 and 60 both saturate: what is equal to the reader is ordered by item.
    found = lists(top_n(scored(blocks, everybody(spark, 0)), None, seen=seen, n=4))
    assert found == {0: [(0, 5.0), (2, 5.0), (1, 3.0), (3, 1.0)]}


def test_random_lists_depend_on_the_seed_and_differ_between_users(spark: SparkSession) -> None:
    users, seen = spark.createDataFrame([(0,), (1,)], "user int"), spark.createDataFrame([], SEEN)
    items = np.arange(1000, dtype=np.int32)

    def run(seed: int) -> dict[int, List]:
        blocks = sent(spark, RandomScorer(items=items, seed=seed))
        return lists(top_n(shuffled(blocks), users, seen=seen, n=5))

    assert run(1) == run(1)
    assert run(1)[0] != run(2)[0]
    assert [item for item, _ in run(1)[0]] != [item for item, _ in run(1)[1]]
    assert run(-1)[0]  # any integer is a seed


def test_lists_of_items_in_blocks_are_those_of_items_sent_whole(spark: SparkSession) -> None:
    rng = np.random.default_rng(4)
    users, items, rank = 70, 2 * MIN_ITEMS + 900, 20
    ids = np.sort(rng.choice(40_000, items, replace=False)).astype(np.int32)
    # Rounded, so that lists have ties, across blocks too.
    factors, biases = np.round(rng.normal(size=(items, rank))), np.round(rng.normal(size=items))
    made: dict[str, Any] = {"mean": 2.0, "scale": (1.0, 5.0), "sigmoid": True}
    rows = [(u, np.round(rng.normal(size=rank), 1).tolist(), 0.5) for u in range(users)]
    pairs = [(u, int(i)) for u in range(users) for i in rng.choice(ids, 3000)]
    people, seen = spark.createDataFrame(rows, FACTORS), spark.createDataFrame(pairs, SEEN)
    # In no order: the numbers, not the rows, decide.
    order = rng.permutation(items)
    frame = spark.createDataFrame(
        [(int(ids[at]), factors[at].tolist(), float(biases[at])) for at in order],
        "item int, factors array<float>, bias float",
    )
    split = send_items(
        frame,
        lambda items: FactorScorer.of(items, rank=rank, **made),
        count=items,
        item_bytes=220,  # 4766 of them a MiB
        limit_mb=1,
        what="item factors",
    )
    assert len(split.blocks) == 2
    found = lists(top_n(scored(split, people, rank=rank), None, seen=seen, n=25))
    whole = sent(spark, scorer_of(ids, factors, biases, **made))
    # To the bit: equality of floats, not closeness.
    assert found == lists(top_n(scored(whole, people, rank=rank), None, seen=seen, n=25))


def test_a_model_above_the_limit_gives_the_same_lists(spark: SparkSession, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    items = spark.createDataFrame(
        [(i, rng.normal(size=20).tolist(), 0.0) for i in range(9000)],
        "item int, factors array<float>, bias float",
    )
    users = spark.createDataFrame(
        [(u, rng.normal(size=20).tolist(), 0.0) for u in range(5)], FACTORS
    )
    whole = FactorModel.fitted(
        Folder(spark, tmp_path),
        name="als_explicit",
        user_factors=users,
        item_factors=items,
        rank=20,
        refit_config=build("als_explicit", {}),
    )
    seen = spark.createDataFrame([(0, 1)], SEEN)
    found = [
        lists(model.recommend(users.select("user"), n=10, seen=seen))
        for model in (whole, replace(whole, max_broadcast_mb=1))
    ]
    assert found[0] == found[1]


def test_a_block_above_the_limit_is_refused_before_anything_is_collected(
    spark: SparkSession,
) -> None:
    def never(_: DataFrame) -> FactorScorer:
        raise AssertionError

    frame = spark.createDataFrame([], "item int")
    with pytest.raises(MissingError, match=r"take 8 MiB .*recommend\.max_broadcast_mb = 7\b") as e:
        send_items(frame, never, count=10_000, item_bytes=2048, limit_mb=7, what="item factors")
    assert e.value.exit_code == 5


def test_no_place_is_a_mistake(spark: SparkSession) -> None:
    blocks, seen = sent(spark, biased([1], [1.0])), spark.createDataFrame([], SEEN)
    with pytest.raises(ValueError, match="at least 1"):
        top_n(scored(blocks, everybody(spark, 0)), None, seen=seen, n=0)
