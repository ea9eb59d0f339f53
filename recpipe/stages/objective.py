"""What a trial of a search is: a fit on train, evaluated on validation as `evaluate` does it."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from recpipe import evaluation
from recpipe.errors import FitError, UsageError
from recpipe.evaluation.metrics import metric_at
from recpipe.evaluation.metrics.base import RankingMetric, RatingMetric
from recpipe.evaluation.rows import rounded
from recpipe.models import registry
from recpipe.split import TRAIN, VALIDATION
from recpipe.stages.context import Context, counts_of, folds_without_test
from recpipe.stages.fit import training_data
from recpipe.stages.held_out import held_out
from recpipe.tuning.search import Measured

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from recpipe.evaluation import MetricRow
    from recpipe.evaluation.metrics.base import ItemFacts, Metric
    from recpipe.models.base import FittedModel
    from recpipe.models.search import Value
    from recpipe.sections import Section
    from recpipe.split import SplitParts
    from recpipe.stages.held_out import HeldOut
    from recpipe.storage import Run
    from recpipe.tuning.request import Request
    from recpipe.tuning.study import Asked


@dataclass(frozen=True)
class _Fold:
    """What all trials share of a fold.

    Args:
        parts: train and validation.
        held: validation, as it is asked about.
        users: of validation.
        facts: what the metric needs to know of items; None: nothing.
    """

    parts: SplitParts
    held: HeldOut
    users: int
    facts: ItemFacts | None


@dataclass(frozen=True)
class Objective:
    """Fits and evaluates the trials of a search.

    Args:
        context: of the stage.
        run: whose split it is.
        model: whose settings are searched.
        names: the settings that are searched.
        metric: by which trials are compared.
        k: the length of lists; None for a metric of predicted ratings.
        folds: of the split.
        rows: by trial, what its value is made of; of the trials of this process.
    """

    context: Context
    run: Run
    model: str
    names: Sequence[str]
    metric: Metric
    k: int | None
    folds: Sequence[_Fold]
    rows: dict[int, list[MetricRow]]

    @property
    def current(self) -> dict[str, Value]:
        """The settings that are searched, as they are without a search."""
        section = self.context.settings.section(self.model)
        return {name: getattr(section, name) for name in self.names}

    def section(self, settings: Mapping[str, Value]) -> Section:
        """The section of the model with settings of a trial."""
        section = self.context.settings.section(self.model)
        return type(section).model_validate({**section.model_dump(), **settings})

    def __call__(self, asked: Asked, limits: tuple[float, ...]) -> Measured:
        """The value of a trial.

        Raises:
            FitError: if it cannot be fitted, or has no value.
        """
        rows, curve = self.measured(asked.settings, limits)
        self.rows[asked.number] = rows
        return Measured(rounded(fmean(row.value for row in rows)), curve)

    def measured(
        self, settings: Mapping[str, Value], limits: tuple[float, ...] = ()
    ) -> tuple[list[MetricRow], tuple[float, ...]]:
        """A row a fold, and the learning curve where there is one fold."""
        rows: list[MetricRow] = []
        curve: tuple[float, ...] = ()
        sections = {**dict(self.context.settings), self.model: self.section(settings)}
        for fold in self.folds:
            model = registry.build(self.model, sections)
            data = training_data(
                self.context,
                self.run,
                fold.parts.stored[TRAIN],
                as_of=fold.held.instant,
                validation=fold.parts.stored[VALIDATION],
            )
            if len(self.folds) == 1:
                data = replace(data, give_up_above=limits)
            # What is fitted reads from there until it is evaluated; it is kept nowhere.
            with self.context.root.scratch(self.model) as scratch:
                fitted = model.fit(data, scratch=scratch, seed=self.context.settings.seed)
                largest = self.context.settings.recommend.max_broadcast_mb
                rows.append(self._row(replace(fitted, max_broadcast_mb=largest), fold))
                if len(self.folds) == 1:
                    curve = _curve(fitted.info())
        return rows, curve

    def _row(self, fitted: FittedModel, fold: _Fold) -> MetricRow:
        held = fold.held
        if isinstance(self.metric, RatingMetric):
            found = evaluation.rating_metrics(
                {self.model: held.predictions(fitted)},
                held.rows,
                split=VALIDATION,
                fold=held.fold,
                users=fold.users,
                metrics=(self.metric,),
            )
        else:
            assert isinstance(self.metric, RankingMetric) and self.k  # noqa: S101, PT018 - selectable
            found = evaluation.ranking_metrics(
                {self.model: held.lists(fitted, n=self.k)},
                held.rows,
                ks=(self.k,),
                relevance_threshold=held.relevance_threshold,
                users=held.count,
                seen=held.seen,
                split=VALIDATION,
                fold=held.fold,
                metrics=(self.metric,),
                facts=fold.facts,
            )
        own = [row for row in found if row.split == VALIDATION]
        if not own:
            raise FitError(
                f"{self.model}: no {self.metric.name} on {VALIDATION}",
                hint="look at what the split holds out",
            )
        return own[0]


def _curve(info: Mapping[str, Any]) -> tuple[float, ...]:
    """The RMSE on validation after each epoch; empty for a model that has none."""
    found = [point.get("validation_rmse") for point in info.get("learning_curve") or ()]
    return () if None in found else tuple(found)


@contextmanager
def objective_of(
    context: Context, run: Run, request: Request, metric: Metric
) -> Iterator[Objective]:
    """What fits and evaluates trials; what they share is held while the `with` statement lasts.

    Raises:
        UsageError: if validation holds nothing to evaluate.
    """
    _, k = metric_at(context.settings.evaluate.metric)
    with ExitStack() as stack:
        folds = []
        for parts in folds_without_test(run):
            held = stack.enter_context(held_out(context, run, parts, VALIDATION, [parts.train]))
            if k is not None and not held.count:
                raise UsageError(
                    f"run {run.id}: nobody has a relevant item in validation, so there are no lists"
                    " to evaluate",
                    hint="lower evaluate.relevance_threshold, or tune by rmse",
                )
            users = counts_of(run, parts)[VALIDATION]["users"]
            folds.append(_Fold(parts, held, users, _facts(run, parts, metric)))
        yield Objective(
            context, run, request.model, tuple(request.space.ranges), metric, k, folds, {}
        )


def _facts(run: Run, parts: SplitParts, metric: Metric) -> ItemFacts | None:
    if not (isinstance(metric, RankingMetric) and metric.needs):
        return None
    users = counts_of(run, parts)[TRAIN]["users"]
    total = run.manifest["input"]["items"]["total"]
    return evaluation.item_facts(parts.stored[TRAIN], items=total, users=users)


__all__ = ["Objective", "objective_of"]
