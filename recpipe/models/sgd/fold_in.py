"""Rows of new users by the objective of stochastic gradient descent, the items held still.

What a fit descends on is, for one user with n ratings r of items i,

    sum (r - r^)^2 + n (lambda |p|^2 + lambda_b b^2),   r^ = g(mean + b_i + b + p . q_i),

which without a sigmoid (g the identity) is least squares for the vector (p, b) over the rows
(q_i, 1). With one it is solved by steps of Gauss and Newton: g is replaced by its tangent where the
vector stands, and a step is halved while it would make the sum larger.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recpipe.models.fold_in import (
    AdditiveSolver,
    least_squares,
    least_squares_shares,
    padded,
)
from recpipe.models.sgd.units import Units

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from recpipe.kernels.normal_equations import Objective
    from recpipe.models.factors import FactorModel
    from recpipe.models.fold_in import RowSolver
    from recpipe.models.sgd.settings import SgdSettings
    from recpipe.ranking.factor_scorer import ItemArrays
    from recpipe.ranking.histories import Histories

    Ints = NDArray[np.int32]
    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]

_LEAST_PENALTY = 1e-9
"""Stands for a penalty of 0: a user with fewer ratings than factors has one vector all the same."""
_RATINGS_AT_ONCE = 1 << 16
_MAX_STEPS = 100
_MAX_HALVINGS = 20
_STILL = 1e-7
"""A step that changes no number by more, in ratings, is the last."""


def row_solver(settings: SgdSettings, fitted: FactorModel, items: ItemArrays) -> RowSolver:
    """What finds vectors of users, factors and bias, beside the items of a fitted model."""
    size = Units.between(fitted.scale).size
    sigmoid = fitted.link == "sigmoid" and fitted.scale is not None
    # The fit counts errors in its own units, and so the penalties of what it learns. Factors of
    # users leave it as they were learned; without a sigmoid their biases become ratings.
    of_bias = settings.bias_regularization * (size * size if sigmoid else 1)
    of_factors = settings.regularization * size * size
    penalty = np.array([of_factors] * fitted.rank + [of_bias])
    penalty = np.maximum(penalty, _LEAST_PENALTY)
    expected = fitted.mean + items.biases.astype(np.float64)
    rows = np.column_stack([items.factors, np.ones(len(items.items))]).astype(np.float64)
    if not sigmoid:
        return LinearRows(expected, _Ridge.of(penalty, rows))
    low, high = fitted.scale or (0.0, 0.0)
    beyond = fitted.beyond
    return BoundedRows(expected, rows, penalty, low - beyond, high - low + 2 * beyond)


@dataclass(frozen=True, eq=False)
class _Ridge:
    """Vectors whose products with rows x come nearest to targets: penalised least squares.

    Args:
        objective: in units in which every penalty is 1, which is what the kernel knows.
        unit: (rank + 1,) what a number of a vector is divided by in these units.
        scaled: (m, width) the rows in these units, padded.
    """

    objective: Objective
    unit: Doubles
    scaled: Floats

    @classmethod
    def of(cls, penalty: Doubles, rows: Doubles) -> _Ridge:
        """With such penalties of the numbers of a vector, for each target, above 0."""
        from recpipe.kernels.normal_equations import Objective

        unit = np.sqrt(penalty)
        return cls(Objective(len(unit), 1.0), unit, padded(rows / unit))

    @property
    def _base(self) -> Doubles:
        """What the equations of all users share: nothing."""
        return np.zeros((self.scaled.shape[1],) * 2)

    def vectors(self, rows: Histories, targets: Doubles) -> Doubles:
        """(users, rank + 1) the vectors.

        Args:
            rows: columns are rows x.
            targets: (n,) in place of the values of `rows`.
        """
        rows = rows._replace(values=targets.astype(np.float32))
        return least_squares(self.objective, rows, self.scaled, self._base) / self.unit

    def shares(self, history: Ints, targets: Doubles, columns: Ints) -> Doubles:
        """(columns, history) what each target adds to the product of the vector and a row x."""
        return least_squares_shares(
            self.objective,
            self.scaled,
            self._base,
            history=history,
            values=targets.astype(np.float32),
            columns=columns,
        )


@dataclass(frozen=True, eq=False)
class LinearRows(AdditiveSolver):
    """Vectors of users without a sigmoid: linear in what the ratings are above the expected.

    Args:
        expected: (n,) mean + bias of each item.
        ridge: with the factors of each item, and 1, as rows.
    """

    expected: Doubles
    ridge: _Ridge

    def __call__(self, rows: Histories) -> Floats:
        left = rows.values - self.expected[rows.items]
        return self.ridge.vectors(rows, left).astype(np.float32)

    def shares(self, history: Ints, values: Floats, columns: Ints) -> Doubles:
        """See `AdditiveSolver.shares`: what a rating adds by way of the factors and of the bias.

        The sum is the score less the mean and the bias of the item, as far as the descent has
        come: the user's vector of the fit is not the very least of its objective.
        """
        return self.ridge.shares(history, values - self.expected[history], columns)


@dataclass(frozen=True, eq=False)
class BoundedRows:
    """Vectors of users with a sigmoid; not additive, since that bends the sum of what ratings add.

    Args:
        expected: (n,) mean + bias of each item.
        rows: (n, rank + 1) factors of each item, and 1.
        penalty: (rank + 1,) of the numbers of a vector, for each rating; above 0.
        low: the lowest score of the sigmoid.
        span: the highest less the lowest.
    """

    expected: Doubles
    rows: Doubles
    penalty: Doubles
    low: float
    span: float

    def __call__(self, rows: Histories) -> Floats:
        parts = [self._solved(part) for part in _parts(rows)]
        return np.concatenate(parts).astype(np.float32)

    def _solved(self, rows: Histories) -> Doubles:
        """(rows, rank + 1) the vectors that are best with a sigmoid."""
        sizes = np.diff(rows.offsets)
        owner = np.repeat(np.arange(len(sizes)), sizes)
        items, expected = self.rows[rows.items], self.expected[rows.items]
        each = rows._replace(items=np.arange(len(owner), dtype=np.int32))

        def predicted(vectors: Doubles) -> tuple[Doubles, Doubles]:
            """What vectors add to the scores of the ratings, and the scores' place on the scale."""
            added = np.einsum("nk,nk->n", items, vectors[owner])
            return added, 0.5 + 0.5 * np.tanh((expected + added) / 2)

        def loss(vectors: Doubles) -> Doubles:
            errors = rows.values - self.low - self.span * predicted(vectors)[1]
            lengths = (vectors * vectors) @ self.penalty
            return np.add.reduceat(errors * errors, rows.offsets[:-1]) + sizes * lengths

        found = np.zeros((len(sizes), len(self.penalty)))
        least = loss(found)
        for _ in range(_MAX_STEPS):
            added, place = predicted(found)
            slope = self.span * place * (1 - place)
            target = rows.values - self.low - self.span * place + slope * added
            tangent = _Ridge.of(self.penalty, items * slope[:, None])
            step = tangent.vectors(each, target) - found
            for _ in range(_MAX_HALVINGS):
                after = loss(found + step)
                worse = after > least
                if not worse.any():
                    break
                step[worse] /= 2
            step[worse] = 0
            found += step
            least = np.where(worse, least, after)
            if np.abs(step).max(initial=0) <= _STILL:
                break
        return found


def _parts(rows: Histories) -> Iterator[Histories]:
    """The same rows, so many at a time that their ratings' copies of factors stay small."""
    first, count = 0, len(rows.offsets) - 1
    while first < count:
        limit = rows.offsets[first] + _RATINGS_AT_ONCE
        last = max(first + 1, int(np.searchsorted(rows.offsets, limit, side="right")) - 1)
        yield rows.rows(slice(first, last))
        first = last


__all__ = ["BoundedRows", "LinearRows", "row_solver"]
