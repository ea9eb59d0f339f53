from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recpipe.kernels import als, als_gradients, als_subspace
from recpipe.kernels.als import initial_factors
from recpipe.kernels.normal_equations import Objective, gram, width

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Rows = tuple[NDArray[np.int64], NDArray[np.int32], Floats]

# Numba's own types do not know what a call may unpack.
solve_exactly: Any = als.solve_exactly
solve_by_gradients: Any = als_gradients.solve_by_gradients
solve_by_subspaces: Any = als_subspace.solve_by_subspaces
solve_refined: Any = als.solve_refined

EXPLICIT = Objective(rank=5, regularization=0.1)
IMPLICIT = Objective(rank=5, regularization=0.1, implicit=True, alpha=2.0)
IALS = IMPLICIT._replace(loss="ials", unobserved_weight=0.3)


def ratings(counts: list[int], *, others: int, seed: int = 1) -> Rows:
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    columns = [np.sort(rng.choice(others, n, replace=n > others)) for n in counts]
    values = rng.uniform(-1, 5, offsets[-1]).astype(np.float32)
    return offsets, np.concatenate([np.empty(0), *columns]).astype(np.int32), values


def factors(rows: int, rank: int, *, seed: int = 2) -> Floats:
    padded = np.zeros((rows, width(rank)), np.float32)
    padded[:, :rank] = np.random.default_rng(seed).normal(size=(rows, rank))
    return padded


def parts(rows: Rows, other: Floats, own: Objective) -> tuple[Any, ...]:
    """What every solver takes."""
    base = (own.unobserved_weight * gram(other) * own.implicit).astype(np.float32)
    penalties = own.penalties(rows[0], rows[2], others=len(other))
    return *rows, other, base, penalties, *own.scalars


def by_numpy(rows: Rows, other: Floats, own: Objective) -> NDArray[np.float64]:
    """The same answers, dense and in float64, straight from the formula."""
    offsets, columns, values = rows
    y_all = other[:, : own.rank].astype(np.float64)
    out = np.zeros((len(offsets) - 1, own.rank))
    for row, (start, stop) in enumerate(pairwise(offsets)):
        if start == stop:
            continue
        y, value = y_all[columns[start:stop]], values[start:stop].astype(np.float64)
        unobserved = own.unobserved_weight
        if own.implicit:
            weight = own.alpha * np.abs(value)
            target = np.where(value > 0, unobserved * (own.loss == "confidence") + weight, 0)
            matrix, count = unobserved * y_all.T @ y_all + (y.T * weight) @ y, (value > 0).sum()
        else:
            target, matrix, count = value, y.T @ y, len(value)
        if own.loss == "ials":
            count = count + unobserved * len(other)
        penalty = own.regularization * count**own.exponent
        out[row] = np.linalg.solve(matrix + penalty * np.eye(own.rank), y.T @ target)
    return out


@pytest.mark.parametrize("objective", [EXPLICIT, IMPLICIT])
def test_rows_are_drawn_to_a_prior(objective: Objective) -> None:
    """The penalty of the distance from m: with x = m + d, a ridge regression of what m leaves."""
    rows, other = ratings([3, 0, 70], others=90), factors(90, 5)
    prior = factors(3, 5, seed=6)
    out = np.zeros_like(prior)
    assert solve_exactly(*parts(rows, other, objective), prior, out) == -1
    y_all, m = other[:, :5].astype(np.float64), prior[:, :5].astype(np.float64)
    for row, (start, stop) in enumerate(pairwise(rows[0])):
        y, value = y_all[rows[1][start:stop]], rows[2][start:stop].astype(np.float64)
        matrix, target, count = y.T @ y, value, len(value)
        if objective.implicit:
            weight = objective.alpha * np.abs(value)
            matrix = y_all.T @ y_all + (y.T * weight) @ y
            target, count = np.where(value > 0, 1 + weight, 0), (value > 0).sum()
        left = y.T @ target - matrix @ m[row]
        ridge = matrix + objective.regularization * max(count, 1) * np.eye(5)
        due = m[row] + np.linalg.solve(ridge, left) if count else m[row]
        np.testing.assert_allclose(out[row, :5], due, rtol=0, atol=5e-4)


def exactly(rows: Rows, other: Floats, own: Objective) -> Floats:
    out = np.full((len(rows[0]) - 1, other.shape[1]), 7, np.float32)
    assert solve_exactly(*parts(rows, other, own), als.NO_PRIOR, out) == -1
    return out


