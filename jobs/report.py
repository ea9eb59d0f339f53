"""Write the page about a run, finished or not.

`recpipe report` under spark-submit, with the same options.
"""

from __future__ import annotations

from recpipe.cli import job

if __name__ == "__main__":
    raise SystemExit(job("report"))
