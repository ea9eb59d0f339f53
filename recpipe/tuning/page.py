"""The page about a search: what was found, how it came about, and which settings mattered."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined, Template

from recpipe.models.search import Choices
from recpipe.report import numbers
from recpipe.tuning import plots

if TYPE_CHECKING:
    from recpipe.models.search import Range, Value
    from recpipe.tuning.tuned import Tuned


def render(tuned: Tuned) -> str:
    """The page as one HTML file: no script, no outside resource, everything escaped."""
    return _template().render(
        tuned=tuned,
        settings=[
            (name, _text(tuned.given[name]), _text(tuned.best.settings[name]), _range(each))
            for name, each in tuned.space.ranges.items()
        ],
        trials=[
            (trial, [_text(trial.settings[name]) for name in tuned.space.ranges])
            for trial in tuned.trials
        ],
        course=plots.course(tuned),
        importances=plots.importances(tuned),
        slices=plots.slices(tuned),
        curves=plots.curves(tuned),
    )


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters.update(decimal=numbers.decimal, seconds=numbers.seconds)
    page = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    return environment.from_string(page)


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _range(each: Range) -> str:
    if isinstance(each, Choices):
        return ", ".join(_text(value) for value in each.values)
    return f"{_text(each.low)} to {_text(each.high)}" + (", by powers" if each.log else "")


__all__ = ["render"]
