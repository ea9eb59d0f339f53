"""`python -m recpipe`."""

from recpipe.cli import main

raise SystemExit(main())
