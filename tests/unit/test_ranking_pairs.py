from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recpipe.ranking.pairs import Runs, items_by_user, pack, runs_of
from recpipe.spark.arrow import VALUE_BYTES

_id = st.integers(0, 2**31 - 1) | st.integers(0, 5)
_any = _id | st.sampled_from([-3, -(2**31)])


def sent(pairs: list[tuple[int, int]], buckets: int) -> list[Runs]:
    """What each bucket receives."""
    column = np.array([(user << 32) | (item & 0xFFFFFFFF) for user, item in pairs], np.int64)
    batches = [pa.RecordBatch.from_arrays([pa.array(column)], names=["pair"])] if pairs else []
    rows = [row for batch in pack(iter(batches), buckets=buckets) for row in batch.to_pylist()]
    for row in rows:
        assert max(len(row["keys"]), len(row["values"])) <= VALUE_BYTES
    mine = [[row for row in rows if row["bucket"] == bucket] for bucket in range(buckets)]
    assert sum(map(len, mine)) == len(rows)
    return [runs_of([row["keys"] for row in b], [row["values"] for row in b]) for b in mine]


def of(runs: Runs, users: list[int]) -> list[list[int]]:
    """The items of each of some users."""
    found = items_by_user(np.array(users, np.int32), runs)
    assert found.offsets[-1] == len(found.items)
    return [part.tolist() for part in np.split(found.items, found.offsets[1:-1])][: len(users)]


@settings(deadline=None)
@given(
    # Few ids, so that a table knows them; or any, so that none does.
    st.lists(st.integers(0, 30), unique=True) | st.lists(_any, unique=True),
    st.lists(st.tuples(_any | st.integers(-3, 40), _any)),
    st.integers(1, 5),
)
def test_the_items_of_each_user_arrive_in_their_order_in_the_bucket_of_the_user(
    users: list[int], pairs: list[tuple[int, int]], buckets: int
) -> None:
    for bucket, runs in enumerate(sent(pairs, buckets)):
        asked = sorted(user for user in users if user % buckets == bucket)
        due = [[item for other, item in pairs if other == user] for user in asked]
        assert of(runs, asked) == due
        # Who is not asked for is passed over.
        assert {user % buckets for user in runs.users.tolist()} <= {bucket}


@pytest.mark.parametrize("highest", [2**16 - 1, 2**16])
def test_items_travel_in_16_bits_where_these_are_enough(highest: int) -> None:
    (runs,) = sent([(7, 0), (7, highest)], 1)
    assert runs.items.dtype == (np.uint16 if highest < 2**16 else np.int32)
    assert of(runs, [7]) == [[0, highest]]


def test_where_one_piece_needs_more_bits_all_items_of_the_bucket_have_them() -> None:
    narrow, wide = (sent([(7, item)], 1)[0] for item in (3, -1))
    columns = [
        (np.column_stack([runs.users, runs.sizes]).tobytes(), runs.items.tobytes())
        for runs in (narrow, wide)
    ]
    both = runs_of(*map(list, zip(*columns, strict=True)))
    assert of(both, [7]) == [[3, -1]]


def test_a_user_of_very_many_items_is_sent_in_several_pieces() -> None:
    pairs = [(user, item) for item in range(40_000) for user in (2, 4)] + [(6, 1)]
    runs, other = sent(pairs, 2)
    assert runs.users.tolist().count(2) > 1
    assert of(runs, [2, 4, 6]) == [list(range(40_000)), list(range(40_000)), [1]]
    assert not len(other.users)
