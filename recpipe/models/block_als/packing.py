"""Ratings packed once, by user and by item: a few rows of large binary columns.

The input is read once. What comes of it does not depend on how it was partitioned: rows are
ordered by id, and the ratings of a row by the other side's id, then by value.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import functions as F

from recpipe.errors import FitError
from recpipe.models.arrow import arrow_row, as_array
from recpipe.models.block_als.blocks import Side, number_of_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

    from recpipe.models.arrow import Batches
    from recpipe.settings import Blocks

    Ints = NDArray[np.int32]
    Longs = NDArray[np.int64]
    Floats = NDArray[np.float32]
    Sides = tuple[Side, Side]

USER, ITEM = 0, 1
NAMES = ("user", "item")

_GATHERED_ROWS = 1 << 20
_CHUNKS = "pair binary, rating binary"
_COUNTED = "side int, part int, ids binary, counts binary"
_SENT = "block int, side int, own binary, other binary, value binary"
PACKED = "block int, " + ", ".join(
    f"{name}_{part} binary" for name in NAMES for part in ("offsets", "columns", "values")
)
"""One row a block: for its users, and for its items, where each one's ratings start (int64), the
other side's position (int32) and the value (float32) of each rating."""


@dataclass(frozen=True, eq=False)
class Packed:
    """The ratings of a fit, cached on the executors until `release`.

    Args:
        blocks: PACKED, one row a block, each in a partition of its own.
        sides: users and items.
        index: the same, broadcast.
        ratings: how many.
    """

    blocks: DataFrame
    sides: Sides
    index: Broadcast[Sides]
    ratings: int

    def release(self) -> None:
        self.blocks.unpersist()
        self.index.unpersist()


@dataclass(frozen=True, eq=False)
class Rows:
    """The ratings of some rows of one side.

    Args:
        offsets: (rows + 1,) where each row's ratings start.
        columns: the other side's position of each rating, ascending within a row.
        values: (ratings,)
    """

    offsets: Longs
    columns: Ints
    values: Floats

    @classmethod
    def of(cls, own: Ints, other: Ints, values: Floats, *, rows: int) -> Rows:
        """Sort ratings, whose `own` are rows from 0, into rows."""
        key = (own.astype(np.int64) << 32) | other
        order = np.argsort(key)
        key = key[order]
        if (key[1:] == key[:-1]).any():
            # A pair that occurs twice counts twice, in an order of its own.
            order = np.lexsort((values, other, own))
        offsets = np.zeros(rows + 1, np.int64)
        np.cumsum(np.bincount(own, minlength=rows), out=offsets[1:])
        return cls(offsets, other[order], values[order])

    @classmethod
    def at(cls, batch: pa.RecordBatch | pa.Table, row: int, name: str) -> Rows:
        """Those of one side in a row of PACKED."""
        offsets, columns, values = (
            batch.column(f"{name}_{part}")[row] for part in ("offsets", "columns", "values")
        )
        return cls(
            as_array(offsets, np.int64), as_array(columns, np.int32), as_array(values, np.float32)
        )


def columns_of(side: int) -> list[str]:
    """The columns of PACKED that speak of one side."""
    return ["block", *(f"{NAMES[side]}_{part}" for part in ("offsets", "columns", "values"))]


def pack(ratings: DataFrame, *, name: str, blocks: Blocks, rank: int) -> Packed:
    """Read the ratings once, shuffle them by user and by item, and cache them as blocks.

    Args:
        ratings: (user int, item int, rating float).
        name: of the model, for errors.
        blocks: the setting.
        rank: number of factors, for the number of blocks.

    Raises:
        FitError: if there is no rating.
        MissingError: if a block is more than one task can hold.
    """
    context = ratings.sparkSession.sparkContext
    with ExitStack() as undo:
        pair = F.shiftleft(F.col("user").cast("long"), 32).bitwiseOR(
            F.col("item").cast("long").bitwiseAND(F.lit(0xFFFFFFFF))
        )
        chunks = (
            ratings.select(pair.alias("pair"), F.col("rating").cast("float"))
            .mapInArrow(_gather, _CHUNKS)
            .persist(StorageLevel.MEMORY_AND_DISK)
        )
        undo.callback(chunks.unpersist)
        counted = [_counts(chunks, side, parts=context.defaultParallelism) for side in (USER, ITEM)]
        count = int(counted[USER][1].sum())
        if not count:
            raise FitError(f"{name}: no rating to fit", hint="look at train and preference_from")
        number = number_of_blocks(
            blocks, ratings=count, rank=rank, cores=context.defaultParallelism
        )
        users, items = (Side.of(ids, n, blocks=number, rank=rank) for ids, n in counted)
        index = context.broadcast((users, items))
        packed = (
            chunks.mapInArrow(partial(_send, index=index), _SENT)
            .unionAll(_one_a_block(chunks, number))
            .repartitionById(number, "block")
            .mapInArrow(partial(_pack_block, index=index), PACKED)
            .persist(StorageLevel.MEMORY_AND_DISK)
        )
        whole = Packed(packed, (users, items), index, count)
        try:
            packed.select("block").collect()
        except BaseException:
            whole.release()
            raise
        return whole


