"""Which features users and items have: a sparse matrix for each side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pyspark.sql import functions as F
from scipy import sparse

from recpipe.kernels import ids
from recpipe.models.features import item_terms

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.models.data import ItemFeatures, UserFeatures
    from recpipe.models.features import Source
    from recpipe.models.hybrid.settings import Embedding, HybridSettings

    Ints = NDArray[np.int32]

EVERYONE = "everyone"
"""The source of the one feature that all of a side have: the mean of the side."""

_YEARS_OF_A_DECADE = 10


@dataclass(frozen=True, eq=False)
class Features:
    """The features of one side.

    Memory is 8 bytes for each feature that each user or item has.

    Args:
        ids: (n,) ascending: all that have likings or a feature.
        names: of the features: the source and the term of each.
        matrix: (n, f) 1 where the user or item has the feature, else 0.
        learned: (f,) whether the embedding is learned; else it is constant.
    """

    ids: Ints
    names: tuple[tuple[str, str], ...]
    matrix: sparse.csr_matrix
    learned: NDArray[np.bool_]

    def of(self, wanted: Ints) -> sparse.csr_matrix:
        """(m, f) of some of the ids."""
        return self.matrix[ids.positions(self.ids, wanted)]


def features_of(
    terms: DataFrame | None,
    rated: Ints,
    kinds: dict[str, Embedding],
    *,
    min_count: int,
) -> Features:
    """The features of a side, and one that all have.

    Args:
        terms: (id int, source string, term string), distinct; None for none.
        rated: ids with likings.
        kinds: what becomes of the embeddings of each source.
        min_count: the least ids of a feature.
    """
    if terms is None:
        found, sources, names = np.empty(0, np.int32), np.empty(0, object), np.empty(0, object)
    else:
        table = terms.select("id", "source", "term").toArrow()
        found = table.column("id").to_numpy().astype(np.int32)
        sources, names = (
            np.array(table.column(name).to_pylist(), object) for name in ("source", "term")
        )
    everyone = ids.distinct(np.concatenate([rated.astype(np.int32), found]))
    pairs = sorted({*zip(sources.tolist(), names.tolist(), strict=True)})
    place = {pair: at for at, pair in enumerate(pairs)}
    columns = np.array(
        [place[pair] for pair in zip(sources.tolist(), names.tolist(), strict=True)], np.int64
    )
    often = np.bincount(columns, minlength=len(pairs)) >= min_count
    kept = often[columns] if len(columns) else np.zeros(0, bool)
    renumbered = np.cumsum(often) - 1
    rows = ids.positions(everyone, found[kept])
    n, width = len(everyone), int(often.sum()) + 1
    # Every row has the last column.
    rows = np.concatenate([rows, np.arange(n)])
    columns = np.concatenate([renumbered[columns[kept]], np.full(n, width - 1)])
    matrix = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(n, width))
    left = [pair for pair, enough in zip(pairs, often, strict=True) if enough]
    learned = [kinds[source] == "learned" for source, _ in left]
    return Features(everyone, (*left, (EVERYONE, "")), matrix, np.array([*learned, True]))


def kinds_of(settings: HybridSettings) -> dict[str, Embedding]:
    """What becomes of the embeddings of each source."""
    return {
        "genre": settings.genres,
        "title": settings.title,
        "year": settings.decade,
        "tag": settings.tags,
        "genome": settings.genome,
        "age": settings.age,
        "gender": settings.gender,
        "occupation": settings.occupation,
    }


def item_features(items: ItemFeatures, settings: HybridSettings) -> DataFrame | None:
    """(id int, source string, term string) of what settings want of items."""
    every: tuple[Source, ...] = ("genre", "title", "year", "tag", "genome")
    kinds = kinds_of(settings)
    wanted = [source for source in every if kinds[source] != "none"]
    terms = item_terms(items, wanted, relevance_from=settings.genome_from)
    return None if terms is None else terms.select(F.col("item").alias("id"), "source", "term")


def user_features(users: UserFeatures, settings: HybridSettings) -> DataFrame | None:
    """(id int, source string, term string) of what settings want of users."""
    profiles = users.profiles()
    kinds = kinds_of(settings)
    wanted = [name for name in ("age", "gender", "occupation") if kinds[name] != "none"]
    if profiles is None or not wanted:
        return None
    decade = F.floor(F.col("age") / _YEARS_OF_A_DECADE) * _YEARS_OF_A_DECADE
    terms = {
        "age": F.concat(decade.cast("string"), F.lit("s")),
        "gender": F.col("gender"),
        "occupation": F.col("occupation"),
    }
    rows = F.explode(
        F.array(
            *(F.struct(F.lit(name).alias("source"), terms[name].alias("term")) for name in wanted)
        )
    )
    found = profiles.select(F.col("user").alias("id"), rows.alias("row")).select("id", "row.*")
    return found.where("term IS NOT NULL").distinct()


__all__ = ["EVERYONE", "Features", "features_of", "item_features", "kinds_of", "user_features"]
