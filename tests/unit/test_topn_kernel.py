from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recpipe.kernels import ids, score_bounds
from recpipe.kernels import topn as kernel

Lists = list[list[tuple[int, float]]]


def seen_of(seen: list[list[int]]) -> kernel.LeftOut:
    flat = np.array([item for row in seen for item in row], np.int32)
    return kernel.LeftOut.of(np.cumsum([0, *map(len, seen)]), flat)


def lists_of(top: kernel.Top) -> Lists:
    """(item, score) of each row, best first."""
    lists: Lists = [[] for _ in top.sizes]
    for row, item, score in zip(*top.filled(), strict=True):
        lists[row].append((int(item), float(score)))
    return lists


def best(
    scores: np.ndarray, items: np.ndarray, left_out: kernel.LeftOut, *, k: int, width: int
) -> Lists:
    """The kernel on items in blocks of `width`, where row u's score of item i is scores[u, i]."""
    top = kernel.Top.empty(len(scores), k)
    # One factor for each row: the score is picked out, not rounded.
    users = np.eye(len(scores), dtype=np.float32)
    none = np.zeros(len(items), np.float32)
    for start in range(0, len(items), width):
        block = slice(start, start + width)
        panels = kernel.Panels.of(items[block], scores.T[block], none[block])
        kernel.best_of_products(panels, users, np.zeros(len(scores), np.float32), left_out, top)
    return lists_of(top)


def reference(scores: np.ndarray, items: np.ndarray, seen: list[list[int]], *, k: int) -> Lists:
    lists: Lists = []
    for row, hidden in zip(scores, seen, strict=True):
        order = np.lexsort((items, -row))
        left_out = set(hidden)
        kept = [(int(items[c]), float(row[c])) for c in order if items[c] not in left_out]
        lists.append(kept[:k])
    return lists


@settings(deadline=None)
@given(
    data=st.data(),
    k=st.integers(1, 12),
    width=st.integers(1, 40),
    # Far apart there is no table of the items' numbers.
    apart=st.sampled_from([1, 25_000_000]),
)
def test_equals_a_full_sort_with_ties_and_seen_items_however_columns_are_tiled(
    data: st.DataObject, k: int, width: int, apart: int
) -> None:
    numbers = st.integers(-2, 60).map(lambda number: number * apart)
    items = np.array(sorted(data.draw(st.sets(numbers, min_size=1))), np.int32)
    rows = data.draw(st.integers(1, 5))
    # Few distinct values, so that nearly every row has ties.
    scores = data.draw(
        hnp.arrays(np.float32, (rows, len(items)), elements=st.sampled_from([-1, 0, 0.5, 2]))
    )
    # Unknown and repeated items among them.
    ids = st.lists(st.integers(-3, 80).map(lambda number: number * apart), max_size=40)
    seen = data.draw(st.lists(ids, min_size=rows, max_size=rows))
    found = best(scores, items, seen_of(seen), k=k, width=width)
    assert found == reference(scores, items, seen, k=k)
    only = np.array(data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows)))
    always = data.draw(ids)
    rules = seen_of(seen)._replace(only=only, always=np.array(always, np.int32))
    hidden = [
        [*always, *(set(items.tolist()) - set(row) if alone else row)]
        for row, alone in zip(seen, only, strict=True)
    ]
    due = reference(scores, items, hidden, k=k)
    assert best(scores, items, rules, k=k, width=width) == due
    made = kernel.Top.empty(rows, k)
    kernel.best_of_scores(scores, items, rules, made)
    assert lists_of(made) == due


def test_ascending_and_descending_scores_over_many_chunks() -> None:
    rising = np.arange(1000, dtype=np.float32)
    scores, items = np.stack([rising, rising[::-1]]), np.arange(1000, dtype=np.int32)
    lists = best(scores, items, seen_of([[999], []]), k=3, width=300)
    assert lists == [[(998, 998), (997, 997), (996, 996)], [(0, 999), (1, 998), (2, 997)]]


def test_equal_scores_go_to_the_lowest_items() -> None:
    items = np.array([3, 5, 8, 13], np.int32)
    assert best(np.zeros((1, 4), np.float32), items, seen_of([[5]]), k=2, width=1) == [
        [(3, 0), (8, 0)]
    ]


def test_a_row_that_has_seen_everything_stays_empty() -> None:
    items = np.array([0, 1], np.int32)
    lists = best(np.ones((2, 2), np.float32), items, seen_of([[1, 0], [1]]), k=2, width=2)
    assert lists == [[], [(0, 1)]]


