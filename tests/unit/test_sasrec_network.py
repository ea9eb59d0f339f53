"""The network of SASRec: NumPy against PyTorch, and its loss against the definition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recpipe.models.neural.transformer import (
    Encoder,
    Shape,
    initial_weights,
    last_state,
    padded,
)
from recpipe.ranking.histories import Histories

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


def torch_states(rows: np.ndarray, shape: Shape = SHAPE) -> np.ndarray:
    from recpipe.models.neural.sequence_loss import states

    tensors = {name: torch.from_numpy(value) for name, value in weights(shape).items()}
    found: np.ndarray = states(tensors, shape, torch.from_numpy(rows.astype(np.int64))).numpy()
    return found


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
    once, again = (last_state(own, SHAPE, np.array(row, np.int32)) for row in ([1, 2, 3], [2, 1, 3]))
    assert np.abs(once - again).max() > 0.01


def test_the_loss_over_all_items_is_the_cross_entropy_of_the_next() -> None:
    from recpipe.models.neural.sequence_loss import next_item_loss

    rows = padded(histories(*ROWS), length=SHAPE.max_length + 1)
    own = weights()
    tensors = {name: torch.from_numpy(value) for name, value in own.items()}
    items = torch.from_numpy(rows.astype(np.int64))
    found = next_item_loss(tensors, SHAPE, items).item()
    expected, places = 0.0, 0
    for row in ROWS:
        seen = row[-SHAPE.max_length - 1 :]
        for end in range(1, len(seen)):
            # Positions are counted from the end of what the fit is given.
            state = torch_states(rows[ROWS.index(row)][None, :-1])[0, end - len(seen)]
            scores = own["items"].astype(float) @ state.astype(float)
            expected += np.log(np.exp(scores).sum()) - scores[seen[end]]
            places += 1
    assert places == 0 + 2 + 5 + 6
    assert found == pytest.approx(expected, rel=1e-5)
    # All items as negatives, in any order: the next item is not counted twice.
    negatives = torch.randperm(SHAPE.items, generator=torch.Generator().manual_seed(1))
    sampled = next_item_loss(tensors, SHAPE, items, negatives).item()
    assert sampled == pytest.approx(found, rel=1e-6)


def test_dropout_is_a_draw_of_its_own_and_0_is_none() -> None:
    from recpipe.models.neural.sequence_loss import next_item_loss

    items = torch.from_numpy(padded(histories(*ROWS), length=7).astype(np.int64))
    tensors = {name: torch.from_numpy(value) for name, value in weights().items()}
    torch.manual_seed(1)
    found = [next_item_loss(tensors, SHAPE, items, dropout=share).item() for share in (0, 0, 0.5, 0.5)]
    assert found[0] == found[1]
    assert len(set(found)) == 3
