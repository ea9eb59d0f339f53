"""Parquet: columns by their names, of any type that an id, a number or an instant may have."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import (
    BinaryType,
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegralType,
    StringType,
    TimestampNTZType,
    TimestampType,
)

from recpipe.errors import InputError
from recpipe.ingest.formats.base import (
    GivenColumns,
    Look,
    all_columns,
    has_user_and_item,
    placed_row,
)
from recpipe.ingest.layout import Layout
from recpipe.ingest.lines import read_rows
from recpipe.ingest.times import TimeForm
from recpipe.storage.footers import MAGIC, footer_schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from pyspark.sql import Column, DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from recpipe.ingest.layout import Sample

_TIMES = (TimestampType, TimestampNTZType, DateType)
_FLOATS = (FloatType, DoubleType)
_NANOSECONDS = "spark.sql.legacy.parquet.nanosAsLong"
_EXACT_FLOAT = 2**53


class ParquetFormat:
    """See the module."""

    name = "Parquet"

    def look(self, sample: Sample, given: GivenColumns) -> Look | None:
        if not sample.head.startswith(MAGIC):
            return None
        try:
            schema = _schema(sample.footer)
        except Exception as error:  # noqa: BLE001 - whatever a damaged footer makes of the reader
            said = str(error).strip().splitlines() or [type(error).__name__]
            reason = f"cannot be read as Parquet: {said[0][:200]}"
            return Look(None, reason=reason, may_rate=True)
        return look_by_schema(self.name, schema, sample, given)

    def read(
        self, spark: SparkSession, uris: Sequence[str], layout: Layout, numbers: Sequence[int]
    ) -> DataFrame:
        rows, schema = read_rows(spark, uris, numbers=numbers)
        return typed_rows(rows, schema, layout, source=uris[0])


FORMAT = ParquetFormat()


def _schema(footer: bytes) -> pa.Schema:
    if not footer.endswith(MAGIC):
        raise ValueError("its end is missing")
    return footer_schema(footer)


def look_by_schema(name: str, schema: pa.Schema, sample: Sample, given: GivenColumns) -> Look:
    """What a file of typed columns is.

    Args:
        name: of the format.
        schema: of the file.
        sample: the file.
        given: of the settings.
    """
    import pyarrow as pa

    columns, folders = all_columns(sample, schema.names, given)
    if not has_user_and_item(columns, folders):
        valued = bool({"rating", "timestamp"} & (columns.keys() | folders.keys()))
        lone = bool({"user", "item"} & columns.keys())
        return Look(
            None,
            names=tuple(schema.names),
            reason="no columns of user and item among its names",
            may_rate=valued or not lone,
        )
    form = None
    if "timestamp" in columns:
        kind = schema.field(columns["timestamp"]).type
        if pa.types.is_timestamp(kind):
            form = TimeForm("nanoseconds" if kind.unit == "ns" else "microseconds")
        elif pa.types.is_date(kind):
            form = TimeForm("microseconds")
        else:
            # By its values, which are read later.
            form = TimeForm("numbers")
    elif "timestamp" in folders:
        form = TimeForm("numbers")
    # Files of other types are read apart: Spark reads all that it is given as one of them.
    kinds = tuple(f"{field.name}: {field.type}" for field in schema)
    layout = Layout(
        columns=columns, format=name, names=tuple(schema.names), header=", ".join(kinds),
        form=form, folders=folders,
    )  # fmt: skip
    return Look("ratings", layout, tuple(schema.names))


def typed_rows(rows: DataFrame, schema: StructType, layout: Layout, *, source: str) -> DataFrame:
    """Typed columns, called column0, column1 and so on, as `ROW`.

    Raises:
        InputError: if a column has a type that cannot be read as what it is.
    """
    places = {schema.names.index(layout.names[at]): name for name, at in layout.columns.items()}
    found = {name: (F.col(f"column{place}"), schema[place].dataType, schema.names[place])
             for place, name in places.items()}  # fmt: skip

    def at(name: str) -> Column:
        column, kind, called = found[name]
        text = _texts(name, column, kind)
        if isinstance(kind, _TIMES) and layout.time == "nanoseconds":
            # INT96, which Arrow takes for nanoseconds, and Spark for what it has.
            text = F.concat(_micros(column), F.lit("000"))
        if text is None:
            raise InputError(
                f"{source}: column {called} is {kind.simpleString()}",
                hint="ids must be strings or numbers, ratings numbers; timestamps those, or times",
            )
        return text

    whole = [F.col(f"column{place}").alias(name) for place, name in enumerate(schema.names)]
    raw = F.to_json(F.struct(*whole), {"ignoreNullFields": "false"})
    ids = [at(name) for name in ("user", "item") if name in found]
    sound = F.lit(True)
    for one in ids:
        # A null id is a missing field, not an unknown encoding.
        sound = sound & F.coalesce(F.is_valid_utf8(one), F.lit(True))
    return rows.select(
        *placed_row(at, layout, complete=F.lit(True), sound=sound, row=F.lit(True), raw=raw)
    )


def _micros(column: Column) -> Column:
    """An instant or a day as microseconds since 1970, in text."""
    return F.unix_micros(column.cast("timestamp")).cast("string")


@contextmanager
def nanoseconds_as_numbers(spark: SparkSession) -> Iterator[None]:
    """Spark, which has no instants of nanoseconds, reads them as numbers while the block lasts."""
    before = spark.conf.get(_NANOSECONDS, "false")
    spark.conf.set(_NANOSECONDS, "true")
    try:
        yield
    finally:
        spark.conf.set(_NANOSECONDS, str(before))


def _texts(name: str, column: Column, kind: DataType) -> Column | None:  # noqa: PLR0911 - one for each type
    """A typed column as text; None where the type cannot be that of the field."""
    if isinstance(kind, (StringType, IntegralType)):
        return column.cast("string")
    if isinstance(kind, BinaryType):
        return column.cast("string") if name in {"user", "item"} else None
    if isinstance(kind, DecimalType):
        return column.cast("string") if kind.scale == 0 or name == "rating" else None
    if isinstance(kind, _FLOATS):
        if name == "rating":
            return column.cast("string")
        # Java writes ten millions as 1.0E7.
        exact = (F.rint(column) == column) & (F.abs(column) < _EXACT_FLOAT)
        short = F.when(exact, column.cast("bigint").cast("string"))
        missing = F.isnull(column) | F.isnan(column)
        return F.when(missing, F.lit(None)).otherwise(F.coalesce(short, column.cast("string")))
    if name == "rating" and isinstance(kind, BooleanType):
        return column.cast("int").cast("string")
    if name == "timestamp" and isinstance(kind, _TIMES):
        return _micros(column)
    return None
