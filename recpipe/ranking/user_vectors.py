"""The dense vectors of users on their way to the tasks of their buckets."""

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

    from recpipe.spark.interactions import Arrays, Interactions

VECTOR_KINDS = Kinds(np.int32, np.float32)
"""The types of packed vectors, and of packed users: numbers, and what goes with each."""

_COLUMNS = ("user", "factors", "bias")


class UserVectors(NamedTuple):
    """Vectors in a task.

    Args:
        known: (n,) whether the user has one.
        numbers: (n, width) of each, zeros for users without.
    """

    known: NDArray[np.bool_]
    numbers: NDArray[np.float32]


def vectors_of(arrays: Arrays, users: NDArray[np.int32], *, width: int) -> UserVectors:
    """In a task: the vectors of some users of its bucket.

    Args:
        arrays: what `packed_user_vectors` sent, of all users of the bucket.
        users: distinct, ascending.
        width: numbers of a vector.
    """
    order = np.argsort(arrays.keys, kind="stable")
    at = ids.positions(arrays.keys[order], users)
    known = at >= 0
    numbers = np.zeros((len(users), width), np.float32)
    numbers[known] = arrays.values.reshape(len(order), width)[order[at[known]]]
    return UserVectors(known, numbers)


def packed_users(users: DataFrame, *, buckets: int) -> DataFrame:
    """`interactions.PACKED` of (user int, ...): users by bucket, and nothing beside them."""
    # A task reads the bytes of users as int32, so longs are cast.
    user = F.col("user").cast("int").alias("user")
    return users.select(user).mapInArrow(partial(_pack, buckets=buckets), PACKED)


def packed_user_vectors(vectors: Interactions, *, buckets: int) -> DataFrame:
    """`interactions.PACKED`: users by bucket, with the factors and then the bias of each.

    Args:
        vectors: (user int, factors array<float>, bias float), users distinct.
        buckets: how many there are.
    """
    pack = partial(_pack, buckets=buckets)
    files = vectors.files(_COLUMNS) if isinstance(vectors, Stored) else None
    if files is not None:
        return files.mapInArrow(lambda batches: pack(_from_files(batches)), PACKED)
    user = F.col("user").cast("int").alias("user")
    factors = F.col("factors").cast("array<float>").alias("factors")
    rows = frame_of(vectors).select(user, factors, F.col("bias").cast("float").alias("bias"))
    return rows.mapInArrow(pack, PACKED)


def _from_files(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    kinds = [pa.int32(), pa.list_(pa.float32()), pa.float32()]
    return decoded(batches, list(zip(_COLUMNS, kinds, strict=True)))


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


__all__ = ["VECTOR_KINDS", "UserVectors", "packed_user_vectors", "packed_users", "vectors_of"]
