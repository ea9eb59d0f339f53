"""The loop of a search and the study that keeps it, on a function whose best value is known."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from recpipe.errors import FitError, GivenUpError, InputError, UsageError
from recpipe.models.search import Choices, FloatRange, IntRange, SearchSpace
from recpipe.runtime import signals
from recpipe.runtime.signals import Stopped
from recpipe.storage import Folder
from recpipe.tuning.median_rule import FIRST_EPOCHS
from recpipe.tuning.request import Request
from recpipe.tuning.search import Measured, search
from recpipe.tuning.study import FEWEST_TO_WEIGH, JOURNAL, Study
from recpipe.tuning.trials import best_of, with_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pyspark.sql import SparkSession

    from recpipe.tuning.study import Asked
    from recpipe.tuning.trials import Trial

    Objective = Callable[[Asked, tuple[float, ...]], Measured]

SPACE = SearchSpace(
    {"x": FloatRange(0.01, 100.0, log=True), "n": IntRange(1, 9), "kind": Choices(("a", "b"))}
)
CURRENT: dict[str, Any] = {"x": 50.0, "n": 9, "kind": "b"}


def distance(settings: Any) -> float:
    """0 at x = 1, n = 3, kind a."""
    far = abs(settings["x"] - 1) / (settings["x"] + 1) + abs(settings["n"] - 3) / 9
    return float(far + (settings["kind"] == "b"))


def measure(asked: Asked, _limits: tuple[float, ...]) -> Measured:
    return Measured(distance(asked.settings))


class Searches:
    """Searches of one folder below a root, each by a study read anew."""

    def __init__(self, spark: SparkSession, place: Path) -> None:
        self.folder, self.place, self.number = Folder(spark, place / "root" / "model"), place, 0

    def study(self, *, seed: int = 7) -> Study:
        self.number += 1
        local = self.place / f"local-{self.number}"
        local.mkdir()
        return Study(
            self.folder, local, name="model", space=SPACE, higher_is_better=False, seed=seed
        )

    def run(
        self,
        trials: int | None,
        objective: Objective = measure,
        *,
        current: Any = CURRENT,
        **rest: Any,
    ) -> list[Trial]:
        study = self.study(seed=rest.pop("seed", 7))
        gives_up = rest.pop("gives_up", False)
        request = Request("model", trials, **rest)
        search(study, objective, request, current=current, gives_up=gives_up)
        return study.trials


@pytest.fixture
def searches(spark: SparkSession, tmp_path: Path) -> Searches:
    return Searches(spark, tmp_path)


def test_the_current_settings_come_first_and_then_what_is_searched(searches: Searches) -> None:
    first, *others = searches.run(6)
    assert (first.number, first.current, first.settings) == (0, True, CURRENT)
    assert [trial.number for trial in others] == [1, 2, 3, 4, 5]
    for trial in others:
        assert not trial.current
        assert trial.state == "complete"
        assert trial.value == distance(trial.settings)
        assert all(value in SPACE.ranges[name] for name, value in trial.settings.items())
        assert trial.settings["x"] == float(f"{trial.settings['x']:.3g}")


def test_a_search_finds_what_is_good(searches: Searches) -> None:
    trials = searches.run(40)
    best = best_of(trials, higher_is_better=False)
    assert best is not None
    assert distance(best.settings) < 0.15 < distance(CURRENT)
    late = sorted(trial.value or 0.0 for trial in trials[-10:])
    assert late[5] < sorted(trial.value or 0.0 for trial in trials[1:11])[5]


def test_a_search_that_is_interrupted_goes_on_as_if_it_had_not_been(
    searches: Searches, spark: SparkSession, tmp_path: Path
) -> None:
    searches.run(3)
    searches.run(5)
    found = searches.run(8)
    (tmp_path / "other").mkdir()
    whole = Searches(spark, tmp_path / "other").run(16)
    assert [trial.number for trial in found] == list(range(16))
    assert [trial.settings for trial in found] == [trial.settings for trial in whole]
    assert len({str(trial.settings) for trial in found}) > 12
    (tmp_path / "seed").mkdir()
    others = Searches(spark, tmp_path / "seed").run(4, seed=8)
    assert [trial.settings for trial in others[1:]] != [trial.settings for trial in found[1:4]]


def test_a_trial_that_fails_is_marked_with_its_reason_and_the_search_goes_on(
    searches: Searches,
) -> None:
    def sometimes(asked: Asked, _limits: tuple[float, ...]) -> Measured:
        if asked.number in {0, 2}:
            raise FitError("model: no answer", hint="try another")
        return measure(asked, ())

    trials = searches.run(4, sometimes)
    assert [trial.state for trial in trials] == ["failed", "complete", "failed", "complete"]
    assert trials[2].reason == "FitError: model: no answer (try another)"
    assert trials[2].value is None
    assert set(trials[2].settings) == set(SPACE.ranges)
    assert with_settings(trials, CURRENT) is None
    assert not searches.run(1)[-1].current


@pytest.mark.parametrize("cut", [0, 1, 5, 12])
def test_a_search_whose_trial_was_cut_short_makes_the_trials_of_one_that_was_not(
    searches: Searches, spark: SparkSession, tmp_path: Path, cut: int
) -> None:
    def stopped(asked: Asked, _limits: tuple[float, ...]) -> Measured:
        if asked.number == cut:
            raise Stopped("SIGTERM")
        return measure(asked, ())

    with pytest.raises(Stopped):
        searches.run(15, stopped)
    assert len(searches.study().trials) == cut
    found = searches.run(15 - cut)

    (tmp_path / "whole").mkdir()
    whole = Searches(spark, tmp_path / "whole").run(15)
    assert [(t.number, t.state, t.settings) for t in found] == [
        (t.number, t.state, t.settings) for t in whole
    ]
    assert with_settings(found, CURRENT) == found[0]


def test_a_trial_that_fails_since_a_signal_cancels_its_job_is_made_again(
    searches: Searches,
) -> None:
    def cancelled(asked: Asked, _limits: tuple[float, ...]) -> Measured:
        if asked.number == 2:
            with suppress(Stopped):
                signal.raise_signal(signal.SIGTERM)
            raise FitError("job was cancelled")
        return measure(asked, ())

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signals.install()
    try:
        with pytest.raises(FitError, match="cancelled"):
            searches.run(9, cancelled)
    finally:
        signals.install()
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert [trial.state for trial in searches.study().trials] == ["complete"] * 2
    assert [trial.state for trial in searches.run(2)] == ["complete"] * 4


def test_what_would_be_wrong_in_every_trial_ends_the_search(searches: Searches) -> None:
    def refused(_asked: Asked, _limits: tuple[float, ...]) -> Measured:
        raise UsageError("no such thing")

    for parallel in (1, 2):
        with pytest.raises(UsageError, match="no such thing"):
            searches.run(50, refused, parallel=parallel)
    assert len(searches.study().trials) < 6


def test_a_signal_ends_the_search_and_what_was_found_is_kept(searches: Searches) -> None:
    def stopped(asked: Asked, _limits: tuple[float, ...]) -> Measured:
        if asked.number == 2:
            raise Stopped("SIGINT")
        return measure(asked, ())

    with pytest.raises(Stopped):
        searches.run(9, stopped)
    assert [trial.state for trial in searches.study().trials] == ["complete", "complete"]
    assert [trial.number for trial in searches.run(2)] == [0, 1, 2, 3]


def test_trials_that_ran_beside_one_that_ended_are_made_again_after_a_kill(
    searches: Searches,
) -> None:
    study = searches.study()
    left = [study.ask(CURRENT), study.ask(CURRENT)]
    ended = study.ask(CURRENT)
    study.complete(ended, distance(ended.settings))

    trials = searches.run(2)

    assert [trial.state for trial in trials] == ["failed", "failed", *["complete"] * 3]
    assert [trial.reason for trial in trials[:2]] == ["interrupted"] * 2
    again = {trial.current: trial.settings for trial in trials[3:]}
    assert again == {asked.current: asked.settings for asked in left}
    assert [trial.settings for trial in searches.run(1)[:5]] == [t.settings for t in trials]


def test_trials_run_at_the_same_time_where_that_is_asked_for(searches: Searches) -> None:
    both = threading.Barrier(2, timeout=30)

    def together(asked: Asked, _limits: tuple[float, ...]) -> Measured:
        both.wait()
        return measure(asked, ())

    trials = searches.run(6, together, parallel=2)
    assert [trial.number for trial in trials] == list(range(6))
    assert all(trial.state == "complete" for trial in trials)
    assert sum(trial.current for trial in trials) == 1


def test_no_trial_begins_after_the_time_is_over(searches: Searches) -> None:
    def slow(asked: Asked, _limits: tuple[float, ...]) -> Measured:
        time.sleep(0.3)
        return measure(asked, ())

    trials = searches.run(None, slow, seconds=1.0)
    assert 2 <= len(trials) <= 4
    assert all(trial.state == "complete" for trial in trials)


def test_a_trial_that_is_given_up_is_kept_with_its_curve(searches: Searches) -> None:
    met: list[tuple[float, ...]] = []

    def by_epochs(_asked: Asked, limits: tuple[float, ...]) -> Measured:
        met.append(limits)
        if limits:
            raise GivenUpError("model: behind", curve=(2.0, 1.9))
        return Measured(1.0, (2.0, 1.5, 1.2, 1.1, 1.05, 1.0))

    trials = searches.run(6, by_epochs, gives_up=True)
    assert [trial.state for trial in trials] == ["complete"] * 4 + ["pruned"] * 2
    assert [len(limits) for limits in met] == [0, 0, 0, 0, FIRST_EPOCHS, FIRST_EPOCHS]
    assert met[4][-1] == 1.0
    assert trials[4].curve == (2.0, 1.9)
    assert trials[4].value is None
    assert trials[0].curve[-1] == 1.0
    searches.run(1, by_epochs, gives_up=True, current={**CURRENT, "n": 1})
    assert met[-1] == ()


def test_current_settings_may_lie_outside_of_the_space(searches: Searches) -> None:
    current = {"x": "auto", "n": 12, "kind": "a"}

    def any_value(asked: Asked, _limits: tuple[float, ...]) -> Measured:
        return Measured(0.5 if asked.settings["x"] == "auto" else distance(asked.settings))

    first, *others = searches.run(14, any_value, current=current)
    assert first.settings == current
    assert all(trial.settings["x"] in SPACE.ranges["x"] for trial in others)


def test_other_current_settings_are_tried_before_the_search_goes_on(searches: Searches) -> None:
    searches.run(2)
    trials = searches.run(2, current={**CURRENT, "x": 2.0})
    assert [trial.current for trial in trials] == [True, False, True, False]
    assert trials[2].settings["x"] == 2.0


def test_the_setting_that_decides_matters_most(searches: Searches) -> None:
    def by_kind(asked: Asked, _limits: tuple[float, ...]) -> Measured:
        return Measured(float(asked.settings["kind"] == "b") + float(asked.settings["n"]) / 1000)

    searches.run(FEWEST_TO_WEIGH - 1, by_kind)
    assert searches.study().importances() == {}
    searches.run(25, by_kind)
    shares = searches.study().importances()
    assert set(shares) == set(SPACE.ranges)
    assert sum(shares.values()) == pytest.approx(1, abs=1e-3)
    assert shares["x"] < 0.5


def test_notes_are_kept_with_the_search(searches: Searches) -> None:
    study = searches.study()
    study.note(basis={"a": [1, 2]})
    search(study, measure, Request("model", 1), current=CURRENT, gives_up=False)
    assert searches.study().notes == {"basis": {"a": [1, 2]}}


def test_a_damaged_journal_is_refused_by_its_name(searches: Searches) -> None:
    searches.run(1)
    searches.folder.write_text(JOURNAL, "not a journal\nat all\n")
    with pytest.raises(InputError, match=rf"{JOURNAL}: not the journal .*--restart"):
        searches.study()
