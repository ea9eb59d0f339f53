"""Writes the reference of all settings: `python -m recpipe.settings > conf/base.toml`."""

from __future__ import annotations

import sys

from recpipe.settings import as_toml

if __name__ == "__main__":
    sys.stdout.write(as_toml())
