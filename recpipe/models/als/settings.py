"""The sections of alternating least squares."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recpipe.feedback import LikedFrom
from recpipe.models.blocks import Blocks
from recpipe.sections import Section

StorageLevel = Literal[
    "NONE", "DISK_ONLY", "DISK_ONLY_2", "DISK_ONLY_3", "MEMORY_ONLY", "MEMORY_ONLY_2",
    "MEMORY_ONLY_SER", "MEMORY_ONLY_SER_2", "MEMORY_AND_DISK", "MEMORY_AND_DISK_2",
    "MEMORY_AND_DISK_SER", "MEMORY_AND_DISK_SER_2", "OFF_HEAP",
]  # fmt: skip
"""The storage levels that Spark has."""


class Als(Section):
    """What the MLlib models share."""

    blocks: Blocks = "auto"
    """Number of user blocks and of item blocks."""
    checkpoint_interval: int = Field(5, ge=1)
    """Iterations between checkpoints, which cut the lineage; under the root, removed afterwards.
    At 15 the lineage has been seen to overflow a JVM's stack, which ends the whole process."""
    intermediate_storage_level: StorageLevel = "MEMORY_AND_DISK"
    """Storage level of the rating blocks and factors during the fit."""
    final_storage_level: StorageLevel = "MEMORY_AND_DISK"
    """Storage level of the factors when the fit ends."""
    block_size: int = Field(4096, ge=1)
    """Rows stacked into one block for MLlib's own prediction."""


class AlsExplicit(Section):
    """Alternating least squares on ratings (Zhou et al. 2008, ALS-WR), by Spark MLlib."""

    rank: int = Field(8, ge=1)
    """Number of factors."""
    iterations: int = Field(15, ge=1)
    """Passes over users and items."""
    regularization: float = Field(0.12, ge=0)
    """L2 penalty of a row of factors, multiplied by its number of ratings."""


class Nmf(AlsExplicit):
    """Non-negative factors of the ratings: MLlib's ALS with NNLS."""


class AlsImplicit(Section):
    """ALS for implicit feedback (Hu, Koren and Volinsky 2008), by Spark MLlib."""

    rank: int = Field(64, ge=1)
    """Number of factors."""
    iterations: int = Field(15, ge=1)
    """Passes over users and items."""
    regularization: float = Field(0.1, ge=0)
    """L2 penalty of a row of factors, multiplied by its number of positives."""
    alpha: float = Field(3.0, ge=0)
    """Growth of confidence with strength: confidence = 1 + alpha * strength."""
    preference_from: LikedFrom = "auto"
    """Ratings at or above it are liked: preference 1. auto: the top quarter of the scale, such as 4
    of 1 to 5 or 8 of 1 to 10. With implicit feedback every row is liked."""
    below: Literal["unobserved", "disliked"] = "unobserved"
    """Ratings below `preference_from`: as if never rated, or not liked with confidence."""
    confidence: Literal["constant", "rating"] = "constant"
    """Strength of a liked rating: constant 1, or its place on the scale, 0 < strength <= 1."""


class Blocked(Section):
    """How our own ALS solves a row of factors, and how factors travel."""

    scale_by_count: bool = True
    """Whether the penalty of a row is multiplied by its number of ratings (implicit: of positives),
    as MLlib's is."""
    solver: Literal["cholesky", "cg"] = "cholesky"
    """cholesky: exact. cg: some steps of conjugate gradients from where the row stands; faster from
    a rank of some hundreds."""
    cg_steps: int = Field(3, ge=1)
    """Steps of conjugate gradients a row."""
    blocks: Blocks = "auto"
    """Number of blocks of users and of items, which tasks share out among them."""
    exchange: Literal["auto", "spark", "ring"] = "auto"
    """How factors travel between the tasks. ring: from task to task in one stage, as fast as the
    arithmetic; needs its tasks to run at the same time, no dynamic allocation, and executors that
    reach each other. spark: a job or two each half-iteration, on any cluster. auto: the ring where
    it can be."""
    max_broadcast_mb: int = Field(1024, ge=1)
    """Size in MiB of one side's factors up to which every worker gets them whole; above it there is
    no ring, and a task gets those that its block of ratings names, which have to fit under it."""


class BlockAls(Blocked, AlsExplicit):
    """Alternating least squares on ratings (Zhou et al. 2008, ALS-WR), our own."""


class BlockAlsImplicit(Blocked, AlsImplicit):
    """ALS for implicit feedback (Hu, Koren and Volinsky 2008), our own."""
