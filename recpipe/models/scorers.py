"""What scores all items for some users, and goes to the workers for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from recpipe.kernels import topn as kernel

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame


class Scorer(Protocol):
    """Scores items for users: arrays and scalars only. Its items are all, or a block of them."""

    @property
    def items(self) -> NDArray[np.int32]:
        """The candidates, ascending."""
        ...

    def inputs(self, batch: pa.RecordBatch) -> NDArray[Any]:
        """What the scores of a batch's users come from: one row a user, in the batch's order."""
        ...

    def tile(
        self, inputs: NDArray[Any], start: int, stop: int, out: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Scores of `inputs` against items start..stop, written to `out` (rows, stop - start)."""
        ...

    def present(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """The scores that people see: any function that keeps their order."""
        ...


@dataclass(frozen=True, eq=False)
class FactorScorer:
    """Scores by factors and biases: one matrix product.

    Args:
        items: (I,) item numbers, ascending.
        block: (I, rank + 2) item factors, item bias, 1: against user factors, 1, mean + user bias
            the product is the whole score, without another pass over it.
        mean: added to every score.
        logistic: (low, high) of a sigmoid that scores pass at the end, or None.
    """

    items: NDArray[np.int32]
    block: NDArray[np.float32]
    mean: float
    logistic: tuple[float, float] | None = None

    @staticmethod
    def item_bytes(*, rank: int) -> int:
        """What the arrays take for one item."""
        return (rank + 3) * 4

    def inputs(self, batch: pa.RecordBatch) -> NDArray[np.float32]:
        rank = self.block.shape[1] - 2
        rows = np.empty((batch.num_rows, rank + 2), np.float32)
        rows[:, :rank] = _matrix(batch.column("factors"), rank)
        rows[:, rank] = 1
        rows[:, rank + 1] = batch.column("bias").to_numpy() + np.float32(self.mean)
        return rows

    def tile(
        self, inputs: NDArray[Any], start: int, stop: int, out: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        return np.matmul(inputs, self.block[start:stop].T, out=out)

    def present(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.logistic is None:
            return scores
        low, high = self.logistic
        # tanh does not overflow where exp would.
        share = 0.5 + 0.5 * np.tanh(scores.astype(np.float64) / 2)
        return (low + (high - low) * share).astype(np.float32)


@dataclass(frozen=True, eq=False)
class RandomScorer:
    """Scores in [0, 1) that depend on nothing but the seed, the user and the item.

    Args:
        items: (I,) item numbers, ascending.
        seed: of the hash.
    """

    items: NDArray[np.int32]
    seed: int

    def inputs(self, batch: pa.RecordBatch) -> NDArray[np.int32]:
        users: NDArray[np.int32] = batch.column("user").to_numpy()
        return users

    def tile(
        self, inputs: NDArray[Any], start: int, stop: int, out: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        kernel.hash_scores(np.uint64(self.seed % 2**64), inputs, self.items[start:stop], out)
        return out

    def present(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        return scores


def factor_block(
    item_factors: DataFrame, *, rank: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Item factors on the driver: ids ascending, and the block of `FactorScorer`."""
    table = item_factors.select("item", "factors", "bias").toArrow().combine_chunks()
    ids = table.column("item").to_numpy().astype(np.int32)
    order = np.argsort(ids, kind="stable")
    block = np.empty((len(ids), rank + 2), np.float32)
    block[:, :rank] = _matrix(table.column("factors").combine_chunks(), rank)[order]
    block[:, rank] = table.column("bias").to_numpy()[order]
    block[:, rank + 1] = 1
    return ids[order], block


def _matrix(factors: pa.ListArray, rank: int) -> NDArray[np.float32]:
    values: NDArray[np.float32] = factors.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(factors), rank)


__all__ = ["FactorScorer", "RandomScorer", "Scorer", "factor_block"]
