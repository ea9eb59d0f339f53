"""The algorithm itself, whoever carries the factors about, and the whole of it in one process.

Every exchange runs `visit` over the same cells in an order that gives each block the same history
as `train_in_process`, so all of them end in the same bits.
"""

from __future__ import annotations

import logging
import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from recpipe.errors import FitError
from recpipe.kernels.sgd import (
    ITEMS,
    USERS,
    descend,
    initial_block,
    row_width,
    squared_error,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from recpipe.models.sgd.cells import Cell
    from recpipe.models.sgd.grid import Grid

    Floats = NDArray[np.float32]
    Side = dict[int, Floats]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """Everything that decides a fit but the ratings: two fits of one plan are the same to the bit.

    Args:
        grid: the blocks and their order.
        users: rows of each user block.
        items: rows of each item block.
        train_rows: ratings fitted in an epoch.
        validation_rows: ratings held out; 0 for a fit that cannot stop early.
        rank: number of factors.
        epochs: most passes over the ratings.
        learning_rate: step of the first epoch.
        learning_rate_decay: factor on the step after each epoch.
        regularization: L2 penalty of factors, a rating.
        bias_regularization: L2 penalty of biases, a rating.
        initial_scale: about the norm of a row of factors before the first epoch.
        patience: epochs without a better validation RMSE before training stops; 0: never.
        min_improvement: the least fall of validation RMSE that `patience` counts as better.
        checkpoint_interval: epochs between the checkpoints of an exchange that keeps them.
        seed: of the first factors.
        offset: predicted before biases and factors (and before the sigmoid, if there is one).
        low: lowest prediction of a bounded output.
        span: highest less lowest prediction of a bounded output; 0: not bounded.
        give_up_above: of `TrainingData`, in units of learning.
        optimizer: how steps follow from gradients: plain, or a rule of `kernels.sgd_optimizers`.
        beta1: how much of the first moment stays in a step.
        beta2: how much of the second moment stays in a step.
        batch_size: most ratings of a step of an optimizer other than plain.
        uniform: whether the first factors are uniform from 0 to `initial_scale`.
    """

    grid: Grid
    users: tuple[int, ...]
    items: tuple[int, ...]
    train_rows: int
    validation_rows: int
    rank: int
    epochs: int
    learning_rate: float
    learning_rate_decay: float
    regularization: float
    bias_regularization: float
    initial_scale: float
    patience: int
    min_improvement: float
    checkpoint_interval: int
    seed: int
    offset: float
    low: float = 0.0
    span: float = 0.0
    give_up_above: tuple[float, ...] = ()
    optimizer: str = "plain"
    beta1: float = 0.0
    beta2: float = 0.0
    batch_size: int = 1
    uniform: bool = False

    @property
    def width(self) -> int:
        """Numbers of a row: factors, bias, and what the optimizer keeps of it."""
        return row_width(self.optimizer, self.rank)

    def rate(self, epoch: int) -> float:
        """The step of an epoch, counted from 1."""
        return self.learning_rate * self.learning_rate_decay ** (epoch - 1)

    def first_users(self, block: int) -> Floats:
        """A user block before the first epoch."""
        return self._first(self.users[block], USERS, block)

    def first_items(self, block: int) -> Floats:
        """An item block before the first epoch."""
        return self._first(self.items[block], ITEMS, block)

    def _first(self, rows: int, side: int, block: int) -> Floats:
        return initial_block(
            rows,
            self.rank,
            scale=self.initial_scale,
            seed=self.seed,
            side=side,
            block=block,
            uniform=self.uniform,
            width=self.width,
        )


def visit(cell: Cell, users: Floats, items: Floats, plan: Plan, *, epoch: int, step: int) -> float:
    """One pass over a cell, changing both blocks; returns the sum of squared errors met.

    NaN once the items, or in the last step of an epoch the users, have left the finite numbers,
    though the error itself may not show it yet.
    """
    error = _descended(cell, users, items, plan, plan.rate(epoch))
    # A sum is finite only if all of its terms are, and makes no array as np.isfinite does.
    # Users cannot come back from infinity before the epoch ends, and to sum them takes long.
    last = step == plan.grid.item_blocks - 1
    with np.errstate(all="ignore"):
        finite = math.isfinite(float(items.sum()) + (float(users.sum()) if last else 0.0))
    return error if finite else math.nan


def _descended(cell: Cell, users: Floats, items: Floats, plan: Plan, rate: float) -> float:
    ratings, output = (cell.user, cell.item, cell.rating), (plan.offset, plan.low, plan.span)
    penalties = plan.regularization, plan.bias_regularization
    if plan.optimizer == "plain":
        plain: float = descend(*ratings, users, items, *output, rate, *penalties)
        return plain
    # Compiled when it is imported: the plain way does not wait for it.
    from recpipe.kernels import sgd_optimizers as kernel

    return kernel.descend(
        ratings,
        users,
        items,
        kernel.Optimizer(plan.optimizer, plan.beta1, plan.beta2, plan.batch_size),
        rank=plan.rank,
        output=output,
        learning_rate=rate,
        penalties=penalties,
    )


def held_out_error(cell: Cell, users: Floats, items: Floats, plan: Plan) -> float:
    """The sum of squared errors of a cell that is not fitted."""
    error: float = squared_error(
        cell.user, cell.item, cell.rating, users, items, plan.rank, plan.offset, plan.low, plan.span
    )
    return error


@dataclass(frozen=True)
class Epoch:
    """One point of the learning curve.

    Args:
        epoch: from 1.
        learning_rate: its step.
        train_rmse: over the ratings of the epoch, each error taken just before its own step.
        validation_rmse: of the model as the epoch left it; None without validation ratings.
    """

    epoch: int
    learning_rate: float
    train_rmse: float
    validation_rmse: float | None


@dataclass
class FitProgress:
    """The learning curve of a fit, and what follows from it: which epoch is best, when to stop.

    The best epoch is the one with the lowest validation RMSE, the earlier of two equal ones;
    without validation it is the last.
    """

    plan: Plan
    curve: list[Epoch] = field(default_factory=list)
    best: int = 0
    _waited: int = 0
    _to_beat: float = math.inf

    @classmethod
    def from_curve(cls, plan: Plan, curve: Iterable[Epoch]) -> FitProgress:
        """The progress of a fit that ran elsewhere."""
        progress = cls(plan)
        for point in curve:
            progress._note(point)
        return progress

    def add(self, train_error: float, validation_error: float | None) -> None:
        """Note the end of an epoch.

        Args:
            train_error: sum of squared errors over the train ratings.
            validation_error: the same over the validation ratings; None where there are none.
        """
        number = len(self.curve) + 1
        point = Epoch(
            epoch=number,
            learning_rate=self.plan.rate(number),
            train_rmse=math.sqrt(train_error / self.plan.train_rows),
            validation_rmse=None
            if validation_error is None
            else math.sqrt(validation_error / self.plan.validation_rows),
        )
        self._note(point)

    def _note(self, point: Epoch) -> None:
        self.curve.append(point)
        if point.validation_rmse is None:
            self.best = point.epoch
            return
        lowest = self.curve[self.best - 1].validation_rmse if self.best else None
        if lowest is None or point.validation_rmse < lowest:
            self.best = point.epoch
        self._waited += 1
        if point.validation_rmse < self._to_beat - self.plan.min_improvement:
            self._to_beat, self._waited = point.validation_rmse, 0

    @property
    def diverged(self) -> bool:
        """Whether the last epoch's loss is no longer a finite number."""
        last = self.curve[-1]
        return not (math.isfinite(last.train_rmse) and math.isfinite(last.validation_rmse or 0.0))

    @property
    def stopped_early(self) -> bool:
        """Whether patience ran out before the epochs did."""
        return 0 < self.plan.patience <= self._waited and len(self.curve) < self.plan.epochs

    @property
    def given_up(self) -> bool:
        """Whether the fit is behind `Plan.give_up_above` with epochs left that it would run."""
        limits, epochs = self.plan.give_up_above, len(self.curve)
        lowest = self.curve[self.best - 1].validation_rmse if self.best else None
        if not limits or lowest is None or epochs == self.plan.epochs or self.stopped_early:
            return False
        return lowest > limits[min(epochs, len(limits)) - 1]

    @property
    def done(self) -> bool:
        ended = len(self.curve) == self.plan.epochs
        return bool(self.curve) and (ended or self.diverged or self.stopped_early or self.given_up)

    def check(self) -> None:
        """Raise FitError if the fit has diverged."""
        if self.curve and self.diverged:
            last = self.curve[-1]
            raise FitError(
                f"sgd diverged in epoch {last.epoch}: the loss is not finite at learning rate"
                f" {last.learning_rate:g}",
                hint="lower sgd.learning_rate or raise sgd.regularization",
            )

    def report(self, *, size: float = 1.0) -> list[dict[str, Any]]:
        """The learning curve as JSON holds it.

        Args:
            size: what a unit of learning is on the scale of the ratings.
        """
        points = [asdict(point) for point in self.curve]
        for point in points:
            for part in ("train_rmse", "validation_rmse"):
                if point[part] is not None:
                    point[part] *= size
        return points


def train_in_process(
    plan: Plan, cells: Mapping[tuple[int, int], tuple[Cell, Cell]]
) -> tuple[Side, Side, FitProgress]:
    """The whole fit in this process, and what every exchange must equal to the bit.

    Args:
        plan: of the fit.
        cells: (block, step) -> train cell, validation cell; all of the grid.

    Returns:
        User blocks, item blocks and the learning curve. Blocks are those of the best epoch; of a
        fit that diverged, those of the last one.
    """
    grid = plan.grid
    users = {b: plan.first_users(b) for b in range(grid.blocks)}
    items = {b: plan.first_items(b) for b in range(grid.item_blocks)}
    best = users, items
    progress = FitProgress(plan)
    while not progress.done:
        epoch = len(progress.curve) + 1
        errors = dict.fromkeys(users, 0.0)
        for step in range(grid.item_blocks):
            for b, block in users.items():
                cell = cells[b, step][0]
                met = items[grid.item_block(b, step)]
                errors[b] += visit(cell, block, met, plan, epoch=epoch, step=step)
        held_out = None
        if plan.validation_rows:
            held_out = total(
                total(
                    held_out_error(cells[b, s][1], users[b], items[grid.item_block(b, s)], plan)
                    for s in range(grid.item_blocks)
                )
                for b in users
            )
        progress.add(total(errors.values()), held_out)
        if progress.best == epoch and plan.validation_rows and not progress.done:
            best = _copied(users), _copied(items)
        elif progress.best == epoch:
            best = users, items
    return *best, progress


def total(errors: Iterable[float]) -> float:
    """A sum from left to right: float addition in one order only."""
    result = 0.0
    for error in errors:
        result += error
    return result


def _copied(side: Side) -> Side:
    return {number: block.copy() for number, block in side.items()}
