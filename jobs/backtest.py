"""Fit and evaluate at several cutoffs, each model as it would have been then.

`recpipe backtest` under spark-submit, with the same options.
"""

from __future__ import annotations

from recpipe.cli import job

if __name__ == "__main__":
    raise SystemExit(job("backtest"))
