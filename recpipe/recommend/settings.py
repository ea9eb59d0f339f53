"""The section `recommend`."""

from __future__ import annotations

from pydantic import Field

from recpipe.sections import Section


class Recommend(Section):
    """The lists of all users."""

    n: int = Field(10, ge=1, le=1000)
    """Places a user."""
    refit: bool = True
    """Whether the chosen model is fitted again on all ratings before it recommends."""
    max_broadcast_mb: int = Field(1024, ge=1)
    """Size of the item factors above which top-N sends them to the workers in blocks of at most as
    much, one after the other; the lists are the same."""
