"""When a trial is given up: a variant of the median stopping rule (Golovin et al. 2017).

They take the median of running averages of completed trials; here it is of the best values so far,
and trials that were given up count for the epochs that they had. A trial whose best value so far is
worse than the median of what earlier trials had reached by the same epoch ends. The limits are
known before a trial begins, so that its fit needs to ask nobody, on whichever machine it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

FEWEST_CURVES = 4
"""Earlier trials below which none is given up."""

FIRST_EPOCHS = 10
"""Epochs after which a trial may be given up at the earliest: between learning biases and learning
factors the RMSE stands still, and a small learning rate begins slowly and may end well."""


def limits(
    ended: Sequence[Sequence[float]], given_up: Sequence[Sequence[float]] = ()
) -> tuple[float, ...]:
    """By epoch from 1, the RMSE above which the best so far of a trial must not lie.

    Args:
        ended: curves of the trials that ended well, the RMSE on validation after each epoch. What a
            trial has reached when it stops counts for later epochs as well.
        given_up: curves of those that were given up. They count for the epochs that they had:
            with the others alone the limits of the first epochs would fall from trial to trial.

    Returns:
        As many as the longest curve has, and at least `FIRST_EPOCHS`; none where too few have ended
        well.
    """
    ended = [curve for curve in ended if len(curve)]
    if len(ended) < FEWEST_CURVES:
        return ()
    longest = max(FIRST_EPOCHS, *map(len, ended))
    reached = np.full((len(ended) + len(given_up), longest), np.nan)
    for row, curve in zip(reached, (*ended, *given_up), strict=True):
        row[: len(curve)] = np.minimum.accumulate(curve)[:longest]
    for row, curve in zip(reached, ended, strict=False):
        row[len(curve) :] = row[len(curve) - 1]
    medians = np.nanmedian(reached, axis=0)
    medians[: FIRST_EPOCHS - 1] = np.inf
    return tuple(medians.tolist())


__all__ = ["FEWEST_CURVES", "FIRST_EPOCHS", "limits"]
