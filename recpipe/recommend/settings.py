"""The sections `recommend` and `rules`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from recpipe.sections import Many, Section


class Recommend(Section):
    """The lists of all users."""

    n: int = Field(10, ge=1, le=1000)
    """Items in the list of each user."""
    refit: bool = True
    """Whether the chosen model is fitted again on all ratings before it recommends."""
    max_broadcast_mb: int = Field(1024, ge=1)
    """Size in MiB of what a model knows of its items up to which every worker gets it whole.
    Larger ones are sent in blocks of at most this size, one after the other; the lists are the
    same."""
    explain: int = Field(0, ge=0, le=100)
    """How many items of the user's history are published with each place of a list, those that
    spoke most for it, by models whose scores are sums over the history. 0: there is no such
    table."""
    similar: int = Field(0, ge=0, le=1000)
    """How many of the most similar items of each item are published beside the lists, by the model
    of the lists. 0: there is no such table."""
    similarity: Literal["cosine", "euclidean", "dot"] = "cosine"
    """How alike the vectors of two items are. cosine: of the angle between them. euclidean:
    1 / (1 + their distance). dot: their inner product. A model without vectors of items, such as
    ease, has a measure of its own: how much the one speaks for the other."""


class Rules(Section):
    """Which items lists may hold.

    Each rule takes items away, before the best are chosen, so that lists are as long as ever where
    enough items are left.
    """

    allow: str | None = None
    """A table of the only items that lists may hold: item_id, and user_id where a row is for the
    list of one user alone, who then gets no other items. Text with a header, one item a line,
    Parquet or Delta. Unset: all items."""
    block: str | None = None
    """A table, as for `allow`, of items that lists must not hold. Unset: none."""
    genres: Many[str] = ()
    """Genres of which an item must have one. Empty: any."""
    without_genres: Many[str] = ()
    """Genres of which an item must have none."""
    year_from: int | None = None
    """The year of the oldest items; those of an unknown year are left out too. Unset: any."""
    year_to: int | None = None
    """The year of the newest items; those of an unknown year are left out too. Unset: any."""
    min_age_days: float | None = Field(None, ge=0)
    """The least days since the first rating of an item. Unset: any."""
    max_age_days: float | None = Field(None, gt=0)
    """The most days since the first rating of an item. Unset: any."""

    @model_validator(mode="after")
    def _consistent(self) -> Rules:
        for low, high in (("year_from", "year_to"), ("min_age_days", "max_age_days")):
            least, most = getattr(self, low), getattr(self, high)
            if least is not None and most is not None and least > most:
                raise ValueError(f"{low} must not exceed {high}")
        both = sorted(set(self.genres) & set(self.without_genres))
        if both:
            raise ValueError(f"{both[0]} is in genres and in without_genres")
        return self

    @property
    def is_set(self) -> bool:
        """Whether there is a rule at all."""
        return self != Rules()

    @property
    def by_metadata(self) -> bool:
        """Whether items are left out by what the source says of them."""
        return bool(self.genres or self.without_genres) or self.by_year

    @property
    def by_year(self) -> bool:
        """Whether items are left out by their years."""
        return self.year_from is not None or self.year_to is not None

    @property
    def by_age(self) -> bool:
        """Whether items are left out by the time of their first rating."""
        return self.min_age_days is not None or self.max_age_days is not None
