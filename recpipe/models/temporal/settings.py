"""The section `time_sgd`."""

from __future__ import annotations

from pydantic import Field

from recpipe.sections import Section


class TimeSgdSettings(Section):
    """Biases that change over time (Koren 2009, timeSVD), and factors by `sgd` on what is left.

    `sgd.bounded`, `sgd.open_bounds` and `sgd.round_predictions` are for `sgd` alone: what is
    left has no scale.
    """

    bins: int = Field(30, ge=1)
    """Periods of equal length, from the first day to the last, each with a bias of every item."""
    power: float = Field(0.4, gt=0)
    """Power of the days between a rating and the mean day of its user, in the drift of a user."""
    user_regularization: float = Field(5.0, gt=0)
    """Penalty on the square of the bias of a user."""
    drift_regularization: float = Field(3000.0, gt=0)
    """Penalty on the square of the drift of a user: the higher, the less it is carried on into the
    future."""
    day_regularization: float = Field(20.0, gt=0)
    """Penalty on the square of the bias that a user has on one day."""
    item_regularization: float = Field(10.0, gt=0)
    """Penalty on the square of the bias of an item."""
    bin_regularization: float = Field(50.0, gt=0)
    """Penalty on the square of the bias that an item has in one period."""
    sweeps: int = Field(15, ge=1)
    """How often all users and then all items are solved."""
    max_matrix_mb: int = Field(1024, ge=1)
    """Size in MiB of the biases of all items in all periods, which the driver and every task hold,
    above which the fit is refused."""
