"""The program that `recpipe submit` gives to Spark: `recpipe <stage>` under spark-submit."""

from __future__ import annotations

from recpipe.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
