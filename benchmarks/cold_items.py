"""How models rank items of which training has no rating: `hybrid`, `content`, popularity by genre.

    .venv/bin/python -m recpipe ingest --input ml-latest-small --root build/cold
    .venv/bin/python benchmarks/cold_items.py --root build/cold --model hybrid \\
        --model hybrid,tags=none --model content --model content,tags=0

A fifth of the items, drawn by the seed, loses all of its ratings. Users with a liking (4 or more)
among the others and among these are evaluated: NDCG@10 and recall@10 (hits over the lesser of 10
and the relevant) of lists of the cold items alone.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.sql import functions as F

from recpipe.models import registry
from recpipe.models.data import ItemFeatures, TrainingData
from recpipe.settings import Settings
from recpipe.spark.session import spark_session
from recpipe.storage import Folder
from recpipe.storage.tables import Tables

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame, SparkSession

K, SHARE, LIKED = 10, 5, 4.0
Scores = dict[int, np.ndarray]


@dataclass(frozen=True)
class ColdItems:
    """A split.

    Args:
        train: ratings of the items that are not cold.
        cold: (n,) ascending.
        relevant: the cold items that each user likes.
    """

    train: pd.DataFrame
    cold: np.ndarray
    relevant: dict[int, set[int]]

    @classmethod
    def of(cls, ratings: pd.DataFrame, *, seed: int) -> ColdItems:
        items = np.sort(ratings["item"].unique())
        drawn = np.random.default_rng(seed).choice(items, len(items) // SHARE, replace=False)
        is_cold, liked = ratings["item"].isin(drawn), ratings["rating"] >= LIKED
        known = set(ratings["user"][~is_cold & liked])
        held_out = ratings[is_cold & liked].groupby("user")["item"]
        relevant: dict[Any, set[int]] = {user: set(own) for user, own in held_out if user in known}
        return cls(ratings[~is_cold], np.sort(drawn), relevant)

    def evaluate(self, name: str, scores: Scores) -> None:
        """Print NDCG and recall; a user without scores has 0."""
        discounts = 1 / np.log2(np.arange(2, K + 2))
        values = []
        for user, own in self.relevant.items():
            if user not in scores:
                values.append((0.0, 0.0))
                continue
            hits = np.isin(self.cold[np.lexsort((self.cold, -scores[user]))[:K]], list(own))
            most = min(K, len(own))
            values.append(((hits * discounts).sum() / discounts[:most].sum(), hits.sum() / most))
        ndcg, recall = np.mean(values, axis=0)
        print(f"{name:44} {len(values)} users, NDCG@10 {ndcg:.4f}, recall@10 {recall:.4f}")


def by_genre(split: ColdItems, genres: pd.DataFrame) -> Scores:
    """The mean over an item's genres of the likings of an item of the genre: for all the same."""
    liked = split.train[split.train["rating"] >= LIKED].groupby("item").size()
    warm = genres[genres["item"].isin(split.train["item"])]
    likings = warm["item"].map(liked).fillna(0)
    of_genre = likings.groupby(warm["genre"]).mean()
    of_item = genres["genre"].map(of_genre).groupby(genres["item"]).mean()
    scores = of_item.reindex(split.cold).fillna(0).to_numpy()
    return dict.fromkeys(split.relevant, scores)


def by_model(
    spark: SparkSession, split: ColdItems, spec: str, items: ItemFeatures, *, seed: int
) -> Scores:
    """The scores of a model: `name`, or `name,setting=value,...`."""
    name, *changes = spec.split(",")
    tree: dict[str, Any] = {name: dict(each.split("=", 1) for each in changes)}
    tree["train"] = {"models": [name]}
    model = registry.build(name, dict(Settings.model_validate(tree)))
    ratings = spark.createDataFrame(split.train)
    data = TrainingData(
        ratings=ratings.withColumn("rating", F.col("rating").cast("float")), items=items
    )
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        fitted = model.fit(data, scratch=Folder(spark, folder), seed=seed)
        print(f"{spec}: fitted in {time.monotonic() - begin:.0f} s")
        users = spark.createDataFrame([(int(user),) for user in split.relevant], "user int")
        nothing = spark.createDataFrame([], "user int, item int")
        wanted = spark.createDataFrame([(int(item),) for item in split.cold], "item int")
        lists = fitted.recommend(users, n=1 << 20, seen=nothing).frame
        rows = lists.join(F.broadcast(wanted), "item").select("user", "item", "score").toPandas()
    found: Scores = {}
    for user in split.relevant:
        own = rows[rows["user"] == user]
        if len(own):
            found[user] = np.full(len(split.cold), -np.inf)
            found[user][np.searchsorted(split.cold, own["item"])] = own["score"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True, help="into which the ratings were ingested")
    parser.add_argument("--model", action="append", default=[], help="name,setting=value,...")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    given = parser.parse_args()
    with spark_session(Settings().session, name="cold items") as spark:
        tables = Tables(Folder(spark, given.root))

        def known(name: str) -> DataFrame | None:
            return tables.read(name) if tables.has(name) else None

        items = ItemFeatures(known)
        genres = items.genres()
        ratings = tables.read("ratings").select("user", "item", "rating", "rated_at").toPandas()
        for seed in given.seeds:
            split = ColdItems.of(ratings, seed=seed)
            print(f"seed {seed}: {len(split.cold)} cold items")
            if genres is not None:
                split.evaluate("popularity by genre", by_genre(split, genres.toPandas()))
            for spec in given.model:
                split.evaluate(spec, by_model(spark, split, spec, items, seed=seed))


if __name__ == "__main__":
    main()
