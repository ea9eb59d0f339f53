"""What the values of a table mean: ratings on a scale, or strengths of likings."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recpipe.feedback import Scale, meaning_of

HALVES = Scale(min=0.5, max=5, step=0.5)
WHOLE = Scale(min=1, max=5, step=1)


@pytest.mark.parametrize(
    ("scale", "liked"),
    [
        (HALVES, 4), (WHOLE, 4), (Scale(min=1, max=10, step=1), 8),
        (Scale(min=0, max=100, step=1), 75), (Scale(min=-1, max=1, step=2), 1),
        (Scale(min=0, max=1, step=1), 1), (Scale(min=0, max=1, step=0.1), 0.8),
        (Scale(min=-10, max=10, step=0.01), 5), (Scale(min=0, max=2, step=None), 1.5),
        (Scale(min=3, max=3, step=1), 3),
    ],
)  # fmt: skip
def test_what_is_liked_is_the_top_quarter_of_the_scale(scale: Scale, liked: float) -> None:
    assert scale.liked_from() == pytest.approx(liked)
    assert scale.holds(scale.liked_from()) or scale.step is None


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ({1: 90, 2: 110, 3: 270, 4: 345, 5: 210}, WHOLE),
        ({0.5: 10, 3: 200, 4: 300, 4.5: 100, 5: 50}, HALVES),
        # Nobody of a few gave the lowest, or the highest.
        ({2: 3, 3: 5, 4: 9}, WHOLE),
        ({2: 30, 3: 500, 4: 900, 5: 100}, WHOLE),
        ({7: 2, 9: 1}, Scale(min=1, max=10, step=1)),
        # Scales that end elsewhere are believed where there are many ratings.
        ({1: 100, 2: 300, 3: 200}, Scale(min=1, max=3, step=1)),
        ({0.5: 500, 2: 900, 3.5: 800, 4: 400}, Scale(min=0.5, max=4, step=0.5)),
        ({0: 600, 1: 400}, Scale(min=0, max=1, step=1)),
        ({-1: 600, 1: 400}, Scale(min=-1, max=1, step=2)),
        ({0: 700, 5: 20, 7: 60, 8: 90, 10: 80}, Scale(min=0, max=10, step=1)),
        ({0: 20, 10: 30, 50: 90, 80: 100, 100: 60}, Scale(min=0, max=100, step=10)),
        # One in a thousand is a slip of the pen.
        ({1: 90, 2: 110, 3: 270, 4: 345, 5: 210, 55: 1}, WHOLE),
        ({1: 90, 2: 110, 3: 270, 4: 345, 5: 210, -1: 1}, WHOLE),
        ({0.1: 40, 0.25: 50, 0.9: 60}, Scale(min=0.1, max=0.9, step=0.05)),
    ],
)
def test_few_values_between_two_ends_are_ratings(values: dict[float, int], scale: Scale) -> None:
    found = meaning_of(values)
    assert (found.feedback, found.scale) == ("explicit", scale)


@pytest.mark.parametrize(
    "values",
    [
        {1: 500},
        {4.5: 3},
        {1: 700, 2: 180, 3: 60, 4: 25, 5: 12, 6: 5, 7: 2},
        {1: 5000, 2: 2000, 3: 900, 4: 500, 5: 300, 6: 200, 9: 40, 12: 11, 40: 1, 212: 1},
        {3: 1, 57: 1, 92: 1, 1163: 1, 1932: 1, 352_698: 1},
        {0.2: 50, 1.5: 40, 11.3: 20, 100.1: 5, 812.5: 1},
    ],
)
def test_one_value_or_a_long_tail_are_strengths_of_likings(values: dict[float, int]) -> None:
    found = meaning_of(values)
    assert (found.feedback, found.scale) == ("implicit", None)
    assert found.reason


def test_the_name_of_a_column_the_release_and_the_settings_decide_before_the_values() -> None:
    stars: dict[float, int] = {1: 90, 2: 110, 3: 270, 4: 345, 5: 210}
    assert meaning_of(stars, counts_by_name=True).feedback == "implicit"
    assert meaning_of(stars, release=HALVES).scale == HALVES
    assert meaning_of({v * 20: n for v, n in stars.items()}, release=HALVES).scale != HALVES
    assert meaning_of({1: 9}, feedback="explicit", release=HALVES).scale == HALVES
    assert meaning_of({1: 9}, feedback="explicit").scale == WHOLE
    assert meaning_of(stars, feedback="implicit").scale is None
    assert meaning_of({}).feedback == "explicit"


@given(
    low=st.integers(-20, 20),
    steps=st.integers(2, 20),
    step=st.sampled_from([0.1, 0.25, 0.5, 1.0, 5.0]),
    each=st.integers(5, 500),
)
def test_a_scale_that_is_used_evenly_is_found(low: int, steps: int, step: float, each: int) -> None:
    values = {round(low + i * step, 6): each for i in range(steps + 1)}
    found = meaning_of(values)
    assert found.feedback == "explicit"
    assert found.scale is not None
    assert all(found.scale.holds(value) for value in values)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1))
def test_any_numbers_mean_something_and_most_are_on_the_scale_that_is_found(
    numbers: list[float],
) -> None:
    values = Counter(numbers)
    found = meaning_of(values, feedback="explicit")
    assert found.scale is not None
    assert math.isfinite(found.scale.liked_from())
    held = sum(n for value, n in values.items() if found.scale.holds(value))
    assert held >= 0.99 * len(numbers)