def _gather(batches: Batches) -> Batches:
    """Rows to chunks of many, as two arrays."""

    def chunk() -> pa.RecordBatch:
        table = pa.Table.from_batches(held)
        rating = np.asarray(table.column("rating").to_numpy(), np.float32)
        return arrow_row(_CHUNKS, table.column("pair").to_numpy(), rating)

    held: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        held.append(batch)
        size += batch.num_rows
        if size >= _GATHERED_ROWS:
            yield chunk()
            held, size = [], 0
    if size:
        yield chunk()


def _ids(pair: Longs, side: int) -> Ints:
    """The ids of one side: the upper half of a pair, or the lower."""
    ids: Ints = (pair >> 32 if side == USER else pair).astype(np.int32)
    return ids


def _counts(chunks: DataFrame, side: int, *, parts: int) -> tuple[Ints, Longs]:
    """The ids of one side, in no order, and the number of ratings of each."""
    counted = (
        chunks.select("pair")
        .mapInArrow(partial(_count, side=side, parts=parts), _COUNTED)
        .repartitionById(parts, "part")
        .mapInArrow(_add_counts, _COUNTED)
        .select("ids", "counts")
        .toArrow()
    )
    ids = [as_array(value, np.int32) for value in counted.column("ids")]
    counts = [as_array(value, np.int64) for value in counted.column("counts")]
    none = np.empty(0)
    return (
        np.concatenate([none.astype(np.int32), *ids]),
        np.concatenate([none.astype(np.int64), *counts]),
    )


def _count(batches: Batches, *, side: int, parts: int) -> Batches:
    for batch in batches:
        for value in batch.column("pair"):
            found, counts = np.unique_counts(_ids(as_array(value, np.int64), side))
            for part in range(parts):
                mine = found % parts == part
                yield arrow_row(_COUNTED, side, part, found[mine], counts[mine].astype(np.int64))


def _add_counts(batches: Batches) -> Batches:
    ids, counts = [np.empty(0, np.int32)], [np.empty(0, np.int64)]
    for batch in batches:
        ids += [as_array(value, np.int32) for value in batch.column("ids")]
        counts += [as_array(value, np.int64) for value in batch.column("counts")]
    found, place = np.unique_inverse(np.concatenate(ids))
    sums = np.zeros(len(found), np.int64)
    np.add.at(sums, place, np.concatenate(counts))
    yield arrow_row(_COUNTED, 0, 0, found, sums)


def _one_a_block(like: DataFrame, blocks: int) -> DataFrame:
    """A row for each block, so that one without ratings is there too."""
    none = F.lit(bytearray())
    return like.sparkSession.range(0, blocks, 1, 1).select(
        F.col("id").cast("int").alias("block"),
        F.lit(USER).alias("side"),
        none.alias("own"),
        none.alias("other"),
        none.alias("value"),
    )


def _send(batches: Batches, *, index: Broadcast[Sides]) -> Batches:
    """Map side of the shuffle: a chunk to one row of arrays a side and block."""
    sides = index.value
    for batch in batches:
        for row in range(batch.num_rows):
            pair = as_array(batch.column("pair")[row], np.int64)
            rating = as_array(batch.column("rating")[row], np.float32)
            at = [side.find(_ids(pair, number)) for number, side in enumerate(sides)]
            for number, side in enumerate(sides):
                own, other = at[number], at[1 - number]
                for block, mine in _by_block(side, own):
                    yield arrow_row(_SENT, block, number, own[mine], other[mine], rating[mine])


def _by_block(side: Side, at: Ints) -> Iterator[tuple[int, Longs]]:
    """(block, which of `at` are in it), without the blocks that none is in."""
    block = side.block_of(at)
    order = np.argsort(block, kind="stable")
    ends = np.cumsum(np.bincount(block, minlength=side.blocks))
    for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        if end > start:
            yield number, order[start:end]


def _pack_block(batches: Batches, *, index: Broadcast[Sides]) -> Batches:
    """Reduce side: everything of one block, sorted."""
    received: tuple[list[tuple[Ints, Ints, Floats]], ...] = ([], [])
    blocks = set()
    for batch in batches:
        for row in range(batch.num_rows):
            blocks.add(batch.column("block")[row].as_py())
            received[batch.column("side")[row].as_py()].append(
                (
                    as_array(batch.column("own")[row], np.int32),
                    as_array(batch.column("other")[row], np.int32),
                    as_array(batch.column("value")[row], np.float32),
                )
            )
    if not blocks:
        return
    (block,) = blocks  # a partition is one block
    arrays: list[NDArray[np.generic]] = []
    for side, parts in zip(index.value, received, strict=True):
        none = np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32)
        own, other, values = (np.concatenate(column) for column in zip(none, *parts, strict=True))
        place = side.range_of(block)
        rows = Rows.of(own - place.start, other, values, rows=place.stop - place.start)
        arrays += [rows.offsets, rows.columns, rows.values]
        parts.clear()
    yield arrow_row(PACKED, block, *arrays)


__all__ = ["ITEM", "NAMES", "PACKED", "USER", "Packed", "Rows", "columns_of", "pack"]
