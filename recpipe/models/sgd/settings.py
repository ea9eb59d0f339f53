"""The section `sgd`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recpipe.models.blocks import Blocks
from recpipe.sections import Section


class Sgd(Section):
    """Biased matrix factorisation by distributed stochastic gradient descent (DSGD)."""

    rank: int = Field(32, ge=1)
    """Number of factors."""
    epochs: int = Field(60, ge=1)
    """Most passes over the ratings."""
    learning_rate: float = Field(0.03, gt=0)
    """Step of the first epoch."""
    learning_rate_decay: float = Field(0.95, gt=0, le=1)
    """Factor on the step after each epoch."""
    regularization: float = Field(0.06, ge=0)
    """L2 penalty of factors, a rating."""
    bias_regularization: float = Field(0.05, ge=0)
    """L2 penalty of biases, a rating."""
    initial_scale: float = Field(0.1, gt=0)
    """About the norm of a user's or item's factors before the first epoch."""
    bounded: bool = False
    """Whether predictions pass a sigmoid onto the rating scale."""
    patience: int = Field(6, ge=0)
    """Epochs without a better validation RMSE before training stops; 0: never stops early. The
    factors of the best epoch are kept either way. Biases settle before factors take off: fewer
    than 5 may stop on that plateau."""
    min_improvement: float = Field(1e-4, ge=0)
    """The least fall of validation RMSE that counts as better."""
    blocks: Blocks = "auto"
    """Number of user blocks, which is the number of parallel tasks of a stratum; there are twice
    as many item blocks."""
    exchange: Literal["auto", "spark", "ring"] = "auto"
    """How factors travel between the blocks; the model is the same to the bit. spark: a stage for
    each stratum, on any cluster. ring: from task to task, as fast as the arithmetic; needs a slot
    for each block at the same time, no dynamic allocation, and executors that reach each other.
    auto: the ring where the slots are there. A single block needs none."""
    checkpoint_interval: int = Field(5, ge=1)
    """Epochs between checkpoints of the factors; under the root, removed afterwards. The ring
    leaves out those that would be less than a minute apart."""
