"""MovieLens releases and files like them: recognised, downloaded, generated, ingested."""

from recpipe.movielens.ingestion import ingest
from recpipe.movielens.report import FileReport, IdCounts, IngestReport, RowCounts

__all__ = ["FileReport", "IdCounts", "IngestReport", "RowCounts", "ingest"]
