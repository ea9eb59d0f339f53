"""The sections of the baselines."""

from __future__ import annotations

from pydantic import Field

from recpipe.sections import Section


class BiasesSettings(Section):
    """A rating as mean + bias of the user + bias of the item, with the best regularised biases."""

    user_regularization: float = Field(5.0, ge=0)
    """How strongly the bias of a user is pulled to 0: as by so many ratings that equal the mean."""
    item_regularization: float = Field(5.0, ge=0)
    """How strongly the bias of an item is pulled to 0: as by so many ratings that equal the
    mean."""
