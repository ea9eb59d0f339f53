"""Evaluate the fitted models and choose one of them.

`recpipe evaluate` under spark-submit, with the same options.
"""

from __future__ import annotations

from recpipe.cli import job

if __name__ == "__main__":
    raise SystemExit(job("evaluate"))
