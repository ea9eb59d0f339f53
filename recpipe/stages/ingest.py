"""Raw files to the tables under the root."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recpipe.ingest import ingest as read_source

if TYPE_CHECKING:
    from recpipe.stages.context import Context

logger = logging.getLogger(__name__)


def ingest(context: Context, source: str) -> None:
    """Raw files to the tables under the root."""
    with context.progress.stage("ingest", source):
        found = read_source(
            source,
            tables=context.tables,
            settings=context.settings.ingest,
            run_date=context.run_date,
        )
    logger.info("%s", found.summary())
