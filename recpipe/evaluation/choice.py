"""Which model's lists are published, and how much that choice is worth."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from recpipe.errors import UsageError
from recpipe.evaluation.metrics import metric_at
from recpipe.evaluation.rows import COMMON, rounded
from recpipe.models.registry import SPECS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
        lead: how much better `model` is than `runner_up`, in units of the metric; below 0 where a
            model was named by hand and another is better; None without both values.
        users: users that the value rests on; with k-fold those of the largest fold, since folds
            may share users.
        automatic: False where the model was named by hand.
        warnings: what a person should know before trusting the choice.
    """

    model: str
    metric: str
    value: float | None
    runner_up: str | None
    lead: float | None
    users: int
    automatic: bool
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The section `chosen` of the manifest."""
        return {**asdict(self), "warnings": list(self.warnings)}

    def __str__(self) -> str:
        """One line for a person."""
        how = "the best" if self.automatic else "as publish.model says"
        if self.value is None:
            return f"{self.model}: no {self.metric} on validation"
        said = f"{self.model} ({how}): {self.metric} {self.value:.4f} on validation"
        if self.runner_up is not None and self.lead is not None:
            side = "ahead of" if self.lead >= 0 else "behind"
            said += f", {abs(self.lead):.4f} {side} {self.runner_up}"
        return f"{said}, over {self.users} users"


def choose(
    rows: Sequence[MetricRow],
    *,
    metric: str,
    models: Sequence[str],
    named: str | None = None,
    split: str = "validation",
) -> Choice:
    """The best model on validation, or the named one with how it compares.

    RMSE and MAE are compared over the pairs that all models predict (`<split>_common`), where
    there are such: a model must not win by staying silent on what is hard. Ties go to the model
    that comes first in `models`, and so does the choice where no list could be evaluated: nothing
    was held out, or nothing of it was relevant.

    Args:
        rows: of all models; those of other splits and metrics are ignored.
        metric: its name, with `@k` for a metric of lists.
        models: the fitted models in the order of `train.models`.
        named: the model that `publish.model` names, or None for `auto`.
        split: the part that decides.

    Raises:
        UsageError: if `named` is not in `models`, or there is no model to choose.
    """
    if named is not None and named not in models:
        raise UsageError(
            f"publish.model {named} was not fitted", hint=f"fitted: {', '.join(models)}"
        )
    values, users = _on(rows, metric=metric, split=split)
    sign = metric_at(metric)[0].sign
    # sorted() is stable, so equal values stay in the order of `models`.
    ranking = sorted(
        (model for model in models if model in values and SPECS[model].selectable),
        key=lambda model: -sign * values[model],
    )
    # Of a handful of ratings nothing can be held out, or nothing of it is relevant: then there are
    # no lists to compare, and still lists to publish.
    compared = bool(values) or metric_at(metric)[1] is None
    others = [] if compared else [model for model in models if SPECS[model].selectable]
    if named is None and not [*ranking, *others]:
        raise UsageError(
            f"none of {', '.join(models)} has {metric} on {split}, so none can be chosen",
            hint="fit another model, or name one in publish.model",
        )
    model = named or [*ranking, *others][0]
    runner_up = next((other for other in ranking if other != model), None)
    lead = None
    if runner_up is not None and model in values:
        lead = rounded(sign * (values[model] - values[runner_up]))
    choice = Choice(
        model=model,
        metric=metric,
        value=values.get(model),
        runner_up=runner_up,
        lead=lead,
        users=users.get(model, 0),
        automatic=named is None,
    )
    return replace(choice, warnings=tuple(_warnings(choice, ranking)))


def _on(
    rows: Sequence[MetricRow], *, metric: str, split: str
) -> tuple[dict[str, float], dict[str, int]]:
    """The value and users of every model, over folds; a model that lacks a fold is left out."""
    wanted = [row for row in rows if row.name == metric and row.split == split]
    if metric_at(metric)[0].on_common_pairs:
        common = [row for row in rows if row.name == metric and row.split == split + COMMON]
        wanted = common or wanted
    folds = {row.fold for row in wanted}
    by_model: dict[str, list[MetricRow]] = {}
    for row in wanted:
        by_model.setdefault(row.model, []).append(row)
    whole = {m: found for m, found in by_model.items() if {row.fold for row in found} == folds}
    values = {model: rounded(fmean(row.value for row in found)) for model, found in whole.items()}
    users = {model: max(row.users for row in found) for model, found in whole.items()}
    return values, users


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
    best = ranking[0]
    others = [name for name in ranking if not SPECS[name].baseline]
    if SPECS[best].baseline and others:
        yield (
            f"the baseline {best} is the best by {choice.metric}: {', '.join(others)}"
            f" {'takes' if len(others) == 1 else 'take'} longer to fit and"
            f" {'is' if len(others) == 1 else 'are'} no better"
        )
    if best != choice.model and choice.lead is not None and choice.lead < 0:
        yield f"{choice.model} was named in publish.model, but {best} is better"
