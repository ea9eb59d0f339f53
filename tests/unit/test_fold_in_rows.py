"""Vectors of new users against their definitions, written out for one user at a time."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.optimize import minimize, nnls

from recpipe.models import registry
from recpipe.models.factors import FactorModel
from recpipe.models.fold_in import AdditiveSolver, FoldsIn, known_rows
from recpipe.models.sgd import fold_in as sgd_fold_in
from recpipe.ranking.factor_scorer import ItemArrays
from recpipe.ranking.histories import Histories
from recpipe.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from recpipe.models.fold_in import RowSolver

    Doubles = NDArray[np.float64]
    OfUser = Callable[[NDArray[np.int32], Doubles], Doubles]

NEAR = 1e-5
"""How far a number of a vector may be from that of the definition."""
ITEMS = 60
SIZES = [1, 3, 20, 55]


def items(rank: int, *, spread: float = 0.5, positive: bool = False) -> ItemArrays:
    rng = np.random.default_rng(3)
    factors = rng.normal(0, spread, (ITEMS, rank))
    factors = np.abs(factors) if positive else factors
    numbers = np.arange(0, 2 * ITEMS, 2, dtype=np.int32)
    biases = rng.normal(0, 0.3, ITEMS)
    return ItemArrays(numbers, factors.astype(np.float32), biases.astype(np.float32))


def rows(low: float = 1, high: float = 5) -> Histories:
    """Of users with so many ratings as SIZES says; `items` are places."""
    rng = np.random.default_rng(4)
    places = [np.sort(rng.choice(ITEMS, size, replace=False)) for size in SIZES]
    offsets = np.concatenate([[0], np.cumsum(SIZES)]).astype(np.int64)
    values = np.round(rng.uniform(low, high, offsets[-1])).astype(np.float32)
    return Histories(offsets, np.concatenate(places).astype(np.int32), values)


def solved(
    name: str, held: ItemArrays, given: Histories, sections: dict[str, Any], **fitted: Any
) -> Doubles:
    """What the model's own solver finds."""
    return solver_of(name, held, sections, **fitted)(given).astype(np.float64)


def solver_of(name: str, held: ItemArrays, sections: dict[str, Any], **fitted: Any) -> RowSolver:
    """The model's own solver."""
    model = registry.build(name, dict(Settings.model_validate(sections)))
    assert isinstance(model, FoldsIn)
    of: dict[str, Any] = {
        "name": name, "refit_config": model, "user_factors": None, "item_factors": None,
        "rank": held.factors.shape[1], "mean": 0.0, "users": 9, "items": ITEMS,
    }  # fmt: skip
    return model.row_solver(FactorModel(**{**of, **fitted}), held)


def each(given: Histories, vector: OfUser) -> Doubles:
    """The definition, for one user after the other."""
    found = [
        vector(given.items[a:b], given.values[a:b].astype(np.float64))
        for a, b in pairwise(given.offsets)
    ]
    return np.stack(found)


def shared(name: str, settings: dict[str, Any], rank: int) -> dict[str, Any]:
    return {name: {"rank": rank, **settings}}


@pytest.mark.parametrize("rank", [3, 64])
@pytest.mark.parametrize("regularization", [0.12, 1e-3])
@pytest.mark.parametrize("name", ["als_explicit", "block_als"])
def test_explicit_als_solves_the_row_of_its_last_half(
    name: str, regularization: float, rank: int
) -> None:
    held, given = items(rank), rows()

    def row(places: NDArray[np.int32], ratings: Doubles) -> Doubles:
        y = held.factors[places].astype(np.float64)
        penalty = regularization * len(ratings) * np.eye(rank)
        return np.append(np.linalg.solve(y.T @ y + penalty, y.T @ ratings), 0)

    settings = shared(name, {"regularization": regularization}, rank)
    np.testing.assert_allclose(solved(name, held, given, settings), each(given, row), atol=NEAR)


