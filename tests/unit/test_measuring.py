"""What a task makes of the lists of its users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from recpipe.evaluation.measuring import Wanted, measure, seen_of_users
from recpipe.evaluation.metrics import METRICS
from recpipe.evaluation.metrics.base import ItemFacts, RankingMetric
from recpipe.ranking.pairs import pack

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

Pairs = list[tuple[int, int]]


def as_pairs(pairs: Pairs) -> NDArray[np.int64]:
    return np.array([user << 32 | item for user, item in pairs], np.int64)


def bucket(*sources: tuple[NDArray[Any], NDArray[Any]]) -> pa.RecordBatch:
    """What a task is given: keys and values of each source."""
    return pa.RecordBatch.from_pydict({
        "source": list(range(len(sources))),
        "keys": [keys.tobytes() for keys, _ in sources],
        "values": [values.tobytes() for _, values in sources],
    })  # fmt: skip


def measured(
    wanted: Wanted,
    relevant: Pairs,
    lists: dict[int, list[int]],
    seen: Iterable[pa.RecordBatch] = (),
) -> dict[str, Any]:
    """The row of one model.

    Args:
        wanted: of it.
        relevant: users and items.
        lists: of each user.
        seen: as `seen_of_users` has it, of one bucket.
    """
    places = [(user, item) for user, items in lists.items() for item in items]
    ranks = [rank for items in lists.values() for rank in range(1, len(items) + 1)]
    none = np.empty(0, np.int32)
    of_seen = [
        (np.frombuffer(row["keys"], np.int32), np.frombuffer(row["values"], np.int32))
        for batch in seen
        for row in batch.to_pylist()
    ] or [(none, none)]
    batch = bucket(
        (as_pairs(relevant), none),
        (as_pairs(places), np.array(ranks, np.int32)),
        (np.concatenate([k for k, _ in of_seen]), np.concatenate([v for _, v in of_seen])),
    )
    (found,) = measure(iter([batch]), models=1, wanted=wanted)
    (row,) = found.to_pylist()
    return dict(row)


def ranking(name: str) -> RankingMetric:
    metric = METRICS[name]
    assert isinstance(metric, RankingMetric)
    return metric


@pytest.mark.parametrize("exposure", [True, False])
def test_how_often_items_are_shown_leaves_a_task_only_where_it_is_asked(*, exposure: bool) -> None:
    facts = ItemFacts(np.ones(7, np.int64), users=2)
    wanted = Wanted((ranking("recall"),), (1,), facts, each=True, of_users=False, exposure=exposure)

    row = measured(wanted, [(1, 5), (2, 6)], {1: [5], 2: [6]})

    assert np.frombuffer(row["sums"])[:2].tolist() == [1, 1]
    if exposure:
        assert np.frombuffer(row["shown"], np.int64).tolist() == [5, 6]
        assert np.frombuffer(row["times_shown"], np.int64).tolist() == [1, 1]
    else:
        assert (row["shown"], row["times_shown"]) == (None, None)


ITEMS = 9


class User(NamedTuple):
    """Args:
    order: all items, the best first.
    seen: those that the user had seen.
    relevant: of the others.
    length: of the list.
    """

    order: list[int]
    seen: set[int]
    relevant: set[int]
    length: int


@st.composite
def _user(draw: st.DrawFn) -> User:
    order = draw(st.permutations(range(ITEMS)))
    seen = draw(st.sets(st.sampled_from(range(ITEMS))))
    rest = sorted(set(range(ITEMS)) - seen)
    relevant = draw(st.sets(st.sampled_from(rest))) if rest else set()
    return User(list(order), seen, relevant, draw(st.integers(0, ITEMS)))


@settings(deadline=None, max_examples=200)
@given(
    st.lists(_user(), min_size=1, max_size=4),
    st.sets(st.sampled_from(range(ITEMS)), max_size=4),
    st.integers(1, ITEMS),
    st.integers(1, 3),
)
def test_auc_is_that_of_scikit_learn_over_the_candidates_of_each_user(
    users: list[User], cold: set[int], k: int, cuts: int
) -> None:
    """Cold items are not in train: no candidates, though they may be relevant.

    Args:
        users: by number.
        cold: items.
        k: the places that count.
        cuts: in how many batches what was seen comes.
    """
    facts = ItemFacts(np.array([int(item not in cold) for item in range(ITEMS)]), users=5)
    lists, expected = {}, {}
    for user, of in enumerate(users):
        candidates = [item for item in of.order if item not in of.seen | cold]
        lists[user] = candidates[: of.length]
        truth = [item in of.relevant for item in candidates]
        shown = min(k, of.length)
        scores = [max(0, shown - rank) for rank in range(len(candidates))]
        if of.relevant and len(set(truth)) == 2:
            expected[user] = roc_auc_score(truth, scores)
    seen = as_pairs([(user, item) for user, of in enumerate(users) for item in of.seen])
    batches = [pa.RecordBatch.from_arrays([pa.array(seen[at::cuts])], ["pair"])
               for at in range(cuts) if len(seen[at::cuts])]  # fmt: skip
    packed = [batch for each in batches for batch in pack(iter([each]), buckets=2)]
    counted = seen_of_users(iter(packed), buckets=1, known=facts.raters > 0)
    wanted = Wanted((ranking("auc"),), (k,), facts, each=True, of_users=True, exposure=False)
    relevant = [(user, item) for user, of in enumerate(users) for item in of.relevant]
    if not relevant:
        return

    row = measured(wanted, relevant, lists, counted)

    numbers = np.frombuffer(row["numbers"], np.int32).tolist()
    values = dict(zip(numbers, np.frombuffer(row["values"]), strict=True))
    assert {u: v for u, v in values.items() if not np.isnan(v)} == pytest.approx(expected)
