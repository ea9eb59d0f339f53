"""The section `recommend`."""

from __future__ import annotations

from pydantic import Field

from recpipe.sections import Section


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
