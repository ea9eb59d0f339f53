"""Ratings: the rules that every row of every format is held to, and one row a (user, item)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Literal

from pyspark.sql import Observation, Window
from pyspark.sql import functions as F

from recpipe.contracts import RATINGS
from recpipe.feedback import ON_STEP
from recpipe.ingest.formats import BY_NAME, text
from recpipe.ingest.layout import NO_PARTITION
from recpipe.ingest.lines import POSITION
from recpipe.ingest.rules import (
    ENCODING,
    LATER,
    MALFORMED,
    MISSING,
    NOT_A_NUMBER,
    OFF_SCALE,
    OUT_OF_RANGE,
    UNRATED,
    Rule,
    check_rows,
)
from recpipe.ingest.times import in_period, instant, is_void

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyspark.sql import Column, DataFrame, SparkSession

    from recpipe.feedback import Scale
    from recpipe.ingest.layout import Layout
    from recpipe.ingest.times import Period

_DECIMAL_ID = r"^(-?[0-9]+)\.0*$"


@dataclass(frozen=True)
class Rules:
    """What a good row keeps to.

    Args:
        scale: the valid ratings; None with implicit feedback, where a value is a strength above 0.
        period: the valid instants.
        unrated: values that mean "seen but not rated".
    """

    scale: Scale | None
    period: Period
    unrated: tuple[float, ...] = ()


def checked_groups(
    spark: SparkSession,
    groups: Sequence[Group],
    *,
    rules: Rules,
) -> DataFrame:
    """The rows of files of several layouts, each with the reason why it is no rating.

    The columns are user_id, item_id, rating, rated_at, file, block, place, reason, raw, number.
    Ids are strings. user_id, item_id and rated_at are null unless `reason` is null or `UNRATED`;
    rating is null unless `reason` is null. `number` is the value as a number, where it is one.
    """
    return reduce(
        lambda a, b: a.unionByName(b),
        [checked_rows(group.read(spark), group.layout, rules=rules) for group in groups],
    )


@dataclass(frozen=True)
class Group:
    """Files of one layout.

    Args:
        layout: of all of them.
        uris: where they are.
        numbers: of the files, in the order of the source.
        partitions: what the names of their folders say, a mapping a file.
    """

    layout: Layout
    uris: Sequence[str]
    numbers: Sequence[int]
    partitions: Sequence[Mapping[str, str]]

    def read(self, spark: SparkSession) -> DataFrame:
        """Their rows as `formats.ROW`, the columns that the folders give filled in."""
        rows = BY_NAME[self.layout.format].read(spark, self.uris, self.layout, self.numbers)
        folders = self.layout.folders
        if not folders:
            return rows
        values = [
            (number, *[partition.get(name, NO_PARTITION) for name in folders.values()])
            for number, partition in zip(self.numbers, self.partitions, strict=True)
        ]
        schema = ", ".join(["file int", *[f"`{field} of folder` string" for field in folders]])
        given = spark.createDataFrame(values, schema)
        joined = rows.join(F.broadcast(given), "file")
        return joined.withColumns({
            field: F.col(f"{field} of folder") for field in folders
        }).select(*rows.columns)  # fmt: skip


def checked_text(lines: DataFrame, layout: Layout, *, rules: Rules) -> DataFrame:
    """`checked_groups` of lines that were read: (value, file, block, place)."""
    return checked_rows(text.parsed(lines, layout), layout, rules=rules)


def checked_rows(rows: DataFrame, layout: Layout, *, rules: Rules) -> DataFrame:
    """`checked_groups` of rows that a format has read (`formats.ROW`)."""
    fields = layout.fields
    parsed = rows.select(
        F.trim(_id("user", layout)).alias("user"),
        F.trim(_id("item", layout)).alias("item"),
        F.trim("rating").alias("rating"),
        F.trim("timestamp").alias("timestamp"),
        "complete", "sound", "row", "raw", *POSITION,
    )  # fmt: skip
    if layout.form is None:
        rated_at = F.lit(None).cast("timestamp")
    else:
        rated_at = instant("timestamp", layout.form, rules.period)
    numbered = parsed.withColumns({"rated_at": rated_at, "number": _number(layout)})
    number = F.col("number")
    on_scale = _on_scale(number, rules.scale)
    unrated = F.lit(False)
    if "rating" in fields and rules.scale is not None:
        unrated = F.coalesce(F.col("rating") == "", F.lit(True))
    elif "rating" in fields:
        unrated = F.coalesce(number == 0, F.lit(False))
    if rules.unrated and "rating" in fields:
        unrated = unrated | F.coalesce(number.isin(*rules.unrated), F.lit(False))
    ids = ["user", "item", *(["timestamp"] if layout.time not in {None, "void"} else [])]
    if "rating" in fields and rules.scale is None:
        ids.append("rating")
    missing = reduce(or_, [F.coalesce(F.col(name) == "", F.lit(True)) for name in ids])
    good = F.col("complete") & F.col("sound") & (F.col("user") != "") & (F.col("item") != "")
    checks = [
        Rule(ENCODING, ~F.col("sound")),
        Rule(MALFORMED, ~F.col("complete")),
        Rule(MISSING, missing),
        Rule(NOT_A_NUMBER, ~unrated & (F.isnan(number) | (F.abs(number) == float("inf")))),
        Rule(OFF_SCALE, ~unrated & ~on_scale),
    ]
    if layout.time == "void":
        # The beginning had no instant, so an instant further down is refused and not passed over.
        checks.append(Rule(OUT_OF_RANGE, ~is_void("timestamp")))
        good = good & is_void("timestamp")
    elif layout.form is not None:
        # Numbers that only say what came first are no instants that could be late.
        ordered = layout.time == "order"
        later = F.col("rated_at") >= F.lit(rules.period.end)
        checks.append(Rule(OUT_OF_RANGE, F.isnull("rated_at")))
        checks.extend([] if ordered else [Rule(LATER, later)])
        in_time = F.isnotnull("rated_at") if ordered else in_period("rated_at", rules.period)
        good = good & in_time
    checks.append(Rule(UNRATED, unrated))
    checked = check_rows(
        numbered,
        checks,
        row=F.col("row"),
        raw=F.col("raw"),
        # Which says that no field is missing.
        good=good & on_scale & ~unrated,
    )
    kept = F.isnull("reason") | (F.col("reason") == UNRATED)
    return checked.select(
        F.when(kept, F.col("user")).alias("user_id"),
        F.when(kept, F.col("item")).alias("item_id"),
        F.when(F.isnull("reason"), number.cast("float")).alias("rating"),
        F.when(kept, F.col("rated_at")).alias("rated_at"),
        *POSITION,
        "reason",
        "raw",
        "number",
    )


def _id(name: str, layout: Layout) -> Column:
    """An id; one that is written as 1.0, as all of its column are, without its point."""
    column = F.col(name)
    return F.regexp_replace(column, _DECIMAL_ID, "$1") if name in layout.decimal_ids else column


def _number(layout: Layout) -> Column:
    """The value of a row; 1 where the source has none."""
    if "rating" not in layout.fields:
        return F.lit(1.0)
    rating = F.col("rating")
    if layout.decimal_comma:
        rating = F.replace(rating, F.lit(","), F.lit("."))
    # Java reads "4f" and "4.0d" as numbers; nobody else does.
    typed = reduce(or_, [F.endswith("rating", F.lit(letter)) for letter in "dDfF"])
    number = F.when(~typed, rating.try_cast("double"))
    if not layout.truth:
        return number
    truth = F.lower("rating")
    return F.when(truth == "true", 1.0).when(truth == "false", 0.0).otherwise(number)


def _on_scale(number: Column, scale: Scale | None) -> Column:
    if scale is None:
        return F.coalesce((number > 0) & (number < float("inf")), F.lit(False))
    within = number.between(scale.min, scale.max)
    if scale.step is None:
        return within
    steps = (number - F.lit(scale.min)) / F.lit(scale.step)
    return within & (F.abs(steps - F.rint(steps)) < ON_STEP)


def is_plain_integer(column: Column) -> Column:
    """Whether a string is a 64-bit integer as it would be printed: no plus, zeros or space."""
    return F.coalesce(column.try_cast("bigint").cast("string") == column, F.lit(False))


Repeated = Literal["latest", "sum", "count"]
"""What becomes of the values of several rows of one pair; the instant is that of the latest."""


def latest(
    ratings: DataFrame, users: DataFrame, items: DataFrame, *, repeated: Repeated = "latest"
) -> tuple[DataFrame, Observation]:
    """One row a (user, item), the latest; of several at one instant the last in the source.

    Args:
        ratings: (user_id, item_id, rating, rated_at, file, block, place).
        users: (user_id, user), every user of `ratings` among them.
        items: (item_id, item), every item of `ratings` among them.
        repeated: whether its value is that of the latest, the sum of all, or their number.

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
    if repeated != "latest":
        # In one order, so that sums are the same to the bit.
        of_pair = within.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
        value = F.sum(F.col("rating").cast("double")) if repeated == "sum" else F.count(F.lit(1))
        ranked = ranked.withColumn("rating", value.over(of_pair).cast("float"))
    seen = Observation()
    observed = ranked.observe(seen, F.count_if("superseded").alias("superseded"))
    return observed.where(~F.col("superseded")).select(*RATINGS.columns), seen
