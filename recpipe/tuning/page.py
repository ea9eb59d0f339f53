"""The page about a search: what was found, how it came about, and which settings mattered."""

from __future__ import annotations

from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

from recpipe.models.search import Choices
from recpipe.report.figures import Figure
from recpipe.report.numbers import decimal, seconds
from recpipe.report.plots import trials as plots
from recpipe.report.plots.data import rows as rows_of_bars
from recpipe.report.rendering import chapters, page
from recpipe.report.tables import Cell, Table, plain
from recpipe.report.verdict import Verdict
from recpipe.tuning.trials import completed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recpipe.models.search import Range, Value
    from recpipe.tuning.trials import Trial
    from recpipe.tuning.tuned import Tuned

_CHAPTERS = (
    ("best-settings", "The best settings"),
    ("search-course", "The course of the search"),
    ("what-mattered", "Which settings mattered"),
    ("trials-learned", "How trials learned"),
    ("trials", "Every trial"),
)
_HOW = (
    "Every trial was fitted on train and evaluated on validation; nothing of test was read. The"
    " best of many trials looks better on validation than it is: a run with these settings says on"
    " test how good they are."
)


def render(tuned: Tuned) -> str:
    """The page as one HTML file, as that of a run is."""
    context = {
        "title": f"recpipe tune {tuned.model}, on the split of run {tuned.run_id}",
        "verdict": _verdict(tuned),
        "metric": tuned.label,
        "settings": _settings(tuned),
        "course": _course(tuned),
        "mattered": _mattered(tuned),
        "against": list(_against_settings(tuned)),
        "learned": _learned(tuned),
        "trials": _every_trial(tuned),
    }
    return page("page.html", context, chapters(_CHAPTERS, context))


def _verdict(tuned: Tuned) -> Verdict:
    return Verdict(
        # Validation has chosen the settings, so it cannot confirm them.
        "open",
        f"{tuned.headline}.",
        [
            tuned.against_current,
            f"{tuned.counts}. {_HOW}",
        ],
    )


def _settings(tuned: Tuned) -> Table:
    rows = [
        (name, [_text(tuned.current[name]), _text(tuned.best.settings[name]), _range(each)])
        for name, each in tuned.space.ranges.items()
    ]
    return plain(["current", "best", "searched"], rows, head="setting", words=True)


def _course(tuned: Tuned) -> Figure:
    done = completed(tuned.trials)
    values = [trial.value or 0.0 for trial in done]
    so_far = list(accumulate(values, max if tuned.higher_is_better else min))
    gone = [trial.number for trial in tuned.trials if trial.state in {"pruned", "failed"}]
    points = [_point(tuned, trial, trial.number) for trial in done]
    alt = (
        f"{tuned.label} of {len(done)} trials in their order; the best is {tuned.best.label} with"
        f" {decimal(tuned.value)}"
    )
    note = (
        f"{tuned.label} on validation. The line is the best so far, the filled dot the best of all,"
        " the square the current settings."
    )
    return Figure(
        "search-course",
        f"{tuned.label} of each trial",
        partial(
            plots.course, points, so_far, gone, label=tuned.label, key="search-course", alt=alt
        ),
        plain([tuned.label], [(str(t.number), [decimal(t.value)]) for t in done], head="trial"),
        note=note + (" A cross is a trial that was given up or failed." if gone else ""),
    )


def _mattered(tuned: Tuned) -> Figure | None:
    if not tuned.importances:
        return None
    names, shares = list(tuned.importances), list(tuned.importances.values())
    alt = f"share of importance of each setting; {names[0]} comes first with {shares[0]:.2f}"
    return Figure(
        "what-mattered",
        "How much each setting mattered",
        partial(
            rows_of_bars,
            names,
            shares,
            key="what-mattered",
            alt=alt,
            said=partial(decimal, places=2),
        ),
        plain(
            ["share"],
            [(name, [decimal(share, 2)]) for name, share in tuned.importances.items()],
            head="setting",
        ),
        note="How much each setting decides whether a trial is among the best quarter (PED-ANOVA);"
        " the sum is 1.",
    )


def _against_settings(tuned: Tuned) -> Iterator[Figure]:
    for name, each in tuned.space.ranges.items():
        known = [trial for trial in completed(tuned.trials) if trial.settings[name] in each]
        ends: tuple[float, float]
        names: list[str]
        if isinstance(each, Choices):
            ends, log, names = (0, len(each.values) - 1), False, [_text(v) for v in each.values]
        else:
            ends, log, names = (each.low, each.high), each.log, []
        key = f"setting-{name.replace('_', '-')}"
        draw = partial(
            plots.against_setting,
            [_point(tuned, trial, _place(each, trial.settings[name])) for trial in known],
            ends=ends,
            log=log,
            names=names,
            label=tuned.label,
            key=key,
            alt=f"{tuned.label} of {len(known)} trials against {name}; the best has"
            f" {_text(tuned.best.settings[name])}",
        )
        rows = [(str(t.number), [_text(t.settings[name]), decimal(t.value)]) for t in known]
        yield Figure(key, name, draw, plain([name, tuned.label], rows, head="trial"))


def _learned(tuned: Tuned) -> Figure | None:
    trials = [trial for trial in tuned.trials if len(trial.curve) > 1]
    if not trials:
        return None
    curves = [
        plots.Learned(t.curve, t.number == tuned.best.number, t.state == "pruned") for t in trials
    ]
    alt = f"RMSE on validation against epochs of {len(trials)} trials"
    epochs = max(len(trial.curve) for trial in trials)
    rows = [
        (str(epoch + 1), [decimal(t.curve[epoch]) if epoch < len(t.curve) else "" for t in trials])
        for epoch in range(epochs)
    ]
    return Figure(
        "trials-learned",
        "RMSE on validation after each epoch",
        partial(plots.learned, curves, key="trials-learned", alt=alt),
        plain([trial.label for trial in trials], rows, head="epoch"),
        note="The best trial is the thick line; those that were given up are dashed.",
    )


def _every_trial(tuned: Tuned) -> Table:
    rows = []
    for trial in tuned.trials:
        name = f"{trial.number}, current" if trial.current else str(trial.number)
        texts = [
            decimal(trial.value),
            *(_text(trial.settings[setting]) for setting in tuned.space.ranges),
            seconds(trial.seconds),
            _became(trial),
        ]
        best = trial.number == tuned.best.number
        rows.append((name, [Cell(text, best) for text in texts]))
    return Table([tuned.label, *tuned.space.ranges, "time", "state"], rows, head="trial")


def _became(trial: Trial) -> str:
    if trial.reason:
        return f"{trial.state}: {trial.reason}"
    return f"pruned after epoch {len(trial.curve)}" if trial.state == "pruned" else trial.state


def _point(tuned: Tuned, trial: Trial, x: float) -> plots.Point:
    return plots.Point(x, trial.value or 0.0, trial.number == tuned.best.number, trial.current)


def _place(each: Range, value: Value) -> float:
    return each.values.index(value) if isinstance(each, Choices) else float(value)


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _range(each: Range) -> str:
    if isinstance(each, Choices):
        return ", ".join(_text(value) for value in each.values)
    return f"{_text(each.low)} to {_text(each.high)}" + (", log scale" if each.log else "")


__all__ = ["render"]
