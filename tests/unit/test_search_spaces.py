"""What a search may change: every range is of a setting, and of values that it takes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from recpipe.errors import UsageError
from recpipe.models.registry import SPECS
from recpipe.models.search import Choices, FloatRange, IntRange, SearchSpace
from recpipe.tuning.request import Request

TUNED = {name: spec.search for name, spec in SPECS.items() if spec.search is not None}


def test_all_models_that_learn_from_settings_can_be_tuned() -> None:
    assert set(TUNED) == {
        "als_explicit", "als_implicit", "nmf", "block_als", "block_als_implicit", "sgd", "ease",
        "slim", "svd", "svd_implicit", "item_knn", "user_knn", "rp3beta",
        "content", "hybrid", "time_sgd", "biases", "gmf", "mlp", "neumf", "sasrec",
    }  # fmt: skip


@pytest.mark.parametrize("name", TUNED)
def test_a_space_names_settings_of_the_models_own_section(name: str) -> None:
    section = SPECS[name].sections[name]
    assert set(TUNED[name].ranges) <= set(section.model_fields)
    for setting, each in TUNED[name].ranges.items():
        for value in each.ends:
            assert getattr(section.model_validate({setting: value}), setting) == value


@pytest.mark.parametrize("name", TUNED)
def test_the_defaults_lie_within_the_space(name: str) -> None:
    defaults = SPECS[name].sections[name]()
    for setting, each in TUNED[name].ranges.items():
        assert getattr(defaults, setting) == "auto" or getattr(defaults, setting) in each


@pytest.mark.parametrize(
    ("ranges", "says"),
    [
        ({"rnak": IntRange(1, 2)}, r"sgd: .*'rnak'.* no setting of \[sgd\]; did you mean rank\?"),
        ({"rank": IntRange(0, 2)}, r"rank = 0, which is refused"),
        ({"exchange": Choices(("ring", "rnig"))}, r"exchange = 'rnig', which is refused"),
        ({}, r"no setting to search"),
    ],
)
def test_a_space_that_does_not_fit_the_settings_is_refused_with_the_spec(
    ranges: dict[str, IntRange | Choices], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        replace(SPECS["sgd"], search=SearchSpace(ranges))


def test_a_model_without_settings_has_no_space() -> None:
    with pytest.raises(ValueError, match=r"mean: .* no setting"):
        replace(SPECS["mean"], sections={}, search=SearchSpace({"rank": IntRange(1, 2)}))


@pytest.mark.parametrize(("low", "high", "log"), [(2, 1, False), (1, 1, False), (0, 1, True)])
def test_a_range_ascends_and_by_powers_lies_above_0(low: int, high: int, log: bool) -> None:
    with pytest.raises(ValueError, match="ascend"):
        FloatRange(low, high, log)


def test_choices_are_several_and_distinct() -> None:
    for values in ((), ("a",), ("a", "a")):
        with pytest.raises(ValueError, match="at least two"):
            Choices(values)


def test_a_range_knows_what_lies_in_it() -> None:
    assert 0.5 in FloatRange(0.5, 2)
    assert 2.1 not in FloatRange(0.5, 2)
    assert "auto" not in FloatRange(0.5, 2)
    assert True not in IntRange(0, 2)
    assert 1.5 not in IntRange(0, 2)
    assert False in Choices((False, True))


def test_a_number_to_be_tried_has_three_digits_and_stays_in_its_range() -> None:
    assert FloatRange(0.001, 0.3).plain(0.0123456) == 0.0123
    assert FloatRange(0.12345, 0.3).plain(0.12345) == 0.12345


@pytest.mark.parametrize("name", ["popularity", "mean", "random"])
def test_a_baseline_without_settings_is_not_tuned(name: str) -> None:
    with pytest.raises(UsageError, match=rf"{name} is a baseline .*sgd"):
        _ = Request(name).space


def test_a_blend_is_not_tuned() -> None:
    with pytest.raises(UsageError, match="blend is a model with no settings to search"):
        _ = Request("blend").space
