"""The loop of a search: trials one after the other, or some at a time."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock
from typing import TYPE_CHECKING, NamedTuple

from recpipe.errors import GivenUpError, UsageError
from recpipe.runtime import signals
from recpipe.tuning import median_rule
from recpipe.tuning.trials import completed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from recpipe.models.search import Value
    from recpipe.tuning.request import Request
    from recpipe.tuning.study import Asked, Study

logger = logging.getLogger(__name__)


class Measured(NamedTuple):
    """What a trial found.

    Args:
        value: of the metric on validation.
        curve: the RMSE on validation after each epoch, of a model that learns by epochs.
    """

    value: float
    curve: Sequence[float] = ()


def search(
    study: Study,
    measure: Callable[[Asked, tuple[float, ...]], Measured],
    request: Request,
    *,
    current: Mapping[str, Value],
    gives_up: bool,
) -> None:
    """Make trials until their number or their time is used up.

    A trial that fails is noted with its reason, and the search goes on.

    Args:
        study: of the search.
        measure: fits and evaluates a trial; it is handed the trial and the limits of
            `TrainingData.give_up_above`.
        request: how many, how long, how many at a time.
        current: the settings that are searched, as they are without a search.
        gives_up: whether a trial that falls behind may be given up.

    Raises:
        UsageError: if a trial says that no other would be right either.
    """
    turns = _Turns(request.trials, request.seconds)

    def work() -> None:
        while turns.next():
            try:
                asked = study.ask(current)
                # The others are to be compared with the current settings, however bad these are.
                limits = _limits(study) if gives_up and not asked.current else ()
                _one(study, measure, asked, limits)
            except BaseException:
                turns.end()
                raise

    if request.parallel == 1:
        work()
        return
    with ThreadPoolExecutor(request.parallel, "recpipe-trial") as pool:
        futures = [pool.submit(work) for _ in range(request.parallel)]
        try:
            for future in futures:
                future.result()
        finally:
            # Whoever leaves early, as by a signal, waits for the trials that run.
            turns.end()


def _limits(study: Study) -> tuple[float, ...]:
    trials = study.trials
    return median_rule.limits(
        [trial.curve for trial in completed(trials)],
        [trial.curve for trial in trials if trial.state == "pruned"],
    )


def _one(
    study: Study,
    measure: Callable[[Asked, tuple[float, ...]], Measured],
    asked: Asked,
    limits: tuple[float, ...],
) -> None:
    """One trial, noted however it ends, unless a signal cuts it short: it is then made again."""
    shown = ", ".join(f"{name} {value}" for name, value in asked.settings.items())
    try:
        found = measure(asked, limits)
    except GivenUpError as error:
        study.prune(asked, curve=error.curve)
        logger.info("trial %d: %s; %s", asked.number, error.message, shown)
    except Exception as error:
        if signals.received() is not None:
            # A job that the signal has cancelled fails: that says nothing of the settings.
            raise
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        study.fail(asked, said)
        if isinstance(error, UsageError):
            raise
        logger.warning("trial %d failed: %s; %s", asked.number, said, shown)
        logger.debug("trial %d failed", asked.number, exc_info=error)
    else:
        study.complete(asked, found.value, curve=found.curve)
        logger.info("trial %d: %.4f; %s", asked.number, found.value, shown)


class _Turns:
    """Who may begin another trial."""

    def __init__(self, trials: int | None, seconds: float | None) -> None:
        self._left = trials
        self._until = None if seconds is None else time.monotonic() + seconds
        self._ended = Event()
        self._lock = Lock()

    def next(self) -> bool:
        """Whether there is one more, which is then taken."""
        with self._lock:
            late = self._until is not None and time.monotonic() >= self._until
            if late or self._ended.is_set() or signals.received() or self._left == 0:
                return False
            if self._left is not None:
                self._left -= 1
            return True

    def end(self) -> None:
        """No trial begins from now on."""
        self._ended.set()


__all__ = ["Measured", "search"]
