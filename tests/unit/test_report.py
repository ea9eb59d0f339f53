"""The page: what it says first, what it marks, and that nothing of a source is markup in it."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recpipe.publish.profile import Profile, Rated, Recommended
from recpipe.report import Item, ItemVectors, render
from recpipe.report.blend import blend_table
from recpipe.report.differences import Differences
from recpipe.report.items import item_map, neighbours, principal_plane
from recpipe.report.learning import learning_curve
from recpipe.report.numbers import NONE, decimal, instant, percent, seconds, whole
from recpipe.report.plots.style import COLOURS, spread
from recpipe.report.scores import Scores, lists_of, ratings_of

if TYPE_CHECKING:
    from collections.abc import Sequence

VOID = {"meta", "br"}


def row(model: str, metric: str, value: float, **more: Any) -> dict[str, Any]:
    name, _, k = metric.partition("@")
    usual = {"split": "validation", "fold": None, "users": 150, "rows": 400}
    return {"model": model, "metric": name, "k": int(k) if k else None, "value": value} | (
        usual | more
    )


def difference(
    model: str,
    other: str,
    value: float,
    ends: tuple[float, float],
    *,
    p: float,
    split: str = "validation",
) -> dict[str, Any]:
    return {
        "metric": "ndcg@10",
        "split": split,
        "model": model,
        "other": other,
        "value": value,
        "ci_low": ends[0],
        "ci_high": ends[1],
        "users": 150,
        "p": p,
        "p_holm": p,
        "shown": p <= 0.05,
    }


METRICS: dict[str, Any] = {
    "definitions": {"ndcg": "gain with <binary> relevance"},
    "rows": [
        row("sgd", "rmse", 0.90),
        row("biases", "rmse", 0.80),
        row("sgd", "rmse", 0.70, split="validation_common"),
        row("biases", "rmse", 0.75, split="validation_common"),
        row("sgd", "ndcg@10", 0.060),
        row("biases", "ndcg@10", 0.050),
        row("popularity", "ndcg@10", 0.040),
        row("sgd", "ndcg@10", 0.055, split="test", users=140, ci_low=0.05, ci_high=0.06),
        row("popularity", "ndcg@10", 0.050, split="test", users=140),
        row("sgd", "ndcg@5", 0.033),
    ],
    "differences": [
        difference("sgd", "biases", 0.010, (0.004, 0.016), p=0.001),
        difference("popularity", "sgd", -0.020, (-0.026, -0.014), p=0.001),
        difference("biases", "popularity", 0.010, (-0.004, 0.024), p=0.21),
        difference("sgd", "popularity", 0.005, (-0.001, 0.011), p=0.08, split="test"),
    ],
}
CURVE = [
    {"epoch": 1, "train_rmse": 0.95, "validation_rmse": 0.97, "learning_rate": 0.02},
    {"epoch": 2, "train_rmse": 0.85, "validation_rmse": 0.90, "learning_rate": 0.02},
    {"epoch": 3, "train_rmse": 0.80, "validation_rmse": 0.92, "learning_rate": 0.02},
]
MANIFEST: dict[str, Any] = {
    "run_id": "r1",
    "run_date": "2026-11-21",
    "status": "finished",
    "stage": "publish",
    "code_version": "0.1.0+gabc",
    "settings": {"seed": 42, "evaluate": {"ks": [5, 10]}, "split": {"test_from": None}},
    "settings_hash": "0123456789abcdef",
    "seed": 42,
    "versions": {"spark": "4.2.0"},
    "input": {
        "format": "MovieLens (.csv)",
        "fingerprint": "f" * 64,
        "ratings": {
            "rows": 1010,
            "kept": 1000,
            "rejected": 7,
            "superseded": 3,
            "reasons": {"off the scale": 7},
        },
    },
    "split": {
        "strategy": "global_time",
        "cutoffs": {"validation_from": "2016-03-22T08:26:11+00:00"},
        "folds": [None],
        "parts": [
            {
                "fold": None,
                "rows_in": 1000,
                "parts": {"train": {"rows": 801, "users": 90, "items": 70}},
                "cold_users": 12,
                "cold_items": 34,
                "dropped_rows": {"cold_users": 56, "cold_items": 0},
            }
        ],
    },
    "models": {
        "sgd": {"folds": [{"seconds": 75.0, "info": {"blocks": 2, "learning_curve": CURVE}}]}
    },
    "chosen": {
        "model": "sgd",
        "metric": "ndcg@10",
        "value": 0.06,
        "runner_up": "biases",
        "lead": 0.01,
        "users": 150,
        "automatic": True,
        "warnings": [],
        "verdict": "sgd: NDCG@10 0.0600, popularity 0.0400; better by 0.0200 (0.0140 to 0.0260)"
        " on 150 users",
    },
    "recommended": "sgd",
    "fallbacks": [],
    "gates": [{"gate": "output contract", "verdict": "passed", "detail": "all well"}],
    "output": {"rows": 1500, "users": 150, "files": [{}], "path": "published/x"},
    "timings": {"train": 61.0},
}


DATA: dict[str, Any] = {
    "ratings": 1000, "users": 90, "items": 70, "density": 0.159, "mean": 3.5,
    "first": "1996-03-29T18:36:55+00:00", "last": "2018-09-24T14:27:30+00:00",
    "by_value": [{"low": 0.5, "high": 0.5, "holds": 300}, {"low": 5, "high": 5, "holds": 700}],
    "per_user": {
        "lowest": 1, "quartiles": [2, 9, 30], "mean": 11.1, "highest": 40,
        "bins": [{"low": 1, "high": 2, "holds": 80}, {"low": 2, "high": 5, "holds": 10}],
    },
    "per_item": {
        "lowest": 1, "quartiles": [1, 1, 3], "mean": 14.3, "highest": 90,
        "bins": [{"low": 1, "high": 2, "holds": 70}],
    },
    "popularity": [[0, 0], [0.1, 0.4], [0.2, 0.7], [1, 1]],
    "unit": "year",
    "over_time": [{"begins": "1996-01-01", "ratings": 400},
                  {"begins": "1997-01-01", "ratings": 600}],
    "ratings_by_year": {"1996": 400, "1997": 600},
    "genres": [
        {"name": "Drama <i>", "items": 50, "ratings": 800, "by_year": {"1996": 200, "1997": 600}},
        {"name": "Comedy", "items": 20, "ratings": 200, "by_year": {"1996": 200}},
    ],
    "tags": {"taggings": 5, "distinct": 2, "users": 2, "items": 2, "most_used": [["slow", 3]]},
    "cold": {
        "cutoff": "2016-01-01T00:00:00+00:00", "users": 12, "items": 34, "ratings": 100,
        "ratings_of_cold_users": 80, "ratings_of_cold_items": 40,
    },
    "refused": {"rows": 1010, "kept": 1000, "rejected": 7, "superseded": 3,
                "reasons": {"off the scale": 7}},
}  # fmt: skip


def profile(*, title: str | None = "Heat (1995)", source: str = "sgd") -> Profile:
    at = datetime(2020, 1, 1, tzinfo=UTC)
    return Profile(
        user_id="u<1>",
        ratings=1234,
        best=(Rated("7", title, 4.5, at),),
        latest=(),
        recommendations=(Recommended(1, "8", title, 0.5, source),),
        run_date=date(2026, 11, 21),
    )


def changed(**sections: Any) -> dict[str, Any]:
    return copy.deepcopy(MANIFEST) | sections


@dataclass
class Cell:
    tag: str
    classes: str
    text: str


class Page(HTMLParser):
    """The elements of a page with their text, and a check that every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[Cell] = []
        self.cells: list[Cell] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.attributes += given.items()
        if tag not in VOID:
            self.open.append(Cell(tag, given.get("class", ""), ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        cell = self.open.pop()
        assert cell.tag == tag
        self.cells.append(cell)
        if self.open and tag != "style":
            self.open[-1].text += cell.text + ("" if tag in {"strong", "span"} else " ")

    def handle_data(self, data: str) -> None:
        if self.open:
            self.open[-1].text += data

    def texts(self, tag: str, classes: str = "") -> list[str]:
        return (
            [
                " ".join(c.text.split())
                for c in self.cells
                if c.tag == tag and classes in c.classes.split(" ")
            ]
            if classes
            else [" ".join(c.text.split()) for c in self.cells if c.tag == tag]
        )

    @property
    def text(self) -> str:
        return self.texts("body")[0]

    @property
    def verdict(self) -> str:
        return self.texts("section", "verdict")[0]


def page(
    manifest: dict[str, Any] = MANIFEST,
    metrics: dict[str, Any] = METRICS,
    people: Sequence[Profile] = (),
) -> Page:
    return Page(render(manifest, metrics=metrics, people=people))


def test_the_verdict_comes_first_and_says_what_was_chosen_how_surely_and_what_was_checked() -> None:
    found = page()
    assert found.texts("p")[0] == "Published: the lists of sgd for 150 users."
    assert (
        "On validation, sgd: NDCG@10 0.0600, popularity 0.0400; better by 0.0200 (0.0140 to"
        " 0.0260) on 150 users." in found.verdict
    )
    assert (
        "On test, which no choice has seen, sgd reaches NDCG@10 0.0550 (0.0500 to 0.0600; 140"
        " users)." in found.verdict
    )
    assert (
        "Popularity reaches 0.0500 there: no difference shown (+0.0050, -0.0010 to 0.0110)."
        in found.verdict
    )
    assert "Check passed, output contract: all well" in found.verdict
    assert "Warning" not in found.verdict
    assert found.texts("section", "good")


def test_without_differences_the_values_are_put_beside_each_other() -> None:
    said = page(metrics={"rows": METRICS["rows"]}).verdict
    assert "That is 0.0050 more than popularity on test (0.0500, +10 %)." in said


def test_warnings_and_fallbacks_are_in_the_verdict() -> None:
    manifest = changed(
        chosen=MANIFEST["chosen"] | {"warnings": ["rests on 21 users, fewer than 100"]},
        fallbacks=[{"failed": "als_implicit", "used": "sgd", "error": "FitError: no <memory>"}],
    )
    found = page(manifest)
    assert "Warning: rests on 21 users, fewer than 100" in found.verdict
    assert (
        "Warning: als_implicit could not be fitted and sgd took its place: FitError: no <memory>"
        in found.verdict
    )
    assert found.texts("section", "warned")
    assert not found.texts("section", "good")


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"status": "refused", "stage": "train", "error": "LeakError: 3 users"},
         "Refused in train: LeakError: 3 users. Nothing was published."),
        ({"status": "failed", "stage": "split"}, "Failed in split: no reason was recorded."),
        ({"status": "running", "stage": "train"}, "Not finished: train came last."),
    ],
)  # fmt: skip
def test_a_run_that_did_not_finish_says_so_and_why(sections: dict[str, Any], says: str) -> None:
    found = page({"run_id": "r2", **sections}, metrics={})
    assert found.verdict.startswith(says)
    assert not found.texts("table")


