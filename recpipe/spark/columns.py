"""Arrays in and out of Arrow's columns, and the one way to say what columns there are.

A schema is written as Spark's DDL has it, such as `block int, data binary`: `mapInArrow` takes it
as it is, and a task makes batches of it by the functions here.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    Batches = Iterator[pa.RecordBatch]

_TYPES = {
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "binary": pa.binary(),
    "timestamp": pa.timestamp("us", "UTC"),
    "array<float>": pa.list_(pa.float32()),
}


@cache
def arrow_schema(schema: str) -> pa.Schema:
    """The columns of a schema as Arrow has them; of the types that a task of ours makes.

    Raises:
        KeyError: for another type.
    """
    fields = (field.split() for field in schema.split(", "))
    return pa.schema([(name, _TYPES[kind]) for name, kind in fields])


def batch_of(schema: str, *columns: Any) -> pa.RecordBatch:
    """Rows of a schema.

    Args:
        schema: of the rows.
        columns: each an array of Arrow or NumPy, or a list.
    """
    kinds = arrow_schema(schema)
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, kind)
        for column, kind in zip(columns, kinds.types, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=kinds)


def arrow_row(schema: str, *values: Any) -> pa.RecordBatch:
    """One row.

    Args:
        schema: of the row.
        values: one a column; a contiguous array becomes the bytes of a binary value.
    """
    columns = (
        _binary(value, [value.nbytes]) if isinstance(value, np.ndarray) else [value]
        for value in values
    )
    return batch_of(schema, *columns)


def arrow_rows(schema: str, ends: NDArray[np.int64], *values: Any) -> pa.RecordBatch:
    """Rows whose binary values are the parts of arrays, one after the other.

    Args:
        schema: as of `arrow_row`.
        ends: (rows,) the element at which each row's part ends.
        values: one a column: of a binary one the whole array, of others a value each, or for all.
    """
    columns = (
        _binary(value, (ends * value.itemsize).tolist())
        if kind == pa.binary()
        else np.full(len(ends), value)
        for value, kind in zip(values, arrow_schema(schema).types, strict=True)
    )
    return batch_of(schema, *columns)


def _binary(array: NDArray[Any], ends: Iterable[int]) -> pa.Array:
    """The bytes of an array as values that end at `ends`."""
    # From numbers of Python: what does not fit raises, and does not wrap.
    offsets = np.array([0, *ends], np.int32)
    data = pa.py_buffer(np.ascontiguousarray(array))
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, [None, pa.py_buffer(offsets), data])


def factor_schema(name: str) -> str:
    """Of factors by the ids `name`."""
    return f"{name} int, factors array<float>, bias float"


def factor_rows(
    name: str, ids: NDArray[np.int32], factors: NDArray[np.float32], bias: NDArray[np.float32]
) -> pa.RecordBatch:
    """`factor_schema`, a row an id.

    Args:
        name: of the ids.
        ids: (rows,)
        factors: (rows, rank)
        bias: (rows,)
    """
    ends = np.arange(len(ids) + 1, dtype=np.int32) * factors.shape[1]
    lists = pa.ListArray.from_arrays(ends, np.ascontiguousarray(factors).ravel())
    return batch_of(factor_schema(name), ids, lists, np.ascontiguousarray(bias))


def as_array(value: Any, kind: type[np.int32 | np.int64 | np.float32 | np.float64]) -> NDArray[Any]:
    """A binary Arrow scalar as an array over Arrow's own memory: read-only."""
    buffer = value.as_buffer()
    return np.frombuffer(buffer, kind) if buffer is not None else np.empty(0, kind)
