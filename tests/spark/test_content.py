"""Recommendations by content against TF-IDF and cosines in NumPy, and clusters against
scikit-learn."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_score

from recpipe.errors import InputError
from recpipe.models import registry
from recpipe.models.content.clusters import (
    adjusted_rand,
    clusters_of,
    described,
    mutual_information,
)
from recpipe.models.content.content import Content, ContentModel
from recpipe.models.content.profiles import profiles_of, terms_of, vocabulary_of
from recpipe.models.content.settings import ContentSettings
from recpipe.models.data import ItemFeatures, TrainingData
from recpipe.storage import Folder

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

AS_OF = datetime(2020, 1, 2, tzinfo=UTC)
BEFORE, LATER = datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 3, tzinfo=UTC)
MOVIES = [
    (0, "Dark Star", 1974, ["Sci-Fi", "Comedy"]),
    (1, "Star Wars", 1977, ["Sci-Fi", "Action"]),
    (2, "Dark City", 1998, ["Sci-Fi", "Thriller"]),
    (3, "City of Joy", 1992, ["Drama"]),
    (4, "Heat", 1995, ["Action", "Thriller"]),
    (5, "Quiet", None, []),
    # Nobody has rated these two.
    (6, "Star Quest", 1979, ["Sci-Fi", "Action"]),
    (7, "Joy", 2015, ["Drama", "Comedy"]),
]
TAGS = [
    (1, "Space ", BEFORE),
    (1, "space", BEFORE),
    (6, "space", BEFORE),
    (2, "space", LATER),
    (3, "moving", BEFORE),
    (7, "moving", BEFORE),
]
RATINGS = [
    (10, 0, 5.0), (10, 1, 4.5), (10, 3, 1.0), (11, 3, 5.0), (11, 5, 4.0), (12, 2, 2.0),
    (12, 4, 5.0), (13, 5, 5.0),
]  # fmt: skip
WEIGHTS = {"genre": 1.0, "title": 0.5, "year": 0.25, "tag": 2.0}


def features(spark: SparkSession) -> ItemFeatures:
    stamp = "timestamp"
    tables = {
        "items": spark.createDataFrame([(m[0], m[0]) for m in MOVIES], "item_id int, item int"),
        "movies": spark.createDataFrame(
            MOVIES, "item_id int, title string, year int, genres array<string>"
        ),
        "tags": spark.createDataFrame(TAGS, f"item_id int, tag string, tagged_at {stamp}"),
    }
    return ItemFeatures(tables.get, AS_OF)


def fit(spark: SparkSession, folder: Path, **own: Any) -> ContentModel:
    settings = ContentSettings(
        **{
            "genres": 1,
            "title": 0.5,
            "year": 0.25,
            "tags": 2,
            "clusters": 0,
            "similarity": "cosine",
            **own,
        }
    )
    ratings = spark.createDataFrame(RATINGS, "user int, item int, rating float")
    data = TrainingData(ratings=ratings, items=features(spark), as_of=AS_OF)
    return Content(settings).fit(data, scratch=Folder(spark, folder), seed=3)


def profiles(*, unit: bool = True) -> np.ndarray:
    """(items, terms) of the definition, with terms of two items or more."""
    said: dict[str, list[dict[str, float]]] = {
        "genre": [dict.fromkeys(m[3], 1.0) for m in MOVIES],
        "title": [dict.fromkeys(m[1].lower().split(), 1.0) for m in MOVIES],
        "year": [{} if m[2] is None else {f"{m[2] // 10 * 10}s": 1.0} for m in MOVIES],
        "tag": [{} for _ in MOVIES],
    }
    for item, tag, at in TAGS:
        if at < AS_OF:
            own = said["tag"][item]
            own[tag.strip().lower()] = own.get(tag.strip().lower(), 0) + 1
    said["tag"] = [{t: 1 + np.log(n) for t, n in own.items()} for own in said["tag"]]
    parts = []
    for source, rows in said.items():
        often = {t: sum(t in row for row in rows) for row in rows for t in row}
        terms = [t for t, n in often.items() if n > 1]
        total = sum(bool(row) for row in rows)
        part = np.array(
            [
                [row.get(t, 0) * (1 + np.log((1 + total) / (1 + often[t]))) for t in terms]
                for row in rows
            ]
        )
        parts.append(np.sqrt(WEIGHTS[source]) * normal(part))
    whole = np.hstack(parts)
    return normal(whole) if unit else whole


def normal(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    found: np.ndarray = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return found


def scores_of(model: ContentModel) -> dict[tuple[int, int], float]:
    spark = model.spark
    users = spark.createDataFrame([(u,) for u in (10, 11, 12, 13, 99)], "user int")
    nothing = spark.createDataFrame([], "user int, item int")
    rows = model.recommend(users, n=100, seen=nothing).frame.collect()
    return {(row.user, row.item): row.score for row in rows}


def expected(rows: np.ndarray, *, values: str) -> dict[tuple[int, int], float]:
    found: dict[tuple[int, int], float] = {}
    for user in (10, 11, 12, 13):
        took = [
            (i, r if values == "ratings" else float(r >= 4)) for u, i, r in RATINGS if u == user
        ]
        mine = normal(sum(x * rows[i] for i, x in took)[None])[0]
        found |= {(user, item): float(score) for item, score in enumerate(rows @ mine)}
    return found


@pytest.fixture(scope="module")
def model(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> ContentModel:
    return fit(spark, tmp_path_factory.mktemp("content"), clusters=3, dimensions=4)


def test_scores_are_cosines_of_profiles_and_unrated_items_have_them_too(
    model: ContentModel,
) -> None:
    assert scores_of(model) == pytest.approx(expected(profiles(), values="likings"), abs=1e-6)
    found = scores_of(model)
    # The best of what user 10 has not rated is a film that nobody has.
    assert max((i for i in range(8) if i not in (0, 1, 3)), key=lambda i: found[10, i]) == 6


def test_the_sum_over_sources_of_ratings(spark: SparkSession, tmp_path: Path) -> None:
    found = scores_of(fit(spark, tmp_path, similarity="sum", values="ratings"))
    rows = profiles(unit=False)
    assert found == pytest.approx(expected(rows, values="ratings"), abs=1e-5)


def test_item_vectors_have_the_products_of_profiles(model: ContentModel) -> None:
    vectors = model.item_vectors()
    assert vectors is not None
    rows = {row.item: row.factors for row in vectors.rows.collect()}
    assert {len(row) for row in rows.values()} == {vectors.width}
    found = np.array([rows[item] if item in rows else [0] * vectors.width for item in range(8)])
    u, s, _ = np.linalg.svd(profiles(), full_matrices=False)
    best = (u[:, :4] * s[:4]) @ (u[:, :4] * s[:4]).T
    assert found @ found.T == pytest.approx(best, abs=1e-3)


def test_blocks_of_items_give_the_lists_of_the_whole(
    model: ContentModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from recpipe.ranking import item_blocks

    monkeypatch.setattr(item_blocks, "MIN_ITEMS", 2)
    # So many values that a limit of 1 MiB has room for three items.
    small = replace(model, max_broadcast_mb=1, values=0, items=8)
    monkeypatch.setattr("recpipe.models.content.content._TERM_BYTES", (1 << 20) // 3)
    assert len(small.scoring.items().blocks) == 3  # type: ignore[attr-defined]
    assert scores_of(small) == scores_of(model)


def test_clusters_are_told_with_their_items(model: ContentModel) -> None:
    told = model.info()["clusters"]
    assert told["count"] == len(told["rows"]) == 3
    assert told["items"] == sum(row["size"] for row in told["rows"]) == 7
    first = told["rows"][0]
    assert {name for name, _ in first["genres"]} <= {g for m in MOVIES for g in m[3]}
    assert set(first["titles"]) <= {m[1] for m in MOVIES}


def test_stop_words_name_no_cluster(spark: SparkSession) -> None:
    titles = ["The Night of the Star", "The Star at Night", "A Quiet Day", "A Day of Quiet"]
    tables = {
        "items": spark.createDataFrame([(n, n) for n in range(4)], "item_id int, item int"),
        "movies": spark.createDataFrame(
            [(n, title, None, []) for n, title in enumerate(titles)],
            "item_id int, title string, year int, genres array<string>",
        ),
        "tags": spark.createDataFrame(
            [(n, "in the dark", BEFORE) for n in (0, 1)],
            "item_id int, tag string, tagged_at timestamp",
        ),
    }
    items, settings = ItemFeatures(tables.get, AS_OF), ContentSettings(genres=0, year=0)
    terms = terms_of(items, settings)
    assert terms is not None
    vocabulary = vocabulary_of(terms, settings, seed=1)
    assert {"the", "a", "of"} <= set(vocabulary.terms)
    clusters = spark.createDataFrame([(0, 0), (1, 0), (2, 1), (3, 1)], "item int, cluster int")
    told = described(
        clusters,
        None,
        items=items,
        profiles=profiles_of(clusters.select("item"), terms, vocabulary, settings),
        vocabulary=vocabulary,
        ratings=spark.createDataFrame(RATINGS, "user int, item int, rating float"),
    )
    # Of a tag they are a part of what it says.
    words = [set(row["words"]) for row in told.info["rows"]]
    assert words == [{"in the dark", "night", "star"}, {"day", "quiet"}]


def test_a_saved_model_is_the_same(
    model: ContentModel, spark: SparkSession, tmp_path: Path
) -> None:
    folder = Folder(spark, tmp_path) / "model"
    model.save(folder)
    loaded = registry.load(folder)
    assert isinstance(loaded, ContentModel)
    assert scores_of(loaded) == scores_of(model)
    assert loaded.info() == model.info()
    assert loaded.clusters is not None
    assert loaded.clusters.frame.count() == 7


# -- vectors of words -------------------------------------------------------------------------


def test_vectors_of_a_file_are_means_of_the_words_weighted_by_idf(
    spark: SparkSession, tmp_path: Path
) -> None:
    file = tmp_path / "glove.txt"
    # As in GloVe's own files, a word may have blanks in it.
    words = "star 1 0\ndark 0 2\n. . . 7 7\nunasked 5 5\nspace 3 3\n"
    file.write_text(words, encoding="utf-8")
    model = fit(
        spark, tmp_path / "fit", vectors=str(file), genres=0, title=0, year=0, tags=0, genome=0
    )
    info = model.info()
    # Of titles in two films: city, dark, joy, star; tags: moving, space.
    assert info["words_with_vectors"] == 3
    assert info["terms_without_vectors"] == 3
    # The inverse document frequencies of words in 3 and 2 of 8 titles, and in tags of 2 of 4 items.
    star = (1 + np.log(9 / 4)) * np.array([1.0, 0])
    dark = (1 + np.log(9 / 3)) * np.array([0, 1.0])
    space = (1 + np.log(5 / 3)) * np.array([1, 1]) / np.sqrt(2)
    rows = np.zeros((8, 2))
    rows[0], rows[1], rows[2] = star + dark, star + (1 + np.log(2)) * space, dark
    rows[6] = star + space
    assert scores_of(model) == pytest.approx(expected(normal(rows), values="likings"), abs=1e-6)


def test_vectors_can_be_trained_on_titles_and_tags(spark: SparkSession, tmp_path: Path) -> None:
    once, again = (
        fit(spark, tmp_path / name, vectors="train", vector_size=3) for name in ("a", "b")
    )
    assert once.info()["words_with_vectors"] == 6
    assert once.width == again.width == once.info()["terms"] + 3
    assert scores_of(once) == scores_of(again)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("star 1 2\ndark 1\n", r"vectors\.txt: line 2 has 1 numbers, and line 1 has 2"),
        ("star 1 2\ndark 1 2 3\n", r"vectors\.txt: line 2 has 3 numbers, and line 1 has 2"),
        ("2 2\nstar 1 2\n", r"vectors\.txt: line 2 has 2 numbers.*there is no header"),
        ("\nstar 1 2\n", r"vectors\.txt: line 1 has no numbers"),
        ("star 1 x\n", r"vectors\.txt: line 1 has what is no finite number"),
        ("other 1 2\n", r"none of the 6 words of titles and tags has a vector"),
        (None, r"vectors\.txt: no file of vectors"),
    ],
)
def test_a_file_that_holds_no_vectors_is_refused(
    spark: SparkSession, tmp_path: Path, text: str | None, words: str
) -> None:
    file = tmp_path / "vectors.txt"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words) as refusal:
        fit(spark, tmp_path / "fit", vectors=str(file))
    assert refusal.value.hint


# -- clusters ---------------------------------------------------------------------------------


def test_mutual_information_and_the_rand_index_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(4)
    for parts in ((3, 4), (1, 5), (6, 1)):
        one, other = (rng.integers(0, n, 60) for n in parts)
        other = np.where(rng.random(60) < 0.5, one % parts[1], other)
        table = np.zeros(parts, np.int64)
        np.add.at(table, (one, other), 1)
        expected_nmi = normalized_mutual_info_score(one, other)
        assert mutual_information(table) == pytest.approx(expected_nmi, abs=1e-12)
        assert adjusted_rand(table) == pytest.approx(adjusted_rand_score(one, other), abs=1e-12)
    same = np.diag([3, 4])
    assert (mutual_information(same), adjusted_rand(same)) == pytest.approx((1, 1))


def test_planted_clusters_are_found_and_their_silhouette_is_that_of_scikit_learn(
    spark: SparkSession,
) -> None:
    rng = np.random.default_rng(5)
    planted = np.arange(60) % 3
    vectors = np.eye(3)[planted] * 4 + rng.normal(0, 0.6, (60, 3))
    rows = [(item, [float(x) for x in row]) for item, row in enumerate(vectors)]
    frame = spark.createDataFrame([*rows, (60, [0.0] * 3)], "item int, factors array<float>")
    clusters, silhouette = clusters_of(frame, count=3, seed=1)
    found = {row.item: row.cluster for row in clusters.collect()}
    # An item without a direction is in no cluster.
    assert sorted(found) == list(range(60))
    labels = np.array([found[item] for item in range(60)])
    assert adjusted_rand_score(planted, labels) == 1
    assert silhouette == pytest.approx(silhouette_score(vectors, labels, metric="cosine"), abs=1e-5)
