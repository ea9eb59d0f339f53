"""Read raw files, check them and write the tables.

`recpipe ingest` under spark-submit, with the same options.
"""

from __future__ import annotations

from recpipe.cli import job

if __name__ == "__main__":
    raise SystemExit(job("ingest"))