def test_a_refused_gate_is_named() -> None:
    gate = {"gate": "output contract", "verdict": "refused", "detail": "2 users have seen items"}
    found = page(changed(status="refused", error="ContractError: x", gates=[gate], output=None))
    assert "the gate 'output contract' refused: 2 users have seen items" in found.verdict


def test_of_errors_popularity_has_none_to_put_beside() -> None:
    chosen = MANIFEST["chosen"] | {"metric": "rmse", "value": 0.70, "lead": 0.05, "verdict": ""}
    rows = [*METRICS["rows"], row("sgd", "rmse", 0.8, split="test")]
    said = page(changed(chosen=chosen), {"rows": rows}).verdict
    assert "sgd reaches RMSE 0.8000" in said
    assert "popularity" not in said


def test_the_best_of_each_column_is_bold_and_the_lowest_rmse_wins() -> None:
    # RMSE over common pairs: there sgd is better, over all pairs biases would be.
    rows = {"rows": METRICS["rows"]}
    assert page(metrics=rows).texts("td", "best") == ["0.0550", "0.0600", "0.7000"]
    assert "RMSE: over the pairs that all of these models predict." in page().text
    only_all = {"rows": [r for r in METRICS["rows"] if not r["split"].endswith("_common")]}
    found = page(metrics=only_all)
    assert found.texts("td", "best") == ["0.0550", "0.0600", "0.8000"]
    assert "RMSE: over the pairs that each model predicts." in found.text


