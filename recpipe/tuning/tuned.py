"""What a search has found, in numbers and in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recpipe.evaluation.metrics import label_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recpipe.evaluation.confidence import Difference
    from recpipe.models.search import SearchSpace, Value
    from recpipe.tuning.trials import Trial


@dataclass(frozen=True)
class Tuned:
    """What a search has found.

    Args:
        model: whose settings were searched.
        metric: by which, on validation.
        higher_is_better: its direction.
        run_id: the run whose split all trials share.
        space: what was searched.
        current: the settings that are searched, as they are without a search.
        trials: all of them, by number.
        best: the best of them.
        ci_low: lower end of the 95 % interval of its value over users; None with folds.
        ci_high: upper end.
        users: that it rests on.
        current_trial: the trial of the current settings; None where that failed.
        difference: by how much the best is better than it; None where it is that trial itself.
        importances: how much each setting mattered, the most important first; may be empty.
    """

    model: str
    metric: str
    higher_is_better: bool
    run_id: str
    space: SearchSpace
    current: Mapping[str, Value]
    trials: tuple[Trial, ...]
    best: Trial
    ci_low: float | None
    ci_high: float | None
    users: int
    current_trial: Trial | None
    difference: Difference | None
    importances: Mapping[str, float]

    @property
    def value(self) -> float:
        """Of the best trial."""
        assert self.best.value is not None  # noqa: S101 - the best is complete
        return self.best.value

    @property
    def label(self) -> str:
        """The metric as people write it."""
        return label_of(self.metric)

    @property
    def headline(self) -> str:
        """The best, its value and what that rests on, in a sentence."""
        between = (
            ""
            if self.ci_low is None or self.ci_high is None
            else f" ({self.ci_low:.4f} to {self.ci_high:.4f})"
        )
        return (
            f"{self.model}: {self.label} {self.value:.4f}{between} on validation,"
            f" {self.best.label} of {len(self.trials)}, {self.users:,} users"
        )

    @property
    def against_current(self) -> str:
        """How it compares with the current settings, in a sentence or two."""
        if self.current_trial is None:
            return "The current settings have no value to compare with."
        if self.difference is None:
            return "No trial is better than the current settings."
        pair = self.difference
        lead = f"{pair.value:.4f} {'above' if self.higher_is_better else 'below'}"
        chosen = f"choosing the best of {len(self.trials)} trials, so confirm on test"
        if pair.ci_low is None or pair.ci_high is None:
            return (
                f"On validation {lead} the current settings (without an interval, and that does not"
                f" account for {chosen})."
            )
        return (
            f"On validation {lead} the current settings ({pair.ci_low:.4f} to {pair.ci_high:.4f};"
            f" the interval does not account for {chosen})."
            + ("" if pair.excludes_zero else " The interval includes 0: no difference is shown.")
        )

    @property
    def counts(self) -> str:
        """How many trials there are, in words."""
        of_state = {
            state: sum(trial.state == state for trial in self.trials)
            for state in ("complete", "pruned", "failed")
        }
        said = [f"{count} {state}" for state, count in of_state.items() if count]
        return f"{len(self.trials)} trials: {', '.join(said)}"

    def as_dict(self) -> dict[str, Any]:
        """trials.json."""
        return {
            "model": self.model,
            "metric": self.metric,
            "higher_is_better": self.higher_is_better,
            "run_id": self.run_id,
            "space": self.space.as_json(),
            "current": dict(self.current),
            "best": {
                "trial": self.best.number,
                "settings": dict(self.best.settings),
                "value": self.value,
                "ci_low": self.ci_low,
                "ci_high": self.ci_high,
                "users": self.users,
            },
            "difference": None if self.difference is None else _of(self.difference),
            "importances": dict(self.importances),
            "trials": [trial.as_dict() for trial in self.trials],
        }


def _of(pair: Difference) -> dict[str, Any]:
    names = ("other", "value", "ci_low", "ci_high", "excludes_zero", "users")
    return {name: getattr(pair, name) for name in names}


__all__ = ["Tuned"]
