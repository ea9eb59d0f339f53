"""The section `sasrec`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from recpipe.feedback import LikedFrom
from recpipe.sections import Section


class SasRecSettings(Section):
    """Self-attention over what a user has taken up, in order of time (Kang and McAuley 2018)."""

    rank: int = Field(64, ge=1)
    """Numbers of the embedding of an item, and so of factors; a multiple of `heads`."""
    layers: int = Field(2, ge=0)
    """Layers of attention, each followed by a feed-forward layer."""
    heads: int = Field(1, ge=1)
    """Heads of each attention."""
    max_length: int = Field(50, ge=1)
    """Likings of a user that are read, the newest; older ones are neither learned from nor count
    for the user's list."""
    negatives: Annotated[int, Field(ge=1)] | Literal["all"] = 256
    """Items that the next item of a user is told from in a step: so many drawn at random, or all
    items. All is better where there are few, and takes time and memory for each item."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Share of the numbers of embeddings and layers that are 0 in a step, others each time."""
    learning_rate: float = Field(1e-3, gt=0)
    """Step size of Adam."""
    batch_size: int = Field(32, ge=1)
    """Users of a step, in each process."""
    epochs: int = Field(100, ge=1)
    """Passes over the users, at most; see `patience`."""
    patience: int = Field(10, ge=0)
    """After how many epochs without a better NDCG@10 on validation the fit stops; 0: it runs all
    `epochs`. The weights of the best epoch are kept either way."""
    preference_from: LikedFrom = "auto"
    """Ratings at or above it are liked; auto: the top quarter of the scale, such as 4 of 1 to 5 or
    8 of 1 to 10, or every row of implicit feedback."""
    processes: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Processes that train at the same time, each with users of its own. The larger their number,
    the more users a step has, so that it is part of the model. auto: one for every 500,000 likings,
    but no more than Spark runs tasks at once."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """What processes compute on. auto: GPUs where Spark gives each task one, else CPUs."""

    @model_validator(mode="after")
    def _consistent(self) -> SasRecSettings:
        if self.rank % self.heads:
            raise ValueError(f"rank = {self.rank} must be a multiple of heads = {self.heads}")
        return self