def test_coverage_stands_beside_errors_and_nobody_wins_by_it() -> None:
    rows = [
        row("sgd", "rmse", 0.9), row("biases", "rmse", 0.8),
        row("sgd", "rmse", 0.7, split="validation_common"),
        row("biases", "rmse", 0.75, split="validation_common"),
        row("sgd", "prediction_coverage", 0.6), row("biases", "prediction_coverage", 1.0),
        row("sgd", "prediction_coverage", 0.6, split="validation_common"),
        row("biases", "prediction_coverage", 0.6, split="validation_common"),
    ]  # fmt: skip
    table = Scores(rows).table("validation", ratings_of())
    assert table is not None
    assert table.columns == ["RMSE", "predicted"]
    cells = {model: [(cell.text, cell.best) for cell in line] for model, line in table.rows}
    assert cells == {
        "sgd": [("0.7000", True), ("0.6000", False)],
        "biases": [("0.7500", False), ("1.0000", False)],
    }
    assert list(table.notes) == [
        "RMSE: over the pairs that all of these models predict.",
        "Predicted: the share of all pairs that a model predicts.",
    ]


def test_lists_and_ratings_are_tables_of_their_own_in_the_order_of_the_models() -> None:
    models: dict[str, Any] = {"popularity": {}, "biases": {}, "sgd": {}}
    found = page(changed(models=models))
    assert "model NDCG popularity 0.0500 sgd 0.0550" in found.texts("table")
    assert "model NDCG popularity 0.0400 biases 0.0500 sgd 0.0600" in found.texts("table")
    assert "model RMSE biases 0.7500 sgd 0.7000" in found.texts("table")


