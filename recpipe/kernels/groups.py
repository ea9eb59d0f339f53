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
        each: whether a group is one user, and its number the user's; else the numbers are those of
            `groups_of`. Numbers of the two kinds do not mean the same.
    """

    groups: NDArray[np.int64]
    sums: NDArray[np.float64]
    each: bool = True


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


def by_group(groups: NDArray[np.int64], values: NDArray[np.float64], *, each: bool) -> GroupSums:
    """Sums of values over the users of each group.

    Args:
        groups: (U,) of each user, as `groups_of` has them.
        values: (..., U)
        each: as `groups_of` was told.
    """
    order = np.argsort(groups, kind="stable")
    found, starts = np.unique(groups[order], return_index=True)
    if not len(found):
        return GroupSums(found, np.zeros((*values.shape[:-1], 0)), each)
    return GroupSums(found, np.add.reduceat(values[..., order], starts, axis=-1), each)


def added(parts: Iterable[GroupSums]) -> GroupSums:
    """The sums of all users, from those of each part of them.

    Args:
        parts: at least one, all with the same leading axes.

    Raises:
        ValueError: if some parts are by user and others by group.
    """
    groups, sums, each = zip(*parts, strict=True)
    return by_group(np.concatenate(groups), np.concatenate(sums, axis=-1), each=_only(each))


def in_same_groups(parts: Iterable[GroupSums]) -> list[GroupSums]:
    """The parts, all by user or all by group, as `aligned` needs them.

    They are by group where one of them is, or where they have more than `EACH` users between them.
    """
    parts = list(parts)
    if all(part.each for part in parts):
        # Most parts share their numbers.
        numbers = {part.groups.tobytes(): part.groups for part in parts}
        users = len(np.unique(np.concatenate([*numbers.values(), np.empty(0, np.int64)])))
        if users <= EACH:
            return parts
    return [
        by_group(part.groups % GROUPS, part.sums, each=False) if part.each else part
        for part in parts
    ]


def aligned(parts: Iterable[GroupSums]) -> tuple[NDArray[np.int64], list[NDArray[np.float64]]]:
    """The groups of all parts, and the sums of each part by these; 0 where it lacks one.

    Raises:
        ValueError: if some parts are by user and others by group.
    """
    parts = list(parts)
    _only(part.each for part in parts)
    groups = np.unique(np.concatenate([part.groups for part in parts]))
    moved = []
    for part in parts:
        sums = np.zeros((*part.sums.shape[:-1], len(groups)))
        sums[..., np.searchsorted(groups, part.groups)] = part.sums
        moved.append(sums)
    return groups, moved


def _only(each: Iterable[bool]) -> bool:
    """Whether all parts are by user."""
    found = set(each)
    if len(found) > 1:
        raise ValueError("sums by user and sums by group of users cannot be put together")
    return found.pop()


__all__ = [
    "EACH", "GROUPS", "GroupSums", "added", "aligned", "by_group", "groups_of", "in_same_groups",
]  # fmt: skip
