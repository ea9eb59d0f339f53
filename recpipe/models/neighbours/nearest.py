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
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recpipe.kernels import neighbours as kernel
from recpipe.kernels.best import Top
from recpipe.models.neighbours.rows import entries_of
from recpipe.ranking.histories import parts_of
from recpipe.spark.columns import arrow_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

    from recpipe.models.neighbours.entries import Liking, Weighting
    from recpipe.models.neighbours.rows import Columns, Matrix

    Batches = Iterator[pa.RecordBatch]
    Ints = NDArray[np.int32]
    Longs = NDArray[np.int64]

_PRODUCTS_OF_A_BLOCK = 1 << 22
"""Below it a further task costs more than it saves."""
_CANDIDATE_BYTES = 1 << 30
"""Of all blocks, up to which they have candidates for all columns to their right."""
_RANGE = 512
"""Columns whose candidates travel together."""

_BLOCKS = "block int, keys binary, sizes binary, columns binary, values binary"
"""What one part has of the rows of a block: numbers, sizes (int32), places of columns, entries."""

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
    """The k nearest columns of each, in a shape; columns without a neighbour included.

    The bits do not depend on the number of blocks: sums are taken in the order of rows.

    Args:
        matrix: of the ratings.
        columns: of the matrix; at least one.
        search: what is to be found.
        shape: of the rows that come back.
        schema: of the same.
    """
    context = matrix.parts.sparkSession.sparkContext
    tasks = 2 * context.defaultParallelism
    width = len(columns.ids)
    cost = int(columns.costs.sum())
    blocks = int(max(1, min(tasks, width, cost // _PRODUCTS_OF_A_BLOCK)))
    k = max(1, min(search.k, width - 1))
    symmetric = 8 * k * width * blocks <= _CANDIDATE_BYTES
    bounds = _bounds(columns.costs, blocks)
    sent = context.broadcast((columns.ids, columns.means, search))
    cut = partial(_cut, sent=sent, bounds=bounds, symmetric=symmetric)
    find = partial(_found, sent=sent, bounds=bounds, symmetric=symmetric)
    ranges = -(-width // _RANGE)
    return (
        matrix.parts.mapInArrow(cut, _BLOCKS)
        .repartitionById(blocks, "block")
        .mapInArrow(find, _CANDIDATES)
        .repartitionById(min(ranges, tasks), "range")
        .mapInArrow(partial(_merged, sent=sent, shape=shape), schema)
    )


def _bounds(costs: Longs, blocks: int) -> Longs:
    """(blocks + 1,) where blocks of columns begin, each of about the same cost; none is empty."""
    reached = np.cumsum(costs + 1)
    ends = np.searchsorted(reached, reached[-1] * np.arange(1, blocks) / blocks) + 1
    bounds = np.concatenate([[0], ends, [len(costs)]])
    # Every block has a column: so many have been asked for at most.
    for at in range(1, blocks):
        bounds[at] = min(max(bounds[at], bounds[at - 1] + 1), len(costs) - (blocks - at))
    return bounds


def _cut(batches: Batches, *, sent: Broadcast[Sent], bounds: Longs, symmetric: bool) -> Batches:
    """_BLOCKS: of every block the rows that have an entry in it."""
    numbers, _, search = sent.value
    width = len(numbers)
    for part in parts_of(batches):
        rows = entries_of(part, search.liking, numbers)
        values = rows.values if search.weighting is None else search.weighting(rows)
        owner = np.repeat(np.arange(len(part.users)), np.diff(rows.offsets))
        # Ascending, for rows are, and columns are in a row.
        places = owner * width + rows.columns
        firsts = np.arange(len(part.users)) * width
        for block, (first, last) in enumerate(pairwise(bounds)):
            begins = np.searchsorted(places, firsts + first)
            chosen = np.flatnonzero(begins < np.searchsorted(places, firsts + last))
            # A block of which no part has a row must still say that its columns have no neighbour.
            starts = begins[chosen] if symmetric else rows.offsets[chosen]
            sizes = rows.offsets[chosen + 1] - starts
            at = np.arange(sizes.sum()) + np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
            kind: type[Any] = np.uint16 if width <= 1 << 16 else np.int32
            yield arrow_row(
                _BLOCKS, block, part.users[chosen], sizes.astype(np.int32),
                rows.columns[at].astype(kind), values[at] if len(values) else values,
            )  # fmt: skip


def _found(batches: Batches, *, sent: Broadcast[Sent], bounds: Longs, symmetric: bool) -> Batches:
    """_CANDIDATES of one block."""
    numbers, _, search = sent.value
    kind: Any = np.uint16 if len(numbers) <= 1 << 16 else np.int32
    parts: list[list[Any]] = [[], [], [], []]
    block = -1
    for batch in batches:
        for row in batch.to_pylist():
            block = row["block"]
            for held, name in zip(parts, ("keys", "sizes", "columns", "values"), strict=True):
                held.append(row[name])
    if block < 0:
        return
    keys, sizes, columns, values = (
        np.frombuffer(b"".join(held), dtype)
        for held, dtype in zip(parts, (np.int32, np.int32, kind, np.float32), strict=True)
    )
    parts.clear()
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])
    rows = kernel.Rows(offsets, columns.astype(np.int32), values)
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
        # What a block has is to the right of what those before it have, or its columns are.
        for row in sorted(rows, key=lambda row: (row["block"], row["first"])):
            kernel.merge(
                np.frombuffer(row["sizes"], np.int32), np.frombuffer(row["items"], np.int32),
                np.frombuffer(row["scores"], np.float32), row["first"] - first, top,
            )  # fmt: skip
        _, items, scores = top.filled()
        some = slice(first, last)
        yield shape(Found(numbers[some], means[some], top.sizes, numbers[items], scores))


__all__ = ["Found", "Search", "nearest"]
