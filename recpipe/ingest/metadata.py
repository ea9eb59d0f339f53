"""What a release says about its items and users: titles, tags, links, genome, features.

Rows are checked and refused as those of the ratings are, but they do not count towards the
ratings' sum or share of refused rows: a title that cannot be read spoils no recommendation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import Observation, Window
from pyspark.sql import functions as F
from pyspark.sql.types import LongType

from recpipe.contracts import GENOME_SCORES, LINKS, MOVIES, TAGS, USER_FEATURES
from recpipe.ingest.lines import POSITION, fields, is_row, is_utf8, read_lines
from recpipe.ingest.rules import (
    ENCODING,
    MALFORMED,
    MISSING,
    NO_ROW,
    OUT_OF_RANGE,
    Rule,
    check_rows,
)
from recpipe.ingest.times import TimeForm, in_period, instant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pyspark.sql import Column, DataFrame, SparkSession
    from pyspark.sql.types import DataType

    from recpipe.contracts import Table
    from recpipe.ingest.layout import Kind, Layout
    from recpipe.ingest.times import Period

NO_GENRES = "(no genres listed)"
GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi",
    "Thriller", "War", "Western",
)  # fmt: skip
"""The flags of u.item, by the README of 100k; its u.genre says the same."""
OCCUPATIONS_1M = (
    "other", "academic/educator", "artist", "clerical/admin", "college/grad student",
    "customer service", "doctor/health care", "executive/managerial", "farmer", "homemaker",
    "K-12 student", "lawyer", "programmer", "retired", "sales/marketing", "scientist",
    "self-employed", "technician/engineer", "tradesman/craftsman", "unemployed", "writer",
)  # fmt: skip
"""What the numbers in users.dat mean, by the README of 1m."""

# (1995), and of a range (2006-2007) or (2009- ) the first year, with any dash.
_YEAR = r"\((\d{4})(?:\s*[-\u2013\u2014]\s*(?:\d{4})?\s*)?\)\s*$"
_FIRST_FLAG = 5


@dataclass(frozen=True)
class Context:
    """What the files beside the ratings are read with.

    Args:
        user_id: type of user ids, as in the ratings.
        item_id: type of item ids, as in the ratings.
        period: the instants that are valid.
        genres: names of the flags of u.item, in their order.
        genome_tags: (tag_id, tag) of the genome; None where the source has none.
    """

    user_id: DataType
    item_id: DataType
    period: Period
    genres: Sequence[str] = GENRES_100K
    genome_tags: DataFrame | None = None


@dataclass(frozen=True)
class Reader:
    """How one kind of file becomes the rows of a table.

    Args:
        table: its contract.
        parse: lines to `lines` + the columns of the table (those prefixed `_` are helpers).
        free_text: the field that may hold the delimiter itself, in the `::` files.
    """

    table: Table
    parse: Callable[[DataFrame, Layout, Context], tuple[DataFrame, list[Rule]]]
    free_text: str | None = None


def checked_rows(
    spark: SparkSession, uris: Sequence[str], kind: Kind, layout: Layout, context: Context
) -> DataFrame:
    """The columns of the table of `kind` + file, block, place, reason, raw, as `check_rows` says.

    A file that is not UTF-8 throughout is read as Latin-1.
    """
    reader = READERS[kind]
    lines = read_lines(spark, uris, latin1=not is_utf8(spark, uris))
    array = _fields(layout, reader.free_text)
    split = lines.withColumn("fields", array)
    parsed, rules = reader.parse(split, layout, context)
    whole = Rule(MALFORMED, F.size("fields") != layout.width)
    checked = check_rows(
        parsed,
        [Rule(ENCODING, ~F.is_valid_utf8("value")), whole, *rules],
        row=is_row(layout),
        raw=F.col("value"),
    )
    return checked.select(*reader.table.columns, *POSITION, "reason", "raw")


def last_by_key(rows: DataFrame, table: Table) -> tuple[DataFrame, Observation]:
    """The table's columns, the last row in the source of each key, and the count of others.

    Args:
        rows: what `checked_rows` returned.
        table: their contract.

    Returns:
        The rows, and what will know, once they are written, how many `rows` there were, and how
        many of them were `refused` and `superseded`.
    """
    # No filter before what is observed: Spark would push it below the rules, which would then be
    # asked twice of each row, CSV parser included: six times the work, for tags.
    good, row = F.isnull("reason"), F.coalesce(F.col("reason") != NO_ROW, F.lit(True))
    marked = rows.withColumns({"good": good, "row": row, "superseded": F.lit(False)})
    if table.key:
        within = Window.partitionBy("good", *table.key).orderBy(*POSITION)
        later = F.lead(F.lit(True), 1, False).over(within)
        marked = marked.withColumn("superseded", F.col("good") & later)
    # After the window, in the stage that writes: what is counted there is counted once.
    seen = Observation()
    observed = marked.observe(
        seen,
        F.count_if("row").alias("rows"),
        F.count_if(F.col("row") & ~F.col("good")).alias("refused"),
        F.count_if("superseded").alias("superseded"),
    )
    return observed.where("good AND NOT superseded").select(*table.columns), seen


def genre_names(spark: SparkSession, uris: Sequence[str]) -> Sequence[str]:
    """The names of u.genre in the order of their numbers; the README's if it has not all."""
    rows = read_lines(spark, uris, latin1=True).select("value").limit(100).collect()
    pairs = [row["value"].rsplit("|", 1) for row in rows if "|" in row["value"]]
    names = {int(number): name for name, number in pairs if number.strip().isdecimal()}
    complete = sorted(names) == list(range(len(GENRES_100K)))
    return [names[i] for i in sorted(names)] if complete else GENRES_100K


