from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recpipe.kernels.moments import moments_of

_pair = st.tuples(st.integers(0, 4), st.none() | st.integers(-3, 3), st.sets(st.integers(0, 2)))


@settings(deadline=None)
@given(st.lists(_pair, max_size=15))
def test_sums_over_the_users_of_groups_agree_with_plain_python(
    pairs: list[tuple[int, int | None, set[int]]],
) -> None:
    """Pairs of a user, a value (None does not count) and the groups that they are in."""
    pairs.sort(key=lambda pair: pair[0])
    values = np.array([np.nan if value is None else value for _, value, _ in pairs], float)
    groups = np.array([[g in of for _, _, of in pairs] for g in range(3)]).reshape(3, -1)

    found = moments_of(np.stack([values, 2 * values]), np.array([u for u, _, _ in pairs]), groups)

    for group in range(3):
        counted = [(u, v) for u, v, of in pairs if group in of and v is not None]
        of_users = [[v for _, v in own] for _, own in groupby(counted, key=lambda pair: pair[0])]
        expected = [
            len(of_users), sum(map(len, of_users)), sum(len(of) ** 2 for of in of_users),
            sum(map(sum, of_users)), sum(sum(of) ** 2 for of in of_users),
            sum(sum(of) * len(of) for of in of_users),
        ]  # fmt: skip
        assert found[:, 0, group].tolist() == pytest.approx(expected)
        doubled = [1, 1, 1, 2, 4, 2]
        assert found[:, 1, group].tolist() == pytest.approx(np.multiply(expected, doubled))
