"""Lines and rows of files as Spark reads them, with their places.

A file is read in blocks, several of them to a task and in any order. Three columns say where a
line was: `file` (its number in the order of the source), `block` (where its block begins) and
`place` (increasing within a block). They give the order of the source without a shuffle, and the
line numbers of the few rows that are refused.
"""

from __future__ import annotations

import posixpath
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import unquote

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from recpipe.errors import InputError
from recpipe.storage.filesystem import file_system
from recpipe.storage.paths import literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pyspark.sql import Column, DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from recpipe.ingest.layout import Layout

POSITION = ("file", "block", "place")

_MAX_DELIMITERS = 1_000
_SMALL_FILE = 8_000_000
"""Bytes up to which a file beside the ratings is looked through without a Spark job."""
_BOM = "\ufeff"


def read_lines(
    spark: SparkSession,
    uris: Sequence[str],
    *,
    latin1: bool = False,
    end: str = "\n",
    numbers: Sequence[int] | None = None,
) -> DataFrame:
    """(value, file, block, place): the lines of files, without line ends and byte order marks.

    Args:
        spark: the session.
        uris: the files, each read line by line.
        latin1: whether their bytes are Latin-1; otherwise they are left as they are, so that
            a line that is not UTF-8 can be told.
        end: of a line.
        numbers: of the files in the order of the source; default: in the order of `uris`.
    """
    raw = read_raw_lines(spark, uris, end=end, numbers=numbers)
    if latin1:
        raw = raw.withColumn("value", F.decode(F.col("value").cast("binary"), "ISO-8859-1"))
    return without_ends(raw)


def read_raw_lines(
    spark: SparkSession,
    uris: Sequence[str],
    *,
    end: str = "\n",
    longest: int | None = None,
    numbers: Sequence[int] | None = None,
) -> DataFrame:
    """`read_lines` with carriage returns and byte order marks still in them.

    Args:
        spark: the session.
        uris: the files; those whose names end in `.gz` are unpacked on the way.
        end: of a line, or of several of them that make a row.
        longest: bytes of a row above which it is left out; None: there is no such limit.
        numbers: of the files in the order of the source.
    """
    reader = spark.read.option("lineSep", end)
    if longest is not None:
        reader = reader.option("mapreduce.input.linerecordreader.line.maxlength", str(longest))
    return _placed(reader.text([literal(uri) for uri in uris]), ["value"], uris, numbers)


def without_ends(raw: DataFrame) -> DataFrame:
    """Raw lines without carriage returns and byte order marks."""
    value = F.col("value")
    marked = F.startswith(value, F.lit(_BOM))
    value = F.when(marked, F.substring(value, 2, 2**31 - 1)).otherwise(value)
    return raw.withColumn("value", F.rtrim(value, F.lit("\r")))


def is_utf8(spark: SparkSession, uris: Sequence[str]) -> bool:
    """Whether all bytes of the files are UTF-8; small files are read by the driver."""
    for uri in uris:
        fs = file_system(uri, spark)
        if fs.size(uri) > _SMALL_FILE or uri.endswith(".gz"):
            break
        if not _decodes(fs.read(uri)):
            return False
    else:
        return True
    text = spark.read.option("lineSep", "\n").text([literal(uri) for uri in uris])
    return bool(text.agg(F.bool_and(F.is_valid_utf8("value"))).collect()[0][0])


