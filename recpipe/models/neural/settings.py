"""The sections `gmf`, `mlp`, `neumf` and `sasrec`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from recpipe.feedback import LikedFrom
from recpipe.sections import Many, Section


class TrainingSettings(Section):
    """The settings of the training, which all networks share."""

    epochs: int = Field(30, ge=1)
    """Passes over the likings, at most; see `patience`."""
    patience: int = Field(3, ge=0)
    """After how many epochs without a better ranking of validation the fit stops; 0: it runs all
    `epochs`. The parameters of the best epoch are kept either way."""
    batch_size: int = Field(1024, ge=1)
    """Likings of a step, of all processes together."""
    learning_rate: float = Field(0.001, gt=0)
    """Step size of Adam."""
    processes: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Number of processes that train, each on the likings of some users; a task of Spark runs each,
    all at the same time. It decides the bits of the model. auto: one for every 500,000 likings, but
    no more than run at once."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where processes compute. auto: on GPUs where Spark gives each task one
    (`spark.task.resource.gpu.amount`), else on CPUs, each in one thread."""


class NcfSettings(TrainingSettings):
    """The settings that the networks of neural collaborative filtering share."""

    rank: int = Field(64, ge=1)
    """Number of factors of a user, and of an item, in each part of the network."""
    learning_rate: float = Field(0.01, gt=0)
    """Step size of Adam."""
    negatives: int = Field(8, ge=1)
    """Items drawn for each liking, anew in each epoch, of those that the user has not liked."""
    regularization: float = Field(0.003, ge=0)
    """L2 penalty of the factors of user and item, for each example."""
    preference_from: LikedFrom = "auto"
    """Ratings at or above it are liked; auto: the top quarter of the scale, such as 4 of 1 to 5 or
    8 of 1 to 10, or every row of implicit feedback."""


class GmfSettings(NcfSettings):
    """Generalised matrix factorisation (He et al. 2017): factors under log loss, by PyTorch."""


class MlpSettings(NcfSettings):
    """A multilayer perceptron over factors of user and item (He et al. 2017), by PyTorch."""

    patience: int = Field(5, ge=0)
    """After how many epochs without a better ranking of validation the fit stops; 0: it runs all
    `epochs`. The parameters of the best epoch are kept either way. A perceptron ranks by popularity
    for some epochs before it tells users apart."""
    layers: Many[Annotated[int, Field(ge=1)]] = Field((64, 32, 16), min_length=1)
    """Widths of the hidden layers, from the factors on."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the outputs of each hidden layer that a step leaves out."""


class NeumfSettings(MlpSettings):
    """Neural matrix factorisation (He et al. 2017): `gmf` and `mlp` in one network, by PyTorch."""

    learning_rate: float = Field(0.005, gt=0)
    """Step size of Adam."""
    pretrain: int = Field(0, ge=0)
    """Epochs in which both parts are first trained alone; the network then begins with what each
    has learned. 0: it begins at random."""


class SasRecSettings(TrainingSettings):
    """Self-attention over what a user has liked, in order of time (Kang and McAuley 2018)."""

    rank: int = Field(64, ge=1)
    """Length of the embedding of an item, and so the number of factors; a multiple of `heads`."""
    layers: int = Field(2, ge=0)
    """Layers of attention, each followed by a feed-forward layer."""
    heads: int = Field(1, ge=1)
    """Heads of each attention."""
    max_length: int = Field(50, ge=1)
    """Likings of a user that are read, the newest; older ones are neither learned from nor count
    for the user's list."""
    negatives: Literal["auto", "all"] | Annotated[int, Field(ge=1)] = "auto"
    """Items that the next item of a user is told from in a step: so many drawn at random, or all
    items, which takes time and memory for each item at each liking. auto: all items up to 10,000,
    else 1,000 of them."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Share of the numbers of embeddings and layers that a step leaves out."""
    learning_rate: float = Field(0.002, gt=0)
    """Step size of Adam."""
    epochs: int = Field(60, ge=1)
    """Passes over the users, at most; see `patience`."""
    patience: int = Field(15, ge=0)
    """After how many epochs without a better NDCG@10 on validation the fit stops; 0: it runs all
    `epochs`. The parameters of the best epoch are kept either way. Use 12 or more: lists stand
    still for some epochs between learning what is popular and learning what follows what."""
    batch_size: int = Field(32, ge=1)
    """Users of a step, of all processes together."""
    preference_from: LikedFrom = "auto"
    """Ratings at or above it are liked; auto: the top quarter of the scale, such as 4 of 1 to 5 or
    8 of 1 to 10, or every row of implicit feedback."""

    @model_validator(mode="after")
    def _consistent(self) -> SasRecSettings:
        if self.rank % self.heads:
            raise ValueError(f"rank = {self.rank} must be a multiple of heads = {self.heads}")
        return self


__all__ = [
    "GmfSettings", "MlpSettings", "NcfSettings", "NeumfSettings", "SasRecSettings",
    "TrainingSettings",
]  # fmt: skip
