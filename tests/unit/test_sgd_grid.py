"""Blocks, strata and balance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recpipe.errors import MissingError
from recpipe.kernels.ids import distinct, positions
from recpipe.models.sgd.grid import (
    Grid,
    ItemTable,
    UserRule,
    balanced,
    number_of_blocks,
)

grids = st.builds(Grid, st.integers(1, 12), st.integers(1, 4))
ids = st.lists(st.integers(0, 2**31 - 1), unique=True, max_size=50).map(
    lambda values: np.array(sorted(values), np.int32)
)


@given(grids)
def test_every_user_block_meets_every_item_block_once(grid: Grid) -> None:
    for b in range(grid.blocks):
        met = [grid.item_block(b, step) for step in range(grid.item_blocks)]
        assert sorted(met) == list(range(grid.item_blocks))
        assert grid.step_of(b, np.array(met, np.int32)).tolist() == list(range(grid.item_blocks))


@given(grids)
def test_the_cells_of_a_stratum_share_no_item_block(grid: Grid) -> None:
    for stratum in range(grid.blocks):
        met = [
            grid.item_block(b, step) for b in range(grid.blocks) for step in grid.steps_of(stratum)
        ]
        assert sorted(met) == list(range(grid.item_blocks))


@given(grids)
def test_an_item_block_goes_to_the_next_lower_user_block_and_comes_home(grid: Grid) -> None:
    for b in range(grid.blocks):
        held = set(grid.slices_of(b))
        for stratum in range(grid.blocks):
            at = (b - stratum) % grid.blocks
            assert {grid.item_block(at, step) for step in grid.steps_of(stratum)} == held


@pytest.mark.parametrize(
    ("ratings", "rank", "blocks"),
    [
        (1, 1, 1),
        (100_000, 32, 1),
        (1_000_000, 32, 1),
        (8_000_000, 64, 2),
        (32_000_000, 64, 4),
        (1_000_000_000, 64, 25),
    ],
)
def test_auto_blocks_follow_from_ratings_and_rank_on_any_machine(
    ratings: int, rank: int, blocks: int
) -> None:
    for cores in (1, 64):
        assert number_of_blocks("auto", ratings=ratings, rank=rank, cores=cores) == blocks


def test_blocks_can_be_the_cores_or_a_number() -> None:
    assert number_of_blocks("cores", ratings=10, rank=8, cores=6) == 6
    assert number_of_blocks(3, ratings=10, rank=8, cores=6) == 3


def test_blocks_too_large_for_a_task_are_refused_with_the_number_needed() -> None:
    with pytest.raises(MissingError, match=r"sgd.blocks to 25 or more") as refused:
        number_of_blocks(1, ratings=1_000_000_000, rank=8, cores=2)
    assert refused.value.exit_code == 5


@given(st.lists(st.integers(0, 1000), max_size=80), st.integers(1, 7))
def test_loads_differ_by_no_more_than_the_largest_count(counts: list[int], blocks: int) -> None:
    array = np.array(counts, np.int64)
    place = balanced(array, blocks=blocks)

    loads = [int(array[place == block].sum()) for block in range(blocks)]

    assert max(loads) - min(loads) <= max(counts, default=0)


@given(ids, st.integers(1, 9), st.randoms())
def test_an_item_table_numbers_the_items_of_each_block_from_zero_by_id(
    item: np.ndarray, blocks: int, random: object
) -> None:
    del random
    counts = np.arange(len(item), dtype=np.int64)[::-1] + 1
    shuffle = np.random.default_rng(0).permutation(len(item))
    table = ItemTable.of(item, counts, blocks=blocks)
    again = ItemTable.of(item[shuffle], counts[shuffle], blocks=blocks)

    for block in range(blocks):
        mine = table.ids(block)
        assert mine.tolist() == sorted(item[table.block == block].tolist())
        assert table.number[table.block == block].tolist() == list(range(len(mine)))
    assert sum(table.sizes(blocks)) == len(item)
    np.testing.assert_array_equal(table.block, again.block)
    np.testing.assert_array_equal(table.number, again.number)


@given(ids, ids)
def test_positions_find_ids_near_and_far_apart(known: np.ndarray, wanted: np.ndarray) -> None:
    expected = [list(known).index(x) if x in known else -1 for x in wanted]

    assert positions(known, wanted).tolist() == expected
    assert positions(known % 1000, known[:0]).tolist() == []


def test_distinct_ids_are_sorted_whether_dense_or_not() -> None:
    assert distinct(np.array([5, 2, 5, 0], np.int32)).tolist() == [0, 2, 5]
    assert distinct(np.array([2**31 - 1, 7, 7], np.int32)).tolist() == [7, 2**31 - 1]
    assert distinct(np.empty(0, np.int32)).tolist() == []


def test_users_of_very_unequal_activity_fall_into_blocks_of_nearly_equal_ratings() -> None:
    draw = np.random.default_rng(3)
    user = np.arange(20_000, dtype=np.int32)
    counts = np.minimum(20 * draw.pareto(1.1, len(user)) + 1, 20_000).astype(np.int64)
    blocks = 8
    heavy = counts > UserRule.threshold(int(counts.sum()), blocks=blocks)
    hashed = UserRule.hashed(blocks).block(user)
    light = np.bincount(hashed[~heavy], weights=counts[~heavy], minlength=blocks)
    rule = UserRule.of(user[heavy], counts[heavy], light=light.astype(np.int64))

    loads = np.bincount(rule.block(user), weights=counts, minlength=blocks)

    by_id = np.bincount(user % blocks, weights=counts, minlength=blocks)
    assert heavy.sum() < 1000 * blocks
    assert loads.max() / loads.mean() < 1.01
    assert by_id.max() / by_id.mean() > 1.05


def test_one_block_takes_every_user() -> None:
    assert UserRule.hashed(1).block(np.array([4, 9], np.int32)).tolist() == [0, 0]
