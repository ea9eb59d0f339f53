"""The sections `item_knn`, `user_knn` and `rp3beta`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recpipe.feedback import LikedFrom
from recpipe.sections import Section

Similarity = Literal[
    "cosine", "jaccard", "pearson", "adjusted_cosine", "manhattan", "euclidean", "chebyshev"
]


class NeighbourSettings(Section):
    """What the models of nearest neighbours have in common."""

    similarity: Similarity = "cosine"
    """cosine and jaccard are of all entries; the others of those that both have: the correlation
    (pearson), the cosine of distances from means (adjusted_cosine: from the user's mean between
    items, and from the item's between users), and 1 / (1 + distance)."""
    values: Literal["auto", "likings", "ratings"] = "auto"
    """What similarities and scores are made of. likings: 1 for each rating from `preference_from`
    on, and nothing for the others. ratings: every rating as it is. auto: likings for cosine and
    jaccard, and ratings for the others, which tell nothing from numbers that are all 1."""
    preference_from: LikedFrom = "auto"
    """Ratings at or above it are liked; auto: the top quarter of the scale, such as 4 of 1 to 5 or
    8 of 1 to 10, or every row of implicit feedback."""
    weighting: Literal["none", "bm25"] = "none"
    """How entries are weighted before they are compared. bm25: those of long histories count less,
    and those of items (user_knn: users) with many entries as well."""
    bm25_k1: float = Field(1.2, gt=0)
    """Of bm25: the lower, the less a high value counts above a low one."""
    bm25_b: float = Field(0.75, ge=0, le=1)
    """Of bm25: how much the number of entries counts, from 0 to 1."""
    k: int = Field(100, ge=1)
    """Neighbours that are kept; only those of a similarity above 0."""
    min_overlap: int = Field(1, ge=1)
    """Users (user_knn: items) that neighbours must share."""
    shrinkage: float = Field(10.0, ge=0)
    """Similarities from n shared users (or items) are multiplied by n / (n + shrinkage)."""
    prediction: Literal["weighted_mean", "mean"] = "weighted_mean"
    """How a prediction averages the ratings of neighbours: weighted by similarity, or all alike."""
    centred: bool = True
    """Whether a prediction averages how far ratings are from what is expected of them, and adds
    that to what is expected of its own; else it averages the ratings themselves."""
    centre: Literal["biases", "means"] = "biases"
    """What is expected of a rating. biases: the mean of all ratings, with the biases of user and
    item, as the model `biases` has them. means: the mean of its item (user_knn: user)."""
    bias_regularization: float = Field(5.0, ge=0)
    """With centre = biases: how strongly each bias is pulled to 0: as by so many ratings that equal
    the mean."""
    max_rated: int = Field(20, ge=1)
    """The most neighbours that a prediction averages: of those with a rating the nearest."""


class ItemKnnSettings(NeighbourSettings):
    """Items are scored by the items that are most alike, of those that the user has taken up."""


class UserKnnSettings(NeighbourSettings):
    """Items are scored by the users who are most alike, of those who have taken them up."""


class Rp3BetaSettings(Section):
    """A random walk from users to items, to other users and to their items (Christoffel 2015)."""

    alpha: float = Field(1.0, gt=0)
    """Power of the probability of each step: above 1 likely steps count more."""
    beta: float = Field(0.4, ge=0)
    """Power of an item's popularity by which its score is divided; 0: P3alpha."""
    k: int = Field(150, ge=1)
    """Items that are kept for each item to go to."""
    values: Literal["likings", "ratings"] = "likings"
    """What links a user and an item for a walk. likings: 1 for each rating from `preference_from`
    on, and nothing for the others. ratings: every rating as it is."""
    preference_from: LikedFrom = "auto"
    """Ratings at or above it are liked; auto: the top quarter of the scale, such as 4 of 1 to 5 or
    8 of 1 to 10, or every row of implicit feedback."""


__all__ = ["ItemKnnSettings", "NeighbourSettings", "Rp3BetaSettings", "UserKnnSettings"]
