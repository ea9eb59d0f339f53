"""A description held to plain pandas."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from pyspark.sql.types import LongType

from recpipe.contracts import MOVIES, RATINGS, TAGS
from recpipe.describe import describe

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

CUTOFF = datetime(2021, 1, 1, tzinfo=UTC)

ROWS = [
    # user, item, rating, time
    (1, 10, 4.0, datetime(2019, 5, 1, 23, 59, tzinfo=UTC)),
    (1, 20, 3.5, datetime(2019, 5, 2, tzinfo=UTC)),
    (1, 30, 0.5, datetime(2021, 2, 1, tzinfo=UTC)),
    (2, 10, 5.0, datetime(2020, 6, 1, tzinfo=UTC)),
    (2, 20, 4.0, datetime(2021, 1, 1, tzinfo=UTC)),
    (3, 10, 2.0, datetime(2021, 3, 1, tzinfo=UTC)),
    (3, 40, 4.0, datetime(2021, 3, 2, 12, tzinfo=UTC)),
]
FILMS = [
    (10, "A", 1990, ["Drama", "Comedy"]), (20, "B", 1991, ["Drama"]), (30, "C", None, []),
    (50, "never rated", 1992, ["Drama"]),
]  # fmt: skip
TAGGED = [(1, 10, "Slow ", CUTOFF), (2, 10, "slow", CUTOFF), (2, 20, "été", CUTOFF)]


@pytest.fixture
def ratings(spark: SparkSession) -> DataFrame:
    rows = [(user, item, user - 1, item // 10 - 1, rating, at) for user, item, rating, at in ROWS]
    return spark.createDataFrame(rows, RATINGS.schema(ids=LongType()))


@pytest.fixture
def plain() -> pd.DataFrame:
    return pd.DataFrame(ROWS, columns=["user", "item", "rating", "at"])


def test_counts_and_spreads_are_those_of_pandas(ratings: DataFrame, plain: pd.DataFrame) -> None:
    found = describe(ratings)
    assert (found.ratings, found.users, found.items) == (7, 3, 4)
    assert found.density == pytest.approx(7 / 12)
    assert found.mean == pytest.approx(plain.rating.mean())
    assert (found.first, found.last) == (plain["at"].min(), plain["at"].max())
    assert {b.low: b.holds for b in found.by_value} == plain.rating.value_counts().to_dict()
    for spread, key in ((found.per_user, "user"), (found.per_item, "item")):
        sizes = plain.groupby(key).size()
        assert spread is not None
        assert (spread.lowest, spread.highest) == (sizes.min(), sizes.max())
        assert spread.mean == pytest.approx(sizes.mean())
        assert sum(b.holds for b in spread.bins) == len(sizes)
    assert found.ratings_by_year == plain.groupby(plain["at"].dt.year).size().to_dict()
    assert sum(period.ratings for period in found.over_time) == 7
    # Two years are shown by weeks, which begin on Mondays.
    assert found.unit == "week"
    assert (str(found.over_time[0].begins), found.over_time[0].ratings) == ("2019-04-29", 2)
    assert found.genres is None
    assert found.tags is None
    assert found.cold is None


def test_genres_count_every_genre_of_an_item_and_rated_items_alone(
    spark: SparkSession, ratings: DataFrame
) -> None:
    films = spark.createDataFrame(FILMS, MOVIES.schema(ids=LongType()))
    found = describe(ratings, movies=films).genres
    assert found is not None
    assert [(g.name, g.items, g.ratings, g.by_year) for g in found] == [
        ("Drama", 2, 5, {2019: 2, 2020: 1, 2021: 2}),
        ("Comedy", 1, 3, {2019: 1, 2020: 1, 2021: 1}),
    ]


def test_tags_are_counted_whatever_their_case(spark: SparkSession, ratings: DataFrame) -> None:
    tags = spark.createDataFrame(TAGGED, TAGS.schema(ids=LongType()))
    found = describe(ratings, tags=tags).tags
    assert found is not None
    assert (found.taggings, found.distinct) == (3, 2)
    assert found.most_used == [("slow", 2), ("été", 1)]


def test_who_begins_at_the_cutoff_is_cold(ratings: DataFrame, plain: pd.DataFrame) -> None:
    found = describe(ratings, cutoff=CUTOFF).cold
    late = plain[plain["at"] >= CUTOFF]
    before = plain[plain["at"] < CUTOFF]
    assert found is not None
    assert found.cutoff == CUTOFF
    assert found.ratings == len(late) == 4
    assert found.users == len(set(late.user) - set(before.user)) == 1
    assert found.items == len(set(late.item) - set(before.item)) == 2
    assert found.ratings_of_cold_users == (~late.user.isin(before.user)).sum() == 2
    assert found.ratings_of_cold_items == (~late.item.isin(before.item)).sum() == 2


def test_without_times_there_is_no_calendar_and_nobody_is_cold(
    spark: SparkSession, ratings: DataFrame
) -> None:
    rows = [(*row[:5], None) for row in ratings.collect()]
    timeless = spark.createDataFrame(rows, RATINGS.schema(ids=LongType()))
    found = describe(timeless, cutoff=CUTOFF)
    assert found.ratings == 7
    assert found.first is None
    assert found.last is None
    assert found.unit is None
    assert found.cold is None
    assert list(found.over_time) == []


def test_no_rating_at_all_is_described_too(ratings: DataFrame) -> None:
    found = describe(ratings.limit(0))
    assert (found.ratings, found.users, found.density, found.mean) == (0, 0, 0.0, None)
    assert found.per_user is None


def test_a_description_is_json(spark: SparkSession, ratings: DataFrame) -> None:
    films = spark.createDataFrame(FILMS, MOVIES.schema(ids=LongType()))
    tags = spark.createDataFrame(TAGGED, TAGS.schema(ids=LongType()))
    refused = {"rows": 8, "kept": 7, "rejected": 1, "reasons": {"off the scale": 1}}
    found = describe(ratings, movies=films, tags=tags, cutoff=CUTOFF, refused=refused)
    again = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert again["cold"]["cutoff"] == "2021-01-01T00:00:00+00:00"
    assert again["refused"]["reasons"] == {"off the scale": 1}
    assert again["genres"][0]["by_year"] == {"2019": 2, "2020": 1, "2021": 2}
    assert again["by_value"][0] == {"low": 0.5, "high": 0.5, "holds": 1}