def genome_tags(spark: SparkSession, uris: Sequence[str], layout: Layout) -> DataFrame:
    """(tag_id string, tag): the tags that genome scores refer to by number."""
    lines = read_lines(spark, uris, latin1=not is_utf8(spark, uris)).where(is_row(layout))
    split = lines.withColumn("fields", fields(layout))
    named = split.select(
        _at(layout, "tag_id").alias("tag_id"), F.trim(_at(layout, "tag")).alias("tag")
    )
    return (
        named.where("tag_id != '' AND tag != ''").groupBy("tag_id").agg(F.min("tag").alias("tag"))
    )


def year_of(title: Column) -> Column:
    """The year in brackets that ends a title, of a range the first; null without one."""
    return F.regexp_extract(title, _YEAR, 1).try_cast("int")


def genres_of(listed: Column) -> Column:
    """`A|B` as an array; `(no genres listed)` and nothing as an empty one."""
    names = F.filter(F.split(listed, r"\|"), lambda name: F.trim(name) != "")
    none = F.trim(listed).isin("", NO_GENRES)
    return F.when(none, F.array()).otherwise(names).cast("array<string>")


def _movies(lines: DataFrame, layout: Layout, context: Context) -> tuple[DataFrame, list[Rule]]:
    title = F.trim(_at(layout, "title"))
    if "genres" in layout.columns:
        genres = genres_of(_at(layout, "genres"))
    else:
        flags = [
            F.when(F.get("fields", F.lit(_FIRST_FLAG + i)) == "1", name)
            for i, name in enumerate(context.genres)
        ]
        genres = F.array_compact(F.array(*flags)).cast("array<string>")
    frame = lines.select(
        "*",
        _id(layout, "item", context.item_id).alias("item_id"),
        title.alias("title"),
        year_of(title).alias("year"),
        genres.alias("genres"),
    )
    return frame, [*_present(layout, "item", "title"), _known("item_id")]


def _tags(lines: DataFrame, layout: Layout, context: Context) -> tuple[DataFrame, list[Rule]]:
    frame = lines.select(
        "*",
        _id(layout, "user", context.user_id).alias("user_id"),
        _id(layout, "item", context.item_id).alias("item_id"),
        F.trim(_at(layout, "tag")).alias("tag"),
        instant(F.trim(_at(layout, "timestamp")), _form(layout), context.period).alias("tagged_at"),
    )
    return frame, [
        *_present(layout, "user", "item", "tag", "timestamp"),
        _known("user_id"),
        _known("item_id"),
        Rule(OUT_OF_RANGE, ~in_period("tagged_at", context.period)),
    ]


