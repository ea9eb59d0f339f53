"""The network of SASRec: NumPy against PyTorch, and its loss against the definition."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from recpipe.models.neural.sequence_job import SequenceJob
from recpipe.models.neural.training import Shard
from recpipe.models.neural.transformer import (
    Encoder,
    Shape,
    initial_weights,
    last_state,
    padded,
)
from recpipe.ranking.histories import Histories
from recpipe.spark.interactions import Arrays, paired

if TYPE_CHECKING:
    from recpipe.models.neural.sequence_network import SequenceNetwork

torch = pytest.importorskip("torch")

SHAPE = Shape(items=30, rank=8, max_length=6, layers=2, heads=2)


def weights(shape: Shape = SHAPE) -> dict[str, np.ndarray]:
    """Of a size at which attention is far from uniform, shifts and scales included."""
    rng = np.random.default_rng(3)
    return {
        name: (value + 0.4 * rng.standard_normal(value.shape)).astype(np.float32)
        for name, value in initial_weights(shape, seed=1).items()
    }


def histories(*rows: list[int]) -> Histories:
    """Of items, the oldest first; stored by item, as histories are, with places from the newest."""
    items, values = [], []
    for row in rows:
        places = sorted((item, float(len(row) - at)) for at, item in enumerate(row))
        items += [item for item, _ in places]
        values += [place for _, place in places]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return Histories(offsets, np.array(items, np.int32), np.array(values, np.float32))


def network(shape: Shape = SHAPE, **rest: Any) -> SequenceNetwork:
    from recpipe.models.neural.sequence_network import SequenceNetwork

    return SequenceNetwork(shape, weights(shape), **rest)


def torch_states(rows: np.ndarray, shape: Shape = SHAPE) -> np.ndarray:
    found: np.ndarray = network(shape).states(tensor(rows)).detach().numpy()
    return found


def tensor(rows: np.ndarray) -> Any:
    return torch.from_numpy(rows.astype(np.int64))


ROWS = ([7], [3, 1, 2], [9, 8, 1, 0, 5, 4], [4, 20, 21, 22, 23, 24, 25, 26])


def test_histories_are_padded_at_their_beginning_and_cut_to_the_newest() -> None:
    assert padded(histories(*ROWS), length=4).tolist() == [
        [-1, -1, -1, 7],
        [-1, 3, 1, 2],
        [1, 0, 5, 4],
        [23, 24, 25, 26],
    ]
    assert padded(histories(), length=4).shape == (0, 4)


@pytest.mark.parametrize("heads", [1, 2, 8])
@pytest.mark.parametrize("layers", [0, 1, 3])
def test_numpy_has_the_vectors_that_pytorch_has(heads: int, layers: int) -> None:
    shape = replace(SHAPE, heads=heads, layers=layers)
    rows = histories(*ROWS)
    found = Encoder(shape, weights(shape))(rows)
    expected = torch_states(padded(rows, length=shape.max_length), shape)[:, -1]
    np.testing.assert_allclose(found[:, :-1], expected, rtol=0, atol=1e-5)
    assert not found[:, -1].any()


def test_a_vector_depends_on_its_own_history_alone() -> None:
    own = weights()
    together = Encoder(SHAPE, own)(histories(*ROWS))
    for row, vector in zip(ROWS, together, strict=True):
        alone = last_state(own, SHAPE, np.array(row, np.int32))
        assert alone.tobytes() == vector[:-1].tobytes()


def test_a_later_item_changes_no_earlier_position() -> None:
    rows = padded(histories(*ROWS), length=SHAPE.max_length)
    later = rows.copy()
    later[:, -1] = 29
    once, again = torch_states(rows), torch_states(later)
    there = rows[:, :-1] >= 0
    np.testing.assert_array_equal(once[:, :-1][there], again[:, :-1][there])
    assert np.abs(once[:, -1] - again[:, -1]).max() > 0.1
    # Whereas an earlier one counts for all that follow.
    earlier = rows.copy()
    earlier[2, 0] = 29
    assert (np.abs(torch_states(earlier)[2] - once[2]).max(axis=-1) > 1e-3).all()


def test_the_order_of_a_history_counts() -> None:
    own = weights()
    once, again = (
        last_state(own, SHAPE, np.array(row, np.int32)) for row in ([1, 2, 3], [2, 1, 3])
    )
    assert np.abs(once - again).max() > 0.01


@pytest.mark.parametrize("sparse", [False, True])
def test_the_loss_over_all_items_is_the_cross_entropy_of_the_next(sparse: bool) -> None:
    rows = padded(histories(*ROWS), length=SHAPE.max_length + 1)
    own = network(sparse=sparse)
    expected, places = 0.0, 0
    for row, numbers in zip(ROWS, rows, strict=True):
        seen = row[-SHAPE.max_length - 1 :]
        # Positions are counted from the end of what the fit is given.
        states = torch_states(numbers[None, :-1])[0].astype(float)
        for end in range(1, len(seen)):
            scores = weights()["items"].astype(float) @ states[end - len(seen)]
            expected += np.log(np.exp(scores).sum()) - scores[seen[end]]
            places += 1
    assert places == 0 + 2 + 5 + 6
    found = own.loss(tensor(rows)).item()
    assert found == pytest.approx(expected, rel=1e-5)
    # All items as negatives, in any order: the next item is not counted twice.
    negatives = torch.randperm(SHAPE.items, generator=torch.Generator().manual_seed(1))
    assert own.loss(tensor(rows), negatives).item() == pytest.approx(found, rel=1e-6)


def test_dropout_is_drawn_anew_in_each_step_of_training_alone() -> None:
    rows, own = tensor(padded(histories(*ROWS), length=7)), network(dropout=0.5)
    torch.manual_seed(1)
    found = [own.train(training).loss(rows).item() for training in (False, False, True, True)]
    assert found[0] == found[1] == network().loss(rows).item()
    assert len(set(found)) == 3


@pytest.mark.parametrize("negatives", [None, 5])
def test_a_job_says_how_well_validation_is_found_and_what_it_knows_at_the_end(
    negatives: int | None,
) -> None:
    """Users 3, 5 and 6 have histories; 6 has nothing held out, and 8 has nothing else."""
    items = np.array([10 * item for item in range(SHAPE.items)], np.int32)
    rows = histories(*ROWS[1:])
    users = np.repeat(np.array([3, 5, 6], np.int32), np.diff(rows.offsets))
    likings = Arrays(paired(users, items[rows.items]), rows.values)
    held_out = [(3, 50), (3, 999), (5, 20), (5, 70), (5, 290), (8, 40)]
    pairs = paired(*(np.array(side, np.int32) for side in zip(*held_out, strict=True)))
    validation = Arrays(pairs, np.ones(len(pairs), np.float32))
    shard = Shard(0, 1, [likings, validation, None])
    work = SequenceJob(items, SHAPE, 0.0, 2, negatives).begin(shard, 4)
    (phase,) = work.phases()
    own = phase.network.eval()
    assert own.items.sparse == (negatives is not None)
    vectors = Encoder(SHAPE, own.weights())(rows)[:, :-1]
    with torch.no_grad():
        total, count = work.validation(own)
    expected = 0.0
    for row, wanted in ((0, {5, 99}), (1, {2, 7, 29})):
        scores = own.weights()["items"] @ vectors[row]
        scores[ROWS[1:][row]] = -np.inf
        gains = [1 / np.log2(place + 2) for place in range(10)]
        best = np.argsort(-scores)[:10]
        hits = sum(gain for gain, item in zip(gains, best, strict=True) if item in wanted)
        expected += 1 - hits / sum(gains[: len(wanted)])
    assert total == pytest.approx(expected, abs=1e-5)
    assert count == 2

    batches = list(work.batches(np.random.default_rng(1)))
    assert len(batches) == 2
    assert sum(batch.count for batch in batches) == 2 + 5 + 6
    for batch in batches:
        assert len(batch.arrays) == (1 if negatives is None else 2)
        assert np.isfinite(work.loss(own, tuple(map(torch.from_numpy, batch.arrays))).item())

    found = [row for batch in work.rows(own) for row in batch.to_pylist()]
    assert [row["number"] for row in found if row["part"] == "user"] == [3, 5, 6]
    got = np.array([row["values"] for row in found if row["part"] == "user"], np.float32)
    np.testing.assert_array_equal(got, vectors)
    assert [row["number"] for row in found if row["part"] == "items"] == items.tolist()
    assert {row["part"] for row in found} - {"user"} == set(SHAPE.sizes())


def test_users_of_one_liking_are_no_batch() -> None:
    likings = Arrays(paired(*np.array([[3, 4], [0, 0]], np.int32)), np.ones(2, np.float32))
    job = SequenceJob(np.array([0], np.int32), replace(SHAPE, items=1), 0.0, 2, 1)
    work = job.begin(Shard(0, 1, [likings, None]), 4)
    assert not list(work.batches(np.random.default_rng(1)))