def test_a_model_without_a_metric_has_a_dash_and_other_lengths_fold_out() -> None:
    rows = [*METRICS["rows"], row("biases", "mrr@10", 0.1)]
    found = page(metrics={"rows": rows})
    assert NONE in found.texts("td")
    folded = [text for text in found.texts("details") if text.startswith("Lists of 5")]
    assert len(folded) == 1
    assert "0.0330" in folded[0]


def test_folds_are_averaged_and_said() -> None:
    rows = [row("sgd", "ndcg@10", v, fold=i, users=10 + i) for i, v in enumerate((0.1, 0.2, 0.6))]
    scores = Scores(rows)
    assert scores.value("sgd", "ndcg@10", "validation") == pytest.approx(0.3)
    table = scores.table("validation", lists_of(10))
    assert table is not None
    assert "Means over 3 folds." in table.notes
    assert "Lists: 12 users with a relevant item in the largest fold." in table.notes


def test_nothing_of_a_source_becomes_markup() -> None:
    hostile = "<script>alert('1')</script>\"><img src=x onerror=y>"
    manifest = changed(
        input=MANIFEST["input"] | {"format": hostile},
        settings={"storage": {"format": hostile}},
        run_id=hostile,
        error=hostile,
        status="failed",
    )
    html = render(manifest, metrics=METRICS, people=[profile(title=hostile, source=hostile)])
    assert "<script" not in html
    assert "<img" not in html
    assert html.count("&lt;script&gt;") >= 6
    assert hostile in Page(html).text


