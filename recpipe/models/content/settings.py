"""The section `content`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from recpipe.feedback import LikedFrom
from recpipe.sections import Section


class ContentSettings(Section):
    """Profiles of items from what is said of them; a user is the sum of what the user liked.

    The weights say how much each source counts: the similarity of two items that have all of them
    is the mean of their similarities by source, weighted so. 0 leaves a source out.
    """

    genres: float = Field(1.0, ge=0)
    """Weight of the genres."""
    title: float = Field(0.1, ge=0)
    """Weight of the words of the title."""
    year: float = Field(0.2, ge=0)
    """Weight of the decade."""
    tags: float = Field(1.0, ge=0)
    """Weight of the tags that users gave before the instant that lists are asked for."""
    genome: float = Field(1.0, ge=0)
    """Weight of the tag genome, where a release has it."""
    genome_from: float = Field(0.5, ge=0, le=1)
    """The least relevance of a tag of the genome that counts."""
    min_items: int = Field(2, ge=1)
    """The least items of a term; rarer ones are left out."""
    max_terms: int = Field(100_000, ge=1)
    """How many terms count, those of the most items: the driver holds them."""
    vectors: str = "none"
    """Vectors of the words of titles and tags, of which an item has the weighted mean. none: none.
    train: by MLlib's Word2Vec on the words of each item. Else the path of a file in the text format
    of GloVe: a word and its numbers on each line, with blanks between them."""
    vectors_weight: float = Field(0.5, gt=0)
    """Weight of these vectors, beside those of the sources."""
    vector_size: int = Field(32, ge=1)
    """With vectors = train: numbers of each."""
    similarity: Literal["sum", "cosine"] = "sum"
    """How an item is scored. sum: by the sum over sources of weight times product, so that an item
    of which more is known can score higher. cosine: by the cosine of its profile and the user's:
    what is said of an item beyond the user's taste counts against it."""
    values: Literal["likings", "ratings"] = "likings"
    """What a user's profile is a sum of. likings: the profiles of what the user rated from
    `preference_from` on. ratings: all that the user rated, times the rating."""
    preference_from: LikedFrom = "auto"
    """Ratings at or above it are liked; auto: the top quarter of the scale, such as 4 of 1 to 5 or
    8 of 1 to 10, or every row of implicit feedback."""
    dimensions: int = Field(32, ge=2)
    """Numbers of the dense vectors of items, which are the profiles reduced by latent semantic
    analysis: those by which clusters are found."""
    clusters: Literal["auto"] | Annotated[int, Field(ge=0)] = "auto"
    """How many clusters of items the report shows. auto: as many as there are genres. 0: none."""
