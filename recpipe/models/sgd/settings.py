"""The section `sgd`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from recpipe.models.blocks import Blocks
from recpipe.sections import Section

BatchSize = Literal["auto"] | Annotated[int, Field(ge=1)]

_AUTO_BATCH_SIZE, _AUTO_BATCHES_FROM = 25_000, 500_000
"""By validation (decision 22): ratings of a batch, and ratings from which there are batches."""


class SgdSettings(Section):
    """Biased matrix factorisation by distributed stochastic gradient descent (DSGD)."""

    rank: int = Field(32, ge=1)
    """Number of factors."""
    epochs: int = Field(60, ge=1)
    """Passes over the ratings, at most; see `patience`."""
    optimizer: Literal["plain", "momentum", "adagrad", "adam", "adamw"] = "plain"
    """How a step follows from the gradient of a rating: as it is, or by moments of the gradients of
    its user and its item so far, as PyTorch's optimizers of these names have it (adamw:
    `regularization` is not part of the gradient). They take 2 to 3 times the memory, and adam and
    adamw want a `learning_rate` about ten times smaller."""
    beta1: float = Field(0.9, ge=0, lt=1)
    """With momentum, adam or adamw: how much of the mean of gradients stays in a step."""
    beta2: float = Field(0.999, ge=0, le=0.9999)
    """With adam or adamw: how much of the mean of squared gradients stays in a step."""
    batch_size: BatchSize = "auto"
    """Ratings of a step of an optimizer other than plain, at most: each user and item in a batch is
    stepped once, along the sum of the gradients of its ratings there, all taken at one point. The
    larger, the faster is an epoch and the fewer are its steps. auto: 1 below 500,000 ratings, where
    an epoch is short and larger batches predict worse, else 25000. plain has no batches: it steps
    at each rating."""
    learning_rate: float = Field(0.03, gt=0)
    """Step size in the first epoch."""
    learning_rate_decay: float = Field(0.95, gt=0, le=1)
    """By what the step size is multiplied after each epoch."""
    regularization: float = Field(0.06, ge=0)
    """L2 penalty of the factors, for each rating."""
    bias_regularization: float = Field(0.05, ge=0)
    """L2 penalty of the biases, for each rating."""
    init: Literal["normal", "uniform"] = "normal"
    """How the random factors with which users and items begin are drawn. normal: around 0, vectors
    of length `initial_scale` on average. uniform: each factor from 0 to 0.05."""
    initial_scale: float = Field(0.1, gt=0)
    """With init = normal: length of the first vectors of factors, on average."""
    bounded: bool = False
    """Whether predictions are kept within the rating scale by a sigmoid, in the fit as well."""
    open_bounds: bool = False
    """With bounded: whether the sigmoid reaches half a step of the scale beyond either end, so that
    the lowest and the highest rating can be learned. Predictions are clipped to the scale."""
    round_predictions: bool = False
    """Whether predicted ratings are rounded to the steps of the scale; lists are not."""
    patience: int = Field(6, ge=0)
    """After how many epochs without a better RMSE on validation the fit stops; 0: it runs all
    `epochs`. The factors of the best epoch are kept either way. Use 5 or more: the RMSE often
    stands still for a few epochs between learning the biases and learning the factors."""
    min_improvement: float = Field(1e-4, ge=0)
    """By how much the RMSE on validation must fall to count as better."""
    blocks: Blocks = "auto"
    """Number of blocks of users, which is how many tasks run in parallel; there are twice as many
    blocks of items. auto: from the number of ratings and the rank, never from the machine. cores:
    as many as the session runs tasks at once. Or a number."""
    exchange: Literal["auto", "spark", "ring"] = "auto"
    """How factors travel between the tasks; the model is the same to the bit. ring: directly from
    task to task, in one stage for the whole fit. It is the fastest, but a task for each block must
    run at the same time, without dynamic allocation, and executors must reach each other on any
    port. spark: through Spark, by a stage for each part of an epoch, on any cluster. auto: ring
    where its needs are met, else spark. A single block is one task and needs neither."""
    checkpoint_interval: int = Field(5, ge=1)
    """Epochs after which the factors are saved to the root, from where a fit goes on when an
    executor is lost; removed when the fit ends. The ring saves at most once a minute."""

    def batch_size_for(self, ratings: int) -> int:
        """The batch size of a fit of so many ratings; `auto` asks for them and nothing else."""
        if self.batch_size != "auto":
            return self.batch_size
        return _AUTO_BATCH_SIZE if ratings >= _AUTO_BATCHES_FROM else 1
