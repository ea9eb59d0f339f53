"""The compiled passes against plain NumPy and against calculus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recpipe.kernels.sgd import ITEMS, USERS, descend, initial_block, squared_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

LEARNING_RATE, REGULARIZATION, BIAS_REGULARIZATION = 0.02, 0.05, 0.03
SCALES = [(0.0, 0.0), (0.5, 4.5)]  # (low, span): without bounds, with bounds


def predicted(z: float, low: float, span: float) -> float:
    return low + span / (1 + float(np.exp(-z))) if span else z


def plain_pass(
    cell: tuple[Array, Array, Array],
    p: Array,
    q: Array,
    low: float,
    span: float,
    weights: Array | None = None,
) -> float:
    """The same pass rating by rating in float64; changes p and q."""
    total = 0.0
    given_weights = np.ones(len(cell[0])) if weights is None else weights
    for u, i, r, w in zip(*cell, given_weights, strict=True):
        z = 3.0 + p[u, -1] + q[i, -1] + p[u, :-1] @ q[i, :-1]
        error = r - predicted(z, low, span)
        share = (predicted(z, low, span) - low) / span if span else 0.0
        slope = span * share * (1 - share) if span else 1.0
        total += error**2
        penalty = np.full(p.shape[1], REGULARIZATION)
        penalty[-1] = BIAS_REGULARIZATION
        along_p, along_q = np.append(q[i, :-1], 1.0), np.append(p[u, :-1], 1.0)
        step_p = w * error * slope * along_p - penalty * p[u]
        step_q = w * error * slope * along_q - penalty * q[i]
        p[u] += LEARNING_RATE * step_p
        q[i] += LEARNING_RATE * step_q
    return total


def compiled_pass(
    cell: tuple[Array, Array, Array], p: Array, q: Array, low: float, span: float
) -> float:
    rates = (LEARNING_RATE, REGULARIZATION, BIAS_REGULARIZATION)
    return descend(*cell, p, q, 3.0, low, span, *rates)


def random_cell(seed: int, *, ratings: int, users: int, items: int) -> tuple[Array, Array, Array]:
    draw = np.random.default_rng(seed)
    user = np.sort(draw.integers(0, users, ratings)).astype(np.int32)
    item = draw.integers(0, items, ratings).astype(np.int32)
    return user, item, (draw.integers(1, 11, ratings) / 2).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    ratings=st.integers(0, 60),
    users=st.integers(1, 9),
    items=st.integers(1, 9),
    rank=st.integers(1, 65),
    scale=st.sampled_from(SCALES),
)
def test_a_pass_is_what_plain_numpy_makes_of_the_formula(
    seed: int, ratings: int, users: int, items: int, rank: int, scale: tuple[float, float]
) -> None:
    cell = random_cell(seed, ratings=ratings, users=users, items=items)
    p = initial_block(users, rank, scale=1.0, seed=seed, side=USERS, block=0)
    q = initial_block(items, rank, scale=1.0, seed=seed, side=ITEMS, block=0)
    plain_p, plain_q = p.astype(np.float64), q.astype(np.float64)

    error = compiled_pass(cell, p, q, *scale)

    assert error == pytest.approx(plain_pass(cell, plain_p, plain_q, *scale), rel=1e-4, abs=1e-6)
    np.testing.assert_allclose(p, plain_p, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(q, plain_q, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("low", "span"), SCALES)
def test_a_step_goes_down_the_gradient_of_the_loss(low: float, span: float) -> None:
    user, item = np.zeros(1, np.int32), np.zeros(1, np.int32)
    rating = np.array([4.5], np.float32)
    point = np.array([0.3, -0.2, 0.1, 0.4, 0.5, -0.3], np.float64)  # p, b_u, q, b_i

    def loss(x: Array) -> float:
        z = 3.0 + x[2] + x[5] + x[:2] @ x[3:5]
        penalty = REGULARIZATION * (x[:2] @ x[:2] + x[3:5] @ x[3:5])
        penalty += BIAS_REGULARIZATION * (x[2] ** 2 + x[5] ** 2)
        return ((4.5 - predicted(z, low, span)) ** 2 + float(penalty)) / 2

    width = 1e-5
    gradient = [
        (loss(point + width * along) - loss(point - width * along)) / (2 * width)
        for along in np.eye(6)
    ]
    p, q = point[None, :3].astype(np.float32), point[None, 3:].astype(np.float32)

    compiled_pass((user, item, rating), p, q, low, span)

    moved = (np.concatenate([p[0], q[0]]) - point) / -LEARNING_RATE
    np.testing.assert_allclose(moved, gradient, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("low", "span"), SCALES)
def test_the_gradient_of_an_error_counts_as_much_as_it_weighs(low: float, span: float) -> None:
    user, item, rating = random_cell(5, ratings=60, users=6, items=7)
    weight = np.random.default_rng(1).uniform(0.05, 1, len(rating)).astype(np.float32)
    p = initial_block(6, 3, scale=1.0, seed=1, side=USERS, block=0)
    q = initial_block(7, 3, scale=1.0, seed=1, side=ITEMS, block=0)
    due_p, due_q = p.astype(np.float64), q.astype(np.float64)
    due = plain_pass((user, item, rating), due_p, due_q, low, span, weight)
    cell = (user, item, np.concatenate([rating, weight]))

    assert compiled_pass(cell, p, q, low, span) == pytest.approx(due, rel=1e-4)
    np.testing.assert_allclose(p, due_p, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(q, due_q, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("low", "span"), SCALES)
def test_the_error_of_a_cell_is_that_of_its_predictions(low: float, span: float) -> None:
    user, item, rating = random_cell(7, ratings=50, users=4, items=5)
    p = initial_block(4, 3, scale=1.0, seed=1, side=USERS, block=0)
    q = initial_block(5, 3, scale=1.0, seed=1, side=ITEMS, block=0)
    z = [3.0 + p[u, 3] + q[i, 3] + p[u, :3] @ q[i, :3] for u, i in zip(user, item, strict=True)]
    expected = sum((r - predicted(x, low, span)) ** 2 for x, r in zip(z, rating, strict=True))

    found = squared_error(user, item, rating, p, q, 3, 3.0, low, span)
    assert found == pytest.approx(expected, 1e-5)


def test_an_empty_cell_changes_nothing_and_has_no_error() -> None:
    p, q = np.ones((2, 4), np.float32), np.ones((3, 4), np.float32)
    none = (np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32))

    assert compiled_pass(none, p, q, 0.0, 0.0) == 0
    assert squared_error(*none, p, q, 3, 0.0, 0.0, 0.0) == 0
    assert (p == 1).all()
    assert (q == 1).all()


def test_a_pass_that_leaves_the_finite_numbers_says_so() -> None:
    cell = (np.zeros(3, np.int32), np.zeros(3, np.int32), np.full(3, 5.0, np.float32))
    p, q = np.full((1, 3), 1e25, np.float32), np.full((1, 3), 1e25, np.float32)

    assert not np.isfinite(compiled_pass(cell, p, q, 0.0, 0.0))
    assert not np.isfinite(squared_error(*cell, p, q, 2, 0.0, 0.0, 0.0))


def test_ratings_may_lie_in_memory_that_cannot_be_written() -> None:
    cell = random_cell(3, ratings=20, users=3, items=3)
    for array in cell:
        array.setflags(write=False)
    p, q = np.zeros((3, 3), np.float32), np.zeros((3, 3), np.float32)

    assert compiled_pass(cell, p, q, 0.0, 0.0) > 0


def test_first_factors_depend_on_seed_side_and_block_and_biases_are_zero() -> None:
    def block(seed: int = 1, side: int = USERS, number: int = 0) -> Array:
        return initial_block(2000, 16, scale=0.5, seed=seed, side=side, block=number)

    np.testing.assert_array_equal(block(), block())
    assert not np.array_equal(block(), block(seed=2))
    assert not np.array_equal(block(), block(side=ITEMS))
    assert not np.array_equal(block(), block(number=1))
    assert not block()[:, 16].any()
    assert np.linalg.norm(block(), axis=1).mean() == pytest.approx(0.5, rel=0.05)
