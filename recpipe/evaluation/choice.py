"""Which model's lists are published, and how much that choice is worth."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from recpipe.errors import UsageError
from recpipe.evaluation.confidence import differences, of_models, seen_from
from recpipe.evaluation.metrics import label_of, metric_at
from recpipe.evaluation.rows import listed, rounded
from recpipe.models.registry import SPECS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from recpipe.evaluation.confidence import Difference
    from recpipe.evaluation.rows import MetricRow

FEW_USERS = 100


@dataclass(frozen=True)
class Choice:
    """The model that is published, and what speaks for it.

    Args:
        model: its name.
        metric: what it was compared by, such as `ndcg@10`.
        value: its value on validation, with k-fold the mean over folds; None where it has none
            (only a model that was named by hand).
        runner_up: the best of the others, or None.
        lead: how much better `model` is than `runner_up`, in units of the metric; below 0 where
            the other is better; None without both values.
        users: users that the value rests on; with k-fold those of the largest fold: at least so
            many stand behind the number.
        automatic: False where the model was named by hand.
        against: how much better it is than each of the others that could be chosen.
        warnings: what a person should know before trusting the choice.
        verdict: all of it in a sentence.
    """

    model: str
    metric: str
    value: float | None
    runner_up: str | None
    lead: float | None
    users: int
    automatic: bool
    against: tuple[Difference, ...] = ()
    warnings: tuple[str, ...] = ()
    verdict: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The section `chosen` of the manifest."""
        names = ("other", "value", "ci_low", "ci_high", "excludes_zero")
        against = [{name: getattr(pair, name) for name in names} for pair in self.against]
        return {**asdict(self), "against": against, "warnings": list(self.warnings)}

    def __str__(self) -> str:
        return self.verdict


def choose(
    rows: Sequence[MetricRow],
    *,
    metric: str,
    models: Sequence[str],
    prefer: Sequence[str] = (),
    named: str | None = None,
    split: str = "validation",
    seed: int = 0,
    pairs: Sequence[Difference] | None = None,
) -> Choice:
    """The best model on validation as far as its users can tell, or the named one.

    A choice calls a difference of two models shown where its 95 % interval over users leaves out 0,
    without correction for the number of models. Models that the best is not shown to beat are
    treated as ties; of these, and the best, the first in `prefer` is taken. A model that the best
    baseline is shown to beat is not taken.

    A baseline is taken only where its lead over the best other model is shown; of several such,
    those that the best of them does not beat are treated as ties, and `prefer` decides.

    RMSE and MAE are compared over the pairs that all models predict. Where no list could be
    evaluated, since nothing was held out or nothing of it is relevant, the first of `prefer` and
    then of `models` is taken.

    Args:
        rows: of all models; those of other splits and metrics are ignored.
        metric: its name, with `@k` for a metric of lists.
        models: the fitted models in the order of `train.models`.
        prefer: models in the order in which they are taken where no difference is shown; those
            that are not in it come after them, as `models` has them.
        named: the model that `publish.model` names, or None for `auto`.
        split: the part that decides.
        seed: of the draws of intervals.
        pairs: what `differences` says of the metric and the part; None: it is asked.

    Raises:
        UsageError: if `named` is not in `models`, or there is no model to choose.
    """
    if named is not None and named not in models:
        raise UsageError(
            f"publish.model {named} was not fitted", hint=f"fitted: {', '.join(models)}"
        )
    by_model = of_models(rows, metric=metric, split=split)
    values = {m: rounded(fmean(row.value for row in found)) for m, found in by_model.items()}
    sign = metric_at(metric)[0].sign
    preferred = sorted(models, key=lambda m: prefer.index(m) if m in prefer else len(prefer))
    # sorted() is stable, so equal values stay in the order of preference.
    ranking = sorted(
        (model for model in preferred if model in values and SPECS[model].selectable),
        key=lambda model: -sign * values[model],
    )
    # Of a handful of ratings nothing can be held out, or nothing of it is relevant: then there are
    # no lists to compare, and still lists to publish.
    compared = bool(values) or metric_at(metric)[1] is None
    others = [] if compared else [model for model in preferred if SPECS[model].selectable]
    if named is None and not [*ranking, *others]:
        raise UsageError(
            f"none of {', '.join(models)} has {metric} on {split}, so none can be chosen",
            hint="fit another model, or name one in publish.model",
        )
    if pairs is None:
        pairs = differences(rows, metric=metric, split=split, seed=seed, tested=False)
    among = _Ranked(ranking, pairs)
    model = named or among.taken(preferred) or others[0]
    runner_up = next((other for other in ranking if other != model), None)
    lead = None
    if runner_up is not None and model in values:
        lead = rounded(sign * (values[model] - values[runner_up]))
    found = seen_from(model, pairs)
    choice = Choice(
        model=model,
        metric=metric,
        value=values.get(model),
        runner_up=runner_up,
        lead=lead,
        users=max((row.users for row in by_model.get(model, ())), default=0),
        automatic=named is None,
        against=tuple(found[other] for other in ranking if other in found),
    )
    warnings = tuple(_warnings(choice, ranking))
    return replace(choice, warnings=warnings, verdict=_verdict(choice, values))