@pytest.mark.parametrize("by_count", [True, False])
@pytest.mark.parametrize("rank", [5, 64])
def test_implicit_als_solves_the_row_of_its_last_half(rank: int, by_count: bool) -> None:
    held = items(rank)
    # Strengths; what is disliked is fed as -1.
    given = rows()._replace(values=np.sign(rows().values - 2.5).astype(np.float32))
    y_all = held.factors.astype(np.float64)

    def row(places: NDArray[np.int32], strengths: Doubles) -> Doubles:
        y, weight = y_all[places], 2.0 * np.abs(strengths)
        count = (strengths > 0).sum() if by_count else 1
        matrix = y_all.T @ y_all + (y.T * weight) @ y + 0.3 * count * np.eye(rank)
        return np.append(np.linalg.solve(matrix, y.T @ ((1 + weight) * (strengths > 0))), 0)

    own = {"regularization": 0.3, "alpha": 2.0}
    block = shared("block_als_implicit", {**own, "regularization_exponent": float(by_count)}, rank)
    expected = each(given, row)
    found = solved("block_als_implicit", held, given, block)
    np.testing.assert_allclose(found, expected, atol=NEAR)
    if by_count:
        found = solved("als_implicit", held, given, shared("als_implicit", own, rank))
        np.testing.assert_allclose(found, expected, atol=NEAR)


@pytest.mark.parametrize("rank", [8, 24])
def test_nmf_solves_rows_without_a_negative_number(rank: int) -> None:
    held, given = items(rank, positive=True), rows()

    def row(places: NDArray[np.int32], ratings: Doubles) -> Doubles:
        root = np.sqrt(0.05 * len(ratings)) * np.eye(rank)
        stacked = np.vstack([held.factors[places].astype(np.float64), root])
        return np.append(nnls(stacked, np.append(ratings, np.zeros(rank)))[0], 0)

    expected = each(given, row)
    assert (expected[:, :-1] == 0).any()
    found = solved("nmf", held, given, shared("nmf", {"regularization": 0.05}, rank))
    np.testing.assert_allclose(found, expected, atol=NEAR)


SGD = {"regularization": 0.06, "bias_regularization": 0.02}


@pytest.mark.parametrize("scale", [(0.5, 5.0), (0.0, 100.0)])
def test_sgd_solves_the_row_that_its_objective_asks_for(scale: tuple[float, float]) -> None:
    size = (scale[1] - scale[0]) / 4.5
    # As a fit leaves them: factors of items and biases are in ratings, factors of users are not.
    held, given = items(8, spread=0.4 * size), rows(*scale)

    def row(places: NDArray[np.int32], ratings: Doubles) -> Doubles:
        y = np.column_stack([held.factors[places], np.ones(len(places))]).astype(np.float64)
        left = ratings - 3 * size - held.biases[places]
        # In units of learning the error is e / size, the bias b / size, and p as it is.
        penalty = len(ratings) * np.diag([0.06 * size**2] * 8 + [0.02])
        return np.asarray(np.linalg.solve(y.T @ y + penalty, y.T @ left))

    found = solved("sgd", held, given, shared("sgd", SGD, 8), mean=3 * size, scale=scale)
    np.testing.assert_allclose(found, each(given, row), atol=NEAR * size)


@pytest.mark.parametrize("at_once", [1 << 16, 30])
def test_bounded_sgd_finds_the_least_of_its_objective(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sgd_fold_in, "_RATINGS_AT_ONCE", at_once)
    held, given = items(4, spread=1.0), rows()
    low, high = 0.75, 5.25

    def row(places: NDArray[np.int32], ratings: Doubles) -> Doubles:
        y = np.column_stack([held.factors[places], np.ones(len(places))]).astype(np.float64)
        penalty = len(ratings) * (4.0 / 4.5) ** 2 * np.array([0.06] * 4 + [0.02])

        def loss(x: Doubles) -> float:
            scores = 0.2 + held.biases[places] + y @ x
            errors = ratings - low - (high - low) / (1 + np.exp(-scores))
            return float(errors @ errors + penalty @ (x * x))

        return np.asarray(minimize(loss, np.zeros(5), tol=1e-12).x)

    given_by_fit = {"mean": 0.2, "scale": (1.0, 5.0), "link": "sigmoid", "beyond": 0.25}
    found = solved("sgd", held, given, shared("sgd", SGD, 4), **given_by_fit)
    np.testing.assert_allclose(found, each(given, row), atol=NEAR * 10)


