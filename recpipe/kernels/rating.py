"""How far predicted ratings are from held-out ones: many models at once, as arrays of pairs.

Which pairs a model predicts differs from model to model, so pairs are told apart by the set of
models that predict them, the bits of a mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    Terms = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]

STRAY, REPEATED, INFINITE = 1, 2, 3
"""What is wrong with a prediction: of a pair that is not held out, more than once, not finite."""


_MAX_MODELS = 62


class Rated(NamedTuple):
    """Pairs with a number each, in any order.

    Args:
        pairs: (n,) user and item, as `pairs` has them.
        values: (n,) ratings or predictions.
    """

    pairs: NDArray[np.int64]
    values: NDArray[np.float32]


class Compared(NamedTuple):
    """What is to be said of held-out pairs and the predictions of M models.

    Args:
        masks: (G,) the sets of models, ascending; 0 is of the pairs that none predicts.
        pairs: (G,) held-out pairs that these and no other models predict.
        users: (G,) of them, distinct.
        sums: (G, M, T) sums of each kind of terms; of no meaning for a model that is not in the
            set.
        repeated: (1,) rows of held-out pairs beyond the first.
        reached: (M,) distinct users of the held-out pairs that a model predicts.
        faults: (M,) pairs with a wrong prediction.
        worst: (M,) the highest of what is wrong; 0 for nothing.
    """

    masks: NDArray[np.int64]
    pairs: NDArray[np.int64]
    users: NDArray[np.int64]
    sums: NDArray[np.float64]
    repeated: NDArray[np.int64]
    reached: NDArray[np.int64]
    faults: NDArray[np.int64]
    worst: NDArray[np.int64]


def compare(held: Rated, predicted: Sequence[Rated], *, terms: Sequence[Terms]) -> Compared:
    """Compare predictions with what was held out.

    Args:
        held: the held-out pairs with their ratings.
        predicted: by each model, its pairs with their predictions.
        terms: T functions of ratings and predictions, (pairs,) and (M, pairs), to the numbers that
            are summed, (M, pairs).

    Raises:
        ValueError: for more than 62 models, whose sets no mask can name.
    """
    models = len(predicted)
    if models > _MAX_MODELS:
        raise ValueError(f"{models} models at once, more than {_MAX_MODELS}")
    pairs, first = np.unique(held.pairs, return_index=True)
    ratings = held.values[first].astype(np.float64)
    mask = np.zeros(len(pairs), np.int64)
    # Where a model predicts nothing the rating stands, so that terms have a number to work on.
    predictions = np.tile(ratings, (models, 1))
    faults, worst = np.zeros((2, models), np.int64)
    for model, (rows, values) in enumerate(predicted):
        mine, index, times = np.unique(rows, return_index=True, return_counts=True)
        value = values[index].astype(np.float64)
        at = np.searchsorted(pairs, mine)
        known = np.append(pairs, -1)[at] == mine
        known &= at < len(pairs)
        wrong = np.select(
            [~known, times > 1, ~np.isfinite(value)], [STRAY, REPEATED, INFINITE], default=0
        )
        faults[model], worst[model] = np.count_nonzero(wrong), wrong.max(initial=0)
        predictions[model, at[known]] = value[known]
        mask[at[known]] |= 1 << model
    masks = np.unique(mask)
    groups = [mask == value for value in masks]
    users = pairs >> 32
    return Compared(
        masks,
        pairs=_ints(int(np.count_nonzero(group)) for group in groups),
        users=_ints(_distinct(users[group]) for group in groups),
        sums=_sums([of(ratings, predictions) for of in terms], models, groups),
        repeated=_ints([len(held.pairs) - len(pairs)]),
        reached=_ints(_distinct(users[mask >> model & 1 > 0]) for model in range(models)),
        faults=faults,
        worst=worst,
    )


def added(parts: Sequence[Compared]) -> Compared:
    """What is to be said of all users, from what was said of each part of them.

    Sums are taken in the order of the parts.

    Args:
        parts: at least one.
    """
    whole = {name: [getattr(part, name) for part in parts] for name in Compared._fields}
    masks, group = np.unique(np.concatenate(whole["masks"]), return_inverse=True)
    by_group = {}
    for name in ("pairs", "users", "sums"):
        values = np.concatenate(whole[name])
        by_group[name] = np.zeros((len(masks), *values.shape[1:]), values.dtype)
        np.add.at(by_group[name], group, values)
    sums = {name: np.sum(whole[name], axis=0) for name in ("repeated", "reached", "faults")}
    return Compared(masks, **by_group, **sums, worst=np.max(whole["worst"], axis=0))


def _ints(values: Iterable[int]) -> NDArray[np.int64]:
    return np.fromiter(values, np.int64)


def _sums(
    terms: Sequence[NDArray[np.float64]], models: int, groups: Sequence[NDArray[np.bool_]]
) -> NDArray[np.float64]:
    """(G, M, T) of T times (M, pairs)."""
    sums = np.zeros((len(groups), models, len(terms)))
    for place, values in enumerate(terms):
        for row, group in enumerate(groups):
            sums[row, :, place] = values[:, group].sum(axis=1)
    return sums


def _distinct(ascending: NDArray[np.int64]) -> int:
    return int(np.count_nonzero(np.diff(ascending))) + (len(ascending) > 0)


__all__ = ["INFINITE", "REPEATED", "STRAY", "Compared", "Rated", "added", "compare"]
