"""Dense numbers for ids: append-only, from 0, in order of the id among those that are new.

No id reaches the driver and no window is without a partition: the new ids are sorted by range
over the cluster and written once; then each partition's rows are counted, and an id's number is
what its partitions before hold plus its place in its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from recpipe.errors import CheckError, InputError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from recpipe.storage import Folder

_MOST = 2**31 - 1
_PLACE_BITS = 33
"""monotonically_increasing_id: the partition above this many bits, the place in it below."""


@dataclass(frozen=True)
class Extended:
    """An id table with its new ids.

    Args:
        frame: (id, number) of known and new ids.
        new: how many ids are new.
        total: how many there are.
    """

    frame: DataFrame
    new: int
    total: int


def extend(
    known: DataFrame | None, seen: DataFrame, *, id: str, number: str, scratch: Folder
) -> Extended:
    """The ids of `known` with their numbers, and those that only `seen` has with the next ones.

    Args:
        known: (id, number), numbers dense from 0; None if there are none yet.
        seen: a column `id` of the same type, each id once.
        id: name of the id column.
        number: name of the number column.
        scratch: where the sorted new ids are kept while they are counted. They are written once,
            since sorting them again could cut the ranges elsewhere.

    New ids are numbered in their order: longs by value, strings by their UTF-8 bytes.

    Raises:
        InputError: if there are more ids than int32 has numbers.
    """
    fresh = seen.select(id)
    if known is not None:
        fresh = fresh.join(known, id, "left_anti")
    placed = fresh.sort(id).withColumn("place", F.monotonically_increasing_id())
    placed = scratch.write_table(f"new-{number}", placed)

    partition = F.shiftright("place", _PLACE_BITS)
    counts = placed.groupBy(partition.alias("partition")).count().collect()
    before = 0 if known is None else known.count()
    starts, start = [], before
    for number_of_partition, count in sorted((row[0], row[1]) for row in counts):
        starts.append((number_of_partition, start))
        start += count
    if start > _MOST:
        raise InputError(f"{start:,} distinct {id}s", hint=f"at most {_MOST:,} can be numbered")
    if start == before and known is not None:
        return Extended(known, new=0, total=before)
    offsets = placed.sparkSession.createDataFrame(starts, "partition bigint, start bigint")
    place = F.col("place").bitwiseAND(F.lit((1 << _PLACE_BITS) - 1))
    numbered = (
        placed.withColumn("partition", partition)
        .join(F.broadcast(offsets), "partition")
        .select(id, (F.col("start") + place).cast("int").alias(number))
    )
    frame = numbered if known is None else known.unionByName(numbered)
    return Extended(frame, new=start - before, total=start)


def first(seen: DataFrame, *, id: str, number: str) -> DataFrame:
    """(id, number) where no id is known yet and `seen` has all in order, in one partition."""
    place = F.monotonically_increasing_id().cast("int")
    return seen.select(id, place.alias(number))


def check_dense(table: DataFrame, *, id: str, number: str, total: int | None = None) -> int:
    """How many ids there are, once they are distinct and numbered 0 to total - 1.

    Args:
        table: (id, number).
        id: name of the id column.
        number: name of the number column.
        total: how many there should be, where that is known.

    Raises:
        CheckError: if they are not.
    """
    row = table.agg(
        F.count(F.lit(1)),
        F.count_distinct(id),
        F.count_distinct(number),
        F.min(number),
        F.max(number),
    ).collect()[0]
    rows, ids, numbers, least, most = row
    total = rows if total is None else total
    if tuple(row) != (total, total, total, 0, total - 1):
        raise CheckError(
            f"numbers of {id}: {rows} rows with {ids} ids and {numbers} numbers, {least} to"
            f" {most}; expected 0 to {total - 1}",
            hint="the tables under this root are damaged: ingest into a new root",
        )
    return int(total)
