"""Profiles of items: sparse vectors of terms by TF-IDF, and dense ones of words beside them.

Of a term t of item i, from source s, with weight f (see `features.item_terms`),

    v_it = f_it (1 + ln((1 + N_s) / (1 + n_t)))

where N_s is how many items have a term of the source, and n_t how many have this one (the smooth
inverse document frequency of Salton's TF-IDF; Manning, Raghavan and Schütze 2008, ch. 6). Each
source's part of a profile has length 1 and is multiplied by the root of the source's weight, so
that the product of two profiles is the weighted sum of their cosines by source.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from recpipe.kernels.neighbour_scores import Links
from recpipe.models.content.word_vectors import read, term_vectors, trained, words_of
from recpipe.models.features import item_terms
from recpipe.ranking.histories import HISTORY
from recpipe.spark.columns import arrow_rows, as_array, batch_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

    from recpipe.models.content.settings import ContentSettings
    from recpipe.models.content.word_vectors import TermVectors
    from recpipe.models.data import ItemFeatures
    from recpipe.models.features import Source
    from recpipe.spark.columns import Batches

    Ints = NDArray[np.int32]

PROFILES = "item int, terms binary, numbers binary"
"""A row an item: the places of its terms in the vocabulary (int32, ascending), and as `numbers` the
value of each (float32)."""


_WORDED: tuple[Source, ...] = ("title", "tag")
"""Sources whose terms are made of words, which can have vectors."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The terms of profiles; a term's number is its place.

    Args:
        sources: (terms,) where each comes from.
        terms: (terms,) as texts; ascending by source, and then by text.
        idf: (terms,) inverse document frequencies.
        vectors: of the terms that are words; rows of others are 0. None: there are none.
        details: what the manifest is told.
    """

    sources: NDArray[np.object_]
    terms: NDArray[np.object_]
    idf: NDArray[np.float64]
    vectors: TermVectors | None
    details: Mapping[str, Any]

    @property
    def width(self) -> int:
        """Numbers of a profile, dense ones at the end included."""
        return len(self.terms) + (0 if self.vectors is None else self.vectors.rows.shape[1])


class _Sent(NamedTuple):
    """What a task needs to make profiles.

    A profile is multiplied by the square roots of weights, so that products have the weights.

    Args:
        roots: (sources,) the square roots of the weights of sources.
        source: (terms,) the place of each term's source.
        idf: (terms,) of each term.
        vectors: (terms, size) of words; None for none.
        vectors_root: the square root of the weight of these.
        unit: whether a profile has length 1.
    """

    roots: NDArray[np.float64]
    source: Ints
    idf: NDArray[np.float64]
    vectors: NDArray[np.float32] | None
    vectors_root: float
    unit: bool


def weights_of(settings: ContentSettings) -> dict[Source, float]:
    """The weight of each source that counts."""
    given: dict[Source, float] = {
        "genre": settings.genres,
        "title": settings.title,
        "year": settings.year,
        "tag": settings.tags,
        "genome": settings.genome,
    }
    return {source: weight for source, weight in given.items() if weight}


def terms_of(items: ItemFeatures, settings: ContentSettings) -> DataFrame | None:
    """`features.item_terms` of the sources that count, and of words that have vectors."""
    wanted = {*weights_of(settings)}
    if settings.vectors != "none":
        wanted |= {*_WORDED}
    return item_terms(items, wanted, relevance_from=settings.genome_from)


def vocabulary_of(terms: DataFrame, settings: ContentSettings, *, seed: int) -> Vocabulary:
    """The terms that profiles are made of: one query for each kind of count.

    The driver holds them, and a vector of each where there are vectors.

    Args:
        terms: of all items; cheap to read again.
        settings: of the model.
        seed: for vectors that are trained.
    """
    by_source = terms.groupBy("source").agg(F.count_distinct("item").alias("items"))
    sizes = {row["source"]: row["items"] for row in by_source.collect()}
    found = (
        terms.groupBy("source", "term")
        .agg(F.count(F.lit(1)).alias("items"))
        .where(F.col("items") >= settings.min_items)
        .orderBy(F.desc("items"), "source", "term")
        .limit(settings.max_terms)
        .toArrow()
        .sort_by([("source", "ascending"), ("term", "ascending")])
    )
    sources, names = (np.array(found.column(c).to_pylist(), object) for c in ("source", "term"))
    counts = found.column("items").to_numpy()
    totals = np.array([sizes[source] for source in sources], np.float64)
    idf = 1 + np.log((1 + totals) / (1 + counts))
    vectors = _vectors(terms, sources, names, settings, seed=seed)
    details: dict[str, Any] = {"terms": len(names)}
    if vectors is not None:
        details |= {"words_with_vectors": vectors.words, "terms_without_vectors": vectors.missing}
    return Vocabulary(sources, names, idf, vectors, details)


def _vectors(
    terms: DataFrame,
    sources: NDArray[np.object_],
    names: NDArray[np.object_],
    settings: ContentSettings,
    *,
    seed: int,
) -> TermVectors | None:
    places = np.flatnonzero(np.isin(sources, _WORDED))
    if settings.vectors == "none" or not len(places):
        return None
    if settings.vectors == "train":
        worded = terms.where(F.col("source").isin(*_WORDED))
        words = trained(worded, size=settings.vector_size, min_items=settings.min_items, seed=seed)
        if not words:
            return None
    else:
        wanted = {word for name in names[places] for word in words_of(name)}
        words = read(terms.sparkSession, settings.vectors, wanted)
    found = term_vectors(names[places].tolist(), words)
    rows = np.zeros((len(names), found.rows.shape[1]), np.float32)
    rows[places] = found.rows
    return found._replace(rows=rows)


def profiles_of(
    candidates: DataFrame, terms: DataFrame, vocabulary: Vocabulary, settings: ContentSettings
) -> DataFrame:
    """PROFILES of all items that have a term, and of the candidates; an item without is empty.

    Args:
        candidates: (item int), distinct.
        terms: of `terms_of`.
        vocabulary: of these.
        settings: of the model.
    """
    spark = terms.sparkSession
    names, number = np.unique(vocabulary.sources.astype(str), return_inverse=True)
    weights = weights_of(settings)
    roots = np.sqrt([weights.get(name, 0.0) for name in names.tolist()])
    sent = spark.sparkContext.broadcast(
        _Sent(
            roots,
            number.astype(np.int32),
            vocabulary.idf,
            None if vocabulary.vectors is None else vocabulary.vectors.rows,
            float(np.sqrt(settings.vectors_weight)),
            settings.similarity == "cosine",
        )
    )
    columns = {
        "source": pa.array(vocabulary.sources.tolist(), pa.string()),
        "term": pa.array(vocabulary.terms.tolist(), pa.string()),
        "number": pa.array(np.arange(len(vocabulary.terms), dtype=np.int32)),
    }
    numbered = terms.join(
        F.broadcast(spark.createDataFrame(pa.table(columns))), ["source", "term"]
    ).select("item", "number", F.col("weight").cast("float").alias("weight"))
    found = numbered.unionAll(
        candidates.select(
            "item",
            F.lit(None).cast("int").alias("number"),
            F.lit(None).cast("float").alias("weight"),
        )
    )
    # One row for each item: its terms are all that there is of it.
    by_item = found.groupBy("item").agg(
        F.sort_array(
            F.collect_list(F.when(F.col("number").isNotNull(), F.struct("number", "weight")))
        ).alias("rows")
    )
    flat = by_item.select("item", F.col("rows.number").alias("terms"), F.col("rows.weight"))
    return flat.mapInArrow(partial(_profiles, sent=sent), PROFILES)


def _profiles(batches: Batches, *, sent: Broadcast[_Sent]) -> Batches:
    for batch in batches:
        items, terms, weights = batch.columns
        found = [
            _profile(
                np.asarray(terms[at].as_py(), np.int32),
                np.asarray(weights[at].as_py(), np.float64),
                sent.value,
            )
            for at in range(len(batch))
        ]
        ends = np.cumsum([len(numbers) for numbers, _ in found], dtype=np.int64)
        if found:
            numbers, values = (np.concatenate(each) for each in zip(*found, strict=True))
            yield arrow_rows(PROFILES, ends, items.to_numpy(), numbers, values)


def _profile(terms: Ints, weights: NDArray[np.float64], sent: _Sent) -> tuple[Ints, NDArray[Any]]:
    """The numbers of an item's terms that are not 0, and their values."""
    values = weights * sent.idf[terms]
    source = sent.source[terms]
    dense = np.empty(0)
    if sent.vectors is not None:
        dense = sent.vectors_root * _unit(values @ sent.vectors[terms].astype(np.float64))
    for each in np.unique(source):
        own = source == each
        values[own] = sent.roots[each] * _unit(values[own])
    first = len(sent.idf)
    numbers = np.concatenate([terms, np.arange(first, first + len(dense), dtype=np.int32)])
    values = np.concatenate([values, dense])
    if sent.unit:
        values = _unit(values)
    kept = values != 0
    return numbers[kept].astype(np.int32), values[kept].astype(np.float32)


