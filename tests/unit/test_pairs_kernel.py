from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recpipe.kernels import pairs as kernel

_id = st.integers(0, 2**31 - 1) | st.integers(0, 5)


def packed(pairs: list[tuple[int, int]]) -> np.ndarray:
    return np.array([(user << 32) + item for user, item in pairs], np.int64)


@settings(deadline=None)
@given(
    st.lists(st.tuples(_id | st.just(-3), _id)),
    st.integers(1, 9),
    st.sampled_from([(np.int32, 0), (np.int64, 2**40)]),
)
def test_pairs_and_their_values_come_by_bucket_in_their_order(
    pairs: list[tuple[int, int]], buckets: int, kind: tuple[type, int]
) -> None:
    number, base = kind
    values = np.arange(len(pairs), dtype=number) + number(base)
    moved, beside, starts = kernel.by_bucket(packed(pairs), values, buckets)
    order = sorted(range(len(pairs)), key=lambda at: pairs[at][0] % buckets)
    assert (beside - base).tolist() == order
    assert moved.tolist() == packed([pairs[at] for at in order]).tolist()
    sizes = np.bincount([user % buckets for user, _ in pairs], minlength=buckets)
    assert np.diff(starts).tolist() == sizes.tolist()


def test_pairs_without_values() -> None:
    moved, beside, _ = kernel.by_bucket(packed([(3, 1), (2, 5)]), kernel.NONE, 2)
    assert (moved.tolist(), len(beside)) == (packed([(2, 5), (3, 1)]).tolist(), 0)
    assert kernel.users_of(moved).tolist() == [2, 3]
