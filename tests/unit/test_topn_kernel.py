from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recpipe.kernels import topn as kernel

Lists = list[list[tuple[int, float]]]


def best(
    scores: np.ndarray, items: np.ndarray, seen: list[list[int]], *, k: int, width: int
) -> Lists:
    """The kernel over tiles of `width` columns: (item, score) of each row, best first."""
    places = kernel.places(items)
    flat = np.array([item for row in seen for item in row], np.int32)
    offsets = np.cumsum([0, *map(len, seen)])
    top = kernel.Top.empty(len(scores), k)
    for start in range(0, scores.shape[1], width):
        tile = scores[:, start : start + width].copy()
        kernel.hide(tile, start, flat, offsets, places)
        kernel.update(tile, items[start : start + width], *top)
    lists: Lists = [[] for _ in scores]
    for row, item, score in zip(*top.filled(), strict=True):
        lists[row].append((int(item), float(score)))
    return lists


def reference(scores: np.ndarray, items: np.ndarray, seen: list[list[int]], *, k: int) -> Lists:
    lists: Lists = []
    for row, hidden in zip(scores, seen, strict=True):
        order = np.lexsort((items, -row))
        kept = [(int(items[c]), float(row[c])) for c in order if items[c] not in set(hidden)]
        lists.append(kept[:k])
    return lists


@settings(deadline=None)
@given(data=st.data(), k=st.integers(1, 12), width=st.integers(1, 40))
def test_equals_a_full_sort_with_ties_and_seen_items_however_columns_are_tiled(
    data: st.DataObject, k: int, width: int
) -> None:
    items = np.array(sorted(data.draw(st.sets(st.integers(0, 60), min_size=1))), np.int32)
    rows = data.draw(st.integers(1, 5))
    # Few distinct values, so that nearly every row has ties.
    scores = data.draw(
        hnp.arrays(np.float32, (rows, len(items)), elements=st.sampled_from([-1, 0, 0.5, 2]))
    )
    ids = st.lists(st.integers(-3, 80), max_size=40)  # unknown and repeated items among them
    seen = data.draw(st.lists(ids, min_size=rows, max_size=rows))
    assert best(scores, items, seen, k=k, width=width) == reference(scores, items, seen, k=k)


def test_ascending_and_descending_scores_over_many_chunks() -> None:
    rising = np.arange(1000, dtype=np.float32)
    scores, items = np.stack([rising, rising[::-1]]), np.arange(1000, dtype=np.int32)
    lists = best(scores, items, [[999], []], k=3, width=300)
    assert lists == [[(998, 998), (997, 997), (996, 996)], [(0, 999), (1, 998), (2, 997)]]


def test_equal_scores_go_to_the_lowest_items() -> None:
    items = np.array([3, 5, 8, 13], np.int32)
    assert best(np.zeros((1, 4), np.float32), items, [[5]], k=2, width=1) == [[(3, 0), (8, 0)]]


def test_a_row_that_has_seen_everything_stays_empty() -> None:
    items = np.array([0, 1], np.int32)
    lists = best(np.ones((2, 2), np.float32), items, [[1, 0], [1]], k=2, width=2)
    assert lists == [[], [(0, 1)]]


def test_nan_never_ranks() -> None:
    scores = np.array([[np.nan, 1, np.nan, 0]], np.float32)
    assert best(scores, np.arange(4, dtype=np.int32), [[]], k=4, width=4) == [[(1, 1), (3, 0)]]


def test_places_undo_items() -> None:
    items = np.array([2, 4, 7], np.int32)
    assert kernel.places(items).tolist() == [-1, -1, 0, -1, 1, -1, -1, 2]


@settings(deadline=None)
@given(seed=st.integers(0, 2**64 - 1))
def test_hash_scores_depend_on_user_and_item_alone(seed: int) -> None:
    def scores(users: list[int], items: list[int]) -> np.ndarray:
        out = np.empty((len(users), len(items)), np.float32)
        user, item = np.array(users, np.int32), np.array(items, np.int32)
        kernel.hash_scores(np.uint64(seed), user, item, out)
        return out

    whole = scores([0, 1, 2, 7], [0, 1, 5, 9])
    assert scores([7, 1], [9, 1]).tolist() == [
        [whole[3, 3], whole[3, 1]],
        [whole[1, 3], whole[1, 1]],
    ]
    assert ((whole >= 0) & (whole < 1)).all()
    assert len(set(whole.ravel().tolist())) == whole.size


def test_hash_scores_are_uniform() -> None:
    out = np.empty((200, 500), np.float32)
    users, items = np.arange(200, dtype=np.int32), np.arange(500, dtype=np.int32)
    kernel.hash_scores(np.uint64(42), users, items, out)
    counts, _ = np.histogram(out, bins=10, range=(0, 1))
    assert counts == pytest.approx(10_000, rel=0.05)
    assert out.mean(axis=0) == pytest.approx(0.5, abs=0.12)
    assert abs(np.corrcoef(out[:, 0], out[:, 1])[0, 1]) < 0.25
