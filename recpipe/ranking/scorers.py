"""What scores all items for some users, and goes to the workers for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from recpipe.kernels import score_bounds
from recpipe.kernels import topn as kernel

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.ranking.user_vectors import People


class Scorer(Protocol):
    """Scores items for users: arrays and scalars only. Its items are all, or a block of them."""

    @property
    def items(self) -> NDArray[np.int32]:
        """The candidates, ascending."""
        ...

    @property
    def width(self) -> int:
        """Numbers of a user that it reads."""
        ...

    def take(self, people: People, seen: kernel.Seen, top: kernel.Top) -> None:
        """Take the items into the best of every user, in their order, but for the seen."""
        ...

    def present(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """The scores that people see: any function that keeps their order."""
        ...


@dataclass(frozen=True, eq=False)
class FactorScorer:
    """Scores by factors and biases.

    Args:
        panels: of the items.
        mean: added to every score.
        logistic: (low, high) of a sigmoid that scores pass at the end, or None.
    """

    panels: kernel.Panels
    mean: float
    logistic: tuple[float, float] | None = None

    @classmethod
    def of(
        cls,
        item_factors: DataFrame,
        *,
        rank: int,
        mean: float = 0.0,
        logistic: tuple[float, float] | None = None,
    ) -> FactorScorer:
        """The scorer of (item, factors, bias), brought to the driver."""
        table = item_factors.select("item", "factors", "bias").toArrow().combine_chunks()
        items = table.column("item").to_numpy().astype(np.int32)
        order = np.argsort(items, kind="stable")
        factors = _matrix(table.column("factors").combine_chunks(), rank)
        biases = table.column("bias").to_numpy()
        panels = kernel.Panels.of(items[order], factors[order], biases[order])
        return cls(panels, mean, logistic)

    @staticmethod
    def item_bytes(*, rank: int) -> int:
        """What the arrays take for one item in a worker."""
        return (rank + 2) * 4 + score_bounds.item_bytes(rank=rank)

    @property
    def items(self) -> NDArray[np.int32]:
        return self.panels.items

    @property
    def width(self) -> int:
        return self.panels.rank + 1

    def take(self, people: People, seen: kernel.Seen, top: kernel.Top) -> None:
        rank = self.panels.rank
        factors = np.ascontiguousarray(people.numbers[:, :rank])
        base = people.numbers[:, rank] + np.float32(self.mean)
        bounds = (
            self._screen
            if score_bounds.pays(users=len(base), rank=rank)
            else score_bounds.NO_SCREEN
        )
        kernel.best_of_products(self.panels, factors, base, seen, top, bounds)

    @cached_property
    def _screen(self) -> score_bounds.Screen:
        # In the worker, once for as long as it holds the scorer: it costs less than its way there.
        return score_bounds.screen(self.panels.factors, self.panels.biases)

    def scores(
        self, factors: NDArray[np.float32], rows: NDArray[np.int32], columns: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        """(n,) item bias + user factors . item factors, of n pairs; the mean is not added.

        Args:
            factors: (users, rank).
            rows: (n,) of `factors`; negative for one without, whose product is 0.
            columns: (n,) of `items`.
        """
        theirs, biases = self.panels.columns(columns)
        scores = biases.astype(np.float64)
        known = rows >= 0
        mine = factors[rows[known]].astype(np.float64)
        scores[known] += np.einsum("nk,nk->n", mine, theirs[known])
        return scores

    def present(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.logistic is None:
            return scores
        return logistic(scores.astype(np.float64), self.logistic).astype(np.float32)


@dataclass(frozen=True, eq=False)
class RandomScorer:
    """Scores in [0, 1) that depend on nothing but the seed, the user and the item.

    Args:
        items: (I,) item numbers, ascending.
        seed: of the hash.
    """

    items: NDArray[np.int32]
    seed: int

    @property
    def width(self) -> int:
        return 0

    def take(self, people: People, seen: kernel.Seen, top: kernel.Top) -> None:
        kernel.best_of_hashes(self.seed, people.users, self.items, seen, top)

    def present(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        return scores


def logistic(scores: NDArray[np.float64], scale: tuple[float, float]) -> NDArray[np.float64]:
    """A sigmoid of scores, between the ends of a scale."""
    low, high = scale
    # tanh does not overflow where exp would.
    return low + (high - low) * (0.5 + 0.5 * np.tanh(scores / 2))


def _matrix(factors: pa.ListArray, rank: int) -> NDArray[np.float32]:
    values: NDArray[np.float32] = factors.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(factors), rank)


__all__ = ["FactorScorer", "RandomScorer", "Scorer", "logistic"]
