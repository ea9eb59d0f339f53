"""Users and items that train does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame


def keep_known(part: DataFrame, train: DataFrame, *, keys: Sequence[str]) -> DataFrame:
    """The rows of `part` whose `user`, `item` or both (`keys`) have a row in `train`.

    Each key is looked up in train alone, so the order of the keys does not matter.
    """
    for key in keys:
        # A join on a name moves that column to the front.
        known = train.select(key).distinct()
        part = part.join(known, key, how="left_semi").select(*part.columns)
    return part
