"""Ratings that come in parts: somebody else has split them into train, test and maybe validation.

The table of ratings is all of them together, as it is of any source; a table beside it says which
part each pair was given in (docs/decisions/0016-given-parts.md).
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recpipe.contracts import GIVEN_PARTS, RATINGS
from recpipe.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recpipe.storage import Folder, Replacement

_EXAMPLE = ("user_id", "item_id", "in_parts")


def write_in_parts(
    replacement: Replacement, ratings: Mapping[str, DataFrame], *, scratch: Folder
) -> tuple[DataFrame, dict[str, int]]:
    """Write the tables `ratings` and `parts`.

    Args:
        replacement: of the tables.
        ratings: of each part, as contracts.RATINGS, each pair once.
        scratch: where all of them are kept while they are looked at.

    Returns:
        The ratings as read back, and how many there are in each part.

    Raises:
        InputError: if a pair is in two parts.
    """
    tagged = [frame.withColumn("part", F.lit(part)) for part, frame in ratings.items()]
    given = scratch.write_table("given", reduce(DataFrame.unionByName, tagged))
    _refuse_pairs_in_two_parts(given)
    written = replacement.write(RATINGS, given.select(*RATINGS.columns))
    parts = replacement.write(GIVEN_PARTS, given.select(*GIVEN_PARTS.columns))
    in_each = (F.count_if(F.col("part") == part) for part in ratings)
    _, *counts = GIVEN_PARTS.measure(parts, *in_each)
    return written, dict(zip(ratings, map(int, counts), strict=True))


def _refuse_pairs_in_two_parts(given: DataFrame) -> None:
    """Raise InputError if a model would be evaluated on a pair that it learns from."""
    in_parts = F.array_sort(F.collect_list("part")).alias("in_parts")
    pairs = given.groupBy("user_id", "item_id").agg(in_parts).where(F.size("in_parts") > 1)
    count, example = pairs.agg(F.count(F.lit(1)), F.min(F.struct(*_EXAMPLE))).collect()[0]
    if count:
        raise InputError(
            f"{count:,} pairs of a user and an item are in two parts, such as user"
            f" {example.user_id} and item {example.item_id}, in {' and '.join(example.in_parts)}",
            hint="give each pair in one part",
        )


__all__ = ["write_in_parts"]
