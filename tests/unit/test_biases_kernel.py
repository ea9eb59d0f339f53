from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recpipe.kernels import biases as kernel


def solve(
    pairs: list[tuple[int, int, float]], *, users: float, items: float
) -> tuple[np.ndarray, np.ndarray]:
    """User and item biases of (user, item, value) rows, by the kernels."""
    pairs = sorted(pairs)
    user, item = (np.array([p[i] for p in pairs], np.int32) for i in range(2))
    value = np.array([p[2] for p in pairs])
    starts = np.unique(user, return_index=True)[1].astype(np.int64)
    width = int(item.max()) + 1

    def eliminated(values: np.ndarray) -> np.ndarray:
        return kernel.eliminated(item, values, starts, width=width, regularization=users)

    diagonal = np.maximum(np.bincount(item, minlength=width) + items, 1.0)
    biases, _ = kernel.conjugate_gradients(
        lambda x: eliminated(x[item]) + items * x,
        eliminated(value),
        diagonal,
        tolerance=1e-10,
        max_products=100,
    )
    return kernel.user_means(value - biases[item], starts, regularization=users), biases


ROWS = st.dictionaries(
    st.tuples(st.integers(0, 6), st.integers(0, 6)), st.floats(-2, 2), min_size=1, max_size=30
)


@settings(deadline=None)
@given(ROWS, st.floats(0.1, 10), st.floats(0.1, 10))
@example({(0, 0): 2.4e-162}, 2.0, 1.0)
@example({(0, 0): 5e-324}, 2.0, 1.0)
def test_biases_solve_the_regularised_least_squares(
    rows: dict[tuple[int, int], float], lu: float, li: float
) -> None:
    pairs = [(u, i, r) for (u, i), r in rows.items()]
    users = sorted({u for u, _, _ in pairs})
    # The whole problem, dense: one column a user and an item, one row a rating and a penalty.
    dense = np.zeros((len(pairs), len(users) + 7))
    for n, (u, i, _) in enumerate(pairs):
        dense[n, users.index(u)] = dense[n, len(users) + i] = 1
    penalties = np.sqrt([lu] * len(users) + [li] * 7)
    matrix = np.vstack([dense, np.diag(penalties)])
    target = np.array([r for _, _, r in pairs] + [0.0] * len(penalties))
    expected = np.linalg.lstsq(matrix, target, rcond=None)[0]
    user_biases, item_biases = solve(pairs, users=lu, items=li)
    assert user_biases == pytest.approx(expected[: len(users)], abs=1e-6)
    assert item_biases == pytest.approx(expected[len(users) :][: len(item_biases)], abs=1e-6)


def test_without_regularization_planted_biases_come_back_but_for_a_constant() -> None:
    user, item = np.array([0.5, -0.25, 1.0]), np.array([-1.0, 0.0, 0.75, 0.5])
    pairs = [(u, i, user[u] + item[i]) for u in range(3) for i in range(4) if (u, i) != (1, 2)]
    users, items = solve(pairs, users=0, items=0)
    assert users - users[0] == pytest.approx(user - user[0])
    assert items - items[0] == pytest.approx(item - item[0])


@settings(deadline=None)
@given(st.floats(0.01, 100))
def test_regularization_is_in_pseudo_ratings(regularization: float) -> None:
    values, starts = np.array([1.0, 3.0, -2.0]), np.array([0, 2])
    means = kernel.user_means(values, starts, regularization=regularization)
    assert means == pytest.approx([4 / (2 + regularization), -2 / (1 + regularization)])


def test_a_system_that_is_not_solved_in_time_is_an_error() -> None:
    matrix = np.diag([1.0, 10.0, 100.0])
    with pytest.raises(ArithmeticError, match="not solved in 1 steps"):
        kernel.conjugate_gradients(
            lambda x: matrix @ x, np.ones(3), np.ones(3), tolerance=1e-9, max_products=1
        )


def test_nothing_to_explain_is_solved_at_once() -> None:
    def never(x: np.ndarray) -> np.ndarray:
        raise AssertionError(x)

    x, taken = kernel.conjugate_gradients(
        never, np.zeros(2), np.ones(2), tolerance=0.1, max_products=9
    )
    assert (x.tolist(), taken) == ([0, 0], 0)
