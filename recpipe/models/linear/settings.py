"""The sections `ease` and `slim`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from recpipe.feedback import LikedFrom
from recpipe.sections import Section


class EaseSettings(Section):
    """Item-item ridge regression with a zero diagonal (Steck 2019), in closed form."""

    regularization: Literal["auto"] | Annotated[float, Field(gt=0)] = "auto"
    """L2 penalty of the weights. auto: a third of the number of users, from 100 to 1000."""
    values: Literal["likings", "ratings"] = "likings"
    """What the matrix of users and items holds. likings: 1 for each rating from `preference_from`
    on, and nothing for the others. ratings: every rating as it is."""
    preference_from: LikedFrom = "auto"
    """Ratings at or above it are liked; auto: the top quarter of the scale, such as 4 of 1 to 5 or
    8 of 1 to 10, or every row of implicit feedback."""
    method: Literal["auto", "dense", "tiled", "sparse"] = "auto"
    """dense: the exact weights, from a matrix of items, or of users if they are fewer, which the
    driver holds. tiled: the same weights from a matrix of items that the executors hold, in tiles:
    8 bytes for each pair of items on the disk of the root while it is fitted, and time that grows
    with the cube of the items; above 65,536 items its lists are refused until
    `recommend.max_broadcast_mb` is raised, at n items to n / 64. sparse: for each item weights of
    the items nearest to it alone, so that no such matrix is made. auto: dense up to
    `max_matrix_mb`, sparse above it."""
    density: Literal["auto"] | Annotated[float, Field(gt=0, le=1)] = "auto"
    """Of sparse: the share of all items that have a weight for an item. 1 is as exact as dense, and
    time grows with the cube. auto: 0.01, but at most 500 items."""
    max_matrix_mb: int = Field(0, ge=0)
    """Size in MiB up to which the driver takes the matrix of items (or of users, if they are
    fewer): 8 bytes for each pair of them. Of sparse: 64 bytes for each weight, on the driver and in
    every Python worker. 0: half of the memory that is free on the driver."""


class SlimSettings(Section):
    """Sparse item-item weights, an elastic net for each item (Ning and Karypis 2011)."""

    l1: float = Field(1.0, ge=0)
    """L1 penalty: for each item half of the squared error + l1 |w|_1 + l2 / 2 |w|^2 is minimised.
    The higher, the fewer weights are not 0. scikit-learn's alpha l1_ratio times the users."""
    l2: float = Field(50.0, ge=0)
    """L2 penalty. scikit-learn's alpha (1 - l1_ratio) times the users."""
    positive: bool = True
    """Whether weights below 0 are not allowed, as in the paper."""
    nearest: int = Field(0, ge=0)
    """For each item only so many others, of the largest cosine with it, may have a weight: less
    work, and fewer weights (fsSLIM). 0: all may."""
    max_sweeps: int = Field(1000, ge=1)
    """Sweeps over the weights of an item after which they are taken as they are, with a warning."""
    tolerance: float = Field(1e-4, gt=0)
    """The weights of an item are settled when a sweep changes none by more."""
    values: Literal["likings", "ratings"] = "likings"
    """What the matrix of users and items holds. likings: 1 for each rating from `preference_from`
    on, and nothing for the others. ratings: every rating as it is."""
    preference_from: LikedFrom = "auto"
    """Ratings at or above it are liked; auto: the top quarter of the scale, such as 4 of 1 to 5 or
    8 of 1 to 10, or every row of implicit feedback."""
    max_matrix_mb: int = Field(1024, ge=1)
    """Size in MiB up to which the matrix of items is taken: 8 bytes for each pair of them, on the
    driver and in every Python worker. 1024 are enough for 11,585 items."""


__all__ = ["EaseSettings", "SlimSettings"]
