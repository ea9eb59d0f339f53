"""What a process does in a fit of SASRec: it learns from the histories of its users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from recpipe.kernels import ids
from recpipe.models.neural.training import Batch, Phase, rows_of
from recpipe.models.neural.transformer import ITEMS, Encoder, initial_weights, padded
from recpipe.ranking.histories import Histories, histories_of
from recpipe.spark.interactions import unpaired

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from recpipe.models.neural.training import Shard
    from recpipe.models.neural.transformer import Shape
    from recpipe.spark.interactions import Arrays

    Ints = NDArray[np.int32]
    Floats = NDArray[np.float32]

USER = "user"
"""The part of `ROWS` with the vectors of users. The part `ITEMS` has those of items; every other
array of weights is a part under its own name, in one row, flattened row by row."""

K = 10
"""The k of NDCG@k on validation."""
_SCORES = 1 << 24
"""Numbers of an array that a process holds at a time for validation: 64 MiB."""
_USERS_AT_ONCE = 1 << 14
"""Users whose vectors a process computes at a time."""


@dataclass(frozen=True, eq=False)
class SequenceJob:
    """A fit of SASRec: `training.Job`. Its feeds are likings and, if there is one, validation.

    The value of a liking is its place in time; that of the newest is 1.

    Args:
        items: all items with a liking, ascending.
        shape: of the network.
        dropout: of the network.
        batch_size: users of a step, of all processes together.
        negatives: items drawn for a step; None for all items.
    """

    items: Ints
    shape: Shape
    dropout: float
    batch_size: int
    negatives: int | None

    def begin(self, shard: Shard, seed: int) -> SequenceWork:
        """See `training.Job`."""
        # The last feed of every shard has no reader, and so no arrays.
        likings, *validation = (each for each in shard.arrays if each is not None)
        users = ids.distinct(unpaired(likings.keys)[0])
        rows = histories_of(likings, users)
        # Every liked item is one of the job's, so that each has a place.
        rows = rows._replace(items=ids.positions(self.items, rows.items).astype(np.int32))
        sequences = padded(rows, length=self.shape.max_length + 1)
        held_out = [ValidationUsers.of(self, users, rows, arrays) for arrays in validation]
        return SequenceWork(
            self,
            shard.rank,
            -(-self.batch_size // shard.processes),
            seed,
            users,
            rows,
            sequences,
            held_out,
        )


@dataclass(frozen=True, eq=False)
class ValidationUsers:
    """Users of a process who have likings in validation, and how well lists find these.

    Args:
        inputs: (n, max_length) their histories, as `padded` has them.
        seen: items of each row that are left out of its list.
        relevant: held-out items of each row.
        counts: (n,) likings in validation of each row, those of unknown items included.
    """

    inputs: Ints
    seen: Histories
    relevant: Histories
    counts: NDArray[np.int64]

    @classmethod
    def of(
        cls, job: SequenceJob, users: Ints, rows: Histories, validation: Arrays
    ) -> ValidationUsers:
        """Of the users of a process; those without a history are left out."""
        found = histories_of(validation, users)
        counts = np.diff(found.offsets)
        chosen = np.flatnonzero(counts)
        seen, relevant = rows.rows(chosen), found.rows(chosen)
        relevant = relevant._replace(items=ids.positions(job.items, relevant.items))
        inputs = padded(seen, length=job.shape.max_length)
        return cls(inputs, seen, relevant, counts[chosen])

    def loss(self, network: Any) -> tuple[float, float]:
        """The sum over all users of 1 - NDCG@10, and their number."""
        import torch

        shape = network.shape
        # Of few items it is the states and the shares of attention that take the memory.
        inner = shape.max_length * max(shape.rank, shape.heads * shape.max_length)
        step = max(1, _SCORES // max(shape.items, inner))
        total, device = 0.0, network.items.weight.device
        for first in range(0, len(self.inputs), step):
            rows = slice(first, min(first + step, len(self.inputs)))
            inputs = torch.from_numpy(self.inputs[rows].astype(np.int64)).to(device)
            scores = (network.states(inputs)[:, -1] @ network.items.weight.T).cpu().numpy()
            total += self._ndcg(rows, scores)
        return len(self.inputs) - total, float(len(self.inputs))

    def _ndcg(self, rows: slice, scores: Floats) -> float:
        """The sum of NDCG@10 over some rows.

        Args:
            rows: which of all.
            scores: (rows, items); those of seen items are overwritten.
        """
        seen, relevant = self.seen.rows(rows), self.relevant.rows(rows)
        count = len(scores)
        scores[np.repeat(np.arange(count), np.diff(seen.offsets)), seen.items] = -np.inf
        k = min(K, scores.shape[1])
        best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
        best = np.take_along_axis(best, order, axis=1)
        # A pair of row and item as one number. An unknown item gets a column that no list has.
        width = scores.shape[1] + 1
        owner = np.repeat(np.arange(count), np.diff(relevant.offsets))
        wanted = owner * width + np.where(relevant.items < 0, width - 1, relevant.items)
        hits = np.isin(np.arange(count)[:, None] * width + best, wanted)
        gains = 1 / np.log2(np.arange(K) + 2.0)
        ideal = np.cumsum(gains)[np.minimum(self.counts[rows], K) - 1]
        return float(((hits * gains[:k]).sum(axis=1) / ideal).sum())


@dataclass(frozen=True, eq=False)
class SequenceWork:
    """`training.Work` of SASRec.

    Args:
        job: of the fit.
        rank: of the process.
        batch_size: users of a step of this process.
        seed: of the first weights.
        users: of the process, ascending.
        histories: of these, items as places among those of the job.
        sequences: (users, max_length + 1) what is learned from, as `padded` has them.
        held_out: the users with likings in validation; empty where there is no validation.
    """

    job: SequenceJob
    rank: int
    batch_size: int
    seed: int
    users: Ints
    histories: Histories
    sequences: Ints
    held_out: Sequence[ValidationUsers]

    def phases(self) -> Iterator[Phase]:
        """See `training.Work`: one network."""
        from recpipe.models.neural.sequence_network import SequenceNetwork

        job = self.job
        first = initial_weights(job.shape, seed=self.seed)
        sparse = job.negatives is not None
        yield Phase(SequenceNetwork(job.shape, first, dropout=job.dropout, sparse=sparse))

    def batches(self, rng: np.random.Generator) -> Iterator[Batch]:
        """See `training.Work`: histories of some users, and items drawn for all of them.

        An example is a position with a next item.
        """
        job = self.job
        order = rng.permutation(np.flatnonzero(np.diff(self.histories.offsets) > 1))
        for first in range(0, len(order), self.batch_size):
            rows = self.sequences[order[first : first + self.batch_size]]
            # Columns in which no row of the batch has an item are left out.
            rows = rows[:, (rows >= 0).any(axis=0)].astype(np.int64)
            drawn: tuple[NDArray[np.int64], ...] = ()
            if job.negatives is not None:
                drawn = (rng.integers(0, job.shape.items, job.negatives),)
            yield Batch(int((rows[:, :-1] >= 0).sum()), (rows, *drawn))

    def loss(self, network: Any, tensors: tuple[Any, ...]) -> Any:
        """See `training.Work`."""
        return network.loss(*tensors)

    def validation(self, network: Any) -> tuple[float, float]:
        """See `training.Work`: 1 - NDCG@10 of users with a history."""
        found = [part.loss(network) for part in self.held_out]
        return sum(total for total, _ in found), sum(count for _, count in found)

    def rows(self, network: Any) -> Iterator[pa.RecordBatch]:
        """`ROWS`: see `USER`."""
        weights = network.weights()
        encoder = Encoder(self.job.shape, weights)
        for first in range(0, len(self.users), _USERS_AT_ONCE):
            part = slice(first, min(first + _USERS_AT_ONCE, len(self.users)))
            yield from rows_of(USER, self.users[part], encoder(self.histories.rows(part))[:, :-1])
        if self.rank:
            return
        items = weights.pop(ITEMS)
        yield from rows_of(ITEMS, self.job.items, items)
        for name, numbers in weights.items():
            yield from rows_of(name, np.zeros(1, np.int32), numbers.reshape(1, -1))


__all__ = ["USER", "K", "SequenceJob"]
