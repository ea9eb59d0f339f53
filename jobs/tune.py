"""Search the settings of MODEL for the best value on validation.

`recpipe tune` under spark-submit, with the same options.
"""

from __future__ import annotations

from recpipe.cli import job

if __name__ == "__main__":
    raise SystemExit(job("tune"))
