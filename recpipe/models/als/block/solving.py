"""One block of one half-iteration, and where it begins: NumPy and the kernels only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from recpipe.kernels.als import NO_PRIOR, initial_factors, solve_exactly
from recpipe.kernels.als_gradients import solve_by_gradients
from recpipe.kernels.als_subspace import solve_by_subspaces
from recpipe.kernels.normal_equations import Objective, gram, width

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recpipe.models.als.block.blocks import Side
    from recpipe.models.als.block.packing import Rows

    Floats = NDArray[np.float32]
    Parts = tuple[
        NDArray[np.int64],
        NDArray[np.int32],
        Floats,
        Floats,
        Floats,
        Floats,
        int,
        bool,
        float,
        float,
    ]
    Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Solve:
    """Everything that decides a fit but the ratings: the same seed makes the same model.

    Args:
        name: of the model, for errors.
        objective: what is minimised.
        solver: `cholesky`, or `cg` to go some steps from where a row stands.
        cg_steps: steps of `cg`.
        subspace: factors that `cholesky` solves at once, the others held still; 0: all.
        seed: of the first factors.
    """

    name: str
    objective: Objective
    solver: Literal["cholesky", "cg"]
    cg_steps: int
    subspace: int
    seed: int

    @property
    def width(self) -> int:
        """Numbers of a row of factors, padding included."""
        return width(self.objective.rank)

    @property
    def continues(self) -> bool:
        """Whether a row's answer depends on where it stood."""
        return self.solver == "cg" or self.subspace > 0

    def first(self, side: Side, number: int, block: int) -> Floats:
        """A block's factors before the first half-iteration; `number` is 0 for users.

        Steps in subspaces begin with items of 0: what an item does not owe to the users must first
        be taken back, block after block, and that costs quality in the first iterations.
        """
        ids = side.ids[side.range_of(block)]
        if self.subspace and number:
            return np.zeros((len(ids), self.width), np.float32)
        return initial_factors(ids, rank=self.objective.rank, seed=self.seed, side=number)

    def gram(self, factors: Floats) -> Doubles:
        """What a block adds to `base`: nothing where the objective has no use for it."""
        if self.objective.implicit:
            return gram(factors)
        return np.zeros((self.width, self.width))

    def parts(self, rows: Rows, other: Floats, base: Floats, *, others: int) -> Parts:
        """The first arguments of every solver; arguments as of `rows`."""
        objective = self.objective
        base = np.float32(objective.unobserved_weight) * base
        penalties = objective.penalties(rows.offsets, rows.values, others=others)
        return (
            rows.offsets, rows.columns, rows.values, other, base, penalties, *objective.scalars,
        )  # fmt: skip

    def rows(
        self, rows: Rows, other: Floats, base: Floats, begin: Floats | None, *, others: int
    ) -> tuple[Floats, int]:
        """The factors of a block's rows.

        Args:
            rows: their ratings; columns are rows of `other`.
            other: the factors of the other side, or those of them that the ratings name.
            base: the sum of `gram` over that side.
            begin: the factors as they stood; only for a solver that continues.
            others: number of rows on the other side.

        Returns:
            (rows, width) the factors, and -1 or the first row whose matrix is singular.
        """
        parts = self.parts(rows, other, base, others=others)
        if begin is not None:
            out = begin.copy()
            if self.solver == "cg":
                return out, solve_by_gradients(*parts, self.cg_steps, out)
            return out, solve_by_subspaces(*parts, self.subspace, out)
        out = np.empty((len(rows.offsets) - 1, self.width), np.float32)
        return out, solve_exactly(*parts, NO_PRIOR, out)


__all__ = ["Solve"]
