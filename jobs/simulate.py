"""Replay an A/B test of MODEL against OTHER from their lists on the test part.

`recpipe simulate` under spark-submit, with the same options.
"""

from __future__ import annotations

from recpipe.cli import job

if __name__ == "__main__":
    raise SystemExit(job("simulate"))
