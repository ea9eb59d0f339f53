"""Ratings packed by user and by item: a few rows of large binary columns.

The input is read once. What comes of it does not depend on how it was partitioned: rows are
ordered by id, and the ratings of a row by the other side's id, then by value.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from pyspark.sql import functions as F

from recpipe.errors import FitError, nothing_to_fit
from recpipe.kernels import weighed
from recpipe.kernels.ids import by_group
from recpipe.kernels.rows import order_of
from recpipe.models.als.block.blocks import Side
from recpipe.spark.chunks import ITEM, USER, chunked, chunks_of, counts, ratings_by_id
from recpipe.spark.columns import arrow_row, arrow_rows, as_array
from recpipe.spark.held import cached

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark import Broadcast
    from pyspark.sql import Column, DataFrame, SparkSession

    from recpipe.kernels.ids import Counts
    from recpipe.spark.columns import Batches
    from recpipe.spark.interactions import Interactions

    Ints = NDArray[np.int32]
    Longs = NDArray[np.int64]
    Floats = NDArray[np.float32]
    Sides = tuple[Side, Side]
    _Part = tuple[Ints, Ints, NDArray[Any]]

NAMES = ("user", "item")

_SENT = "task int, block int, side int, own binary, other binary, value binary"
PACKED_BLOCKS = "block int, " + ", ".join(
    f"{name}_{part} binary" for name in NAMES for part in ("offsets", "columns", "values")
)
"""One row a block: for its users, and for its items, where each one's ratings start (int64), the
other side's position (int32) of each rating, and values (float32) as `Rows` has them."""


@dataclass(frozen=True, eq=False)
class Packed:
    """The ratings of a fit, valid inside `counted`; to be let go by `release`.

    `sent` is to be read once, with `rows_of`; `blocks` is the same, packed and cached, to be read
    in every iteration.

    Args:
        name: of the model, for errors.
        sent: _SENT, a partition for the blocks of each task.
        sides: users and items.
        index: the same, broadcast.
        ratings: how many.
    """

    name: str
    sent: DataFrame
    sides: Sides
    index: Broadcast[Sides]
    ratings: int

    @property
    def tasks(self) -> int:
        return self.sides[USER].tasks

    @cached_property
    def blocks(self) -> DataFrame:
        """PACKED_BLOCKS, one row a block, cached: for whoever reads it again and again."""
        return cached(self.sent.mapInArrow(partial(_packed, index=self.index), PACKED_BLOCKS))

    def refuse(self, side: int, position: int) -> NoReturn:
        """A row without an answer ends the fit.

        Raises:
            FitError: always.
        """
        raise FitError(
            f"{self.name}: the factors of {NAMES[side]} {self.sides[side].ids[position]} are not"
            " determined",
            hint="raise regularization",
        )

    def release(self) -> None:
        if "blocks" in self.__dict__:
            self.blocks.unpersist()
        self.index.unpersist()


@dataclass(frozen=True, eq=False)
class Rows:
    """The ratings of some rows of one side.

    Args:
        offsets: (rows + 1,) where each row's ratings start.
        columns: the other side's position of each rating, ascending within a row.
        values: (ratings,) and, where ratings weigh, behind them what each weighs.
    """

    offsets: Longs
    columns: Ints
    values: Floats

    @classmethod
    def of(cls, own: Ints, other: Ints, values: NDArray[Any], *, rows: int) -> Rows:
        """Sort ratings, whose `own` are rows from 0, into rows.

        Args:
            own: of each rating.
            other: of each rating.
            values: of either kind of `kernels.weighed`.
            rows: how many there are.
        """
        order = order_of(own, other, shape=(rows, int(other.max(initial=-1)) + 1))
        own_sorted, other_sorted = own[order], other[order]
        same = (own_sorted[1:] == own_sorted[:-1]) & (other_sorted[1:] == other_sorted[:-1])
        if same.any():
            # A pair that occurs twice counts twice, in an order of its own.
            keys = (values,) if values.dtype.names is None else (values["weight"], values["rating"])
            order = np.lexsort((*keys, other, own))
        offsets = np.zeros(rows + 1, np.int64)
        np.cumsum(np.bincount(own, minlength=rows), out=offsets[1:])
        return cls(offsets, other[order], weighed.flat(values[order]))

    @classmethod
    def at(cls, batch: pa.RecordBatch | pa.Table, row: int, name: str) -> Rows:
        """Those of one side in a row of PACKED_BLOCKS."""
        offsets, columns, values = (
            batch.column(f"{name}_{part}")[row] for part in ("offsets", "columns", "values")
        )
        return cls(
            as_array(offsets, np.int64), as_array(columns, np.int32), as_array(values, np.float32)
        )


def columns_of(side: int) -> list[str]:
    """The columns of PACKED_BLOCKS that speak of one side."""
    return ["block", *(f"{NAMES[side]}_{part}" for part in ("offsets", "columns", "values"))]


