"""The section `publish`."""

from __future__ import annotations

from pydantic import Field

from recpipe.sections import Section


class Publish(Section):
    """What other systems read."""

    model: str = "auto"
    """The model whose lists are published; auto: the best by `evaluate.metric` on validation."""
    files: int = Field(0, ge=0)
    """Number of Parquet files of the published table; 0: by the number of its rows."""
    keep_versions: int = Field(3, ge=2)
    """How many published versions are kept, the current one included."""
