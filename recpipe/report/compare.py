"""Two runs beside each other on one page."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from recpipe.evaluation.metrics import EXPOSURE, METRICS, RANKING, RATING, label_of
from recpipe.report.differences import Difference, Differences
from recpipe.report.figures import Figure
from recpipe.report.manifest import fits_of, section, splits_of
from recpipe.report.models import estimate, in_words
from recpipe.report.numbers import NONE, decimal, instant, seconds, whole
from recpipe.report.plots.models import Estimate, dots, limits
from recpipe.report.rendering import chapters, page
from recpipe.report.scores import Scores
from recpipe.report.tables import Table, plain
from recpipe.report.verdict import Verdict
from recpipe.sections import flat

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_CHAPTERS = (
    ("side-by-side", "How good they are on test"),
    ("other-settings", "Settings that differ"),
    ("other-data", "Data and split"),
    ("other-times", "How long they took"),
    ("other-code", "Code and libraries"),
)
_USUAL = "ndcg@10"
_SHORT = 12
"""Letters of a digest that tell two apart."""


@dataclass(frozen=True)
class RunRecord:
    """What a run recorded about itself.

    Args:
        manifest: its manifest.
        metrics: metrics.json; empty where nothing was evaluated.
    """

    manifest: Mapping[str, Any]
    metrics: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.manifest.get("run_id", ""))

    @property
    def model(self) -> str:
        """The chosen model; empty where none was chosen."""
        return str(section(self.manifest, "chosen").get("model") or "")

    @property
    def scores(self) -> Scores:
        return Scores(self.metrics.get("rows") or (), order=section(self.manifest, "models"))


@dataclass(frozen=True)
class Comparison:
    """Two runs, and what is known of their difference.

    Args:
        one: the run that the other is compared with, such as yesterday's.
        other: the other.
        difference: how much better the chosen model of `other` is than that of `one`, over the
            same users, as `evaluation.Difference.as_dict` has it; None where that is not known.
        why_not: why it is not known; empty where it is.
    """

    one: RunRecord
    other: RunRecord
    difference: Mapping[str, Any] | None
    why_not: str = ""

    @property
    def runs(self) -> tuple[RunRecord, RunRecord]:
        return self.one, self.other

    @property
    def names(self) -> list[str]:
        """What columns are called: by run."""
        return [self.one.id, self.other.id]

    @property
    def metric(self) -> str:
        """What they are compared by: what the choice of the first was made by."""
        return metric_of(self.one.manifest)


def metric_of(manifest: Mapping[str, Any]) -> str:
    """What the choice of a run was made by."""
    return str(section(manifest, "chosen").get("metric") or _USUAL)


def render_comparison(found: Comparison) -> str:
    """The page as one HTML file, as that of a run is."""
    context = {
        "title": f"recpipe: run {found.other.id} compared with run {found.one.id}",
        "verdict": _verdict(found),
        "figure": _figure(found),
        "of_chosen": side_by_side(found),
        "of_models": _of_models(found),
        "settings": _beside(found, [dict(flat(section(run.manifest, "settings")))
                                    for run in found.runs], head="setting"),
        "data": _beside(found, [dict(_data(run.manifest)) for run in found.runs],
                        head="what", all_rows=True),
        "times": _beside(found, [dict(_times(run.manifest)) for run in found.runs],
                         head="what", all_rows=True),
        "code": _beside(found, [dict(_code(run.manifest)) for run in found.runs], head="what"),
    }  # fmt: skip
    return page("page.html", context, chapters(_CHAPTERS, context))


def side_by_side(found: Comparison) -> Table | None:
    """The chosen models of both runs by every metric of one length of lists, on test."""
    _, _, k = found.metric.partition("@")
    lists = [f"{metric.name}@{k or 10}" for metric in (*RANKING, *EXPOSURE)]
    ratings = [metric.name for metric in RATING]
    rows = []
    for name in (*lists, *ratings):
        values = [_of_chosen(run, name) for run in found.runs]
        if any(values):
            rows.append((label_of(name), [in_words(value) for value in values]))
    names = [f"{run.id}: {run.model or 'no model'}" for run in found.runs]
    return plain(names, rows, head="metric", words=True) if rows else None


def headline(found: Comparison) -> str:
    """Which of the chosen models is better on test, in a sentence."""
    one, other = (f"{run.id} ({run.model or 'no model'})" for run in found.runs)
    by = f"by {label_of(found.metric)} on test"
    difference = _difference(found)
    if difference is None:
        return f"{other} and {one} are not compared user by user: {found.why_not}."
    if not difference.shown:
        return f"No difference is shown between {other} and {one} {by}."
    return f"{other} is {'better' if difference.value > 0 else 'worse'} than {one} {by}."


def grounds(found: Comparison) -> Iterator[str]:
    """The values behind the headline, and how sure they are."""
    one, other = (_of_chosen(run, found.metric) for run in found.runs)
    if one is not None or other is not None:
        yield (
            f"{label_of(found.metric)} on test: {found.other.id} {_value(other)},"
            f" {found.one.id} {_value(one)}."
        )
    difference = _difference(found)
    if difference is not None and found.difference is not None:
        ends = difference.interval
        between = "" if ends is None else f" ({decimal(ends[0])} to {decimal(ends[1])})"
        p = "" if difference.p is None else f", p {difference.p:.3f} by Fisher’s randomisation"  # noqa: RUF001
        yield (
            f"The difference is {difference.value:+.4f}{between}{p}, over the same"
            f" {whole(found.difference.get('users'))} users and held-out ratings."
        )
    for run in found.runs:
        if run.manifest.get("status") != "finished":
            yield f"Run {run.id} is {run.manifest.get('status', 'unfinished')}."


def _difference(found: Comparison) -> Difference | None:
    pair = found.difference
    if pair is None:
        return None
    return Differences([pair]).of(pair["model"], pair["other"], "test")


def _verdict(found: Comparison) -> Verdict:
    difference = _difference(found)
    tone: Literal["good", "warned", "bad", "open"] = "open"
    if difference is None:
        tone = "warned"
    elif difference.shown:
        tone = "good" if difference.value > 0 else "bad"
    return Verdict(tone, headline(found), list(grounds(found)))


def _of_chosen(run: RunRecord, name: str) -> Estimate | None:
    if not run.model:
        return None
    return estimate(run.scores, run.model, name, "test", chosen=run.model)


def _value(found: Estimate | None) -> str:
    return NONE if found is None else decimal(found.value)


def _figure(found: Comparison) -> Figure | None:
    """The chosen models as dots; None where one of them has no value."""
    values = [(run, _of_chosen(run, found.metric)) for run in found.runs]
    shown = [
        Estimate(f"{run.id}: {run.model}", value.value, value.interval, marked=run is found.other)
        for run, value in values
        if value is not None
    ]
    if not shown:
        return None
    label = label_of(found.metric)
    alt = f"{label} on test. " + "; ".join(f"{one.name} {in_words(one)}" for one in shown) + "."
    return Figure(
        "runs",
        f"{label} on test of the chosen models",
        partial(dots, shown, label=label, bounds=limits(shown), key="runs", alt=alt),
        plain(
            [label, "95 % interval"],
            [
                (
                    one.name,
                    [
                        decimal(one.value),
                        NONE if one.interval is None else " to ".join(map(decimal, one.interval)),
                    ],
                )
                for one in shown
            ],
            head="run",
        ),
    )


def _of_models(found: Comparison) -> Table | None:
    """Every model of either run by the metric of the choice, on test."""
    scores = [run.scores for run in found.runs]
    models = list(dict.fromkeys(model for each in scores for model in each.models))
    rows = []
    for model in models:
        values = [estimate(each, model, found.metric, "test", chosen="") for each in scores]
        if any(values):
            rows.append((model, [in_words(value) for value in values]))
    if METRICS.get(found.metric.partition("@")[0]) is None or not rows:
        return None
    return plain(found.names, rows, words=True)


def _beside(
    found: Comparison,
    values: Sequence[Mapping[str, str]],
    *,
    head: str,
    all_rows: bool = False,
) -> Table | None:
    """What both say, a row a name; without `all_rows` only where they say other things."""
    names = list(dict.fromkeys(name for each in values for name in each))
    rows = [
        (name, texts)
        for name in names
        for texts in [[each.get(name, NONE) or NONE for each in values]]
        if all_rows or texts[0] != texts[1]
    ]
    return plain(found.names, rows, head=head, words=True) if rows else None


def _data(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    source = section(manifest, "input")
    yield "format", str(source.get("format", ""))
    yield "fingerprint", str(source.get("fingerprint", ""))[:_SHORT]
    for name in ("kept", "rejected", "superseded"):
        yield f"rows {name}", whole(section(source, "ratings").get(name))
    for name in ("users", "items"):
        yield name, whole(section(source, name).get("total"))
    split = section(manifest, "split")
    yield "split", str(split.get("strategy", ""))
    for name, at in section(split, "cutoffs").items():
        yield name.replace("_", " "), instant(at)
    for fold in splits_of(manifest)[:1]:
        for name, counts in fold["parts"].items():
            yield f"rows of {name}", whole(counts.get("rows"))


def _times(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, taken in section(manifest, "timings").items():
        yield f"stage {name}", seconds(taken)
    for name, taken, _ in fits_of(manifest):
        yield f"fit {name}", seconds(taken)


def _code(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "code", str(manifest.get("code_version", ""))
    yield "seed", str(manifest.get("seed", ""))
    yield "run date", str(manifest.get("run_date", ""))
    for name, version in section(manifest, "versions").items():
        yield name, str(version)
