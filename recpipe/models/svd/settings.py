"""The sections `svd` and `svd_implicit`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recpipe.feedback import LikedFrom
from recpipe.sections import Section


class Truncated(Section):
    """How many singular vectors are kept, and how they are found."""

    rank: int = Field(16, ge=1)
    """Number of singular values that are kept, and so of factors."""
    oversampling: int = Field(10, ge=0)
    """Columns of a block beyond `rank`. Where ratings are so many that each pass over them is a
    job, more columns make fewer, wider passes."""
    tolerance: float = Field(1e-3, gt=0, lt=1)
    """When the singular vectors are good enough: the largest |A'A v - s^2 v|, for a vector v of
    length 1 and its singular value s, over the largest s^2. 1e-3 leaves out some millionths of what
    the best vectors explain; 1e-12 is about what float64 allows."""
    max_passes: int = Field(30, ge=1)
    """Passes over the ratings after which the vectors are taken as they are, with a warning. Where
    one task holds all ratings, it makes more passes of fewer columns each, with as many columns in
    all, and with as many again where it has missed vectors of a singular value that repeats."""
    max_matrix_mb: int = Field(0, ge=0)
    """Size in MiB up to which the driver takes the search for singular vectors: float64 columns of
    length items, about 12 times as many as `rank` and `oversampling` add up to. Above it the model
    is refused (exit 5). 0: half of the memory that is free. Up to 16 million ratings and 256 MiB a
    task makes the search, and not the driver."""


class SvdSettings(Truncated):
    """Truncated singular value decomposition of ratings, the unknown ones filled with a mean."""

    rank: int = Field(12, ge=1)
    """Number of singular values that are kept, and so of factors."""
    fill: Literal["mean", "item", "user"] = "user"
    """What stands for a rating that is not known. mean: the mean of all ratings. item: the mean of
    the item's ratings. user: the mean of the user's ratings."""


class SvdImplicitSettings(Truncated):
    """Truncated singular value decomposition of likings (Cremonesi et al. 2010, PureSVD)."""

    values: Literal["likings", "ratings"] = "ratings"
    """What the matrix of users and items holds. likings: 1 for each rating from `preference_from`
    on, and nothing for the others. ratings: every rating, or strength of implicit feedback, as it
    is."""
    preference_from: LikedFrom = "auto"
    """Ratings at or above it are liked; auto: the top quarter of the scale, such as 4 of 1 to 5 or
    8 of 1 to 10, or every row of implicit feedback."""
