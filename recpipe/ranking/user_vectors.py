"""Users on their way to the tasks of their buckets: who they are, and the numbers of each."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pyspark.sql import functions as F

from recpipe.kernels import ids
from recpipe.spark.interactions import PACKED, Kinds, frame_of, pieces
from recpipe.storage import Stored
from recpipe.storage.decoded import decoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.spark.interactions import Arrays

KINDS = Kinds(np.int32, np.float32)


class People(NamedTuple):
    """Users in a task.

    Args:
        users: (n,) distinct, ascending.
        numbers: (n, width) of each.
    """

    users: NDArray[np.int32]
    numbers: NDArray[np.float32]

    def of(self, users: NDArray[np.int32], *, unknown_too: bool) -> People:
        """These of `users`, distinct and ascending; who is not known has zeros, or is left out."""
        at = ids.positions(self.users, users)
        if not unknown_too:
            return People(users[at >= 0], self.numbers[at[at >= 0]])
        numbers = np.zeros((len(users), self.numbers.shape[1]), np.float32)
        numbers[at >= 0] = self.numbers[at[at >= 0]]
        return People(users, numbers)


def people_of(arrays: Arrays, *, width: int) -> People:
    """In a task: what `packed_people` sent."""
    order = np.argsort(arrays.keys, kind="stable")
    return People(arrays.keys[order], arrays.values.reshape(len(order), width)[order])


def packed_people(people: DataFrame | Stored, *, buckets: int) -> DataFrame:
    """`pairs.PACKED`: users by bucket, with the factors and then the bias of each, if any.

    Args:
        people: (user int, factors array<float>, bias float) or (user int), users distinct.
        buckets: how many there are.
    """
    pack = partial(_pack, buckets=buckets)
    if isinstance(people, Stored):
        files = people.files(["user", "factors", "bias"])
        if files is not None:
            return files.mapInArrow(lambda batches: pack(_from_files(batches)), PACKED)
    frame = frame_of(people)
    # Whose numbers are long are cast: a task takes their bytes for those of ints.
    user = F.col("user").cast("int").alias("user")
    if "factors" not in frame.columns:
        return frame.select(user).mapInArrow(pack, PACKED)
    factors = F.col("factors").cast("array<float>").alias("factors")
    rows = frame.select(user, factors, F.col("bias").cast("float").alias("bias"))
    return rows.mapInArrow(pack, PACKED)


def _from_files(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    kinds = [("user", pa.int32()), ("factors", pa.list_(pa.float32())), ("bias", pa.float32())]
    return decoded(batches, kinds)


def _pack(batches: Iterator[pa.RecordBatch], *, buckets: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        users, *rest = batch.columns
        numbers = _numbers(*rest) if rest else np.empty((len(users), 0), np.float32)
        keys = users.to_numpy()
        bucket = keys % buckets
        order = np.argsort(bucket, kind="stable")
        ends = np.cumsum(np.bincount(bucket, minlength=buckets))
        parts = enumerate(np.split(order, ends[:-1]))
        width = 4 * max(1, numbers.shape[1])
        yield pieces(((at, keys[part], numbers[part]) for at, part in parts), width=width)


def _numbers(factors: pa.Array, bias: pa.Array) -> NDArray[np.float32]:
    """(rows, rank + 1)."""
    values: Any = factors.flatten().to_numpy(zero_copy_only=False)
    return np.column_stack([values.reshape(len(factors), -1 if len(values) else 0), bias])


__all__ = ["KINDS", "People", "packed_people", "people_of"]
