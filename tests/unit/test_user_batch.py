from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recpipe.ranking.histories import HISTORY_KINDS, Histories, histories_of
from recpipe.ranking.user_batch import InputShape, UserBatch, UserInputs
from recpipe.ranking.user_vectors import VECTOR_KINDS
from recpipe.spark.interactions import Arrays

Rows = dict[int, dict[int, float]]

_item = st.integers(0, 2**31 - 1) | st.integers(0, 5)
_rows = st.dictionaries(
    st.integers(0, 12), st.dictionaries(_item, st.sampled_from([0.5, 1, -2]), max_size=5)
)


def sent(rows: Rows, order: np.random.Generator | None = None) -> Arrays:
    """A bucket's histories as a task reads them, in any order."""
    pairs = [(u << 32 | i, value) for u, items in rows.items() for i, value in items.items()]
    keys = np.array([key for key, _ in pairs], np.int64)
    values = np.array([value for _, value in pairs], np.float32)
    places = np.arange(len(pairs)) if order is None else order.permutation(len(pairs))
    return HISTORY_KINDS([keys[places].tobytes()], [values[places].tobytes()])


def vectors(rows: dict[int, list[float]]) -> Arrays:
    keys = np.array(list(rows), np.int32)
    return VECTOR_KINDS([keys.tobytes()], [np.array(list(rows.values()), np.float32).tobytes()])


def listed(histories: Histories | None) -> list[list[tuple[int, float]]]:
    """(item, value) of each row."""
    assert histories is not None
    offsets, items, values = histories
    assert (offsets[0], offsets[-1]) == (0, len(items))
    assert [array.dtype.name for array in histories] == ["int64", "int32", "float32"]
    return [
        list(zip(items[a:b].tolist(), values[a:b].tolist(), strict=True))
        for a, b in itertools.pairwise(offsets)
    ]


def users_of(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int32)


@settings(deadline=None)
@given(_rows, st.sets(st.integers(0, 15)), st.integers(0, 99))
def test_a_history_is_in_the_order_of_its_items_however_it_came(
    rows: Rows, asked: set[int], seed: int
) -> None:
    users = users_of(*sorted(asked))
    found = histories_of(sent(rows, np.random.default_rng(seed)), users)
    # Users without a history have an empty one, and those who are not asked for are passed over.
    assert listed(found) == [sorted(rows.get(user, {}).items()) for user in sorted(asked)]


@settings(deadline=None)
@given(_rows, st.data())
def test_rows_of_histories_are_those_at_their_places(rows: Rows, data: st.DataObject) -> None:
    users = sorted(rows)
    whole = histories_of(sent(rows), users_of(*users))
    start = data.draw(st.integers(0, len(users)))
    stop = data.draw(st.integers(start, len(users)))
    assert listed(whole.rows(slice(start, stop))) == listed(whole)[start:stop]
    places = [at for at in range(len(users)) if data.draw(st.booleans())]
    some = whole.rows(np.array(places, np.int64))
    assert listed(some) == [listed(whole)[at] for at in places]


def nothing(kinds: list[type]) -> Arrays:
    return Arrays(*(np.empty(0, kind) for kind in kinds))


def test_an_empty_bucket_has_users_without_a_history() -> None:
    found = histories_of(nothing([np.int64, np.float32]), users_of(3, 8))
    assert listed(found) == [[], []]
    assert listed(histories_of(nothing([np.int64, np.float32]), users_of())) == []


SHAPE = InputShape(
    width=2,
    histories=True,
    components=(InputShape(None, True, ()), InputShape(None, False, ()), InputShape(1, False, ())),
)


def batch_of(*users: int) -> UserBatch:
    """Of users 1 to 5: who has what differs between the model and its components."""
    arrays = [
        vectors({5: [5, 50], 1: [1, 10]}),
        sent({2: {7: 1.0, 3: 0.5}}),
        sent({3: {9: 2.0}, 2: {9: 1.0}}),
        vectors({4: [4]}),
    ]
    return SHAPE.batch(users_of(*users), arrays, instant=12)


