"""What is known of items before lists are evaluated: a few numbers an item, on the driver."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.sql import functions as F

from recpipe.evaluation.metrics.base import ItemFacts
from recpipe.runtime.parallel import run_all
from recpipe.spark.interactions import frame_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.models.base import Vectors
    from recpipe.spark.interactions import Interactions

logger = logging.getLogger(__name__)

_MAX_VECTOR_BYTES = 128 << 20
"""Of all vectors together: they go to every task."""


def item_facts(
    train: Interactions,
    *,
    items: int,
    users: int,
    genres: DataFrame | None = None,
    vectors: Vectors | None = None,
) -> ItemFacts:
    """What `metrics.base.ItemFacts` says, of items numbered from 0.

    Args:
        train: (user, item, ...), one row a pair.
        items: how many items there are.
        users: how many users have a row in `train`.
        genres: (item, genre), one row a genre of an item; None where nothing is known.
        vectors: of a fitted model; None where there are none. More than 128 MB of them are left
            out, said in the log.
    """
    work: list[Callable[[], Any]] = [
        partial(_raters, frame_of(train), items),
        partial(_genres, genres, items),
        partial(_vectors, vectors, items),
    ]
    raters, (of_genres, names), of_factors = run_all(work)
    return ItemFacts(raters, users, of_genres, of_factors, names)


def _raters(train: DataFrame, items: int) -> NDArray[np.int64]:
    counted = train.groupBy("item").agg(F.count("*").alias("raters")).toArrow()
    found = np.zeros(items, np.int64)
    found[counted["item"].to_numpy()] = counted["raters"].to_numpy()
    return found


def _genres(
    genres: DataFrame | None, items: int
) -> tuple[NDArray[np.bool_] | None, tuple[str, ...]]:
    if genres is None:
        return None, ()
    rows = genres.select("item", "genre").toArrow()
    if not len(rows):
        return None, ()
    encoded = rows["genre"].combine_chunks().dictionary_encode()
    found = np.zeros((items, len(encoded.dictionary)), bool)
    found[rows["item"].to_numpy(), encoded.indices.to_numpy()] = True
    return found, tuple(encoded.dictionary.to_pylist())


def _vectors(vectors: Vectors | None, items: int) -> NDArray[np.float32] | None:
    if vectors is None:
        return None
    size = 4 * vectors.width * items
    if size > _MAX_VECTOR_BYTES:
        logger.info("no diversity by factors: %d items have %d MB of them", items, size >> 20)
        return None
    rows = vectors.rows.toArrow()
    found = np.zeros((items, vectors.width), np.float32)
    factors = rows["factors"].combine_chunks().flatten().to_numpy()
    found[rows["item"].to_numpy()] = factors.reshape(-1, vectors.width)
    return found


__all__ = ["item_facts"]
