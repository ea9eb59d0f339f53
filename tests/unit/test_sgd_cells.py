"""Ratings sorted into cells."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recpipe.models.sgd.cells import Block, Cell, Ratings
from recpipe.models.sgd.grid import Grid, ItemTable

GRID = Grid(2)
ITEM = ItemTable.of(
    np.array([10, 11, 12, 13, 14], np.int32), np.array([9, 7, 5, 3, 1], np.int64), blocks=4
)
pairs = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), unique=True, max_size=50)


def ratings(rows: list[tuple[int, int]]) -> Ratings:
    user, place = (np.array([row[side] for row in rows], np.int32) for side in (0, 1))
    return Ratings(user, place, (10 * user + place).astype(np.float32))


def rows_of(block: Block, cells: list[Cell], number: int) -> list[tuple[int, int, float]]:
    """(user id, item id, rating) of all cells, in the order of the visit."""
    return [
        (int(block.users[u]), int(ITEM.ids(GRID.item_block(number, step))[i]), float(r))
        for step, cell in enumerate(cells)
        for u, i, r in zip(cell.user, cell.item, cell.rating, strict=True)
    ]


@given(pairs, pairs, st.integers(0, 1))
def test_every_rating_is_in_one_cell_and_cells_are_sorted_by_user_then_item(
    train: list[tuple[int, int]], validation: list[tuple[int, int]], number: int
) -> None:
    block = Block.of(number, ratings(train), ratings(validation), grid=GRID, items=ITEM)

    assert sorted(rows_of(block, block.train, number)) == sorted(
        (u, 10 + place, 10.0 * u + place) for u, place in train
    )
    known = {u for u, _ in train}
    assert sorted(rows_of(block, block.validation, number)) == sorted(
        (u, 10 + place, 10.0 * u + place) for u, place in validation if u in known
    )
    for cell in [*block.train, *block.validation]:
        order = list(zip(cell.user.tolist(), cell.item.tolist(), strict=True))
        assert order == sorted(order)
        assert [a.dtype.str for a in (cell.user, cell.item, cell.rating)] == ["<i4", "<i4", "<f4"]
    assert block.duplicate == ""


@given(pairs, st.randoms())
def test_the_order_of_arrival_does_not_matter(rows: list[tuple[int, int]], random: object) -> None:
    mixed = sorted(rows, key=lambda row: hash((row, str(random))))
    one = Block.of(0, ratings(rows), ratings([]), grid=GRID, items=ITEM)
    other = Block.of(0, ratings(mixed), ratings([]), grid=GRID, items=ITEM)

    for left, right in zip(one.train, other.train, strict=True):
        np.testing.assert_array_equal(left.user, right.user)
        np.testing.assert_array_equal(left.item, right.item)
        np.testing.assert_array_equal(left.rating, right.rating)


def test_a_pair_that_comes_twice_is_named() -> None:
    twice = Block.of(0, ratings([(3, 1), (4, 0), (3, 1)]), ratings([]), grid=GRID, items=ITEM)
    held_out = Block.of(0, ratings([(3, 1)]), ratings([(3, 2), (3, 2)]), grid=GRID, items=ITEM)

    assert twice.duplicate == "user 3 has more than one rating of item 11"
    assert held_out.duplicate == "user 3 has more than one rating of item 12"


def test_a_block_without_ratings_has_all_its_cells_empty() -> None:
    block = Block.of(1, Ratings.joined([]), Ratings.joined([]), grid=GRID, items=ITEM)

    assert len(block.users) == 0
    assert [len(cell.rating) for cell in block.train] == [0, 0, 0, 0]
