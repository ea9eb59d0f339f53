"""Rows of new users as ALS solves them, with the factors of all items held still."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recpipe.models.fold_in import (
    AdditiveSolver,
    gram,
    least_squares,
    least_squares_shares,
    padded,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recpipe.kernels.normal_equations import Objective
    from recpipe.models.factors import FactorModel
    from recpipe.models.fold_in import RowSolver
    from recpipe.ranking.factor_scorer import ItemArrays
    from recpipe.ranking.histories import Histories

    Ints = NDArray[np.int32]
    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]


class AlsObjective(ABC):
    """A model whose fit solves rows of factors by one objective: half of `FoldsIn`."""

    @abstractmethod
    def objective(self) -> Objective:
        """What the fit minimises."""

    def row_solver(self, fitted: FactorModel, items: ItemArrays) -> RowSolver:
        """See `FoldsIn`: the row that a half-iteration of the fit would solve."""
        del fitted
        return AlsRows.of(self.objective(), items)


@dataclass(frozen=True, eq=False)
class AlsRows(AdditiveSolver):
    """The equations of `kernels.normal_equations`; there are no biases.

    Args:
        objective: of the fit.
        other: (n, width) the factors of the items.
        base: (width, width) what the equations of all users share; zeros if explicit.
    """

    objective: Objective
    other: Floats
    base: NDArray[np.float64]

    @classmethod
    def of(cls, objective: Objective, items: ItemArrays) -> AlsRows:
        """What solves with these items."""
        other = padded(items.factors)
        base = np.zeros((other.shape[1],) * 2)
        if objective.implicit:
            base = objective.unobserved_weight * gram(other)
        return cls(objective, other, base)

    def __call__(self, rows: Histories) -> Floats:
        return without_bias(least_squares(self.objective, rows, self.other, self.base))

    def shares(self, history: Ints, values: Floats, columns: Ints) -> Doubles:
        """See `AdditiveSolver.shares` and `fold_in.least_squares_shares`.

        The sum is the score of the fit as far as the fit has converged: there the user's vector was
        solved beside the items of the iteration before.
        """
        return least_squares_shares(
            self.objective, self.other, self.base, history=history, values=values, columns=columns
        )


@dataclass(frozen=True, eq=False)
class NonNegativeRows:
    """As `AlsRows` where no factor may be negative: `kernels.nonnegative`.

    Not additive: which factors are held at 0 depends on all ratings together, so a row is not the
    sum of what each rating makes of it.

    Args:
        objective: of the fit, explicit.
        other: (n, rank) the factors of the items.
    """

    objective: Objective
    other: Floats

    @classmethod
    def of(cls, objective: Objective, items: ItemArrays) -> NonNegativeRows:
        """What solves with these items."""
        return cls(objective, np.ascontiguousarray(items.factors))

    def __call__(self, rows: Histories) -> Floats:
        from recpipe.kernels.nonnegative import solve_nonnegative

        own = self.objective
        found = np.empty((len(rows.offsets) - 1, own.rank), np.float32)
        penalties = own.penalties(rows.offsets, rows.values, others=len(self.other))
        solve_nonnegative(*rows, self.other, penalties, found)
        return without_bias(found)


def without_bias(factors: Floats) -> Floats:
    """(rows, rank + 1) the factors, and a bias of 0."""
    return np.column_stack([factors, np.zeros(len(factors), np.float32)])


__all__ = ["AlsObjective", "AlsRows", "NonNegativeRows"]