def test_the_page_needs_nothing_but_itself() -> None:
    html = render(MANIFEST, metrics=METRICS, people=[profile()], items=vectors())
    found = Page(html)
    assert {name for name, _ in found.attributes}.isdisjoint({"src", "onclick", "onload"})
    ids = [value for name, value in found.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {v[1:] for name, v in found.attributes if name == "href" and v[0] == "#"} <= set(ids)
    assert not re.search(r"https?://|url\((?!#)|@import|href=.?[^\"#]|<script", html)
    assert "default-src 'none'" in html


def test_the_data_are_shown_in_numbers_and_pictures() -> None:
    html = render(MANIFEST, metrics={}, people=[], data=DATA)
    found = Page(html)
    (numbers,) = (text for text in found.texts("table") if text.startswith("what number"))
    assert "ratings of a user 9 in the middle, half between 2 and 30; 1 to 40, mean 11.1" in numbers
    assert "cold: users who begin then 12, with 80 of these ratings" in numbers
    assert found.texts("figcaption")[-7:] == [
        "Ratings by value", "Ratings of a user", "Ratings of an item", "Ratings by year",
        "What the most rated items have", "Ratings by genre", "Genres over time",
    ]  # fmt: skip
    tables = found.texts("table")
    assert "ratings users 1 80 2 to 4 10" in tables
    assert "year Drama <i> Comedy 1996 50 % 50 % 1997 100 % 0 %" in tables
    assert "tag, of 2 taggings slow 3" in tables
    assert "<i>" not in html


@pytest.mark.parametrize(
    "missing", ["per_user", "popularity", "over_time", "genres", "tags", "cold", "mean", "first"]
)
def test_a_source_that_lacks_something_has_a_page_without_it(missing: str) -> None:
    for empty in ({**DATA, missing: None}, {k: v for k, v in DATA.items() if k != missing}):
        Page(render(MANIFEST, metrics={}, people=[], data=empty))


def test_the_same_run_gives_the_same_page() -> None:
    one, other = (render(MANIFEST, metrics=METRICS, people=[], items=vectors()) for _ in "ab")
    assert one == other


def test_every_picture_says_what_it_shows_and_has_its_numbers_in_a_table() -> None:
    html = render(MANIFEST, metrics=METRICS, people=[], items=vectors())
    labels = re.findall(r'<svg [^>]*role="img" aria-label="([^"]+)"', html)
    assert len(labels) == html.count("<svg ")
    assert "NDCG@10 on validation of 3 models; highest: sgd with 0.0600." in labels
    found = Page(html)
    assert all("the numbers" in text for text in found.texts("figure"))
    assert "model NDCG@10 95 % interval sgd 0.0550 0.0500 to 0.0600 popularity 0.0500 –" in (  # noqa: RUF001
        found.texts("table")
    )


def test_the_contents_name_the_chapters_that_there_are() -> None:
    found = page()
    contents = found.texts("nav")[0]
    assert contents.startswith("How good the models are How models learned")
    assert "What people get" not in contents
    assert found.texts("h2") == [*filter(None, found.texts("a"))]


CLUSTERS = {
    "count": 2,
    "items": 9,
    "silhouette": 0.31,
    "nmi": 0.4,
    "ari": 0.2,
    "rows": [
        {"size": 6, "genres": [["Drama", 0.5]], "words": ["<b>sad"], "titles": ["Heat", "Up"]},
        {"size": 3, "genres": [], "words": [], "titles": ["item 4"]},
    ],
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "hold together loosely, and they agree in part with the genres. They mean something"),
        ({"silhouette": 0.6, "ari": 0.6}, "hold together well, and they largely agree with"),
        ({"silhouette": 0.1}, "Read them as parts of a continuum"),
        ({"ari": 0.01}, "by something other than genre"),
        ({"silhouette": 0.1, "ari": 0.0}, "Do not read much into them."),
        ({"ari": None, "nmi": None}, "No genres are known to compare them with."),
        ({"silhouette": None}, "too few to say whether they stand apart, and they agree in part"),
    ],
)
def test_clusters_say_whether_they_mean_anything(changes: dict[str, Any], words: str) -> None:
    manifest = copy.deepcopy(MANIFEST)
    manifest["final"] = {"content": {"info": {"clusters": CLUSTERS | changes}}}
    found = Page(render(manifest, metrics=METRICS, people=[]))
    (said,) = [text for text in found.texts("p") if text.startswith("2 clusters of 9 items")]
    assert words in said
    cells = "6 Drama 50 % <b>sad Heat; Up 3 item 4"
    assert any(" ".join(text.split()).endswith(cells) for text in found.texts("table"))


def test_people_have_what_they_liked_next_to_their_list() -> None:
    people = [profile(), profile(title=None, source="popularity")]
    first, second = page(people=people).texts("section", "person")
    assert first == "User u<1>, 1,234 ratings Liked most Heat (1995) 4.5 Recommended Heat (1995)"
    assert "item 7" in second
    assert "item 8 (from popularity)" in second


