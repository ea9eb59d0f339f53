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
    from collections.abc import Iterator, Mapping, Sequence

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
    pairs = Differences(result["differences"])
    by_window = [(window, Scores(window["rows"])) for window in result["results"]]
    models = list(dict.fromkeys(m for _, scores in by_window for m in scores.models))
    best = _best(pooled, metric)
    windows = _windows(by_window, models, metric)
    context = {
        "title": f"recpipe backtest {result['backtest_id']}",
        "verdict": _verdict(result, pooled, pairs, best),
        "metric": label_of(metric),
        "figure": _figure(by_window, models, metric, best, windows),
        "windows": windows,
        "gaps": [(w["window"], w["error"]) for w in result["results"] if w["error"]],
        "pooled": _pooled(pooled, metric),
        "pairs": pairs.of_all(POOLED, pooled.models),
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


def basis_of(pooled: Scores, model: str, metric: str) -> str:
    """What the value of a model over all windows rests on: `3 user-windows of 2 users`."""
    users, rows = pooled.rests_on(model, metric, POOLED) or (None, None)
    return f"{whole(rows)} user-windows of {whole(users)} users"


def not_pooled(metric: str) -> str:
    """Why there is no value over all windows, where the metric has none; else empty."""
    of_lists = "@" in metric
    return "" if of_lists else "Metrics of predicted ratings are not pooled."


def _verdict(result: Mapping[str, Any], pooled: Scores, pairs: Differences, best: str) -> Verdict:
    metric = str(result["metric"])
    windows = result["results"]
    failed = [window for window in windows if window["error"]]
    sentences = []
    if best:
        found = estimate(pooled, best, metric, POOLED, chosen=best)
        places = [w["ranks"][best] for w in windows if best in w["ranks"]]
        first = sum(place == 1 for place in places)
        side = "Highest" if metric_at(metric)[0].sign > 0 else "Lowest"
        sentences.append(
            f"{side} pooled {label_of(metric)}: {best} with {in_words(found)}, over"
            f" {basis_of(pooled, best, metric)}; first in {first} of {len(places)} windows."
        )
        sentences += _significance(best, [m for m in pooled.models if m != best], pairs)
    sentences += filter(None, [not_pooled(metric)])
    warnings = [f"window {window['window']} has no result" for window in failed]
    return Verdict(
        "warned" if failed else "good",
        f"{len(windows) - len(failed)} of {len(windows)} windows were evaluated.",
        sentences,
        warnings,
    )


def _significance(best: str, others: Sequence[str], pairs: Differences) -> Iterator[str]:
    """Than which models the best is shown to be better, and than which it is not."""
    found = {other: pairs.of(best, other, POOLED) for other in others}
    shown = [other for other, pair in found.items() if pair is not None and pair.shown]
    rest = [other for other in others if other not in shown]
    if shown:
        yield f"It is shown to be better than {', '.join(shown)}."
    if rest:
        yield f"No difference is shown between it and {', '.join(rest)}."


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
        users = scores.users("test", ranking="@" in metric)
        cells = [whole(window["train_rows"]), whole(users)]
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


__all__ = ["POOLED", "basis_of", "not_pooled", "render_backtest"]
