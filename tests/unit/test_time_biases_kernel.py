from __future__ import annotations

import numpy as np
import pytest

from recpipe.kernels.time_biases import (
    Days,
    Penalties,
    deviation,
    item_biases,
    of_ratings,
    solve,
    user_biases,
)

PENALTIES = Penalties(user=2.0, drift=30.0, day=4.0, item=1.5, bin=6.0)
POWER = 0.4


def ratings() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(user, day, item, value), sorted; user 0 has rated on one day only."""
    rng = np.random.default_rng(3)
    rows = [(0, 8, item) for item in range(3)]
    rows += [
        (user, int(day), item)
        for user in (2, 5, 6)
        for day in rng.choice(20, 3, replace=False)
        for item in rng.choice(5, 3, replace=False)
    ]
    users, days, items = np.array(sorted(rows)).T
    return users.astype(np.int32), days, items, rng.normal(size=len(users))


def weights(count: int) -> np.ndarray:
    return np.random.default_rng(5).uniform(0.1, 1, count)


@pytest.mark.parametrize("weighed", [False, True])
def test_users_minimise_the_penalised_squares(weighed: bool) -> None:
    users, days, _, values = ratings()
    weight = weights(len(values)) if weighed else np.ones(len(values))
    own_days = Days.of(users, days, power=POWER)
    found = user_biases(values, own_days, PENALTIES, weight if weighed else None)
    drifted, cells = [], 0
    for place, user in enumerate(np.unique(users)):
        own = users == user
        left = days[own] - days[own].mean()
        distinct, cell = np.unique(days[own], return_inverse=True)
        design = np.zeros((own.sum(), 2 + len(distinct)))
        design[:, 0] = 1
        design[:, 1] = np.sign(left) * np.abs(left) ** POWER
        design[np.arange(own.sum()), 2 + cell] = 1
        penalty = np.diag([PENALTIES.user, PENALTIES.drift, *[PENALTIES.day] * len(distinct)])
        scaled = design.T * weight[own]
        expected = np.linalg.solve(scaled @ design + penalty, scaled @ values[own])
        assert found.bias[place] == pytest.approx(expected[0], abs=1e-6)
        assert found.drift[place] == pytest.approx(expected[1], abs=1e-6)
        assert found.day[cells : cells + len(distinct)] == pytest.approx(expected[2:], abs=1e-6)
        cells += len(distinct)
        drifted.append(expected[1])
    assert drifted[0] == pytest.approx(0)
    assert cells == len(found.day)


def test_items_minimise_the_penalised_squares() -> None:
    counts = np.array([[3.0, 0, 2], [0, 0, 0], [1, 5, 1]])
    sums = np.array([[1.0, 0, -2], [0, 0, 0], [2, -3, 0.5]])
    bias, bins = item_biases(counts, sums, PENALTIES)
    for item in range(3):
        n = counts[item]
        matrix = np.diag([n.sum() + PENALTIES.item, *(n + PENALTIES.bin)])
        matrix[0, 1:] = matrix[1:, 0] = n
        expected = np.linalg.solve(matrix, [sums[item].sum(), *sums[item]])
        assert [bias[item], *bins[item]] == pytest.approx(list(expected), abs=1e-12)


@pytest.mark.parametrize("weighed", [False, True])
def test_sweeps_end_at_the_joint_optimum(weighed: bool) -> None:
    users, days, items, values = ratings()
    weight = weights(len(values)) if weighed else np.ones(len(values))
    own, bins = Days.of(users, days, power=POWER), 4
    cells = items * bins + days * bins // 20

    def left_over(of_items: np.ndarray) -> np.ndarray:
        found = user_biases(values - of_items.ravel()[cells], own, PENALTIES, weight)
        return values - of_ratings(found, own, ratings=len(values))

    def sums(of_items: np.ndarray | None) -> np.ndarray:
        left = weight if of_items is None else weight * left_over(of_items)
        return np.bincount(cells, left, minlength=5 * bins).astype(float).reshape(5, bins)

    solution = solve(sums, PENALTIES, sweeps=100)
    _, row = np.unique(users, return_inverse=True)
    pairs, day = np.unique(np.column_stack([users, days]), axis=0, return_inverse=True)
    spread = np.array([days[users == user].mean() for user in users])
    width = 2 * 4 + len(pairs) + 5 + 5 * bins
    design = np.zeros((len(values), width))
    every = np.arange(len(values))
    design[every, row] = 1
    design[every, 4 + row] = deviation(days - spread, POWER)
    design[every, 8 + day.ravel()] = 1
    design[every, 8 + len(pairs) + items] = 1
    design[every, 13 + len(pairs) + cells] = 1
    sizes = [4, 4, len(pairs), 5, 5 * bins]
    penalty = np.diag(np.repeat(PENALTIES, sizes))
    scaled = design.T * weight
    expected = np.linalg.solve(scaled @ design + penalty, scaled @ values)
    assert solution.bias == pytest.approx(expected[-5 - 5 * bins : -5 * bins], abs=1e-6)
    assert solution.bins.ravel() == pytest.approx(expected[-5 * bins :], abs=1e-6)
