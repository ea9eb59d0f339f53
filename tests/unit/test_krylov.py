"""Eigenpairs by products alone, against LAPACK's of the whole matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recpipe.kernels.krylov import ROUNDING, Eigenpairs, largest_eigenpairs


def matrix(values: np.ndarray, *, seed: int = 3) -> np.ndarray:
    """A symmetric matrix of these eigenvalues."""
    turned = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(values), len(values))))[0]
    made: np.ndarray = (turned * values) @ turned.T
    return made


def found(m: np.ndarray, **changes: Any) -> Eigenpairs:
    asked: dict[str, Any] = {
        "count": 5, "width": 8, "max_width": 40, "max_products": 200, "tolerance": 1e-13, "seed": 1,
    }  # fmt: skip
    return largest_eigenpairs(lambda x: m @ x, len(m), **{**asked, **changes})


SPECTRA = {
    "decaying": 0.95 ** np.arange(120),
    "flat": np.linspace(1, 0.9, 120),
    "of rank 3": np.r_[[4.0, 2.0, 1.0], np.zeros(97)],
    "one value many times": np.r_[np.full(30, 2.0), np.ones(70)],
    "nothing": np.zeros(50),
    "fewer than a block": np.array([3.0, 2.0, 1.0, 0.5, 0.25, 0.1]),
    "of very different sizes": 10.0 ** -np.arange(0, 60, 0.5),
}


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("max_width", [24, 40, 1000])
@pytest.mark.parametrize("width", [1, 3, 8])  # narrower than what is sought, and wider
def test_the_largest_eigenpairs_are_those_of_the_whole_matrix(
    name: str, max_width: int, width: int
) -> None:
    m = matrix(SPECTRA[name])
    pairs = found(m, max_width=max_width, width=width)
    due = np.linalg.eigvalsh(m)[::-1][:5]
    np.testing.assert_allclose(pairs.values, due, rtol=0, atol=1e-12)
    np.testing.assert_allclose(pairs.vectors.T @ pairs.vectors, np.eye(5), rtol=0, atol=1e-12)
    # Whatever vectors of an eigenvalue are taken, they are such vectors.
    left = m @ pairs.vectors - pairs.vectors * pairs.values
    assert abs(left).max() < 1e-11


@pytest.mark.parametrize("width", [1, 16])
def test_rounding_of_products_is_taken_for_no_further_vector_of_a_value(width: int) -> None:
    m = matrix(np.r_[np.ones(100), np.full(200, 0.9)]).astype(np.float32)
    pairs = largest_eigenpairs(
        lambda x: (m @ x.astype(np.float32)).astype(np.float64), 300, count=64, width=width,
        max_width=600, max_products=100, tolerance=1e-4, seed=1, rounding=ROUNDING[np.float32],
    )  # fmt: skip
    np.testing.assert_allclose(pairs.values, 1, rtol=0, atol=1e-5)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-9])
@pytest.mark.parametrize(
    "values",
    [np.repeat(np.arange(10.0, 0, -1), 30), np.repeat(0.8 ** np.arange(12), 25)],
    ids=["even", "decaying"],
)
@pytest.mark.parametrize("count", [20, 64])
def test_a_narrow_block_leaves_out_no_vector_of_a_value_for_those_of_a_lower_one(
    count: int, values: np.ndarray, tolerance: float
) -> None:
    pairs = found(matrix(values), count=count, width=16, max_width=600, tolerance=tolerance)
    np.testing.assert_allclose(pairs.values, values[:count], rtol=0, atol=tolerance)
    assert pairs.residual <= tolerance


def test_a_look_at_what_is_left_of_a_matrix_takes_few_products() -> None:
    m = matrix(0.97 ** np.arange(300))
    asked = {"count": 40, "max_width": 400, "tolerance": 1e-3}
    once = found(m, width=16, **asked)
    # A block of so many columns needs no look.
    wide = found(m, width=40, **asked)
    assert once.products * 16 < wide.products * 40
    assert found(m, width=16, **asked).vectors.tobytes() == once.vectors.tobytes()


def test_what_is_said_to_be_left_is_left() -> None:
    m = matrix(SPECTRA["flat"])
    pairs = found(m, max_products=4)
    left = np.linalg.norm(m @ pairs.vectors - pairs.vectors * pairs.values, axis=0).max()
    assert pairs.products == 4
    assert pairs.residual == pytest.approx(left / pairs.values[0], rel=1e-6)
    assert 1e-6 < pairs.residual < 1e-1


def test_fewer_products_suffice_for_a_coarser_answer_and_for_a_wider_block() -> None:
    m = matrix(SPECTRA["decaying"])
    coarse, fine, wide = (
        found(m, max_width=1000, **asked) for asked in ({"tolerance": 1e-2}, {}, {"width": 13})
    )
    assert coarse.products < fine.products
    assert wide.products < fine.products
    assert coarse.residual <= 1e-2


def test_one_seed_gives_one_answer() -> None:
    m = matrix(SPECTRA["decaying"])
    assert found(m).vectors.tobytes() == found(m).vectors.tobytes()
    assert found(m).vectors.tobytes() != found(m, seed=2).vectors.tobytes()
