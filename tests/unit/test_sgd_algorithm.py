"""The algorithm in one process: truth is recovered, early stopping keeps the best epoch."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recpipe.errors import FitError
from recpipe.models.sgd.algorithm import (
    Epoch,
    FitProgress,
    Plan,
    held_out_error,
    train_in_process,
    visit,
)
from recpipe.models.sgd.cells import Block, Cell, Ratings
from recpipe.models.sgd.grid import Grid, ItemTable, UserRule

Cells = dict[tuple[int, int], tuple[Cell, Cell]]
NOISE = 0.3


def planted(
    *, blocks: int, seed: int = 0, users: int = 300, items: int = 80, share: float = 0.5
) -> tuple[Cells, Plan]:
    """Ratings of planted biases and two planted factors plus noise, as cells; a tenth held out."""
    draw = np.random.default_rng(seed)
    user, item = np.nonzero(draw.random((users, items)) < share)
    p, q = draw.normal(0, 0.7, (users, 2)), draw.normal(0, 0.7, (items, 2))
    truth = 3.5 + draw.normal(0, 0.4, users)[user] + draw.normal(0, 0.4, items)[item]
    truth += (p[user] * q[item]).sum(axis=1)
    rating = (truth + draw.normal(0, NOISE, len(user))).astype(np.float32)
    held_out = draw.random(len(user)) < 0.1
    grid = Grid(blocks)
    table = ItemTable.of(
        np.arange(items, dtype=np.int32),
        np.bincount(item, minlength=items).astype(np.int64),
        blocks=grid.item_blocks,
    )
    block_of = UserRule.hashed(blocks).block(user.astype(np.int32))
    everything = Ratings(user.astype(np.int32), item.astype(np.int32), rating)
    cells: Cells = {}
    sizes = []
    for b in range(blocks):
        mine = block_of == b
        block = Block.of(
            b,
            everything.at(np.flatnonzero(mine & ~held_out)),
            everything.at(np.flatnonzero(mine & held_out)),
            grid=grid,
            items=table,
        )
        sizes.append(len(block.users))
        cells |= {
            (b, step): pair
            for step, pair in enumerate(zip(block.train, block.validation, strict=True))
        }
    plan = a_plan(
        grid=grid,
        users=tuple(sizes),
        items=table.sizes(grid.item_blocks),
        train_rows=int((~held_out).sum()),
        validation_rows=int(held_out.sum()),
        offset=float(rating[~held_out].mean(dtype=np.float64)),
    )
    return cells, plan


def a_plan(**changes: Any) -> Plan:
    plan = Plan(
        grid=Grid(1),
        users=(1,),
        items=(1, 0),
        train_rows=1,
        validation_rows=1,
        rank=4,
        epochs=40,
        learning_rate=0.03,
        learning_rate_decay=0.97,
        regularization=0.03,
        bias_regularization=0.01,
        initial_scale=0.3,
        patience=0,
        min_improvement=1e-4,
        checkpoint_interval=5,
        seed=1,
        offset=0.0,
    )
    return replace(plan, **changes)


@pytest.mark.parametrize("blocks", [1, 2, 3, 4])
def test_planted_factors_are_recovered_close_to_the_noise_at_any_number_of_blocks(
    blocks: int,
) -> None:
    cells, plan = planted(blocks=blocks)

    _, _, progress = train_in_process(plan, cells)

    lowest = min(point.validation_rmse or math.inf for point in progress.curve)
    biases_alone = math.hypot(NOISE, math.sqrt(2) * 0.7**2)
    assert lowest < 1.15 * NOISE < 0.5 * biases_alone


def test_a_bounded_output_learns_too_and_never_leaves_its_bounds() -> None:
    cells, plan = planted(blocks=2)
    bounded = replace(plan, low=0.5, span=5.5, offset=0.2, regularization=0.005, learning_rate=0.03)

    users, items, progress = train_in_process(bounded, cells)

    assert (progress.curve[-1].validation_rmse or math.inf) < 1.35 * NOISE
    everything = users[0][:, :4] @ items[0][:, :4].T + users[0][:, 4:] + items[0][:, 4]
    assert np.isfinite(everything).all()


def test_the_order_of_the_cells_of_a_stratum_does_not_matter() -> None:
    cells, plan = planted(blocks=3)
    grid = plan.grid
    results = []
    for order in ([0, 1, 2], [2, 0, 1]):
        users = {b: plan.first_users(b) for b in range(grid.blocks)}
        items = {j: plan.first_items(j) for j in range(grid.item_blocks)}
        for stratum in range(grid.blocks):
            for b in order:
                for step in grid.steps_of(stratum):
                    item_block = items[grid.item_block(b, step)]
                    visit(cells[b, step][0], users[b], item_block, plan, epoch=1, step=step)
        results.append((users, items))

    whole_users, whole_items, _ = train_in_process(replace(plan, epochs=1), cells)
    for users, items in results:
        for b, block in users.items():
            np.testing.assert_array_equal(block, whole_users[b])
        for j, block in items.items():
            np.testing.assert_array_equal(block, whole_items[j])


def test_the_blocks_handed_back_are_those_of_the_best_epoch_and_not_the_last() -> None:
    cells, plan = planted(blocks=2, share=0.2)
    overfitting = replace(plan, regularization=0.0, learning_rate=0.08, rank=16, epochs=30)

    users, items, progress = train_in_process(overfitting, cells)

    rmse = [point.validation_rmse or 0.0 for point in progress.curve]
    assert progress.best == 1 + int(np.argmin(rmse)) < len(rmse)
    error = sum(
        held_out_error(pair[1], users[b], items[plan.grid.item_block(b, step)], overfitting)
        for (b, step), pair in sorted(cells.items())
    )
    assert math.sqrt(error / plan.validation_rows) == pytest.approx(min(rmse), rel=1e-12)
    until_best, _, _ = train_in_process(
        replace(overfitting, epochs=progress.best, validation_rows=0), cells
    )
    np.testing.assert_array_equal(users[0], until_best[0])


def test_patience_ends_the_fit_that_many_epochs_after_the_last_better_one() -> None:
    cells, plan = planted(blocks=1, share=0.2)
    overfitting = replace(plan, regularization=0.0, learning_rate=0.08, rank=16, epochs=200)

    _, _, progress = train_in_process(replace(overfitting, patience=3), cells)

    assert progress.stopped_early
    assert len(progress.curve) <= progress.best + 3 < 200


def curve(*rmse: float, **changes: Any) -> FitProgress:
    plan = a_plan(**{"epochs": 10, "patience": 2, "min_improvement": 0.01, **changes})
    points = [Epoch(n, 0.1, 1.0, value) for n, value in enumerate(rmse, start=1)]
    return FitProgress.from_curve(plan, points)


def test_a_fall_smaller_than_the_least_improvement_is_kept_but_does_not_renew_patience() -> None:
    assert not curve(1.0, 0.995).done
    stopped = curve(1.0, 0.995, 0.992)
    assert stopped.stopped_early
    assert stopped.best == 3
    assert not curve(1.0, 0.995, 0.98).done  # small falls add up against the last better one


def test_without_patience_all_epochs_run_and_the_best_is_still_known() -> None:
    progress = curve(1.0, 1.1, 1.2, 1.3, 1.4, patience=0, epochs=5)
    assert progress.done
    assert not progress.stopped_early
    assert progress.best == 1


def test_of_two_equal_epochs_the_earlier_is_best() -> None:
    assert curve(1.0, 0.9, 0.9).best == 2


def test_without_validation_the_last_epoch_is_best_and_nothing_stops_early() -> None:
    cells, plan = planted(blocks=1)

    _, _, progress = train_in_process(replace(plan, epochs=7, validation_rows=0, patience=1), cells)

    assert progress.best == len(progress.curve) == 7
    assert progress.curve[-1].validation_rmse is None


def test_a_fit_that_diverges_stops_and_names_learning_rate_and_epoch() -> None:
    cells, plan = planted(blocks=2)

    _, _, progress = train_in_process(replace(plan, learning_rate=30.0), cells)

    with pytest.raises(FitError, match=r"diverged in epoch 1: .* learning rate 30") as refused:
        progress.check()
    assert "learning_rate" in refused.value.hint
    assert len(progress.curve) == 1


def test_a_block_that_left_the_finite_numbers_with_the_last_rating_counts_as_diverged() -> None:
    one = Cell(np.zeros(1, np.int32), np.zeros(1, np.int32), np.ones(1, np.float32))
    users, items = np.full((1, 5), 1e19, np.float32), np.full((1, 5), -1e19, np.float32)
    plan = a_plan(learning_rate=1e30)

    assert math.isnan(visit(one, users, items, plan, epoch=1, step=0))


def test_the_learning_rate_decays_from_the_first_epoch_on() -> None:
    plan = a_plan(learning_rate=0.1, learning_rate_decay=0.5)
    assert [plan.rate(epoch) for epoch in (1, 2, 3)] == [0.1, 0.05, 0.025]


@pytest.mark.parametrize(
    ("rmse", "given_up"),
    [
        ((1.0, 0.95), False),
        ((1.0, 0.95, 0.91), True),
        ((1.0, 0.85, 1.2), False),  # the best so far counts
        ((1.0, 0.95, 0.9), False),
    ],
)
def test_a_fit_whose_best_so_far_is_above_the_limit_of_its_epoch_is_given_up(
    rmse: tuple[float, ...], given_up: bool
) -> None:
    progress = curve(*rmse, give_up_above=(math.inf, math.inf, 0.9))
    assert progress.given_up is progress.done is given_up


def test_the_last_limit_holds_for_later_epochs() -> None:
    assert not curve(1.0, 0.8, 0.79, give_up_above=(math.inf, 0.8)).given_up
    assert curve(1.0, 0.9, 0.85, give_up_above=(math.inf, math.inf, 0.8)).given_up


def test_a_fit_that_has_ended_is_not_given_up() -> None:
    assert not curve(1.0, 0.99, 0.98, epochs=3, give_up_above=(0.5,)).given_up
    assert curve(1.0, 0.999, 0.998, give_up_above=(math.inf, math.inf, 0.5)).stopped_early
    assert not curve(1.0, 0.999, 0.998, give_up_above=(math.inf, math.inf, 0.5)).given_up
    assert not curve(1.0, 0.99).given_up