def _links(lines: DataFrame, layout: Layout, context: Context) -> tuple[DataFrame, list[Rule]]:
    frame = lines.select(
        "*",
        _id(layout, "item", context.item_id).alias("item_id"),
        _or_null(layout, "imdb_id").alias("imdb_id"),
        _or_null(layout, "tmdb_id").alias("tmdb_id"),
    )
    return frame, [*_present(layout, "item"), _known("item_id")]


def _genome_scores(
    lines: DataFrame, layout: Layout, context: Context
) -> tuple[DataFrame, list[Rule]]:
    if context.genome_tags is None:
        raise ValueError("genome scores are read with the tags that they refer to")
    numbered = lines.withColumn("tag_id", F.trim(_at(layout, "tag_id")))
    frame = numbered.join(F.broadcast(context.genome_tags), "tag_id", "left").select(
        "*",
        _id(layout, "item", context.item_id).alias("item_id"),
        F.trim(_at(layout, "relevance")).try_cast("float").alias("relevance"),
    )
    return frame, [
        *_present(layout, "item", "tag_id", "relevance"),
        _known("item_id"),
        Rule(MALFORMED, F.isnan("relevance") | (F.abs("relevance") == float("inf"))),
        Rule(MISSING, F.isnull("tag")),
    ]


def _users(lines: DataFrame, layout: Layout, context: Context) -> tuple[DataFrame, list[Rule]]:
    age = _or_null(layout, "age")
    occupation = _or_null(layout, "occupation")
    if layout.delimiter == "::":
        names = F.array(*[F.lit(name) for name in OCCUPATIONS_1M])
        occupation = F.coalesce(F.get(names, occupation.try_cast("int")), occupation)
    frame = lines.select(
        "*",
        _id(layout, "user", context.user_id).alias("user_id"),
        age.try_cast("int").alias("age"),
        _or_null(layout, "gender").alias("gender"),
        occupation.alias("occupation"),
        _or_null(layout, "zip").alias("zip"),
    )
    bad_age = Rule(MALFORMED, F.isnull("age") & F.coalesce(age != "", F.lit(False)))
    return frame, [*_present(layout, "user"), _known("user_id"), bad_age]


READERS: Mapping[Kind, Reader] = {
    "movies": Reader(MOVIES, _movies, free_text="title"),
    "tags": Reader(TAGS, _tags, free_text="tag"),
    "links": Reader(LINKS, _links),
    "genome_scores": Reader(GENOME_SCORES, _genome_scores),
    "users": Reader(USER_FEATURES, _users),
}


def _form(layout: Layout) -> TimeForm:
    return layout.form or TimeForm("seconds")


def _fields(layout: Layout, free_text: str | None) -> Column:
    if layout.delimiter != "::" or free_text is None:
        return fields(layout)
    # Split everywhere, then put the free text together again: it is what the others leave over.
    parts = F.split("value", "::", -1)
    at = layout.columns[free_text]
    over = F.greatest(F.size(parts) - layout.width, F.lit(0))
    middle = F.array_join(F.slice(parts, F.lit(at + 1), over + 1), "::")
    after = F.slice(parts, over + at + 2, F.lit(layout.width - at - 1))
    joined = F.concat(F.slice(parts, 1, at), F.array(middle), after)
    return F.when(F.size(parts) >= layout.width, joined).otherwise(parts)


def _at(layout: Layout, name: str) -> Column:
    return F.get("fields", F.lit(layout.columns[name]))


def _or_null(layout: Layout, name: str) -> Column:
    value = F.trim(_at(layout, name))
    return F.when(value != "", value)


def _id(layout: Layout, name: str, kind: DataType) -> Column:
    value = F.trim(_at(layout, name))
    # Written as 1.0, as those of the ratings may be.
    whole = F.regexp_replace(value, r"^(-?[0-9]+)\.0*$", "$1")
    return whole.try_cast("bigint") if isinstance(kind, LongType) else value


def _present(layout: Layout, *names: str) -> list[Rule]:
    return [Rule(MISSING, F.trim(_at(layout, name)) == "") for name in names]


def _known(name: str) -> Rule:
    """An id that is no number, where those of the ratings are."""
    return Rule(MALFORMED, F.isnull(name))