def test_liked_most_has_likings_alone() -> None:
    at = datetime(2020, 1, 1, tzinfo=UTC)
    best = tuple(Rated(name, name, rating, at) for name, rating in
                 [("loved", 5.0), ("liked", 4.0), ("endured", 3.5), ("hated", 0.5)])  # fmt: skip
    settings = {"evaluate": {"relevance_threshold": 4.0}}
    people = [replace(profile(), best=best), replace(profile(), best=best[2:])]
    some, none = page(changed(settings=settings), people=people).texts("section", "person")
    assert "Liked most loved 5.0 liked 4.0 Recommended" in some
    assert "Liked most nothing rated 4.0 or more Recommended" in none
    # Where no rating says what a liking is, the best rated stand there.
    assert "hated" in page(people=people).texts("section", "person")[0]


def test_rows_parts_and_cold_counts_are_there() -> None:
    text = page().text
    assert "1,010 rows = 1,000 kept + 7 rejected + 3 superseded" in text
    assert "off the scale 7" in text
    assert "12 users and 34 items have no row in train. 56 rows were left out" in text
    assert "train 801 90 70" in text
    assert "Validation starts 2016-03-22 08:26:11 UTC." in text
    assert "train 1 min 1 s" in text
    assert "sgd 1 min 15 s blocks 2" in text
    assert "evaluate.ks 5, 10" in text


def test_every_fold_has_its_counts() -> None:
    fold = MANIFEST["split"]["parts"][0]
    split = MANIFEST["split"] | {
        "strategy": "k_fold",
        "parts": [fold | {"fold": i} for i in (0, 1)],
    }
    assert [t for t in page(changed(split=split)).texts("h3") if "fold" in t] == [
        "Split by k_fold, fold 0",
        "Split by k_fold, fold 1",
    ]


@settings(max_examples=25, deadline=None)
@given(removed=st.sets(st.sampled_from(sorted(MANIFEST))), evaluated=st.booleans())
def test_any_part_of_the_manifest_may_be_missing(removed: set[str], evaluated: bool) -> None:
    manifest = {key: value for key, value in MANIFEST.items() if key not in removed}
    html = render(manifest, metrics=METRICS if evaluated else {}, people=[profile()])
    Page(html)


def test_no_value_is_ever_nan() -> None:
    metrics = {"rows": [*METRICS["rows"], row("bad", "ndcg@10", float("nan"))]}
    manifest = changed(
        timings={"train": float("nan")},
        models={"sgd": {"folds": [{"seconds": None, "info": {
            "mean": float("inf"),
            "learning_curve": [*CURVE, {"epoch": 4, "train_rmse": float("nan")}]}}]}},
    )  # fmt: skip
    # The manifest as it is comes last; a real one is JSON, which has no NaN.
    text = Page(render(manifest, metrics=metrics, people=[])).text.partition("The manifest")[0]
    assert not re.search(r"\b(nan|inf|infinity|none)\b", text.lower())


def test_the_chosen_model_is_compared_with_each_other_in_words() -> None:
    pairs = Differences(METRICS["differences"])
    table = pairs.seen_from("sgd", ["popularity", "sgd", "biases"])
    assert table is not None
    assert list(table.columns) == ["on validation", "on test"]
    cells = {name: [(cell.text, cell.best) for cell in line] for name, line in table.rows}
    assert cells == {
        "popularity": [
            ("better by 0.0200 (0.0140 to 0.0260)", True),
            ("no difference shown (+0.0050, -0.0010 to 0.0110)", False),
        ],
        "biases": [("better by 0.0100 (0.0040 to 0.0160)", True), (NONE, False)],
    }
    worse = pairs.of("popularity", "sgd", "validation")
    assert str(worse) == "worse by 0.0200 (0.0140 to 0.0260)"
    assert pairs.seen_from("ease", ["sgd"]) is None


def test_the_page_says_that_its_table_is_corrected_and_the_choice_is_not() -> None:
    """Else a verdict of "better" beside "no difference shown" of one pair would contradict it."""
    text = page().text
    assert "corrected by Holm for all pairs of the part, is at most 0.05" in text
    assert "The choice goes by intervals, which are not corrected" in text


def test_every_pair_is_told_from_the_better_side_with_its_p() -> None:
    table = Differences(METRICS["differences"]).of_all("validation", ["popularity", "biases"])
    assert table is not None
    rows = [(name, [cell.text for cell in line]) for name, line in table.rows]
    said = "no difference shown (+0.0100, -0.0040 to 0.0240)"
    assert rows == [("biases", ["popularity", said, "0.210"])]


