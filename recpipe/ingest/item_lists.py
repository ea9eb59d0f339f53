"""Lists of items that people keep beside their ratings: for everybody, or a user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from recpipe.errors import InputError
from recpipe.ingest.dialect import delimiter_of, fields, is_wide, text_of
from recpipe.ingest.layout import HEAD_BYTES
from recpipe.ingest.lines import spark_errors_as_input_errors
from recpipe.ingest.names import known_columns
from recpipe.storage import footers
from recpipe.storage.filesystem import file_system
from recpipe.storage.paths import absolute, literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pyspark.sql import Column, DataFrame, SparkSession

_HINT = "give a table with a column item_id, and user_id for lists of users' own, or one id a line"


def item_list(source: str | Path, spark: SparkSession) -> DataFrame:
    """(user_id, item_id: string): the rows of a table of items.

    `user_id` is null where a row is for everybody, `item_id` where it names no item. The table is
    text with a header, whose delimiter is found out, Parquet or Delta. Its columns go by the names
    that ingest knows; those that are neither user nor item are passed over. Text of one column
    needs no header: it is one item a line.

    Args:
        source: a file, or the folder of a table.
        spark: the session.

    Raises:
        InputError: if there is no such file, it is empty, or it has no column of items.
    """
    uri = absolute(source)
    fs = file_system(uri, spark)
    if not fs.exists(uri):
        raise InputError(f"{uri}: no such file or folder", hint="check its path")
    if fs.is_dir(uri):
        kind = "delta" if fs.is_dir(f"{uri}/_delta_log") else "parquet"
    else:
        kind = "parquet" if fs.read_head(uri, 4) == footers.MAGIC else "text"
    if kind == "text":
        return _of_text(uri, fs.read_head(uri, HEAD_BYTES), spark)
    with spark_errors_as_input_errors(uri, kind):
        rows = spark.read.format(kind).load(uri if kind == "delta" else literal(uri))
    return _chosen(rows, rows.columns, uri)


def _of_text(uri: str, head: bytes, spark: SparkSession) -> DataFrame:
    text = None if is_wide(head) else text_of(head)
    if text is None or not text.lines:
        raise InputError(f"{uri}: empty, or no text in UTF-8", hint=_HINT)
    delimiter = delimiter_of(text) or ","
    names = [name.strip().strip('"') for name in fields(text.lines[0], delimiter)]
    plain = len(names) == 1 and not known_columns(names, ("item",))
    columns = ", ".join(f"c{place} string" for place in range(len(names)))
    rows = spark.read.options(
        sep=delimiter,
        header=not plain,
        enforceSchema=True,
        encoding="ISO-8859-1" if text.latin1 else "UTF-8",
    ).csv(literal(uri), schema=columns)
    return _chosen(rows, ["item_id"] if plain else names, uri)


def _chosen(rows: DataFrame, names: Sequence[str], uri: str) -> DataFrame:
    found = known_columns(names, ("user", "item"))
    if "item" not in found:
        raise InputError(f"{uri}: no column of items among {', '.join(names[:20])}", hint=_HINT)

    def cell(field: str) -> Column:
        if field not in found:
            return F.lit(None).cast("string")
        column = F.trim(F.col(f"`{rows.columns[found[field]]}`").cast("string"))
        return F.when(column != "", column)

    return rows.select(cell("user").alias("user_id"), cell("item").alias("item_id"))


__all__ = ["item_list"]
