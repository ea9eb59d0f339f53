"""The section `ingest`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from recpipe.feedback import Scale
from recpipe.sections import Many, Section

Repeated = Literal["auto", "latest", "sum", "count"]


class Columns(Section):
    """Which columns of a source are which, where their names do not say so.

    A name as the header has it, or a number from 1 where there is no header. What is not given is
    looked for by the known names; an empty name says that the source has no such column.
    """

    user: str | int | None = None
    """The id of who rated."""
    item: str | int | None = None
    """The id of what was rated."""
    rating: str | int | None = None
    """The rating, or the strength or number of likings."""
    time: str | int | None = None
    """The instant of the rating."""

    @property
    def given(self) -> dict[str, str | int]:
        """What was given, by the names of ingest's own fields."""
        fields = {"user": "user", "item": "item", "rating": "rating", "time": "timestamp"}
        chosen = {ours: getattr(self, name) for name, ours in fields.items()}
        return {ours: column for ours, column in chosen.items() if column is not None}


class Ingest(Section):
    """From raw files to checked tables."""

    columns: Columns = Field(default_factory=Columns)
    """Which columns are user, item, rating and time, by name, or by number from 1."""
    feedback: Literal["auto", "explicit", "implicit"] = "auto"
    """Whether values are ratings or strengths of likings; auto: told from the values."""
    repeated: Repeated = "auto"
    """What becomes of several rows of one user and item; auto: explicit the latest stays, implicit
    they are summed, or counted where there are no values."""
    unrated_values: Many[float] = ()
    """Values of the rating column that mean "seen but not rated", as an empty one does."""
    rating_scale: Scale | None = None
    """The valid ratings; unset: the release's own, or told from the values."""
    time_format: str = ""
    """How instants are written, in Spark's datetime patterns (`dd/MM/yyyy HH:mm`), or `order` for
    numbers that only say what came first; empty: seconds to nanoseconds since 1970, and ISO 8601,
    are recognised."""
    max_rejected_share: float = Field(0.01, ge=0, le=1)
    """Share of refused rows above which the input is unusable."""
    zip_max_members: int = Field(1000, ge=1)
    """Files in an archive above which it is refused."""
    zip_max_bytes: int = Field(20_000_000_000, ge=1)
    """Uncompressed bytes of an archive above which it is refused."""
    zip_max_ratio: float = Field(200.0, gt=1)
    """Uncompressed over compressed bytes of one member above which an archive is refused."""

    @model_validator(mode="after")
    def _consistent(self) -> Ingest:
        if self.feedback == "explicit" and self.repeated in {"sum", "count"}:
            raise ValueError("repeated ratings cannot be summed or counted: they are explicit")
        return self
