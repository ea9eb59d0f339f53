"""What is most similar to an item, or who to a user, by a fitted model.

`recpipe similar` under spark-submit, with the same options.
"""

from __future__ import annotations

from recpipe.cli import job

if __name__ == "__main__":
    raise SystemExit(job("similar"))
