"""What implicit ALS minimises, and steps in subspaces, against dense NumPy in float64."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from recpipe.kernels import als, als_subspace
from recpipe.kernels.normal_equations import Objective, gram, width

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]

# Numba's own types do not know what a call may unpack.
solve_exactly: Any = als.solve_exactly
solve_by_subspaces: Any = als_subspace.solve_by_subspaces

USERS, ITEMS, RANK = 70, 45, 9
HU = Objective(rank=RANK, regularization=0.05, implicit=True, alpha=1.5)
IALS = HU._replace(loss="ials", unobserved_weight=0.2)
OBJECTIVES = {
    "hu": HU,
    "hu, weighted": HU._replace(unobserved_weight=0.3, exponent=0.5),
    "ials": IALS,
    "ials, exponent 0.7": IALS._replace(exponent=0.7, unobserved_weight=0.05),
    "ials, unscaled": IALS._replace(exponent=0.0),
}


@pytest.fixture(scope="module")
def strengths() -> Doubles:
    """(users, items): above 0 for likings, below for dislikings, else 0."""
    rng = np.random.default_rng(4)
    drawn = rng.random((USERS, ITEMS))
    strength = np.where(drawn < 0.2, rng.uniform(0.2, 1, drawn.shape), 0)
    strength[drawn > 0.97] = -1
    strength[3] = 0
    return strength.astype(np.float32).astype(np.float64)


@pytest.fixture(params=OBJECTIVES)
def objective(request: pytest.FixtureRequest) -> Objective:
    return OBJECTIVES[request.param]


def penalty(strengths: Doubles, own: Objective) -> Doubles:
    count = (strengths > 0).sum(axis=1)
    if own.loss == "ials":
        count = count + own.unobserved_weight * strengths.shape[1]
    return np.asarray(own.regularization * count**own.exponent)


def value_of(strengths: Doubles, p: Doubles, q: Doubles, own: Objective) -> float:
    """The objective over every pair, from the formulas of the papers."""
    scores, preference = p @ q.T, strengths > 0
    strength = own.alpha * np.abs(strengths)
    if own.loss == "ials":
        error = strength * (preference - scores) ** 2 + own.unobserved_weight * scores**2
    else:
        error = (own.unobserved_weight + strength) * (preference - scores) ** 2
    norms = penalty(strengths, own) @ (p**2).sum(axis=1)
    return float(error.sum() + norms + penalty(strengths.T, own) @ (q**2).sum(axis=1))


def best_rows(strengths: Doubles, q: Doubles, own: Objective) -> Doubles:
    """The rows that minimise the objective beside q, each by least squares over all pairs."""
    rows = []
    for row, weight in zip(strengths, penalty(strengths, own), strict=True):
        liked, strength = row > 0, own.alpha * np.abs(row)
        shared = np.full(len(row), own.unobserved_weight)
        if own.loss == "ials":
            parts = [(strength, liked), (shared, 0 * shared)]
        else:
            parts = [(shared + strength, liked)]
        parts.append((np.full(own.rank, weight), np.zeros(own.rank)))
        designs = [q] * (len(parts) - 1) + [np.eye(own.rank)]
        scaled = [
            np.sqrt(w)[:, None] * design for (w, _), design in zip(parts, designs, strict=True)
        ]
        sought = [np.sqrt(w) * target for w, target in parts]
        rows.append(np.linalg.lstsq(np.vstack(scaled), np.concatenate(sought))[0])
    return np.array(rows)


def half(
    strengths: Doubles, q: Doubles, own: Objective, *, begin: Doubles | None = None, block: int = 0
) -> Doubles:
    """The kernels' answer: exact, or in subspaces from `begin`."""
    row, column = np.nonzero(strengths)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(strengths)))])
    values = strengths[row, column].astype(np.float32)
    other, out = padded(q), padded(np.zeros((len(strengths), own.rank)) if begin is None else begin)
    base = (own.unobserved_weight * gram(other)).astype(np.float32)
    penalties = own.penalties(offsets, values, others=len(q))
    parts = (offsets, column.astype(np.int32), values, other, base, penalties, *own.scalars)
    solved = (
        solve_by_subspaces(*parts, block, out)
        if block
        else solve_exactly(*parts, als.NO_PRIOR, out)
    )
    assert solved == -1
    assert not out[:, own.rank :].any(), "padding stays 0"
    answers: Doubles = out[:, : own.rank].astype(np.float64)
    return answers


def padded(factors: Doubles) -> NDArray[np.float32]:
    out = np.zeros((len(factors), width(factors.shape[1])), np.float32)
    out[:, : factors.shape[1]] = factors
    return out


def drawn(rows: int, rank: int = RANK, *, seed: int = 1) -> Doubles:
    factors: Doubles = np.random.default_rng(seed).normal(size=(rows, rank))
    return factors / math.sqrt(rank)


def test_a_half_step_ends_in_the_minimum_of_the_objective(
    strengths: Doubles, objective: Objective
) -> None:
    q = drawn(ITEMS)
    solved = half(strengths, q, objective)
    due = best_rows(strengths, q, objective)
    rated = (strengths != 0).any(axis=1)
    np.testing.assert_allclose(solved[rated], due[rated], rtol=0, atol=1e-4)
    assert not solved[~rated].any()


