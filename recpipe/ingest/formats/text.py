"""Delimited text: CSV, TSV, MovieLens' `::`, blanks, with or without a header.

A header decides where there is one; otherwise the shape of most of the first lines does. MovieLens'
files beside the ratings are told here as well.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from recpipe.ingest import dialect
from recpipe.ingest import lines as raw_lines
from recpipe.ingest.dialect import DELIMITERS, Text, cells, text_of
from recpipe.ingest.formats import shapes
from recpipe.ingest.formats.base import (
    GivenColumns,
    Look,
    all_columns,
    has_user_and_item,
    placed_row,
    rating_look,
)
from recpipe.ingest.layout import Layout
from recpipe.ingest.names import columns_of, known_columns, plain
from recpipe.ingest.times import TimeForm, time_form

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pyspark.sql import Column, DataFrame, SparkSession

    from recpipe.ingest.layout import Kind, Sample

DATA = frozenset({
    ".csv", ".tsv", ".dat", ".data", ".tab", ".psv", ".inter", ".json", ".jsonl", ".ndjson",
    ".parquet", ".pq", ".gz", ".base", ".test",
})  # fmt: skip
"""How the names of files end that are meant as tables."""

_ALIKE = 0.5
"""The share of sampled lines that must have the shape of a kind: a broken file is still known."""
_TABLE = 0.9
"""The share of lines of one width from which a text without known columns is a table."""

_HEADERS: Mapping[Kind, tuple[str, ...]] = {
    "genome_scores": ("item", "tag_id", "relevance"),
    "genome_tags": ("tag_id", "tag"),
    "tags": ("user", "item", "tag", "timestamp"),
    "movies": ("item", "title", "genres"),
    "links": ("item", "imdb_id", "tmdb_id"),
}


class TextFormat:
    """See the module."""

    name = "text"

    def look(self, sample: Sample, given: GivenColumns) -> Look | None:
        text = text_of(sample.head)
        if text is None:
            return None
        if not text.lines:
            return Look(None, reason="empty")
        return (
            _by_number(sample, text, given)
            or _by_header(sample, text, given)
            or _by_shape(sample, text, given)
            or _unknown(sample, text)
        )

    def read(
        self, spark: SparkSession, uris: Sequence[str], layout: Layout, numbers: Sequence[int]
    ) -> DataFrame:
        if layout.multiline:
            return _records(spark, uris, layout, numbers)
        lines = raw_lines.read_lines(
            spark, uris, latin1=layout.latin1, end=layout.line_end, numbers=numbers
        )
        return parsed(lines, layout)


FORMAT = TextFormat()


def parsed(lines: DataFrame, layout: Layout) -> DataFrame:
    """Lines that were read, (value, file, block, place), as `ROW`."""
    split = lines.withColumn("fields", raw_lines.fields(layout))

    def at(name: str) -> Column:
        return F.get("fields", F.lit(layout.columns[name]))

    readable = F.when(F.is_valid_utf8("value"), F.col("value")).otherwise(
        F.decode(F.col("value").cast("binary"), "ISO-8859-1")
    )
    return split.select(
        *placed_row(
            at,
            layout,
            complete=F.size("fields") == layout.width,
            sound=F.is_valid_utf8("value"),
            row=raw_lines.is_row(layout),
            raw=readable,
        )
    )


def _records(
    spark: SparkSession, uris: Sequence[str], layout: Layout, numbers: Sequence[int]
) -> DataFrame:
    """Records that may go over several lines, as `ROW`: a file is read by one task."""
    records = raw_lines.read_records(spark, uris, layout, numbers=numbers)
    header = dialect.fields(layout.header or "", layout.delimiter)
    cells_ = [F.coalesce(F.col(f"f{place}"), F.lit("")) for place in range(layout.width)]
    joined = F.array(*cells_)
    row = F.array_join(F.transform(joined, F.trim), "") != ""
    if layout.header is not None and len(header) == layout.width:
        row = row & (joined != F.array(*[F.lit(name) for name in header]))

    def at(name: str) -> Column:
        return cells_[layout.columns[name]]

    sound = F.lit(True)
    for name in layout.columns:
        sound = sound & F.is_valid_utf8(at(name))
    raw = F.coalesce(F.col("broken"), F.array_join(joined, layout.delimiter))
    return records.select(
        *placed_row(at, layout, complete=F.isnull("broken"), sound=sound, row=row, raw=raw)
    )


def _by_header(sample: Sample, text: Text, given: GivenColumns) -> Look | None:
    for delimiter in DELIMITERS:
        names = dialect.fields(text.lines[0], delimiter)
        columns, folders = all_columns(sample, names, given)
        named = any(isinstance(column, str) and column for column in given.columns.values())
        if has_user_and_item(columns, folders) and (
            "rating" in columns.keys() | folders.keys() or named
        ):
            return _ratings(sample, text, delimiter, columns, folders, given, header=True)
        for kind, wanted in _HEADERS.items():
            found = columns_of(names, wanted)
            if found is not None:
                return _beside(kind, text, delimiter, names, found)
        if has_user_and_item(columns, folders):
            if "tagid" in map(plain, names):
                return Look(None, names=tuple(names), reason="taggings of another form")
            return _ratings(sample, text, delimiter, columns, folders, given, header=True)
    return None


def _beside(
    kind: Kind, text: Text, delimiter: str, names: Sequence[str], columns: Mapping[str, int]
) -> Look:
    rows = [row for row in cells(text, delimiter).rows[1:] if len(row) == len(names)]
    form: TimeForm | None = None
    if "timestamp" in columns:
        form = time_form([row[columns["timestamp"]] for row in rows])
        # Without an instant such a row is refused.
        form = TimeForm("seconds") if form.unit == "void" else form
    layout = Layout(
        columns=columns, width=len(names), delimiter=delimiter, header=text.lines[0], form=form
    )
    return Look(kind, layout, tuple(names), rows=len(rows))


def _by_number(sample: Sample, text: Text, given: GivenColumns) -> Look | None:
    """By the numbers that the settings give, with a header or without."""
    if not all(isinstance(given.columns.get(name), int) for name in ("user", "item")):
        return None
    delimiter = dialect.delimiter_of(text)
    if not delimiter:
        return None
    rows = cells(text, delimiter).rows
    width = dialect.usual_width(rows)
    columns, folders = all_columns(sample, [""] * width, given, header=False)
    if not has_user_and_item(columns, folders):
        return None
    header = dialect.header_of(rows) is not None
    return _ratings(sample, text, delimiter, columns, folders, given, header=header, width=width)


def _ratings(
    sample: Sample,
    text: Text,
    delimiter: str,
    columns: Mapping[str, int],
    folders: Mapping[str, str],
    given: GivenColumns,
    *,
    header: bool,
    width: int | None = None,
) -> Look:
    """The layout of a file of ratings whose columns are known."""
    plain_rows = [dialect.fields(line, delimiter) for line in text.lines[header:]]
    quoted = delimiter not in {",", ";"} and _in_quotes(plain_rows, columns)
    found = cells(text, delimiter, quoted=quoted)
    names = found.rows[0] if header else ()
    width = width or (len(names) if header else dialect.usual_width(found.rows))
    rows = [row for row in found.rows[header:] if len(row) == width]
    layout = Layout(
        columns=columns,
        width=width,
        delimiter=delimiter,
        header=text.lines[0] if header else None,
        quoted=quoted,
        escape=found.escape,
        line_end=text.line_end,
        latin1=text.latin1,
        folders=folders,
    )

    def cell(name: str) -> list[str]:
        if name in folders:
            return [sample.partitions[folders[name]]]
        return [row[columns[name]] for row in rows]

    numbered = [str(place + 1) for place in range(width)]
    return rating_look(layout, cell, names=names or numbered, rows=len(rows), given=given)


def _in_quotes(rows: Sequence[Sequence[str]], columns: Mapping[str, int]) -> bool:
    """Whether the ids of all rows stand in quotes."""
    ids = [
        row[columns[name]].strip()
        for row in rows
        for name in ("user", "item")
        if columns.get(name, len(row)) < len(row)
    ]
    return bool(ids) and all(len(i) > 1 and i[0] == i[-1] == '"' for i in ids)


def _by_shape(sample: Sample, text: Text, given: GivenColumns) -> Look | None:
    lines = text.lines
    if _share(lines, "::", shapes.is_dat) >= _ALIKE:
        return _dat(sample, text, given)
    for shape in shapes.PIPED:
        if _share(lines, "|", shape.fits) >= _ALIKE:
            positions = {name: i for i, name in enumerate(shape.columns)}
            return Look(shape.kind, Layout(columns=positions, width=shape.width, delimiter="|"))
    for delimiter in DELIMITERS[1:]:
        rows = cells(text, delimiter).rows
        for columns in shapes.RATINGS:
            fits = sum(shapes.is_rating(row, columns, given) for row in rows)
            if rows and fits >= _ALIKE * len(rows):
                return _shaped(sample, text, delimiter, columns, given)
    return None


def _shaped(
    sample: Sample, text: Text, delimiter: str, columns: Sequence[str], given: GivenColumns
) -> Look | None:
    """By the places of the columns; not where a header gives them names that are not known."""
    if dialect.header_of(cells(text, delimiter).rows) is not None:
        return None
    positions = {name: i for i, name in enumerate(columns)}
    folders = all_columns(sample, (), given)[1]
    folders = {name: folder for name, folder in folders.items() if name not in positions}
    return _ratings(
        sample, text, delimiter, positions, folders, given, header=False, width=len(columns)
    )


def _dat(sample: Sample, text: Text, given: GivenColumns) -> Look | None:
    """One of the `::` files of 1m and 10m; titles and tags may hold `::` themselves."""
    lines = text.lines

    def layout(*columns: str) -> Layout:
        positions = {c: i for i, c in enumerate(columns)}
        form = TimeForm("seconds") if "timestamp" in columns else None
        return Layout(columns=positions, width=len(columns), delimiter="::", form=form)

    # A file of tags that are all years has the shape of ratings: there the name decides.
    if not sample.name.lower().startswith("tag"):
        for columns in shapes.RATINGS:
            fits = partial(shapes.is_rating, columns=columns, given=given)
            if _share(lines, "::", fits) >= _ALIKE:
                return _shaped(sample, text, "::", columns, given)
    if _share(lines, "::", shapes.is_dat_user) >= _ALIKE:
        return Look("users", layout("user", "gender", "age", "occupation", "zip"))
    if _share(lines, "::", shapes.is_tag) >= _ALIKE:
        return Look("tags", layout("user", "item", "tag", "timestamp"))
    return Look("movies", layout("item", "title", "genres"))


def _share(lines: list[str], delimiter: str, fits: Callable[[list[str]], bool]) -> float:
    return sum(fits(dialect.fields(line, delimiter)) for line in lines) / len(lines)


def _unknown(sample: Sample, text: Text) -> Look:
    """A text with no columns that are known: whether it may hold ratings, and why it is not read.

    A table in which every id occurs once is about users or items, whatever else it says of them.
    """
    delimiter = dialect.delimiter_of(text)
    rows = cells(text, delimiter).rows if delimiter else []
    if not delimiter or dialect.share(rows) < _TABLE:
        meant = sample.suffix in DATA
        return Look(None, reason="no table was recognised in it", may_rate=meant)
    header = dialect.header_of(rows)
    if header is None:
        shown = tuple(f"{place + 1} ({cell.strip()})" for place, cell in enumerate(rows[0]))
        once = _once(rows, 0)
        return Look(
            None,
            names=shown,
            reason="no header, and no columns of user, item, rating or time in their places",
            may_rate=not once and (sample.suffix in DATA or len(rows[0]) > 2),  # noqa: PLR2004 - user, item
        )
    if len(header) != dialect.usual_width(rows):
        return Look(
            None,
            names=tuple(header),
            reason="its first line is neither a row nor the header of its columns (remove what"
            " stands above the header, or mend it)",
            may_rate=sample.suffix in DATA,
        )
    known = known_columns(header)
    ids = [known[name] for name in ("user", "item") if name in known]
    valued = "rating" in known or "timestamp" in known
    about = bool(ids) and _once(rows[1:], ids[0])
    return Look(
        None,
        names=tuple(header),
        reason="no columns of user and item among its names",
        may_rate=valued and not about,
    )


def _once(rows: Sequence[Sequence[str]], place: int) -> bool:
    values = [row[place] for row in rows if place < len(row)]
    return len(values) == len(set(values))
