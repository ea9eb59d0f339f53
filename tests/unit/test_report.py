"""The page: what it says first, what it marks, and that nothing of a source is markup in it."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recpipe.publish.profile import Profile, Rated, Recommended
from recpipe.report import render
from recpipe.report.curve import learning_curve
from recpipe.report.numbers import NONE, decimal, instant, percent, seconds, whole
from recpipe.report.scores import Scores, lists_of, ratings_of

if TYPE_CHECKING:
    from collections.abc import Sequence

VOID = {"meta", "br", "line", "circle", "polyline"}


def row(model: str, metric: str, value: float, **more: Any) -> dict[str, Any]:
    name, _, k = metric.partition("@")
    usual = {"split": "validation", "fold": None, "users": 150, "rows": 400}
    return {"model": model, "metric": name, "k": int(k) if k else None, "value": value} | (
        usual | more
    )


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
        row("sgd", "ndcg@10", 0.055, split="test", users=140, ci_low=0.0401, ci_high=0.0702),
        row("popularity", "ndcg@10", 0.050, split="test", users=140),
        row("sgd", "ndcg@5", 0.033),
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
        "verdict": "sgd: NDCG@10 0.0600, biases 0.0500; better by 0.0100 (0.0020 to 0.0180) on 150"
        " users",
    },
    "recommended": "sgd",
    "fallbacks": [],
    "gates": [{"gate": "output contract", "verdict": "passed", "detail": "all well"}],
    "output": {"rows": 1500, "users": 150, "files": [{}], "path": "published/x"},
    "timings": {"train": 61.0},
}


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


def test_the_verdict_comes_first_and_says_what_was_chosen_and_how_surely() -> None:
    found = page()
    assert found.texts("p")[0] == "Published: the lists of sgd for 150 users."
    assert f"On validation, {MANIFEST['chosen']['verdict']}." in found.verdict
    assert (
        "On test, which no choice has seen, sgd reaches NDCG@10 0.0550 (0.0401 to 0.0702; 140"
        " users)" in found.verdict
    )
    assert "0.0050 more than popularity on test (0.0500, +10 %)" in found.verdict
    assert "Warning" not in found.verdict
    assert found.texts("section", "good")


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


def test_the_best_of_each_column_is_bold_and_the_lowest_rmse_wins() -> None:
    # RMSE over common pairs: there sgd is better, over all pairs biases would be.
    assert page().texts("td", "best") == ["0.0550", "0.0600", "0.7000"]
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
    assert found.texts("th", "")[:2] == ["model", "NDCG"]
    first, second, third = found.texts("table")[:3]
    assert first.startswith("model NDCG popularity 0.0500 sgd 0.0550")
    assert second.startswith("model NDCG popularity 0.0400 biases 0.0500 sgd 0.0600")
    assert third.startswith("model RMSE biases 0.7500 sgd 0.7000")


def test_a_model_without_a_metric_has_a_dash_and_other_lengths_fold_out() -> None:
    rows = [*METRICS["rows"], row("biases", "mrr@10", 0.1)]
    found = page(metrics={"rows": rows})
    assert NONE in found.texts("td")
    folded = found.texts("details")[0]
    assert folded.startswith("Lists of 5")
    assert "0.0330" in folded


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
    html = render(MANIFEST, metrics=METRICS, people=[profile()])
    found = Page(html)
    assert {name for name, _ in found.attributes}.isdisjoint({"src", "href", "onclick", "onload"})
    assert not re.search(r"https?://|url\(|@import", html)
    assert "default-src 'none'" in html


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
    html = render(manifest, metrics=metrics, people=[]).lower()
    assert not re.search(r"\b(nan|inf|infinity|none)\b(?!;|')", html.split("</style>")[1])


def test_the_curve_marks_the_lowest_validation_rmse() -> None:
    svg = learning_curve([CURVE])
    assert svg is not None
    assert "the lowest on validation is 0.9000 after epoch 2" in svg
    assert svg.count("<polyline") == 2
    circle = re.search(r'<circle class="best" cx="([\d.]+)" cy="([\d.]+)"', svg)
    assert circle is not None
    lines = re.findall(r'<polyline class="validation" points="([^"]+)"', svg)
    points = [tuple(map(float, p.split(","))) for p in lines[0].split()]
    # Down the page is higher in y: the best point is the lowest of the line.
    assert (float(circle[1]), float(circle[2])) == points[1] == max(points, key=lambda p: p[1])


@pytest.mark.parametrize("curves", [[], [[]], [CURVE[:1]], [[{"epoch": 1}, {"epoch": 2}]]])
def test_without_two_points_there_is_no_curve(curves: list[list[dict[str, float]]]) -> None:
    assert learning_curve(curves) is None


@given(
    st.lists(
        st.tuples(st.floats(1e-6, 1e6), st.none() | st.floats(1e-6, 1e6)), min_size=2, max_size=60
    )
)
def test_every_point_of_a_curve_lies_within_the_picture(
    values: list[tuple[float, float | None]],
) -> None:
    svg = learning_curve(
        [
            [
                {"epoch": i + 1, "train_rmse": train, "validation_rmse": validation}
                for i, (train, validation) in enumerate(values)
            ]
        ]
    )
    assert svg is not None
    for line in re.findall(r'points="([^"]+)"', svg):
        for point in line.split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= 480
            assert 0 <= y <= 250


def test_numbers_read_as_a_person_writes_them() -> None:
    assert [decimal(v) for v in (0.03049, None, float("nan"))] == ["0.0305", NONE, NONE]
    assert [whole(v) for v in (100836, 0, None)] == ["100,836", "0", NONE]
    assert [percent(1, 4), percent(-1, 3), percent(1, 0)] == ["+25 %", "-33 %", NONE]
    assert [seconds(v) for v in (0.123, 47.81, 131, 7384.2, None)] == [
        "0.12 s", "47.8 s", "2 min 11 s", "2 h 3 min", NONE,
    ]  # fmt: skip
    assert instant("2020-01-01T00:00:00+00:00") == "2020-01-01 00:00:00 UTC"
    assert instant("never") == "never"
