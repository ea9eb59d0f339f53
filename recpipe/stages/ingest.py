"""Raw files to the tables under the root."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recpipe.ingest import ingest as read_source

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recpipe.stages.context import Context

logger = logging.getLogger(__name__)


def ingest(context: Context, source: str | Mapping[str, str]) -> None:
    """Raw files, of a source or of each part of one, to the tables under the root."""
    shown = source if isinstance(source, str) else ", ".join(source.values())
    with context.progress.stage("ingest", shown):
        found = read_source(
            source,
            tables=context.tables,
            settings=context.settings.ingest,
            run_date=context.run_date,
        )
    logger.info("%s", found.summary())