@dataclass(frozen=True, eq=False)
class Counted:
    """Ratings as chunks, cached, and how many each user and item has.

    Args:
        name: of the model, for errors.
        chunks: `chunks.CHUNKS`.
        counts: of users and items: (ids in no order, ratings of each).
    """

    name: str
    chunks: DataFrame
    counts: tuple[Counts, Counts]

    @property
    def ratings(self) -> int:
        return int(self.counts[USER][1].sum())

    def pack(self, *, blocks: int, tasks: int, rank: int) -> Packed:
        """The ratings by user and by item, in blocks that tasks share out.

        Args:
            blocks: of users and of items.
            tasks: at most `blocks`.
            rank: number of factors, by which the work of a block is known.
        """
        users, items = (
            Side.of(ids, n, blocks=blocks, tasks=tasks, rank=rank) for ids, n in self.counts
        )
        spark = self.chunks.sparkSession
        index = spark.sparkContext.broadcast((users, items))
        sent = (
            self.chunks.mapInArrow(partial(_send, index=index), _SENT)
            .unionAll(_one_a_block(spark, users))
            .repartitionById(tasks, "task")
        )
        return Packed(self.name, sent, (users, items), index, self.ratings)


@contextmanager
def counted(ratings: Interactions, *, name: str, weight: Column | None = None) -> Iterator[Counted]:
    """Read the ratings once; their chunks are let go when the `with` statement ends.

    Args:
        ratings: (user int, item int, rating float).
        name: of the model, for errors.
        weight: of each rating, for an explicit objective; None: all weigh the same.

    Raises:
        FitError: if there is no rating.
    """
    with chunked(ratings, weight=weight) as (chunks, number):
        if not number:
            raise nothing_to_fit(name)
        table = ratings_by_id(chunks)
        yield Counted(name, chunks, (counts(table, USER), counts(table, ITEM)))


def _one_a_block(spark: SparkSession, side: Side) -> DataFrame:
    """A row for each block, so that one without ratings is there too."""
    none = F.lit(bytearray())
    block = F.col("id").cast("int")
    task = F.floor(block * F.lit(side.tasks) / F.lit(side.blocks)).cast("int")
    return spark.range(0, side.blocks, 1, 1).select(
        task.alias("task"),
        block.alias("block"),
        F.lit(USER).alias("side"),
        none.alias("own"),
        none.alias("other"),
        none.alias("value"),
    )


def _send(batches: Batches, *, index: Broadcast[Sides]) -> Batches:
    """Map side of the shuffle: a chunk to one row of arrays a side and block."""
    sides = index.value
    for *ids, rating in chunks_of(batches):
        at = [side.find(own) for side, own in zip(sides, ids, strict=True)]
        for number, side in enumerate(sides):
            own, other = at[number], at[1 - number]
            block, order, ends = by_group(side.block_of(own), side.blocks)
            arrays = (array[order] for array in (own, other, rating))
            yield arrow_rows(_SENT, ends, side.task_of(block), block, number, *arrays)


def rows_of(batches: Batches, sides: Sides) -> Iterator[tuple[int, tuple[Rows, Rows]]]:
    """(block, its users' and its items' ratings) of what was sent to a task, block by block."""
    received: dict[int, tuple[list[_Part], ...]] = {}
    for batch in batches:
        for row in range(batch.num_rows):
            block, side = (batch.column(name)[row].as_py() for name in ("block", "side"))
            own, other = (as_array(batch.column(name)[row], np.int32) for name in ("own", "other"))
            floats = as_array(batch.column("value")[row], np.float32)
            values = weighed.read(floats, len(own))
            received.setdefault(block, ([], []))[side].append((own, other, values))
    for block in sorted(received):
        users, items = (
            _sorted(parts, side.range_of(block))
            for side, parts in zip(sides, received.pop(block), strict=True)
        )
        yield block, (users, items)


def _sorted(parts: list[_Part], place: slice) -> Rows:
    none = np.empty(0, np.int32)
    own, other = (np.concatenate([none, *(part[side] for part in parts)]) for side in (0, 1))
    values = weighed.joined(part[2] for part in parts)
    return Rows.of(own - place.start, other, values, rows=place.stop - place.start)


def _packed(batches: Batches, *, index: Broadcast[Sides]) -> Batches:
    for block, sides in rows_of(batches, index.value):
        arrays = [array for rows in sides for array in (rows.offsets, rows.columns, rows.values)]
        yield arrow_row(PACKED_BLOCKS, block, *arrays)


__all__ = [
    "ITEM",
    "NAMES",
    "PACKED_BLOCKS",
    "USER",
    "Counted",
    "Packed",
    "Rows",
    "columns_of",
    "counted",
    "rows_of",
]
