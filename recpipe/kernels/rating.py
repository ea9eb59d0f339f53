"""How far predicted ratings are from held-out ones: many models at once, as sums for each user."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

STRAY, REPEATED, INFINITE = 1, 2, 3
"""What is wrong with a prediction: of a pair that is not held out, more than once, not finite."""


class Rated(NamedTuple):
    """Pairs with a number each, in any order.

    Args:
        pairs: (n,) user and item, as `pairs` has them.
        values: (n,) ratings or predictions.
    """

    pairs: NDArray[np.int64]
    values: NDArray[np.float32]


class ErrorSums(NamedTuple):
    """Sums over pairs that are predicted, for U users and M models, each (M, U).

    Args:
        predicted: how many pairs.
        error: of prediction - rating.
        absolute: of its absolute value.
        squared: of its square.
        rating: of the rating.
        rating_squared: of its square.
    """

    predicted: NDArray[np.float64]
    error: NDArray[np.float64]
    absolute: NDArray[np.float64]
    squared: NDArray[np.float64]
    rating: NDArray[np.float64]
    rating_squared: NDArray[np.float64]


class Compared(NamedTuple):
    """What is to be said of the held-out pairs of U users and the predictions of M models.

    Args:
        held: (n,) the held-out pairs, ascending.
        errors: (M, n) prediction - rating; NaN where a model predicts no rating.
        users: (U,) ascending.
        pairs: (U,) held-out pairs of each.
        own: over the pairs that a model predicts.
        common: over the pairs that all models predict.
        repeated: rows of held-out pairs beyond the first.
        infinite: held-out pairs whose rating is not finite.
        faults: (M,) pairs with a wrong prediction.
        worst: (M,) the highest of what is wrong; 0 for nothing.
    """

    held: NDArray[np.int64]
    errors: NDArray[np.float64]
    users: NDArray[np.int32]
    pairs: NDArray[np.float64]
    own: ErrorSums
    common: ErrorSums
    repeated: int
    infinite: int
    faults: NDArray[np.int64]
    worst: NDArray[np.int64]


def compare(held: Rated, predicted: Sequence[Rated]) -> Compared:
    """Compare predictions with what was held out.

    Args:
        held: the held-out pairs with their ratings.
        predicted: by each model, its pairs with their predictions.
    """
    models = len(predicted)
    pairs, first = np.unique(held.pairs, return_index=True)
    ratings = held.values[first].astype(np.float64)
    errors = np.full((models, len(pairs)), np.nan)
    known = np.zeros((models, len(pairs)), bool)
    faults, worst = np.zeros((2, models), np.int64)
    for model, (rows, values) in enumerate(predicted):
        mine, index, times = np.unique(rows, return_index=True, return_counts=True)
        value = values[index].astype(np.float64)
        at = np.searchsorted(pairs, mine)
        held_out = np.append(pairs, -1)[at] == mine
        held_out &= at < len(pairs)
        wrong = np.select(
            [~held_out, times > 1, ~np.isfinite(value)], [STRAY, REPEATED, INFINITE], default=0
        )
        faults[model], worst[model] = np.count_nonzero(wrong), wrong.max(initial=0)
        at = at[held_out]
        errors[model, at] = value[held_out] - ratings[at]
        known[model, at] = True
    users, row, counts = np.unique(pairs >> 32, return_inverse=True, return_counts=True)
    all_predict = np.broadcast_to(known.all(axis=0), known.shape)
    return Compared(
        pairs,
        errors,
        users.astype(np.int32),
        counts.astype(np.float64),
        own=_sums(row, len(users), ratings, errors, known),
        common=_sums(row, len(users), ratings, errors, all_predict),
        repeated=len(held.pairs) - len(pairs),
        infinite=int(np.count_nonzero(~np.isfinite(ratings))),
        faults=faults,
        worst=worst,
    )


def _sums(
    row: NDArray[np.int64],
    users: int,
    ratings: NDArray[np.float64],
    errors: NDArray[np.float64],
    counted: NDArray[np.bool_],
) -> ErrorSums:
    """Sums over the pairs that are counted.

    Args:
        row: (pairs,) the place of each pair's user.
        users: how many there are.
        ratings: (pairs,)
        errors: (M, pairs)
        counted: (M, pairs)
    """
    found = np.zeros((len(ErrorSums._fields), len(errors), users))
    for model, (mine, chosen) in enumerate(zip(errors, counted, strict=True)):
        at, rating, error = row[chosen], ratings[chosen], mine[chosen]
        terms = (np.ones(len(at)), error, np.abs(error), error * error, rating, rating * rating)
        for place, term in enumerate(terms):
            found[place, model] = np.bincount(at, term, minlength=users)
    return ErrorSums(*found)


__all__ = ["INFINITE", "REPEATED", "STRAY", "Compared", "ErrorSums", "Rated", "compare"]
