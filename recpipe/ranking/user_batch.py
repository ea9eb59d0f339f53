"""What a scorer may know of users, from the driver to the task that scores them.

A model says by `UserInputs` what its scorer needs of a user: a dense vector, the history to score
from, the instant of the question, or the inputs of other models. The engine brings that to the task
as a `UserBatch`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from recpipe.kernels import ids
from recpipe.ranking.histories import HISTORY_KINDS, Histories, histories_of, packed_histories
from recpipe.ranking.user_vectors import VECTOR_KINDS, packed_user_vectors, vectors_of
from recpipe.spark.interactions import unpaired

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.ranking.user_vectors import UserVectors
    from recpipe.spark.interactions import Arrays, Interactions, Reader

    Ints = NDArray[np.int32]


def microseconds(instant: datetime) -> int:
    """Microseconds since 1970, as `rated_at` has them in tasks.

    Args:
        instant: with its time zone.
    """
    # In whole numbers: a float has no room for the microseconds of an instant.
    past = instant - datetime(1970, 1, 1, tzinfo=UTC)
    return (past.days * 86_400 + past.seconds) * 1_000_000 + past.microseconds


class UserSolver(Protocol):
    """Finds the vectors of users from their histories, in a task; sent to it with the plan.

    The vector of a user depends on the user's history alone.
    """

    def __call__(self, histories: Histories) -> UserVectors:
        """The vectors of the rows of `histories`, and whether something is known of each."""
        ...


@dataclass(frozen=True, eq=False)
class UserInputs:
    """What a model's scorer needs to know of users; nothing by default.

    Args:
        vectors: (user int, factors array<float>, bias float), users distinct; cheap to read again.
        width: numbers of a vector: the factors and the bias.
        histories: (user int, item int, value float), one row a pair: what users are scored from.
        solver: finds the vectors from the histories, where there are none to be sent.
        instants: whether the scorer asks for the instant for which a list or a prediction is made.
        components: what the scorers of other models need, for a model that scores by them.
    """

    vectors: Interactions | None = None
    width: int = 0
    histories: Interactions | None = None
    solver: UserSolver | None = None
    instants: bool = False
    components: tuple[UserInputs, ...] = ()

    def packed(self, *, buckets: int) -> list[DataFrame]:
        """`interactions.PACKED` of everything, each frame's users by bucket."""
        frames = []
        if self.vectors is not None:
            frames.append(packed_user_vectors(self.vectors, buckets=buckets))
        if self.histories is not None:
            frames.append(packed_histories(self.histories, buckets=buckets))
        for component in self.components:
            frames += component.packed(buckets=buckets)
        return frames

    @property
    def shape(self) -> InputShape:
        """What a task needs to know of these inputs to read their arrays."""
        return InputShape(
            self.width if self.vectors is not None else None,
            self.histories is not None,
            tuple(component.shape for component in self.components),
            self.solver,
        )


@dataclass(frozen=True)
class InputShape:
    """Which arrays a task gets of its users, in the order of `UserInputs.packed`."""

    width: int | None
    histories: bool
    components: tuple[InputShape, ...]
    solver: UserSolver | None = None

    def readers(self) -> list[Reader]:
        """How the packed frames are read, for `interactions.arrays_of`."""
        own: list[Reader] = []
        if self.width is not None:
            own.append(VECTOR_KINDS)
        if self.histories:
            own.append(HISTORY_KINDS)
        return own + [reader for component in self.components for reader in component.readers()]

    def known_users(self, arrays: Sequence[Arrays]) -> Ints:
        """The users of a bucket of whom anything is known, ascending."""
        found = [np.empty(0, np.int32)]
        for reader, (keys, _) in zip(self.readers(), arrays, strict=True):
            found.append(unpaired(keys)[0] if reader == HISTORY_KINDS else keys)
        return ids.distinct(np.concatenate(found))

    def batch(self, users: Ints, arrays: Sequence[Arrays], *, instant: int | None) -> UserBatch:
        """What the arrays of a bucket say of some of its users.

        Args:
            users: distinct, ascending.
            arrays: of the bucket, as `readers` read them.
            instant: that lists are made for, in microseconds since 1970.
        """
        return self.batch_from(users, list(arrays), instant)

    def batch_from(self, users: Ints, arrays: list[Any], instant: int | None) -> UserBatch:
        """As `batch`; removes what it reads from the front of `arrays`."""
        known = np.zeros(len(users), bool)
        vectors: UserVectors | None = None
        histories: Histories | None = None
        if self.width is not None:
            vectors = vectors_of(arrays.pop(0), users, width=self.width)
            known |= vectors.known
        if self.histories:
            histories = histories_of(arrays.pop(0), users)
            known |= np.diff(histories.offsets) > 0
            if self.solver is not None:
                # Of a user who has rated only what the model does not know, nothing is known.
                vectors = self.solver(histories)
                known = vectors.known
        components = tuple(
            component.batch_from(users, arrays, instant) for component in self.components
        )
        for component in components:
            known |= component.known
        numbers = None if vectors is None else vectors.numbers
        return UserBatch(users, known, numbers, histories, instant, components)


@dataclass(frozen=True, eq=False)
class UserBatch:
    """Users in a task, and what is known of them.

    Args:
        users: (n,) distinct, ascending.
        known: (n,) whether the model knows anything of the user.
        vectors: (n, width) numbers of each, zeros for users without; None if none were asked for.
        histories: of each, empty for users without; None if none were asked for.
        instant: that lists are made for, in microseconds since 1970; None outside of lists.
        components: the same users as the components of a model of models see them.
    """

    users: Ints
    known: NDArray[np.bool_]
    vectors: NDArray[np.float32] | None = None
    histories: Histories | None = None
    instant: int | None = None
    components: tuple[UserBatch, ...] = ()

    def slices(self, rows: int) -> Iterator[slice]:
        """The places of so many users at a time, at least one."""
        step = max(1, rows)
        for start in range(0, len(self.users), step):
            yield slice(start, min(start + step, len(self.users)))

    def where(self, chosen: NDArray[np.bool_]) -> UserBatch:
        """The users that are chosen."""
        return self if chosen.all() else self.at(np.flatnonzero(chosen))

    def at(self, rows: slice | NDArray[np.int64]) -> UserBatch:
        """The users at some places, ascending."""
        return replace(
            self,
            users=self.users[rows],
            known=self.known[rows],
            vectors=None if self.vectors is None else self.vectors[rows],
            histories=None if self.histories is None else self.histories.rows(rows),
            components=tuple(component.at(rows) for component in self.components),
        )


__all__ = ["InputShape", "UserBatch", "UserInputs", "UserSolver"]
