from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recpipe.kernels import rating as kernel

TERMS = (lambda ratings, found: (found - ratings) ** 2, lambda ratings, found: abs(found - ratings))
Rows = dict[tuple[int, int], float]
_id = st.integers(-3, 3) | st.sampled_from([2**31 - 1, -(2**31)])
_pairs = st.dictionaries(st.tuples(_id, _id), st.sampled_from([0.5, 2.0, 5.0]), max_size=12)


def rated(rows: Rows) -> kernel.Rated:
    pairs = [(user << 32) | (item & 0xFFFFFFFF) for user, item in rows]
    return kernel.Rated(np.array(pairs, np.int64), np.array(list(rows.values()), np.float32))


@settings(deadline=None)
@given(_pairs, st.lists(_pairs, max_size=3), st.integers(1, 3))
def test_users_in_any_parts_add_up_to_plain_python(
    held: Rows, predicted: list[Rows], parts: int
) -> None:
    def part(rows: Rows, number: int) -> Rows:
        return {pair: value for pair, value in rows.items() if pair[0] % parts == number}

    found = kernel.added(
        [
            kernel.compare(
                rated(part(held, n)), [rated(part(rows, n)) for rows in predicted], terms=TERMS
            )
            for n in range(parts)
        ]
    )

    masks = {pair: sum((pair in p) << m for m, p in enumerate(predicted)) for pair in held}
    assert found.masks.tolist() == sorted(set(masks.values()))
    for row, mask in enumerate(found.masks.tolist()):
        pairs = [pair for pair in held if masks[pair] == mask]
        assert found.pairs[row] == len(pairs)
        assert found.users[row] == len({user for user, _ in pairs})
        for model, rows in enumerate(predicted):
            errors = [rows[p] - held[p] for p in pairs] if mask >> model & 1 else []
            if errors:
                squared, absolute = found.sums[row, model]
                assert squared == pytest.approx(sum(e * e for e in errors))
                assert absolute == pytest.approx(sum(map(abs, errors)))
    for model, rows in enumerate(predicted):
        assert found.reached[model] == len({user for user, item in rows if (user, item) in held})
        assert found.faults[model] == len(rows.keys() - held.keys())
        assert found.worst[model] == (kernel.STRAY if found.faults[model] else 0)
    assert found.repeated.tolist() == [0]


def test_faults_are_counted_by_pair_and_the_worst_is_kept() -> None:
    held = rated({(1, 1): 4.0, (1, 2): 4.0})
    twice = kernel.Rated(held.pairs[[0, 0, 1]], np.array([1, 2, np.nan], np.float32))
    doubled = kernel.Rated(np.repeat(held.pairs, 2), np.repeat(held.values, 2))
    found = kernel.compare(doubled, [twice, held], terms=TERMS)
    assert found.repeated.tolist() == [2]
    assert found.faults.tolist() == [2, 0]
    assert found.worst.tolist() == [kernel.INFINITE, 0]


def test_a_set_of_models_that_no_mask_can_name_is_refused() -> None:
    held = rated({(1, 1): 4.0})
    with pytest.raises(ValueError, match="63 models"):
        kernel.compare(held, [held] * 63, terms=TERMS)
