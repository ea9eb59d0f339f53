"""The section `hybrid`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recpipe.models.als.settings import AlsImplicitSettings
from recpipe.models.blocks import Blocks  # noqa: TC001 - pydantic reads it

Embedding = Literal["learned", "constant", "none"]
"""learned: from the ratings. constant: as drawn by the seed. none: left out."""
Own = Literal["learned", "constant"]
"""learned: from the ratings. constant: 0, so that features alone decide."""


class HybridSettings(AlsImplicitSettings):
    """Factors of users and items that are sums of embeddings of features (Kula 2015), for lists."""

    rank: int = Field(32, ge=1)
    """Number of factors."""
    iterations: int = Field(10, ge=1)
    """How often all items, all users and the embeddings of features are solved."""
    regularization: float = Field(3.0, gt=0)
    """L2 penalty of the own embedding of a user or item: of what its factors are beyond those of
    its features."""
    regularization_exponent: float = Field(0.0, ge=0)
    """The power of the number of likings of a user or item by which that penalty is multiplied. 0:
    not at all, so the more likings there are, the less features say. 1: the number itself."""
    feature_regularization: float = Field(30.0, gt=0)
    """L2 penalty of the embedding of a feature, in users or items: where so many of them have the
    feature, and no other, its embedding is half of their mean. With a `regularization_exponent` of
    e a user or item with n likings counts n^e times."""
    min_count: int = Field(2, ge=1)
    """The least users or items of a feature; rarer ones are left out."""
    user: Own = "learned"
    """The own embedding of each user."""
    item: Own = "learned"
    """The own embedding of each item."""
    genres: Embedding = "learned"
    """The embeddings of genres."""
    title: Embedding = "none"
    """The embeddings of words of titles."""
    decade: Embedding = "learned"
    """The embeddings of decades."""
    tags: Embedding = "learned"
    """The embeddings of tags that were given before the instant that lists are asked for."""
    genome: Embedding = "learned"
    """The embeddings of tags of the genome, where a release has it."""
    genome_from: float = Field(0.5, ge=0, le=1)
    """The least relevance of a tag of the genome that an item has."""
    age: Embedding = "learned"
    """The embeddings of users' decades of age, where a release has them."""
    gender: Embedding = "learned"
    """The embeddings of users' gender, where a release has it."""
    occupation: Embedding = "learned"
    """The embeddings of users' occupation, where a release has it."""
    blocks: Blocks = "auto"
    """Number of blocks of users, and of items; each task works on one or more of them. auto: from
    the number of ratings and the rank, never from the machine. cores: twice as many as the session
    runs tasks at once. Or a number."""
    max_broadcast_mb: int = Field(1024, ge=1)
    """Size in MiB of all user factors, or of all item factors, above which the fit is refused: they
    pass through the driver, and every worker gets them whole."""
