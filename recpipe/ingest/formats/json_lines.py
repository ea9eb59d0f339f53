"""JSON lines: an object a line, as the Amazon reviews and Yelp are published."""

from __future__ import annotations

import ast
import json
import re
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from recpipe.ingest.dialect import text_of
from recpipe.ingest.formats.base import (
    GivenColumns,
    Look,
    all_columns,
    has_user_and_item,
    placed_row,
    rating_look,
)
from recpipe.ingest.layout import Layout
from recpipe.ingest.lines import is_row, read_lines
from recpipe.ingest.names import chosen_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import Column, DataFrame, SparkSession

    from recpipe.ingest.layout import Sample

_BROKEN = "_broken"
_KEY = re.compile(r'"([^"\\\n]{1,100})"\s*:')


class JsonLinesFormat:
    """See the module."""

    name = "JSON lines"

    def look(self, sample: Sample, given: GivenColumns) -> Look | None:
        text = text_of(sample.head)
        if text is None or not text.lines:
            return None
        first = text.lines[0].lstrip()
        if first.startswith("[") and sample.suffix == ".json":
            return Look(None, reason="one JSON array, not an object a line", may_rate=True)
        if not first.startswith("{"):
            return None
        objects = [found for found in map(_object, text.lines) if found is not None]
        if not objects:
            return _document(text.content, given)
        names = tuple(dict.fromkeys(name for found in objects for name in found))
        columns, folders = all_columns(sample, names, given)
        if not has_user_and_item(columns, folders):
            known = columns.keys() | folders.keys()
            valued = bool(known & {"rating", "timestamp"})
            ids = [names[columns[name]] for name in ("user", "item") if name in columns]
            seen = [str(found.get(ids[0])) for found in objects] if ids else [""]
            return Look(
                None,
                names=names,
                reason="no columns of user and item among its names",
                may_rate=valued and not (ids and len(seen) == len(set(seen))),
            )
        layout = Layout(
            columns=columns, format=self.name, names=names, folders=folders, latin1=text.latin1,
            line_end=text.line_end,
        )  # fmt: skip

        def cell(name: str) -> list[str]:
            if name in folders:
                return [sample.partitions[folders[name]]]
            values = [found.get(names[columns[name]]) for found in objects]
            return ["" if value is None else _text(value) for value in values]

        return rating_look(layout, cell, names=names, rows=len(objects), given=given)

    def read(
        self, spark: SparkSession, uris: Sequence[str], layout: Layout, numbers: Sequence[int]
    ) -> DataFrame:
        lines = read_lines(spark, uris, latin1=layout.latin1, end=layout.line_end, numbers=numbers)
        wanted = [layout.names[place] for place in layout.columns.values()]
        schema = StructType([StructField(name, StringType()) for name in [*wanted, _BROKEN]])
        options = {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": _BROKEN}
        found = lines.withColumn("fields", F.from_json("value", schema, options))

        def at(name: str) -> Column:
            return F.col("fields").getField(layout.names[layout.columns[name]])

        return found.select(
            *placed_row(
                at,
                layout,
                complete=F.isnotnull("fields") & F.isnull(F.col("fields").getField(_BROKEN)),
                sound=F.is_valid_utf8("value"),
                row=is_row(layout),
                raw=F.col("value"),
            )
        )


FORMAT = JsonLinesFormat()


def _document(content: str, given: GivenColumns) -> Look | None:
    """One JSON object over several lines: a description, unless its keys are those of ratings."""
    keys = tuple(dict.fromkeys(_KEY.findall(content)))
    if not keys:
        return None
    columns = chosen_columns(keys, given.columns)
    reason = "one JSON document, not an object a line"
    return Look(None, names=keys, reason=reason, may_rate={"user", "item"} <= columns.keys())


def _object(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        try:
            # The older Amazon files are written as Python's dictionaries.
            found = ast.literal_eval(line)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    return found if isinstance(found, dict) else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
