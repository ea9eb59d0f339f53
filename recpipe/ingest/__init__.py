"""MovieLens releases and files like them: recognised, downloaded, generated, ingested."""

from recpipe.ingest.ingestion import ingest
from recpipe.ingest.report import FileReport, IdCounts, IngestReport, RowCounts

__all__ = ["FileReport", "IdCounts", "IngestReport", "RowCounts", "ingest"]
