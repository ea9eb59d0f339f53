"""Where users and items go, by their ratings, in one pass over the chunks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from recpipe.models.sgd.grid import ItemTable, UserRule
from recpipe.spark.chunks import ITEM, USER, counts, ratings_by_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import DataFrame

    from recpipe.models.sgd.grid import Grid
    from recpipe.spark.chunks import Part

_LIGHT = 2
"""Beside USER and ITEM, and with blocks in place of ids: the ratings of all users who are not
heavy, by the block of their hash."""


def placed(chunks: DataFrame, grid: Grid, *, ratings: int) -> tuple[ItemTable, UserRule]:
    """Items and users in blocks of nearly equal numbers of ratings.

    The driver sees every item, as it does their factors, but only the users with so many ratings
    that they weigh.

    Args:
        chunks: `chunks.CHUNKS` of the ratings to be fitted.
        grid: the blocks.
        ratings: how many there are.
    """
    threshold = UserRule.threshold(ratings, blocks=grid.blocks)
    table = ratings_by_id(
        chunks,
        # All users are in the only block that there is.
        sides=(USER, ITEM) if grid.blocks > 1 else (ITEM,),
        transform=partial(_loads, blocks=grid.blocks, threshold=threshold),
    )
    items = ItemTable.of(*counts(table, ITEM), blocks=grid.item_blocks)
    light = np.zeros(grid.blocks, np.int64)
    np.add.at(light, *counts(table, _LIGHT))
    return items, UserRule.of(*counts(table, USER), light=light)


def _loads(part: Part, *, blocks: int, threshold: int) -> Iterator[Part]:
    side, ids, times = part
    if side == ITEM:
        yield part
        return
    heavy = times > threshold
    yield USER, ids[heavy], times[heavy]
    light = np.zeros(blocks, np.int64)
    np.add.at(light, UserRule.hashed(blocks).block(ids[~heavy]), times[~heavy])
    yield _LIGHT, np.arange(blocks, dtype=np.int32), light


__all__ = ["placed"]
