"""Lists of the best items of every user: one shell for every model that scores all items.

Users fall into buckets, which meet what they have seen (`seen`) in one task each; the items are
sent to the workers once (`candidates`). No score is kept but the best: no frame of users x items
anywhere, nothing that grows with ratings or users on the driver, and in a worker one bucket.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from recpipe.kernels import ids
from recpipe.kernels import topn as kernel
from recpipe.ranking.seen import buckets_of, gathered, runs_of, seen_by
from recpipe.ranking.user_vectors import KINDS, packed_people, people_of
from recpipe.runtime.parallel import run_all
from recpipe.spark.columns import batch_of
from recpipe.spark.interactions import arrays_of, mapped, together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa
    from pyspark.sql import DataFrame

    from recpipe.ranking.item_blocks import Candidates
    from recpipe.ranking.seen import Gathered
    from recpipe.spark.interactions import Interactions, Mapped, Reader
    from recpipe.storage import Stored

LISTS = "user int, item int, rank int, score float"
"""The schema of lists."""


def top_n(
    people: DataFrame | Stored,
    *,
    candidates: Callable[[], Candidates[Any]],
    seen: Interactions | Gathered,
    n: int,
    asked: DataFrame | None = None,
    unknown_too: bool = False,
    most: int | None = None,
) -> Mapped:
    """(user, item, rank, score): the n best items of every user that the user has not seen.

    Args:
        people: (user int, factors array<float>, bias float) for scorers by factors, (user int) for
            others; users distinct.
        candidates: sends all items, as `candidates.send` does; asked while the rest is planned.
        seen: (user, item) pairs to leave out, or `seen.gathered` ones; repeated pairs and unknown
            users and items do no harm.
        n: places a user. Where fewer items are left the list is shorter.
        asked: (user int, ...) who gets a list; None: all of `people`. Their factors are found in
            the tasks: all of `people` go there, however few are asked.
        unknown_too: whether those of `asked` who are not in `people` get one as well, by factors
            and a bias of 0.
        most: how many users get a list at most, where that is known.

    Order is total: score descending, then item ascending. Equal inputs give equal lists, however
    users fall into buckets and items into blocks. Write their rows within `arrow.narrow_rows`.

    Raises:
        ValueError: if n < 1.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    buckets = buckets_of(seen, users=most)

    def pairs() -> DataFrame:
        return gathered(seen, users=most).pairs

    def users() -> list[DataFrame]:
        frames: list[DataFrame | Stored] = [people]
        if asked is not None:
            frames.append(asked.select("user"))
        return [packed_people(frame, buckets=buckets) for frame in frames]

    work: list[Callable[[], Any]] = [candidates, pairs, users]
    sent, left_out, (known, *wanted) = run_all(work)
    frame = together([known, left_out, *wanted], buckets=buckets)
    lists = partial(
        _lists,
        candidates=sent,
        n=n,
        readers=[KINDS, runs_of, *(KINDS for _ in wanted)],
        unknown_too=unknown_too,
    )
    return mapped(frame, lists, LISTS)


def _lists(
    batches: Iterator[pa.RecordBatch],
    *,
    candidates: Candidates[Any],
    n: int,
    readers: list[Reader],
    unknown_too: bool,
) -> Iterator[pa.RecordBatch]:
    """The lists of the users of one bucket."""
    known, runs, *wanted = arrays_of(batches, readers)
    if not len((wanted or [known])[0].keys):
        return
    people = people_of(known, width=candidates.width)
    if wanted:
        people = people.of(ids.distinct(wanted[0].keys), unknown_too=unknown_too)
    left_out = seen_by(people.users, runs)
    top = kernel.Top.empty(len(people.users), min(n, candidates.items))
    for scorer in candidates.scorers():
        scorer.take(people, left_out, top)
    row, items, scores = top.filled()
    shown = scorer.present(scores)
    if shown is not scores:
        # What people see may tie where the scores did not: order such items by number.
        order = np.lexsort((items, -shown, row))
        items, shown = items[order], shown[order]
    starts = np.cumsum(top.sizes) - top.sizes
    ranks = np.arange(1, len(row) + 1) - np.repeat(starts, top.sizes)
    yield batch_of(LISTS, people.users[row], items, ranks.astype(np.int32), shown)


__all__ = ["LISTS", "top_n"]
