"""What became of the trials of a search."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from recpipe.models.search import Value

State = Literal["complete", "pruned", "failed", "running"]
"""complete: it has a value. pruned: it was given up, behind others. failed: it has a reason."""


@dataclass(frozen=True)
class Trial:
    """One trial.

    Args:
        number: from 0, in the order in which they began.
        state: what became of it.
        settings: those that are searched, as they were.
        value: of the metric on validation; None unless it is complete.
        current: whether it has the current settings, rather than ones that were proposed.
        seconds: how long it took; None where nobody knows.
        reason: why it failed.
        curve: the RMSE on validation after each epoch, of a model that learns by epochs.
    """

    number: int
    state: State
    settings: Mapping[str, Value]
    value: float | None = None
    current: bool = False
    seconds: float | None = None
    reason: str = ""
    curve: Sequence[float] = field(default=())

    @property
    def label(self) -> str:
        """What people call it."""
        return f"trial {self.number}"

    def as_dict(self) -> dict[str, Any]:
        """As trials.json has it."""
        return {**asdict(self), "settings": dict(self.settings), "curve": list(self.curve)}


def completed(trials: Iterable[Trial]) -> list[Trial]:
    """Those that have a value."""
    return [trial for trial in trials if trial.state == "complete" and trial.value is not None]


def best_of(trials: Iterable[Trial], *, higher_is_better: bool) -> Trial | None:
    """The best of those that have a value, the first of several that are as good."""
    sign = -1 if higher_is_better else 1
    return min(completed(trials), key=lambda t: (sign * (t.value or 0.0), t.number), default=None)


def with_settings(trials: Iterable[Trial], settings: Mapping[str, Value]) -> Trial | None:
    """The last complete trial of the current settings, if they were these."""
    found = [t for t in completed(trials) if t.current and dict(t.settings) == dict(settings)]
    return found[-1] if found else None


__all__ = ["State", "Trial", "best_of", "completed", "with_settings"]
