"""A test that never took place: sizes as statsmodels has them, replays as chance has them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import proportion_effectsize

from recpipe.cli.simulation import _said, simulate_command
from recpipe.evaluation.simulation import ClickModel, replay, sample_size


@settings(deadline=None, max_examples=40)
@given(
    st.floats(0.01, 0.6), st.floats(0.02, 1.0), st.sampled_from([0.5, 0.8, 0.95]),
    st.sampled_from([0.01, 0.05]),
)  # fmt: skip
def test_the_number_of_users_is_that_of_statsmodels(
    rate: float, lift: float, power: float, level: float
) -> None:
    other = min(0.99, rate * (1 + lift))
    expected = NormalIndPower().solve_power(
        effect_size=proportion_effectsize(other, rate), alpha=level, power=power, ratio=1
    )
    assert abs(sample_size(rate, other, power=power, level=level) - expected) <= 1


@pytest.mark.parametrize("rates", [(0.1, 0.1), (-0.1, 0.2), (0.1, 1.2)])
def test_rates_that_are_none_or_equal_are_refused(rates: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="rates must differ"):
        sample_size(*rates)


def test_the_chance_of_a_click_by_hand() -> None:
    model = ClickModel(bias=1, relevant=0.6, other=0.1)
    hits = np.array([[True, False], [False, False], [True, False]])
    shown = np.array([[True, True], [True, False], [True, False]])
    first = 1 - (1 - 0.6) * (1 - 0.1 / 2) * (1 - 0.6 / 3)
    assert model.success(hits, shown).tolist() == pytest.approx([first, 0.1])
    assert model.assumptions[0] == "a place r of a list is looked at with chance (1 / r)^1"


def test_replays_of_a_model_against_its_equal_show_a_difference_5_times_in_100() -> None:
    chances = np.random.default_rng(1).beta(1, 4, 2000)
    found = replay(chances, chances, seed=2, replays=2000)
    assert found.needed is None
    assert found.lift == 0
    assert 0.035 <= found.power <= 0.065
    assert found.lift_low is not None
    assert found.lift_high is not None
    assert found.lift_low < 0 < found.lift_high


def test_with_as_many_users_as_are_needed_80_of_100_tests_show_the_difference() -> None:
    one, other = 0.10, 0.13
    n = sample_size(one, other)
    found = replay(np.full(2 * n, one), np.full(2 * n, other), seed=3, replays=2000)
    assert found.needed == n
    assert found.lift == pytest.approx(0.3)
    assert 0.77 <= found.power <= 0.83
    assert found.as_dict()["simulation"] is True


def test_where_the_first_model_never_succeeds_there_is_no_lift_and_no_fault() -> None:
    found = replay(np.zeros(100), np.full(100, 0.2), seed=1, replays=50)
    assert (found.lift, found.lift_low, found.lift_high) == (None, None, None)
    assert found.needed == sample_size(0, 0.2)
    json.dumps(found.as_dict(), allow_nan=False)
    neither = replay(np.zeros(100), np.zeros(100), seed=1, replays=50)
    assert (neither.lift, neither.needed, neither.power) == (None, None, 0)


def test_rates_that_are_equal_but_for_rounding_are_equal() -> None:
    chances = np.full(3, 0.1)
    found = replay(chances, np.nextafter(chances, 1), seed=1, replays=10)
    assert found.lift == 0
    assert found.needed is None


def test_the_console_says_that_there_is_no_lift() -> None:
    found = replay(np.zeros(100), np.full(100, 0.2), seed=1, replays=50).as_dict()
    more = {"run_id": "one", "models": ["a", "b"], "wished_lift": 0.05, "needed_for_wished": None,
            "assumptions": ClickModel().assumptions}  # fmt: skip
    said = "\n".join(_said(found | more))
    assert "under b: no lift: a never succeeds." in said
    assert "- every visitor has at least one relevant item in test; real visitors often" in said


@pytest.mark.parametrize("option", ["--models", "--models-dir", "--run-date"])
def test_options_without_effect_are_not_offered(option: str) -> None:
    ended = CliRunner().invoke(simulate_command, ["a", "b", "--root", "x", option, "y"])
    assert ended.exit_code == 2
    assert "No such option" in ended.output
