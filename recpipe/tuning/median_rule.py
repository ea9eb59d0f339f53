"""When a trial is given up: the median rule (Golovin et al. 2017, Google Vizier, section 3.5.2).

A trial whose best value so far is worse than the median of what earlier trials had reached by the
same epoch ends. The limits are known before a trial begins, so that its fit needs to ask nobody, on
whichever machine it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

FEWEST_CURVES = 4
"""Earlier trials below which none is given up."""

FIRST_EPOCHS = 5
"""Epochs after which a trial may be given up at the earliest: between learning biases and learning
factors the RMSE stands still, with some settings longer than with others."""


def limits(curves: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """By epoch from 1, the RMSE above which the best so far of a trial must not lie.

    Args:
        curves: of the trials that ended well, the RMSE on validation after each epoch. What a
            trial has reached when it stops counts for later epochs as well.

    Returns:
        As many as the longest curve has, and at least `FIRST_EPOCHS`; none where there are too few
        curves.
    """
    curves = [curve for curve in curves if len(curve)]
    if len(curves) < FEWEST_CURVES:
        return ()
    longest = max(FIRST_EPOCHS, *map(len, curves))
    reached = np.array(
        [np.minimum.accumulate([*curve, *[curve[-1]] * (longest - len(curve))]) for curve in curves]
    )
    medians = np.median(reached, axis=0)
    medians[: FIRST_EPOCHS - 1] = np.inf
    return tuple(medians.tolist())


__all__ = ["FEWEST_CURVES", "FIRST_EPOCHS", "limits"]
