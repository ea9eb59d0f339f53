"""The sections of alternating least squares."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from recpipe.feedback import LikedFrom
from recpipe.models.blocks import Blocks
from recpipe.sections import Section

StorageLevel = Literal[
    "NONE", "DISK_ONLY", "DISK_ONLY_2", "DISK_ONLY_3", "MEMORY_ONLY", "MEMORY_ONLY_2",
    "MEMORY_ONLY_SER", "MEMORY_ONLY_SER_2", "MEMORY_AND_DISK", "MEMORY_AND_DISK_2",
    "MEMORY_AND_DISK_SER", "MEMORY_AND_DISK_SER_2", "OFF_HEAP",
]  # fmt: skip
"""The storage levels that Spark has."""


class AlsSettings(Section):
    """What the models of Spark MLlib share: als_explicit, als_implicit and nmf."""

    blocks: Blocks = "auto"
    """Number of blocks of users, and of items. auto: from the number of ratings and the rank, never
    from the machine. cores: twice as many as the session runs tasks at once. Or a number."""
    checkpoint_interval: int = Field(5, ge=1)
    """Iterations after which the factors are saved to the root, so that Spark need not remember how
    they were made; removed when the fit ends. Without that, fits of 15 iterations have overflowed
    the stack of the Java process, which ended it."""
    intermediate_storage_level: StorageLevel = "MEMORY_AND_DISK"
    """Spark's storage level of ratings and factors during the fit."""
    final_storage_level: StorageLevel = "MEMORY_AND_DISK"
    """Spark's storage level of the factors when the fit ends."""
    block_size: int = Field(4096, ge=1)
    """How many rows of factors MLlib multiplies at once when it predicts."""


class AlsExplicitSettings(Section):
    """Alternating least squares on ratings (Zhou et al. 2008, ALS-WR), by Spark MLlib."""

    rank: int = Field(8, ge=1)
    """Number of factors."""
    iterations: int = Field(15, ge=1)
    """How often all users and then all items are solved."""
    regularization: float = Field(0.12, ge=0)
    """L2 penalty of the factors of a user or item, multiplied by the number of its ratings."""


class NmfSettings(AlsExplicitSettings):
    """Non-negative factors of the ratings: MLlib's ALS with NNLS."""


class AlsImplicitSettings(Section):
    """ALS for implicit feedback (Hu, Koren and Volinsky 2008), by Spark MLlib."""

    rank: int = Field(64, ge=1)
    """Number of factors."""
    iterations: int = Field(15, ge=1)
    """How often all users and then all items are solved."""
    regularization: float = Field(0.1, ge=0)
    """L2 penalty of the factors of a user or item, multiplied by the number of its likings."""
    alpha: float = Field(1.5, ge=0)
    """How fast confidence grows with the strength of a rating: it is 1 + alpha * strength."""
    preference_from: LikedFrom = "auto"
    """Ratings at or above it are liked: preference 1. auto: the top quarter of the scale, such as 4
    of 1 to 5 or 8 of 1 to 10, or every row of implicit feedback."""
    below: Literal["unobserved", "disliked"] = "unobserved"
    """What a rating below `preference_from` says. unobserved: nothing, as if the user had not rated
    the item. disliked: that the user does not like it, with the confidence that `confidence` and
    `alpha` give."""
    confidence: Literal["constant", "rating"] = "constant"
    """The strength of a rating, from which confidence grows. constant: always 1. rating: its place
    on the scale, above 0 and at most 1."""


_MAX_SUBSPACE = 128
_SUBSPACE_FROM_RANK = 256


class Blocked(Section):
    """How our own ALS solves a row of factors, and how factors travel."""

    regularization_exponent: float = Field(1.0, ge=0)
    """The power of the number of ratings (or likings) of a user or item by which its penalty is
    multiplied. 1: the number itself, as in MLlib. 0: not at all."""
    solver: Literal["cholesky", "cg"] = "cholesky"
    """How the factors of a user or item are solved. cholesky: exactly. cg: approximately, by some
    steps of conjugate gradients from the factors of the last iteration, which takes about half as
    long at rank 64."""
    cg_steps: int = Field(3, ge=1)
    """With solver = cg: steps for each user and item in an iteration."""
    subspace: Literal["auto"] | Annotated[int, Field(ge=0)] = "auto"
    """With solver = cholesky: how many factors of a user or item are solved at once, exactly, while
    its others are held still; an iteration takes one block of factors after the other. 0: all at
    once. auto: from rank 256 on a quarter of it and at most 128, where an iteration takes a part of
    the time and comes nearly as far, else 0."""
    blocks: Blocks = "auto"
    """Number of blocks of users, and of items; each task works on one or more of them. auto: from
    the number of ratings and the rank, never from the machine. cores: twice as many as the session
    runs tasks at once. Or a number."""
    exchange: Literal["auto", "spark", "ring"] = "auto"
    """How factors travel between the tasks. ring: directly from task to task, in one stage for the
    whole fit. It is the fastest, but all its tasks must run at the same time, without dynamic
    allocation, and executors must reach each other on any port. spark: through Spark, by a job or
    two for each half of an iteration, on any cluster. auto: ring where its needs are met, else
    spark."""
    max_broadcast_mb: int = Field(1024, ge=1)
    """Size in MiB of all user factors, or of all item factors, up to which every worker gets them
    whole. Above it the exchange is spark, and a task gets only the factors that its ratings need,
    which must not be larger either."""

    def subspace_width(self, rank: int) -> int:
        """How many of `rank` factors are solved at once; 0 for all of them."""
        if self.solver != "cholesky":
            return 0
        if self.subspace == "auto":
            # A multiple of 16, to which the kernels would pad it.
            return min(rank // 64 * 16, _MAX_SUBSPACE) if rank >= _SUBSPACE_FROM_RANK else 0
        return self.subspace if self.subspace < rank else 0

    @model_validator(mode="after")
    def _one_solver(self) -> Self:
        if self.solver != "cholesky" and self.subspace not in {"auto", 0}:
            raise ValueError(f"subspace = {self.subspace} is for solver = cholesky")
        return self


class BlockAlsSettings(Blocked, AlsExplicitSettings):
    """Alternating least squares on ratings (Zhou et al. 2008, ALS-WR), our own."""


class BlockAlsImplicitSettings(Blocked, AlsImplicitSettings):
    """ALS for implicit feedback (Hu, Koren and Volinsky 2008; Rendle et al. 2021), our own."""

    loss: Literal["confidence", "ials"] = "confidence"
    """What is minimised. confidence: squared errors of preferences, 1 for a liking and 0 elsewhere,
    with weights of unobserved_weight + alpha * strength for a liking and unobserved_weight
    elsewhere; the penalty of a user is regularization * likings ** regularization_exponent. ials
    (Rendle et al. 2021, with alpha = 1): alpha * strength times the squared error of each liking,
    and unobserved_weight times the squared score of every pair; the penalty of a user is
    regularization * (likings + unobserved_weight * items) ** regularization_exponent. Items
    likewise."""
    unobserved_weight: float = Field(1.0, gt=0)
    """The weight of a pair that is no liking."""
