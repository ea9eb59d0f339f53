"""Scores of several models on one scale, and their weighted sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recpipe.kernels import ids
from recpipe.ranking.scorer import DenseScorer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from recpipe.ranking.item_blocks import Items
    from recpipe.ranking.user_batch import UserBatch


@dataclass(frozen=True, eq=False)
class Component:
    """One model of a blend, as a task gets it.

    Args:
        items: its scorers.
        everyone: whether it scores users of whom it knows nothing.
        weight: of its scores.
    """

    items: Items
    everyone: bool
    weight: float


@dataclass(frozen=True, eq=False)
class BlendScorer(DenseScorer):
    """The weighted sum of standard scores.

    The scores of a model for a user are brought to mean 0 and deviation 1 over all items that the
    model knows. An item that it does not know stands with the lowest of them, and a user whom it
    does not know gets 0 for every item, so that the other models decide.

    Args:
        items: all items that any component knows, ascending.
        components: the models, in the order of `UserBatch.components`.
    """

    items: NDArray[np.int32]
    components: tuple[Component, ...]

    def score_all(self, batch: UserBatch) -> NDArray[np.float32]:
        total = np.zeros((len(batch.users), len(self.items)), np.float32)
        for place, component in enumerate(self.components):
            total += np.float32(component.weight) * self.standard_scores(batch, place)
        return total

    def standard_scores(self, batch: UserBatch, place: int) -> NDArray[np.float32]:
        """(users, items) the standard scores of one component."""
        component, own = self.components[place], batch.components[place]
        found = np.full((len(batch.users), len(self.items)), np.nan, np.float32)
        for scorer in component.items.scorers():
            found[:, ids.positions(self.items, scorer.items)] = scorer.score_all(own)
        # A component scores the same items for every user, so the first one tells which.
        known = ~np.isnan(found[0]) if len(found) else np.zeros(len(self.items), bool)
        # In float64, so that the sums over many items are right to the last digit of float32.
        scores = found[:, known].astype(np.float64)
        scores -= scores.mean(axis=1, keepdims=True)
        deviation = scores.std(axis=1, keepdims=True)
        scores /= np.where(deviation > 0, deviation, 1)
        found[:, known] = scores
        found[:, ~known] = scores.min(axis=1, keepdims=True, initial=0)
        if not component.everyone:
            found[~own.known] = 0
        return found


@dataclass(frozen=True, eq=False)
class BlendItems:
    """The items of a blend, as `ranking.item_blocks.Items`: one scorer of all of them.

    It goes to the tasks itself: what is broadcast is the items of its components.

    Args:
        scorer: of all items.
    """

    scorer: BlendScorer

    @classmethod
    def of(cls, components: tuple[Component, ...]) -> BlendItems:
        """On the driver: of all items that the components know."""
        known = [scorer.items for component in components for scorer in component.items.scorers()]
        return cls(BlendScorer(np.unique(np.concatenate(known)), components))

    @property
    def count(self) -> int:
        return len(self.scorer.items)

    def scorers(self) -> Iterator[BlendScorer]:
        yield self.scorer


__all__ = ["BlendItems", "BlendScorer", "Component"]
