"""Check the lists, export them and point readers to them.

`recpipe publish` under spark-submit, with the same options.
"""

from __future__ import annotations

from recpipe.cli import job

if __name__ == "__main__":
    raise SystemExit(job("publish"))
