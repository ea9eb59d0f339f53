"""Text to chunks: lines of ratings are read by a kernel, some of them to a row.

Between the JVM and Python each row costs more than the bytes in it. So Spark's reader is told to
cut a file not at every line feed but only where certain bytes stand before it: at one line in a
hundred, where those are two digits. Nothing rests on how often that is, but speed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.sql import functions as F

from recpipe.ingest.fast.chunks import (
    LINE,
    SCHEMA,
    WHOLE,
    ChunkRatings,
    as_bytes,
    chunk,
    record,
    segments,
)
from recpipe.ingest.layout import HEAD_BYTES
from recpipe.ingest.names import RATING_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa
    from pyspark.sql import DataFrame

    from recpipe.feedback import Scale
    from recpipe.ingest.layout import Layout
    from recpipe.ingest.times import Period
    from recpipe.storage.filesystem import FileSystem

FEED = "\n"
LONGEST = 1 << 24
"""Bytes between two cuts above which a reader may leave out what is between: see `Summary.size`."""

_LINES = 1 << 20
_MAX_LINES = 256
"""Lines between two cuts, on average, above which a cut is not worth it any more."""
_STRONGEST = 1e30
_BOM = b"\xef\xbb\xbf"


def rules(layout: Layout, scale: Scale | None, period: Period) -> dict[str, Any]:
    """What a clean line of this layout is: the fields of `kernels.lines.Rules`.

    Without a scale, values are strengths: any number that is not 0.

    As a mapping, because the driver has no use for Numba, which takes a second to load.
    """
    factor = 1000 if layout.time == "milliseconds" else 1
    if scale is None:
        bounds = (float(np.nextafter(0, 1)), _STRONGEST, 0.0)
    else:
        bounds = (scale.min, scale.max, scale.step or 0.0)
    return {
        "delimiter": np.array(list(layout.delimiter.encode()), np.uint8),
        "header": np.array(list((layout.header or "").encode()), np.uint8),
        "width": layout.width,
        "at": np.array([layout.columns.get(name, -1) for name in RATING_COLUMNS], np.int64),
        "scale": np.array(bounds, np.float64),
        "period": np.array(
            [int(t.timestamp()) * factor for t in (period.first, period.end)], np.int64
        ),
    }


@dataclass(frozen=True)
class Cut:
    """How a file is cut into rows.

    Args:
        end: what every row ends with, and which the reader takes off: a line feed, and maybe
            some bytes before it.
        size: bytes of all rows, their ends included; None if it need not be known, because every
            line is a row.
    """

    end: str = FEED
    size: int | None = None


def find_cut(fs: FileSystem, uris: Sequence[str]) -> Cut:
    """How the rows of a file end: as the file itself does, where its lines often end like that.

    Often means in the first and in the last 64 KB. Then the last row has its end, too. Several
    files, and a file of which that does not hold, are cut at line feeds.
    """
    if len(uris) != 1 or uris[0].endswith(".gz"):
        return Cut()
    head, tail = fs.read_head(uris[0], HEAD_BYTES), fs.read_tail(uris[0], HEAD_BYTES)
    for end in (tail[-3:], tail[-2:]):
        often = all(s.count(end) * _MAX_LINES > s.count(b"\n") > 0 for s in (head, tail))
        one_line = len(end) > 1 and end.find(b"\n") == len(end) - 1
        if often and one_line and end.isascii():
            # Hadoop's reader leaves a byte order mark out.
            size = fs.size(uris[0]) - (len(_BOM) if head.startswith(_BOM) else 0)
            return Cut(end.decode(), size)
    return Cut()


def parse_lines(
    pieces: DataFrame, rules: Mapping[str, Any], *, end: str, milliseconds: bool
) -> DataFrame:
    """`chunks.SCHEMA`: chunks of the clean lines, and those left to the general way.

    Args:
        pieces: (value, file, block): lines or some at a time, without their `end`; each block in
            its order within one partition.
        rules: of `rules`.
        end: of each piece: at its end a line feed.
        milliseconds: whether instants are written in those.
    """

    def parse(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return _parse(batches, rules, end=end.encode(), milliseconds=milliseconds)

    return pieces.select("value", "file", "block").mapInArrow(parse, SCHEMA)


@dataclass(frozen=True)
class Summary:
    """What chunks hold.

    Args:
        blocks: (file, block, lines) in no order.
        size: bytes of all lines, with their line feeds.
        clean: clean lines of each file by its number.
        others: lines that are left to the general way, the blank ones not among them.
        users: ids of users, those of several chunks counted in each.
        items: ids of items, likewise.
        in_order: whether clean lines are in the order of user, then item, each pair once.
    """

    blocks: Sequence[tuple[int, int, int]]
    size: int
    clean: dict[int, int]
    others: int
    users: int
    items: int
    in_order: bool


def summarise(chunks: DataFrame) -> Summary:
    """Read what chunks say of themselves: O(blocks and millions of lines) on the driver."""
    rows = chunks.where(F.col("bucket") == WHOLE)
    found = rows.select(
        "file", "block", "place", "lines", "size", "clean", "others", "users", "items",
        "ascending", "first_user", "first_item", "last_user", "last_item",
    ).collect()  # fmt: skip
    found.sort(key=lambda row: (row["file"], row["block"], row["place"]))
    clean: dict[int, int] = {}
    for row in found:
        clean[row["file"]] = clean.get(row["file"], 0) + row["clean"]
    rated = [row for row in found if row["clean"]]
    return Summary(
        blocks=[(row["file"], row["block"], row["lines"]) for row in found],
        size=sum(row["size"] for row in found),
        clean=clean,
        others=sum(row["others"] for row in found),
        users=sum(row["users"] for row in found),
        items=sum(row["items"] for row in found),
        in_order=all(row["ascending"] for row in rated)
        and all(
            (before["last_user"], before["last_item"]) < (after["first_user"], after["first_item"])
            for before, after in pairwise(rated)
        ),
    )


def _parse(
    batches: Iterator[pa.RecordBatch], given: Mapping[str, Any], *, end: bytes, milliseconds: bool
) -> Iterator[pa.RecordBatch]:
    """Pieces of text to chunks: a chunk ends with its block, or when it has enough lines."""
    from recpipe.kernels import lines as kernel

    rules = kernel.Rules(**given)
    cut = np.frombuffer(end, np.uint8).copy()
    now: tuple[int, int] | None = None
    place = begun = size = others = 0
    held: list[ChunkRatings] = []

    def flush() -> Iterator[pa.RecordBatch]:
        if now is not None and place > begun:
            yield chunk(
                ChunkRatings.joined(held), file=now[0], block=now[1], place=begun,
                lines=place - begun, size=size, others=others, seconds=not milliseconds,
            )  # fmt: skip

    for batch in batches:
        data, offsets = as_bytes(batch.column(0))
        for start, stop, file, block in segments(batch):
            if (file, block) != now or place - begun >= _LINES:
                yield from flush()
                held, others, size = [], 0, 0
                place = place if (file, block) == now else 0
                now, begun = (file, block), place
            text = kernel.joined(data, offsets[start : stop + 1], cut)
            parsed = kernel.parse(text, rules)
            times = parsed.times * 1000 if milliseconds else parsed.times
            places = place + np.flatnonzero(parsed.kinds == kernel.CLEAN)
            held.append(ChunkRatings(parsed.users, parsed.items, parsed.ratings, times, places))
            other = np.flatnonzero(parsed.kinds == kernel.OTHER)
            if len(other):
                others += len(other)
                yield record(
                    len(other), file=file, block=block, place=place + other, bucket=LINE,
                    value=_lines(text, parsed.starts[other], parsed.starts[other + 1] - 1),
                )  # fmt: skip
            place += len(parsed.kinds)
            size += len(text)
    yield from flush()


def _lines(text: np.ndarray[Any, Any], starts: Any, stops: Any) -> pa.Array:
    """Lines of a text as strings, though not all may be UTF-8."""
    import pyarrow as pa

    found = [text[a:b].tobytes() for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]
    offsets = np.cumsum([0, *map(len, found)]).astype(np.int32)
    return pa.StringArray.from_buffers(
        len(found), pa.py_buffer(offsets), pa.py_buffer(b"".join(found))
    )