def _decodes(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def read_rows(
    spark: SparkSession, uris: Sequence[str], *, numbers: Sequence[int] | None = None
) -> tuple[DataFrame, StructType]:
    """Parquet files: their columns, as column0, column1, ..., + (file, block, place).

    Columns are renamed since their own names could equal those of ingest, or be paths into structs.

    Returns:
        The rows, and the columns as they are called.

    Raises:
        InputError: if Spark cannot read them: damaged, or of types that it does not have.
    """
    with spark_errors_as_input_errors(uris[0], "Parquet"):
        # By path: the names of folders are no columns here, ingest reads them itself.
        reader = spark.read.option("recursiveFileLookup", "true")
        rows = reader.parquet(*[literal(uri) for uri in uris])
    return _renamed(rows, lambda frame, names: _placed(frame, names, uris, numbers))


def read_records(
    spark: SparkSession, uris: Sequence[str], layout: Layout, *, numbers: Sequence[int]
) -> DataFrame:
    """(f0, f1, ..., broken, file, block, place): CSV records, line ends within quotes and all.

    `broken` is the text of a record that has too many fields or too few.
    """
    names = [*[f"f{place}" for place in range(layout.width)], "broken"]
    rows = spark.read.options(
        sep=layout.delimiter,
        quote='"',
        escape=layout.escape,
        multiLine=True,
        mode="PERMISSIVE",
        columnNameOfCorruptRecord="broken",
        ignoreLeadingWhiteSpace=True,
        encoding="ISO-8859-1" if layout.latin1 else "UTF-8",
        recursiveFileLookup=True,
        columnPruning=False,
    ).csv([literal(uri) for uri in uris], schema=", ".join(f"{name} string" for name in names))
    return _placed(rows, names, uris, numbers)


def read_delta(spark: SparkSession, uri: str, *, number: int) -> tuple[DataFrame, StructType]:
    """`read_rows` of a Delta table, all of it one file of the source."""
    with spark_errors_as_input_errors(uri, "Delta"):
        rows = spark.read.format("delta").load(uri)
    return _renamed(rows, lambda frame, names: _placed(frame, names, [uri], [number]))


def _renamed(
    rows: DataFrame, place: Callable[[DataFrame, Sequence[str]], DataFrame]
) -> tuple[DataFrame, StructType]:
    names = [f"column{place}" for place in range(len(rows.columns))]
    metadata = rows.metadataColumn("_metadata")
    return place(rows.select("*", metadata).toDF(*names, "_metadata"), names), rows.schema


@contextmanager
def spark_errors_as_input_errors(uri: str, what: str, *, files: bool = False) -> Iterator[None]:
    """Turn what Spark throws while it opens or reads a source into an InputError of one line.

    Args:
        uri: of the source.
        what: the format that the source should have, for the message.
        files: convert only the errors in which Spark names a file that it cannot read; the others
            are raised as they are.

    Raises:
        InputError: naming `uri`, or the file that Spark names.
    """
    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        words = str(error.java_exception if isinstance(error, Py4JJavaError) else error)
        named = re.search(r"FAILED_READ_FILE\S*\s.*?reading file (\S+?)\.?\s", words)
        if files and named is None:
            raise
        said = next(filter(None, map(str.strip, words.splitlines())), type(error).__name__)
        cause = re.findall(r"Caused by: (?:\S+\.)?(\w+(?:Exception|Error): .*)", words)
        raise InputError(
            f"{unquote(named[1]) if named else uri}: cannot be read as {what}:"
            f" {(cause[-1] if cause and named else said)[:300]}",
            hint="check that the file is complete",
        ) from error


def _placed(
    frame: DataFrame,
    columns: Sequence[str],
    uris: Sequence[str],
    given: Sequence[int] | None = None,
) -> DataFrame:
    """`columns` of a frame read from `uris` + its position; `file` is the number in `given`."""
    given = range(len(uris)) if given is None else given
    file = F.lit(given[0]) if len(uris) == 1 else F.col("_metadata.file_path")
    placed = frame.select(
        *columns,
        file.alias("file"),
        F.col("_metadata.file_block_start").alias("block"),
        F.monotonically_increasing_id().alias("place"),
    )
    if len(uris) == 1:
        return placed
    found = [
        (path, given[place]) for path, place in sorted(_numbered(frame.sparkSession, uris).items())
    ]
    numbers = frame.sparkSession.createDataFrame(found, "file string, number int")
    joined = placed.join(F.broadcast(numbers), "file")
    return joined.select(*columns, F.col("number").alias("file"), "block", "place")


def _numbered(spark: SparkSession, uris: Sequence[str]) -> dict[str, int]:
    """The index in `uris` by the path that `_metadata` gives, which is escaped in its own way."""
    # Without its content this source lists the files and reads none of them.
    listed = spark.read.format("binaryFile").load([literal(uri) for uri in uris])
    places = listed.select("path", F.col("_metadata.file_path")).collect()
    index = {_below_authority(uri): number for number, uri in enumerate(uris)}
    return {row["file_path"]: index[_below_authority(row["path"])] for row in places}


def _below_authority(uri: str) -> str:
    return posixpath.normpath(re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*:(//[^/]*)?", "", uri))


def fields(layout: Layout) -> Column:
    """The fields of `value` as an array; of another length than `layout.width` if malformed.

    Only lines with a quote go through Spark's CSV parser. Taking harmless quotes off without it
    was tried: the code that Spark generates then passes 8000 bytes, from where the JVM no longer
    compiles it, and every line costs three times as much.
    """
    value = F.col("value")
    if layout.delimiter == " ":
        return F.split(F.trim(F.regexp_replace(value, r"\s+", " ")), " ", -1)
    split = F.split(value, re.escape(layout.delimiter), -1)
    if not layout.quotes:
        return split
    quote = F.lit('"')
    odd = (F.length(value) - F.length(F.replace(value, quote, F.lit("")))) % 2 == 1
    # Spark's own parser fails the whole job on a line of more than 20,480 fields.
    endless = F.size(split) > layout.width + _MAX_DELIMITERS
    return (
        F.when(~F.contains(value, quote), split)
        .when(odd | endless, F.array())
        .otherwise(_parsed(layout))
    )


def _parsed(layout: Layout) -> Column:
    names = [f"f{i}" for i in range(layout.width)]
    row = F.from_csv(
        F.col("value"),
        ", ".join(f"{name} string" for name in [*names, "broken"]),
        {
            "sep": layout.delimiter,
            "escape": layout.escape,
            "ignoreLeadingWhiteSpace": "true",
            "mode": "PERMISSIVE",
            "columnNameOfCorruptRecord": "broken",
        },
    )
    # A corrupt record has too many fields or too few.
    whole = F.array(*[F.coalesce(row[name], F.lit("")) for name in names])
    return F.when(row["broken"].isNull(), whole).otherwise(F.array())


def is_row(layout: Layout) -> Column:
    """Whether `value` is a row: neither blank nor a header.

    A header line is no row wherever it stands, so files that were joined end to end are read
    right.
    """
    blank = F.trim("value") == ""
    if layout.header is None:
        return ~blank
    return ~blank & (F.col("value") != layout.header)
