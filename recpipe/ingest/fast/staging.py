"""Ratings on their way: read once from the source, counted, and ready to become the table.

Clean lines of whole-number ids are parsed by a kernel and kept as chunks; what is not clean, and
sources of another kind, are checked row by row by Spark. From here on they are one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import Observation
from pyspark.sql import functions as F

from recpipe.contracts import RATINGS
from recpipe.ingest import ratings
from recpipe.ingest.fast import parsing, passes
from recpipe.ingest.fast.chunks import LINE
from recpipe.ingest.layout import Layout
from recpipe.ingest.lines import POSITION, read_raw_lines, without_ends
from recpipe.ingest.rules import OFF_SCALE, REASONS, UNRATED, Staged, stage
from recpipe.spark.held import cached
from recpipe.storage.filesystem import file_system

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pyspark.sql import DataFrame

    from recpipe.feedback import Scale
    from recpipe.ingest.fast.parsing import Cut, Summary
    from recpipe.ingest.fast.passes import Numbers
    from recpipe.ingest.ratings import Repeated
    from recpipe.ingest.times import Period
    from recpipe.storage import Folder

_IDS_OF_ONE_TASK = 20_000_000
"""Ids, counted again in each chunk, up to which one task puts them in order and checks them."""
_SAMPLED_LINES = 100
_ROW_BYTES = 25
"""Of a line of ratings, where there are only rows."""
_PLAIN = re.compile(rb"0|-?[1-9][0-9]{0,17}")


@dataclass(frozen=True)
class StagedRatings:
    """All ratings of a source, read and kept until it is closed.

    Args:
        rows: how many there are, refused ones included.
        rejected: how many were refused, by reason.
        names: of the files, in their order.
        buckets: of users, in `chunks`.
        chunks: clean ratings of whole-number ids (`chunks.SCHEMA`); None if there are none.
        summary: of the chunks.
        general: all other rows; None if there are none.
        held: the cached frame that `close` lets go; None for none.
    """

    rows: int
    rejected: Mapping[str, int]
    names: tuple[str, ...]
    buckets: int
    chunks: DataFrame | None = None
    summary: Summary | None = None
    general: Staged | None = None
    held: DataFrame | None = None

    @property
    def later(self) -> int:
        """How many were made after the run date."""
        return self.general.later if self.general else 0

    @property
    def unrated(self) -> int:
        """How many are of items that were seen and not rated."""
        return self.general.unrated if self.general else 0

    @property
    def kept(self) -> int:
        """How many are good."""
        return self.rows - self.refused - self.later - self.unrated

    @property
    def seen(self) -> DataFrame | None:
        """(user_id, item_id, rated_at) of rows that are not rated, ids strings; None without."""
        return self.general.seen if self.general and self.general.unrated else None

    def histogram(self, numbers: int = 100_000) -> dict[float, int]:
        """How often each value is in the source, those off the scale or not rated included.

        Args:
            numbers: distinct values that are counted; of more, the most frequent.
        """
        found = passes.histogram(self.chunks) if self.chunks is not None else {}
        if self.general is not None:
            valued = f"reason IS NULL OR reason IN ('{OFF_SCALE}', '{UNRATED}')"
            finite = "number IS NOT NULL AND NOT isnan(number) AND abs(number) < 1e30"
            rows = self.general.frame.where(f"({valued}) AND {finite}")
            counted = rows.groupBy("number").count().orderBy(F.desc("count"), "number")
            for number, count in counted.limit(numbers).collect():
                value = round(float(number), 6)
                found[value] = found.get(value, 0) + int(count)
        return found

    @property
    def refused(self) -> int:
        return sum(self.rejected.values())

    @property
    def good(self) -> DataFrame | None:
        """The checked rows that were not refused, their ids strings; None if there are none."""
        if self.general is None or not self.general.kept:
            return None
        return self.general.good

    @property
    def ids_in_order(self) -> bool:
        """Whether `ids` are ascending, in one partition."""
        return (
            self.good is None
            and self.seen is None
            and self.summary is not None
            and max(self.summary.users, self.summary.items) <= _IDS_OF_ONE_TASK
        )

    def ids(self, name: str, *, scratch: Folder) -> DataFrame:
        """The ids of good ratings, and of rows not rated, each once: long without checked rows."""
        good, seen = self.good, self.seen
        if good is None and seen is None and self.chunks is not None:
            if self.ids_in_order:
                return passes.distinct_ids(self.chunks, name)
            return passes.ids(self.chunks, name).distinct()
        frames = [frame.select(name) for frame in (good, seen) if frame is not None]
        if self.chunks is not None:
            frames.append(passes.ids(self.chunks, name).select(F.col(name).cast("string")))
        found = reduce(lambda a, b: a.unionByName(b), frames).distinct()
        return scratch.write_table(f"seen-{name}", found)

    @property
    def in_order(self) -> bool:
        """Whether all are in `chunks`, by user, then item, each pair once."""
        return self.good is None and self.summary is not None and self.summary.in_order

    def close(self) -> None:
        """Give up the room that the ratings take."""
        if self.held is not None:
            self.held.unpersist()

    def rows_by_file(self) -> dict[str, int]:
        """Rows of each file."""
        if len(self.names) == 1:
            return {self.names[0]: self.rows}
        counts = dict.fromkeys(self.names, 0)
        for number, clean in (self.summary.clean if self.summary else {}).items():
            counts[self.names[number]] += clean
        for name, others in (self.general.rows_by_file() if self.general else {}).items():
            counts[name] += others
        return counts


def stage_general(checked: DataFrame, *, names: Sequence[str], scratch: Folder) -> StagedRatings:
    """Stage rows that `ratings` has checked."""
    staged = stage(checked, "ratings", names=names, scratch=scratch)
    parallelism = scratch.spark.sparkContext.defaultParallelism
    buckets = passes.bucket_count(staged.rows * _ROW_BYTES, parallelism)
    return StagedRatings(
        staged.rows, staged.rejected, staged.names, buckets=buckets, general=staged
    )


def stage_lines(
    uris: Sequence[str],
    layout: Layout,
    *,
    names: Sequence[str],
    size: int,
    scale: Scale | None,
    period: Period,
    scratch: Folder,
    unrated: tuple[float, ...] = (),
) -> StagedRatings:
    """Parse lines of ratings, and have Spark check those that the kernel leaves over.

    Args:
        uris: the files, in order.
        layout: of their lines.
        names: of the files.
        size: bytes of all of them.
        scale: the valid ratings; None with implicit feedback.
        period: the valid instants.
        scratch: where they are kept.
        unrated: values that mean "not rated"; the kernel knows none, so none may be on the scale.
    """
    spark = scratch.spark
    buckets = passes.bucket_count(size, spark.sparkContext.defaultParallelism)
    by = parsing.rules(layout, scale, period)
    milliseconds = layout.time == "milliseconds"

    def read(cut: Cut) -> DataFrame:
        longest = None if cut.size is None else parsing.LONGEST
        pieces = read_raw_lines(spark, uris, end=cut.end, longest=longest)
        return parsing.parse_lines(pieces, by, end=cut.end, milliseconds=milliseconds)

    cut = parsing.find_cut(file_system(uris[0], spark), uris)
    chunks, summary = _held(read(cut))
    if cut.size not in {None, summary.size}:
        # Lines that stand further apart than a row may be long.
        chunks.unpersist()
        chunks, summary = _held(read(parsing.Cut()))
    clean = sum(summary.clean.values())
    general = None
    if summary.others:
        left = without_ends(chunks.where(F.col("bucket") == LINE))
        general = stage(
            ratings.checked_text(
                left.select("value", *POSITION),
                layout,
                rules=ratings.Rules(scale, period, unrated),
            ),
            "ratings",
            names=names,
            scratch=scratch,
            blocks=_blocks(summary, chunks),
        )
    rejected = general.rejected if general else {}
    return StagedRatings(
        rows=clean + (general.rows if general else 0),
        rejected={reason: rejected[reason] for reason in REASONS if reason in rejected},
        names=tuple(names),
        buckets=buckets,
        chunks=chunks if clean else None,
        summary=summary if clean else None,
        general=general,
        held=chunks,
    )


def _held(parsed: DataFrame) -> tuple[DataFrame, Summary]:
    """Chunks in memory, and on the disks of those that read them where that is short."""
    chunks = cached(parsed)
    try:
        return chunks, parsing.summarise(chunks)
    except BaseException:
        chunks.unpersist()
        raise


def has_whole_number_ids(head: bytes, layout: Layout) -> bool:
    """Whether most of the first lines have whole-number ids and instants: then the kernel pays."""
    plain = replace(layout, columns={}, header=None, form=None, width=0, delimiter="")
    if layout.time not in {"seconds", "milliseconds", None} or plain != Layout():
        return False
    if layout.delimiter == " " or (layout.form is not None and layout.form.floats):
        return False
    lines = [line.rstrip(b"\r") for line in head.split(b"\n")[: _SAMPLED_LINES + 1]]
    rows = [line.split(layout.delimiter.encode()) for line in lines if line.strip()]
    whole_fields = ("user", "item", "timestamp")
    at = [layout.columns[name] for name in whole_fields if name in layout.columns]
    whole = [
        len(row) == layout.width and all(_PLAIN.fullmatch(row[position]) for position in at)
        for row in rows
    ]
    # A header and a last line that is cut short are among them.
    return sum(whole) * 2 >= len(whole) - 2 and any(whole)


@dataclass(frozen=True)
class Latest:
    """The table of ratings, not written yet.

    Args:
        rows: of the table.
        files: the same, encoded by the tasks (`storage.encoded`); None where they cannot.
        superseded: says, once either is written, how many other ratings there were.
    """

    rows: DataFrame
    files: DataFrame | None
    superseded: Callable[[], int]


def latest(
    rated: StagedRatings,
    good: DataFrame | None,
    users: DataFrame,
    items: DataFrame,
    numbers: tuple[Numbers, Numbers] | None,
    *,
    repeated: Repeated = "latest",
) -> Latest:
    """The table of ratings: one row a (user, item), the latest; see `ratings.latest`.

    Args:
        rated: all ratings.
        good: `rated.good` with ids of the types of the tables.
        users: (user_id, user), every user among them.
        items: (item_id, item), every item among them.
        numbers: of `users` and `items`, where they are whole numbers and not too many.
        repeated: what becomes of the values of several rows of a pair.
    """
    kinds = {frame.schema[0].dataType.simpleString() for frame in (users, items)}
    if kinds != {"bigint"}:
        return _latest_rows(rated, good, users, items, repeated=repeated)
    kept, superseded = _latest_chunks(rated, good, repeated=repeated)
    if numbers is not None:
        rows, files = (as_what(kept, *numbers) for as_what in (passes.numbered, passes.encoded))
        return Latest(rows, files, superseded)
    table = passes.values(kept).join(users, "user_id").join(items, "item_id")
    return Latest(table.select(*RATINGS.columns), None, superseded)


def _latest_rows(
    rated: StagedRatings,
    good: DataFrame | None,
    users: DataFrame,
    items: DataFrame,
    *,
    repeated: Repeated,
) -> Latest:
    """`latest` where ids are strings: row by row, by Spark."""
    frames = [] if good is None else [good]
    if rated.chunks is not None:
        unpacked = passes.unpack(rated.chunks)
        ids = (("user_id", users), ("item_id", items))
        frames.append(
            unpacked.withColumns(
                {name: F.col(name).cast(frame.schema[name].dataType) for name, frame in ids}
            )
        )
    rows = reduce(lambda a, b: a.unionByName(b), frames)
    table, observed = ratings.latest(rows, users, items, repeated=repeated)
    return Latest(table, None, lambda: int(observed.get["superseded"] or 0))


def _latest_chunks(
    rated: StagedRatings, good: DataFrame | None, *, repeated: Repeated
) -> tuple[DataFrame, Callable[[], int]]:
    """`chunks.KEPT` of all ratings, and what says how many were superseded once it is written."""
    if rated.in_order and rated.chunks is not None and repeated != "count":
        return passes.kept_as_they_are(rated.chunks), lambda: 0
    frames = [] if rated.chunks is None else [rated.chunks]
    if good is not None:
        frames.append(passes.pack(good))
    observed = Observation()
    kept = passes.latest(
        reduce(lambda a, b: a.unionByName(b), frames), buckets=rated.buckets, value=repeated
    ).observe(observed, F.sum("superseded").alias("superseded"))
    return kept, lambda: int(observed.get["superseded"] or 0)


def _blocks(summary: Summary, chunks: DataFrame) -> DataFrame:
    """(file, block, first, lines) of every block; of a block of several chunks, once."""
    lines: dict[tuple[int, int], int] = {}
    for file, block, count in summary.blocks:
        lines[file, block] = lines.get((file, block), 0) + count
    rows = [(file, block, 0, count) for (file, block), count in lines.items()]
    schema = "file int, block long, first long, lines long"
    return chunks.sparkSession.createDataFrame(rows, schema)
