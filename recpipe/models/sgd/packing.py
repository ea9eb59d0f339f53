"""Ratings packed once into the cells of a grid: a few rows of large binary columns.

A pass over packed cells costs a copy of memory, where one over rows of ratings costs a conversion
of each. The result does not depend on how the input was partitioned, or on the order in which a
shuffle delivered it: every cell is sorted by user, then item.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from recpipe.errors import FitError
from recpipe.kernels import weighed
from recpipe.kernels.ids import by_group
from recpipe.kernels.sgd import ITEMS, USERS
from recpipe.models.sgd.cells import Block, Cell, Ratings
from recpipe.models.sgd.units import PLAIN, Units
from recpipe.spark.chunks import chunks_of, in_chunks
from recpipe.spark.columns import arrow_row, arrow_rows, as_array, factor_rows, factor_schema
from recpipe.spark.held import cached

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyspark.sql import DataFrame

    from recpipe.models.sgd.grid import Grid, ItemTable, UserRule
    from recpipe.spark.columns import Batches
    from recpipe.spark.interactions import Interactions

_IDS = "number int, ids binary"
_SHUFFLED = "block int, validation boolean, user binary, place binary, rating binary"
_CELL = tuple(f"{part}_{c}" for part in ("train", "validation") for c in ("user", "item", "rating"))
CELLS = (
    "block int, step int, users int, train_rows long, validation_rows long, rating_sum double, "
    "weight_sum double, duplicate string, user_ids binary, "
    + ", ".join(f"{column} binary" for column in _CELL)
)
"""One row a cell, and one a block, of step -1, with the number and ids of its users."""

_COUNTS = (
    "block", "step", "users", "train_rows", "validation_rows", "rating_sum", "weight_sum",
    "duplicate",
)  # fmt: skip
_IDS_STEP = -1


@dataclass(frozen=True)
class Packed:
    """The cells of a fit, cached on the executors until `release`.

    Args:
        cells: CELLS, partition b holding user block b.
        grid: the blocks.
        items: where each item is.
        users: number of users of each block.
        train_rows: ratings to be fitted.
        validation_rows: validation ratings whose user and item both occur in train.
        mean: of the train ratings, by what they weigh; the same to the bit for the same grid.
    """

    cells: DataFrame
    grid: Grid
    items: ItemTable
    users: tuple[int, ...]
    train_rows: int
    validation_rows: int
    mean: float

    def release(self) -> None:
        self.cells.unpersist()

    def user_ids(self) -> DataFrame:
        """(number int, ids binary): the int32 ids of each user block, in the order of its rows."""
        return self.cells.where(F.col("step") == _IDS_STEP).select(
            F.col("block").alias("number"), F.col("user_ids").alias("ids")
        )


def pack(
    chunks: DataFrame,
    validation: Interactions | None,
    *,
    grid: Grid,
    items: ItemTable,
    users: UserRule,
    units: Units = PLAIN,
) -> Packed:
    """Shuffle the ratings once, by user block, and cache them as sorted cells.

    Validation ratings lie in the cells of their users and items; those of a user or an item that
    train does not know are left out, since nothing was learned of them.

    Args:
        chunks: `chunks.CHUNKS` of the ratings to be fitted.
        validation: (user, item, rating, ...) held out.
        grid: the blocks.
        items: every item of train.
        users: the block of a user.
        units: in which the ratings are learned.

    Raises:
        FitError: if a user has rated an item twice in one part: which of the two is visited first
            would be anybody's guess.
    """
    split = partial(_split_part, users=users, items=items, units=units)
    shuffled = split(chunks, validation=False)
    if validation is not None:
        shuffled = shuffled.unionAll(split(in_chunks(validation), validation=True))
    cells = cached(
        # A row for each block, so that one without ratings has its cells too.
        shuffled.unionAll(_one_a_block(shuffled, grid.blocks))
        .repartitionById(grid.blocks, "block")
        .mapInArrow(partial(_pack_block, grid=grid, items=items), CELLS)
    )
    with released_on_failure(cells):
        # Sums are taken in one order, whatever order the rows come in.
        counts = sorted(cells.select(*_COUNTS).collect(), key=lambda row: (row.block, row.step))
        _refuse_duplicates(row.duplicate for row in counts)
    train_rows = sum(row.train_rows for row in counts)
    return Packed(
        cells=cells,
        grid=grid,
        items=items,
        users=tuple(row.users for row in counts if row.step == _IDS_STEP),
        train_rows=train_rows,
        validation_rows=sum(row.validation_rows for row in counts),
        mean=sum(row.rating_sum for row in counts) / sum(row.weight_sum for row in counts),
    )


def _refuse_duplicates(found: Iterable[str]) -> None:
    duplicate = next((pair for pair in found if pair), None)
    if duplicate:
        raise FitError(f"sgd: {duplicate}", hint="keep one rating of each user and item")


def factors_by_id(
    packed: Packed, factors: DataFrame, *, rank: int, width: int, size: float = 1.0
) -> tuple[DataFrame, DataFrame]:
    """(user, factors, bias) and (item, factors, bias) of `exchange.FACTORS`.

    Args:
        packed: what was fitted.
        factors: of the fit.
        rank: length of the factors.
        width: numbers of a row of a block, of which factors and bias come first.
        size: what a unit of learning is on the scale of the ratings.
    """
    spark = packed.cells.sparkSession
    numbers = range(packed.grid.item_blocks)
    item_ids = spark.createDataFrame(
        pa.Table.from_batches(arrow_row(_IDS, j, packed.items.ids(j)) for j in numbers)
    )
    users, items = (
        _side_by_side(factors.where(F.col("side") == side), ids, blocks=blocks).mapInArrow(
            partial(_rows, name=name, rank=rank, width=width, size=size), factor_schema(name)
        )
        for name, side, ids, blocks in (
            ("user", USERS, packed.user_ids(), packed.grid.blocks),
            ("item", ITEMS, item_ids, packed.grid.item_blocks),
        )
    )
    return users, items


def _side_by_side(factors: DataFrame, ids: DataFrame, *, blocks: int) -> DataFrame:
    """The factors and the ids of each block in one partition, the blocks in several partitions.

    A join would take so few rows to one partition, one task for all of them.
    """
    none = F.lit(None).cast("binary")
    both = factors.select("number", "data", none.alias("ids")).unionAll(
        ids.select("number", none.alias("data"), "ids")
    )
    return both.repartitionById(blocks, "number")


def _rows(batches: Batches, *, name: str, rank: int, width: int, size: float) -> Batches:
    found: dict[int, dict[str, pa.Scalar]] = {}
    for batch in batches:
        for at, number in enumerate(batch.column("number").to_pylist()):
            scalars = ((column, batch.column(column)[at]) for column in ("data", "ids"))
            found.setdefault(number, {}).update(
                (column, scalar) for column, scalar in scalars if scalar.is_valid
            )
    for block in found.values():
        factors = as_array(block["data"], np.float32).reshape(-1, width)[:, : rank + 1]
        ids = as_array(block["ids"], np.int32)
        if size != 1:
            # A product of factors must be scaled once, so only the item factors are scaled.
            factors = factors * np.array(
                [size if name == "item" else 1] * rank + [size], np.float32
            )
        yield factor_rows(name, ids, factors[:, :rank], factors[:, rank])


@contextmanager
def released_on_failure(frame: DataFrame) -> Iterator[None]:
    """Whatever ends the `with` statement early leaves nothing of `frame` cached."""
    try:
        yield
    except BaseException:
        frame.unpersist()
        raise


def cells_of(rows: pa.Table | pa.RecordBatch) -> dict[tuple[int, int], tuple[Cell, Cell]]:
    """(block, step) -> cell of train, cell of validation; empty where its columns are not there."""
    found = {}
    for at in range(rows.num_rows):
        step = rows.column("step")[at].as_py()
        if step != _IDS_STEP:
            train, validation = (_cell(rows, at, part) for part in ("train", "validation"))
            found[rows.column("block")[at].as_py(), step] = train, validation
    return found


def _cell(rows: pa.Table | pa.RecordBatch, at: int, part: str) -> Cell:
    if f"{part}_user" not in rows.schema.names:
        return Cell.empty()
    return Cell(
        as_array(rows.column(f"{part}_user")[at], np.int32),
        as_array(rows.column(f"{part}_item")[at], np.int32),
        as_array(rows.column(f"{part}_rating")[at], np.float32),
    )


def _one_a_block(like: DataFrame, blocks: int) -> DataFrame:
    none = F.lit(bytearray())
    return like.sparkSession.range(0, blocks, 1, 1).select(
        F.col("id").cast("int").alias("block"),
        F.lit(False).alias("validation"),
        none.alias("user"),
        none.alias("place"),
        none.alias("rating"),
    )


def _split_part(
    chunks: DataFrame, *, validation: bool, users: UserRule, items: ItemTable, units: Units
) -> DataFrame:
    split = partial(_split, validation=validation, users=users, items=items, units=units)
    return chunks.mapInArrow(split, _SHUFFLED)


def _split(
    batches: Batches, *, validation: bool, users: UserRule, items: ItemTable, units: Units
) -> Batches:
    """Map side of the shuffle: a chunk to one row of arrays for each user block."""
    for user, item, rating in chunks_of(batches):
        place = items.find(item)
        found = np.where(place >= 0, users.block(user), np.int32(-1))
        block, order, ends = by_group(found, users.blocks)
        arrays = (array[order] for array in (user, place, units.learned(rating)))
        yield arrow_rows(_SHUFFLED, ends, block, validation, *arrays)


def _pack_block(batches: Batches, *, grid: Grid, items: ItemTable) -> Batches:
    """Reduce side: everything of one user block to its cells."""
    parts: dict[bool, list[Ratings]] = {False: [], True: []}
    blocks = set()
    for batch in batches:
        for at in range(batch.num_rows):
            blocks.add(batch.column("block")[at].as_py())
            user, place = (as_array(batch.column(name)[at], np.int32) for name in ("user", "place"))
            rating = weighed.read(as_array(batch.column("rating")[at], np.float32), len(user))
            part = parts[batch.column("validation")[at].as_py()]
            part.append(Ratings(user, place, rating))
    if not blocks:
        return
    (number,) = blocks  # a partition is one block
    # The parts leave memory before the cells are made.
    train, validation = (Ratings.joined(parts.pop(part)) for part in (False, True))
    block = Block.of(number, train, validation, grid=grid, items=items)
    none = [b""] * len(_CELL)
    users = len(block.users)
    yield arrow_row(
        CELLS, number, _IDS_STEP, users, 0, 0, 0.0, 0.0, block.duplicate, block.users, *none
    )
    for step, (fit, held) in enumerate(zip(block.train, block.validation, strict=True)):
        rows = (len(fit.user), len(held.user))
        arrays = (fit.user, fit.item, fit.rating, held.user, held.item, held.rating)
        yield arrow_row(CELLS, number, step, 0, *rows, *fit.sums, "", b"", *arrays)