def test_nan_and_minus_infinity_never_rank() -> None:
    scores = np.array([[np.nan, 1, -np.inf, 0]], np.float32)
    assert best(scores, np.arange(4, dtype=np.int32), seen_of([[]]), k=4, width=4) == [
        [(1, 1), (3, 0)]
    ]


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


def both_ways(
    p: np.ndarray, q: np.ndarray, base: np.ndarray, bias: np.ndarray, seen: kernel.LeftOut, *,
    k: int, blocks: int = 1,
) -> tuple[kernel.Top, kernel.Top]:  # fmt: skip
    """Lists from all scores, and lists from those that pass a score_bounds."""
    numbers = np.arange(len(q), dtype=np.int32)
    plain, bounded = (kernel.Top.empty(len(p), k) for _ in range(2))
    for part in np.array_split(numbers, blocks):
        panels = kernel.Panels.of(part, q[part], bias[part])
        kernel.best_of_products(panels, p, base, seen, plain)
        made = score_bounds.bounds_of_items(panels.factors, panels.biases)
        kernel.best_of_products(panels, p, base, seen, bounded, made)
    return plain, bounded


def assert_same(one: kernel.Top, other: kernel.Top) -> None:
    assert one.sizes.tolist() == other.sizes.tolist()
    for mine, theirs in zip(one.filled(), other.filled(), strict=True):
        np.testing.assert_array_equal(mine, theirs, strict=True)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    rank=st.sampled_from([1, 3, 16, 17, 64, 130]),
    rows=st.sampled_from([1, 9, 300]),
    items=st.sampled_from([1, 16, 700, 3000]),
    k=st.sampled_from([1, 10, 40]),
    blocks=st.sampled_from([1, 3]),
    powers=st.tuples(*[st.integers(-20, 12)] * 2, st.sampled_from([-30, 0, 6])),
    levels=st.sampled_from([0, 1, 3]),
)
def test_a_screen_changes_no_bit(
    seed: int, rank: int, rows: int, items: int, k: int, blocks: int,
    powers: tuple[int, int, int], levels: int,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    users, others, biases = (10.0**power for power in powers)
    p, q = rng.normal(0, users, (rows, rank)), rng.normal(0, others, (items, rank))
    base, bias = (rng.normal(0, biases, n) for n in (rows, items))
    if levels:
        # Few distinct numbers: scores tie, and vectors are zero.
        p, q = np.round(p / users * levels), np.round(q / others * levels)
        base, bias = np.round(base), np.round(bias)
    # Some rows and items a thousand times as long as others.
    p *= rng.choice([1, 1, 1000], (rows, 1))
    q *= rng.choice([1, 1, 1000], (items, 1))
    seen = seen_of([rng.choice(items, items // 3).tolist() for _ in range(rows)])
    seen = seen._replace(only=rng.random(rows) < 0.2, always=np.arange(0, items, 7, dtype=np.int32))
    given = [x.astype(np.float32) for x in (p, q, base, bias)]
    assert_same(*both_ways(given[0], given[1], given[2], given[3], seen, k=k, blocks=blocks))


@pytest.mark.parametrize("side", [0, 1, 2, 3])
@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan, 1e30, 1e-42])
def test_a_screen_changes_nothing_where_numbers_are_beyond_bounds(side: int, number: float) -> None:
    rng = np.random.default_rng(side)
    given = [rng.normal(size=size).astype(np.float32) for size in ((600, 20), (900, 20), 600, 900)]
    given[side][5] = number
    p, q, base, bias = given
    nothing = seen_of([[] for _ in p])
    assert_same(*both_ways(p, q, base, bias, nothing, k=10))


def test_a_screen_changes_nothing_where_nearly_all_scores_pass_it() -> None:
    rng = np.random.default_rng(3)
    # All products are nearly the same, so bounds tell nothing.
    p, q = (1 + 1e-4 * rng.normal(size=(n, 32)).astype(np.float32) for n in (600, 1500))
    zeros = np.zeros(600, np.float32), np.zeros(1500, np.float32)
    assert_same(*both_ways(p, q, *zeros, seen_of([[] for _ in p]), k=10))


def test_few_scores_pass_a_screen() -> None:
    rng = np.random.default_rng(4)
    p, q = (rng.normal(size=(n, 64)).astype(np.float32) for n in (256, 8000))
    bias, base = np.zeros(8000, np.float32), np.zeros(256, np.float32)
    panels = kernel.Panels.of(np.arange(8000, dtype=np.int32), q, bias)
    made = score_bounds.bounds_of_items(panels.factors, panels.biases)
    hidden = np.zeros((256, 500), np.uint16)
    top = kernel.Top.empty(256, 10)
    for view in made:
        view.flags.writeable = False
    passed = score_bounds.best_of_bounds(made, panels.items, panels.biases, p, base, hidden, 0, top)
    assert 10 * 256 <= passed < 80 * 256


def test_a_screen_is_right_on_machines_without_products_of_bytes() -> None:
    code = """
        import numpy as np
        from recpipe.kernels import bound_tiles, score_bounds, topn
        assert not bound_tiles.BYTE_PRODUCTS
        rng = np.random.default_rng(0)
        p, q = (rng.normal(size=(n, 35)).astype(np.float32) for n in (300, 2000))
        base, bias = (rng.normal(size=n).astype(np.float32) for n in (300, 2000))
        panels = topn.Panels.of(np.arange(2000, dtype=np.int32), q, bias)
        seen = topn.LeftOut.of(np.zeros(301, np.int64), np.empty(0, np.int32))
        tops = [topn.Top.empty(300, 10) for _ in range(2)]
        bounds = [score_bounds.NO_BOUNDS, score_bounds.bounds_of_items(*panels[1:])]
        for top, made in zip(tops, bounds, strict=True):
            topn.best_of_products(panels, p, base, seen, top, made)
        assert all(np.array_equal(*pair) for pair in zip(*tops))
        assert not score_bounds.pays(users=10**6, rank=64)
    """
    plain = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=True, env={**os.environ, **plain}
    )


def test_places_undo_items() -> None:
    items = np.array([2, 4, 7], np.int32)
    assert ids.places(items).tolist() == [-1, -1, 0, -1, 1, -1, -1, 2]


@settings(deadline=None)
@given(
    st.data(),
    st.integers(1, 6),
    st.lists(st.integers(0, 50), unique=True, max_size=40),
    st.integers(1, 7),
)
def test_scores_that_are_there_become_the_lists_of_a_full_sort_a_few_rows_at_a_time(
    data: st.DataObject, rows: int, numbers: list[int], k: int
) -> None:
    items = np.array(sorted(numbers), np.int32)
    few = st.sampled_from([-1.5, 0.0, 0.5, 2.0])
    scores = data.draw(hnp.arrays(np.float32, (rows, len(items)), elements=few))
    seen = data.draw(
        st.lists(st.lists(st.integers(0, 60), max_size=9), min_size=rows, max_size=rows)
    )
    cut, block = data.draw(st.integers(0, rows)), data.draw(st.integers(0, len(items)))
    top = kernel.Top.empty(rows, k)
    for part in (slice(0, block), slice(block, None)):
        for first, last in ((0, cut), (cut, rows)):
            some = np.ascontiguousarray(scores[first:last, part])
            kernel.best_of_scores(some, items[part], seen_of(seen), top, first=first)
    assert lists_of(top) == reference(scores, items, seen, k=k)


def test_scores_that_are_there_are_left_out_where_they_are_nan_or_minus_infinity() -> None:
    scores = np.array([[np.nan, -np.inf, 1.0]], np.float32)
    top = kernel.Top.empty(1, 3)
    kernel.best_of_scores(scores, np.array([1, 2, 10**9], np.int32), seen_of([[]]), top)
    assert lists_of(top) == [[(10**9, 1.0)]]


@pytest.mark.parametrize("rank", [0, 1, 33])
@pytest.mark.parametrize(("users", "items"), [(1, 1), (7, 17), (300, 600)])
def test_all_products_have_the_bits_of_the_scores_of_lists(
    users: int, items: int, rank: int
) -> None:
    rng = np.random.default_rng(rank)
    p, q = (rng.normal(size=(n, rank)).astype(np.float32) for n in (users, items))
    base, bias = (rng.normal(size=n).astype(np.float32) for n in (users, items))
    panels = kernel.Panels.of(np.arange(items, dtype=np.int32), q, bias)
    top = kernel.Top.empty(users, items)
    kernel.best_of_products(panels, p, base, seen_of([[] for _ in range(users)]), top)
    scores = kernel.all_products(panels, p, base)
    assert scores.shape == (users, items)
    row, item, listed = top.filled()
    assert len(row) == users * items
    assert (scores[row, item] == listed).all()