def test_a_batch_has_what_the_model_and_each_part_know_of_its_users() -> None:
    batch = batch_of(1, 2, 3, 4, 6)
    assert batch.vectors is not None
    assert batch.vectors.tolist() == [[1, 10], [0, 0], [0, 0], [0, 0], [0, 0]]
    assert listed(batch.histories) == [[], [(3, 0.5), (7, 1.0)], [], [], []]
    # A model of models knows whom it or any part of it knows.
    assert batch.known.tolist() == [True, True, True, True, False]
    first, second, third = batch.components
    assert listed(first.histories) == [[], [(9, 1.0)], [(9, 2.0)], [], []]
    assert first.known.tolist() == [False, True, True, False, False]
    assert (second.vectors, second.histories) == (None, None)
    assert not second.known.any()
    assert third.vectors is not None
    assert third.vectors.tolist() == [[0], [0], [0], [4], [0]]
    assert {each.instant for each in (batch, *batch.components)} == {12}
    assert all(each.users is batch.users for each in batch.components)


def contents(batch: UserBatch) -> list[object]:
    vectors = None if batch.vectors is None else batch.vectors.tolist()
    histories = None if batch.histories is None else listed(batch.histories)
    own = [batch.users.tolist(), batch.known.tolist(), vectors, histories, batch.instant]
    return [*own, [contents(each) for each in batch.components]]


@pytest.mark.parametrize(
    ("places", "users"),
    [
        (slice(0, 2), [1, 2]),
        (slice(2, 5), [3, 4, 6]),
        (slice(3, 3), []),
        (np.array([0, 2, 4]), [1, 3, 6]),
        (np.array([], np.int64), []),
    ],
)
def test_a_part_of_a_batch_is_the_batch_of_these_users(
    places: slice | np.ndarray, users: list[int]
) -> None:
    assert contents(batch_of(1, 2, 3, 4, 6).at(places)) == contents(batch_of(*users))


def test_chosen_users_are_kept_and_where_all_are_nothing_is_copied() -> None:
    batch = batch_of(1, 2, 6)
    assert contents(batch.where(batch.known)) == contents(batch_of(1, 2))
    assert contents(batch.where(~batch.known)) == contents(batch_of(6))
    assert batch.where(np.ones(3, bool)) is batch
    nobody = batch_of()
    assert contents(nobody.where(nobody.known)) == contents(nobody)


def test_slices_cover_every_user_once_and_never_stand_still() -> None:
    batch = batch_of(1, 2, 3, 4, 6)
    assert list(batch.slices(2)) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert list(batch.slices(99)) == [slice(0, 5)]
    assert len(list(batch.slices(0))) == 5
    assert list(batch_of().slices(3)) == []


def test_the_known_users_of_a_bucket_are_those_of_any_of_its_frames() -> None:
    arrays = [
        vectors({9: [1, 1]}),
        sent({2: {7: 1.0, 8: 1.0}}),
        nothing([np.int64, np.float32]),
        vectors({9: [1], 4: [2]}),
    ]
    assert SHAPE.known_users(arrays).tolist() == [2, 4, 9]
    empty = [nothing([np.int64, np.float32]) for _ in range(4)]
    assert SHAPE.known_users(empty).tolist() == []


def test_frames_are_read_in_the_order_in_which_they_are_sent() -> None:
    assert SHAPE.readers() == [VECTOR_KINDS, HISTORY_KINDS, HISTORY_KINDS, VECTOR_KINDS]


def test_where_nothing_is_asked_of_users_nothing_is_known_of_them() -> None:
    inputs = UserInputs(components=(UserInputs(instants=True),))
    assert inputs.packed(buckets=3) == []
    batch = inputs.shape.batch(users_of(1, 2), [], instant=5)
    assert batch.known.tolist() == [False, False]
    assert (batch.vectors, batch.histories, batch.components[0].instant) == (None, None, 5)
