from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recpipe.kernels.hashes import uniform

_STEP = 0x9E3779B97F4A7C15
_seed = st.integers(-(2**63), 2**64 - 1)
_number = st.integers(0, 2**31 - 1)


def hashed(seed: int, rows: list[int], columns: list[int]) -> np.ndarray:
    return uniform(seed, np.array(rows, np.int32), np.array(columns, np.int32))


def mixed(x: int) -> int:
    """The finalizer of SplitMix64, on integers of Python."""
    x %= 2**64
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
    return x ^ x >> 31


@settings(deadline=None)
@given(seed=_seed, row=_number, column=_number)
def test_a_number_is_the_highest_24_bits_of_three_rounds_of_splitmix64(
    seed: int, row: int, column: int
) -> None:
    due = mixed(mixed(mixed(seed + _STEP) + _STEP * (row + 1)) + _STEP * (column + 1)) >> 40
    assert hashed(seed, [row], [column]).tolist() == [[due / 2**24]]


@settings(deadline=None)
@given(seed=_seed)
def test_hashes_depend_on_seed_row_and_column_alone(seed: int) -> None:
    whole = hashed(seed, [0, 1, 2, 7], [0, 1, 5, 9])
    assert hashed(seed, [7, 1], [1, 9]).tolist() == whole[np.ix_([3, 1], [1, 3])].tolist()
    assert whole.dtype == np.float32
    assert ((whole >= 0) & (whole < 1)).all()
    assert len(np.unique(whole)) == 16
    assert hashed(seed + 1, [0], [0]) != hashed(seed, [0], [0])


def test_hashes_are_uniform() -> None:
    out = hashed(42, list(range(200)), list(range(500)))
    counts, _ = np.histogram(out, bins=10, range=(0, 1))
    assert counts == pytest.approx(10_000, rel=0.05)
    assert out.mean(axis=0) == pytest.approx(0.5, abs=0.12)
    assert abs(np.corrcoef(out[:, 0], out[:, 1])[0, 1]) < 0.25


def test_no_rows_or_columns_have_no_numbers() -> None:
    assert hashed(1, [], [3]).shape == (0, 1)
    assert hashed(1, [3], []).shape == (1, 0)
