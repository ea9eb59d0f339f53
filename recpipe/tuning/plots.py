"""Pictures of a search, as SVG that stands in a page: its colours follow the page's."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from recpipe.models.search import Choices
from recpipe.tuning.trials import completed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from recpipe.tuning.trials import Trial
    from recpipe.tuning.tuned import Tuned

# Colours that matplotlib writes into the file, and what the page says for each.
_INK, _POINT, _BEST, _GIVEN, _PRUNED = "#010101", "#020202", "#030303", "#040404", "#050505"
_OF_THE_PAGE = {
    _INK: "var(--soft)",
    _POINT: "var(--point)",
    _BEST: "var(--best)",
    _GIVEN: "var(--given)",
    _PRUNED: "var(--pruned)",
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "recpipe",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
}
_COLUMNS = 3


def course(tuned: Tuned) -> Markup:
    """The value of each trial in their order, the best so far, and that of the given settings."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(8, 3.4), layout="constrained")
        axes = figure.add_subplot()
        done = completed(tuned.trials)
        numbers, values = [trial.number for trial in done], [trial.value or 0.0 for trial in done]
        axes.scatter(numbers, values, color=_POINT, s=22, label="a trial", zorder=3)
        so_far = (np.maximum if tuned.higher_is_better else np.minimum).accumulate(values)
        last = tuned.trials[-1].number
        axes.step([*numbers, last], [*so_far, so_far[-1]], where="post", color=_BEST,
                  label="best so far")  # fmt: skip
        if tuned.given_trial is not None:
            value = tuned.given_trial.value or 0.0
            axes.axhline(value, color=_GIVEN, linestyle="--", label="settings as given")
        gone = [trial.number for trial in tuned.trials if trial.state in {"pruned", "failed"}]
        if gone:
            low = axes.get_ylim()[0]
            axes.scatter(gone, [low] * len(gone), color=_PRUNED, marker="x", clip_on=False,
                         label="given up or failed")  # fmt: skip
        axes.set_xlabel("trial")
        axes.set_ylabel(f"{tuned.label} on validation")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="best", fontsize=9)
        return _svg(figure, f"{tuned.label} of each trial", "course")


def importances(tuned: Tuned) -> Markup | None:
    """A bar for each setting; None where there is nothing to say."""
    if not tuned.importances:
        return None
    names = list(tuned.importances)[::-1]
    with rc_context(_STYLE):
        figure = Figure(figsize=(8, 0.6 + 0.36 * len(names)), layout="constrained")
        axes = figure.add_subplot()
        axes.barh(names, [tuned.importances[name] for name in names], color=_BEST, height=0.6)
        axes.set_xlabel("share of importance")
        return _svg(figure, "how much each setting mattered", "importances")


def slices(tuned: Tuned) -> Markup:
    """The values of the trials against each setting."""
    settings = list(tuned.space.ranges)
    columns = min(_COLUMNS, len(settings))
    rows = -(-len(settings) // columns)
    done = completed(tuned.trials)
    with rc_context(_STYLE):
        figure = Figure(figsize=(8 * columns / _COLUMNS, 2.6 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for axes, setting in zip(grid.flat, settings, strict=False):
            _slice(axes, tuned, done, setting)
        for axes in grid.flat[len(settings) :]:
            axes.set_visible(False)
        for axes in grid[:, 0]:
            axes.set_ylabel(tuned.label)
        return _svg(figure, f"{tuned.label} against each setting", "slices")


def _slice(axes: Axes, tuned: Tuned, done: Sequence[Trial], setting: str) -> None:
    each = tuned.space.ranges[setting]
    known = [trial for trial in done if trial.settings[setting] in each]
    if isinstance(each, Choices):
        places = {value: place for place, value in enumerate(each.values)}
        axes.set_xticks(range(len(places)), [str(value) for value in places])
        axes.set_xlim(-0.5, len(places) - 0.5)
        at: list[Any] = [places[trial.settings[setting]] for trial in known]
    else:
        axes.set_xscale("log" if each.log else "linear")
        axes.set_xlim(each.low, each.high)
        at = [trial.settings[setting] for trial in known]
    values = [trial.value or 0.0 for trial in known]
    colours = [
        _BEST if trial is tuned.best else _GIVEN if trial.given else _POINT for trial in known
    ]
    axes.scatter(at, values, c=colours, s=18, clip_on=False, zorder=3)
    axes.set_xlabel(setting)


def curves(tuned: Tuned) -> Markup | None:
    """The learning curves of a model that learns by epochs; None for any other."""
    learned = [trial for trial in tuned.trials if len(trial.curve) > 1]
    if not learned:
        return None
    with rc_context(_STYLE):
        figure = Figure(figsize=(8, 3.4), layout="constrained")
        axes = figure.add_subplot()
        for trial in learned:
            best, pruned = trial.number == tuned.best.number, trial.state == "pruned"
            colour = _BEST if best else _PRUNED if pruned else _POINT
            epochs = range(1, len(trial.curve) + 1)
            axes.plot(epochs, trial.curve, color=colour, linewidth=2.2 if best else 0.9)
        ends = sorted(min(trial.curve) for trial in learned)
        starts = sorted(trial.curve[0] for trial in learned)
        # One that diverges would leave all others a line at the bottom.
        axes.set_ylim(ends[0] - 0.02, starts[len(starts) // 2] + (starts[0] - ends[0]) / 2 + 0.05)
        axes.set_xlabel("epoch")
        axes.set_ylabel("RMSE on validation")
        return _svg(figure, "RMSE on validation against epochs", "curves")


def _svg(figure: Figure, said: str, name: str) -> Markup:
    """A figure as an `<svg>` without script, outside reference or date.

    Args:
        figure: with the colours of this module.
        said: what the picture shows, for whoever does not see it.
        name: of the picture, distinct in the page.
    """
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for colour, of_page in _OF_THE_PAGE.items():
        svg = svg.replace(colour, of_page)
    # Ids are the page's: those that nothing refers to go, the others get the name of the picture.
    used = set(re.findall(r'(?:xlink:href="|url\()#([^")]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r'((?:xlink:href="|url\()#)', rf"\g<1>{name}-", svg)
    head = f'<svg role="img" aria-label="{said}" class="plot"'
    # Only numbers and our own words are in it: nothing of a source, so nothing to escape.
    return Markup(svg.replace("<svg", head, 1))  # noqa: S704