def test_sweeps_lower_the_objective_to_that_of_dense_solves(
    strengths: Doubles, objective: Objective
) -> None:
    p, dense_p = drawn(USERS), drawn(USERS)
    values = [np.inf]
    for _ in range(6):
        q = half(strengths.T, p, objective)
        p = half(strengths, q, objective)
        dense_q = best_rows(strengths.T, dense_p, objective)
        dense_p = best_rows(strengths, dense_q, objective)
        values.append(value_of(strengths, p, q, objective))
        assert values[-1] <= values[-2] * (1 + 1e-6)
        due = value_of(strengths, dense_p, dense_q, objective)
        assert values[-1] == pytest.approx(due, rel=1e-4)


def test_a_weight_of_unobserved_pairs_is_one_of_all_else_by_its_inverse(strengths: Doubles) -> None:
    # Hu, Koren and Volinsky leave it at 1, for the rest of their objective can be scaled instead.
    q, weight = drawn(ITEMS), 0.25
    scaled = HU._replace(alpha=HU.alpha / weight, regularization=HU.regularization / weight)
    weighted = half(strengths, q, HU._replace(unobserved_weight=weight))
    np.testing.assert_allclose(weighted, half(strengths, q, scaled), rtol=0, atol=1e-5)


@pytest.mark.parametrize("block", [1, 4, 9])
def test_a_step_in_a_subspace_is_its_minimum(
    strengths: Doubles, objective: Objective, block: int
) -> None:
    # Dense, one block after the other: nothing of scores that are carried on.
    q, p = drawn(ITEMS), drawn(USERS, seed=2)
    due = p.copy()
    due[~(strengths != 0).any(axis=1)] = 0
    rated = (strengths != 0).any(axis=1)
    for first in range(0, RANK, block):
        here = slice(first, first + block)
        for row in np.flatnonzero(rated):
            liked, strength = strengths[row] > 0, objective.alpha * np.abs(strengths[row])
            shared = objective.unobserved_weight
            aim = (strength + shared * (objective.loss == "confidence")) * liked
            weight = shared + strength
            pull = penalty(strengths, objective)[row]
            matrix = (q[:, here].T * weight) @ q[:, here]
            matrix += pull * np.eye(len(matrix))
            left = q[:, here].T @ (aim - weight * (q @ due[row])) - pull * due[row, here]
            due[row, here] += np.linalg.solve(matrix, left)
    solved = half(strengths, q, objective, begin=p, block=block)
    np.testing.assert_allclose(solved, due, rtol=0, atol=2e-4)


@pytest.mark.parametrize("block", [2, 4])
def test_steps_in_subspaces_come_to_the_exact_objective(
    strengths: Doubles, objective: Objective, block: int
) -> None:
    p, q = drawn(USERS), np.zeros((ITEMS, RANK))
    exact_p = p
    values = [np.inf]
    for _ in range(100):
        q = half(strengths.T, p, objective, begin=q, block=block)
        p = half(strengths, q, objective, begin=p, block=block)
        exact_q = half(strengths.T, exact_p, objective)
        exact_p = half(strengths, exact_q, objective)
        values.append(value_of(strengths, p, q, objective))
        assert values[-1] <= values[-2] * (1 + 1e-6), "no step raises the objective"
    # Two minima that are not the same may be found, for the objective is not convex.
    assert values[-1] == pytest.approx(value_of(strengths, exact_p, exact_q, objective), rel=5e-3)
    # It is a fixed point of both: an exact solve finds nothing that the steps have left.
    solved = half(strengths, q, objective)
    assert value_of(strengths, solved, q, objective) == pytest.approx(values[-1], rel=1e-5)


def test_steps_in_subspaces_of_ratings_come_to_the_exact_rows() -> None:
    own = Objective(rank=40, regularization=0.1)
    rng = np.random.default_rng(1)
    rated = np.where(rng.random((5, 200)) < 0.4, rng.uniform(1, 5, (5, 200)), 0)
    rated[4, 3:] = 0
    q = drawn(200, 40)
    exact, steps = half_of_ratings(rated, q, own), drawn(5, 40)
    for _ in range(200):
        steps = half_of_ratings(rated, q, own, begin=steps, block=24)
    np.testing.assert_allclose(steps, exact, rtol=0, atol=1e-3)


def half_of_ratings(rated: Doubles, q: Doubles, own: Objective, **steps: Any) -> Doubles:
    """`half` without what unobserved pairs add."""
    return half(rated, q, own._replace(unobserved_weight=0.0), **steps)


def test_a_singular_block_is_named() -> None:
    own = Objective(rank=4, regularization=0.0, unobserved_weight=0.0)
    offsets, columns = np.array([0, 0, 1]), np.array([2], np.int32)
    values, other = np.ones(1, np.float32), padded(drawn(5, 4))
    penalties = own.penalties(offsets, values, others=5)
    base = np.zeros((16, 16), np.float32)
    parts = (offsets, columns, values, other, base, penalties, *own.scalars)
    assert solve_by_subspaces(*parts, 2, np.zeros((2, 16), np.float32)) == 1
