"""The section `publish`."""

from __future__ import annotations

from pydantic import Field

from recpipe.sections import Section


class Publish(Section):
    """What other systems read."""

    model: str = "auto"
    """The model whose lists are published; auto: the best by `evaluate.metric` on validation."""
    files: int = Field(0, ge=0)
    """Parquet files of the export; 0: from the number of rows."""
    keep_versions: int = Field(3, ge=2)
    """Published versions kept, the current one included."""
