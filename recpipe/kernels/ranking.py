"""Ranking metrics of many users, models and cut-offs in one pass over their lists.

The definitions are those of `evaluation.rows.DEFINITIONS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import float64, int32, int64, njit, types, uint8, uint64, void

from recpipe.kernels import ids
from recpipe.kernels.pairs import NONE, by_row, users_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PRECISION, RECALL, NDCG, MAP, MRR, HIT_RATE = range(6)
"""Places of the metrics in `Judged.values`."""

REPEATS, MISRANKED = 1, 2
"""Bits of a fault: an item more than once; ranks other than 1, 2, ..."""

# One binary point below a user's value: sums of such integers are the same in any order.
_HALF = 26

_INTS = types.Array(int32, 1, "C", readonly=True)


class Places(NamedTuple):
    """Places of the lists of one model, in any order.

    Args:
        pairs: (n,) user and item, as `pairs` has them.
        ranks: (n,) from 1.
    """

    pairs: NDArray[np.int64]
    ranks: NDArray[np.int32]


class Judged(NamedTuple):
    """What is to be said of the lists of U users and M models.

    Args:
        users: (U,) ascending: those with a list of any model or a relevant item.
        relevant: (U,) distinct relevant items.
        values: (M, U, 6, K) by metric and cut-off; 0 where a user has no relevant item.
        faults: (M, U) bits of what is wrong with a list.
    """

    users: NDArray[np.int32]
    relevant: NDArray[np.int32]
    values: NDArray[np.float64]
    faults: NDArray[np.uint8]


def judge(wanted: NDArray[np.int64], lists: Sequence[Places], *, ks: Sequence[int]) -> Judged:
    """Every metric at every cut-off of every user.

    Args:
        wanted: relevant pairs, in any order; repeated ones count once.
        lists: one a model.
        ks: cut-offs from 1, in the order of the result.
    """
    everything = [Places(wanted, NONE), *lists]
    people = [users_of(places.pairs) for places in everything]
    users = ids.distinct(np.concatenate(people))
    by_user = [
        by_row(ids.positions(users, mine), *places, len(users))
        for mine, places in zip(people, everything, strict=True)
    ]
    cuts, order = np.unique(np.asarray(ks, np.int64), return_inverse=True)
    relevant = np.zeros(len(users), np.int32)
    values = np.zeros((len(lists), len(users), 6, len(cuts)))
    faults = np.zeros((len(lists), len(users)), np.uint8)
    for model, listed in enumerate(by_user[1:]):
        _judge(by_user[0], listed, cuts, relevant, values[model], faults[model])
    return Judged(users, relevant, values[..., order], faults)


def totals(values: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sums over the first axis of numbers from 0 to 1, as integers: high * 2^-26 + low * 2^-52.

    Sums of such sums do not depend on which numbers were added where.
    """
    whole = np.floor(values * 2.0 ** (2 * _HALF)).astype(np.int64)
    return (whole >> _HALF).sum(axis=0), (whole & ((1 << _HALF) - 1)).sum(axis=0)


def mean(high: int, low: int, count: int) -> float:
    """The mean of `count` numbers whose sums `totals` gave."""
    return ((high << _HALF) + low) / (count << 2 * _HALF)


_BY_USER = types.Tuple((int64[::1], int32[::1], int32[::1]))  # type: ignore[no-untyped-call]

# Of items in a hash table: items, whose entry it is, and whether the list has had it. An entry of
# another user than the one at hand counts as free, so nothing is ever cleared.
_TABLE = types.Tuple((int32[::1], int64[::1], uint8[::1]))  # type: ignore[no-untyped-call]
_Table = tuple["NDArray[np.int32]", "NDArray[np.int64]", "NDArray[np.uint8]"]


@njit(int64(_TABLE, int64, int32, int64), cache=True, nogil=True)
def _slot(table: _Table, user: int, item: int, bits: int) -> int:
    """Where a user's item is in the first 2^bits entries, or the free entry that it belongs to."""
    items, users, _ = table
    at: int = int64((uint64(item) * uint64(0x9E3779B97F4A7C15)) >> uint64(64 - bits))  # type: ignore[assignment]
    while users[at] == user and items[at] != item:
        at = (at + 1) & ((1 << bits) - 1)
    return at


@njit(int64(int64), cache=True, nogil=True)
def _bits(entries: int) -> int:
    """Of a table that stays at most half full."""
    bits = 1
    while 1 << bits < 2 * entries:
        bits += 1
    return bits


