"""The section `ease`."""

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
    max_matrix_mb: int = Field(0, ge=0)
    """Size in MiB up to which the driver takes the matrix of items (or of users, if they are
    fewer): 8 bytes for each pair of them. 0: half of the memory that is free on the driver."""
