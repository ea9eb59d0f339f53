"""The equations of item biases, solved over ratings that are packed by user.

`kernels.biases` has the equations. All steps are one task where a task can hold all ratings, since
a step takes far less time than a job; else each step is a job. Item biases pass through the driver,
user biases never do. For `user_knn` users stand in the place of items.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recpipe.kernels import biases as kernel
from recpipe.spark.columns import arrow_row, as_array
from recpipe.spark.streamed import streamed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    Sums = tuple[NDArray[np.float64], NDArray[np.float64]]
    Read = Callable[[Iterator[pa.RecordBatch]], Iterator["RatingsPart"]]

_TOLERANCE = 1e-8  # well below what float32 biases can tell apart
_MAX_STEPS = 200
_RATINGS_OF_A_TASK = 1 << 24
"""Ratings up to which one task holds all of them: 200 MB, by weight 330 MB."""
_BYTES = 16
"""Of an item in the sums of a part."""
_COLLECTED_BYTES = 256 << 20
"""Of the sums of all parts, up to which the driver takes them at once."""

_SUMS = "counts binary, sums binary"
_SOLVED = "counts binary, biases binary, steps int"


class RatingsPart(NamedTuple):
    """The ratings of some users, one user after the other.

    Args:
        users: (users,) each once.
        starts: (users,) where each user's ratings start; none is empty.
        items: (ratings,) item numbers.
        ratings: (ratings,) as float64.
        weights: (ratings,) of each; None where all weigh 1.
    """

    users: NDArray[np.int32]
    starts: NDArray[np.int64]
    items: NDArray[np.int32]
    ratings: NDArray[np.float64]
    weights: NDArray[np.float64] | None


@dataclass(frozen=True, eq=False)
class Equations:
    """The equations of the item biases over packed ratings.

    Args:
        packed: the ratings, cached.
        read: in a task: what rows of `packed` hold.
        parts: how many rows `packed` has.
        ratings: how many these hold.
        mean: of all ratings.
        width: one more than the highest item number.
        user_regularization: number of ratings equal to the mean that are added for each user.
        item_regularization: likewise for each item.
    """

    packed: DataFrame
    read: Read
    parts: int
    ratings: int
    mean: float
    width: int
    user_regularization: float
    item_regularization: float

    def solve(self) -> kernel.Solution:
        """The item biases: one task for all steps, or a job for each where ratings are many.

        Raises:
            ArithmeticError: if they do not converge.
        """
        solve = partial(
            kernel.item_biases,
            regularization=self.item_regularization,
            tolerance=_TOLERANCE,
            max_products=_MAX_STEPS,
        )
        sums_of = partial(
            _sums, mean=self.mean, width=self.width, regularization=self.user_regularization
        )
        if self.ratings <= _RATINGS_OF_A_TASK:
            return self._in_one_task(
                partial(_solved, read=self.read, solve=solve, sums_of=sums_of, width=self.width)
            )
        return solve(partial(self._by_job, sums_of=sums_of))

    def _in_one_task(
        self, work: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]
    ) -> kernel.Solution:
        rows = self.packed.coalesce(1).mapInArrow(work, _SOLVED).collect()
        if not rows:
            raise kernel.not_solved(_MAX_STEPS)
        counts, biases, steps = rows[0]
        return kernel.Solution(np.frombuffer(counts), np.frombuffer(biases), steps)

    def _by_job(self, x: NDArray[np.float64] | None, *, sums_of: Callable[..., Sums]) -> Sums:
        """`_sums` of all parts together."""
        read = self.read
        sent = self.packed.sparkSession.sparkContext.broadcast(x)

        def sums(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for part in read(batches):
                yield arrow_row(_SUMS, *sums_of(part, sent.value))

        found = self.packed.mapInArrow(sums, _SUMS)
        try:
            # In the order of parts either way.
            return _added(self._one_by_one(found), self.width)
        finally:
            sent.destroy()

    def _one_by_one(self, found: DataFrame) -> Iterator[Sums]:
        """The sums of each part: all at once, or where that is much, a part at a time."""
        if self.parts * self.width * _BYTES > _COLLECTED_BYTES:
            for row in streamed(found):
                yield np.frombuffer(row["counts"]), np.frombuffer(row["sums"])
            return
        table = found.toArrow()
        for at in range(table.num_rows):
            counts, totals = (as_array(table.column(n)[at], np.float64) for n in ("counts", "sums"))
            yield counts, totals


def _solved(
    batches: Iterator[pa.RecordBatch],
    *,
    read: Read,
    solve: Callable[[Callable[..., Sums]], kernel.Solution],
    sums_of: Callable[..., Sums],
    width: int,
) -> Iterator[pa.RecordBatch]:
    """In a task: _SOLVED of all parts; no row where there are none."""
    # In an order that follows from the ratings alone, whichever part comes first.
    parts = sorted(read(batches), key=lambda part: int(part.users[0]))
    if not parts:
        return

    def sums(x: NDArray[np.float64] | None) -> Sums:
        return _added((sums_of(part, x) for part in parts), width)

    # Spark would try a failed task again, and its error would arrive as text: no row instead.
    with suppress(ArithmeticError):
        yield arrow_row(_SOLVED, *solve(sums))


def _added(found: Iterable[Sums], width: int) -> Sums:
    """The sums of some parts, added up in their order; counts are 0 where the parts have none."""
    counts, totals = np.zeros(width), np.zeros(width)
    for own_counts, own_totals in found:
        # Empty in a step, which needs none: they would be half of what travels.
        counts[: len(own_counts)] += own_counts
        totals += own_totals
    return counts, totals


def _sums(
    part: RatingsPart,
    x: NDArray[np.float64] | None,
    *,
    mean: float,
    width: int,
    regularization: float,
) -> Sums:
    """The weights and sums of one part, as `kernel.biases.Sums` has them of all ratings.

    Returns:
        (width,) the weight of each item's ratings, empty where x is given; and (width,)
        `kernel.eliminated` of x at each rating's item, or without x of the ratings less their mean.
    """
    values = part.ratings - mean if x is None else x[part.items]
    total = kernel.eliminated(
        part.items,
        values,
        part.starts,
        width=width,
        regularization=regularization,
        weights=part.weights,
    )
    if x is not None:
        return np.empty(0), total
    return np.bincount(part.items, part.weights, minlength=width).astype(np.float64), total


__all__ = ["Equations", "RatingsPart"]
