"""Ratings of people who are new, with the numbers that items have in a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from recpipe.contracts import ITEMS
from recpipe.ingest.ingestion import ingest
from recpipe.storage import Tables

if TYPE_CHECKING:
    from datetime import date

    from pyspark.sql import DataFrame

    from recpipe.ingest.report import IngestReport
    from recpipe.ingest.settings import Ingest
    from recpipe.storage import Folder, Stored


@dataclass(frozen=True)
class People:
    """People of a source, and what they have rated.

    Args:
        ratings: contracts.RATINGS. Users are numbered from 0 for this source alone; items have
            the numbers of the run, and those that it does not know higher ones.
        users: contracts.USERS.
        unrated: contracts.UNRATED; None where there is nothing.
        items: how many items the run has numbers for.
        report: of what was read.
    """

    ratings: Stored
    users: DataFrame
    unrated: DataFrame | None
    items: int
    report: IngestReport

    def unknown(self) -> tuple[int, int]:
        """How many ratings are of items without a number, and how many people have no others."""
        people = self.report.users.total
        known = F.col("item") < self.items
        if not self.report.items.new and self.unrated is None:
            return 0, 0
        ratings, served = self.ratings.frame.agg(
            F.count_if(~known), F.count_distinct(F.when(known, F.col("user")))
        ).collect()[0]
        return int(ratings), people - int(served)


def read_people(
    source: str, *, items: DataFrame, scratch: Folder, settings: Ingest, run_date: date
) -> People:
    """Read a source as `ingest` does, into tables of its own.

    Args:
        source: a folder, zip or file on any Hadoop file system (docs/contracts.md).
        items: contracts.ITEMS, as a run has them.
        scratch: where the tables are kept; they are gone with it.
        settings: limits, what the values mean, and what the source does not say itself.
        run_date: the last day on which a rating can have been made (UTC).

    Raises:
        InputError: as of `ingest`.
    """
    tables = Tables(scratch)
    with tables.replace() as replacement:
        # Known ids keep their numbers, and new ones come after them.
        replacement.write(ITEMS, items)
    report = ingest(source, tables=tables, settings=settings, run_date=run_date)
    return People(
        ratings=tables.stored("ratings"),
        users=tables.read("users"),
        unrated=tables.read("unrated") if tables.has("unrated") else None,
        items=report.items.total - report.items.new,
        report=report,
    )


__all__ = ["People", "read_people"]