def _unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The vector at length 1; of length 0 as it is."""
    length = float(np.linalg.norm(values))
    return values / length if length else values


class ItemRows(NamedTuple):
    """Profiles in memory.

    Args:
        items: (n,) ascending.
        sizes: (n,) how many terms each has.
        terms: those of one item after the other.
        values: of each term.
    """

    items: Ints
    sizes: NDArray[np.int64]
    terms: Ints
    values: NDArray[np.float32]

    @classmethod
    def of(cls, profiles: DataFrame) -> ItemRows:
        """PROFILES, brought to the driver."""
        table = profiles.select("item", "terms", "numbers").toArrow().sort_by("item")
        terms = [as_array(each, np.int32) for each in table.column("terms")]
        values = [as_array(each, np.float32) for each in table.column("numbers")]
        return cls(
            table.column("item").to_numpy().astype(np.int32),
            np.array([len(each) for each in terms], np.int64),
            np.concatenate([np.empty(0, np.int32), *terms]),
            np.concatenate([np.empty(0, np.float32), *values]),
        )

    @property
    def links(self) -> Links:
        """From each item to its terms."""
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.sizes, dtype=np.int64)])
        return Links(offsets, self.terms, self.values)


def unpacked(profiles: DataFrame) -> DataFrame:
    """HISTORY of PROFILES: items in the place of users, terms in the place of items."""
    return profiles.select("item", "terms", "numbers").mapInArrow(_unpacked, HISTORY)


def _unpacked(batches: Batches) -> Batches:
    for batch in batches:
        items, terms, numbers = batch.columns
        for at in range(len(batch)):
            places = as_array(terms[at], np.int32)
            owner = np.full(len(places), items[at].as_py(), np.int32)
            yield batch_of(HISTORY, owner, places, as_array(numbers[at], np.float32))


__all__ = [
    "PROFILES", "ItemRows", "Vocabulary", "profiles_of", "terms_of", "unpacked",
    "vocabulary_of",
]  # fmt: skip
