"""Scores by factors and biases: mean + user bias + item bias + user factors . item factors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recpipe.kernels import score_bounds
from recpipe.kernels import topn as kernel

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.ranking.scorer import Pairs
    from recpipe.ranking.user_batch import UserBatch


class ItemArrays(NamedTuple):
    """Factors and biases of items as arrays.

    Args:
        items: (n,) ascending.
        factors: (n, rank).
        biases: (n,).
    """

    items: NDArray[np.int32]
    factors: NDArray[np.float32]
    biases: NDArray[np.float32]

    @classmethod
    def of(cls, item_factors: DataFrame, *, rank: int) -> ItemArrays:
        """Those of (item, factors, bias), brought to the driver."""
        table = item_factors.select("item", "factors", "bias").toArrow().combine_chunks()
        items = table.column("item").to_numpy().astype(np.int32)
        order = np.argsort(items, kind="stable")
        factors = matrix_of(table.column("factors").combine_chunks(), rank)
        return cls(items[order], factors[order], table.column("bias").to_numpy()[order])


@dataclass(frozen=True, eq=False)
class FactorScorer:
    """Scores by factors and biases. The vector of a user is its factors, then its bias.

    Args:
        panels: of the items.
        mean: added to every score.
        scale: (lowest, highest) rating, to which predictions are held; None: they are not.
        sigmoid: whether scores pass a sigmoid onto the scale, in predictions and in lists;
            else predictions are clipped, and lists show the score as it is.
        beyond: how far the sigmoid reaches beyond either end of the scale.
        step: of the scale, to which predictions are rounded; None: they are not.
    """

    panels: kernel.Panels
    mean: float = 0.0
    scale: tuple[float, float] | None = None
    sigmoid: bool = False
    beyond: float = 0.0
    step: float | None = None

    @classmethod
    def of(
        cls,
        item_factors: DataFrame,
        *,
        rank: int,
        **rest: Any,
    ) -> FactorScorer:
        """The scorer of (item, factors, bias), brought to the driver; `rest` as in the class."""
        return cls(kernel.Panels.of(*ItemArrays.of(item_factors, rank=rank)), **rest)

    @staticmethod
    def item_bytes(*, rank: int) -> int:
        """What the arrays take for one item in a worker."""
        return (rank + 2) * 4 + score_bounds.item_bytes(rank=rank)

    @property
    def items(self) -> NDArray[np.int32]:
        return self.panels.items

    def update_top(self, batch: UserBatch, left_out: kernel.LeftOut, top: kernel.Top) -> None:
        rank = self.panels.rank
        factors, base = self._users(batch)
        bounds = (
            self._bounds
            if score_bounds.pays(users=len(base), rank=rank)
            else score_bounds.NO_BOUNDS
        )
        kernel.best_of_products(self.panels, factors, base, left_out, top, bounds)

    def score_all(self, batch: UserBatch) -> NDArray[np.float32]:
        factors, base = self._users(batch)
        return kernel.all_products(self.panels, factors, base)

    def _users(self, batch: UserBatch) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(users, rank) factors, and (users,) bias and mean."""
        rank = self.panels.rank
        if batch.vectors is None:
            count = len(batch.users)
            return np.zeros((count, rank), np.float32), np.full(count, self.mean, np.float32)
        factors = np.ascontiguousarray(batch.vectors[:, :rank])
        return factors, batch.vectors[:, rank] + np.float32(self.mean)

    @cached_property
    def _bounds(self) -> score_bounds.ItemBounds:
        # In the worker, once for as long as it holds the scorer: it costs less than its way there.
        return score_bounds.bounds_of_items(self.panels.factors, self.panels.biases)

    def score(self, batch: UserBatch, pairs: Pairs) -> NDArray[np.float64]:
        """(n,) in float64; users and items that the model does not know have zeros."""
        scores = np.zeros(len(pairs.rows))
        known = pairs.columns >= 0
        vectors = batch.vectors
        if vectors is not None:
            scores += vectors[pairs.rows, -1]
        factors, biases = self.panels.columns(pairs.columns[known])
        products = biases.astype(np.float64)
        if vectors is not None:
            users = vectors[pairs.rows[known], :-1].astype(np.float64)
            products += np.einsum("nk,nk->n", users, factors)
        scores[known] += products
        return scores + self.mean

    def shown(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.scale is None or not self.sigmoid:
            return scores
        return self._squeezed(scores.astype(np.float64)).astype(np.float32)

    def ratings(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.scale is None:
            return scores
        low, high = self.scale
        found = np.clip(self._squeezed(scores) if self.sigmoid else scores, low, high)
        if self.step is None:
            return found
        return np.minimum(low + np.round((found - low) / self.step) * self.step, high)

    def _squeezed(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Low + (high - low) / (1 + exp(-score)), for the ends of the scale and what is beyond."""
        assert self.scale is not None  # noqa: S101 - a sigmoid has one
        low, high = self.scale[0] - self.beyond, self.scale[1] + self.beyond
        # tanh does not overflow where exp would.
        return low + (high - low) * (0.5 + 0.5 * np.tanh(scores / 2))


def matrix_of(factors: pa.ListArray, rank: int) -> NDArray[np.float32]:
    """(rows, rank) of lists of numbers."""
    values: NDArray[np.float32] = factors.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(factors), rank)


__all__ = ["FactorScorer", "ItemArrays", "matrix_of"]
