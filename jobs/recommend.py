"""Fit the chosen model on all ratings and make the list of every user.

`recpipe recommend` under spark-submit, with the same options.
"""

from __future__ import annotations

from recpipe.cli import job

if __name__ == "__main__":
    raise SystemExit(job("recommend"))
