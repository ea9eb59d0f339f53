"""Scores from the profiles of items, by two sparse products."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from recpipe.kernels import ids
from recpipe.models.content.profiles import ItemRows
from recpipe.ranking.scorer import DenseScorer

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame
    from scipy.sparse import csr_array

    from recpipe.kernels.neighbour_scores import Links
    from recpipe.ranking.user_batch import UserBatch

    Ints = NDArray[np.int32]
    Doubles = NDArray[np.float64]

_CELLS = 1 << 22
"""Numbers of users' profiles that are held at once: 16 MiB."""


@dataclass(frozen=True, eq=False)
class ContentScorer(DenseScorer):
    """The product of the profiles of an item and of a user.

    A user's profile is the sum of those of the items that the user took up, at length 1, so the
    score is a cosine where the profiles of items have length 1 too.
    Memory grows with the terms of all items and of the block; time with the terms of all items of
    a user's history, and with the items of the block that have the user's terms.

    Args:
        items: (I,) of the block, ascending.
        known: (n,) items that have a profile, ascending.
        profiles: from each of `known` to its terms.
        inverted: from each term to the items of the block.
        terms: how many there are.
    """

    items: Ints
    known: Ints
    profiles: Links
    inverted: Links
    terms: int

    @classmethod
    def of(cls, block: DataFrame, *, every: ItemRows, terms: int) -> ContentScorer:
        """The scorer of some rows of PROFILES, brought to the driver.

        Args:
            block: the candidates.
            every: the profiles of all items, of which users' are made.
            terms: how many there are.
        """
        from recpipe.kernels.neighbour_scores import inverted

        own = ItemRows.of(block)
        by_term = inverted(own.sizes, own.terms, own.values, of=terms)
        return cls(own.items, every.items, every.links, by_term, terms)

    def shares(self, history: Ints, values: NDArray[np.float32], columns: Ints) -> Doubles:
        """See `reasons.Explainer`: v_i p_i . p_j / L, for the length L of the sum of v_i p_i."""
        rows = ids.positions(self.known, history)
        known = np.flatnonzero(rows >= 0)
        took_up = self._by_item[rows[known]].multiply(values[known, None].astype(np.float64))
        length = np.sqrt(np.square(took_up.sum(axis=0)).sum())
        found = np.zeros((len(columns), len(history)))
        if length:
            found[:, known] = (took_up @ self._by_term[:, columns]).toarray().T / length
        return found

    @cached_property
    def _by_item(self) -> csr_array:
        """(known, terms) the profiles; in the worker, once."""
        return self.profiles.matrix(self.terms)

    @cached_property
    def _by_term(self) -> csr_array:
        """(terms, items) those of the block, the other way round."""
        return self.inverted.matrix(len(self.items))

    def score_all(self, batch: UserBatch) -> NDArray[np.float32]:
        from recpipe.kernels.neighbour_scores import Links, weighted_sums

        product = partial(weighted_sums, rated=True, lowest=-np.inf, binary=False)
        found = np.empty((len(batch.users), len(self.items)), np.float32)
        for rows in batch.slices(_CELLS // max(1, self.terms)):
            histories = batch.at(rows).histories
            assert histories is not None  # noqa: S101 - what the model asks for
            offsets, items, values = histories
            took_up = Links(offsets, ids.positions(self.known, items), values)
            sums = product(took_up, self.profiles, targets=self.terms)
            row, term = np.nonzero(sums)
            ends = np.cumsum(np.bincount(row, minlength=len(sums)), dtype=np.int64)
            lengths = np.sqrt(np.square(sums, dtype=np.float64).sum(axis=1))
            users = Links(
                np.concatenate([np.zeros(1, np.int64), ends]),
                term.astype(np.int32),
                (sums[row, term] / lengths[row]).astype(np.float32),
            )
            found[rows] = product(users, self.inverted, targets=len(self.items))
        return found


__all__ = ["ContentScorer"]
