"""The trials of a search as Optuna keeps them, and what it proposes to try next.

The only module that knows Optuna. Its journal is a file to which each change is appended: on this
machine while a search runs, copied below the root after every trial, whatever store that is on.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from recpipe.errors import InputError
from recpipe.models.search import Choices, IntRange
from recpipe.tuning.trials import Trial

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from recpipe.models.search import Range, SearchSpace, Value
    from recpipe.storage import Folder
    from recpipe.tuning.trials import State

JOURNAL = "study.log"
"""The journal below the root."""

_INTERRUPTED = "interrupted"
"""The reason of a trial that was cut short, and not its own fault."""

FEWEST_TO_WEIGH = 20
"""Complete trials below which nothing is said of which setting mattered: the best quarter of fewer
is too few to have settings in common but by chance."""

_TOP = 0.25
"""The share of trials that count as good where settings are weighed."""

_STATES: Mapping[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


@dataclass(frozen=True)
class Asked:
    """A trial that has begun.

    Args:
        number: of it.
        settings: to be tried.
        current: whether they are the settings as they are without a search.
        handle: Optuna's.
    """

    number: int
    settings: Mapping[str, Value]
    current: bool
    handle: Any


class Study:
    """The trials of one search; every method may be called from several threads.

    What is proposed depends on the seed, on the trials that are there and on the number of the new
    one. A trial that was cut short is not below the root, since only trials that have ended are
    copied there. So a search that is interrupted and goes on makes the trials that it would have
    made without the interruption, as long as they are made one at a time. With several at a time
    the copy may have trials that were running: these are noted as interrupted and made again.

    Args:
        folder: of the search, below the root.
        local: a folder of this machine for the journal.
        name: of the model.
        space: what is searched.
        higher_is_better: the direction of the metric.
        seed: of what is proposed.

    Raises:
        InputError: if the journal below the root cannot be read.
    """

    def __init__(
        self,
        folder: Folder,
        local: Path,
        *,
        name: str,
        space: SearchSpace,
        higher_is_better: bool,
        seed: int,
    ) -> None:
        # What is worth saying of a trial is said by whoever makes it.
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._folder, self._file = folder, local / JOURNAL
        self._space, self._seed, self._lock = space, seed, Lock()
        self._distributions = {key: _distribution(each) for key, each in space.ranges.items()}
        if folder.exists(JOURNAL):
            self._file.write_text(folder.read_text(JOURNAL), encoding="utf-8")
        try:
            self._study = optuna.create_study(
                storage=JournalStorage(JournalFileBackend(str(self._file))),
                study_name=name,
                direction="maximize" if higher_is_better else "minimize",
                pruner=optuna.pruners.NopPruner(),
                load_if_exists=True,
            )
        except (ValueError, LookupError, TypeError) as error:
            raise InputError(
                f"{folder.path(JOURNAL)}: not the journal of a search ({error})",
                hint="begin anew with --restart",
            ) from error
        # Whoever made them is gone.
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._study.tell(trial.number, state=TrialState.FAIL)
            if not trial.user_attrs.get("current"):
                # `ask` sees to the current settings, which may be others by now.
                self._enqueue(trial.user_attrs["settings"], current=False)

    @property
    def notes(self) -> dict[str, Any]:
        """What was noted of the search."""
        return dict(self._study.user_attrs)

    def note(self, **notes: Any) -> None:
        """Keep something of the search with it (JSON)."""
        for key, value in notes.items():
            self._study.set_user_attr(key, value)

    @property
    def trials(self) -> list[Trial]:
        """All trials, by number."""
        found = self._study.get_trials(deepcopy=False)
        return [_trial(each) for each in found if each.state != TrialState.WAITING]

    def ask(self, current: Mapping[str, Value]) -> Asked:
        """What to try next: the current settings, where they were not tried yet.

        Args:
            current: the settings that are searched, as they are without a search.
        """
        with self._lock:
            trials = self._study.get_trials(deepcopy=False)
            waiting = [trial for trial in trials if trial.state == TrialState.WAITING]
            if not waiting and not any(_has_tried(trial, current) for trial in trials):
                self._enqueue(current, current=True)
                waiting = self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
            is_current = bool(waiting) and waiting[0].user_attrs["current"]
            if waiting:
                settings = waiting[0].user_attrs["settings"]
                known = self._searchable(settings)
                trial = self._study.ask({name: self._distributions[name] for name in known})
            else:
                seed = np.random.SeedSequence([self._seed, len(trials)]).generate_state(1)
                self._study.sampler = optuna.samplers.TPESampler(seed=int(seed[0]))
                trial = self._study.ask(self._distributions)
                settings = {
                    name: self._space.ranges[name].plain(value)
                    for name, value in trial.params.items()
                }
                trial.set_user_attr("settings", settings)
            return Asked(trial.number, settings, is_current, trial)

    def _enqueue(self, settings: Mapping[str, Value], *, current: bool) -> None:
        self._study.enqueue_trial(
            self._searchable(settings),
            user_attrs={"current": current, "settings": dict(settings)},
        )

    def _searchable(self, settings: Mapping[str, Value]) -> dict[str, Value]:
        """Those that lie in their range: current settings may be `auto`, or lie elsewhere."""
        ranges = self._space.ranges
        return {name: value for name, value in settings.items() if value in ranges[name]}

    def complete(self, asked: Asked, value: float, *, curve: Sequence[float] = ()) -> None:
        """A trial has a value."""
        with self._lock:
            self._report(asked, curve)
            self._study.tell(asked.handle, value)
            self._keep()

    def prune(self, asked: Asked, *, curve: Sequence[float]) -> None:
        """A trial was given up."""
        with self._lock:
            self._report(asked, curve)
            self._study.tell(asked.handle, state=TrialState.PRUNED)
            self._keep()

    def fail(self, asked: Asked, reason: str) -> None:
        """A trial has failed."""
        with self._lock:
            asked.handle.set_user_attr("reason", reason)
            self._study.tell(asked.handle, state=TrialState.FAIL)
            self._keep()

    def _report(self, asked: Asked, curve: Sequence[float]) -> None:
        for epoch, rmse in enumerate(curve, start=1):
            asked.handle.report(rmse, epoch)

    def _keep(self) -> None:
        self._folder.write_text(JOURNAL, self._file.read_text(encoding="utf-8"))

    def importances(self) -> dict[str, float]:
        """How much each setting mattered for being among the best quarter; the sum is 1.

        By PED-ANOVA (Watanabe, Bansal and Hutter 2023), the most important first. Empty where there
        are too few trials to tell.
        """
        done = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(done) < FEWEST_TO_WEIGH:
            return {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = get_param_importances(
                self._study, evaluator=PedAnovaImportanceEvaluator(target_quantile=_TOP)
            )
        ranked = sorted(found.items(), key=lambda each: (-each[1], each[0]))
        return {name: round(float(share), 4) for name, share in ranked}


def _distribution(each: Range) -> Any:
    if isinstance(each, Choices):
        return CategoricalDistribution(each.values)
    if isinstance(each, IntRange):
        return IntDistribution(each.low, each.high, log=each.log)
    return FloatDistribution(each.low, each.high, log=each.log)


def _has_tried(trial: optuna.trial.FrozenTrial, current: Mapping[str, Value]) -> bool:
    """Whether it is, or was, a trial of the current settings; one that was interrupted was not."""
    attributes = trial.user_attrs
    if not attributes.get("current") or attributes["settings"] != dict(current):
        return False
    return trial.state != TrialState.FAIL or _reason(trial) != _INTERRUPTED


def _reason(trial: optuna.trial.FrozenTrial) -> str:
    """Why a trial has failed."""
    reason: str = trial.user_attrs.get("reason", _INTERRUPTED)
    return reason


def _trial(found: optuna.trial.FrozenTrial) -> Trial:
    state = _STATES.get(found.state, "running")
    attributes = found.user_attrs
    steps = found.intermediate_values
    return Trial(
        number=found.number,
        state=state,
        settings=attributes.get("settings", found.params),
        value=found.value if state == "complete" else None,
        current=bool(attributes.get("current")),
        seconds=None if found.duration is None else round(found.duration.total_seconds(), 3),
        reason=_reason(found) if state == "failed" else "",
        curve=tuple(steps[step] for step in sorted(steps)),
    )


__all__ = ["FEWEST_TO_WEIGH", "JOURNAL", "Asked", "Study"]
