"""What the ratings look like: how many, of whom, when, of what, and who is cold.

`recpipe describe` under spark-submit, with the same options.
"""

from __future__ import annotations

from recpipe.cli import job

if __name__ == "__main__":
    raise SystemExit(job("describe"))
