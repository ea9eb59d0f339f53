"""Start a run: split ratings into train, validation and test.

`recpipe split` under spark-submit, with the same options.
"""

from __future__ import annotations

from recpipe.cli import job

if __name__ == "__main__":
    raise SystemExit(job("split"))
