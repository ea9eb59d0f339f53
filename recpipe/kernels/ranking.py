"""Where the relevant items of many users stand in the lists of many models, in one pass over them.

What is made of it is the metrics' own: `evaluation.metrics`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import boolean, int32, int64, njit, types, uint8, uint64, void

from recpipe.kernels import ids
from recpipe.kernels.pairs import NONE, by_row, users_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

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


class Hits(NamedTuple):
    """What the lists of M models hold for U users.

    Args:
        users: (U,) ascending: those with a list of any model or a relevant item.
        relevant: (U,) distinct relevant items.
        hits: (M, R, U) whether the item at rank r + 1 of a user's list is relevant.
        items: (M, R, U) that item; -1 where the list has none.
        faults: (M, U) bits of what is wrong with a list.
    """

    users: NDArray[np.int32]
    relevant: NDArray[np.int32]
    hits: NDArray[np.bool_]
    items: NDArray[np.int32]
    faults: NDArray[np.uint8]


def find_hits(wanted: NDArray[np.int64], lists: Sequence[Places], *, depth: int) -> Hits:
    """Where the relevant items of every user stand in every list, and what else is there.

    Args:
        wanted: relevant pairs, in any order; repeated ones count once.
        lists: one a model.
        depth: R, the places of a list that count.
    """
    everything = [Places(wanted, NONE), *lists]
    users_by_source = [users_of(places.pairs) for places in everything]
    users = ids.distinct(np.concatenate(users_by_source))
    by_user = [
        by_row(ids.positions(users, mine), *places, len(users))
        for mine, places in zip(users_by_source, everything, strict=True)
    ]
    relevant = np.zeros(len(users), np.int32)
    hits = np.zeros((len(lists), depth, len(users)), np.bool_)
    items = np.full(hits.shape, -1, np.int32)
    faults = np.zeros((len(lists), len(users)), np.uint8)
    for model, listed in enumerate(by_user[1:]):
        _find_hits(by_user[0], listed, relevant, hits[model], items[model], faults[model])
    return Hits(users, relevant, hits, items, faults)


def totals(values: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sums over the last axis, as integers: high * 2^-26 + low * 2^-52.

    Sums of such sums do not depend on which numbers were added where.

    Args:
        values: (..., n) finite numbers from -1024 to 1024, of which digits below 2^-52 are cut off.
    """
    whole = np.floor(values * 2.0 ** (2 * _HALF)).astype(np.int64)
    return (whole >> _HALF).sum(axis=-1), (whole & ((1 << _HALF) - 1)).sum(axis=-1)


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


_LISTED = uint8(_TABLE, int64, _INTS, _INTS, int64, boolean[:, ::1], int32[:, ::1], int64[::1])


@njit(_LISTED, cache=True, nogil=True)
def _read(
    table: _Table,
    user: int,
    places: NDArray[np.int32],
    ranks: NDArray[np.int32],
    bits: int,
    hits: NDArray[np.bool_],
    placed: NDArray[np.int32],
    ranked: NDArray[np.int64],
) -> int:
    """Fill in the user's column of `hits` and, with the items, `placed`; say what is wrong."""
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
            if 1 <= rank <= len(hits):
                hits[rank - 1, user] = True
        if rank < 1 or rank > len(places) or ranked[rank] == user:
            fault |= MISRANKED
        else:
            ranked[rank] = user
        if 1 <= rank <= len(placed):
            placed[rank - 1, user] = item
    return fault


@njit(
    void(_BY_USER, _BY_USER, int32[::1], boolean[:, ::1], int32[:, ::1], uint8[::1]),
    cache=True,
    nogil=True,
)
def _find_hits(
    wanted: tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]],
    lists: tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]],
    relevant: NDArray[np.int32],
    hits: NDArray[np.bool_],
    placed: NDArray[np.int32],
    faults: NDArray[np.uint8],
) -> None:
    """Fill in `relevant`, and the hits, items and faults of one model, all as of `Hits`.

    Args:
        wanted: relevant items, of `pairs.by_row`.
        lists: places, of `pairs.by_row`.
        relevant: filled.
        hits: filled; False everywhere before.
        placed: filled with the items; -1 everywhere before.
        faults: filled.
    """
    wanted_at, wanted_items, _ = wanted
    at, items, ranks = lists
    users, longest, largest = len(at) - 1, 0, 0
    # np.diff and max would say it in two lines, and take three seconds to compile.
    for user in range(users):
        size = at[user + 1] - at[user]
        longest = max(longest, size)
        largest = max(largest, size + wanted_at[user + 1] - wanted_at[user])
    room = 1 << _bits(largest)
    table = np.empty(room, np.int32), np.full(room, -1, np.int64), np.empty(room, np.uint8)
    ranked = np.full(longest + 1, -1, np.int64)
    for user in range(users):
        own = slice(at[user], at[user + 1])
        mine = wanted_items[wanted_at[user] : wanted_at[user + 1]]
        bits = _bits(len(items[own]) + len(mine))
        relevant[user] = _enter(table, user, mine, bits)
        faults[user] = _read(table, user, items[own], ranks[own], bits, hits, placed, ranked)


__all__ = ["MISRANKED", "REPEATS", "Hits", "Places", "find_hits", "mean", "totals"]
