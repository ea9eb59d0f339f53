"""The page of a backtest: how models do over time, and how their lists change."""

from __future__ import annotations

from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

from recpipe.evaluation.metrics import label_of, metric_at
from recpipe.report.differences import Differences
from recpipe.report.figures import Figure
from recpipe.report.manifest import section
from recpipe.report.models import estimate, in_words
from recpipe.report.numbers import NONE, decimal, whole
from recpipe.report.plots.lines import Line, over_time
from recpipe.report.rendering import chapters, page
from recpipe.report.scores import Scores
from recpipe.report.tables import Table, plain
from recpipe.report.verdict import Verdict
from recpipe.sections import flat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CHAPTERS = (
    ("over-time", "Over time"),
    ("pooled", "Over all windows"),
    ("stability", "How lists change"),
    ("backtest-settings", "Settings"),
)
POOLED = "pooled"


def render_backtest(result: Mapping[str, Any]) -> str:
    """The page as one HTML file, as that of a run is.

    Args:
        result: what backtest.json says.
    """
    metric = str(result["metric"])
    pooled = Scores(result["pooled"])
    pairs = Differences({**pair, "split": "test"} for pair in result["differences"])
    by_window = [(window, Scores(window["rows"])) for window in result["results"]]
    models = list(dict.fromkeys(m for _, scores in by_window for m in scores.models))
    best = _best(pooled, metric)
    windows = _windows(by_window, models, metric)
    context = {
        "title": f"recpipe backtest {result['backtest_id']}",
        "verdict": _verdict(result, pooled, metric, best),
        "metric": label_of(metric),
        "figure": _figure(by_window, models, metric, best, windows),
        "windows": windows,
        "gaps": [(w["window"], w["error"]) for w in result["results"] if w["error"]],
        "pooled": _pooled(pooled, metric),
        "pairs": pairs.of_all("test", pooled.models),
        "stability": _stability(result["stability"], models),
        "settings": plain(
            ["value"],
            [(name, [str(value)]) for name, value in flat(section(result, "settings"))],
            head="setting",
            words=True,
        ),
    }
    return page("page.html", context, chapters(_CHAPTERS, context))


def _best(pooled: Scores, metric: str) -> str:
    """The model with the best value over all windows; empty where there is none."""
    sign = metric_at(metric)[0].sign
    values = {m: pooled.value(m, metric, POOLED) for m in pooled.models}
    known = {m: sign * value for m, value in values.items() if value is not None}
    return max(known, key=lambda m: known[m]) if known else ""


def _verdict(result: Mapping[str, Any], pooled: Scores, metric: str, best: str) -> Verdict:
    windows = result["results"]
    failed = [window for window in windows if window["error"]]
    sentences = []
    if best:
        found = estimate(pooled, best, metric, POOLED, chosen=best)
        places = [w["ranks"][best] for w in windows if best in w["ranks"]]
        first = sum(place == 1 for place in places)
        users = pooled.users(POOLED)
        sentences.append(
            f"Best over all windows by {label_of(metric)}: {best} with {in_words(found)}, over"
            f" {whole(users)} users of windows; first in {first} of {len(places)} windows."
        )
    warnings = [f"window {window['window']} has no result" for window in failed]
    return Verdict(
        "warned" if failed else "good",
        f"{len(windows) - len(failed)} of {len(windows)} windows were evaluated.",
        sentences,
        warnings,
    )


def _figure(
    by_window: Sequence[tuple[Mapping[str, Any], Scores]],
    models: Sequence[str],
    metric: str,
    best: str,
    windows: Table,
) -> Figure | None:
    lines = []
    for model in models:
        found = {
            place: one
            for place, (_, scores) in enumerate(by_window)
            if (one := estimate(scores, model, metric, "test", chosen=best)) is not None
        }
        if found:
            lines.append(Line(model, found, marked=model == best))
    if not lines:
        return None
    days = [str(window["test_from"])[:10] for window, _ in by_window]
    title = f"{label_of(metric)} of each window"
    return Figure(
        key="over-time",
        title=title,
        draw=partial(over_time, lines, days, key="over-time", alt=f"{title}, a line a model"),
        table=windows,
        note="Vertical lines are 95 % intervals over users.",
    )


def _windows(
    by_window: Sequence[tuple[Mapping[str, Any], Scores]], models: Sequence[str], metric: str
) -> Table:
    rows = []
    for window, scores in by_window:
        cells = [whole(window["train_rows"]), whole(scores.users("test"))]
        for model in models:
            value = scores.value(model, metric, "test")
            place = window["ranks"].get(model)
            cells.append(NONE if value is None else f"{decimal(value)} ({place})")
        rows.append((f"{window['test_from'][:16].replace('T', ' ')}", cells))
    return plain(["rows of train", "users", *models], rows, head="test from")


def _pooled(pooled: Scores, metric: str) -> Table | None:
    rows = [
        (model, [in_words(found)])
        for model in pooled.models
        if (found := estimate(pooled, model, metric, POOLED, chosen="")) is not None
    ]
    return plain([label_of(metric)], rows) if rows else None


def _stability(entries: Sequence[Mapping[str, Any]], models: Sequence[str]) -> Table | None:
    rows = []
    for model in models:
        mine = [entry for entry in entries if entry["model"] == model]
        if mine:
            rbo, churn = (fmean(entry[name] for entry in mine) for name in ("rbo", "churn"))
            users = whole(sum(entry["users"] for entry in mine))
            rows.append((model, [f"{churn:.0%}", decimal(rbo), users]))
    columns = ["places that change", "rank-biased overlap", "pairs of lists"]
    return plain(columns, rows) if rows else None


__all__ = ["render_backtest"]
