"""Why an item is in a list: how much each item of the user's history spoke for it.

A score that is a sum over the history has one addend for each item of it: these are the reasons,
the largest first. Models say how their scores fall apart into such sums by an `Explainer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from recpipe.kernels import ids
from recpipe.ranking.histories import HISTORY_KINDS, histories_of, packed_histories
from recpipe.ranking.pairs import items_by_user, packed_pairs, runs_of
from recpipe.spark.columns import batch_of
from recpipe.spark.interactions import arrays_of, mapped, together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.ranking.item_blocks import Items
    from recpipe.spark.interactions import Interactions, Mapped

    Ints = NDArray[np.int32]
    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]

REASONS = "user int, item int, reason int, because int, weight float"
"""Of a place of a list: the items of the user's history that spoke for it, `reason` from 1."""


class Explainer(Protocol):
    """How scores of a block of items fall apart; arrays only, since it is sent to the workers."""

    @property
    def items(self) -> Ints:
        """The items whose scores it explains, ascending."""
        ...

    def shares(self, history: Ints, values: Floats, columns: Ints) -> Doubles:
        """(columns, history) what each item of a user's history adds to the score of each item.

        Args:
            history: items, ascending; all of the user's.
            values: of each.
            columns: places in `items`.
        """
        ...


@dataclass(frozen=True, eq=False)
class Reasons:
    """How a fitted model explains its lists.

    Args:
        explainers: sends the explainers of all items to the workers, as scorers are sent.
        histories: (user int, item int, value float): what users are scored from.
    """

    explainers: Callable[[], Items]
    histories: Interactions


def reasons_for(lists: DataFrame, reasons: Reasons, *, n: int) -> Mapped:
    """REASONS: the n items of the history that spoke most for each place, of those that did.

    Of equal ones the lower item comes first. A place has fewer reasons where fewer items spoke for
    it: those that spoke against it, or not at all, are none.

    Args:
        lists: (user int, item int, ...): the places.
        reasons: of the model that made them.
        n: how many for each.
    """
    packed = packed_pairs(lists)
    histories = packed_histories(reasons.histories, buckets=packed.buckets)
    found = partial(_reasons, explainers=reasons.explainers(), n=n)
    return mapped(together([packed.rows, histories], buckets=packed.buckets), found, REASONS)


def _reasons(
    batches: Iterator[pa.RecordBatch], *, explainers: Items, n: int
) -> Iterator[pa.RecordBatch]:
    """The reasons of the users of one bucket."""
    runs, arrays = arrays_of(batches, [runs_of, HISTORY_KINDS])
    if not len(runs.users):
        return
    users = ids.distinct(runs.users)
    listed = items_by_user(users, runs)
    histories = histories_of(arrays, users)
    for scorer in explainers.scorers():
        # What `Reasons.explainers` sends are explainers, by the way that scorers take.
        explainer = cast("Explainer", scorer)
        rows = []
        for row, user in enumerate(users):
            wanted = listed.items[listed.offsets[row] : listed.offsets[row + 1]]
            columns = ids.positions(explainer.items, wanted)
            of_user = slice(histories.offsets[row], histories.offsets[row + 1])
            items, values = histories.items[of_user], histories.values[of_user]
            known = columns >= 0  # the others are in another block
            if not (known.any() and len(items)):
                continue
            shares = explainer.shares(items, values, columns[known])
            rows.append(_best(int(user), wanted[known], items, shares, n))
        if rows:
            yield batch_of(REASONS, *map(np.concatenate, zip(*rows, strict=True)))


def _best(
    user: int, wanted: Ints, items: Ints, shares: Doubles, n: int
) -> tuple[Ints, Ints, Ints, Ints, Floats]:
    """The columns of REASONS of one user."""
    # Stable, and items ascend: of equals the lowest comes first.
    order = np.argsort(-shares, axis=1, kind="stable")[:, :n]
    weights = np.take_along_axis(shares, order, axis=1)
    place, reason = np.nonzero(weights > 0)
    chosen = order[place, reason]
    return (
        np.full(len(place), user, np.int32),
        wanted[place],
        (reason + 1).astype(np.int32),
        items[chosen],
        weights[place, reason].astype(np.float32),
    )


__all__ = ["REASONS", "Explainer", "Reasons", "reasons_for"]