def test_biases_are_regularised_means_of_what_items_leave_over() -> None:
    held, given = items(0), rows()

    def row(places: NDArray[np.int32], ratings: Doubles) -> Doubles:
        return np.array([(ratings - 3.5 - held.biases[places]).sum() / (len(ratings) + 7.0)])

    found = solved("biases", held, given, {"biases": {"user_regularization": 7.0}}, mean=3.5)
    np.testing.assert_allclose(found, each(given, row), atol=NEAR)


@pytest.mark.parametrize("fill", ["mean", "item", "user", None])
def test_svd_takes_rows_where_it_took_those_of_its_fit(fill: str | None) -> None:
    """A further row of A times V, of a matrix whose decomposition is known."""
    singular, given = np.array([9.0, 4.0, 0.0]), rows()
    v = np.linalg.qr(np.random.default_rng(5).normal(size=(ITEMS, 3)))[0]
    held = items(3)
    biases = held.biases if fill == "item" else np.zeros(ITEMS, np.float32)
    held = held._replace(factors=(v * np.sqrt(singular)).astype(np.float32), biases=biases)
    mean = 0.0 if fill is None else 3.2

    def row(places: NDArray[np.int32], ratings: Doubles) -> Doubles:
        own = ratings.mean() if fill == "user" else mean
        left = ratings - own - (biases[places] if fill == "item" else 0)
        factors = left @ v[places][:, :2] / np.sqrt(singular[:2])
        return np.concatenate([factors, [0, own - mean]])

    name = "svd" if fill else "svd_implicit"
    sections = shared(name, {"fill": fill} if fill else {}, 3)
    details = {"singular_values": singular.tolist()}
    found = solved(name, held, given, sections, mean=mean, details=details)
    np.testing.assert_allclose(found, each(given, row), atol=NEAR)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("block_als", {"regularization": 0.1}),
        ("block_als_implicit", {"regularization": 0.1, "alpha": 2.0}),
        ("sgd", SGD),
        *(("svd", {"fill": fill}) for fill in ("mean", "item", "user")),
        ("svd_implicit", {}),
    ],
)
def test_shares_add_up_to_what_the_vector_of_a_user_adds_to_scores(
    name: str, settings: dict[str, Any]
) -> None:
    held, given = items(8), rows()
    details = {"singular_values": np.linspace(9, 2, 8).tolist()}
    solver = solver_of(
        name, held, shared(name, settings, 8), mean=3.2, scale=(0.5, 5.0), details=details
    )
    assert isinstance(solver, AdditiveSolver)
    columns = np.array([59, 3, 20], np.int32)
    vectors = solver(given)
    # The bias of a user is the user's mean with svd, and is learned from the ratings with sgd.
    biases = vectors[:, -1:] if name == "sgd" else 0
    added = vectors[:, :-1] @ held.factors[columns].T + biases
    for (a, b), due in zip(pairwise(given.offsets), added, strict=True):
        shares = solver.shares(given.items[a:b], given.values[a:b], columns)
        assert shares.shape == (3, b - a)
        np.testing.assert_allclose(shares.sum(axis=1), due, atol=NEAR)


def test_without_a_penalty_the_shortest_vector_is_taken() -> None:
    held, given = items(8), rows()

    def row(places: NDArray[np.int32], ratings: Doubles) -> Doubles:
        y = held.factors[places].astype(np.float64)
        return np.append(np.linalg.lstsq(y, ratings, rcond=None)[0], 0)

    settings = shared("block_als", {"regularization": 0.0}, 8)
    np.testing.assert_allclose(
        solved("block_als", held, given, settings), each(given, row), atol=1e-3
    )
    nothing = held._replace(factors=np.zeros_like(held.factors))
    assert not solved("block_als", nothing, given, settings).any()


def test_rows_keep_the_items_that_are_known_and_users_who_have_some() -> None:
    offsets = np.array([0, 2, 2, 3, 6], np.int64)
    given = Histories(
        offsets, np.array([4, 9, 9, 2, 5, 8], np.int32), np.arange(6, dtype=np.float32)
    )
    found, some = known_rows(given, np.array([2, 4, 8], np.int32))
    assert some.tolist() == [True, False, False, True]
    assert [array.tolist() for array in found] == [[0, 1, 3], [1, 0, 2], [0.0, 3.0, 5.0]]
