from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recpipe.kernels.gram import (
    TILE,
    column_tiles,
    gram_tile,
    normal_product,
    sparse_product,
    tiled_product,
)

Sparse = tuple[np.ndarray, np.ndarray, np.ndarray]

_values = st.sampled_from([0.0, 1.0, -2.0, 0.5, 3.25, 1e-3, 512.0])
_dense = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=9),
    elements=_values,
)


def sparse(dense: np.ndarray, kind: type[Any] = np.float32) -> Sparse:
    """Offsets, columns and values of what is not 0, read-only as Arrow's arrays are."""
    rows, columns = np.nonzero(dense)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(dense)))])
    arrays = (
        offsets.astype(np.int64),
        columns.astype(np.int32),
        np.ascontiguousarray(dense[rows, columns], kind),
    )
    for array in arrays:
        array.flags.writeable = False
    return arrays


@settings(deadline=None)
@given(_dense, st.data())
def test_a_gram_tile_is_of_the_upper_triangle_of_the_product(
    dense: np.ndarray, data: st.DataObject
) -> None:
    width = dense.shape[1]
    ends = [data.draw(st.integers(0, width)) for _ in range(4)]
    high, wide = slice(*sorted(ends[:2])), slice(*sorted(ends[2:]))
    x = dense.astype(np.float64)
    found = gram_tile(*sparse(dense), high, wide)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, np.triu(x.T @ x)[high, wide], rtol=1e-12)


def test_tiles_that_are_made_one_by_one_have_the_same_bits() -> None:
    rng = np.random.default_rng(1)
    dense = np.where(rng.random((50, 23)) < 0.4, rng.normal(size=(50, 23)), 0)
    given, cuts = sparse(dense), [slice(at, min(at + 5, 23)) for at in range(0, 23, 5)]
    whole = gram_tile(*given, slice(0, 23), slice(0, 23))
    parts = [[gram_tile(*given, high, wide) for wide in cuts] for high in cuts]
    assert np.block(parts).tobytes() == whole.tobytes()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@settings(deadline=None)
@given(_dense, st.integers(0, 5), st.integers(0, 2**32 - 1))
def test_a_sparse_product_is_that_of_dense_matrices(
    kind: type[Any], dense: np.ndarray, width: int, seed: int
) -> None:
    other = np.random.default_rng(seed).normal(size=(dense.shape[1], width)).astype(kind)
    found = sparse_product(*sparse(dense, kind), other)
    assert found.dtype == kind
    assert found.shape == (len(dense), width)
    due, size = (
        a.astype(np.float64) @ b.astype(np.float64)
        for a, b in ((dense, other), (abs(dense), abs(other)))
    )
    np.testing.assert_array_less(abs(found - due), 10 * np.finfo(kind).eps * size + 1e-30)


@pytest.mark.parametrize("width", [1, TILE - 1, TILE, TILE + 1, 3 * TILE])
@settings(deadline=None, max_examples=30)
@given(_dense, st.integers(0, 2**32 - 1))
def test_a_product_in_tiles_has_the_bits_of_the_whole(
    width: int, dense: np.ndarray, seed: int
) -> None:
    rows = dense.shape[1]
    other = np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)
    tiles = column_tiles(width, rows)
    for column in range(width):
        tiles[column // TILE, :-1, column % TILE] = other[:, column]
    offsets, columns, values = sparse(dense)
    unknown = np.where(np.arange(len(columns)) % 3, columns, -1).astype(np.int32)
    for those in (columns, unknown):
        whole = sparse_product(offsets, those, values, other)
        found = tiled_product(offsets, those, values, tiles, width=width)
        np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@settings(deadline=None)
@given(_dense, st.integers(0, 5), st.integers(0, 2**32 - 1))
def test_a_normal_product_is_that_of_dense_matrices(
    kind: type[Any], dense: np.ndarray, width: int, seed: int
) -> None:
    other = np.random.default_rng(seed).normal(size=(dense.shape[1], width)).astype(kind)
    offsets, columns, values = sparse(dense, kind)
    found = normal_product(offsets, columns, values, other)
    assert found.dtype == kind
    due, size = (
        a.astype(np.float64).T @ (a.astype(np.float64) @ b)
        for a, b in ((dense, other), (abs(dense), abs(other)))
    )
    np.testing.assert_array_less(abs(found - due), 20 * np.finfo(kind).eps * size + 1e-30)


def test_a_value_without_a_row_of_the_dense_matrix_adds_nothing() -> None:
    offsets, columns = np.array([0, 2, 3], np.int64), np.array([-1, 1, -1], np.int32)
    dense = np.array([[1, 2], [3, 4]], np.float32)
    found = sparse_product(offsets, columns, np.array([9, 2, 9], np.float32), dense)
    assert found.tolist() == [[6, 8], [0, 0]]


def test_a_row_and_a_column_of_a_product_have_the_same_bits_whatever_stands_beside_them() -> None:
    rng = np.random.default_rng(2)
    dense = np.where(rng.random((40, 60)) < 0.5, rng.normal(size=(40, 60)), 0)
    other = rng.normal(size=(60, 35)).astype(np.float32)
    whole = sparse_product(*sparse(dense), other)
    for row in (0, 17, 39):
        alone = sparse_product(*sparse(dense[row : row + 1]), other)
        assert alone.tobytes() == whole[row].tobytes()
    for block in (slice(0, 1), slice(3, 20), slice(31, 35)):
        some = sparse_product(*sparse(dense), np.ascontiguousarray(other[:, block]))
        assert some.tobytes() == np.ascontiguousarray(whole[:, block]).tobytes()
