"""Ratings: from lines to checked rows, and from checked rows to one row a (user, item)."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from pyspark.sql import Observation, Window
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ByteType,
    DateType,
    IntegerType,
    LongType,
    ShortType,
    StringType,
    TimestampNTZType,
    TimestampType,
)

from recpipe.contracts import RATINGS
from recpipe.errors import InputError
from recpipe.ingest.fast.lines import (
    ENCODING,
    MALFORMED,
    MISSING,
    NOT_A_NUMBER,
    OFF_SCALE,
    OUT_OF_RANGE,
    POSITION,
    Rule,
    fields,
    is_row,
    judge,
    read_lines,
    read_rows,
)
from recpipe.ingest.layout import RATING_COLUMNS, columns_of, time_unit
from recpipe.ingest.times import in_period, instant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import Column, DataFrame, SparkSession
    from pyspark.sql.types import StructField

    from recpipe.feedback import Scale
    from recpipe.ingest.layout import Layout
    from recpipe.ingest.times import Period

_ON_STEP = 1e-6
"""How far from a step of the scale a rating may be: steps such as 0.1 are no binary fractions."""
_INTEGERS = (ByteType(), ShortType(), IntegerType(), LongType())
_TIMES = (TimestampType(), TimestampNTZType(), DateType())
_SAMPLED_ROWS = 1000


def judged_lines(
    spark: SparkSession, uris: Sequence[str], layout: Layout, *, scale: Scale, period: Period
) -> DataFrame:
    """Lines of ratings as (user_id, item_id, rating, rated_at, file, block, place, reason, raw).

    Ids are strings; the value columns are null unless `reason` is null.
    """
    return judged_text(read_lines(spark, uris), layout, scale=scale, period=period)


def judged_text(text: DataFrame, layout: Layout, *, scale: Scale, period: Period) -> DataFrame:
    """`judged_lines` of lines that were read: (value, file, block, place)."""
    lines = text.withColumn("fields", fields(layout))

    def at(name: str) -> Column:
        return F.get("fields", F.lit(layout.columns[name]))

    parsed = lines.select(
        "value",
        *POSITION,
        (F.size("fields") == layout.width).alias("whole"),
        F.trim(at("user")).alias("user"),
        F.trim(at("item")).alias("item"),
        at("rating").alias("rating"),
        at("timestamp").alias("timestamp"),
    )
    rules = [Rule(ENCODING, ~F.is_valid_utf8("value")), Rule(MALFORMED, ~F.col("whole"))]
    readable = F.when(F.is_valid_utf8("value"), F.col("value")).otherwise(
        F.decode(F.col("value").cast("binary"), "ISO-8859-1")
    )
    timed = parsed.withColumn("rated_at", instant("timestamp", layout.time, period))
    sound = F.col("whole") & F.is_valid_utf8("value")
    return _judged(
        timed, rules, sound=sound, row=is_row(layout), raw=readable, scale=scale, period=period
    )


def judged_rows(
    spark: SparkSession, uris: Sequence[str], *, source: str, scale: Scale, period: Period
) -> DataFrame:
    """Rows of Parquet files, in the shape of `judged_lines`; `raw` is the row as JSON.

    Raises:
        InputError: if a column is missing or has a type that cannot be read as what it is.
    """
    rows, schema = read_rows(spark, uris)
    names = schema.names
    columns = columns_of(names, RATING_COLUMNS)
    if columns is None:
        raise InputError(
            f"{source}: columns {', '.join(names)}", hint="needed: user, item, rating, timestamp"
        )
    found = [columns[name] for name in RATING_COLUMNS]
    *ids, _, timestamp = (schema[place] for place in found)
    _check_types(ids, timestamp, source=source)
    user, item, rating, time = (F.col(f"column{place}") for place in found)
    text = time.cast("string")
    if timestamp.dataType in _TIMES:
        rated_at = time.cast("timestamp")
    else:
        sampled = rows.where(text.isNotNull()).select(text).limit(_SAMPLED_ROWS)
        unit = time_unit(row[0] for row in sampled.collect())
        rated_at = instant(text, unit, period)
    whole = [F.col(f"column{place}").alias(name) for place, name in enumerate(names)]
    parsed = rows.select(
        *POSITION,
        F.trim(user.cast("string")).alias("user"),
        F.trim(item.cast("string")).alias("item"),
        rating.cast("string").alias("rating"),
        text.alias("timestamp"),
        rated_at.alias("rated_at"),
        F.to_json(F.struct(*whole), {"ignoreNullFields": "false"}).alias("raw"),
    )
    sound = F.is_valid_utf8("user") & F.is_valid_utf8("item")
    # A null id is a missing field, not an unknown encoding.
    rules = [Rule(ENCODING, ~F.coalesce(sound, F.lit(True)))]
    return _judged(
        parsed, rules, sound=sound, row=F.lit(True), raw=F.col("raw"), scale=scale, period=period
    )


def _judged(
    parsed: DataFrame,
    rules: Sequence[Rule],
    *,
    sound: Column,
    row: Column,
    raw: Column,
    scale: Scale,
    period: Period,
) -> DataFrame:
    """Check what every source has: `sound` is the opposite of all of `rules`."""
    # Java reads "4f" and "4.0d" as numbers; nobody else does.
    typed = reduce(or_, [F.endswith("rating", F.lit(letter)) for letter in "dDfF"])
    numbered = parsed.withColumn("number", F.when(~typed, F.col("rating").try_cast("double")))
    number = F.col("number")
    steps = (number - F.lit(scale.min)) / F.lit(scale.step)
    on_scale = number.between(scale.min, scale.max) & (F.abs(steps - F.rint(steps)) < _ON_STEP)
    valid = on_scale & in_period("rated_at", period)
    missing = [F.coalesce(F.trim(name) == "", F.lit(True)) for name in RATING_COLUMNS]
    judged = judge(
        numbered,
        [
            *rules,
            Rule(MISSING, reduce(or_, missing)),
            Rule(NOT_A_NUMBER, F.isnan(number) | (F.abs(number) == float("inf"))),
            Rule(OFF_SCALE, ~on_scale),
            Rule(OUT_OF_RANGE, ~in_period("rated_at", period)),
        ],
        row=row,
        raw=raw,
        # Which says that its rating and timestamp are not missing.
        good=sound & (F.col("user") != "") & (F.col("item") != "") & valid,
    )
    good = F.isnull("reason")
    return judged.select(
        F.when(good, F.col("user")).alias("user_id"),
        F.when(good, F.col("item")).alias("item_id"),
        F.when(good, F.col("number").cast("float")).alias("rating"),
        F.when(good, F.col("rated_at")).alias("rated_at"),
        *POSITION,
        "reason",
        "raw",
    )


def is_plain_integer(column: Column) -> Column:
    """Whether a string is a 64-bit integer as it would be printed: no plus, zeros or space."""
    return F.coalesce(column.try_cast("bigint").cast("string") == column, F.lit(False))


def latest(ratings: DataFrame, users: DataFrame, items: DataFrame) -> tuple[DataFrame, Observation]:
    """One row a (user, item), the latest; of several at one instant the last in the source.

    Args:
        ratings: (user_id, item_id, rating, rated_at, file, block, place).
        users: (user_id, user), every user of `ratings` among them.
        items: (item_id, item), every item of `ratings` among them.

    Returns:
        The table ratings, each file sorted by user and item, and what will know, once it is
        written, how many rows were `superseded`.
    """
    numbered = ratings.join(users, "user_id").join(items, "item_id")
    # One long sorts faster than two columns; what is sorted by it is sorted by user, then item.
    pair = F.shiftleft(F.col("user").cast("long"), 32) + F.col("item")
    within = Window.partitionBy("pair", "user").orderBy("rated_at", *POSITION)
    ranked = (
        numbered.withColumn("pair", pair)
        .repartition("user")
        .withColumn("superseded", F.lead(F.lit(True), 1, False).over(within))
    )
    seen = Observation()
    observed = ranked.observe(seen, F.count_if("superseded").alias("superseded"))
    return observed.where(~F.col("superseded")).select(*RATINGS.columns), seen


def _check_types(ids: Sequence[StructField], timestamp: StructField, *, source: str) -> None:
    allowed = (StringType(), *_INTEGERS)
    for field, kinds in [*((one, allowed) for one in ids), (timestamp, (*allowed, *_TIMES))]:
        if field.dataType not in kinds:
            raise InputError(
                f"{source}: column {field.name} is {field.dataType.simpleString()}",
                hint="ids must be strings or integers; timestamps those, or times",
            )
