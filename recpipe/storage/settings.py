"""The section `storage`."""

from __future__ import annotations

from typing import Literal

from recpipe.sections import Section


class Storage(Section):
    """How tables below the root are written."""

    format: Literal["parquet", "delta"] = "parquet"
    """The format of every table but the published export, which is always Parquet."""
