"""The sections of the baselines."""

from __future__ import annotations

from pydantic import Field

from recpipe.sections import Section


class Biases(Section):
    """Mean + user bias + item bias, regularised, solved exactly."""

    user_regularization: float = Field(5.0, ge=0)
    """Pseudo-ratings that pull a user's bias to 0."""
    item_regularization: float = Field(5.0, ge=0)
    """Pseudo-ratings that pull an item's bias to 0."""
