"""What a fit may see of items and users beside their ratings."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from pyspark.sql.types import LongType

from recpipe.contracts import GENOME_SCORES, ITEMS, MOVIES, TAGS, USER_FEATURES, USERS
from recpipe.models.data import ItemFeatures, TrainingData, UserFeatures

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from recpipe.contracts import Table

CUTOFF = datetime(2020, 1, 2, tzinfo=UTC)
BEFORE, LATER = datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 3, tzinfo=UTC)

ROWS: dict[Table, list[tuple[object, ...]]] = {
    # 30 is a film that nobody has rated: it has no number.
    ITEMS: [(10, 0), (20, 1)],
    USERS: [(7, 0)],
    MOVIES: [
        (10, "Toy Story: a Toy", 1995, ["Animation", "Comedy"]),
        (20, "Amélie", None, []),
        (30, "Heat", 1995, ["Crime"]),
    ],
    TAGS: [
        (7, 10, "pixar", BEFORE),
        (7, 10, "at the cutoff", CUTOFF),
        (7, 20, "later", LATER),
        (7, 30, "unrated", BEFORE),
    ],
    GENOME_SCORES: [(10, "toys", 0.75), (30, "heist", 1.0)],
    USER_FEATURES: [(7, 25, "F", None, "90210"), (8, 50, "M", "writer", None)],
}


@pytest.fixture
def tables(spark: SparkSession) -> dict[str, DataFrame]:
    return {
        table.name: spark.createDataFrame(rows, table.schema(ids=LongType()))
        for table, rows in ROWS.items()
    }


def values(frame: DataFrame | None) -> list[tuple[object, ...]]:
    assert frame is not None
    return sorted((tuple(row) for row in frame.collect()), key=str)


def test_items_have_genres_years_words_and_tags_by_their_numbers(
    tables: dict[str, DataFrame],
) -> None:
    items = ItemFeatures(tables.get)
    assert values(items.genres()) == [(0, "Animation"), (0, "Comedy")]
    assert values(items.years()) == [(0, 1995)]
    assert values(items.titles()) == [(0, "Toy Story: a Toy"), (1, "Amélie")]
    assert values(items.title_words()) == [(0, "a"), (0, "story"), (0, "toy"), (1, "amélie")]
    assert values(items.genome()) == [(0, "toys", 0.75)]
    assert [row[:2] for row in values(items.tags())] == [
        (0, "at the cutoff"),
        (0, "pixar"),
        (1, "later"),
    ]


def test_no_tag_from_the_cutoff_on_is_seen(tables: dict[str, DataFrame]) -> None:
    found = values(ItemFeatures(tables.get, as_of=CUTOFF).tags())
    assert [row[:2] for row in found] == [(0, "pixar")]


def test_users_have_what_the_source_says_of_them(tables: dict[str, DataFrame]) -> None:
    assert values(UserFeatures(tables.get).profiles()) == [(0, 25, "F", None, "90210")]


def test_a_source_that_says_nothing_gives_nothing(tables: dict[str, DataFrame]) -> None:
    data = TrainingData(ratings=tables["items"])
    assert data.items.genres() is None
    assert data.users.profiles() is None
    items = ItemFeatures({name: tables[name] for name in ("items", "tags")}.get)
    assert items.tags() is not None
    found = (items.genres(), items.years(), items.title_words(), items.genome())
    assert found == (None, None, None, None)
