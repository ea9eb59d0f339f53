"""What becomes of a row: it is kept, or refused with a reason; or a line is no row at all.

The first rule that a row breaks is its reason. Checked rows are written once, to scratch: what
is counted and shown afterwards does not read the source again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyspark.sql import Column, DataFrame

    from recpipe.storage import Folder

MALFORMED = "malformed line"
MISSING = "missing field"
NOT_A_NUMBER = "rating not a finite number"
OFF_SCALE = "rating off the scale"
OUT_OF_RANGE = "timestamp out of range"
ENCODING = "unknown encoding"
REASONS = (ENCODING, MALFORMED, MISSING, NOT_A_NUMBER, OFF_SCALE, OUT_OF_RANGE)
"""Why a row is refused, in the order of the checks: the first that fails names it."""

LATER, UNRATED = "later than the run date", "not rated"
"""The `reason` of rows that are sound, but made after the run date, or seen and not rated."""

NO_ROW = ""
"""The `reason` of blank lines and headers, which are counted as lines but are not rows."""
_RAW_CHARACTERS = 10_000


@dataclass(frozen=True)
class Rule:
    """Why a row is not kept as a rating; it applies where `broken` is true or null."""

    reason: str
    broken: Column


def check_rows(
    frame: DataFrame,
    rules: Sequence[Rule],
    *,
    row: Column,
    raw: Column,
    good: Column | None = None,
) -> DataFrame:
    """`frame` + reason (null for a good row) + raw (only of a refused one).

    Args:
        frame: one row a line.
        rules: the first that a row breaks is its reason.
        row: whether it is a row at all.
        raw: the line as `rejected` shows it.
        good: true only for rows that break no rule, and quick to tell: the rules are then asked
            about the others alone.
    """
    verdict = F.lit(None).cast("string")
    for rule in reversed(rules):
        verdict = F.when(F.coalesce(rule.broken, F.lit(True)), rule.reason).otherwise(verdict)
    reason = F.when(row, verdict).otherwise(NO_ROW)
    if good is not None:
        reason = F.when(good, F.lit(None)).otherwise(reason)
    checked = frame.withColumn("reason", reason)
    refused = F.col("reason").isin(*REASONS)
    return checked.withColumn("raw", F.when(refused, F.left(raw, F.lit(_RAW_CHARACTERS))))


@dataclass(frozen=True)
class Staged:
    """Checked rows on disk.

    Args:
        frame: the value columns, null in a refused row, + file, block, place, reason, raw.
        rows: how many there are, refused ones included.
        rejected: how many were refused, by reason.
        names: of the files, in their order.
        blocks: (file, block, first, lines) where `frame` is only some of the lines: the place of
            a block's first line and how many it has.
        later: how many were made after the run date.
        unrated: how many are of items that were seen and not rated.
    """

    frame: DataFrame
    rows: int
    rejected: Mapping[str, int]
    names: tuple[str, ...]
    blocks: DataFrame | None = None
    later: int = 0
    unrated: int = 0

    @property
    def refused(self) -> int:
        return sum(self.rejected.values())

    @property
    def kept(self) -> int:
        """How many are good."""
        return self.rows - self.refused - self.later - self.unrated

    @property
    def good(self) -> DataFrame:
        return self.frame.where(F.isnull("reason")).drop("reason", "raw", "number")

    @property
    def seen(self) -> DataFrame:
        """(user_id, item_id, rated_at) of the rows that are not rated."""
        return self.frame.where(F.col("reason") == UNRATED).select("user_id", "item_id", "rated_at")

    def rejects(self) -> DataFrame:
        """The refused rows as the table `rejected`, + `file`, in no order."""
        blocks = self.blocks
        if blocks is None:
            blocks = self.frame.groupBy("file", "block").agg(
                F.min("place").alias("first"), F.count(F.lit(1)).alias("lines")
            )
        before = (
            Window.partitionBy("file").orderBy("block").rowsBetween(Window.unboundedPreceding, -1)
        )
        starts = blocks.withColumn("before", F.coalesce(F.sum("lines").over(before), F.lit(0)))
        refused = self.frame.where(F.col("reason").isin(*REASONS))
        names = F.array(*[F.lit(name) for name in self.names])
        return refused.join(F.broadcast(starts), ["file", "block"]).select(
            F.get(names, F.col("file")).alias("source_file"),
            (F.col("before") + F.col("place") - F.col("first") + 1).alias("line"),
            "raw",
            "reason",
            "file",
        )

    def first_rejects(self, count: int) -> list[str]:
        """The first refused rows in the order of the source: file:line: reason: raw."""
        rows = self.rejects().orderBy("file", "line").limit(count).collect()
        return [
            f"{row['source_file']}:{row['line']}: {row['reason']}: {_shown(row['raw'])}"
            for row in rows
        ]

    def rows_by_file(self) -> dict[str, int]:
        """Rows of each file; one pass over the staged rows if there are several files."""
        if len(self.names) == 1:
            return {self.names[0]: self.rows}
        is_row = F.coalesce(F.col("reason") != NO_ROW, F.lit(True))
        counts = self.frame.where(is_row).groupBy("file").count().collect()
        by_number = {row["file"]: row["count"] for row in counts}
        return {name: by_number.get(number, 0) for number, name in enumerate(self.names)}


def stage(
    checked: DataFrame,
    name: str,
    *,
    names: Sequence[str],
    scratch: Folder,
    blocks: DataFrame | None = None,
) -> Staged:
    """Write checked rows once, and count them from what was written.

    Args:
        checked: what `check_rows` returned.
        name: of the table in `scratch`.
        names: of the source files, in order.
        scratch: where it is kept.
        blocks: of `Staged`.
    """
    frame = scratch.write_table(name, checked)
    # Counting on the way, by an Observation, is interpreted and costs as much as the parsing.
    counts = {row["reason"]: row["count"] for row in frame.groupBy("reason").count().collect()}
    counts.pop(NO_ROW, None)
    return Staged(
        frame=frame,
        rows=sum(counts.values()),
        rejected={reason: counts[reason] for reason in REASONS if reason in counts},
        names=tuple(names),
        blocks=blocks,
        later=counts.get(LATER, 0),
        unrated=counts.get(UNRATED, 0),
    )


def _shown(raw: str) -> str:
    return repr(raw if len(raw) <= 100 else f"{raw[:100]} ...")  # noqa: PLR2004 - one line
