"""Rules of lists against the same rules in Python, and a run whose lists keep them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from recpipe.contracts import ITEMS, MOVIES, USERS
from recpipe.errors import ContractError, InputError, UsageError
from recpipe.ingest.item_lists import item_list
from recpipe.models.baselines.popularity import Popularity
from recpipe.models.data import TrainingData
from recpipe.models.factors import FactorModel
from recpipe.publish import check_output
from recpipe.recommend import (
    AppliedRules,
    Catalogue,
    apply_rules,
    recommend_all,
    refuse_impossible,
    to_output,
)
from recpipe.recommend.settings import Rules
from recpipe.spark.columns import factor_schema
from recpipe.stages.rules import written_rules
from recpipe.storage import Folder

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from recpipe.stages.context import Context
    from recpipe.storage import Run

INSTANT = datetime(2024, 1, 1, tzinfo=UTC)
USERS_, ITEMS_, N = 30, 40, 6
Pairs = set[tuple[int, int]]


class World:
    """Some ratings, what is said of their items, and a model of factors."""

    def __init__(self, spark: SparkSession, folder: Path, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.genres = [
            list(self.random.choice(["a", "b", "c"], self.random.integers(3), replace=False))
            for _ in range(ITEMS_)
        ]
        self.years = [int(y) if y % 5 else None for y in self.random.integers(1980, 2020, ITEMS_)]
        # The model knows neither the last items nor the last users; popularity does.
        self.vectors = self.random.normal(size=(USERS_ - 3, 4)).astype(np.float32)
        self.factors = self.random.normal(size=(ITEMS_ - 5, 4)).astype(np.float32)
        rated = self.random.random((USERS_, ITEMS_)) < 0.3
        rated[np.arange(ITEMS_) % USERS_, np.arange(ITEMS_)] = True
        self.rated: Pairs = {(int(u), int(i)) for u, i in zip(*np.nonzero(rated), strict=True)}
        day = {pair: int(self.random.integers(1, 400)) for pair in sorted(self.rated)}
        self.age = [max(day[u, i] for u in range(USERS_) if rated[u, i]) for i in range(ITEMS_)]
        rows = [(*pair, INSTANT - timedelta(days=day[pair]), 4.0) for pair in sorted(self.rated)]
        schema = "user int, item int, rated_at timestamp, rating float"
        self.scratch = Folder(spark, folder / "scratch")
        self.catalogue = Catalogue(
            users=spark.createDataFrame([(f"u{n}", n) for n in range(USERS_)], USERS.schema()),
            items=spark.createDataFrame([(f"i{n}", n) for n in range(ITEMS_)], ITEMS.schema()),
            ratings=self.scratch.write_table("ratings", spark.createDataFrame(rows, schema)),
            movies=spark.createDataFrame(
                [(f"i{n}", "", self.years[n], self.genres[n]) for n in range(ITEMS_)],
                MOVIES.schema(),
            ),
            instant=INSTANT,
        )

        def table(side: str, factors: np.ndarray) -> DataFrame:
            found = [(n, row.tolist(), 0.0) for n, row in enumerate(factors)]
            return spark.createDataFrame(found, factor_schema(side))

        self.model = FactorModel.fitted(
            self.scratch,
            name="sgd",
            user_factors=table("user", self.vectors),
            item_factors=table("item", self.factors),
            rank=4,
            refit_config=Popularity(),
        )
        data = TrainingData(ratings=self.catalogue.ratings)
        self.popularity = Popularity().fit(data, scratch=self.scratch / "popularity", seed=0)

    def table(self, spark: SparkSession, rows: list[tuple[str | None, str]]) -> DataFrame:
        return spark.createDataFrame(rows, "user_id string, item_id string")

    def drawn(self, shares: float, *, own: bool, everyone: bool) -> list[tuple[str | None, str]]:
        """Rows for everybody, and for a third of the users and a user that nobody knows."""
        rows: list[tuple[str | None, str]] = []
        if everyone:
            rows += [(None, f"i{i}") for i in range(ITEMS_) if self.random.random() < shares]
            rows.append((None, "i-unknown"))
        if own:
            for user in range(0, USERS_, 3):
                some = self.random.choice(ITEMS_, self.random.integers(1, 12), replace=False)
                rows += [(f"u{user}", f"i{item}") for item in some]
            rows += [("u-unknown", "i1"), ("u1", "i-unknown")]
        return rows


def fits(world: World, rules: Rules, item: int) -> bool:
    genres, year, age = set(world.genres[item]), world.years[item], world.age[item]
    years = rules.year_from is None and rules.year_to is None
    return (
        (not rules.genres or bool(genres & set(rules.genres)))
        and not genres & set(rules.without_genres)
        and (years or (year is not None and (rules.year_from or 0) <= year))
        and (years or (year is not None and year <= (rules.year_to or 9999)))
        and (rules.min_age_days or 0) <= age <= (rules.max_age_days or 1e9)
    )


CASES: dict[str, tuple[dict[str, Any], dict[str, Any] | None, dict[str, Any] | None]] = {
    "of items": ({"genres": ("a", "b"), "year_from": 1990, "year_to": 2012, "max_age_days": 390},
                 None, None),
    "few for all": ({"min_age_days": 300}, {"shares": 0.2, "own": False, "everyone": True}, None),
    "everything": ({"without_genres": ("b",)}, {"shares": 0.8, "own": True, "everyone": True},
                   {"shares": 0.1, "own": True, "everyone": True}),
}  # fmt: skip


@pytest.fixture(scope="module")
def world(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(spark, tmp_path_factory.mktemp("world"), 4)


@pytest.mark.parametrize("case", CASES)
def test_lists_are_the_best_of_what_the_rules_leave_and_as_long_as_that_allows(
    spark: SparkSession, tmp_path: Path, world: World, case: str
) -> None:
    given, *drawn = CASES[case]
    rules = Rules(**given)
    tables = [None if d is None else world.drawn(**d) for d in drawn]
    allow, block = (None if rows is None else world.table(spark, rows) for rows in tables)

    folder = Folder(spark, tmp_path / "rules")
    told = apply_rules(rules, world.catalogue, folder, allow=allow, block=block)
    applied = AppliedRules(folder)
    lists = recommend_all(
        world.model,
        lambda: world.popularity,
        ratings=world.catalogue.ratings,
        n=N,
        scratch=Folder(spark, tmp_path / "lists"),
        instant=INSTANT,
        rules=applied.for_lists(),
    )
    allowed, blocked = ({(u, i) for u, i in rows or []} for rows in tables)
    for_all = {i for u, i in allowed if u is None}
    restricted = {u for u, _ in allowed if u is not None}
    counts = {i: sum((u, i) in world.rated for u in range(USERS_)) for i in range(ITEMS_)}
    scores = world.vectors @ world.factors.T
    found = lists.toPandas().sort_values("rank").groupby("user")["item"].agg(list)
    for user in range(USERS_):
        may = [
            item
            for item in range(ITEMS_)
            if fits(world, rules, item)
            and (not for_all or f"i{item}" in for_all)
            and (f"u{user}" not in restricted or (f"u{user}", f"i{item}") in allowed)
            and (None, f"i{item}") not in blocked
            and (f"u{user}", f"i{item}") not in blocked
            and (user, item) not in world.rated
        ]
        known = [i for i in may if i < ITEMS_ - 5] if user < USERS_ - 3 else []
        best = sorted(known, key=lambda i: (-scores[user, i], i))[:N]
        rest = sorted(set(may) - set(best), key=lambda i: (-counts[i], i))
        due = best + rest[: N - len(best)]
        assert found.get(user, []) == due
    # The output contract finds them as long as they must be, too.
    output = to_output(
        lists, users=world.catalogue.users, items=world.catalogue.items, run_date=date(2024, 1, 1)
    )
    named = world.catalogue.ratings.join(world.catalogue.users, "user").join(
        world.catalogue.items, "item"
    )
    check_output(output, ratings=named, n=N, rules=applied)
    assert told["items"] == ITEMS_
    assert sum(told["left_out"].values()) == applied.never.count()
    for rule, rows in zip(("allow", "block"), tables, strict=True):
        if rows is None:
            assert rule not in told
            continue
        assert told[rule]["rows"] == len(rows)
        assert told[rule]["unknown_items"] == sum(i == "i-unknown" for _, i in rows)
        assert told[rule]["unknown_users"] == sum(u == "u-unknown" for u, _ in rows)


def test_a_user_whose_allowed_items_are_all_unknown_gets_none(
    spark: SparkSession, tmp_path: Path, world: World
) -> None:
    allow = world.table(spark, [("u2", "gone"), ("u3", "i1"), ("u3", "i2")])
    folder = Folder(spark, tmp_path / "rules")
    apply_rules(Rules(), world.catalogue, folder, allow=allow)
    users = world.catalogue.users.select("user")
    lists = world.model.recommend(
        users, n=N, seen=world.catalogue.ratings, rules=AppliedRules(folder).for_lists()
    ).frame
    rows = lists.collect()
    found = {u: {r["item"] for r in rows if r["user"] == u} for u in (1, 2, 3)}
    assert len(found[1]) == N
    assert found[2] == set()
    assert found[3] == {1, 2} - {i for u, i in world.rated if u == 3}


@pytest.mark.parametrize(
    ("rules", "allow", "says"),
    [
        ({"year_from": 2021}, None, r"none of 40 items is left: years takes 40"),
        ({}, [(None, "gone")], r"none of 40 items is left: allow takes 40"),
        ({}, [], r"rules.allow: the table has no row"),
        ({}, [("u1", None)], r"rules.allow: a row names no item"),
    ],
)
def test_rules_that_leave_nothing_are_unusable_input(
    spark: SparkSession, tmp_path: Path, world: World, rules: Any, allow: Any, says: str
) -> None:
    table = None if allow is None else world.table(spark, allow)
    with pytest.raises(InputError, match=says):
        apply_rules(Rules(**rules), world.catalogue, Folder(spark, tmp_path / "r"), allow=table)


def test_what_a_source_does_not_say_cannot_be_ruled_by(world: World) -> None:
    movies = world.catalogue.movies
    with pytest.raises(UsageError, match="ask for a table of items"):
        refuse_impossible(Rules(year_to=2000), None, times="some")
    with pytest.raises(UsageError, match="ask for the instants of ratings"):
        refuse_impossible(Rules(max_age_days=9), movies, times="one_instant")
    for rules in (Rules(genres=("a", "A")), Rules(without_genres=("A",))):
        with pytest.raises(InputError, match="no item has the genre 'A'"):
            refuse_impossible(rules, movies, times="some")
    refuse_impossible(Rules(genres=("a",), without_genres=("b",)), movies, times="none")
    refuse_impossible(Rules(allow="x"), None, times="none")


@pytest.mark.parametrize(
    "given",
    [
        {"year_from": 2000, "year_to": 1999},
        {"min_age_days": 3, "max_age_days": 2},
        {"genres": ("a",), "without_genres": ("a",)},
    ],
)
def test_rules_that_contradict_each_other_are_refused(given: Any) -> None:
    with pytest.raises(ValidationError):
        Rules(**given)


@pytest.mark.parametrize(
    "text",
    [
        "userId,movieId\n,7\n5,8\n",
        'item_id;note;user_id\n7;"a; b";\n8;c;5\n',
        "\ufeffuser\titem\n\t7\n5\t8\n",
    ],
)
def test_a_table_of_items_is_read_whatever_its_columns_are_called(
    spark: SparkSession, tmp_path: Path, text: str
) -> None:
    place = tmp_path / "items.txt"
    place.write_text(text, encoding="utf-8")
    assert [tuple(row) for row in item_list(place, spark).collect()] == [(None, "7"), ("5", "8")]


def test_items_may_stand_one_a_line_or_in_parquet(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("0012\nb 2\n")
    pq.write_table(pa.table({"item": [3, 4], "userId": [None, 9]}), tmp_path / "ids.parquet")
    assert [row["item_id"] for row in item_list(tmp_path / "ids", spark).collect()] == [
        "0012", "b 2",
    ]  # fmt: skip
    found = item_list(tmp_path / "ids.parquet", spark).collect()
    assert [tuple(row) for row in found] == [(None, "3"), ("9", "4")]


@pytest.mark.parametrize(
    ("text", "says"),
    [(None, "no such file"), ("", "empty"), ("user,what\n1,2\n", "no column of items among user")],
)
def test_what_is_no_table_of_items_is_unusable_input(
    spark: SparkSession, tmp_path: Path, text: str | None, says: str
) -> None:
    if text is not None:
        (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=says):
        item_list(tmp_path / "t.csv", spark)


def test_a_run_counts_what_its_rules_take_and_publishes_what_they_leave(
    whole_run: tuple[Context, Run],
) -> None:
    context, run = whole_run
    assert run.manifest["status"] == "finished"
    told = run.manifest["rules"]
    assert told["left_out"]["block"] + told["left_out"]["years"] >= 31
    assert told["allow"] == {"rows": 6, "unknown_items": 1, "unknown_users": 0, "users": 1}
    lists = (run.folder / "recommendations").read_table("block_als").collect()
    rated = {(r["user_id"], r["item_id"]) for r in context.tables.read("ratings").collect()}
    assert max(row["item_id"] for row in lists) < 300
    of_four = [row["item_id"] for row in lists if row["user_id"] == 4]
    assert sorted(of_four) == [i for i in (10, 20, 30, 40, 50) if (4, i) not in rated]
    others = {row["user_id"] for row in lists} - {4}
    assert {sum(r["user_id"] == user for r in lists) for user in others} == {10}


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ({"item_id": 300}, "1 places hold what the rules forbid, such as item 300"),
        (None, "1 users have fewer than 10 items"),
    ],
)
def test_lists_that_break_the_rules_are_not_published(
    whole_run: tuple[Context, Run], place: dict[str, int] | None, says: str
) -> None:
    context, run = whole_run
    lists = (run.folder / "recommendations").read_table("block_als")
    rows = [row.asDict() for row in lists.collect()]
    of_seven = [row for row in rows if row["user_id"] == 7]
    if place is None:
        rows.remove(max(of_seven, key=lambda row: row["rank"]))
    else:
        of_seven[-1].update(place)
    changed = lists.sparkSession.createDataFrame(
        [tuple(row.values()) for row in rows], lists.schema
    )
    with pytest.raises(ContractError, match=says):
        check_output(
            changed, ratings=context.tables.read("ratings"), n=10, rules=written_rules(run)
        )
