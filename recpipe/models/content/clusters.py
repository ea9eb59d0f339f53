"""Clusters of items by k-means over their vectors, and whether they mean anything.

How far the clusters stand apart is the silhouette (Rousseeuw 1987) by the cosine distance: the mean
over items of (b - a) / max(a, b), where a is the mean distance to the item's own cluster and b
that to the nearest other; 1 at best, 0 where clusters touch. For vectors of length 1 it is the
silhouette of MLlib's `ClusteringEvaluator` by the squared Euclidean distance.

How far they agree with genres is told by the normalised mutual information (Strehl and Ghosh 2002;
the mean of both entropies as norm) and the adjusted Rand index (Hubert and Arabie 1985; 0 is what
chance gives). An item of several genres counts once for each: it is so many pairs of cluster and
genre. Where most items have several, neither can reach 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.ml.clustering import KMeans
from pyspark.ml.evaluation import ClusteringEvaluator
from pyspark.ml.feature import StopWordsRemover
from pyspark.ml.functions import array_to_vector
from pyspark.sql import Window
from pyspark.sql import functions as F

from recpipe.models.content.profiles import unpacked
from recpipe.spark.held import cached

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.models.content.profiles import Vocabulary
    from recpipe.models.data import ItemFeatures

CLUSTERS = "item int, cluster int"

_ITEMS_OF_A_PARTITION = 200_000
_GENRES, _WORDS, _TITLES = 3, 6, 3
_SHOWN_GENRE = 0.1
"""The least share of a cluster's items that a genre must have to be shown."""


@dataclass(frozen=True, eq=False)
class Clusters:
    """What k-means found.

    Args:
        rows: CLUSTERS; items whose vector is 0 are in none.
        info: for the manifest and the report (JSON): `count`, `items`, `silhouette`, `nmi`, `ari`
            (None where they have no meaning), and `rows`, the largest cluster first, each with
            `size`, `genres` (name and share of the items), `words` and `titles`.
    """

    rows: DataFrame
    info: dict[str, Any]