@dataclass(frozen=True)
class _Ranked:
    """The models that could be chosen.

    Args:
        ranking: by value, the best first.
        pairs: how they differ.
    """

    ranking: Sequence[str]
    pairs: Sequence[Difference]

    def taken(self, preferred: Sequence[str]) -> str | None:
        """The model that is chosen, by the rule of `choose`; None where there is none."""
        baselines = [model for model in self.ranking if SPECS[model].baseline]
        others = [model for model in self.ranking if not SPECS[model].baseline]
        if not others:
            of_these = baselines
        elif baselines and self._better(baselines[0], others[0]):
            of_these = [baseline for baseline in baselines if self._better(baseline, others[0])]
        else:
            of_these = [m for m in others if not baselines or not self._better(baselines[0], m)]
        ties = [m for m in of_these if not self._better(of_these[0], m)]
        return next((model for model in preferred if model in ties), None)

    def _better(self, one: str, other: str) -> bool:
        """Whether `one` is shown to be better."""
        pair = seen_from(one, self.pairs).get(other)
        return pair is not None and pair.excludes_zero and pair.value > 0


def _verdict(choice: Choice, values: Mapping[str, float]) -> str:
    """The choice in a sentence.

    Such as "ease: NDCG@10 0.2240, popularity 0.1880; better by 0.0360 (0.0120 to 0.0610) on 540
    users". Compared with the best baseline if the chosen model is not a baseline itself, else with
    the runner-up.
    """
    said = f"{choice.model}: {label_of(choice.metric)}"
    if choice.value is None:
        return f"{said} has no value on validation"
    said += f" {choice.value:.4f}"
    baselines = [pair for pair in choice.against if SPECS[pair.other].baseline]
    pair = next(iter(baselines if not SPECS[choice.model].baseline else choice.against), None)
    pair = pair or next(iter(choice.against), None)
    users = f"on {choice.users:,} users"
    if pair is None:
        return f"{said} {users}; no other model to compare with"
    said += f", {pair.other} {values[pair.other]:.4f}; {_by_how_much(pair)} {users}"
    if not choice.automatic:
        return f"{said}; named in publish.model"
    ahead = [p.other for p in choice.against if p.value < 0]
    if ahead:
        said += (
            f"; {listed([f'{other} {values[other]:.4f}' for other in ahead])}"
            f" {'is' if len(ahead) == 1 else 'are'} not shown to be better, and publish.prefer has"
            f" {choice.model} first"
        )
    return said


def _by_how_much(pair: Difference) -> str:
    side = "better" if pair.value >= 0 else "worse"
    if pair.ci_low is None or pair.ci_high is None:
        return f"{side} by {abs(pair.value):.4f}"
    ends = sorted((pair.ci_low, pair.ci_high))
    if pair.value < 0:
        ends = [-end for end in reversed(ends)]
    not_shown = "" if pair.excludes_zero else ", no difference shown"
    return f"{side} by {abs(pair.value):.4f} ({ends[0]:.4f} to {ends[1]:.4f}{not_shown})"


def _warnings(choice: Choice, ranking: Sequence[str]) -> Iterator[str]:
    """What to know of a choice.

    Args:
        choice: the choice.
        ranking: the models that could be chosen, the best first.
    """
    if choice.value is None:
        yield f"no model was compared: {choice.model} has no {choice.metric} on validation"
    elif choice.users < FEW_USERS:
        yield f"the choice rests on {choice.users} users, fewer than {FEW_USERS}"
    if not ranking:
        return
    others = [name for name in ranking if not SPECS[name].baseline]
    if choice.automatic and SPECS[choice.model].baseline and others:
        yield (
            f"the baseline {choice.model} is shown to be better by {choice.metric} than"
            f" {others[0]}, the best other model"
        )
    if not SPECS[choice.model].baseline and choice.value is not None:
        unbeaten = [
            pair.other
            for pair in choice.against
            if SPECS[pair.other].baseline and not (pair.excludes_zero and pair.value > 0)
        ]
        if unbeaten:
            yield f"{choice.model} is not shown to be better than the baseline {listed(unbeaten)}"
    better = [p.other for p in choice.against if p.excludes_zero and p.value < 0]
    if not choice.automatic and better:
        are = "is" if len(better) == 1 else "are"
        yield (
            f"{choice.model} is named in publish.model, but {listed(better)} {are} shown to be"
            " better"
        )
