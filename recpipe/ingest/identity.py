"""Whether a source is the one that the tables under a root came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe.ingest.archive import Limits
from recpipe.ingest.reading import given_columns
from recpipe.ingest.report import fingerprint_of
from recpipe.ingest.source import open_source

if TYPE_CHECKING:
    from pathlib import Path

    from recpipe.ingest.settings import Ingest
    from recpipe.storage import Tables


def is_ingested(source: str | Path, *, tables: Tables, settings: Ingest) -> bool:
    """Whether the current tables came from these bytes, wherever they lie; no row is read.

    Args:
        source: a folder, zip or file, as of `ingest`.
        tables: of the root; there must be some.
        settings: of the ingest.

    Raises:
        InputError: if the source is missing, not recognised or refused as an archive.
        UsageError: if there are no tables.
    """
    known = tables.current()["source"]
    limits = Limits(settings.zip_max_members, settings.zip_max_bytes, settings.zip_max_ratio)
    with (
        tables.folder.scratch("ingest") as scratch,
        open_source(
            source,
            spark=tables.folder.spark,
            limits=limits,
            scratch=scratch,
            given=given_columns(settings),
        ) as found,
    ):
        kinds = {path: kind for kind, part in found.recognised.parts.items() for path in part.paths}
        digests = found.fingerprint()
    fingerprint = fingerprint_of((kinds[path], sha256) for path, (_, sha256) in digests.items())
    return isinstance(known, dict) and known.get("fingerprint") == fingerprint


__all__ = ["is_ingested"]
