"""Users who were not there at a fit: their vectors, found with the items held still (fold-in).

What was fitted are the factors and biases of users and of items. A user who has rated some of the
items since has a vector all the same: the one that the model's own objective asks for while the
items stay as they are. Each is found alone from a handful of ratings, so a million people are as
many small systems of equations, which tasks solve beside the lists that they are wanted for.

References:
    Badrul Sarwar, George Karypis, Joseph Konstan, John Riedl. Incremental Singular Value
    Decomposition Algorithms for Highly Scalable Recommender Systems. ICCIT 2002.
    Yifan Hu, Yehuda Koren, Chris Volinsky. Collaborative Filtering for Implicit Feedback Datasets.
    ICDM 2008.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from recpipe.errors import MissingError
from recpipe.kernels import ids
from recpipe.ranking.histories import Histories
from recpipe.ranking.user_vectors import UserVectors
from recpipe.spark.columns import arrow_row
from recpipe.spark.interactions import frame_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyspark import Broadcast
    from pyspark.sql import SparkSession

    from recpipe.kernels.normal_equations import Objective
    from recpipe.models.data import TrainingData
    from recpipe.models.factors import FactorModel
    from recpipe.ranking.factor_scorer import ItemArrays
    from recpipe.spark.columns import Batches
    from recpipe.spark.interactions import Interactions

    Ints = NDArray[np.int32]
    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]

_SUMS = "sums binary, users long"
_GRAM_ROWS = 1 << 16
"""Items that are multiplied at a time: at rank 64 their copies in float64 take 32 MiB."""


class RowSolver(Protocol):
    """How a family of models finds the vectors of users; sent to the workers, with its items."""

    def __call__(self, rows: Histories) -> Floats:
        """(rows, rank + 1) the factors and then the bias of each user.

        Args:
            rows: what each user has rated, at least one item; `items` are the places of the items
                in the arrays that the solver was made of.
        """
        ...


class AdditiveSolver(ABC):
    """A solver whose vectors are sums with one addend for each rated item.

    So are scores, but for what is there without any rating, such as a mean and the item's bias. It
    says so by this class, and not by what it happens to have.
    """

    @abstractmethod
    def shares(self, history: Ints, values: Floats, columns: Ints) -> Doubles:
        """See `reasons.Explainer.shares`; items are their places in the arrays of the solver."""


@dataclass(frozen=True, eq=False)
class Shares:
    """A `reasons.Explainer` that asks a solver; items that the model does not know add nothing.

    Args:
        items: all items of the model, ascending.
        solver: made of them.
    """

    items: Ints
    solver: AdditiveSolver

    def shares(self, history: Ints, values: Floats, columns: Ints) -> Doubles:
        places = ids.positions(self.items, history)
        known = places >= 0
        found = np.zeros((len(columns), len(history)))
        if known.any():
            found[:, known] = self.solver.shares(places[known], values[known], columns)
        return found


@runtime_checkable
class FoldsIn(Protocol):
    """A model of factors that knows how the vector of a user follows from those of the items."""

    def fed(self, data: TrainingData) -> Interactions:
        """(user int, item int, rating): what of some ratings its fit would learn from."""
        ...

    def row_solver(self, fitted: FactorModel, items: ItemArrays) -> RowSolver:
        """What finds the vectors of users of a fitted model.

        Args:
            fitted: the model.
            items: what it has of its items.
        """
        ...


@dataclass(frozen=True, eq=False)
class FoldIn:
    """Finds the vectors of new users in a task: `user_batch.UserSolver`.

    Args:
        sent: the items of the model, ascending, and what solves.
        width: numbers of a vector.
        nobody: (width,) the vector of a user who has rated nothing that the model knows; None for
            no such vector.
    """

    sent: Broadcast[tuple[Ints, RowSolver]]
    width: int
    nobody: Floats | None

    def __call__(self, histories: Histories) -> UserVectors:
        items, solve = self.sent.value
        rows, some = known_rows(histories, items)
        numbers = np.zeros((len(some), self.width), np.float32)
        if some.any():
            numbers[some] = solve(rows)
        if self.nobody is None:
            return UserVectors(some, numbers)
        numbers[~some] = self.nobody
        return UserVectors(np.ones(len(some), bool), numbers)


def known_rows(histories: Histories, items: Ints) -> tuple[Histories, NDArray[np.bool_]]:
    """The histories of users that have at least one known item, without their unknown items.

    Args:
        histories: of users.
        items: the known ones, ascending.

    Returns:
        These histories, with places in `items` for items, and (rows,) which of all they are.
    """
    places = ids.positions(items, histories.items)
    known = places >= 0
    count = len(histories.offsets) - 1
    owner = np.repeat(np.arange(count), np.diff(histories.offsets))
    sizes = np.bincount(owner[known], minlength=count)
    some = sizes > 0
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes[some], dtype=np.int64)])
    return Histories(offsets, places[known], histories.values[known]), some


def check_broadcast(
    items: int, item_bytes: int, *, limit_mb: int, model: str, purpose: str
) -> None:
    """Refuse items that every worker gets whole, where they are too large for it.

    Args:
        items: how many.
        item_bytes: what one takes.
        limit_mb: the most MiB of all, `recommend.max_broadcast_mb`.
        model: for the error.
        purpose: what workers need them for, for the error: "to explain lists".

    Raises:
        MissingError: naming what they take and what there is.
    """
    size = items * item_bytes / 2**20
    if size > limit_mb:
        raise MissingError(
            f"{model}: {purpose} every worker gets {items} items whole, {size:.0f} MiB, above"
            f" recommend.max_broadcast_mb = {limit_mb}",
            hint="raise recommend.max_broadcast_mb if driver and workers have the memory",
        )


def least_squares(objective: Objective, rows: Histories, other: Floats, base: Doubles) -> Floats:
    """(rows, rank) the answers of `kernels.normal_equations`, to the digits of float32.

    Args:
        objective: what is minimised.
        rows: columns are rows of `other`.
        other: (n, width) as `padded` makes it.
        base: (width, width) what the matrices of all rows share; zeros if explicit.
    """
    from recpipe.kernels.als import solve_refined

    found = np.empty((len(rows.offsets) - 1, other.shape[1]), np.float32)
    penalties = objective.penalties(rows.offsets, rows.values, others=len(other))
    solve_refined(
        rows.offsets, rows.items, rows.values, other, base, penalties, *objective.scalars, found
    )
    return found[:, : objective.rank]


def least_squares_shares(
    objective: Objective,
    other: Floats,
    base: Doubles,
    *,
    history: Ints,
    values: Floats,
    columns: Ints,
) -> Doubles:
    """(columns, history) what each item of a history adds to the product of a row of `other` and x.

    The vector x that `least_squares` finds is A^-1 times the sum of t_i y_i over the history, A
    being the matrix of the user's equations. So its product with y_j is the sum of
    t_i y_j' A^-1 y_i (Hu, Koren and Volinsky 2008, section 5).

    Args:
        objective: what is minimised.
        other: (n, width) as `padded` makes it.
        base: as for `least_squares`.
        history: rows of `other`.
        values: of each.
        columns: the rows y_j of `other`.
    """
    rank = objective.rank
    _, implicit, alpha, shift = objective.scalars
    y, wanted = (other[places, :rank].astype(np.float64) for places in (history, columns))
    strengths = values.astype(np.float64)
    weights = alpha * np.abs(strengths) if implicit else np.ones(len(values))
    targets = np.where(strengths > 0, weights + shift, 0) if implicit else strengths
    ends = np.array([0, len(values)])
    matrix = base[:rank, :rank] + (y.T * weights) @ y
    matrix[np.diag_indices(rank)] += objective.penalties(ends, values, others=len(other))[0]
    shares: Doubles = np.linalg.solve(matrix, wanted.T).T @ y.T * targets
    return shares


def padded(factors: NDArray[np.float32] | Doubles) -> Floats:
    """The same rows, with zeros up to a width that kernels take."""
    from recpipe.kernels.normal_equations import width

    rows, rank = factors.shape
    found = np.zeros((rows, width(rank)), np.float32)
    found[:, :rank] = factors
    return found


def gram(factors: Floats) -> Doubles:
    """(width, width) the sum of y y' over the rows of `factors`, in float64."""
    total = np.zeros((factors.shape[1], factors.shape[1]))
    for first in range(0, len(factors), _GRAM_ROWS):
        rows = factors[first : first + _GRAM_ROWS].astype(np.float64)
        total += rows.T @ rows
    return total