@njit(int64(_TABLE, int64, _INTS, int64), cache=True, nogil=True)
def _enter(table: _Table, user: int, wanted: NDArray[np.int32], bits: int) -> int:
    """Enter a user's relevant items; how many distinct ones there are."""
    items, users, listed = table
    count = 0
    for item in wanted:
        slot = _slot(table, user, item, bits)
        if users[slot] != user:
            users[slot], items[slot], listed[slot] = user, item, 0
            count += 1
    return count


_LISTED = uint8(_TABLE, int64, _INTS, _INTS, int64, int64[::1], int64[::1])


@njit(_LISTED, cache=True, nogil=True)
def _read(
    table: _Table,
    user: int,
    places: NDArray[np.int32],
    ranks: NDArray[np.int32],
    bits: int,
    hits: NDArray[np.int64],
    ranked: NDArray[np.int64],
) -> int:
    """Write the user to `hits` at the ranks of relevant items; what is wrong with the list."""
    items, users, listed = table
    fault = 0
    for place in range(len(places)):
        item, rank = places[place], ranks[place]
        slot = _slot(table, user, item, bits)
        if users[slot] != user:
            users[slot], items[slot], listed[slot] = user, item, 1
        elif listed[slot]:
            fault |= REPEATS
        else:
            listed[slot] = 1
            if 1 <= rank < len(hits):
                hits[rank] = user
        if rank < 1 or rank > len(places) or ranked[rank] == user:
            fault |= MISRANKED
        else:
            ranked[rank] = user
    return fault


@njit(void(int64[::1], int64, int64, int64, int64[::1], float64[:, ::1]), cache=True, nogil=True)
def _score(
    hits: NDArray[np.int64],
    user: int,
    size: int,
    relevant: int,
    ks: NDArray[np.int64],
    values: NDArray[np.float64],
) -> None:
    """The metrics of one list of `size` places, as of `Judged.values`."""
    count, first, rank, within = 0, 0, 0, 0
    gained, ideal, precisions = 0.0, 0.0, 0.0
    for cut in range(len(ks)):
        k = ks[cut]
        while rank < min(k, size):
            rank += 1
            if hits[rank] == user:
                count += 1
                gained += 1.0 / np.log2(rank + 1.0)
                precisions += count / rank
                first = first or rank
        while within < min(k, relevant):
            within += 1
            ideal += 1.0 / np.log2(within + 1.0)
        values[PRECISION, cut] = count / k
        values[RECALL, cut] = count / relevant
        values[NDCG, cut] = gained / ideal
        values[MAP, cut] = precisions / within
        values[MRR, cut] = 1.0 / first if first else 0.0
        values[HIT_RATE, cut] = 1.0 if count else 0.0


@njit(
    void(_BY_USER, _BY_USER, int64[::1], int32[::1], float64[:, :, ::1], uint8[::1]),
    cache=True,
    nogil=True,
)
def _judge(
    wanted: tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]],
    lists: tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]],
    ks: NDArray[np.int64],
    relevant: NDArray[np.int32],
    values: NDArray[np.float64],
    faults: NDArray[np.uint8],
) -> None:
    """Fill in `relevant`, and the values and faults of one model, all as of `Judged`.

    Args:
        wanted: relevant items, of `pairs.by_row`.
        lists: places, of `pairs.by_row`.
        ks: distinct, ascending.
        relevant: filled.
        values: filled.
        faults: filled.
    """
    wanted_at, wanted_items, _ = wanted
    at, items, ranks = lists
    users, longest, most = len(at) - 1, 0, 0
    # np.diff and max would say it in two lines, and take three seconds to compile.
    for user in range(users):
        size = at[user + 1] - at[user]
        longest = max(longest, size)
        most = max(most, size + wanted_at[user + 1] - wanted_at[user])
    room = 1 << _bits(most)
    table = np.empty(room, np.int32), np.full(room, -1, np.int64), np.empty(room, np.uint8)
    ranked = np.full(longest + 1, -1, np.int64)
    hits = np.full(ks[-1] + 1, -1, np.int64)
    for user in range(users):
        own = slice(at[user], at[user + 1])
        mine = wanted_items[wanted_at[user] : wanted_at[user + 1]]
        size = len(items[own])
        bits = _bits(size + len(mine))
        relevant[user] = _enter(table, user, mine, bits)
        faults[user] = _read(table, user, items[own], ranks[own], bits, hits, ranked)
        if relevant[user]:
            _score(hits, user, size, relevant[user], ks, values[user])


__all__ = ["MISRANKED", "REPEATS", "Judged", "Places", "judge", "mean", "totals"]
