from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recpipe.kernels.rows import order_of

PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), max_size=60)


@given(PAIRS)
def test_ratings_come_by_row_then_column_then_place(pairs: list[tuple[int, int]]) -> None:
    rows, columns = (np.array([pair[at] for pair in pairs], np.int32) for at in (0, 1))

    order = order_of(rows, columns, shape=(7, 10))

    assert order.tolist() == sorted(range(len(pairs)), key=lambda at: (*pairs[at], at))


@pytest.mark.parametrize("highest", [30, 2**31 - 1])
def test_numbers_of_any_size_are_put_in_the_same_order(highest: int) -> None:
    rng = np.random.default_rng(4)
    rows = rng.integers(0, 5, 200).astype(np.int32)
    columns = rng.choice([0, 7, 8, highest], 200).astype(np.int32)

    order = order_of(rows, columns, shape=(5, highest + 1))

    assert order.tolist() == np.lexsort((np.arange(200), columns, rows)).tolist()
