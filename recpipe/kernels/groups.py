"""Sums over groups of users: what bootstraps draw, in place of millions of users."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

EACH = 4096
"""Up to so many users each is a group of its own."""

GROUPS = 1024
"""Of more users than that. A power of two, as is the number of buckets that users come in."""


class GroupSums(NamedTuple):
    """Sums over the users of each group.

    Args:
        groups: (G,) their numbers, ascending.
        sums: (..., G)
    """

    groups: NDArray[np.int64]
    sums: NDArray[np.float64]


def groups_of(users: NDArray[np.int32], *, each: bool) -> NDArray[np.int64]:
    """The group of each user: the user, or the user's number modulo `GROUPS`.

    Args:
        users: (U,) numbers.
        each: whether each user is a group.
    """
    numbers = users.astype(np.int64)
    if each:
        return numbers
    return numbers % GROUPS


def by_group(groups: NDArray[np.int64], values: NDArray[np.float64]) -> GroupSums:
    """Sums of values over the users of each group.

    Args:
        groups: (U,) of each user.
        values: (..., U)
    """
    order = np.argsort(groups, kind="stable")
    found, starts = np.unique(groups[order], return_index=True)
    if not len(found):
        return GroupSums(found, np.zeros((*values.shape[:-1], 0)))
    return GroupSums(found, np.add.reduceat(values[..., order], starts, axis=-1))


def added(parts: Iterable[GroupSums]) -> GroupSums:
    """The sums of all users, from those of each part of them.

    Args:
        parts: at least one, all with the same leading axes.
    """
    groups, sums = zip(*parts, strict=True)
    return by_group(np.concatenate(groups), np.concatenate(sums, axis=-1))


def aligned(parts: Iterable[GroupSums]) -> tuple[NDArray[np.int64], list[NDArray[np.float64]]]:
    """The groups of all parts, and the sums of each part by these; 0 where it lacks one."""
    parts = list(parts)
    groups = np.unique(np.concatenate([part.groups for part in parts]))
    moved = []
    for part in parts:
        sums = np.zeros((*part.sums.shape[:-1], len(groups)))
        sums[..., np.searchsorted(groups, part.groups)] = part.sums
        moved.append(sums)
    return groups, moved


__all__ = ["EACH", "GROUPS", "GroupSums", "added", "aligned", "by_group", "groups_of"]
