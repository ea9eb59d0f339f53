"""Fit the models of train.models on the train part.

`recpipe train` under spark-submit, with the same options.
"""

from __future__ import annotations

from recpipe.cli import job

if __name__ == "__main__":
    raise SystemExit(job("train"))
