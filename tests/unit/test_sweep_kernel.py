"""The sweep operator against NumPy's inverse."""

from __future__ import annotations

import numpy as np
import pytest

from recpipe.kernels.sweep import pivot_part, swept


def spread(n: int, *, condition: float, seed: int = 3) -> np.ndarray:
    """A positive definite matrix whose largest eigenvalue is `condition` times its smallest."""
    rng = np.random.default_rng(seed)
    vectors, _ = np.linalg.qr(rng.normal(size=(n, n)))
    matrix: np.ndarray = (vectors * np.geomspace(1, condition, n)) @ vectors.T
    return 0.5 * matrix + 0.5 * matrix.T


@pytest.mark.parametrize("width", [1, 5, 16, 37, 50])
@pytest.mark.parametrize("order", [1, -1])
def test_swept_by_every_block_of_rows_it_is_the_inverse(width: int, order: int) -> None:
    n = 37
    matrix = spread(n, condition=1e4)
    cuts = [slice(at, min(at + width, n)) for at in range(0, n, width)]
    tiles = {(i, j): matrix[a, b] for i, a in enumerate(cuts) for j, b in enumerate(cuts)}
    for k in range(len(cuts))[::order]:
        root = pivot_part(tiles[k, k])
        assert root is not None
        panel = [root if i == k else root @ tiles[k, i] for i in range(len(cuts))]
        tiles = {
            (i, j): swept(tile, panel[i], panel[j], pivots=(i == k) + (j == k))
            for (i, j), tile in tiles.items()
        }
    found = np.block([[tiles[i, j] for j in range(len(cuts))] for i in range(len(cuts))])
    np.testing.assert_allclose(-found, np.linalg.inv(matrix), rtol=0, atol=1e-11)
    np.testing.assert_allclose(found, found.T, rtol=0, atol=1e-13)


def test_a_tile_that_is_not_positive_definite_has_no_panel() -> None:
    assert pivot_part(np.array([[4.0, 4.0], [4.0, 4.0]])) is None
    assert pivot_part(np.array([[1.0, 2.0], [2.0, 1.0]])) is None
    assert pivot_part(np.array([[4.0]])) == pytest.approx(0.5)


def test_a_tile_is_left_as_it_was() -> None:
    matrix = spread(6, condition=10)
    before = matrix.copy()
    root = pivot_part(matrix[:3, :3])
    assert root is not None
    panel = root @ matrix[:3, 3:]
    swept(matrix[3:, 3:], panel, panel, pivots=0)
    assert (matrix == before).all()
