"""Turns a source of interactions into the checked tables under a root."""

from recpipe.ingest.ingestion import ingest
from recpipe.ingest.report import FileReport, IdCounts, IngestReport, RowCounts

__all__ = ["FileReport", "IdCounts", "IngestReport", "RowCounts", "ingest"]
