"""The section `ingest`."""

from __future__ import annotations

from pydantic import Field

from recpipe.feedback import Scale
from recpipe.sections import Section


class Ingest(Section):
    """From raw files to checked tables."""

    max_rejected_share: float = Field(0.01, ge=0, le=1)
    """Share of refused rows above which the input is unusable."""
    rating_scale: Scale | None = None
    """The valid ratings; unset: the release's own, or 0.5 to 5 in steps of 0.5."""
    zip_max_members: int = Field(1000, ge=1)
    """Files in an archive above which it is refused."""
    zip_max_bytes: int = Field(20_000_000_000, ge=1)
    """Uncompressed bytes of an archive above which it is refused."""
    zip_max_ratio: float = Field(200.0, gt=1)
    """Uncompressed over compressed bytes of one member above which an archive is refused."""