@pytest.mark.parametrize("objective", [EXPLICIT, IMPLICIT, IALS])
@pytest.mark.parametrize("exponent", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("rank", [1, 15, 16, 17, 40])
def test_rows_are_the_dense_solution(objective: Objective, exponent: float, rank: int) -> None:
    own = objective._replace(exponent=exponent, rank=rank)
    rows, other = ratings([3, 0, 64, 65, 1100, 1], others=90), factors(90, rank)
    solved = exactly(rows, other, own)
    np.testing.assert_allclose(solved[:, :rank], by_numpy(rows, other, own), rtol=0, atol=5e-4)
    assert not solved[:, rank:].any(), "padding stays 0"
    assert not solved[1].any(), "a row without ratings is 0"


@pytest.mark.parametrize("rank", [5, 40])
@pytest.mark.parametrize("solver", ["exact", "gradients", "subspaces", "refined"])
def test_the_squared_error_of_a_rating_counts_as_much_as_it_weighs(solver: str, rank: int) -> None:
    own = EXPLICIT._replace(rank=rank, regularization=1.0)
    (offsets, columns, values), other = (
        ratings([3, 0, 64, 1100, 5000], others=90),
        factors(90, rank),
    )
    weight = np.random.default_rng(3).uniform(0.01, 1, len(values)).astype(np.float32)
    given_parts = parts((offsets, columns, values), other, own)
    weighed = (*given_parts[:2], np.concatenate([values, weight]), *given_parts[3:])
    out = np.zeros((len(offsets) - 1, width(rank)), np.float32)
    if solver == "exact":
        assert solve_exactly(*weighed, als.NO_PRIOR, out) == -1
    elif solver == "refined":
        wide = (*weighed[:4], weighed[4].astype(np.float64), *weighed[5:])
        solve_refined(*wide, out)
    else:
        for _ in range(100):
            if solver == "gradients":
                assert solve_by_gradients(*weighed, 3, out) == -1
            else:
                assert solve_by_subspaces(*weighed, rank // 2, out) == -1
    y_all = other[:, :rank].astype(np.float64)
    for row, (start, stop) in enumerate(pairwise(offsets)):
        y, w = y_all[columns[start:stop]], weight[start:stop].astype(np.float64)
        ridge = (y.T * w) @ y + own.regularization * max(1, stop - start) * np.eye(rank)
        due = np.linalg.solve(ridge, y.T @ (w * values[start:stop]))
        np.testing.assert_allclose(out[row, :rank], due, rtol=0, atol=1e-3)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.integers(1, 20), st.booleans())
@settings(max_examples=40, deadline=None)
def test_rows_are_the_dense_solution_whatever_their_sizes(
    counts: list[int], rank: int, implicit: bool
) -> None:
    own = (IMPLICIT if implicit else EXPLICIT)._replace(rank=rank)
    rows, other = ratings(counts, others=30, seed=len(counts)), factors(30, rank)
    solved = exactly(rows, other, own)[:, :rank]
    np.testing.assert_allclose(solved, by_numpy(rows, other, own), rtol=0, atol=1e-3)


@pytest.mark.parametrize("objective", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize("rank", [5, 40])
@pytest.mark.parametrize("steps", [1, 60])
def test_conjugate_gradients_end_in_the_exact_solution(
    objective: Objective, rank: int, steps: int
) -> None:
    # One step sums no matrix at rank 40 (48 with padding) and 60 steps do: both ways are taken.
    own = objective._replace(rank=rank)
    rows, other = ratings([3, 0, 70, 5000], others=90), factors(90, rank)
    out = np.zeros((4, width(rank)), np.float32)
    for _ in range(120 // steps):
        assert solve_by_gradients(*parts(rows, other, own), steps, out) == -1
    atol = 2e-3 if steps == 60 else 0.1
    np.testing.assert_allclose(out[:, :rank], by_numpy(rows, other, own), rtol=0, atol=atol)
    assert not out[1].any()


@pytest.mark.parametrize("objective", [EXPLICIT, IMPLICIT])
def test_three_steps_of_conjugate_gradients_are_those_of_the_textbook(objective: Objective) -> None:
    for rank in (5, 140):
        own = objective._replace(rank=rank)
        rows, other = ratings([30], others=60), factors(60, rank)
        _, columns, values = rows
        y_all = other[:, :rank].astype(np.float64)
        y, value = y_all[columns], values.astype(np.float64)
        weight = own.alpha * np.abs(value) if own.implicit else np.ones(30)
        target = np.where(value > 0, 1 + weight, 0) if own.implicit else value
        count = (value > 0).sum() if own.implicit else 30
        matrix = (y.T * weight) @ y + own.regularization * count * np.eye(rank)
        matrix += y_all.T @ y_all if own.implicit else 0
        x = np.full(rank, 0.1)
        residual = y.T @ target - matrix @ x
        direction = residual
        for _ in range(3):
            step = residual @ residual / (direction @ matrix @ direction)
            x = x + step * direction
            left = residual - step * matrix @ direction
            direction = left + (left @ left) / (residual @ residual) * direction
            residual = left
        out = np.zeros((1, width(rank)), np.float32)
        out[:, :rank] = 0.1
        solve_by_gradients(*parts(rows, other, own), 3, out)
        np.testing.assert_allclose(out[0, :rank], x, rtol=1e-3, atol=1e-4)


def test_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    offsets, columns, values = ratings([30, 7, 1500, 2], others=60)
    other = factors(60, 5)
    together = exactly((offsets, columns, values), other, IMPLICIT)
    for row in range(4):
        part = slice(offsets[row], offsets[row + 1])
        alone = (offsets[row : row + 2] - offsets[row], columns[part], values[part])
        assert exactly(alone, other, IMPLICIT).tobytes() == together[row].tobytes()


def test_a_million_ratings_of_one_row_do_not_drown_in_rounding() -> None:
    rows, other = ratings([1_000_000], others=500), factors(500, 5) + np.float32(0)
    expected = by_numpy(rows, other, EXPLICIT)
    np.testing.assert_allclose(exactly(rows, other, EXPLICIT)[:, :5], expected, rtol=2e-4)


def test_a_matrix_that_float32_cannot_hold_is_solved_in_float64() -> None:
    own = EXPLICIT._replace(rank=8, regularization=1e-7, exponent=0.0)
    rows, other = ratings([200], others=300), factors(300, 8)
    other[:, 7] = other[:, 6] + other[:, 7] * np.float32(3e-3)
    expected = by_numpy(rows, other, own)
    np.testing.assert_allclose(exactly(rows, other, own)[:, :8], expected, rtol=1e-3)


def test_a_singular_row_is_named() -> None:
    rows, other = ratings([30, 3], others=60), factors(60, 5)
    own = EXPLICIT._replace(regularization=0.0)
    out = np.zeros((2, 16), np.float32)
    assert solve_exactly(*parts(rows, other, own), als.NO_PRIOR, out) == 1


def test_a_planted_low_rank_matrix_is_recovered() -> None:
    rng = np.random.default_rng(3)
    truth = rng.normal(size=(80, 3)) @ rng.normal(size=(3, 60))
    users, items = np.nonzero(rng.random(truth.shape) < 0.5)
    value = truth[users, items].astype(np.float32)
    sides = []
    for own, other, n in ((users, items, 80), (items, users, 60)):
        order = np.lexsort((other, own))
        offsets = np.concatenate([[0], np.cumsum(np.bincount(own, minlength=n))])
        sides.append((offsets.astype(np.int64), other[order].astype(np.int32), value[order]))
    objective = EXPLICIT._replace(rank=3, regularization=1e-4)
    p = initial_factors(np.arange(80, dtype=np.int32), rank=3, seed=1, side=0)
    for _ in range(40):
        q = exactly(sides[1], p, objective)
        p = exactly(sides[0], q, objective)
    assert np.sqrt(np.mean((p[:, :3] @ q[:, :3].T - truth) ** 2)) < 0.02


def test_gram_is_the_sum_of_products() -> None:
    y = factors(3000, 20).astype(np.float64)
    np.testing.assert_allclose(gram(factors(3000, 20)), y.T @ y, rtol=0, atol=0.01)


def test_first_factors_are_positive_directions_of_seed_side_and_id_alone() -> None:
    ids = np.array([5, 900, 7], np.int32)
    drawn = initial_factors(ids, rank=20, seed=1, side=0)
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1, rtol=1e-6)
    assert (drawn[1:2] == initial_factors(ids[1:2], rank=20, seed=1, side=0)).all()
    for other in ({"seed": 2, "side": 0}, {"seed": 1, "side": 1}):
        assert (drawn != initial_factors(ids, rank=20, **other))[:, :20].all()
    many = initial_factors(np.arange(4000, dtype=np.int32), rank=20, seed=1, side=0)[:, :20]
    assert (many >= 0).all()
    # The mean of |x| is sqrt(2 / pi) times the deviation, which is 1 / sqrt(rank) by the length.
    np.testing.assert_allclose(many.mean(axis=0), np.sqrt(2 / np.pi / 20), rtol=0.05)
    apart = np.corrcoef(many.T) - np.eye(20)
    assert np.abs(apart).max() < 0.1
