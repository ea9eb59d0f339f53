from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recpipe.kernels import rating as kernel

Rows = dict[tuple[int, int], float]
_id = st.integers(-3, 3) | st.sampled_from([2**31 - 1, -(2**31)])
_pairs = st.dictionaries(st.tuples(_id, _id), st.sampled_from([0.5, 2.0, 5.0]), max_size=12)


def rated(rows: Rows) -> kernel.Rated:
    pairs = [(user << 32) | (item & 0xFFFFFFFF) for user, item in rows]
    return kernel.Rated(np.array(pairs, np.int64), np.array(list(rows.values()), np.float32))


@settings(deadline=None)
@given(_pairs, st.lists(_pairs, max_size=3))
def test_sums_of_users_agree_with_plain_python(held: Rows, predicted: list[Rows]) -> None:
    found = kernel.compare(rated(held), [rated(rows) for rows in predicted])

    users = sorted({user for user, _ in held})
    assert found.users.tolist() == users
    assert found.pairs.tolist() == [sum(user == mine for user, _ in held) for mine in users]
    shared = {pair for pair in held if all(pair in rows for rows in predicted)}
    for model, rows in enumerate(predicted):
        for sums, counted in ((found.own, held.keys() & rows.keys()), (found.common, shared)):
            for place, mine in enumerate(users):
                pairs = [pair for pair in counted if pair[0] == mine]
                errors = [rows[pair] - held[pair] for pair in pairs]
                ratings = [held[pair] for pair in pairs]
                expected = [
                    len(pairs), sum(errors), sum(map(abs, errors)), sum(e * e for e in errors),
                    sum(ratings), sum(r * r for r in ratings),
                ]  # fmt: skip
                assert [float(term[model, place]) for term in sums] == pytest.approx(expected)
        assert found.faults[model] == len(rows.keys() - held.keys())
        assert found.worst[model] == (kernel.STRAY if found.faults[model] else 0)
    assert (found.repeated, found.infinite) == (0, 0)


def test_faults_are_counted_by_pair_and_the_worst_is_kept() -> None:
    held = rated({(1, 1): 4.0, (1, 2): 4.0})
    twice = kernel.Rated(held.pairs[[0, 0, 1]], np.array([1, 2, np.nan], np.float32))
    doubled = kernel.Rated(np.repeat(held.pairs, 2), np.repeat(held.values, 2))
    found = kernel.compare(doubled, [twice, held])
    assert found.repeated == 2
    assert found.faults.tolist() == [2, 0]
    assert found.worst.tolist() == [kernel.INFINITE, 0]


def test_a_rating_that_is_not_finite_is_counted() -> None:
    assert kernel.compare(rated({(1, 1): np.nan, (1, 2): 4.0}), []).infinite == 1
