"""Turns a source of interactions into the checked tables under a root."""

from recpipe.ingest.identity import is_ingested
from recpipe.ingest.ingestion import ingest
from recpipe.ingest.report import FileReport, IdCounts, IngestReport, PartReport, RowCounts

__all__ = [
    "FileReport",
    "IdCounts",
    "IngestReport",
    "PartReport",
    "RowCounts",
    "ingest",
    "is_ingested",
]
