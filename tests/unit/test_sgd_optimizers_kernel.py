"""Optimizers with moments against the update formulas of PyTorch's documentation, in float64.

And all of them against PyTorch's own, where it is installed.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from recpipe.kernels.sgd import ITEMS, USERS, initial_block, row_width
from recpipe.kernels.sgd import descend as plain
from recpipe.kernels.sgd_optimizers import RULES, Optimizer, descend
from recpipe.models.sgd.settings import SgdSettings
from tests.neural import needs_torch

if TYPE_CHECKING:
    from collections.abc import Iterator

RATE, PENALTY, BIAS_PENALTY = 0.02, 0.05, 0.03
BETA1, BETA2, OFFSET = 0.9, 0.99, 3.0
OUTPUTS = [(0.0, 0.0), (0.25, 5.0)]
Cell = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass
class Parameter:
    """A parameter of PyTorch, and what an optimizer keeps of it.

    `step` is the algorithm of torch.optim.SGD(momentum), Adagrad, Adam and AdamW, line by line.
    """

    value: np.ndarray
    decay: float
    state: dict[str, Any] = field(default_factory=dict)

    def step(self, rule: str, gradient: np.ndarray, rate: float, ratings: int) -> None:
        """A penalty is part of the loss of each rating, but for adamw a part of the step."""
        if rule == "adamw":
            self.value = self.value - rate * self.decay * self.value
        else:
            gradient = gradient + ratings * self.decay * self.value
        t = self.state["t"] = self.state.get("t", 0) + 1
        zero = np.zeros_like(self.value)
        if rule == "momentum":
            # "b_t = mu b_(t-1) + (1 - tau) g_t" with a dampening tau of 0, and b_1 = g_1.
            buffer = gradient if t == 1 else BETA1 * self.state["b"] + gradient
            self.state["b"] = buffer
            self.value = self.value - rate * buffer
        elif rule == "adagrad":
            self.state["sum"] = self.state.get("sum", zero) + gradient**2
            self.value = self.value - rate * gradient / (np.sqrt(self.state["sum"]) + 1e-10)
        else:
            m = self.state["m"] = BETA1 * self.state.get("m", zero) + (1 - BETA1) * gradient
            v = self.state["v"] = BETA2 * self.state.get("v", zero) + (1 - BETA2) * gradient**2
            unbiased_m, unbiased_v = m / (1 - BETA1**t), v / (1 - BETA2**t)
            self.value = self.value - rate * unbiased_m / (np.sqrt(unbiased_v) + 1e-8)


def sample_cell(ratings: int, *, users: int = 6, items: int = 5, seed: int = 1) -> Cell:
    draw = np.random.default_rng(seed)
    user = np.sort(draw.integers(0, users, ratings)).astype(np.int32)
    item = draw.integers(0, items, ratings).astype(np.int32)
    return user, item, (draw.integers(1, 11, ratings) / 2).astype(np.float32)


def batches(cell: Cell, size: int) -> Iterator[Cell]:
    """Of each half as few as hold at most `size` ratings each, dealt to one after the other."""
    half = math.ceil(len(cell[0]) / 2)
    number = math.ceil(half / size)
    for part in (slice(half), slice(half, None)):
        for first in range(number):
            user, item, rating = (array[part][first::number] for array in cell)
            yield user, item, rating


def stepped(
    rule: str, cell: Cell, p: np.ndarray, q: np.ndarray, output: tuple[float, float],
    *, passes: int, batch_size: int,
) -> tuple[np.ndarray, np.ndarray, list[float]]:  # fmt: skip
    """A row that is in no rating of a batch has no gradient and is not stepped."""
    low, span = output
    sides = [
        [(Parameter(row[:-1], PENALTY), Parameter(row[-1:], BIAS_PENALTY)) for row in block]
        for block in (p.astype(np.float64), q.astype(np.float64))
    ]
    totals = []
    for epoch in range(passes):
        total = 0.0
        for batch in batches(cell, batch_size):
            gradients: dict[tuple[int, int], list[tuple[np.ndarray, np.ndarray]]] = {}
            for u, i, r in zip(*batch, strict=True):
                (factors, bias), (others, other_bias) = sides[0][u], sides[1][i]
                z = OFFSET + bias.value[0] + other_bias.value[0] + factors.value @ others.value
                share = 1 / (1 + np.exp(-z))
                error = r - (low + span * share if span else z)
                push = -error * (span * share * (1 - share) if span else 1.0)
                total += error**2
                for row, along in (((0, u), others), ((1, i), factors)):
                    gradient = push * along.value, np.array([push])
                    gradients.setdefault(row, []).append(gradient)
            for (side, number), of_row in gradients.items():
                for parameter, parts in zip(
                    sides[side][number], zip(*of_row, strict=True), strict=True
                ):
                    summed = np.sum(parts, axis=0)
                    parameter.step(rule, summed, RATE * 0.9**epoch, len(parts))
        totals.append(total)
    found = [np.array([np.append(f.value, b.value) for f, b in side]) for side in sides]
    return found[0], found[1], totals


@pytest.mark.parametrize("batch_size", [1, 7, 50, 1000])
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("rank", [1, 8, 33])
@pytest.mark.parametrize("rule", RULES)
def test_rows_are_those_of_pytorchs_formulas(
    rule: str, rank: int, output: tuple[float, float], batch_size: int
) -> None:
    cell = sample_cell(120)
    width = row_width(rule, rank)
    made: dict[str, Any] = {"scale": 0.5, "seed": 4, "block": 0, "width": width}
    p, q = initial_block(6, rank, side=USERS, **made), initial_block(5, rank, side=ITEMS, **made)
    due = stepped(
        rule, cell, p[:, : rank + 1], q[:, : rank + 1], output, passes=3, batch_size=batch_size
    )
    totals = [
        descend(
            cell, p, q, Optimizer(rule, BETA1, BETA2, batch_size), rank=rank,
            output=(OFFSET, *output), learning_rate=RATE * 0.9**epoch,
            penalties=(PENALTY, BIAS_PENALTY),
        )
        for epoch in range(3)
    ]  # fmt: skip
    # Float32, and a square root of small moments: a few parts in ten thousand of a step.
    np.testing.assert_allclose(p[:, : rank + 1], due[0], rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(q[:, : rank + 1], due[1], rtol=2e-4, atol=2e-4)
    assert totals == pytest.approx(due[2], rel=1e-4)
    if rule.startswith("adam"):
        for side, block in enumerate((p, q)):
            met = Counter(
                int(row) for batch in batches(cell, batch_size) for row in np.unique(batch[side])
            )
            assert block[:, -1].tolist() == [3 * met[row] for row in range(len(block))]


def by_pytorch(rule: str, cell: Cell, p: np.ndarray, q: np.ndarray, output: tuple[float, float],
               *, passes: int, batch_size: int) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """By autograd of the loss of a batch, a sum, and `torch.optim`; a row is a parameter."""
    import torch

    low, span = output
    sides = [[(torch.tensor(r[:-1]), torch.tensor(r[-1:])) for r in block] for block in (p, q)]
    every = [pair for side in sides for pair in side]
    for pair in every:
        for parameter in pair:
            parameter.requires_grad_()
    # The penalty is part of the loss of each rating, but where it is not part of the gradient.
    decoupled = rule == "adamw"
    groups: list[dict[str, Any]] = [
        {"params": [factors for factors, _ in every], "weight_decay": PENALTY * decoupled},
        {"params": [bias for _, bias in every], "weight_decay": BIAS_PENALTY * decoupled},
    ]
    made: dict[str, Any] = {
        "plain": lambda: torch.optim.SGD(groups, lr=RATE),
        "momentum": lambda: torch.optim.SGD(groups, lr=RATE, momentum=BETA1),
        "adagrad": lambda: torch.optim.Adagrad(groups, lr=RATE),
        "adam": lambda: torch.optim.Adam(groups, lr=RATE, betas=(BETA1, BETA2)),
        "adamw": lambda: torch.optim.AdamW(groups, lr=RATE, betas=(BETA1, BETA2)),
    }
    optimizer = made[rule]()
    for epoch in range(passes):
        for group in optimizer.param_groups:
            group["lr"] = RATE * 0.9**epoch
        for batch in batches(cell, batch_size):
            # None for the rows of others: an optimizer passes over what has no gradient.
            optimizer.zero_grad(set_to_none=True)
            loss = torch.zeros(())
            for u, i, r in zip(*batch, strict=True):
                (factors, bias), (others, other_bias) = sides[0][u], sides[1][i]
                z = OFFSET + bias + other_bias + factors @ others
                error = float(r) - (low + span * torch.sigmoid(z) if span else z)
                loss = loss + error.square().sum() / 2
                if not decoupled:
                    lengths = factors.square().sum() + others.square().sum()
                    biases = bias.square().sum() + other_bias.square().sum()
                    loss = loss + PENALTY / 2 * lengths + BIAS_PENALTY / 2 * biases
            loss.backward()
            optimizer.step()
    p, q = (
        np.array([np.append(f.detach().numpy(), b.detach().numpy()) for f, b in side])
        for side in sides
    )
    return p, q


@needs_torch
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(("rule", "batch_size"), [("plain", 1), *product(RULES, (1, 7, 25, 1000))])
def test_rows_are_those_of_pytorchs_own_optimizers(
    rule: str, batch_size: int, output: tuple[float, float]
) -> None:
    rank, cell, passes = 8, sample_cell(60), 2
    width = row_width(rule, rank)
    made: dict[str, Any] = {"scale": 0.5, "seed": 4, "block": 0, "width": width}
    p, q = initial_block(6, rank, side=USERS, **made), initial_block(5, rank, side=ITEMS, **made)
    due = by_pytorch(
        rule, cell, p[:, : rank + 1].copy(), q[:, : rank + 1].copy(), output,
        passes=passes, batch_size=batch_size,
    )  # fmt: skip
    for epoch in range(passes):
        rate = RATE * 0.9**epoch
        if rule == "plain":
            plain(*cell, p, q, OFFSET, *output, rate, PENALTY, BIAS_PENALTY)
        else:
            descend(
                cell, p, q, Optimizer(rule, BETA1, BETA2, batch_size), rank=rank,
                output=(OFFSET, *output), learning_rate=rate, penalties=(PENALTY, BIAS_PENALTY),
            )  # fmt: skip
    # Both in float32; a step of Adam is as long where the gradient is all rounding.
    tolerance = 1e-5 if rule in {"plain", "momentum"} else 2e-4
    np.testing.assert_allclose(p[:, : rank + 1], due[0], rtol=0, atol=tolerance)
    np.testing.assert_allclose(q[:, : rank + 1], due[1], rtol=0, atol=tolerance)


def test_a_row_without_a_rating_stays_as_it_is() -> None:
    p = np.full((3, row_width("adam", 2)), 0.5, np.float32)
    q = p.copy()
    before = p.copy()
    cell = (np.array([1], np.int32), np.array([2], np.int32), np.array([4.0], np.float32))
    descend(cell, p, q, Optimizer("adam", BETA1, BETA2, 4), rank=2, output=(OFFSET, 0.0, 0.0),
            learning_rate=RATE, penalties=(0.0, 0.0))  # fmt: skip
    assert (p[[0, 2]] == before[[0, 2]]).all()
    assert (q[[0, 1]] == before[[0, 1]]).all()
    assert (p[1] != before[1]).any()


def test_a_batch_holds_ratings_of_half_of_the_users_of_a_cell() -> None:
    # One batch of each half: the count of Adam says how often each row was stepped.
    cell = sample_cell(900, users=100, items=7, seed=3)
    p, q = (
        initial_block(n, 4, scale=0.5, seed=1, side=side, block=0, width=row_width("adam", 4))
        for n, side in ((100, USERS), (7, ITEMS))
    )
    descend(cell, p, q, Optimizer("adam", BETA1, BETA2, 900), rank=4, output=(OFFSET, 0.0, 0.0),
            learning_rate=RATE, penalties=(PENALTY, BIAS_PENALTY))  # fmt: skip
    last, first = cell[0][449:451]
    assert last == first, "the user whose ratings the cut divides"
    assert set(q[:, -1]) == {2.0}
    assert p[last, -1] == 2.0
    assert set(np.delete(p[:, -1], last)) == {1.0}


@pytest.mark.parametrize("rule", RULES)
def test_a_rating_that_weighs_two_is_two_ratings_of_a_batch(rule: str) -> None:
    user, item, rating = sample_cell(40)
    weighing = user, item, np.concatenate([rating, np.full(40, 2, np.float32)])
    twice = np.repeat(user, 2), np.repeat(item, 2), np.repeat(rating, 2)
    found = []
    for cell in (weighing, twice):
        p, q = (
            initial_block(n, 4, scale=0.5, seed=1, side=side, block=0, width=row_width(rule, 4))
            for n, side in ((6, USERS), (5, ITEMS))
        )
        descend(cell, p, q, Optimizer(rule, BETA1, BETA2, 100), rank=4, output=(OFFSET, 0.0, 0.0),
                learning_rate=RATE, penalties=(0.0, 0.0))  # fmt: skip
        found.append(np.concatenate([p, q]))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-5)


def test_an_empty_cell_changes_nothing() -> None:
    p = np.full((3, row_width("adam", 2)), 0.5, np.float32)
    none = np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32)
    rule = Optimizer("adam", BETA1, BETA2, 8)
    error = descend(none, p, p.copy(), rule, rank=2, output=(OFFSET, 0.0, 0.0),
                    learning_rate=RATE, penalties=(0.0, 0.0))  # fmt: skip
    assert error == 0
    assert (p == 0.5).all()


def test_batches_are_for_large_fits_unless_their_size_is_given() -> None:
    assert SgdSettings().batch_size_for(100_000) == 1
    assert SgdSettings().batch_size_for(1_000_000) == 25_000
    assert SgdSettings(batch_size=64).batch_size_for(1_000_000) == 64


def test_momentum_of_nothing_is_the_plain_way() -> None:
    cell = sample_cell(200, users=20, items=9)
    p, q = (
        initial_block(n, 8, scale=0.5, seed=1, side=side, block=0, width=18)
        for n, side in ((20, USERS), (9, ITEMS))
    )
    plain_p, plain_q = np.ascontiguousarray(p[:, :9]), np.ascontiguousarray(q[:, :9])
    plain(*cell, plain_p, plain_q, OFFSET, 0.0, 0.0, RATE, PENALTY, BIAS_PENALTY)
    descend(cell, p, q, Optimizer("momentum", 0.0, 0.0, 1), rank=8, output=(OFFSET, 0.0, 0.0),
            learning_rate=RATE, penalties=(PENALTY, BIAS_PENALTY))  # fmt: skip
    np.testing.assert_allclose(p[:, :9], plain_p, rtol=0, atol=1e-5)
    np.testing.assert_allclose(q[:, :9], plain_q, rtol=0, atol=1e-5)


def test_uniform_first_factors_fill_their_range() -> None:
    block = initial_block(500, 8, scale=0.05, seed=1, side=USERS, block=0, uniform=True, width=18)
    assert block[:, :8].min() >= 0
    assert block[:, :8].max() < 0.05
    assert block[:, :8].mean() == pytest.approx(0.025, rel=0.05)
    assert not block[:, 8:].any()
