from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recpipe.kernels import topn as kernel

Lists = list[list[tuple[int, float]]]


def seen_of(seen: list[list[int]]) -> kernel.Seen:
    flat = np.array([item for row in seen for item in row], np.int32)
    return kernel.Seen(np.cumsum([0, *map(len, seen)]), flat)


def lists_of(top: kernel.Top) -> Lists:
    """(item, score) of each row, best first."""
    lists: Lists = [[] for _ in top.sizes]
    for row, item, score in zip(*top.filled(), strict=True):
        lists[row].append((int(item), float(score)))
    return lists


def best(
    scores: np.ndarray, items: np.ndarray, seen: list[list[int]], *, k: int, width: int
) -> Lists:
    """The kernel on items in blocks of `width`, where row u's score of item i is scores[u, i]."""
    top = kernel.Top.empty(len(scores), k)
    # One factor for each row: the score is picked out, not rounded.
    users = np.eye(len(scores), dtype=np.float32)
    none = np.zeros(len(items), np.float32)
    for start in range(0, len(items), width):
        block = slice(start, start + width)
        panels = kernel.Panels.of(items[block], scores.T[block], none[block])
        kernel.best_of_products(
            panels, users, np.zeros(len(scores), np.float32), seen_of(seen), top
        )
    return lists_of(top)


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


def test_nan_and_minus_infinity_never_rank() -> None:
    scores = np.array([[np.nan, 1, -np.inf, 0]], np.float32)
    assert best(scores, np.arange(4, dtype=np.int32), [[]], k=4, width=4) == [[(1, 1), (3, 0)]]


@pytest.mark.parametrize("rank", [0, 1, 7, 64, 65])
@pytest.mark.parametrize(("users", "items"), [(1, 1), (7, 17), (8, 16), (600, 1100)])
def test_scores_are_products_and_biases_whatever_the_shape(
    rank: int, users: int, items: int
) -> None:
    rng = np.random.default_rng(rank)
    p, q = (rng.normal(size=(n, rank)).astype(np.float32) for n in (users, items))
    base, bias = (rng.normal(size=n).astype(np.float32) for n in (users, items))
    numbers = np.sort(rng.choice(5 * items, items, replace=False)).astype(np.int32)
    seen = [rng.choice(numbers, items // 3).tolist() for _ in range(users)]
    top = kernel.Top.empty(users, 10)
    kernel.best_of_products(kernel.Panels.of(numbers, q, bias), p, base, seen_of(seen), top)
    scores = base[:, None].astype(float) + bias + p.astype(float) @ q.T
    expected = reference(scores.astype(np.float32), numbers, seen, k=10)
    assert top.sizes.tolist() == [len(row) for row in expected]
    for found, due, hidden in zip(lists_of(top), expected, seen, strict=True):
        assert [score for _, score in found] == pytest.approx([s for _, s in due], abs=1e-4)
        assert not {item for item, _ in found} & set(hidden)


def test_a_score_has_the_same_bits_whoever_stands_beside_it() -> None:
    rng = np.random.default_rng(0)
    p, q = (rng.normal(size=(n, 33)).astype(np.float32) for n in (300, 700))
    base, bias = np.zeros(300, np.float32), rng.normal(size=700).astype(np.float32)
    numbers, nothing = np.arange(700, dtype=np.int32), seen_of([[] for _ in range(300)])
    whole = kernel.Top.empty(300, 700)
    kernel.best_of_products(kernel.Panels.of(numbers, q, bias), p, base, nothing, whole)
    alone = kernel.Top.empty(1, 1)
    one = kernel.Panels.of(numbers[501:502], q[501:502], bias[501:502])
    kernel.best_of_products(one, p[299:], base[299:], seen_of([[]]), alone)
    assert dict(lists_of(whole)[299])[501] == dict(lists_of(alone)[0])[501]


def test_places_undo_items() -> None:
    items = np.array([2, 4, 7], np.int32)
    assert kernel.places(items).tolist() == [-1, -1, 0, -1, 1, -1, -1, 2]


def hashed(seed: int, users: list[int], items: list[int]) -> list[dict[int, float]]:
    """The score of every user for every item."""
    top = kernel.Top.empty(len(users), len(items))
    nothing = seen_of([[] for _ in users])
    numbers = np.array(users, np.int32), np.array(items, np.int32)
    kernel.best_of_hashes(seed, *numbers, nothing, top)
    return [dict(row) for row in lists_of(top)]


@settings(deadline=None)
@given(seed=st.integers(-(2**63), 2**64 - 1))
def test_hashes_depend_on_seed_user_and_item_alone(seed: int) -> None:
    whole = hashed(seed, [0, 1, 2, 7], [0, 1, 5, 9])
    assert hashed(seed, [7, 1], [1, 9]) == [
        {item: whole[row][item] for item in (1, 9)} for row in (3, 1)
    ]
    scores = [score for row in whole for score in row.values()]
    assert all(0 <= score < 1 for score in scores)
    assert len(set(scores)) == 16
    assert hashed(seed + 1, [0], [0]) != hashed(seed, [0], [0])


def test_hashes_are_uniform() -> None:
    rows = hashed(42, list(range(200)), list(range(500)))
    out = np.array([[row[item] for item in range(500)] for row in rows])
    counts, _ = np.histogram(out, bins=10, range=(0, 1))
    assert counts == pytest.approx(10_000, rel=0.05)
    assert out.mean(axis=0) == pytest.approx(0.5, abs=0.12)
    assert abs(np.corrcoef(out[:, 0], out[:, 1])[0, 1]) < 0.25


def test_hashes_leave_out_what_was_seen() -> None:
    top = kernel.Top.empty(2, 3)
    users, items = np.array([4, 5], np.int32), np.array([1, 2, 3], np.int32)
    kernel.best_of_hashes(1, users, items, seen_of([[2, 2, 99], [1, 2, 3]]), top)
    assert [{item for item, _ in row} for row in lists_of(top)] == [{1, 3}, set()]
