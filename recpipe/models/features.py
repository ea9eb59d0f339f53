"""What a source says of items, as weighted terms: what models of features are made of."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Literal

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

if TYPE_CHECKING:
    from collections.abc import Collection

    from pyspark.sql import Column

    from recpipe.models.data import ItemFeatures

Source = Literal["genre", "title", "year", "tag", "genome"]
"""Where a term comes from."""

_YEARS_OF_A_DECADE = 10


def item_terms(
    items: ItemFeatures, sources: Collection[Source], *, relevance_from: float
) -> DataFrame | None:
    """(item int, source string, term string, weight double), one row a term of an item.

    The weight of a genre, a word of a title (but not the item's year) and a decade is 1; of a tag
    1 + ln(how often users gave it to the item), in lower case without blanks at its ends; of a tag
    of the genome its relevance.

    Args:
        items: what is known of items.
        sources: those that are wanted.
        relevance_from: the least relevance of a tag of the genome that is a term.

    Returns:
        None where nothing is known from any of these sources.
    """
    one = F.lit(1.0)
    found: dict[Source, DataFrame | None] = {}
    if "genre" in sources and (genres := items.genres()) is not None:
        found["genre"] = _rows(genres, "genre", F.col("genre"), one)
    if "title" in sources and (words := _words(items)) is not None:
        found["title"] = _rows(words, "title", F.col("word"), one)
    if "year" in sources and (years := items.years()) is not None:
        decade = F.col("year") - F.col("year") % _YEARS_OF_A_DECADE
        found["year"] = _rows(years, "year", F.concat(decade.cast("string"), F.lit("s")), one)
    if "tag" in sources and (tags := items.tags()) is not None:
        times = tags.groupBy("item", F.trim(F.lower("tag")).alias("tag")).count()
        weight = 1 + F.log("count")
        found["tag"] = _rows(times.where("tag != ''"), "tag", F.col("tag"), weight)
    if "genome" in sources and (genome := items.genome()) is not None:
        relevant = genome.where(F.col("relevance") >= relevance_from)
        found["genome"] = _rows(relevant, "genome", F.col("tag"), F.col("relevance"))
    frames = [frame for frame in found.values() if frame is not None]
    return reduce(DataFrame.unionAll, frames) if frames else None


def _words(items: ItemFeatures) -> DataFrame | None:
    """(item int, word string) of titles, without the year that many end in."""
    words, years = items.title_words(), items.years()
    if words is None or years is None:
        return words
    year = years.select("item", F.col("year").cast("string").alias("word"))
    return words.join(year, ["item", "word"], "left_anti")


def _rows(frame: DataFrame, source: Source, term: Column, weight: Column) -> DataFrame:
    return frame.select(
        "item",
        F.lit(source).alias("source"),
        term.alias("term"),
        weight.cast("double").alias("weight"),
    ).distinct()


__all__ = ["Source", "item_terms"]
