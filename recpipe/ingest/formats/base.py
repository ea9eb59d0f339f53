"""What every format does: say what a file is from its beginning, and read rows of text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from pyspark.sql import functions as F

from recpipe.ingest.layout import Layout
from recpipe.ingest.lines import POSITION
from recpipe.ingest.names import RATING_COLUMNS, chosen_columns
from recpipe.ingest.times import time_form

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pyspark.sql import Column, DataFrame, SparkSession

    from recpipe.ingest.layout import Kind, Sample

ROW = (*RATING_COLUMNS, "complete", "sound", "row", "raw", *POSITION)
"""What `Format.read` returns: the fields as text (null where there is none), whether the line is
complete, whether its fields are UTF-8, whether it is a row at all (no header, not blank), the line
as it stands, and where it was."""

_DECIMAL = re.compile(r"\s*-?[0-9]+(\.0*)?\s*")
_COMMA = re.compile(r"\s*-?[0-9]+,[0-9]+\s*")
_POINT = re.compile(r"\s*-?[0-9]+\.[0-9]+\s*")


@dataclass(frozen=True)
class GivenColumns:
    """What the settings say about the columns.

    Args:
        columns: field to the name of its column, or its number from 1.
        time_format: how instants are written.
    """

    columns: Mapping[str, str | int] = field(default_factory=dict)
    time_format: str = ""


@dataclass(frozen=True)
class Look:
    """What a file is, as far as its beginning tells.

    Args:
        kind: what it holds; None if nothing that is read.
        layout: how it is read.
        names: of its columns, as they are shown to the user.
        values: of its rating column, in the first rows.
        rows: how many rows were looked at.
        reason: why it is not read.
        may_rate: whether it may hold ratings all the same.
    """

    kind: Kind | None
    layout: Layout = field(default_factory=Layout)
    names: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    rows: int = 0
    reason: str = ""
    may_rate: bool = False


class Format(Protocol):
    """A way in which tables are written."""

    @property
    def name(self) -> str:
        """What it is called in layouts and messages."""
        ...

    def look(self, sample: Sample, given: GivenColumns) -> Look | None:
        """What a file is; None if it is of another format."""
        ...

    def read(
        self, spark: SparkSession, uris: Sequence[str], layout: Layout, numbers: Sequence[int]
    ) -> DataFrame:
        """The rows of files of one layout, as `ROW`.

        Args:
            spark: the session.
            uris: the files.
            layout: of all of them.
            numbers: of the files, in the order of the source.
        """
        ...


def all_columns(
    sample: Sample, names: Sequence[str], given: GivenColumns, *, header: bool = True
) -> tuple[dict[str, int], dict[str, str]]:
    """The fields that the columns of a file give, and those that its folders' names give."""
    columns = chosen_columns(names, given.columns, header=header)
    partitions = list(sample.partitions)
    found = chosen_columns(partitions, given.columns)
    folders = {field: partitions[place] for field, place in found.items() if field not in columns}
    return columns, folders


def has_user_and_item(columns: Mapping[str, int], folders: Mapping[str, str]) -> bool:
    """Whether there is a user and an item."""
    return {"user", "item"} <= columns.keys() | folders.keys()


def rating_look(
    layout: Layout,
    cell: Callable[[str], Sequence[str]],
    *,
    names: Sequence[str],
    rows: int,
    given: GivenColumns,
) -> Look:
    """Complete a layout of ratings by what the first values of its columns tell.

    Args:
        layout: with its columns.
        cell: the first values of a field, the folders' too.
        names: of the columns.
        rows: how many were looked at.
        given: of the settings.
    """
    cells = {name: cell(name) for name in layout.fields}
    form = None
    if "timestamp" in cells:
        form = time_form(cells["timestamp"] if rows else (), given.time_format)
    ratings = cells.get("rating", ())
    commas = sum(bool(_COMMA.fullmatch(v)) for v in ratings)
    completed = replace(
        layout,
        form=form,
        decimal_comma=commas > sum(bool(_POINT.fullmatch(v)) for v in ratings),
        truth=any(value.strip().lower() in {"true", "false"} for value in ratings),
        decimal_ids=tuple(name for name in ("user", "item") if _is_decimal(cells.get(name, ()))),
    )
    return Look("ratings", completed, tuple(names), tuple(ratings), rows)


def _is_decimal(values: Sequence[str]) -> bool:
    written = [value for value in values if value.strip()]
    return any("." in v for v in written) and all(_DECIMAL.fullmatch(v) for v in written)


def placed_row(
    at: Callable[[str], Column],
    layout: Layout,
    *,
    complete: Column,
    sound: Column,
    row: Column,
    raw: Column,
) -> list[Column]:
    """The columns of `ROW`, the position taken as it is.

    Args:
        at: a field as text.
        layout: whose fields they are.
        complete: as in `ROW`.
        sound: likewise.
        row: likewise.
        raw: likewise.
    """
    nothing = F.lit(None).cast("string")
    fields = [
        (at(name) if name in layout.columns else nothing).alias(name) for name in RATING_COLUMNS
    ]
    return [
        *fields,
        complete.alias("complete"),
        sound.alias("sound"),
        row.alias("row"),
        raw.alias("raw"),
        *[F.col(name) for name in POSITION],
    ]
