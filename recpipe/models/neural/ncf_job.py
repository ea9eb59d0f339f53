"""What processes do for neural collaborative filtering: log loss on likings and drawn items.

A liking (u, i) is an example with label 1. For each, `negatives` items that the user has not liked
are drawn, each with the same chance, as examples with label 0. What is minimised is the mean over
the examples of

    -y log sigma(s) - (1 - y) log(1 - sigma(s)) + regularization / 2 |factors of u and i|^2

for the score s. Under `train.half_life` a liking, and what is drawn for it, weighs as the liking.

Epochs are compared by the mean, over the likings of validation, of 1 - NDCG, where each liking is
ranked among 100 items that were drawn once and NDCG is 1 / log2(1 + rank). Log loss would stop
earlier than is good for lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from recpipe.kernels import ids
from recpipe.models.neural.ncf_shape import NcfShape
from recpipe.models.neural.training import Batch, Phase, rows_of
from recpipe.spark.interactions import unpaired

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

    from recpipe.models.neural.training import Shard
    from recpipe.spark.interactions import Arrays

    Longs = NDArray[np.int64]
    Floats = NDArray[np.float32]

_AGAINST = 100
"""Drawn items among which a liking of validation is ranked."""
_MAX_ASKED = 20_000
"""Likings of validation that a process ranks, at most."""
_AT_ONCE = 1 << 16
"""Pairs that validation scores at once."""


@dataclass(frozen=True)
class NcfJob:
    """`training.Job` of GMF, MLP and NeuMF.

    Args:
        items: all that have a liking, ascending.
        shape: of the network.
        batch_size: likings of a step of one process.
        negatives: drawn for each liking.
        regularization: see the module.
        pretrain: epochs of each part alone.
        validated: whether the second feed is validation.
    """

    items: NDArray[np.int32]
    shape: NcfShape
    batch_size: int
    negatives: int
    regularization: float
    pretrain: int = 0
    validated: bool = False

    def begin(self, shard: Shard, seed: int) -> NcfWork:
        """See `training.Job`."""
        return NcfWork(self, shard, seed)


class Likings:
    """Likings of some users, and items that these have not liked.

    Args:
        arrays: pairs of user and item, each once, and what each weighs.
        items: all items, ascending.
    """

    def __init__(self, arrays: Arrays, items: NDArray[np.int32]) -> None:
        # A pair is the user above the item, so this is the order of users and of their items.
        order = np.argsort(arrays.keys, kind="stable")
        users, liked = unpaired(arrays.keys[order])
        self.users = ids.distinct(users)
        self.rows = ids.positions(self.users, users).astype(np.int64)
        self.columns = ids.positions(items, liked).astype(np.int64)
        self.weights = arrays.values[order]
        self._items = len(items)
        sizes = np.bincount(self.rows, minlength=len(self.users))
        self._offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        self.free = self._items - sizes
        # How many items that are not liked lie before each that is; ascending over all users.
        before = self.columns - (np.arange(len(self.rows)) - self._offsets[self.rows])
        self._before = self.rows * (self._items + 1) + before

    def drawn(self, rows: Longs, rng: np.random.Generator) -> Longs:
        """An item for each row of a user, of those not liked, each with the same chance.

        Args:
            rows: of users for whom `free` is not 0.
            rng: draws.
        """
        place = rng.integers(0, self.free[rows])
        asked = rows * (self._items + 1) + place
        passed = np.searchsorted(self._before, asked, side="right") - self._offsets[rows]
        found: Longs = place + passed
        return found


class NcfWork:
    """`training.Work`: the likings of the users of a process.

    Args:
        job: of the processes.
        shard: of this one.
        seed: of the fit.
    """

    def __init__(self, job: NcfJob, shard: Shard, seed: int) -> None:
        self.job, self.rank = job, shard.rank
        self.likings = Likings(shard.arrays[0], job.items)
        rng = np.random.default_rng([seed % 2**32, shard.rank])
        self.asked = self._asked(shard.arrays[1], rng) if job.validated else None

    def _asked(self, arrays: Arrays, rng: np.random.Generator) -> tuple[Longs, Longs]:
        """(n,) users, and (n, 1 + _AGAINST) the items of each: first the liking."""
        users, liked = unpaired(np.sort(arrays.keys))
        rows = ids.positions(self.likings.users, users).astype(np.int64)
        columns = ids.positions(self.job.items, liked).astype(np.int64)
        known = np.flatnonzero((rows >= 0) & (columns >= 0))
        known = known[self.likings.free[rows[known]] > 0]
        if len(known) > _MAX_ASKED:
            known = np.sort(rng.choice(known, _MAX_ASKED, replace=False))
        rows, columns = rows[known], columns[known]
        against = self.likings.drawn(np.repeat(rows, _AGAINST), rng).reshape(len(rows), _AGAINST)
        return rows, np.column_stack([columns, against])

    def phases(self) -> Iterator[Phase]:
        """See `training.Work`."""
        from recpipe.models.neural.ncf_network import Ncf

        job, (rank, width, layers, dropout) = self.job, self.job.shape
        sizes = len(self.likings.users), len(job.items)
        if not job.pretrain:
            yield Phase(Ncf(*sizes, job.shape))
            return
        product = Ncf(*sizes, NcfShape(rank))
        yield Phase(product, job.pretrain)
        perceptron = Ncf(*sizes, NcfShape(0, width, layers, dropout))
        yield Phase(perceptron, job.pretrain)
        yield Phase(Ncf.of_parts(product, perceptron, dropout))

    def batches(self, rng: np.random.Generator) -> Iterator[Batch]:
        """See `training.Work`: users, items, labels and weights of examples."""
        own, job = self.likings, self.job
        order = rng.permutation(len(own.rows))
        for start in range(0, len(order), job.batch_size):
            chosen = order[start : start + job.batch_size]
            rows = own.rows[chosen]
            # Whoever likes everything has no other item.
            some = np.repeat(chosen[own.free[rows] > 0], job.negatives)
            others = own.drawn(own.rows[some], rng)
            examples = np.concatenate([chosen, some])
            labels = np.zeros(len(examples), np.float32)
            labels[: len(chosen)] = 1
            yield Batch(
                len(examples),
                (
                    own.rows[examples],
                    np.concatenate([own.columns[chosen], others]),
                    labels,
                    own.weights[examples],
                ),
            )

    def loss(self, network: Any, tensors: tuple[Any, ...]) -> Any:
        """See `training.Work`, and the module."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        users, items, labels, weights = tensors
        embedded = network.embedded(users, items)
        found = binary_cross_entropy_with_logits(
            network.scores(embedded), labels, weights, reduction="sum"
        )
        if self.job.regularization:
            squares = sum(part.square().sum(dim=1) for part in embedded)
            found = found + self.job.regularization / 2 * (weights * squares).sum()
        return found

    def validation(self, network: Any) -> tuple[float, float]:
        """See `training.Work`, and the module; of equal scores the liking comes last."""
        import torch

        if self.asked is None or not len(self.asked[0]):
            return 0.0, 0.0
        users, items = self.asked
        device = network.out.bias.device
        lost = 0.0
        step = max(1, _AT_ONCE // (1 + _AGAINST))
        for start in range(0, len(users), step):
            some = items[start : start + step]
            rows = np.repeat(users[start : start + step], some.shape[1])
            scores = network(
                torch.from_numpy(rows).to(device), torch.from_numpy(some.ravel()).to(device)
            )
            found = scores.cpu().numpy().reshape(some.shape)
            rank = (found[:, 1:] >= found[:, :1]).sum(axis=1) + 1
            lost += float((1 - 1 / np.log2(rank + 1)).sum())
        return lost, float(len(users))

    def rows(self, network: Any) -> Iterator[pa.RecordBatch]:
        """See `training.Work`: parts `user`, `item` and `layer`, as `Ncf` has them."""
        yield from rows_of("user", self.likings.users, network.user_rows())
        if self.rank == 0:
            yield from rows_of("item", self.job.items, network.item_rows())
            for number, values in enumerate(network.layer_rows()):
                yield from rows_of("layer", np.array([number], np.int32), values.reshape(1, -1))


__all__ = ["Likings", "NcfJob", "NcfWork"]