def clusters_of(vectors: DataFrame, *, count: int, seed: int) -> tuple[DataFrame, float | None]:
    """CLUSTERS of items by k-means over their directions, and the silhouette.

    A catalogue of up to 200,000 items is one partition in the order of items, so that the seed
    decides; sums over several partitions are taken in the order in which tasks end. Time grows with
    items x clusters x width.

    Args:
        vectors: (item int, factors array<float>), distinct items.
        count: of clusters, at least 2; there are fewer where fewer items differ.
        seed: of the first centres.

    Returns:
        The silhouette is None where there are fewer than two clusters, or every item has its own.
    """
    length = F.sqrt(F.aggregate("factors", F.lit(0.0), lambda sum_, x: sum_ + x * x))
    units = vectors.withColumn("length", length).where("length > 0")
    partitions = max(1, -(-vectors.count() // _ITEMS_OF_A_PARTITION))
    rows = cached(
        units.select(
            "item",
            array_to_vector(F.transform("factors", lambda x: x / F.col("length"))).alias("vector"),
        )
        .repartitionByRange(partitions, "item")
        .sortWithinPartitions("item")
    )
    try:
        items = rows.count()
        model = KMeans(
            k=max(2, min(count, items)), seed=seed, featuresCol="vector", predictionCol="cluster"
        ).fit(rows)
        found = model.transform(rows)
        sizes = found.groupBy("cluster").count().count()
        silhouette = None
        if 1 < sizes < items:
            evaluator = ClusteringEvaluator(featuresCol="vector", predictionCol="cluster")
            silhouette = float(evaluator.evaluate(found))
        numbers = found.select("item", F.col("cluster").cast("int").alias("cluster")).toArrow()
        return rows.sparkSession.createDataFrame(numbers), silhouette
    finally:
        rows.unpersist()


def mutual_information(table: NDArray[np.int64]) -> float:
    """The normalised mutual information of two partitions, from 0 to 1.

    I / ((H_1 + H_2) / 2), with I = sum p_ij ln(p_ij / (p_i p_j)); 1 where neither divides anything.

    Args:
        table: (a, b) how many things are in part i of one and part j of the other.
    """
    p = table / table.sum()
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    there = p > 0
    information = float((p[there] * np.log(p[there] / np.outer(rows, columns)[there])).sum())
    entropies = [-float((q[q > 0] * np.log(q[q > 0])).sum()) for q in (rows, columns)]
    mean = sum(entropies) / 2
    return max(0.0, information / mean) if mean else 1.0


def adjusted_rand(table: NDArray[np.int64]) -> float:
    """The adjusted Rand index of two partitions: 1 where they are the same, 0 by chance.

    (S - E) / (M - E), with S = sum C(n_ij, 2) pairs that are together in both, E = A B / C(n, 2)
    of them by chance, M = (A + B) / 2, and A, B the pairs that are together in either; 1 where
    M = E.

    Args:
        table: as for `mutual_information`.
    """

    def pairs(counts: NDArray[np.int64]) -> float:
        return float((counts.astype(np.float64) * (counts - 1) / 2).sum())

    both, one, other = pairs(table), pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    total = pairs(table.sum(keepdims=True))
    expected = one * other / total if total else 0.0
    maximum = (one + other) / 2
    return (both - expected) / (maximum - expected) if maximum != expected else 1.0


def described(
    rows: DataFrame,
    silhouette: float | None,
    *,
    items: ItemFeatures,
    profiles: DataFrame,
    vocabulary: Vocabulary,
    ratings: DataFrame,
) -> Clusters:
    """Clusters with what is in them.

    The driver gets a few rows of each cluster, and one of each pair of cluster and genre.

    Args:
        rows: CLUSTERS; cheap to read again.
        silhouette: of these.
        items: for genres and titles.
        profiles: `profiles.PROFILES`.
        vocabulary: of these.
        ratings: (user, item, ...): the most rated items of a cluster are its examples.
    """
    sizes = {row["cluster"]: row["count"] for row in rows.groupBy("cluster").count().collect()}
    genres = _genres(rows, items)
    table = _table(genres, list(sizes))
    words, titles = _words(rows, profiles, vocabulary), _titles(rows, items, ratings)
    shown = [
        {
            "size": size,
            "genres": [
                [name, count / size]
                for name, count in _top_genres(genres, cluster)
                if count / size >= _SHOWN_GENRE
            ],
            "words": words.get(cluster, []),
            "titles": titles.get(cluster, []),
        }
        for cluster, size in sorted(sizes.items(), key=lambda entry: (-entry[1], entry[0]))
    ]
    known = table.size > 0 and table.sum() > 0
    info = {
        "count": len(sizes),
        "items": sum(sizes.values()),
        "silhouette": silhouette,
        "nmi": mutual_information(table) if known else None,
        "ari": adjusted_rand(table) if known else None,
        "rows": shown,
    }
    return Clusters(rows, info)


def _genres(rows: DataFrame, items: ItemFeatures) -> dict[tuple[int, str], int]:
    """How many items of each genre each cluster has."""
    genres = items.genres()
    if genres is None:
        return {}
    counted = rows.join(genres.distinct(), "item").groupBy("cluster", "genre").count().collect()
    return {(row["cluster"], row["genre"]): row["count"] for row in counted}


def _table(genres: dict[tuple[int, str], int], clusters: list[int]) -> NDArray[np.int64]:
    """(clusters, genres) how many items of each genre each cluster has."""
    names = sorted({name for _, name in genres})
    counts = [[genres.get((cluster, name), 0) for name in names] for cluster in clusters]
    return np.array(counts, np.int64).reshape(len(clusters), len(names))


def _top_genres(genres: dict[tuple[int, str], int], cluster: int) -> list[tuple[str, int]]:
    """The genres that most items of a cluster have, and how many these are."""
    own = [(name, count) for (where, name), count in genres.items() if where == cluster]
    return sorted(own, key=lambda entry: (-entry[1], entry[0]))[:_GENRES]


def _words(rows: DataFrame, profiles: DataFrame, vocabulary: Vocabulary) -> dict[int, list[str]]:
    """The words, tags and tags of the genome whose mean in a cluster is most above that of all.

    English stop words name no cluster, however many titles of it have them: they tell nothing.
    """
    all_items = rows.count()
    values = unpacked(profiles).select(
        F.col("user").alias("item"), F.col("item").alias("term"), "value"
    )
    shown = np.flatnonzero(np.isin(vocabulary.sources, ("title", "tag", "genome")))
    if not len(shown):
        return {}
    # Terms of a source are neighbours, so that what is wanted is a few ranges of numbers.
    cuts = np.flatnonzero(np.diff(shown) != 1) + 1
    within = F.lit(False)
    for part in np.split(shown, cuts):
        within |= F.col("term").between(int(part[0]), int(part[-1]))
    stop_words = StopWordsRemover.loadDefaultStopWords("english")
    telling = ~F.col("term").isin(np.flatnonzero(np.isin(vocabulary.terms, stop_words)).tolist())
    sizes = rows.groupBy("cluster").agg(F.count(F.lit(1)).alias("size"))
    sums = (
        values.where(within & telling)
        .join(rows, "item")
        .groupBy("cluster", "term")
        .agg(F.sum("value").alias("sum"), F.count(F.lit(1)).alias("items"))
    )
    means = sums.groupBy("term").agg((F.sum("sum") / all_items).alias("mean"))
    above = sums.where("items > 1").join(means, "term").join(sizes, "cluster")
    # Rounded: Spark's sums differ in the last digits from run to run, and words must not.
    lift = F.round(F.col("sum") / F.col("size") - F.col("mean"), 6)
    best = Window.partitionBy("cluster").orderBy(F.desc("lift"), "term")
    kept = (
        above.withColumn("lift", lift)
        .where("lift > 0")
        .withColumn("place", F.row_number().over(best))
    )
    found: dict[int, list[str]] = {}
    for row in sorted(
        kept.where(F.col("place") <= 2 * _WORDS).collect(), key=lambda row: row["place"]
    ):
        own = found.setdefault(row["cluster"], [])
        word = str(vocabulary.terms[row["term"]])
        if word not in own and len(own) < _WORDS:
            own.append(word)
    return found


def _titles(rows: DataFrame, items: ItemFeatures, ratings: DataFrame) -> dict[int, list[str]]:
    """The most rated items of each cluster."""
    counts = ratings.groupBy("item").agg(F.count(F.lit(1)).alias("ratings"))
    best = Window.partitionBy("cluster").orderBy(F.desc("ratings"), "item")
    known = rows.join(counts, "item", "left").na.fill(0, ["ratings"])
    top = known.withColumn("place", F.row_number().over(best)).where(F.col("place") <= _TITLES)
    titles = items.titles()
    top = (
        top.withColumn("title", F.lit(None)) if titles is None else top.join(titles, "item", "left")
    )
    found: dict[int, list[str]] = {}
    for row in sorted(top.collect(), key=lambda row: (row["cluster"], row["place"])):
        found.setdefault(row["cluster"], []).append(row["title"] or f"item {row['item']}")
    return found


__all__ = [
    "CLUSTERS",
    "Clusters",
    "adjusted_rand",
    "clusters_of",
    "described",
    "mutual_information",
]