def mean_user(users: Interactions, *, rank: int) -> Floats | None:
    """(rank + 1,) the mean of the factors and of the bias of all users; None without users.

    Args:
        users: (user int, factors array<float>, bias float).
        rank: length of the factors.
    """

    def sums(batches: Batches) -> Batches:
        total, count = np.zeros(rank + 1), 0
        for batch in batches:
            factors, bias = batch.columns
            numbers = factors.flatten().to_numpy(zero_copy_only=False).reshape(len(bias), rank)
            total[:rank] += numbers.sum(axis=0, dtype=np.float64)
            total[rank] += bias.to_numpy().sum(dtype=np.float64)
            count += len(bias)
        yield arrow_row(_SUMS, total, count)

    # In the order of partitions, so that the sum is the same to the bit.
    rows = frame_of(users).select("factors", "bias").mapInArrow(sums, _SUMS).collect()
    count = sum(row.users for row in rows)
    if not count:
        return None
    total = np.sum([np.frombuffer(row.sums) for row in rows], axis=0)
    mean: Doubles = total / count
    return mean.astype(np.float32)


def sent(spark: SparkSession, items: Ints, solver: RowSolver) -> Broadcast[tuple[Ints, RowSolver]]:
    """A solver and its items on their way to the workers."""
    return spark.sparkContext.broadcast((items, solver))


__all__ = [
    "AdditiveSolver", "FoldIn", "FoldsIn", "RowSolver", "Shares", "check_broadcast", "gram",
    "known_rows", "least_squares", "least_squares_shares", "mean_user", "padded", "sent",
]  # fmt: skip
