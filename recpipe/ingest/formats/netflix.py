"""The files of the Netflix Prize: a line `item:`, and below it its ratings `user,rating,date`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from recpipe.ingest.dialect import text_of
from recpipe.ingest.formats.base import GivenColumns, Look, placed_row, rating_look
from recpipe.ingest.layout import Layout
from recpipe.ingest.lines import read_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa
    from pyspark.sql import Column, DataFrame, SparkSession

    from recpipe.ingest.layout import Sample

_ITEM = r"^[0-9]+:\s*$"
_WIDTH = 3
_SCHEMA = "value string, file int, block long, place long, item string"


class NetflixFormat:
    """See the module."""

    name = "Netflix"

    def look(self, sample: Sample, given: GivenColumns) -> Look | None:
        text = text_of(sample.head)
        if text is None or not text.lines or not re.match(_ITEM, text.lines[0]):
            return None
        rows = [line.split(",") for line in text.lines if not re.match(_ITEM, line)]
        rated = [row for row in rows if len(row) == _WIDTH]
        if len(rated) * 2 < len(rows) or not rows:
            return Look(None, reason="blocks of an item without ratings below them")
        layout = Layout(
            columns={"user": 0, "item": _WIDTH, "rating": 1, "timestamp": 2},
            width=_WIDTH, format=self.name,
        )  # fmt: skip
        items = [line.rstrip(": ") for line in text.lines if re.match(_ITEM, line)]
        names = ("user", "rating", "time", "item")
        return rating_look(
            layout,
            lambda name: items if name == "item" else [row[layout.columns[name]] for row in rated],
            names=names, rows=len(rated), given=given,
        )  # fmt: skip

    def read(
        self, spark: SparkSession, uris: Sequence[str], layout: Layout, numbers: Sequence[int]
    ) -> DataFrame:
        # Python reads no string that is not UTF-8; nothing here needs more than ASCII.
        lines = read_lines(spark, uris, latin1=True, numbers=numbers)
        heads = lines.where(F.rlike("value", F.lit(_ITEM)))
        last = heads.groupBy("file", "block").agg(F.max_by("value", "place").alias("value"))
        before = _carried({(row["file"], row["block"]): row["value"] for row in last.collect()})

        def fill(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            return _fill(batches, before)

        filled = lines.select("value", "file", "block", "place").mapInArrow(fill, _SCHEMA)
        split = filled.withColumn("fields", F.split("value", ",", -1))

        def at(name: str) -> Column:
            if name == "item":
                return F.col("item")
            return F.get("fields", F.lit(layout.columns[name]))

        row = (F.trim("value") != "") & ~F.rlike("value", F.lit(_ITEM))
        return split.select(
            *placed_row(
                at, layout, complete=(F.size("fields") == _WIDTH) & (F.col("item") != ""),
                sound=F.is_valid_utf8("value"), row=row, raw=F.col("value"),
            )
        )  # fmt: skip


FORMAT = NetflixFormat()


def _carried(last: Mapping[tuple[int, int], str]) -> list[tuple[int, int, str]]:
    """(file, block, the last item in that block) in order: O(blocks)."""
    return [(file, block, value.strip(": ")) for (file, block), value in sorted(last.items())]


def _fill(
    batches: Iterator[pa.RecordBatch], before: Sequence[tuple[int, int, str]]
) -> Iterator[pa.RecordBatch]:
    """Each line with the item above it, which may be the last one of a block before."""
    import pyarrow as pa

    now: tuple[int, int] | None = None
    item = ""
    for batch in batches:
        values, files, blocks = (batch.column(i).to_pylist() for i in range(3))
        items = []
        for value, file, block in zip(values, files, blocks, strict=True):
            if (file, block) != now:
                now = (file, block)
                earlier = [known for f, b, known in before if f == file and b < block]
                item = earlier[-1] if earlier else ""
            if re.match(_ITEM, value):
                item = value.strip(": \r")
            items.append(item)
        yield pa.RecordBatch.from_arrays(
            [*batch.columns, pa.array(items, pa.string())],
            names=["value", "file", "block", "place", "item"],
        )