def test_metrics_at_each_length_have_a_picture_where_there_is_more_than_one() -> None:
    more = [row("sgd", f"{m}@{k}", 0.01 * k, split="test") for m in ("precision", "recall")
            for k in (5, 10)]  # fmt: skip
    titles = page(metrics={"rows": [*METRICS["rows"], *more]}).texts("figcaption")
    assert {"precision at k, test", "recall at k, test", "Precision and recall, test"} <= set(
        titles
    )
    # Of NDCG on test there is one length.
    assert "NDCG at k, test" not in titles


def test_the_curve_says_the_lowest_validation_rmse() -> None:
    figure = learning_curve("sgd", [CURVE])
    assert figure is not None
    assert "the lowest on validation is 0.9000 after epoch 2" in figure.svg
    assert [(name, [cell.text for cell in cells]) for name, cells in figure.table.rows] == [
        ("1", ["0.9500", "0.9700"]), ("2", ["0.8500", "0.9000"]), ("3", ["0.8000", "0.9200"]),
    ]  # fmt: skip


@pytest.mark.parametrize("curves", [[], [[]], [CURVE[:1]], [[{"epoch": 1}, {"epoch": 2}]]])
def test_without_two_points_there_is_no_curve(curves: list[list[dict[str, float]]]) -> None:
    assert learning_curve("sgd", curves) is None


