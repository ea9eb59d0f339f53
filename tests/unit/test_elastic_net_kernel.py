"""Elastic nets of columns against scikit-learn and against their conditions of optimality."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import ElasticNet

from recpipe.kernels import elastic_net
from recpipe.kernels.elastic_net import Net, solve_column

FINE = 1e-11


def net(l1: float, l2: float, *, positive: bool = True, nearest: int = 0, **rest: Any) -> Net:
    return Net(l1, l2, positive, nearest, rest.get("max_sweeps", 100_000), FINE)


def matrix(rows: int, columns: int, *, seed: int, share: float = 0.3) -> np.ndarray:
    """Ratings of two tastes, 0 elsewhere; every column has one at least."""
    rng = np.random.default_rng(seed)
    taste = (np.arange(rows)[:, None] + np.arange(columns)) % 2 == 0
    there = rng.random((rows, columns)) < np.where(taste, 1.6, 0.4) * share
    there[np.arange(columns) % rows, np.arange(columns)] = True
    return np.where(there, rng.integers(1, 6, (rows, columns)), 0).astype(np.float64)


def solved(x: np.ndarray, column: int, given: Net) -> np.ndarray:
    found = solve_column(x.T @ x, column, given)
    assert found.finished
    weights = np.zeros(x.shape[1])
    weights[found.rows] = found.weights
    return weights


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize(("l1", "l2"), [(1.0, 50.0), (20.0, 3.0), (0.01, 1.0)])
def test_a_column_is_that_of_scikit_learn(l1: float, l2: float, positive: bool) -> None:
    x = matrix(80, 120, seed=1)
    for column in range(0, 120, 17):
        others = x.copy()
        others[:, column] = 0
        theirs = ElasticNet(
            alpha=(l1 + l2) / len(x), l1_ratio=l1 / (l1 + l2), positive=positive,
            fit_intercept=False, tol=1e-14, max_iter=100_000,
        ).fit(others, x[:, column])  # fmt: skip
        found = solved(x, column, net(l1, l2, positive=positive))
        assert found == pytest.approx(theirs.coef_, abs=1e-7)
        assert found[column] == 0
        assert np.count_nonzero(found) > 5


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10**6),
    st.integers(1, 90),
    st.sampled_from([0.0, 0.3, 5.0]),
    st.sampled_from([0.5, 30.0]),
    st.booleans(),
)
def test_no_weight_can_be_moved_to_a_lower_loss(
    seed: int, columns: int, l1: float, l2: float, positive: bool
) -> None:
    x = matrix(40, columns, seed=seed)
    column = seed % columns
    w = solved(x, column, net(l1, l2, positive=positive))
    slope = x.T @ (x[:, column] - x @ w) - l2 * w
    free = np.arange(columns) != column
    assert w[column] == 0
    there = free & (w != 0)
    np.testing.assert_allclose(slope[there], l1 * np.sign(w[there]), atol=1e-6)
    zero = slope[free & (w == 0)]
    assert (zero <= l1 + 1e-6).all()
    assert (w >= 0).all() if positive else (zero >= -l1 - 1e-6).all()


def test_without_l1_and_with_both_signs_the_weights_are_those_of_the_closed_form() -> None:
    x = matrix(60, 25, seed=3)
    inverse = np.linalg.inv(x.T @ x + 7 * np.eye(25))
    for column in range(25):
        due = -inverse[:, column] / inverse[column, column]
        due[column] = 0
        assert solved(x, column, net(0.0, 7.0, positive=False)) == pytest.approx(due, abs=1e-7)


def test_only_the_nearest_columns_have_weights_and_theirs_are_optimal_among_them() -> None:
    x = matrix(60, 40, seed=4)
    x[:, 11] = x[:, 9]  # A tie: the lower of the two is taken.
    for column, nearest in ((0, 6), (20, 39), (39, 100)):
        cosines = x.T @ x[:, column] / np.linalg.norm(x, axis=0)
        cosines[column] = -1
        chosen = np.sort(np.argsort(-cosines, kind="stable")[: min(nearest, 39)])
        due = np.zeros(40)
        part = np.column_stack([x[:, chosen], x[:, column]])
        due[chosen] = solved(part, len(chosen), net(1.0, 9.0))[:-1]
        found = solved(x, column, net(1.0, 9.0, nearest=nearest))
        assert found == pytest.approx(due, abs=1e-8)


def test_the_size_of_the_active_set_changes_nothing_but_the_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = matrix(80, 200, seed=5)
    found = solve_column(x.T @ x, 3, net(2.0, 2.0))
    dense = solved(x, 3, net(2.0, 2.0))
    assert found.sweeps < 5000
    # A compiled kernel has the constant within it: the same descent in plain Python takes another.
    monkeypatch.setattr(elastic_net, "_FIRST", 1)
    for name in ("_shrunk", "_join", "_settle"):
        monkeypatch.setattr(elastic_net, name, getattr(elastic_net, name).py_func)
    weights, allowed = np.zeros(200), np.ones(200, np.bool_)
    allowed[3] = False
    elastic_net._descend.py_func(x.T @ x, 3, allowed, net(2.0, 2.0), weights)  # noqa: SLF001
    assert weights == pytest.approx(dense, abs=1e-8)


def test_too_few_sweeps_are_told() -> None:
    x = matrix(80, 60, seed=6)
    found = solve_column(x.T @ x, 0, net(0.01, 0.5, max_sweeps=2))
    assert (found.sweeps, found.finished) == (2, False)
    assert found.rows.size


def test_a_column_alone_has_no_weights() -> None:
    found = solve_column(np.array([[4.0]]), 0, net(1.0, 1.0))
    assert (found.rows.size, found.sweeps, found.finished) == (0, 0, True)
