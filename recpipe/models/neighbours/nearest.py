"""The k nearest columns of every column of a sparse matrix, exactly, by blocks of columns.

A task gets a block of columns and the rows that have an entry in it. It makes the sums of one
column with all others at a time, which takes an array of as many numbers as there are columns, and
keeps the k best. So nothing of columns x columns is ever held, on no machine.

Where the result is symmetric a pair is looked at in one block alone, that of its left column: it
takes half of the products, and only what lies right of the block's first column travels. Each block
then has candidates for all columns to its right, which a further task for some columns merges.
Where there are so many columns and blocks that these would be more than the products saved, every
block looks at whole rows and has the neighbours of its own columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recpipe.kernels import neighbours as kernel
from recpipe.kernels.best import Top
from recpipe.models.neighbours.blocks import block_of, in_blocks
from recpipe.models.neighbours.rows import entries_of
from recpipe.spark.columns import arrow_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

    from recpipe.models.neighbours.entries import Liking, Weighting
    from recpipe.models.neighbours.rows import Columns, Matrix
    from recpipe.ranking.histories import Part

    Batches = Iterator[pa.RecordBatch]
    Ints = NDArray[np.int32]
    Longs = NDArray[np.int64]

_PRODUCTS_OF_A_BLOCK = 1 << 22
"""A block with fewer products costs more, as a further task, than it saves."""
_CANDIDATE_BYTES = 1 << 30
"""Size of all candidates up to which each block makes some for all columns to its right."""
_RANGE = 512
"""Columns whose candidates travel together."""

_CANDIDATES = "range int, block int, first int, sizes binary, items binary, scores binary"
"""The best neighbours by one block of some columns from `first` on, by their places."""


@dataclass(frozen=True, eq=False)
class Search:
    """What is to be found.

    Args:
        liking: which ratings are entries.
        weighting: of the entries; None for none.
        measure: how similar two columns are, with a number of each column.
        k: neighbours of a column.
    """

    liking: Liking
    weighting: Weighting | None
    measure: kernel.Measure
    k: int


class Found(NamedTuple):
    """Some columns and the nearest of each.

    Args:
        owners: (n,) numbers of columns.
        means: (n,) of the ratings of each.
        sizes: (n,) how many neighbours each has.
        columns: the numbers of the neighbours of all, the nearest first.
        similarities: of these.
    """

    owners: Ints
    means: NDArray[np.float64]
    sizes: Longs
    columns: Ints
    similarities: NDArray[np.float32]


Sent = tuple["Ints", "NDArray[np.float64]", Search]
"""What all tasks are sent: the numbers of columns, the means of their ratings, and the search."""


def nearest(
    matrix: Matrix,
    columns: Columns,
    search: Search,
    *,
    shape: Callable[[Found], pa.RecordBatch],
    schema: str,
) -> DataFrame:
    """The k nearest columns of each, as rows that `shape` makes of them; not run yet.

    Columns without neighbours are handed to `shape` as well.

    The bits do not depend on the number of blocks: sums are taken in the order of rows.

    Args:
        matrix: of the ratings.
        columns: of the matrix; at least one.
        search: what is to be found.
        shape: in a task: the rows that stand for some columns and their nearest.
        schema: of these rows.
    """
    context = matrix.parts.sparkSession.sparkContext
    cores = context.defaultParallelism
    width = len(columns.ids)
    # A block for each core keeps all of them at work, since blocks cost about the same. With more
    # blocks the same rows would travel more often.
    blocks = int(max(1, min(cores, width, int(columns.costs.sum()) // _PRODUCTS_OF_A_BLOCK)))
    k = max(1, min(search.k, width - 1))
    symmetric = 8 * k * width * blocks <= _CANDIDATE_BYTES
    bounds = _bounds(columns.costs, blocks)
    sent = context.broadcast((columns.ids, columns.means, search))
    entries = partial(_entries, sent=sent)
    find = partial(_found, sent=sent, bounds=bounds, symmetric=symmetric)
    ranges = -(-width // _RANGE)
    return (
        in_blocks(matrix.parts, entries, bounds, rightwards=symmetric)
        .mapInArrow(find, _CANDIDATES)
        .repartitionById(min(ranges, 2 * cores), "range")
        .mapInArrow(partial(_merged, sent=sent, shape=shape), schema)
    )


def _bounds(costs: Longs, blocks: int) -> Longs:
    """(blocks + 1,) where blocks of columns begin, each of about the same cost; none is empty."""
    reached = np.cumsum(costs + 1)
    ends = np.searchsorted(reached, reached[-1] * np.arange(1, blocks) / blocks) + 1
    bounds = np.concatenate([[0], ends, [len(costs)]])
    # No block is empty: there are at least as many columns as blocks.
    for at in range(1, blocks):
        bounds[at] = min(max(bounds[at], bounds[at - 1] + 1), len(costs) - (blocks - at))
    return bounds


def _entries(part: Part, *, sent: Broadcast[Sent]) -> kernel.Rows:
    """In a task: the entries of a part, weighted where they are to be."""
    numbers, _, search = sent.value
    rows = entries_of(part, search.liking, numbers)
    return rows if search.weighting is None else rows._replace(values=search.weighting(rows))


def _found(batches: Batches, *, sent: Broadcast[Sent], bounds: Longs, symmetric: bool) -> Batches:
    """_CANDIDATES of one block."""
    search, found = sent.value[2], block_of(batches, bounds)
    if found is None:
        return
    block, keys, rows = found
    own = range(int(bounds[block]), int(bounds[block + 1]))
    top = kernel.nearest(
        rows, np.argsort(keys), own, search.measure, k=search.k, symmetric=symmetric
    )
    end = own.start + len(top.sizes)
    first = own.start
    while first < end:
        last = min((first // _RANGE + 1) * _RANGE, end)
        here = slice(first - own.start, last - own.start)
        some = Top(top.scores[here], top.items[here], top.sizes[here])
        _, items, scores = some.filled()
        yield arrow_row(
            _CANDIDATES, first // _RANGE, block, first, some.sizes.astype(np.int32), items, scores
        )
        first = last


def _merged(
    batches: Batches, *, sent: Broadcast[Sent], shape: Callable[[Found], pa.RecordBatch]
) -> Batches:
    """The nearest columns of some ranges of columns, by all blocks."""
    numbers, means, search = sent.value
    width = len(numbers)
    found: dict[int, list[dict[str, Any]]] = {}
    for batch in batches:
        for row in batch.to_pylist():
            found.setdefault(row["range"], []).append(row)
    for each, rows in sorted(found.items()):
        first, last = each * _RANGE, min((each + 1) * _RANGE, width)
        top = Top.empty(last - first, max(1, min(search.k, width - 1)))
        # `merge` wants ascending neighbours: those that a block finds are higher than those of the
        # blocks before it.
        for row in sorted(rows, key=lambda row: (row["block"], row["first"])):
            kernel.merge(
                np.frombuffer(row["sizes"], np.int32), np.frombuffer(row["items"], np.int32),
                np.frombuffer(row["scores"], np.float32), row["first"] - first, top,
            )  # fmt: skip
        _, items, scores = top.filled()
        some = slice(first, last)
        yield shape(Found(numbers[some], means[some], top.sizes, numbers[items], scores))


__all__ = ["Found", "Search", "nearest"]