def vectors(items: int = 12, factors: int = 4) -> ItemVectors:
    """Two kinds of items, each near its own direction."""
    random = np.random.default_rng(3)
    found = random.normal(0, 0.1, (items, factors))
    found[: items // 2, 0] += 3
    found[items // 2 :, 1] += 3
    genres = [("Drama",) if i < items // 2 else ("Comedy", "Drama") for i in range(items)]
    names = [f"Film <{i}> $x$ (1999)" for i in range(items)]
    known = [
        Item(name, genre, 100 - i)
        for i, (name, genre) in enumerate(zip(names, genres, strict=True))
    ]
    return ItemVectors("als", known, found.astype(np.float32))


def test_the_map_sets_apart_what_the_vectors_set_apart() -> None:
    figure = item_map(vectors())
    assert figure is not None
    across = [float(cells[2].text) for _, cells in figure.table.rows]
    assert max(across[:6]) < min(across[6:]) or min(across[:6]) > max(across[6:])
    assert "Film &lt;0&gt; $x$" in figure.svg
    assert figure.narrow is not None
    assert figure.narrow != figure.svg


def test_neighbours_are_those_of_the_smallest_angle() -> None:
    table = neighbours(vectors())
    assert table is not None
    mine = {f"Film <{i}> $x$ (1999)" for i in range(6)}
    for name, (cell,) in table.rows:
        assert name in mine
        assert {near.rpartition(" ")[0] for near in cell.text.split("; ")} == mine - {name}


@pytest.mark.parametrize(("items", "factors"), [(2, 4), (12, 1)])
def test_without_a_plane_there_is_no_map(items: int, factors: int) -> None:
    few = vectors(12)
    assert item_map(ItemVectors("als", few.items[:items], few.vectors[:items, :factors])) is None


def test_the_plane_is_that_of_a_library_of_principal_components() -> None:
    from sklearn.decomposition import PCA

    rows = np.random.default_rng(5).normal(size=(50, 6)).astype(np.float32)
    places, share = principal_plane(rows)
    theirs = PCA(2, svd_solver="full").fit(rows.astype(np.float64))
    expected = theirs.transform(rows.astype(np.float64))
    np.testing.assert_allclose(np.abs(places), np.abs(expected), atol=1e-5)
    assert share == pytest.approx(theirs.explained_variance_ratio_.sum(), abs=1e-5)


@given(st.lists(st.floats(0, 100), max_size=12))
def test_labels_are_moved_apart_and_keep_their_order(values: list[float]) -> None:
    found = spread(values, gap=4, low=0, high=100)
    order = sorted(range(len(values)), key=lambda place: (values[place], place))
    for lower, upper in pairwise(order):
        assert found[upper] - found[lower] >= 4 - 1e-6
    for value, place in zip(values, found, strict=True):
        alone = all(abs(value - other) > 60 for other in values if other != value)
        if len(values) == 1 or (alone and values.count(value) == 1):
            assert place == pytest.approx(value)


@pytest.mark.parametrize("colour", COLOURS)
def test_every_colour_can_be_read_on_white(colour: str) -> None:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    assert 1.05 / (light + 0.05) >= 4.5


def test_numbers_read_as_a_person_writes_them() -> None:
    assert [decimal(v) for v in (0.03049, None, float("nan"))] == ["0.0305", NONE, NONE]
    assert [whole(v) for v in (100836, 0, None)] == ["100,836", "0", NONE]
    assert [percent(1, 4), percent(-1, 3), percent(1, 0)] == ["+25 %", "-33 %", NONE]
    assert [seconds(v) for v in (0.123, 47.81, 131, 7384.2, None)] == [
        "0.12 s", "47.8 s", "2 min 11 s", "2 h 3 min", NONE,
    ]  # fmt: skip
    assert instant("2020-01-01T00:00:00+00:00") == "2020-01-01 00:00:00 UTC"
    assert instant("never") == "never"


def weak(group: str, model: str, value: float, **more: Any) -> dict[str, Any]:
    usual = {"split": "validation", "by": "activity", "metric": "ndcg@10", "count": 80,
             "of": "users", "small": False, "ci_low": None, "ci_high": None}  # fmt: skip
    return {"model": model, "group": group, "value": value} | usual | more


def test_where_the_chosen_model_is_weak_is_said_and_small_groups_are_marked() -> None:
    rows = [
        weak("300 and more", "sgd", 0.02, ci_low=0.01, ci_high=0.03),
        weak("10 to 29", "sgd", 0.08),
        weak("10 to 29", "popularity", 0.09),
        weak("fewer than 10", "sgd", 0.01, count=7, small=True),
        weak("10 to 29", "biases", 0.5),
    ]
    found = Page(render(MANIFEST, metrics=METRICS, people=[], subgroups=rows))
    assert "Users by how much they have rated: NDCG@10 on validation" in found.text
    assert "Lowest: 300 and more, with 0.0200; not tested against the other groups." in found.text
    assert "7 (few)" in found.text
    assert "0.0100 to 0.0300" in found.text
    # In the order of activity, not of the alphabet.
    assert found.text.index("fewer than 10") < found.text.index(
        "300 and more", found.text.index("group")
    )
    assert "Where the model is weak" not in page().text


def test_the_page_says_what_a_blend_is_made_of_and_what_its_weights_are_worth() -> None:
    def mean(value: float, reach: float | None) -> dict[str, float | None]:
        ends = (None, None) if reach is None else (value - reach, value + reach)
        return {"value": value, "ci_low": ends[0], "ci_high": ends[1]}

    models = [
        {"model": name, "weight": weight, "least_weight": weight / 2, "most_weight": 2 * weight,
         "alone": mean(0.1, 0.01), "difference": mean(0.02, reach)}
        for name, weight, reach in (("sgd", 0.25, None), ("<ease>", 0.75, 0.01))
    ]  # fmt: skip
    found = {"users": 1200, "folds": 5, "metric": "ndcg@10", "blend": mean(0.12, 0.01)}
    info = {"weights": {}, "validated": {**found, "models": models}}
    manifest = {"run_id": "one", "models": {"blend": {"folds": [{"info": info}]}}}
    table = blend_table(manifest)
    assert table is not None
    rows = [(name, [cell.text for cell in cells]) for name, cells in table.rows]
    assert rows == [
        ("<ease>", ["0.7500", "0.3750 to 1.5000", "0.1000 (0.0900 to 0.1100)",
                    "0.0200 (0.0100 to 0.0300)"]),
        ("sgd", ["0.2500", "0.1250 to 0.5000", "0.1000 (0.0900 to 0.1100)", "0.0200"]),
    ]  # fmt: skip
    page = render(manifest, metrics={}, people=[])
    assert "What the blend is made of" in page
    assert "NDCG@10 0.1200 (0.1100 to 0.1300) on 1,200 validation users" in page
    assert "&lt;ease&gt;" in page
    # Weights that were given have not been judged.
    fixed = {"models": {"blend": {"folds": [{"info": {"weights": {"sgd": 1.0}}}]}}}
    assert blend_table(fixed) is None
    assert "What the blend" not in render(fixed, metrics={}, people=[])
