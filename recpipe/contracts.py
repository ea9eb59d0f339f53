"""The schema, key and checks of every table that crosses a stage (docs/contracts.md).

A contract is checked with one aggregation over the table and, where its key must be unique, one
shuffle. A check raises; it never returns a list that a caller may forget.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    DataType,
    DateType,
    FloatType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from recpipe.errors import ContractError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


class IdType(DataType):
    """An id as the source has it: string or long. Stands in schemas only, never in a frame."""


ID = IdType()
_ID_TYPES = (StringType(), LongType())


@dataclass(frozen=True)
class Check:
    """A rule that every row of a table keeps.

    Args:
        says: the rule in words, for the error.
        holds: SQL that is true for a good row; null counts as broken.
    """

    says: str
    holds: str


@dataclass(frozen=True)
class Table:
    """The contract of one table.

    Args:
        name: the table's name.
        fields: column names and types in their order; `ID` is string or long.
        key: the columns that identify a row; empty where rows may repeat.
        nullable: the columns that may hold null.
        checks: the rules of every row.
    """

    name: str
    fields: tuple[tuple[str, DataType], ...]
    key: tuple[str, ...] = ()
    nullable: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()

    @property
    def columns(self) -> list[str]:
        return [name for name, _ in self.fields]

    def schema(self, *, ids: DataType | None = None) -> StructType:
        """The Spark schema, with `ids` (default string) where the contract leaves the id open."""
        ids = ids or StringType()
        return StructType(
            [StructField(n, ids if isinstance(t, IdType) else t) for n, t in self.fields]
        )

    def check_schema(self, frame: DataFrame) -> None:
        """Raise ContractError unless `frame` has exactly these columns, types and order."""
        if frame.columns != self.columns:
            raise ContractError(
                f"table {self.name}: columns are {frame.columns}, expected {self.columns}"
            )
        for (name, expected), field in zip(self.fields, frame.schema.fields, strict=True):
            allowed = _ID_TYPES if isinstance(expected, IdType) else (expected,)
            if field.dataType not in allowed:
                one_of = " or ".join(t.simpleString() for t in allowed)
                found = field.dataType.simpleString()
                raise ContractError(f"table {self.name}: column {name} is {found}, not {one_of}")

    def check(self, frame: DataFrame, *, unique: bool = True) -> DataFrame:
        """The frame itself, once its schema, nulls, rules and (if `unique`) key are right.

        Runs one aggregation, and one more with a shuffle for the key.

        Raises:
            ContractError: with the first broken rule and the number of rows that break it.
        """
        self.count(frame)
        if unique and self.key:
            twice = frame.groupBy(*self.key).count().where("count > 1").limit(1).collect()
            if twice:
                values = {name: twice[0][name] for name in self.key}
                raise ContractError(f"table {self.name}: key {values} has more than one row")
        return frame

    def count(self, frame: DataFrame) -> int:
        """The rows of a frame, once its schema, nulls and rules are right: one aggregation.

        Raises:
            ContractError: with the first broken rule and the number of rows that break it.
        """
        return int(self.measure(frame)[0])

    def measure(self, frame: DataFrame, *more: Column) -> tuple[Any, ...]:
        """The rows of a frame, once its schema, nulls and rules are right, and `more` of it.

        Args:
            frame: the table.
            *more: aggregates that are found in the same pass.

        Raises:
            ContractError: with the first broken rule and the number of rows that break it.
        """
        self.check_schema(frame)
        rules = [
            Check(f"{name} is not null", f"`{name}` IS NOT NULL")
            for name in self.columns
            if name not in self.nullable
        ]
        rules.extend(self.checks)
        named = [column.alias(f"more {place}") for place, column in enumerate(more)]
        counts = frame.agg(
            F.count(F.lit(1)),
            *[_broken(rule).alias(str(i)) for i, rule in enumerate(rules)],
            *named,
        )
        rows, *found = counts.collect()[0]
        for rule, count in zip(rules, found, strict=False):
            if count:
                raise ContractError(f"table {self.name}: {count} rows break '{rule.says}'")
        return (rows, *found[len(rules) :])


def _broken(rule: Check) -> Column:
    return F.count_if(~F.coalesce(F.expr(rule.holds), F.lit(False)))


_INT, _FLOAT, _STR, _TIME = IntegerType(), FloatType(), StringType(), TimestampType()
_RATING_FIELDS: tuple[tuple[str, DataType], ...] = (
    ("user_id", ID),
    ("item_id", ID),
    ("user", _INT),
    ("item", _INT),
    ("rating", _FLOAT),
    ("rated_at", _TIME),
)
_FINITE = Check("rating is finite", "NOT isnan(rating) AND abs(rating) < 1e30")

RATINGS = Table(
    "ratings",
    _RATING_FIELDS,
    key=("user", "item"),
    nullable=("rated_at",),
    checks=(_FINITE,),
)
SPLIT = Table(
    "split", _RATING_FIELDS, key=("user", "item"), nullable=("rated_at",), checks=(_FINITE,)
)
UNRATED = Table(
    "unrated",
    tuple(field for field in _RATING_FIELDS if field[0] != "rating"),
    key=("user", "item"),
    nullable=("rated_at",),
)
"""What was seen and not rated: never recommended again, and no rating to learn from."""
GIVEN_PARTS = Table(
    "parts",
    (("user", _INT), ("item", _INT), ("part", _STR)),
    key=("user", "item"),
    checks=(Check("part is train, validation or test", "part IN ('train', 'validation', 'test')"),),
)
"""The part that each pair of `ratings` was given in, where the source came in parts."""
USERS = Table("users", (("user_id", ID), ("user", _INT)), key=("user_id",))
ITEMS = Table("items", (("item_id", ID), ("item", _INT)), key=("item_id",))
MOVIES = Table(
    "movies",
    (("item_id", ID), ("title", _STR), ("year", _INT), ("genres", ArrayType(_STR))),
    key=("item_id",),
    nullable=("year",),
)
TAGS = Table("tags", (("user_id", ID), ("item_id", ID), ("tag", _STR), ("tagged_at", _TIME)))
LINKS = Table(
    "links",
    (("item_id", ID), ("imdb_id", _STR), ("tmdb_id", _STR)),
    key=("item_id",),
    nullable=("imdb_id", "tmdb_id"),
)
GENOME_SCORES = Table(
    "genome_scores",
    (("item_id", ID), ("tag", _STR), ("relevance", _FLOAT)),
    key=("item_id", "tag"),
)
USER_FEATURES = Table(
    "user_features",
    (("user_id", ID), ("age", _INT), ("gender", _STR), ("occupation", _STR), ("zip", _STR)),
    key=("user_id",),
    nullable=("age", "gender", "occupation", "zip"),
)
REJECTED = Table(
    "rejected",
    (("source_file", _STR), ("line", LongType()), ("raw", _STR), ("reason", _STR)),
)
EVALUATION = Table(
    "evaluation",
    (("user", _INT), ("rank", _INT), ("item", _INT), ("score", _FLOAT)),
    key=("user", "rank"),
    checks=(Check("score is a number", "NOT isnan(score)"),),
)
RECOMMENDATIONS = Table(
    "recommendations",
    (
        ("user_id", ID),
        ("rank", _INT),
        ("item_id", ID),
        ("score", _FLOAT),
        ("source", _STR),
        ("run_date", DateType()),
    ),
    key=("user_id", "rank"),
    checks=(
        Check("score is a number", "NOT isnan(score)"),
        Check("rank starts at 1", "rank >= 1"),
    ),
)
SIMILAR_ITEMS = Table(
    "similar_items",
    (
        ("item_id", ID),
        ("rank", _INT),
        ("similar_item_id", ID),
        ("similarity", _FLOAT),
        ("source", _STR),
        ("run_date", DateType()),
    ),
    key=("item_id", "rank"),
    checks=(
        Check("similarity is a number", "NOT isnan(similarity)"),
        Check("rank starts at 1", "rank >= 1"),
        Check("no item is similar to itself", "item_id != similar_item_id"),
    ),
)
"""The items most similar to each item, by the published model."""
EXPLANATIONS = Table(
    "explanations",
    (
        ("user_id", ID),
        ("rank", _INT),
        ("reason", _INT),
        ("because_item_id", ID),
        ("weight", _FLOAT),
    ),
    key=("user_id", "rank", "reason"),
    checks=(
        Check("weight is a number", "NOT isnan(weight)"),
        Check("reason starts at 1", "reason >= 1"),
    ),
)
"""For the places of a user's list the items of the user's history that spoke most for them."""

INGESTED = (
    RATINGS, GIVEN_PARTS, UNRATED, USERS, ITEMS, MOVIES, TAGS, LINKS, GENOME_SCORES,
    USER_FEATURES, REJECTED,
)  # fmt: skip
"""Every table that `ingest` may write, in the order of docs/contracts.md."""
