"""From which error on a trial is given up."""

from __future__ import annotations

import math

import numpy as np

from recpipe.tuning.median_rule import FEWEST_CURVES, FIRST_EPOCHS, limits


def falling(*ends: float) -> list[list[float]]:
    """Curves of twelve epochs that fall from 2 to these ends."""
    return [list(np.linspace(2.0, end, 12)) for end in ends]


def test_with_few_curves_no_trial_is_given_up() -> None:
    assert limits(falling(*[1.0] * (FEWEST_CURVES - 1))) == ()
    assert limits([*falling(*[1.0] * (FEWEST_CURVES - 1)), []]) == ()
    assert limits([]) == ()


def test_the_limit_of_an_epoch_is_the_median_of_what_trials_had_reached_by_it() -> None:
    found = limits(falling(0.8, 0.9, 1.0, 1.3, 1.9))
    assert len(found) == 12
    assert found[-1] == 1.0
    assert math.isclose(found[9], 2.0 - 9 / 11)


def test_no_trial_is_given_up_in_its_first_epochs() -> None:
    found = limits(falling(0.8, 0.9, 1.0, 1.1))
    assert all(math.isinf(limit) for limit in found[: FIRST_EPOCHS - 1])
    assert all(math.isfinite(limit) for limit in found[FIRST_EPOCHS - 1 :])


def test_a_curve_counts_by_its_best_so_far_and_beyond_its_end() -> None:
    short, rising = [1.5, 0.9], [0.8, *[1.2] * 11]
    assert limits([short, short, rising, rising, rising])[-1] == 0.8
    assert limits([short, short, short, rising, rising])[-1] == 0.9


def test_curves_shorter_than_the_first_epochs_give_none_up() -> None:
    found = limits([[1.0, 0.9]] * 5)
    assert found[:-1] == (math.inf,) * (FIRST_EPOCHS - 1)
    assert found[-1] == 0.9


def test_a_trial_that_was_given_up_counts_for_the_epochs_that_it_had() -> None:
    ended = falling(0.8, 0.9, 1.0, 1.1)
    given_up = [curve[:10] for curve in falling(1.6, 1.7, 1.8)]
    found = limits(ended, given_up)
    assert math.isclose(found[9], 2.0 - 0.9 * 9 / 11)  # the fourth of seven
    assert found[10:] == limits(ended)[10:]
    assert limits(ended[:3], given_up) == ()
