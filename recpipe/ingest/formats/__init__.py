"""The formats that a table of interactions can have: one module for each.

To add one, write a module with a `Format` and name it in `FORMATS`, before those that would take
its files for theirs.
"""

from __future__ import annotations

from recpipe.ingest.formats import delta, json_lines, netflix, parquet, text
from recpipe.ingest.formats.base import ROW, Format, GivenColumns, Look

FORMATS: tuple[Format, ...] = (
    delta.FORMAT,
    parquet.FORMAT,
    json_lines.FORMAT,
    netflix.FORMAT,
    text.FORMAT,
)

BY_NAME = {known.name: known for known in FORMATS}

__all__ = ["BY_NAME", "FORMATS", "ROW", "Format", "GivenColumns", "Look"]
